//! Blocking publishers while the node is short of memory: no more is read from whoever publishes.

use super::State;
use crate::core::{ChannelId, ConnectionId, Core};
use crate::wire::Reply;

/// A connection's part in an alarm.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Throttle {
    /// It has published since the alarm, and is not read from.
    pub is_blocked: bool,
    is_told: bool,
}

const REASON: &str = "low on memory";

impl Core {
    /// A connection opened during an alarm is blocked when it publishes, not before.
    pub(super) fn throttle_new(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.throttle = Throttle::default();
        }
    }

    /// Content has begun to arrive.
    pub(crate) fn published(&mut self, id: ConnectionId) {
        if !self.faults.alarm {
            return;
        }
        let Some(connection) = self.connections.get_mut(&id) else { return };
        if connection.state != State::Running || connection.throttle.is_blocked {
            return;
        }
        connection.throttle.is_blocked = true;
        if connection.capabilities.blocked && !connection.throttle.is_told {
            connection.throttle.is_told = true;
            let blocked = Reply::ConnectionBlocked { reason: REASON };
            self.reply(ChannelId { connection: id, channel: 0 }, &blocked);
        }
    }

    /// Raises or lifts the memory alarm.
    pub fn set_memory_alarm(&mut self, on: bool) {
        if self.faults.alarm == on {
            return;
        }
        self.faults.alarm = on;
        let ids: Vec<ConnectionId> = self.connections.keys().copied().collect();
        for id in ids {
            let Some(connection) = self.connections.get_mut(&id) else { continue };
            if on || !connection.throttle.is_blocked {
                continue;
            }
            let was_told = connection.throttle.is_told;
            connection.throttle = Throttle::default();
            if was_told {
                self.reply(ChannelId { connection: id, channel: 0 }, &Reply::ConnectionUnblocked);
            }
            // Whoever holds what was not read goes on.
            self.wake(id);
        }
    }
}
