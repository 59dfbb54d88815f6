//! One copy of a program at work: its start in a process group of its own, and its end in words.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;

use rustix::process::Pid;
use tokio::process::{Child, Command};
use tokio::task::AbortHandle;

use super::Program;
use super::contract::{MARK, Told, environment};
use super::output::{Log, Output};
use crate::broker::Lease;
use crate::limits;
use crate::subject::Job;

const SIGTERM: i32 = 15;

/// Why a copy may end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// Not by itself.
    Stay,
    /// It was asked to stop, and is to end with exit code 0.
    Stop,
    /// It was killed; however it ends is fine.
    Killed,
}

/// A copy that runs.
pub(super) struct Copy {
    /// The leader of its group.
    pub(super) pid: Pid,
    pub(super) due: Due,
    pub(super) out: Arc<Output>,
    pub(super) err: Arc<Output>,
    /// Where it may serve its health.
    pub(super) health: Lease,
    /// Tasks that end with it.
    pub(super) with_it: Vec<AbortHandle>,
}

/// Starts one.
pub(super) fn start(
    program: &Program,
    job: &Job,
    mark: &str,
    log: &Arc<Log>,
) -> io::Result<(Child, Copy)> {
    let (out, stdout) = Output::new(true, job.recorder(), log)?;
    let (err, stderr) = Output::new(false, job.recorder(), log)?;
    let health = Lease::new().map_err(io::Error::other)?;
    let told = Told { job, health: health.addr() };
    let (name, args) = program.command.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let mut command = Command::new(name);
    command.args(args);
    program.dir.iter().for_each(|dir| _ = command.current_dir(dir));
    command
        .envs(program.env.iter().map(|(name, value)| (name, value)))
        .envs(environment(&told))
        .env(MARK, mark);
    // It may hold a password of the broker itself, behind the faulty link.
    command.env_remove("GAUNTLET_BROKER");
    command.stdin(Stdio::null()).stdout(stdout).stderr(stderr);
    command.process_group(0).kill_on_drop(true);
    let child = command.spawn()?;
    let pid = child.id().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
    let pid = pid.ok_or(io::ErrorKind::NotFound)?;
    limits::restore_in(pid);
    Ok((child, Copy { pid, due: Due::Stay, out, err, health, with_it: Vec::new() }))
}

/// Whether it is the end that SIGTERM brings about: by the signal itself, or with the exit code that stands for it, as
/// every JVM has it.
pub(super) fn by_request(status: &ExitStatus) -> bool {
    status.code() == Some(128 + SIGTERM) || status.signal() == Some(SIGTERM)
}

/// `exit code 1`, `killed by signal 9 (SIGKILL)`.
pub(super) fn in_words(status: &io::Result<ExitStatus>) -> String {
    let status = match status {
        Ok(status) => status,
        Err(e) => return format!("its end cannot be told: {e}"),
    };
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("killed by signal {signal}{}", name(signal)),
        (None, None) => status.to_string(),
    }
}

fn name(signal: i32) -> &'static str {
    match signal {
        1 => " (SIGHUP)",
        2 => " (SIGINT)",
        6 => " (SIGABRT)",
        9 => " (SIGKILL)",
        11 => " (SIGSEGV)",
        13 => " (SIGPIPE)",
        15 => " (SIGTERM): it has no handler for it",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_in_words() {
        let words = |raw| in_words(&Ok(ExitStatus::from_raw(raw)));
        assert_eq!(words(0), "exit code 0");
        assert_eq!(words(3 << 8), "exit code 3");
        assert_eq!(words(9), "killed by signal 9 (SIGKILL)");
        let by_request = |raw| by_request(&ExitStatus::from_raw(raw));
        assert!(by_request(15) && by_request(143 << 8) && !by_request(9) && !by_request(0));
        assert_eq!(words(15), "killed by signal 15 (SIGTERM): it has no handler for it");
    }
}
