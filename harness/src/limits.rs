//! How many files and sockets this process may have open.
//!
//! A soft limit of 1024 is the default of most systems, and a link needs two descriptors a connection. So the
//! command raises its soft limit to the hard one. What it starts gets the original limit back: some programs
//! size tables by it.

use std::sync::OnceLock;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The limit this process was started with; there once it was raised.
static ORIGINAL: OnceLock<Rlimit> = OnceLock::new();

/// Raises the soft limit of open files to the hard one. A system that refuses is left as it is.
pub fn raise_open_files() {
    let original = getrlimit(Resource::Nofile);
    if original.current == original.maximum {
        return;
    }
    let raised = Rlimit { current: original.maximum, maximum: original.maximum };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => _ = ORIGINAL.set(original),
        Err(error) => tracing::debug!(%error, "the limit of open files could not be raised"),
    }
}

/// Gives a process that was just started the limit that this one was started with. It had the raised limit
/// until now, which is a moment; only Linux can do this from outside.
#[cfg(target_os = "linux")]
pub(crate) fn restore_in(pid: rustix::process::Pid) {
    if let Some(original) = ORIGINAL.get() {
        // One that is gone already needs none.
        let _ = rustix::process::prlimit(Some(pid), Resource::Nofile, *original);
    }
}

/// Nothing: it keeps the raised limit.
#[cfg(not(target_os = "linux"))]
pub(crate) fn restore_in(_pid: rustix::process::Pid) {}
