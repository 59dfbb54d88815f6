//! Whose socket it is: the subject's, or somebody else's who found a port of this run.
//!
//! Owns the roll of the subject's processes and the questions to the system: which socket is at the other end
//! ([`socket`]), and which process holds it ([`holder`]). What follows from an answer is decided from the history alone
//! ([`Peers`](gauntlet_judge::history::Peers)).

mod holder;
mod socket;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use gauntlet_judge::history::Owner;

/// Processes whose connections came last are asked first.
const RECENT: usize = 8;
/// Clients whose connection the link has not reported yet.
const PENDING: usize = 64;

/// The subject of one run, and what its sockets are told by.
#[derive(Debug, Default)]
pub struct Whose {
    roll: Mutex<Roll>,
    /// Looked up, and not yet taken by [`Whose::taken`].
    pending: Mutex<VecDeque<(SocketAddr, Owner)>>,
}

#[derive(Debug, Default)]
struct Roll {
    /// What the processes of the subject have in their environment; without it, the subject runs in this process.
    mark: Option<String>,
    /// The leader of each copy's group of processes, and the copy.
    leaders: BTreeMap<u32, u32>,
    /// The subject's processes that connected last.
    recent: VecDeque<(u32, Owner)>,
    /// Processes of others that opened the subject's virtual host.
    proven: BTreeSet<u32>,
}

impl Whose {
    /// The subject is a command whose processes carry this mark.
    pub fn marked(&self, mark: &str) {
        self.roll().mark = Some(mark.to_owned());
    }

    /// Starts a copy by `start`, which gives its number and process. Nobody's socket is told meanwhile: what the copy
    /// opens in its first moment is known to be its own.
    pub fn enrol<T, E>(
        &self,
        start: impl FnOnce() -> Result<(u32, u32, T), E>,
    ) -> Result<(u32, T), E> {
        let mut roll = self.roll();
        let (copy, pid, started) = start()?;
        roll.leaders.insert(pid, copy);
        Ok((copy, started))
    }

    /// Process `pid` has opened the subject's virtual host.
    pub fn proved(&self, pid: u32) {
        self.roll().proven.insert(pid);
    }

    /// Looks up who connected to `local` from `peer`, and keeps it for [`Whose::taken`]. Whether it is somebody whose
    /// connection must not use up a fault meant for the subject.
    pub fn is_stranger(&self, peer: SocketAddr, local: SocketAddr) -> bool {
        let owner = self.client(peer, local);
        let stranger = match &owner {
            Owner::Subject { .. } | Owner::Unknown => false,
            Owner::Other { pid, .. } => !self.roll().proven.contains(pid),
            Owner::Gone => true,
        };
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        pending.truncate(PENDING - 1);
        pending.push_front((peer, owner));
        stranger
    }

    /// Who the client at `peer` was when it was last looked up.
    pub fn taken(&self, peer: SocketAddr) -> Owner {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        let at = pending.iter().position(|(addr, _)| *addr == peer);
        at.and_then(|at| pending.remove(at)).map_or(Owner::Unknown, |(_, owner)| owner)
    }

    /// Who holds the socket that is connected from `peer` to `local`.
    pub fn client(&self, peer: SocketAddr, local: SocketAddr) -> Owner {
        match socket::connected(peer, local) {
            Some(0) => Owner::Gone,
            Some(inode) => match self.owner(inode) {
                // It may have been closed between the two questions.
                Owner::Unknown if socket::connected(peer, local) == Some(0) => Owner::Gone,
                owner => owner,
            },
            None => Owner::Unknown,
        }
    }

    /// Who listens where a client of `addr` arrives; nothing where nobody does.
    pub fn server(&self, addr: SocketAddr) -> Option<Owner> {
        let owner = match socket::listening(addr) {
            Ok(Some(inode)) => self.owner(inode),
            Ok(None) => return None,
            Err(_) => Owner::Unknown,
        };
        Some(match owner {
            Owner::Other { pid, .. } if self.roll().proven.contains(&pid) => {
                Owner::Subject { pid, copy: None }
            }
            owner => owner,
        })
    }

    fn owner(&self, inode: u64) -> Owner {
        let mut roll = self.roll();
        if let Some(at) = roll.recent.iter().position(|(pid, _)| holder::holds(*pid, inode)) {
            return roll.recent[at].1.clone();
        }
        let owner = roll.find(inode);
        if let Owner::Subject { pid, .. } = owner {
            roll.recent.truncate(RECENT - 1);
            roll.recent.push_front((pid, owner.clone()));
        }
        owner
    }

    fn roll(&self) -> MutexGuard<'_, Roll> {
        self.roll.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a process of this group listens where a client of `addr` arrives; nothing when that cannot be told.
pub(crate) fn group_listens(group: u32, addr: SocketAddr) -> Option<bool> {
    let inode = socket::listening(addr).ok()??;
    let all = holder::all();
    let (its, others): (Vec<_>, Vec<_>) = all.iter().partition(|p| p.group == group);
    let holds = |of: &[&holder::Process]| holder::find(inode, of.iter().map(|p| p.pid)).is_some();
    if holds(&its) {
        return Some(true);
    }
    holds(&others).then_some(false)
}

impl Roll {
    fn find(&self, inode: u64) -> Owner {
        let own = std::process::id();
        let Some(mark) = &self.mark else {
            return match holder::holds(own, inode) {
                true => Owner::Subject { pid: own, copy: None },
                false => other(holder::find(inode, holder::all().iter().map(|p| p.pid))),
            };
        };
        let leaders = self.leaders.iter().rev();
        if let Some((pid, copy)) = leaders.into_iter().find(|(pid, _)| holder::holds(**pid, inode))
        {
            return Owner::Subject { pid: *pid, copy: Some(*copy) };
        }
        let all = holder::all();
        // Of several that hold it, the subject's counts: a socket is shared by a process and what it forked.
        let mut candidates: Vec<(Option<u32>, u32)> =
            all.iter().map(|p| (self.copy_of(p, &all), p.pid)).collect();
        candidates.sort_by_key(|(copy, _)| copy.is_none());
        let Some(pid) = holder::find(inode, candidates.iter().map(|(_, pid)| *pid)) else {
            return Owner::Unknown;
        };
        let copy = candidates.iter().find(|(_, p)| *p == pid).and_then(|(copy, _)| *copy);
        match copy.is_some() || holder::is_marked(pid, mark) {
            true => Owner::Subject { pid, copy },
            false => other(Some(pid)),
        }
    }

    /// The copy a process belongs to, by its group or its parents.
    fn copy_of(&self, process: &holder::Process, all: &[holder::Process]) -> Option<u32> {
        let mut at = Some(process);
        // No tree is deeper than it has processes.
        for _ in 0..=all.len() {
            let process = at?;
            let leader = [process.group, process.pid];
            if let Some(copy) = leader.iter().find_map(|pid| self.leaders.get(pid)) {
                return Some(*copy);
            }
            at = all.iter().find(|p| p.pid == process.parent);
        }
        None
    }
}

fn other(pid: Option<u32>) -> Owner {
    match pid {
        Some(pid) => Owner::Other { pid, name: holder::name(pid) },
        // It is held, by a process whose descriptors may not be read from here.
        None => Owner::Unknown,
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests;
