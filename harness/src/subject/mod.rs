//! The consumer under test.
//!
//! Owns the seam ([`Subject`], one method), what a subject is told and may report ([`Job`]), what it
//! promises, and the host that runs it: on a runtime and thread of its own, or as [`process`]es. The reference consumer's
//! adapter lives in [`reference`](mod@reference).

mod host;
mod inside;
pub mod process;
pub mod reference;
mod resources;
mod url;
mod work;

use std::error::Error;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

pub use gauntlet_judge::promised::{Promised, PromisesError};
pub use gauntlet_judge::promises::{BackoffPromise, HealthPromise, Jitter, Promises, Refused};
use gauntlet_judge::scenario::Scenario;
pub use host::{Holder, Host, HostError};
pub use process::Program;
pub use resources::{Resources, count, count_all};
pub use url::AmqpUrl;
pub use work::{Job, Work};

/// A subject's run: `Ok` when it stopped as asked, `Err` with the reason when it gave up.
pub type Running = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;

/// A consumer that Gauntlet can put through its scenarios. An `async fn(Job) -> Result<(), E>` is one, where `E` is a string
/// or any error that can be sent.
pub trait Subject: Send + Sync + 'static {
    /// Consumes until `job.stop` is cancelled (then gracefully) or `job.abort` is (then at once).
    /// Handles every message by awaiting [`Job::handle`].
    fn run(&self, job: Job) -> Running;
}

impl<F, R, E> Subject for F
where
    F: Fn(Job) -> R + Send + Sync + 'static,
    R: Future<Output = Result<(), E>> + Send + 'static,
    E: Into<Box<dyn Error + Send + Sync>>,
{
    fn run(&self, job: Job) -> Running {
        let running = self(job);
        Box::pin(async move { running.await.map_err(|e| e.into().to_string()) })
    }
}

/// A subject with its name and what it promises.
#[derive(Clone)]
pub struct SubjectSpec {
    /// Its name in reports.
    pub name: String,
    /// What it is held to.
    pub promises: Promises,
    /// The consumer.
    pub kind: Kind,
}

/// Where a consumer runs.
#[derive(Clone)]
pub enum Kind {
    /// In this process.
    Inside(Arc<dyn Subject>),
    /// A command.
    Process(Program),
}

impl SubjectSpec {
    /// A subject that is held to `promises`.
    pub fn new(name: impl Into<String>, promises: Promises, subject: impl Subject) -> SubjectSpec {
        SubjectSpec { name: name.into(), promises, kind: Kind::Inside(Arc::new(subject)) }
    }

    /// A command that is held to `promises`.
    pub fn process(name: impl Into<String>, promises: Promises, program: Program) -> SubjectSpec {
        SubjectSpec { name: name.into(), promises, kind: Kind::Process(program) }
    }

    /// The command, where it is one.
    pub fn program(&self) -> Option<&Program> {
        match &self.kind {
            Kind::Process(program) => Some(program),
            Kind::Inside(_) => None,
        }
    }

    /// Why it cannot play this scenario.
    pub fn cannot_play(&self, scenario: &Scenario) -> Option<String> {
        match (&self.kind, scenario.needs_processes()) {
            (Kind::Inside(_), Some(what)) => Some(format!(
                "{what} takes a process of its own, and this consumer runs inside gauntlet; give a command: gauntlet run {} -- COMMAND",
                scenario.name
            )),
            (Kind::Process(_), _) if scenario.subject.slow.is_some() => Some(
                "it takes one slow message, and how long a command handles which message is its own affair"
                    .into(),
            ),
            _ => None,
        }
    }
}
