//! Gauntlet's scenarios as tests of a RabbitMQ consumer written in Rust.
//!
//! A subject is any `async fn(Job) -> Result<(), E>`. It connects to [`Job::url`], which leads through the faulty network,
//! consumes [`Job::queue`] with [`Job::prefetch`], and awaits [`Job::handle`] for every message before it acks, until
//! [`Job::stop`] is cancelled (finish, ack, close) or [`Job::abort`] is (end at once).
//!
//! The whole core suite, one `#[test]` for each scenario (needs no runtime and no attribute):
//!
//! ```ignore
//! gauntlet::suite!(my_consumer);
//! ```
//!
//! A single scenario, with what this consumer promises:
//!
//! ```no_run
//! # async fn my_consumer(job: gauntlet::Job) -> Result<(), std::io::Error> { Ok(()) }
//! # async fn it_survives_a_reset() -> Result<(), Box<dyn std::error::Error>> {
//! gauntlet::scenario("rst-load")?.workers(1).run(my_consumer).await?.assert_passed();
//! # Ok(())
//! # }
//! ```
//!
//! `examples/my-consumer` is a whole crate like that. The command `gauntlet` does the same for programs in any language.

mod play;

pub use gauntlet_harness::broker::BrokerSpec;
pub use gauntlet_harness::subject::{Job, Promises, Refused, Subject};
pub use gauntlet_judge::verdict::Verdict;
pub use gauntlet_network::Seed;
pub use play::{Outcome, Play, PlayError, scenario};

/// What the macros call.
#[doc(hidden)]
pub mod macros {
    pub use crate::play::test;
    pub use gauntlet_scenarios::core_scenarios;
}

/// One `#[test]` for each scenario of the suite `core`, named like it (`rst_load`), against a consumer.
///
/// A second argument says what is different from the default, for each scenario:
/// `gauntlet::suite!(my_consumer, |play| play.promises(Promises::all()))`.
#[macro_export]
macro_rules! suite {
    ($consumer:expr) => {
        $crate::suite!($consumer, |play| play);
    };
    ($consumer:expr, $setup:expr) => {
        $crate::macros::core_scenarios! { [$crate::tests] [$consumer; $setup] }
    };
}

/// The tests of a suite.
#[doc(hidden)]
#[macro_export]
macro_rules! tests {
    ([$consumer:expr; $setup:expr] $($test:ident $name:literal)+) => {
        $(
            #[test]
            fn $test() {
                $crate::macros::test($name, $setup, $consumer);
            }
        )+
    };
}

/// The README's Rust, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
