//! TCP ports for brokers, held for as long as the broker may come back to them, and for what else has to be told a port
//! before it listens there.
//!
//! A broker that is down must find its port free when it starts again. So ports are taken from below the
//! range the system gives to outgoing connections, and each is reserved among Gauntlet's own runs by a
//! symbolic link that names its owner: made in one step, it never exists without saying whose it is.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::BrokerError;
use super::error::io;
use super::owner::{Fate, Owner};
use super::place;

/// Above the well-known ports; the end is the start of the ephemeral range, where that can be read.
const FIRST: u16 = 20_000;
const LAST: u16 = 32_000;
/// Of twelve thousand ports, so many in a row are not all taken unless something is very wrong.
const TRIES: u32 = 500;

/// One port that no other run takes. Given back by [`Port::release`]; else the sweep takes the link away.
#[derive(Debug)]
pub(super) struct Port {
    pub(super) number: u16,
    link: PathBuf,
}

impl Port {
    /// Reserves a free port on the loopback interface. `root` is where all runs of this user meet.
    pub(super) fn reserve(root: &Path, owner: &Owner) -> Result<Port, BrokerError> {
        let dir = root.join("ports");
        let last = ephemeral_start().map_or(LAST, |start| start.clamp(FIRST + 100, LAST));
        for _ in 0..TRIES {
            let number = FIRST + rand::random::<u16>() % (last - FIRST);
            let link = dir.join(number.to_string());
            match take(&dir, &link, owner)
                .map_err(io(format!("reserve a port in {}", dir.display())))?
            {
                false => continue,
                true if TcpListener::bind((Ipv4Addr::LOCALHOST, number)).is_ok() => {
                    return Ok(Port { number, link });
                }
                true => Port { number, link }.release(),
            }
        }
        Err(BrokerError::Io {
            what: format!("find a free port between {FIRST} and {last} in {TRIES} tries"),
            source: io::ErrorKind::AddrInUse.into(),
        })
    }

    /// Gives the port back.
    pub(super) fn release(&self) {
        // The link is ours, and whoever finds it left over removes it: nothing is lost by not hearing of an error.
        let _ = std::fs::remove_file(&self.link);
    }

    /// What has to be removed to give the port back.
    pub(super) fn link(&self) -> &Path {
        &self.link
    }
}

/// A port that no other run takes until this is dropped.
#[derive(Debug)]
pub(crate) struct Lease(Port);

impl Lease {
    /// Reserves a free port on the loopback interface.
    pub(crate) fn new() -> Result<Lease, BrokerError> {
        Port::reserve(&place::make_root()?, &Owner::this()).map(Lease)
    }

    /// Where it is.
    pub(crate) fn addr(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.0.number).into()
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.0.release();
        place::remove_root_if_empty();
    }
}

/// Whether the link could be made. A link of the dead is taken away first.
fn take(dir: &Path, link: &Path, owner: &Owner) -> io::Result<bool> {
    if let Ok(held) = std::fs::read_link(link) {
        let held = Owner::parse(&held.to_string_lossy());
        if held.is_some_and(|held| matches!(held.fate(), Fate::Alive | Fate::Unknown)) {
            return Ok(false);
        }
        // Two may come here at once: one of them makes the link, the other finds it made.
        let _ = std::fs::remove_file(link);
    }
    // The directory goes away with the last run that used it, maybe just now.
    for _ in 0..TRIES {
        std::fs::create_dir_all(dir)?;
        match symlink(owner.to_string(), link) {
            Ok(()) => return Ok(true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(false),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::ErrorKind::NotFound.into())
}

fn ephemeral_start() -> Option<u16> {
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok()?;
    range.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reservations_hold_until_released() {
        let root = tempfile::tempdir().expect("a directory");
        let owner = Owner::this();
        let port = Port::reserve(root.path(), &owner).expect("a port");
        let dir = root.path().join("ports");
        assert!(!take(&dir, port.link(), &owner).expect("it can be asked"), "held by this process");
        port.release();
        assert!(take(&dir, port.link(), &owner).expect("it can be asked"));
    }

    #[test]
    fn many_at_once_never_clash() {
        let root = tempfile::tempdir().expect("a directory");
        let reserve =
            || (0..50).map(|_| Port::reserve(root.path(), &Owner::this()).expect("a port").number);
        let mut all: Vec<u16> = std::thread::scope(|scope| {
            let threads: Vec<_> =
                (0..4).map(|_| scope.spawn(|| reserve().collect::<Vec<_>>())).collect();
            threads.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect()
        });
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 200);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_link_of_the_dead_is_no_obstacle() {
        let root = tempfile::tempdir().expect("a directory");
        let link = root.path().join("ports").join("20000");
        let this = Owner::this();
        let dead = Owner::parse(&this.to_string().replacen('-', "9-", 1)).expect("an owner");
        assert!(take(&root.path().join("ports"), &link, &dead).expect("free"));
        assert!(take(&root.path().join("ports"), &link, &this).expect("its owner is dead"));
    }
}
