//! Which process holds a socket: questions to `/proc`.

use std::path::{Path, PathBuf};

use crate::broker::SUBJECT_VARIABLE as MARK;

/// A process and its place among the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Process {
    pub(super) pid: u32,
    pub(super) parent: u32,
    pub(super) group: u32,
}

/// Every process that can be seen from here.
pub(super) fn all() -> Vec<Process> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(process).collect()
}

fn process(pid: u32) -> Option<Process> {
    let stat = std::fs::read_to_string(of(pid).join("stat")).ok()?;
    // The name, in parentheses, may hold anything: the fields are counted from its end.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(1);
    let (parent, group) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some(Process { pid, parent, group })
}

/// The first of these that holds the socket.
pub(super) fn find(inode: u64, pids: impl IntoIterator<Item = u32>) -> Option<u32> {
    pids.into_iter().find(|pid| holds(*pid, inode))
}

/// Whether the process holds the socket. False also for one whose descriptors may not be read.
pub(super) fn holds(pid: u32, inode: u64) -> bool {
    let wanted = format!("socket:[{inode}]");
    let dir = of(pid).join("fd");
    let entries = std::fs::read_dir(&dir).into_iter().flatten().flatten();
    let mut descriptors: Vec<u32> =
        entries.filter_map(|fd| fd.file_name().to_str()?.parse().ok()).collect();
    // A socket looked for has just been opened: the last numbers are the likely ones.
    descriptors.sort_unstable_by(|a, b| b.cmp(a));
    descriptors
        .iter()
        .filter_map(|fd| std::fs::read_link(dir.join(fd.to_string())).ok())
        .any(|target| target.as_os_str() == wanted.as_str())
}

/// Whether the process carries this mark in its environment: it left the group of the subject that started it.
pub(super) fn is_marked(pid: u32, mark: &str) -> bool {
    let wanted = format!("{MARK}={mark}");
    let environment = std::fs::read(of(pid).join("environ")).unwrap_or_default();
    environment.split(|b| *b == 0).any(|variable| variable == wanted.as_bytes())
}

/// Its command line, shortened.
pub(super) fn name(pid: u32) -> String {
    let line = std::fs::read(of(pid).join("cmdline")).unwrap_or_default();
    let words = line.split(|b| *b == 0).map(String::from_utf8_lossy).collect::<Vec<_>>().join(" ");
    words.trim().chars().take(80).collect()
}

fn of(pid: u32) -> PathBuf {
    Path::new("/proc").join(pid.to_string())
}
