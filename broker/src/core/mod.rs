//! One simulated RabbitMQ node, without socket and without clock: bytes and time in; bytes, closes and deadlines out.
//!
//! ```text
//! opened, received, gone, tick --> Core --> take_woken, take_output, next_deadline
//! ```
//!
//! Time is a [`Duration`] since the node's beginning and is passed in; it never goes back. Whoever drives the core asks
//! after each call which connections have something to send ([`Core::take_woken`]), takes it when the peer is able to
//! receive ([`Core::take_output`]), and reads from a peer only while [`Core::may_read`] allows it. That bounds what the
//! core keeps for a peer.

pub mod config;

mod deliver;

mod exchanges;

mod out;

mod queues;

mod receive;

mod send;

mod streams;

pub(crate) mod timers;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use bytes::BytesMut;
use rand::SeedableRng as _;
use rand_pcg::Pcg64Mcg;

pub use config::Config;
pub(crate) use out::Out;
pub use out::{Batch, How};
pub(crate) use send::HELD_MOST;

use crate::channel::Channel;
use crate::connection::Connection;
use crate::faults::Faults;
use crate::look::events::{Event, Events};
use crate::model::message::{Message, Reason};
use crate::model::user::{Hash, Permission, User};
use crate::model::vhost::VHost;
use crate::model::{Model, Name, QueueId};
use timers::{Timer, Timers};

/// Which connection, over the life of the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// A channel of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChannelId {
    /// Whose.
    pub connection: ConnectionId,
    /// Its number; 0 is the connection itself.
    pub channel: u16,
}

/// A message on its way to a dead-letter exchange.
#[derive(Debug)]
pub(crate) struct Dead {
    vhost: Name,
    queue: Name,
    exchange: Name,
    key: Option<Name>,
    reason: Reason,
    message: std::sync::Arc<Message>,
}

/// A node.
#[derive(Debug)]
pub struct Core {
    pub(crate) config: Config,
    pub(crate) now: Duration,
    pub(crate) model: Model,
    pub(crate) connections: BTreeMap<ConnectionId, Connection>,
    pub(crate) timers: Timers,
    pub(crate) faults: Faults,
    pub(crate) events: Events,
    pub(crate) dice: Pcg64Mcg,
    /// Connections with something to send, to read or to end.
    woken: Vec<ConnectionId>,
    /// Queues that may be able to deliver.
    dirty: VecDeque<QueueId>,
    dead: VecDeque<Dead>,
    /// For routing, kept for its memory.
    routed: Vec<QueueId>,
    is_down: bool,
}

impl Core {
    /// A node that has just started: virtual host `/`, user `guest`.
    pub fn new(config: Config) -> Core {
        let dice = Pcg64Mcg::seed_from_u64(config.seed);
        let mut core = Core {
            config,
            now: Duration::ZERO,
            model: Model::default(),
            connections: BTreeMap::new(),
            timers: Timers::default(),
            faults: Faults::default(),
            events: Events::default(),
            dice,
            woken: Vec::new(),
            dirty: VecDeque::new(),
            dead: VecDeque::new(),
            routed: Vec::new(),
            is_down: false,
        };
        core.model.vhosts.insert("/".into(), VHost::new("/".into()));
        let permissions = Permission::new(".*", ".*", ".*")
            .map(|all| BTreeMap::from([(Name::from("/"), all)]))
            .unwrap_or_default();
        let guest = User {
            name: "guest".into(),
            password: Hash::of(0, b"guest"),
            tags: vec!["administrator".to_owned()],
            permissions,
        };
        core.model.users.0.insert(guest.name.clone(), guest);
        core
    }

    /// A peer has connected.
    pub fn opened(&mut self, peer: SocketAddr, now: Duration) -> ConnectionId {
        self.at(now);
        let id = ConnectionId(self.model.number());
        let mut connection = Connection::new(id, peer, self.config.addr);
        connection.is_mute = self.faults.silence;
        self.faults.unanswered += u64::from(self.faults.silence);
        if !connection.is_mute {
            let until = self.now + self.config.handshake_timeout;
            self.timers.set(Timer::Handshake(id), Some(until));
        }
        self.connections.insert(id, connection);
        id
    }

    /// Bytes from a peer. Whole frames are taken from the front of `bytes`; what is left is to be passed in again
    /// with what comes after it, or as soon as the connection is woken.
    pub fn received(&mut self, id: ConnectionId, bytes: &mut BytesMut, now: Duration) {
        self.at(now);
        self.take_frames(id, bytes);
        self.flush_confirms(id);
        self.look_after();
    }

    /// The connection is over, whoever ended it. Nothing is kept of it.
    pub fn gone(&mut self, id: ConnectionId, now: Duration) {
        self.at(now);
        self.forget(id);
        self.look_after();
    }

    /// Does what is due.
    pub fn tick(&mut self, now: Duration) {
        self.at(now);
        self.look_after();
        while let Some(timer) = self.timers.due(self.now) {
            self.fire(timer);
            self.look_after();
        }
    }

    /// When to call [`Core::tick`] next.
    pub fn next_deadline(&self) -> Option<Duration> {
        self.timers.next()
    }

    /// Whether bytes from that peer are welcome. Not while it is blocked, and not while it leaves too much unread.
    pub fn may_read(&self, id: ConnectionId) -> bool {
        self.connections.get(&id).is_some_and(Connection::may_read)
    }

    /// The connections with something to do since the last call: output, a close, or permission to read on.
    pub fn take_woken(&mut self, into: &mut Vec<ConnectionId>) {
        into.append(&mut self.woken);
        for id in into.iter() {
            if let Some(connection) = self.connections.get_mut(id) {
                connection.is_woken = false;
            }
        }
    }

    /// Everything to be sent to that peer, behind what is in `batch`; and whether the connection ends after it.
    pub fn take_output(&mut self, id: ConnectionId, batch: &mut Batch) -> Option<How> {
        let Some(connection) = self.connections.get_mut(&id) else { return Some(How::Fin) };
        let was_full = connection.out.is_full();
        let taken = connection.out.take(batch);
        connection.sent += taken as u64;
        let closing = connection.ending;
        if was_full && !self.is_down {
            self.room(id);
            self.look_after();
        }
        closing
    }

    /// Whether it is down: nothing is accepted, nothing kept but what is durable.
    pub const fn is_down(&self) -> bool {
        self.is_down
    }

    /// The configuration.
    pub const fn config(&self) -> &Config {
        &self.config
    }

    fn at(&mut self, now: Duration) {
        self.now = self.now.max(now);
    }

    /// Seconds since 1970.
    pub(crate) fn unix_seconds(&self) -> u64 {
        (self.config.epoch + self.now).as_secs()
    }

    pub(crate) fn wake(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connections.get_mut(&id) {
            wake(connection, &mut self.woken);
        }
    }

    pub(crate) fn channel(&mut self, at: ChannelId) -> Option<&mut Channel> {
        self.connections.get_mut(&at.connection)?.channels.get_mut(&at.channel)
    }

    pub(crate) fn vhost_of(&self, id: ConnectionId) -> Name {
        self.connections.get(&id).map_or_else(|| "".into(), |connection| connection.vhost.clone())
    }

    pub(crate) fn note(&mut self, event: impl FnOnce() -> Event) {
        let now = self.now;
        self.events.push(now, event);
    }

    pub(crate) fn set_down(&mut self, down: bool) {
        self.is_down = down;
    }

    pub(crate) fn clear_work(&mut self) {
        self.dirty.clear();
        self.dead.clear();
        self.timers.clear();
    }

    fn fire(&mut self, timer: Timer) {
        match timer {
            Timer::Handshake(id) => self.handshake_over(id),
            Timer::HeartbeatOut(id) => self.heartbeat_out(id),
            Timer::HeartbeatIn(id) => self.heartbeat_in(id),
            Timer::End(id) => self.end(id, How::Fin),
            Timer::Messages(id) => self.message_timer(id),
            Timer::Queue(id) => self.queue_timer(id),
            Timer::Channel(id, channel) => {
                self.channel_timer(ChannelId { connection: id, channel });
            }
            Timer::Release(id, channel) => self.release(ChannelId { connection: id, channel }),
        }
    }
}

/// Marks a connection as having something to do.
pub(crate) fn wake(connection: &mut Connection, woken: &mut Vec<ConnectionId>) {
    if !connection.is_woken {
        connection.is_woken = true;
        woken.push(connection.id);
    }
}
