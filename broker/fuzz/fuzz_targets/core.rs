//! A node under several clients that do as they like, in pieces, at any time, while it fails: nothing panics, nothing
//! hangs, what is kept for a peer is bounded, and nothing is left of those who are gone.
#![no_main]

#[path = "../client.rs"]
mod client;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use arbitrary::Arbitrary;
use bytes::BytesMut;
use client::Request;
use gauntlet_broker::wire::frame::OVERHEAD;
use gauntlet_broker::{
    Action, Batch, Config, ConnectionId, Core, Edge, MethodId, ReplyRule, Trigger, Way, Withheld,
};
use libfuzzer_sys::fuzz_target;

const PEER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1);
/// Connections at a time.
const PEERS: usize = 3;
/// Steps of a run.
const STEPS: usize = 300;
/// The core stops reading and delivering at 1 MiB; what one frame may still add, messages here being small.
const UNREAD: usize = (1 << 20) + (512 << 10);
/// A channel that is kept from answering holds as much, and lets go of it at once.
const HELD: usize = client::CHANNELS as usize * UNREAD;

#[derive(Arbitrary, Debug)]
enum Step {
    /// A client asks for something; in pieces of so many octets, or in one.
    Ask {
        peer: u8,
        channel: u8,
        cut: u8,
        request: Request,
    },
    /// A client sends a frame of sorts.
    Frame {
        peer: u8,
        kind: u8,
        channel: u8,
        payload: Vec<u8>,
    },
    /// A client sends anything.
    Octets {
        peer: u8,
        octets: Vec<u8>,
    },
    /// A client reads all there is.
    Read {
        peer: u8,
    },
    /// A client leaves, and another one comes.
    Leave {
        peer: u8,
        greets: bool,
    },
    /// Milliseconds pass.
    Pass(u16),
    /// Minutes pass.
    Idle(u8),
    Fault(Fault),
}

#[derive(Arbitrary, Debug)]
enum Fault {
    Crash,
    Shutdown,
    Up,
    CloseAll,
    Alarm(bool),
    Silence(bool),
    Remove(client::Name),
    CancelConsumers(client::Name),
    Withhold {
        class: u8,
        method: u8,
        ms: Option<u8>,
    },
    LiftWithheld,
    LiftAll,
    /// Something at a method.
    Arm {
        sent: bool,
        class: u8,
        method: u8,
        nth: u8,
        after: bool,
        what: u8,
    },
}

struct Peer {
    id: ConnectionId,
    input: BytesMut,
}

struct Run {
    core: Core,
    now: Duration,
    peers: Vec<Peer>,
    has_held: bool,
}

fuzz_target!(|steps: Vec<Step>| {
    let config = Config { max_message: 100_000, ..Config::default() };
    let (core, now) = (Core::new(config), Duration::ZERO);
    let mut run = Run { core, now, peers: Vec::new(), has_held: false };
    for _ in 0..PEERS {
        let peer = run.come(true);
        run.peers.push(peer);
    }
    for step in steps.into_iter().take(STEPS) {
        run.step(step);
    }
    run.end();
});

impl Run {
    fn step(&mut self, step: Step) {
        match step {
            Step::Ask { peer, channel, cut, request } => {
                let octets = request.octets(client::channel(channel));
                self.send(peer, &octets, cut);
            }
            Step::Frame { peer, kind, channel, payload } => {
                self.send(peer, &client::frame(kind, client::channel(channel), &payload), 0);
            }
            Step::Octets { peer, octets } => self.send(peer, &octets, 0),
            Step::Read { peer } => self.read(usize::from(peer) % PEERS),
            Step::Leave { peer, greets } => {
                let at = usize::from(peer) % PEERS;
                self.core.gone(self.peers[at].id, self.now);
                self.peers[at] = self.come(greets);
            }
            Step::Pass(ms) => self.pass(Duration::from_millis(ms.into())),
            Step::Idle(minutes) => self.pass(Duration::from_secs(60) * minutes.into()),
            Step::Fault(fault) => self.fault(fault),
        }
    }

    fn come(&mut self, greets: bool) -> Peer {
        let id = self.core.opened(PEER, self.now);
        let mut input = BytesMut::new();
        if greets {
            input.extend_from_slice(&client::greeting());
            self.core.received(id, &mut input, self.now);
        }
        Peer { id, input }
    }

    /// As the server does: it reads only while it may, and keeps what is not a whole frame.
    fn send(&mut self, peer: u8, octets: &[u8], cut: u8) {
        let at = usize::from(peer) % PEERS;
        let piece = if cut == 0 { octets.len().max(1) } else { usize::from(cut) };
        for piece in octets.chunks(piece) {
            let Peer { id, input } = &mut self.peers[at];
            if !self.core.may_read(*id) {
                return;
            }
            input.extend_from_slice(piece);
            self.core.received(*id, input, self.now);
            if self.core.may_read(*id) {
                let most = self.core.config().frame_max as usize + OVERHEAD;
                assert!(input.len() <= most, "{} octets wait for a frame", input.len());
            }
        }
    }

    fn read(&mut self, at: usize) {
        let (mut batch, mut woken) = (Batch::default(), Vec::new());
        self.core.take_woken(&mut woken);
        let Peer { id, input } = &mut self.peers[at];
        let ends = self.core.take_output(*id, &mut batch);
        let taken = batch.concat().len();
        assert!(taken <= UNREAD + if self.has_held { HELD } else { 0 }, "{taken} octets waited");
        if ends.is_some() {
            self.core.gone(*id, self.now);
            self.peers[at] = self.come(true);
        } else {
            // What had to wait for room.
            self.core.received(*id, input, self.now);
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.core.tick(self.now);
        let next = self.core.next_deadline();
        assert!(next.is_none_or(|next| next > self.now), "what is due was not done");
    }

    fn fault(&mut self, fault: Fault) {
        let core = &mut self.core;
        let method = |class: u8, method: u8| MethodId::of(class.into(), method.into());
        match fault {
            Fault::Crash => core.crash(),
            Fault::Shutdown => core.shutdown(),
            Fault::Up => core.up(),
            Fault::CloseAll => _ = core.close_all("because"),
            Fault::Alarm(on) => core.set_memory_alarm(on),
            Fault::Silence(on) => core.set_silence(on),
            Fault::Remove(queue) => _ = core.remove_queue("/", queue.text()),
            Fault::CancelConsumers(queue) => _ = core.cancel_consumers("/", queue.text()),
            Fault::LiftWithheld => core.lift_withheld(),
            Fault::LiftAll => core.lift_all(),
            Fault::Withhold { class, method: id, ms } => {
                self.has_held = true;
                let withheld = ms.map_or(Withheld::Forever, |ms| {
                    Withheld::Delayed(Duration::from_millis(ms.into()))
                });
                let method = method(class, id);
                core.withhold(ReplyRule { method, skip: 0, count: Some(1), withheld });
            }
            Fault::Arm { sent, class, method: id, nth, after, what } => core.arm(Trigger {
                way: if sent { Way::Out } else { Way::In },
                method: method(class, id),
                nth: nth.into(),
                edge: if after { Edge::After } else { Edge::Before },
                action: match what % 6 {
                    0 => Action::Crash,
                    1 => Action::Shutdown,
                    2 => Action::CloseAll { reason: "because".to_owned() },
                    3 => Action::CancelConsumers { vhost: "/".into(), queue: "a".into() },
                    4 => Action::DeleteQueue { vhost: "/".into(), queue: "a".into() },
                    _ => Action::MemoryAlarm(what < 128),
                },
            }),
        }
    }

    /// What queues are owed is what channels owe; and when everybody is gone nothing is.
    fn end(mut self) {
        let look = self.core.look();
        let owed: usize = look.queues.iter().map(|queue| queue.unacked).sum();
        let unacked: usize = look.channels.iter().map(|c| c.unacked + c.acks_uncommitted).sum();
        assert!(owed <= unacked, "queues are owed {owed}, channels owe {unacked}");
        for peer in &self.peers {
            self.core.gone(peer.id, self.now);
        }
        let look = self.core.look();
        assert!(look.connections.is_empty() && look.channels.is_empty());
        assert!(look.consumers.is_empty(), "{:?}", look.consumers);
        for queue in &look.queues {
            assert!(queue.unacked == 0 && queue.owner.is_none(), "{queue:?}");
        }
    }
}
