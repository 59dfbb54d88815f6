//! A node under several clients that do as they like, in pieces, at any time, while it fails and an operator changes what
//! they stand on: nothing panics, nothing hangs, what is kept for a peer is bounded, and nothing is left of those who are
//! gone.
#![no_main]

#[path = "../client.rs"]
mod client;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use arbitrary::Arbitrary;
use bytes::BytesMut;
use client::Request;
use gauntlet_broker::look::messages::Settle;
use gauntlet_broker::model::exchange::{Exchange, Kind};
use gauntlet_broker::model::message::Message;
use gauntlet_broker::model::user::Permission;
use gauntlet_broker::wire::frame::OVERHEAD;
use gauntlet_broker::{
    Action, Batch, Config, ConnectionId, Core, Edge, MethodId, ReplyRule, Table, Trigger, Direction,
    Withheld,
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
    Operator(Operator),
}

/// What an operator does, in one of two virtual hosts, the second of which is not there at first.
#[derive(Arbitrary, Debug)]
enum Operator {
    Policy {
        on: bool,
        name: client::Name,
        pattern: u8,
        apply_to: u8,
        priority: i8,
        says: [Option<client::Argument>; 3],
    },
    NoPolicy {
        on: bool,
        name: client::Name,
    },
    VHost {
        on: bool,
        default_type: u8,
    },
    NoVHost {
        on: bool,
    },
    User {
        guest: bool,
        password: bool,
    },
    NoUser {
        guest: bool,
    },
    Permission {
        guest: bool,
        on: bool,
        patterns: Option<[u8; 3]>,
    },
    Queue {
        on: bool,
        name: client::Name,
        bits: u8,
        arguments: [Option<client::Argument>; 3],
    },
    Exchange {
        on: bool,
        name: client::Name,
        bits: u8,
    },
    NoExchange {
        on: bool,
        name: client::Name,
    },
    Bind {
        on: bool,
        from: client::Name,
        to: client::Name,
        to_exchange: bool,
        undo: bool,
    },
    Purge {
        on: bool,
        name: client::Name,
    },
    Put {
        on: bool,
        exchange: client::Name,
        key: client::Name,
        size: u16,
    },
    Take {
        on: bool,
        name: client::Name,
        most: u8,
        settle: u8,
    },
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
            Step::Operator(operator) => self.operate(operator),
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
                way: if sent { Direction::Out } else { Direction::In },
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

    /// Refusals are answers, too.
    fn operate(&mut self, operator: Operator) {
        let core = &mut self.core;
        let vhost = |on: bool| if on { "/" } else { "v" };
        let user = |guest: bool| if guest { "guest" } else { "u" };
        let pattern = |which: u8| [".*", "", "^a", "b|c", "^$", "("][usize::from(which) % 6];
        match operator {
            Operator::Policy { on, name, pattern: which, apply_to, priority, says } => {
                let kinds = ["all", "queues", "classic_queues", "quorum_queues", "streams", "exchanges"];
                let apply_to = kinds[usize::from(apply_to) % kinds.len()];
                let says = client::policy(&says);
                let (vhost, pattern) = (vhost(on), pattern(which));
                _ = core.set_policy(vhost, name.text(), pattern, apply_to, priority.into(), says);
            }
            Operator::NoPolicy { on, name } => _ = core.delete_policy(vhost(on), name.text()),
            Operator::VHost { on, default_type } => {
                let types = ["classic", "quorum", "stream"];
                let kind = types[usize::from(default_type) % types.len()].to_owned();
                core.set_vhost(vhost(on), |about| about.default_queue_type = kind);
            }
            Operator::NoVHost { on } => _ = core.delete_vhost(vhost(on)),
            Operator::User { guest, password } => {
                let password = if password { "guest" } else { "other" };
                core.set_user(user(guest), password, &["management"]);
            }
            Operator::NoUser { guest } => _ = core.delete_user(user(guest)),
            Operator::Permission { guest, on, patterns } => {
                let permission = patterns
                    .and_then(|[c, w, r]| Permission::new(pattern(c), pattern(w), pattern(r)).ok());
                _ = core.set_permission(user(guest), vhost(on), permission);
            }
            Operator::Queue { on, name, bits, arguments } => {
                let (durable, fleeting) = (bits & 1 != 0, bits & 2 != 0);
                let arguments = client::arguments(&arguments);
                _ = core.declare_queue(vhost(on), name.text(), durable, fleeting, arguments);
            }
            Operator::Exchange { on, name, bits } => {
                let kinds = [Kind::Direct, Kind::Fanout, Kind::Topic, Kind::Headers];
                let kind = kinds[usize::from(bits) % kinds.len()];
                let durable = bits & 4 != 0;
                let auto_delete = bits & 8 != 0;
                let exchange =
                    Exchange { durable, auto_delete, ..Exchange::new(name.text().into(), kind) };
                _ = core.declare_exchange(vhost(on), exchange);
            }
            Operator::NoExchange { on, name } => _ = core.remove_exchange(vhost(on), name.text()),
            Operator::Bind { on, from, to, to_exchange, undo } => {
                let (at, from, to) = (vhost(on), from.text(), to.text());
                let none = Table::default();
                if undo {
                    _ = core.remove_bind(at, from, to, to_exchange, "a", &none);
                } else {
                    _ = core.add_bind(at, from, to, to_exchange, "a", none);
                }
            }
            Operator::Purge { on, name } => _ = core.purge(vhost(on), name.text()),
            Operator::Put { on, exchange, key, size } => {
                let (exchange, key) = (exchange.text().into(), key.text().into());
                let body = vec![b'p'; size.into()].into();
                let message = Message::published(exchange, key, vec![0, 0].into(), body);
                _ = core.put_message(vhost(on), message.expect("no properties are well-formed"));
            }
            Operator::Take { on, name, most, settle } => {
                let settle =
                    [Settle::Ack, Settle::Requeue, Settle::Reject][usize::from(settle) % 3];
                _ = core.take_messages(vhost(on), name.text(), most.into(), settle);
            }
        }
    }

    /// What queues are owed is what channels owe; and when everybody is gone nothing is.
    fn end(mut self) {
        let look = self.core.look();
        let owed: usize = look.queues.iter().map(|queue| queue.unacked).sum();
        let unacked: usize = look.channels.iter().map(|c| c.unacked + c.acks_uncommitted).sum();
        assert!(owed <= unacked, "queues are owed {owed}, channels owe {unacked}");
        let known = |vhost: &str| look.vhosts.iter().any(|it| it == vhost);
        assert!(look.queues.iter().all(|queue| known(&queue.vhost)), "a queue of no virtual host");
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
