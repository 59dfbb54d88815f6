//! Runs an in-process subject on a thread and a runtime of its own, so that its tasks can be counted
//! and a panic or a hang of it harms nobody.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use gauntlet_judge::history::{SubjectEnd, What};
use tokio::runtime::{Builder, Handle};
use tokio::sync::{oneshot, watch};

use super::{Job, Subject};
use crate::recorder::Recorder;
use crate::starvation::SUBJECT;

/// How long the runtime of an ended subject may take to stop what is left on it.
const TEAR_DOWN: Duration = Duration::from_secs(1);

/// A subject that runs in this process.
#[must_use = "it is stopped by `stop`"]
pub struct Inside {
    runtime: Handle,
    threads: String,
    thread: Option<JoinHandle<()>>,
    ended: watch::Receiver<bool>,
    release: Option<oneshot::Sender<()>>,
}

impl Inside {
    /// Starts the subject; its end is recorded when it comes.
    pub fn start(
        name: &str,
        subject: &Arc<dyn Subject>,
        job: Job,
        recorder: &Recorder,
    ) -> std::io::Result<Inside> {
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let threads = format!("{SUBJECT}{}", STARTED.fetch_add(1, Ordering::Relaxed));
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name(&threads)
            .enable_all()
            .build()?;
        let handle = runtime.handle().clone();
        let (ended_tx, ended) = watch::channel(false);
        let (release, released) = oneshot::channel();
        recorder.record(What::SubjectStarted { name: name.to_owned() });
        let (subject, recorder) = (subject.clone(), recorder.clone());
        let body = move || {
            runtime.block_on(async {
                let mut released = released;
                // Spawned, so that a panic in it is an end like any other.
                let mut run = Handle::current().spawn(async move { subject.run(job).await });
                let how = tokio::select! {
                    end = &mut run => match end {
                        Ok(Ok(())) => SubjectEnd::Clean,
                        Ok(Err(why)) => SubjectEnd::Failed(why),
                        Err(e) if e.is_panic() => SubjectEnd::Panicked(panic_text(e.into_panic())),
                        Err(_) => SubjectEnd::Overran,
                    },
                    _ = &mut released => {
                        // Torn down from outside; who does that records why.
                        run.abort();
                        return;
                    }
                };
                recorder.record(What::SubjectEnded { how });
                // The receiver lives in the `Inside`; without it nobody waits.
                ended_tx.send_replace(true);
                let _ = released.await;
            });
            runtime.shutdown_timeout(TEAR_DOWN);
        };
        let thread = std::thread::Builder::new().name(threads.clone()).spawn(body)?;
        let (thread, release) = (Some(thread), Some(release));
        Ok(Inside { runtime: handle, threads, thread, ended, release })
    }

    /// The runtime it runs on.
    pub fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// The name of its threads.
    pub fn threads(&self) -> &str {
        &self.threads
    }

    /// Waits for the subject to end by itself; false when it did not within `bound`.
    pub async fn ended(&self, bound: Duration) -> bool {
        let mut ended = self.ended.clone();
        let over = tokio::time::timeout(bound, ended.wait_for(|ended| *ended)).await;
        matches!(over, Ok(Ok(_)))
    }

    /// Tears down its runtime, whether or not it has ended, and waits for its thread.
    pub async fn stop(mut self) {
        drop(self.release.take());
        if let Some(thread) = self.thread.take() {
            // A subject that blocks its thread for good must not take the harness with it.
            let joined = tokio::task::spawn_blocking(move || thread.join());
            let _ = tokio::time::timeout(TEAR_DOWN * 3, joined).await;
        }
    }
}

fn panic_text(panic: Box<dyn std::any::Any + Send>) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|s| (*s).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a message".into())
}
