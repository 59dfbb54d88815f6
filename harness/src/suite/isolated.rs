//! A run played by the same program in a process of its own, and read back.
//!
//! The process ends in order when its standard input does: whether it is told to halt, or this process is killed.

use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use gauntlet_judge::judgement::{judge, load};
use tokio::io::AsyncReadExt;
use tokio::process::{Child, ChildStdin};
use tokio_util::sync::CancellationToken;

use super::{IsolatedProcess, PlannedRun, Played, RunOutcome};
use crate::broker::{BrokerSpec, Mark, RunId, make_root, remove_root_if_empty};

/// One that is told to halt removes what it made within this, or is killed.
const HALTS: Duration = Duration::from_secs(15);

/// Plays it, and judges what it left in its directory.
pub(super) async fn play(
    planned: &PlannedRun,
    broker: &BrokerSpec,
    make: IsolatedProcess,
    (run, halt): (&RunId, &CancellationToken),
) -> RunOutcome {
    let broken = |why: String| RunOutcome::Broken(format!("played in a process of its own: {why}"));
    let (dir, _kept) = match dir(planned, run) {
        Ok(dir) => dir,
        Err(e) => return broken(format!("no directory for it: {e}")),
    };
    let mut command = make(planned, broker, &dir);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    // A group of its own: Ctrl-C in a terminal is for this process, which tells it.
    command.process_group(0).kill_on_drop(true);
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(e) => return broken(format!("the command cannot be run: {e}")),
    };
    let stdin = child.stdin.take();
    let said = match ended(&mut child, stdin, (halt, planned.upper_bound())).await {
        Some(Ok((_status, said))) => said,
        Some(Err(e)) => return broken(format!("it cannot be waited for: {e}")),
        None if halt.is_cancelled() => return RunOutcome::Interrupted,
        None => {
            let bound = humantime::format_duration(planned.upper_bound());
            return broken(format!("it had not ended after {bound}, its upper bound"));
        }
    };
    match load(&dir) {
        Ok((plan, history)) => {
            let judgement = judge(&plan, &history);
            RunOutcome::Judged(Box::new(Played { plan, history, judgement }))
        }
        Err(e) => broken(format!("{}; {e}", said.trim())),
    }
}

/// Where it is kept; a directory that nobody asked to keep goes with its guard.
fn dir(planned: &PlannedRun, run: &RunId) -> std::io::Result<(PathBuf, Option<Passing>)> {
    if let Some(dir) = &planned.dir {
        return Ok((dir.clone(), None));
    }
    let root = make_root().map_err(std::io::Error::other)?;
    // With the mark in its name the next start sweeps what a kill left.
    let dir = root.join(Mark::new(run).to_string());
    Ok((dir.clone(), Some(Passing(dir))))
}

/// A directory that is removed.
struct Passing(PathBuf);

impl Drop for Passing {
    fn drop(&mut self) {
        // It may never have been made.
        let _ = std::fs::remove_dir_all(&self.0);
        remove_root_if_empty();
    }
}

/// Its end, and what it wrote to stderr; nothing when it was told to halt, or reached its bound.
async fn ended(
    child: &mut Child,
    stdin: Option<ChildStdin>,
    (halt, bound): (&CancellationToken, Duration),
) -> Option<std::io::Result<(ExitStatus, String)>> {
    let stderr = child.stderr.take();
    let end = async {
        let mut said = Vec::new();
        if let Some(mut stderr) = stderr {
            stderr.read_to_end(&mut said).await?;
        }
        let status = child.wait().await?;
        Ok((status, String::from_utf8_lossy(&said).into_owned()))
    };
    tokio::pin!(end);
    let bounded = tokio::time::timeout(bound, &mut end);
    if let Some(Ok(end)) = halt.run_until_cancelled(bounded).await {
        return Some(end);
    }
    drop(stdin);
    // One that does not end is killed when it is dropped.
    let _ = tokio::time::timeout(HALTS, end).await;
    None
}
