//! Removing what runs left behind whose process is dead: what a reaper could not do, because it was killed too.
//!
//! Only what carries a mark is looked at, and only what a mark proves to be of the dead is touched. A container
//! marked on another machine, another boot, or in another pid namespace is left alone: whether its owner lives
//! cannot be seen from here (`docker ps --all --filter label=gauntlet.run` shows such).

use super::container;
use super::owner::{Fate, Owner};
use super::place::{self, Mark};

/// What [`sweep`] removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Processes killed.
    pub processes: usize,
    /// Directories removed.
    pub directories: usize,
    /// Ports given back.
    pub ports: usize,
    /// Containers removed.
    pub containers: usize,
}

/// Removes what is left of dead runs. [`Broker::start`](super::Broker::start) does it first.
pub async fn sweep() -> Swept {
    let mut swept = Swept::default();
    for (pid, _mark) in
        place::processes().iter().filter(|(_, mark)| mark.owner.fate() == Fate::Dead)
    {
        place::kill(*pid);
        swept.processes += 1;
    }
    // Files do not survive a boot as processes do: those of another boot have no owner.
    let no_owner = |owner: &Owner| matches!(owner.fate(), Fate::Dead | Fate::OtherBoot);
    for entry in entries(place::root()) {
        let mark = Mark::parse(&entry.file_name().to_string_lossy());
        if mark.is_some_and(|mark| no_owner(&mark.owner)) {
            match std::fs::remove_dir_all(entry.path()) {
                Ok(()) => swept.directories += 1,
                Err(error) => {
                    tracing::warn!(path = %entry.path().display(), %error, "cannot be swept")
                }
            }
        }
    }
    for entry in entries(place::root().join("ports")) {
        let owner = std::fs::read_link(entry.path()).ok();
        let owner = owner.and_then(|owner| Owner::parse(&owner.to_string_lossy()));
        if owner.is_some_and(|owner| no_owner(&owner)) && std::fs::remove_file(entry.path()).is_ok()
        {
            swept.ports += 1;
        }
    }
    place::remove_root_if_empty();
    swept.containers = container::sweep().await;
    if swept != Swept::default() {
        tracing::info!(?swept, "removed what dead runs had left");
    }
    swept
}

fn entries(dir: std::path::PathBuf) -> Vec<std::fs::DirEntry> {
    std::fs::read_dir(dir).map(|all| all.flatten().collect()).unwrap_or_default()
}
