//! A connection: its handshake, heartbeats, blocking and end. What happens on its channels is in [`crate::channel`].

mod auth;

mod close;

mod handshake;

mod heartbeat;

mod throttle;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use crate::channel::{Channel, Held};
use crate::core::{ConnectionId, How};
use crate::model::Name;
use crate::wire::Table;
use crate::wire::frame::FRAME_MIN;

pub(crate) use throttle::Throttle;

/// Where a connection is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The protocol header is awaited.
    Header,
    /// `start` was sent.
    Starting,
    /// `secure` was sent; no mechanism here does.
    Securing,
    /// `tune` was sent.
    Tuning,
    /// `tune-ok` was received.
    Opening,
    /// `open-ok` was sent.
    Running,
    /// `close` or `close-ok` was sent: only the peer's `close-ok` or end is awaited.
    Closed,
    /// The peer broke the rules: it is ignored until it is cut off.
    Ignored,
    /// The end is decided.
    Over,
}

impl State {
    /// As RabbitMQ names it in errors.
    pub const fn name(self) -> &'static str {
        match self {
            State::Header => "pre_init",
            State::Starting => "starting",
            State::Securing => "securing",
            State::Tuning => "tuning",
            State::Opening => "opening",
            State::Running => "running",
            State::Closed | State::Ignored | State::Over => "closed",
        }
    }
}

/// What a client said it can do.
#[derive(Clone, Copy, Debug, Default)]
pub struct Capabilities {
    /// It understands a close after a failed login.
    pub authentication_failure_close: bool,
    /// It understands `basic.cancel`.
    pub consumer_cancel_notify: bool,
    /// It understands `connection.blocked`.
    pub blocked: bool,
}

/// A connection.
#[derive(Debug)]
pub struct Connection {
    pub(crate) id: ConnectionId,
    pub(crate) peer: SocketAddr,
    pub(crate) name: String,
    pub(crate) state: State,
    pub(crate) properties: Table,
    pub(crate) capabilities: Capabilities,
    pub(crate) mechanism: String,
    pub(crate) user: Name,
    pub(crate) vhost: Name,
    pub(crate) frame_max: u32,
    pub(crate) channel_max: u16,
    pub(crate) heartbeat: u16,
    pub(crate) channels: BTreeMap<u16, Channel>,
    /// Channels with confirms to be sent.
    pub(crate) unconfirmed: Vec<u16>,
    pub(crate) out: crate::core::Out,
    /// Bytes received, and handed out to be sent.
    pub(crate) received: u64,
    pub(crate) sent: u64,
    /// Bytes received that are not a frame yet, or must wait.
    pub(crate) leftover: usize,
    pub(crate) pulse: heartbeat::Pulse,
    pub(crate) throttle: Throttle,
    pub(crate) opened: Duration,
    /// What channel 0 is kept from saying.
    pub(crate) held: Option<Held>,
    /// A channel holds back more than is good.
    pub(crate) is_choked: bool,
    /// It is listened to and never answered.
    pub(crate) is_mute: bool,
    pub(crate) ending: Option<How>,
    pub(crate) is_woken: bool,
}

impl Connection {
    /// One from which nothing was heard yet.
    pub(crate) fn new(id: ConnectionId, peer: SocketAddr, own: SocketAddr) -> Connection {
        Connection {
            id,
            peer,
            name: format!("{peer} -> {own}"),
            state: State::Header,
            properties: Table::default(),
            capabilities: Capabilities::default(),
            mechanism: String::new(),
            user: "".into(),
            vhost: "".into(),
            frame_max: FRAME_MIN,
            channel_max: 0,
            heartbeat: 0,
            channels: BTreeMap::new(),
            unconfirmed: Vec::new(),
            out: crate::core::Out::default(),
            received: 0,
            sent: 0,
            leftover: 0,
            pulse: heartbeat::Pulse::default(),
            throttle: Throttle::default(),
            opened: Duration::ZERO,
            held: None,
            is_choked: false,
            is_mute: false,
            ending: None,
            is_woken: false,
        }
    }

    /// Whether bytes are welcome.
    pub(crate) fn may_read(&self) -> bool {
        self.ending.is_none()
            && !self.is_mute
            && !self.is_choked
            && !self.throttle.is_blocked
            && !self.out.is_full()
    }

    /// Whether messages can be delivered.
    pub(crate) fn has_room(&self) -> bool {
        self.ending.is_none() && !self.out.is_full()
    }
}
