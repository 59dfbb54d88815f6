//! Where brokers of this user keep what they keep: one directory for all runs, with a mark on everything in it.

use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use super::BrokerError;
use super::error::io;
use super::owner::{Owner, RunId};

/// In the environment of every process that belongs to a broker.
pub(crate) const VARIABLE: &str = "GAUNTLET_BROKER";

/// In the environment of every process that belongs to a subject.
pub(crate) const SUBJECT_VARIABLE: &str = "GAUNTLET_RUN";

/// The name of one broker of one run: `RUN-N.OWNER`. The name of its directory, and what its processes carry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    /// `RUN-N`: what a person should see.
    pub(crate) name: String,
    pub(crate) owner: Owner,
}

impl Mark {
    /// A new one, for a broker of this process.
    pub(crate) fn new(run: &RunId) -> Mark {
        static COUNT: AtomicU32 = AtomicU32::new(1);
        let name = format!("{run}-{}", COUNT.fetch_add(1, Ordering::Relaxed));
        Mark { name, owner: Owner::this() }
    }

    /// Reads what `Display` wrote.
    pub(crate) fn parse(text: &str) -> Option<Mark> {
        let (name, owner) = text.split_once('.')?;
        Some(Mark { name: name.to_owned(), owner: Owner::parse(owner)? })
    }
}

impl std::fmt::Display for Mark {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.name, self.owner)
    }
}

/// The directory for all runs of this user. It need not exist.
pub(crate) fn root() -> PathBuf {
    std::env::temp_dir().join(format!("gauntlet-{}", rustix::process::getuid().as_raw()))
}

/// Makes the directory of all runs, and sees that nobody else made it.
pub(crate) fn make_root() -> Result<PathBuf, BrokerError> {
    let root = root();
    let doing = || io(format!("make the directory {}", root.display()));
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&root).map_err(doing())?;
    let found = std::fs::symlink_metadata(&root).map_err(doing())?;
    if !found.is_dir() || found.uid() != rustix::process::getuid().as_raw() {
        return Err(doing()(std::io::Error::other(
            "it belongs to somebody else; remove it or set TMPDIR",
        )));
    }
    Ok(root)
}

/// Removes the directory of all runs if nothing is left in it.
pub(crate) fn remove_root_if_empty() {
    // Not empty, or gone already: both are as they should be.
    let _ = std::fs::remove_dir(root().join("ports"));
    let _ = std::fs::remove_dir(root());
}

/// The processes that carry a mark. Only this user's can be seen, and only where there is a /proc.
pub(crate) fn processes() -> Vec<(rustix::process::Pid, Mark)> {
    let Ok(all) = std::fs::read_dir("/proc") else { return Vec::new() };
    let mut found = Vec::new();
    for entry in all.flatten() {
        let pid = entry.file_name().to_str().and_then(|name| name.parse().ok());
        let Some(pid) = pid.and_then(rustix::process::Pid::from_raw) else { continue };
        if let Some(mark) = mark_of(&entry.path()) {
            found.push((pid, mark));
        }
    }
    found
}

fn mark_of(process: &Path) -> Option<Mark> {
    let environment = std::fs::read(process.join("environ")).ok()?;
    environment.split(|byte| *byte == 0).find_map(|variable| {
        let (name, value) = std::str::from_utf8(variable).ok()?.split_once('=')?;
        matches!(name, VARIABLE | SUBJECT_VARIABLE).then(|| Mark::parse(value))?
    })
}

/// SIGKILL. A process that is gone already is no error.
pub(crate) fn kill(pid: rustix::process::Pid) {
    let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_differ_and_survive_being_written_down() {
        let run = RunId::new();
        let (a, b) = (Mark::new(&run), Mark::new(&run));
        assert_ne!(a, b);
        assert_eq!(Mark::parse(&a.to_string()), Some(a));
        assert_eq!(Mark::parse("ports"), None);
    }
}
