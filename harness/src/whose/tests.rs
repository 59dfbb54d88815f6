//! Tests of whose a connection is, with processes of their own.

use std::io::Read;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use super::*;

/// A shell that connects to `to` and stays until that ends; what it does before and after.
fn shell(before: &str, to: SocketAddr, after: &str) -> Command {
    let script =
        format!("{before} exec 3<>/dev/tcp/127.0.0.1/{}; {after} read line <&3", to.port());
    let mut command = Command::new("bash");
    command.args(["-c", &script]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

struct Rig {
    listener: TcpListener,
    addr: SocketAddr,
    whose: Whose,
}

impl Rig {
    fn new() -> Rig {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("port");
        let addr = listener.local_addr().expect("bound");
        Rig { listener, addr, whose: Whose::default() }
    }

    fn of_a_command() -> Rig {
        let rig = Rig::new();
        rig.whose.marked("a-mark");
        rig
    }

    /// Starts a copy of the subject.
    fn copy(&self, number: u32, mut command: Command) -> Child {
        let started = self.whose.enrol(|| {
            let child = command.process_group(0).spawn()?;
            std::io::Result::Ok((number, child.id(), child))
        });
        started.expect("a shell").1
    }

    /// Whose the next connection is.
    fn next(&self) -> Owner {
        let (_stream, peer) = self.listener.accept().expect("accepts");
        self.whose.client(peer, self.addr)
    }
}

fn end(mut child: Child) {
    child.kill().expect("it is there");
    child.wait().expect("it was killed");
}

#[test]
fn a_subject_in_this_process_holds_its_own_sockets_and_no_other() {
    let rig = Rig::new();
    let client = TcpStream::connect(rig.addr).expect("connects");
    assert_eq!(rig.next(), Owner::Subject { pid: std::process::id(), copy: None });
    drop(client);
    let stranger = shell("", rig.addr, "").spawn().expect("a shell");
    let owner = rig.next();
    assert!(
        matches!(&owner, Owner::Other { pid, name } if *pid == stranger.id() && name.starts_with("bash")),
        "{owner:?}"
    );
    end(stranger);
}

#[test]
fn a_copy_is_known_by_its_process_its_children_and_its_mark() {
    let rig = Rig::of_a_command();
    let first = rig.copy(1, shell("", rig.addr, ""));
    assert_eq!(rig.next(), Owner::Subject { pid: first.id(), copy: Some(1) });
    let second = rig.copy(2, shell("(", rig.addr, "read line <&3) & wait;"));
    let owner = rig.next();
    assert!(
        matches!(owner, Owner::Subject { pid, copy: Some(2) } if pid != second.id()),
        "{owner:?}"
    );
    let mut daemon = shell("", rig.addr, "");
    let daemon = daemon.env(crate::broker::SUBJECT_VARIABLE, "a-mark").process_group(0);
    let daemon = daemon.spawn().expect("a shell");
    assert_eq!(rig.next(), Owner::Subject { pid: daemon.id(), copy: None });
    let stranger = shell("", rig.addr, "").spawn().expect("a shell");
    assert!(matches!(rig.next(), Owner::Other { pid, .. } if pid == stranger.id()));
    [first, second, daemon, stranger].into_iter().for_each(end);
}

#[test]
fn who_is_gone_before_the_look_is_nobody() {
    let rig = Rig::of_a_command();
    drop(TcpStream::connect(rig.addr).expect("connects"));
    let (stream, peer) = rig.listener.accept().expect("accepts");
    // Its end has come: the socket is closed.
    assert_eq!((&stream).read(&mut [0]).expect("an end"), 0);
    assert!(rig.whose.is_stranger(peer, rig.addr));
    assert_eq!(rig.whose.taken(peer), Owner::Gone);
    assert_eq!(rig.whose.taken(peer), Owner::Unknown, "it is told once");
}

#[test]
fn a_process_that_opened_the_virtual_host_is_a_stranger_no_more() {
    let rig = Rig::of_a_command();
    let client = TcpStream::connect(rig.addr).expect("connects");
    let peer = client.local_addr().expect("bound");
    assert!(rig.whose.is_stranger(peer, rig.addr));
    rig.whose.proved(std::process::id());
    assert!(!rig.whose.is_stranger(peer, rig.addr));
}

#[test]
fn a_port_is_served_by_its_owner_or_by_nobody() {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
    let socket = socket.expect("a socket");
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).expect("a port");
    let addr = socket.local_addr().expect("bound").as_socket().expect("of TCP");
    let whose = Whose::default();
    assert_eq!(whose.server(addr), None);
    socket.listen(1).expect("listens");
    assert_eq!(whose.server(addr), Some(Owner::Subject { pid: std::process::id(), copy: None }));
}
