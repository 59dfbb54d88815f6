//! A subject at work, whichever kind it is: on a thread of this process, or as processes of its own.

use std::sync::Arc;
use std::time::Duration;

use super::inside::Inside;
use super::process::{Fleet, Stage};
use super::{Job, Kind, Resources, SubjectSpec, count};
use crate::recorder::Recorder;
use crate::tap::Reports;

/// A running subject.
#[must_use = "a host is stopped by `stop`"]
pub enum Host {
    /// In this process.
    Inside(Inside),
    /// As processes.
    Fleet(Fleet),
}

/// A subject that could not be started.
#[derive(Debug, thiserror::Error)]
#[error("failed to start the subject `{name}`: {source}")]
pub struct HostError {
    name: String,
    source: std::io::Error,
}

impl HostError {
    /// Why the command itself cannot be executed, where that is the reason; anything else is this machine's doing.
    pub fn not_executable(&self) -> Option<String> {
        use std::io::ErrorKind::{InvalidInput, NotFound, PermissionDenied};
        /// ENOEXEC: neither a program of this machine nor a script that says what runs it.
        const NO_PROGRAM: i32 = 8;
        let kind = matches!(self.source.kind(), NotFound | PermissionDenied | InvalidInput);
        let its_own = kind || self.source.raw_os_error() == Some(NO_PROGRAM);
        its_own.then(|| format!("it cannot be executed: {}", self.source))
    }
}

impl Host {
    /// Starts the subject; its end is recorded when it comes.
    pub fn start(
        subject_spec: &SubjectSpec,
        job: Job,
        recorder: &Recorder,
        stage: &Stage<'_>,
    ) -> Result<Host, HostError> {
        let failed = |source| HostError { name: subject_spec.name.clone(), source };
        match &subject_spec.kind {
            Kind::Inside(subject) => {
                Inside::start(&subject_spec.name, subject, job, recorder).map(Host::Inside)
            }
            Kind::Process(program) => Fleet::start(program, job, stage).map(Host::Fleet),
        }
        .map_err(failed)
    }

    /// Counts what it holds.
    pub fn holder(&self, link: std::net::SocketAddr) -> Holder {
        match self {
            Host::Inside(inside) => {
                let runtime = inside.runtime().clone();
                Holder(Arc::new(move || {
                    (count(link), Some(runtime.metrics().num_alive_tasks() as u32))
                }))
            }
            Host::Fleet(fleet) => {
                let fleet = fleet.clone();
                Holder(Arc::new(move || (fleet.holds(), None)))
            }
        }
    }

    /// What it reports on another way than by calls.
    pub fn reports(&self) -> Option<Reports> {
        let fleet = self.fleet()?.clone();
        Some(Arc::new(move || fleet.reports()))
    }

    /// The name of its threads in this process, where it runs in it.
    pub fn threads(&self) -> Option<String> {
        match self {
            Host::Inside(inside) => Some(inside.threads().to_owned()),
            Host::Fleet(_) => None,
        }
    }

    /// Its processes, where it has some of its own.
    pub fn fleet(&self) -> Option<&Fleet> {
        match self {
            Host::Fleet(fleet) => Some(fleet),
            Host::Inside(_) => None,
        }
    }

    /// Waits for the subject to end by itself; false when it did not within `bound`.
    pub async fn ended(&self, bound: Duration) -> bool {
        match self {
            Host::Inside(inside) => inside.ended(bound).await,
            Host::Fleet(fleet) => fleet.ended(bound).await,
        }
    }

    /// Tears it down, whether or not it has ended, and waits until it is gone.
    pub async fn stop(self) {
        match self {
            Host::Inside(inside) => inside.stop().await,
            Host::Fleet(fleet) => fleet.stop().await,
        }
    }
}

/// Says what a subject holds, and how many tasks of it run where that is known.
#[derive(Clone)]
pub struct Holder(Arc<dyn Fn() -> (Resources, Option<u32>) + Send + Sync>);

impl Holder {
    /// Counts now.
    pub fn count(&self) -> (Resources, Option<u32>) {
        (self.0)()
    }
}
