//! The consumer under test.
//!
//! Owns the seam ([`Subject`], one method), what a subject is told and may report ([`Job`]), what it
//! promises, and the host that runs it on a runtime and thread of its own. The reference consumer's
//! adapter lives in [`reference`](mod@reference).

mod host;
mod promises;
pub mod reference;
mod resources;
mod url;
mod work;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

pub use host::{Host, HostError};
pub use promises::{BackoffPromise, Jitter, Promises, Refused};
pub use resources::{Resources, count};
pub use url::AmqpUrl;
pub use work::{Job, Work};

/// A subject's run: `Ok` when it stopped as asked, `Err` with the reason when it gave up.
pub type Running = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;

/// A consumer that Gauntlet can put through its scenarios. A closure from [`Job`] to a boxed future is one.
pub trait Subject: Send + Sync + 'static {
    /// Consumes until `job.stop` is cancelled (then gracefully) or `job.abort` is (then at once).
    /// Handles every message by awaiting [`Job::handle`].
    fn run(&self, job: Job) -> Running;
}

impl<F: Fn(Job) -> Running + Send + Sync + 'static> Subject for F {
    fn run(&self, job: Job) -> Running {
        self(job)
    }
}

/// A subject with its name and what it promises.
#[derive(Clone)]
pub struct Entrant {
    /// Its name in reports.
    pub name: String,
    /// What it is held to.
    pub promises: Promises,
    /// The consumer.
    pub subject: Arc<dyn Subject>,
}

impl Entrant {
    /// A subject that is held to `promises`.
    pub fn new(name: impl Into<String>, promises: Promises, subject: impl Subject) -> Entrant {
        Entrant { name: name.into(), promises, subject: Arc::new(subject) }
    }
}
