//! Counts what a process holds, from `/proc`. Elsewhere than on Linux nothing is known.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::Path;

/// What the process holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resources {
    /// Threads.
    pub threads: Option<u32>,
    /// File descriptors.
    pub fds: Option<u32>,
    /// Sockets whose other end is the link, in any state (a socket in CLOSE_WAIT counts).
    pub sockets: Option<u32>,
    /// Resident memory, KiB.
    pub rss_kib: Option<u64>,
}

/// Counts for this process. `link` is the address the subject connects to.
pub fn count(link: SocketAddr) -> Resources {
    let own = count_of(Path::new("/proc/self"), link);
    // One descriptor is the one that reads the directory.
    Resources { fds: own.fds.map(|n| n.saturating_sub(1)), ..own }
}

/// Counts for several processes together; one that has just ended holds nothing.
pub fn count_all(pids: &[u32], link: SocketAddr) -> Resources {
    let mut all = Resources { threads: Some(0), fds: Some(0), sockets: Some(0), rss_kib: Some(0) };
    for pid in pids {
        let one = count_of(&Path::new("/proc").join(pid.to_string()), link);
        let add = |to: &mut Option<u32>, n: Option<u32>| *to = to.map(|t| t + n.unwrap_or(0));
        add(&mut all.threads, one.threads);
        add(&mut all.fds, one.fds);
        add(&mut all.sockets, one.sockets);
        all.rss_kib = all.rss_kib.map(|t| t + one.rss_kib.unwrap_or(0));
    }
    all
}

fn count_of(process: &Path, link: SocketAddr) -> Resources {
    let entries = |dir: &str| Some(std::fs::read_dir(process.join(dir)).ok()?.count() as u32);
    Resources {
        threads: entries("task"),
        fds: entries("fd"),
        sockets: sockets_to(process, link),
        rss_kib: rss_kib(process),
    }
}

fn sockets_to(process: &Path, link: SocketAddr) -> Option<u32> {
    let SocketAddr::V4(link) = link else { return None };
    let remote = format!("{:08X}:{:04X}", u32::from(*link.ip()).swap_bytes(), link.port());
    // Some runtimes speak IPv4 over sockets of IPv6.
    let mapped = format!("0000000000000000FFFF0000{remote}");
    let mut table = std::fs::read_to_string(process.join("net/tcp")).ok()?;
    table.push_str(&std::fs::read_to_string(process.join("net/tcp6")).unwrap_or_default());
    let inodes: HashSet<&str> = table
        .lines()
        .filter_map(|line| {
            let mut fields = line.split_ascii_whitespace().skip(2);
            let field = fields.next()?;
            (field == remote || field == mapped).then(|| fields.nth(6)).flatten()
        })
        .collect();
    let held = std::fs::read_dir(process.join("fd"))
        .ok()?
        .filter_map(|fd| std::fs::read_link(fd.ok()?.path()).ok())
        .filter_map(|target| {
            Some(target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned())
        })
        .filter(|inode| inodes.contains(inode.as_str()));
    Some(held.count() as u32)
}

fn rss_kib(process: &Path) -> Option<u64> {
    let status = std::fs::read_to_string(process.join("status")).ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_socket_to_the_link_is_counted_until_it_is_closed_even_when_the_link_closed_first() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("port");
        let link = listener.local_addr().expect("address");
        assert_eq!(count(link).sockets, Some(0));
        let socket = TcpStream::connect(link).expect("connects");
        let (accepted, _) = listener.accept().expect("accepts");
        assert_eq!(count(link).sockets, Some(1));
        drop(accepted);
        assert_eq!(count(link).sockets, Some(1), "CLOSE_WAIT is held too");
        drop(socket);
        assert_eq!(count(link).sockets, Some(0));
    }
}
