//! Scenarios that take the broker down, or tell it something that concerns everybody: one after the other, each kind on
//! a broker of its own. They take longest, so they come first, by their name.

use rstest::rstest;

use crate::scenarios::passes;

/// Those of the suite `core`; a process of this machine plays these alone: what is the broker's own doing is the same
/// in a container, which is held to more.
const CORE: &[&str] = &["broker-restart"];
const BROKER: &[&str] =
    &["consumer-timeout", "killed-after-ack", "memory-alarm", "restart-at-deliver"];

#[rstest]
#[case("container", &[CORE, BROKER])]
#[case("local", &[CORE])]
#[case("embedded", &[CORE, BROKER])]
fn the_reference_consumer_passes(#[case] broker: &str, #[case] suites: &[&[&str]]) {
    for name in suites.concat() {
        passes(broker, name);
    }
}
