//! What a group of processes holds, and who of a run is still there: questions to `/proc`, and signals.

use std::path::{Path, PathBuf};

use gauntlet_consumer::redact;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use super::contract::MARK;

/// The processes of these groups, those that only wait to be reaped left out.
pub(super) fn members(groups: &[Pid]) -> Vec<u32> {
    let of_one = |(_, group): &(u32, u32)| {
        groups.iter().any(|g| u32::try_from(g.as_raw_nonzero().get()) == Ok(*group))
    };
    all().filter_map(|pid| Some((pid, group(pid)?))).filter(of_one).map(|(pid, _)| pid).collect()
}

/// The processes that carry this mark in their environment: also those that left the group.
pub(super) fn marked(mark: &str) -> Vec<u32> {
    let wanted = format!("{MARK}={mark}");
    let carries = |pid: &u32| {
        let environment = std::fs::read(of(*pid).join("environ")).unwrap_or_default();
        environment.split(|b| *b == 0).any(|v| v == wanted.as_bytes()) && group(*pid).is_some()
    };
    all().filter(carries).collect()
}

/// Pid and command line.
pub(super) fn in_words(pid: u32) -> String {
    let line = std::fs::read(of(pid).join("cmdline")).unwrap_or_default();
    let words = line.split(|b| *b == 0).map(String::from_utf8_lossy).collect::<Vec<_>>().join(" ");
    let words = redact::text(words.trim());
    format!("{pid} {}", words.chars().take(80).collect::<String>())
}

/// A signal to one process. One that is gone is no error.
pub(super) fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, signal);
    }
}

/// A signal to a group. One that is gone is no error.
pub(super) fn signal_group(group: Pid, signal: Signal) {
    let _ = kill_process_group(group, signal);
}

fn of(pid: u32) -> PathBuf {
    Path::new("/proc").join(pid.to_string())
}

fn all() -> impl Iterator<Item = u32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// The group of a process that still runs.
fn group(pid: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(of(pid).join("stat")).ok()?;
    // The name, in parentheses, may hold anything: the fields are counted from its end.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    if matches!(fields.next()?, "Z" | "X") {
        return None;
    }
    fields.nth(1)?.parse().ok()
}
