//! Which socket is at the other end of a connection, or listens on a port, by its inode.
//!
//! The kernel is asked by `sock_diag` about one socket: the time that takes does not depend on how many there are, where
//! `/proc/net/tcp` takes milliseconds. Where that is unavailable, as in some sandboxes, `/proc/net/tcp` is read. Elsewhere
//! than on Linux nothing is known.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

const AF_NETLINK: i32 = 16;
const NETLINK_SOCK_DIAG: i32 = 4;
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLMSG_ERROR: u16 = 2;
const NLM_F_REQUEST: u16 = 1;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const IPPROTO_TCP: u8 = 6;
const ENOENT: i32 = 2;
/// Where the inode is in an answer: behind its header, in `struct inet_diag_msg`.
const INODE: std::ops::Range<usize> = 16 + 68..16 + 72;
/// The kernel answers before the question returns.
const PATIENCE: Duration = Duration::from_millis(200);

/// The inode of the socket at `peer` that is connected to `local`; 0 when its process has closed it. Nothing when it
/// cannot be told.
pub(super) fn connected(peer: SocketAddr, local: SocketAddr) -> Option<u64> {
    if !cfg!(target_os = "linux") {
        return None;
    }
    match ask(peer, Some(local)) {
        Ok(Some(inode)) => Some(inode),
        // On this machine there is no such socket any more; elsewhere there may well be one.
        Ok(None) => peer.ip().to_canonical().is_loopback().then_some(0),
        Err(_) => read_table(peer, Some(local)).ok().flatten(),
    }
}

/// The inode of the socket that listens where a client of `addr` arrives, if one does.
pub(super) fn listening(addr: SocketAddr) -> io::Result<Option<u64>> {
    if !cfg!(target_os = "linux") {
        return Err(io::ErrorKind::Unsupported.into());
    }
    ask(addr, None).or_else(|_| read_table(addr, None))
}

/// Asks the kernel about the socket at `local`, connected to `remote` or listening.
fn ask(local: SocketAddr, remote: Option<SocketAddr>) -> io::Result<Option<u64>> {
    let (domain, protocol) = (Domain::from(AF_NETLINK), Protocol::from(NETLINK_SOCK_DIAG));
    let mut socket = Socket::new(domain, Type::RAW, Some(protocol))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.write_all(&question(local, remote))?;
    let mut answer = [0; 1024];
    let n = socket.read(&mut answer)?;
    let short = || io::Error::other("a short answer from sock_diag");
    let kind = answer[..n].get(4..6).and_then(|b| b.try_into().ok()).map(u16::from_ne_bytes);
    let four = |at: std::ops::Range<usize>| {
        answer[..n].get(at).and_then(|b| b.try_into().ok()).map(u32::from_ne_bytes)
    };
    match kind.ok_or_else(short)? {
        SOCK_DIAG_BY_FAMILY => Ok(Some(four(INODE).ok_or_else(short)?.into())),
        NLMSG_ERROR => match four(16..20).ok_or_else(short)?.cast_signed() {
            error if error == -ENOENT => Ok(None),
            error => Err(io::Error::from_raw_os_error(-error)),
        },
        other => {
            Err(io::Error::other(format!("sock_diag answered with a message of type {other}")))
        }
    }
}

/// `struct nlmsghdr` and `struct inet_diag_req_v2`.
fn question(local: SocketAddr, remote: Option<SocketAddr>) -> Vec<u8> {
    let family = if local.is_ipv4() { AF_INET } else { AF_INET6 };
    let nobody = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    let remote = remote.unwrap_or(nobody);
    let mut body = vec![family, IPPROTO_TCP, 0, 0];
    body.extend(u32::MAX.to_ne_bytes());
    body.extend(local.port().to_be_bytes());
    body.extend(remote.port().to_be_bytes());
    for ip in [local.ip(), remote.ip()] {
        let mut bytes = match ip {
            IpAddr::V4(ip) => ip.octets().to_vec(),
            IpAddr::V6(ip) => ip.octets().to_vec(),
        };
        bytes.resize(16, 0);
        body.extend(bytes);
    }
    // Any interface, no cookie.
    body.extend(0_u32.to_ne_bytes());
    body.extend([0xFF; 8]);
    let mut message = (16 + body.len() as u32).to_ne_bytes().to_vec();
    message.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    message.extend(NLM_F_REQUEST.to_ne_bytes());
    message.extend([0; 8]);
    message.extend(body);
    message
}

/// The same from `/proc/net/tcp` and `/proc/net/tcp6`.
fn read_table(local: SocketAddr, remote: Option<SocketAddr>) -> io::Result<Option<u64>> {
    let mut table = std::fs::read_to_string("/proc/net/tcp")?;
    table.push_str(&std::fs::read_to_string("/proc/net/tcp6").unwrap_or_default());
    Ok(look_up(&table, local, remote))
}

/// The inode of a socket in the text of these tables.
fn look_up(table: &str, local: SocketAddr, remote: Option<SocketAddr>) -> Option<u64> {
    const LISTENS: &str = "0A";
    let found = table.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let [_, here, there, state, ..] = fields[..] else { return None };
        let here = address(here)?;
        let its = match remote {
            Some(remote) => same(here, local) && same(address(there)?, remote),
            None => {
                state == LISTENS
                    && here.port() == local.port()
                    && (here.ip().is_unspecified() || same(here, local))
            }
        };
        let inode = fields.get(9)?.parse().ok().filter(|_| its)?;
        Some((here.ip().is_unspecified(), inode))
    });
    // A socket on the address itself takes the client before one on all addresses does.
    found.min().map(|(_, inode)| inode)
}

fn same(a: SocketAddr, b: SocketAddr) -> bool {
    (a.ip().to_canonical(), a.port()) == (b.ip().to_canonical(), b.port())
}

/// An address as these tables write it: words of the address in the machine's order of bytes.
fn address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let words = ip.as_bytes().chunks(8).map(|word| {
        u32::from_str_radix(std::str::from_utf8(word).ok()?, 16).ok().map(u32::to_ne_bytes)
    });
    let bytes: Vec<u8> = words.collect::<Option<Vec<_>>>()?.concat();
    let ip = match bytes.len() {
        4 => IpAddr::from(<[u8; 4]>::try_from(bytes).ok()?),
        _ => IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?),
    };
    Some(SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::net::{Ipv6Addr, TcpListener, TcpStream};
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::MetadataExt;
    use std::time::{Duration, Instant};

    use super::*;

    fn inode(socket: &impl AsRawFd) -> u64 {
        let path = format!("/proc/self/fd/{}", socket.as_raw_fd());
        std::fs::metadata(path).expect("a descriptor").ino()
    }

    /// What both ways say of a pair of sockets.
    #[track_caller]
    fn check(listener: &TcpListener, to: SocketAddr) {
        let client = TcpStream::connect(to).expect("connects");
        let (peer, local) =
            (client.local_addr().expect("bound"), client.peer_addr().expect("there"));
        let (accepted, seen) = listener.accept().expect("accepts");
        let here = accepted.local_addr().expect("bound");
        assert_eq!(ask(seen, Some(here)).expect("answers"), Some(inode(&client)));
        assert_eq!(ask(peer, Some(local)).expect("answers"), Some(inode(&client)));
        assert_eq!(read_table(seen, Some(here)).expect("reads"), Some(inode(&client)));
        assert_eq!(ask(to, None).expect("answers"), Some(inode(listener)));
        assert_eq!(read_table(to, None).expect("reads"), Some(inode(listener)));
        drop(client);
        // A test beside this one may be starting a process. Until it runs its program, it holds every
        // descriptor of this one.
        let deadline = Instant::now() + Duration::from_secs(10);
        while connected(seen, here) != Some(0) {
            assert!(Instant::now() < deadline, "closed, and the other end not");
            std::thread::yield_now();
        }
        drop(accepted);
    }

    #[test]
    fn a_socket_is_found_by_its_addresses() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("port");
        check(&listener, listener.local_addr().expect("bound"));
    }

    #[test]
    fn so_it_is_over_ipv6_and_with_ipv4_in_it() {
        // A machine without IPv6 has nothing to tell apart.
        let Ok(listener) = TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0)) else { return };
        let port = listener.local_addr().expect("bound").port();
        check(&listener, (Ipv6Addr::LOCALHOST, port).into());
        check(&listener, (Ipv4Addr::LOCALHOST, port).into());
        check(&listener, (Ipv4Addr::LOCALHOST.to_ipv6_mapped(), port).into());
    }

    #[test]
    fn a_listener_on_the_address_itself_comes_before_one_on_all() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
            0: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 11 1\n   \
            1: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 22 1\n   \
            2: 0100007F:1F90 0100007F:9C40 01 00000000:00000000 00:00000000 00000000     0        0 33 1\n";
        let addr = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if cfg!(target_endian = "little") {
            assert_eq!(look_up(table, addr(8080), None), Some(22));
            assert_eq!(look_up(table, addr(8080), Some(addr(40_000))), Some(33));
            assert_eq!(look_up(table, addr(8081), None), None);
        }
    }
}
