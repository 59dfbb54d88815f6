//! What is to happen when. One entry a timer: setting it again moves it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::ConnectionId;
use crate::model::QueueId;

/// A reason to be woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Timer {
    /// The handshake has taken too long.
    Handshake(ConnectionId),
    /// Is a heartbeat to be sent?
    HeartbeatOut(ConnectionId),
    /// Is the peer alive?
    HeartbeatIn(ConnectionId),
    /// The peer has had time enough to close.
    End(ConnectionId),
    /// The message at a queue's head expires.
    Messages(QueueId),
    /// An unused queue expires.
    Queue(QueueId),
    /// Have deliveries on that channel been acknowledged in time?
    Channel(ConnectionId, u16),
    /// A delayed reply goes out.
    Release(ConnectionId, u16),
}

/// All timers of a node.
#[derive(Debug, Default)]
pub struct Timers {
    by_time: BTreeSet<(Duration, Timer)>,
    by_timer: BTreeMap<Timer, Duration>,
}

impl Timers {
    /// Sets, moves or, with none, stops it.
    pub fn set(&mut self, timer: Timer, at: Option<Duration>) {
        let old = match at {
            Some(at) => self.by_timer.insert(timer, at),
            None => self.by_timer.remove(&timer),
        };
        if let Some(old) = old {
            self.by_time.remove(&(old, timer));
        }
        if let Some(at) = at {
            self.by_time.insert((at, timer));
        }
    }

    /// Stops everything that concerns a connection itself.
    pub fn forget(&mut self, id: ConnectionId) {
        let timers = [
            Timer::Handshake(id),
            Timer::HeartbeatOut(id),
            Timer::HeartbeatIn(id),
            Timer::End(id),
            Timer::Release(id, 0),
        ];
        for timer in timers {
            self.set(timer, None);
        }
    }

    /// When the next one is due.
    pub fn next(&self) -> Option<Duration> {
        self.by_time.first().map(|(at, _)| *at)
    }

    /// Takes one that is due.
    pub fn due(&mut self, now: Duration) -> Option<Timer> {
        let (at, timer) = *self.by_time.first()?;
        if at > now {
            return None;
        }
        self.set(timer, None);
        Some(timer)
    }

    /// Stops everything.
    pub fn clear(&mut self) {
        self.by_time.clear();
        self.by_timer.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn setting_again_moves() {
        let mut timers = Timers::default();
        let (a, b) = (Timer::Queue(QueueId(1)), Timer::Queue(QueueId(2)));
        let at = Duration::from_secs;
        timers.set(a, Some(at(5)));
        timers.set(b, Some(at(3)));
        timers.set(a, Some(at(1)));
        assert_eq!(timers.next(), Some(at(1)));
        assert_eq!(timers.due(at(4)), Some(a));
        assert_eq!(timers.due(at(2)), None);
        timers.set(b, None);
        assert_eq!(timers.next(), None);
    }
}
