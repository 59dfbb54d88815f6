//! What happens in a node, as a stream for whoever listens. Nobody listening costs nothing.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use crate::core::{ChannelId, ConnectionId};
use crate::model::{ConsumerId, Name};

/// Unheard events kept at most; then the oldest are lost, and counted.
const MOST: usize = 65_536;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are what the names say")]
pub enum Event {
    /// `connection.open-ok` was sent.
    ConnectionOpened { connection: ConnectionId, peer: SocketAddr, user: Name, vhost: Name },
    /// The socket is gone.
    ConnectionClosed { connection: ConnectionId },
    /// `channel.open-ok` was sent.
    ChannelOpened { at: ChannelId },
    /// A channel was closed by its client, or with its connection.
    ChannelClosed { at: ChannelId },
    /// `channel.close` was sent, with this text.
    ChannelFailed { at: ChannelId, text: String },
    /// `basic.consume-ok` was sent.
    ConsumerStarted { at: ChannelId, consumer: ConsumerId, tag: Name, queue: Name },
    /// A consumer was cancelled by either side, or went with its channel.
    ConsumerGone { at: ChannelId, consumer: ConsumerId },
    /// A queue is new.
    QueueDeclared { vhost: Name, queue: Name },
    /// A queue is gone.
    QueueDeleted { vhost: Name, queue: Name },
    /// An exchange is new.
    ExchangeDeclared { vhost: Name, exchange: Name },
    /// An exchange is gone.
    ExchangeDeleted { vhost: Name, exchange: Name },
    /// The node went down.
    Down,
    /// The node came up.
    Up,
}

/// Events not yet heard.
#[derive(Debug, Default)]
pub(crate) struct Events {
    is_on: bool,
    queue: VecDeque<(Duration, Event)>,
    lost: u64,
}

impl Events {
    pub fn push(&mut self, now: Duration, event: impl FnOnce() -> Event) {
        if !self.is_on {
            return;
        }
        if self.queue.len() == MOST {
            self.queue.pop_front();
            self.lost += 1;
        }
        self.queue.push_back((now, event()));
    }

    pub fn listen(&mut self) {
        self.is_on = true;
    }

    pub fn is_waiting(&self) -> bool {
        !self.queue.is_empty()
    }

    pub fn take(&mut self) -> (Vec<(Duration, Event)>, u64) {
        (self.queue.drain(..).collect(), std::mem::take(&mut self.lost))
    }
}
