//! A process that outlives this one by a moment, and removes a broker, or a subject, that nobody stopped.
//!
//! A broker is to leave nothing behind, also when its owner panics, is killed, or keeps it in a `static` that is
//! never dropped. So each has a reaper: a shell that reads from a pipe only the owner can write to. One line says
//! that the broker was stopped in order; an end without it, that the owner is gone. What the reaper itself could
//! not do (it was killed too, or there is no docker command) the next run's sweep does.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::process::{Child, ChildStdin, Command};
use tokio::time::timeout;

use super::BrokerError;
use super::error::io;
use super::place::{Mark, VARIABLE, root};

/// `$1` the mark in the environment of the broker's processes, `$2` a container's name or nothing,
/// `$3` the directory of all runs, then the paths to remove.
const SCRIPT: &str = r#"
trap '' HUP INT TERM
mark=$1 container=$2 root=$3
shift 3
read -r line && exit 0
[ -z "$container" ] || docker rm --force --volumes "$container"
for round in 1 2; do
  for process in $(grep -slF "$mark" /proc/[0-9]*/environ); do
    process=${process%/environ}
    kill -KILL "${process#/proc/}"
  done
done
rm -rf -- "$@"
rmdir -- "$root/ports" "$root"
"#;

/// The pipe to one reaper. Dropping it without [`Reaper::dismiss`] is the signal to remove everything.
#[must_use = "dropping it removes the broker"]
pub(crate) struct Reaper {
    child: Child,
    pipe: ChildStdin,
}

impl Reaper {
    /// Starts it, before there is anything to remove.
    pub(crate) fn start(
        mark: &Mark,
        container: &str,
        paths: &[&Path],
    ) -> Result<Reaper, BrokerError> {
        Reaper::watch(&format!("{VARIABLE}={mark}"), container, paths)
    }

    fn watch(mark: &str, container: &str, paths: &[&Path]) -> Result<Reaper, BrokerError> {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", SCRIPT, "gauntlet-reaper", mark, container]);
        // Its own group: Ctrl-C in a terminal is for the owner, who may still want to stop in order.
        command.arg(root()).args(paths).current_dir("/").process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let doing = "start a reaper (/bin/sh)";
        let mut child = command.spawn().map_err(io(doing))?;
        let pipe =
            child.stdin.take().ok_or_else(|| io(doing)(std::io::ErrorKind::BrokenPipe.into()))?;
        Ok(Reaper { child, pipe })
    }

    /// One of processes alone: all that carry this assignment in their environment.
    pub(crate) fn of_processes(assignment: &str) -> Result<Reaper, BrokerError> {
        Reaper::watch(assignment, "", &[])
    }

    /// Tells it that nothing is left to do, and sees it go.
    pub(crate) async fn dismiss(mut self) -> Result<(), BrokerError> {
        let gone = timeout(Duration::from_secs(5), async {
            self.pipe.write_all(b"stopped\n").await?;
            self.child.wait().await
        });
        match gone.await {
            Ok(done) => done.map(|_status| ()).map_err(io("dismiss a reaper")),
            Err(late) => Err(io("dismiss a reaper")(late.into())),
        }
    }
}
