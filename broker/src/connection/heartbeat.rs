//! Heartbeats with RabbitMQ's timing: sent when half an interval was silent; a peer is dead when two looks in a row, an
//! interval apart, find nothing new.

use std::time::Duration;

use super::State;
use crate::core::timers::Timer;
use crate::core::{ConnectionId, Core, How};
use crate::wire::frame::HEARTBEAT;

/// What was seen at the last look.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pulse {
    sent: u64,
    received: u64,
    silent: bool,
}

impl Core {
    /// From `tune-ok` on.
    pub(super) fn start_heartbeats(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        if connection.heartbeat == 0 {
            return;
        }
        let interval = Duration::from_secs(u64::from(connection.heartbeat));
        connection.pulse =
            Pulse { sent: connection.sent, received: connection.received, silent: false };
        self.timers.set(Timer::HeartbeatOut(id), Some(self.now + interval / 2));
        self.timers.set(Timer::HeartbeatIn(id), Some(self.now + interval));
    }

    /// What was sent during the handshake does not put off the first heartbeat.
    pub(super) fn heartbeats_from_here(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.pulse.sent = connection.sent + connection.out.len() as u64;
        }
    }

    /// Half an interval is over.
    pub(crate) fn heartbeat_out(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        if connection.state == State::Over || connection.is_mute {
            return;
        }
        // A peer that does not read finds more heartbeats than it needs when it does.
        if connection.sent == connection.pulse.sent && connection.out.len() == 0 {
            connection.out.tail().extend_from_slice(&HEARTBEAT);
            connection.pulse.sent = connection.sent + HEARTBEAT.len() as u64;
            self.wake(id);
        } else {
            connection.pulse.sent = connection.sent;
        }
        let Some(connection) = self.connections.get(&id) else { return };
        let half = Duration::from_secs(u64::from(connection.heartbeat)) / 2;
        self.timers.set(Timer::HeartbeatOut(id), Some(self.now + half));
    }

    /// An interval is over.
    pub(crate) fn heartbeat_in(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let pulse = &mut connection.pulse;
        // A blocked peer is not read from, and so not suspected.
        if connection.received != pulse.received || connection.throttle.is_blocked {
            pulse.received = connection.received;
            pulse.silent = false;
        } else if pulse.silent {
            tracing::debug!(connection = id.0, "missed heartbeats from the client");
            self.end(id, How::Fin);
            return;
        } else {
            pulse.silent = true;
        }
        let interval = Duration::from_secs(u64::from(connection.heartbeat));
        self.timers.set(Timer::HeartbeatIn(id), Some(self.now + interval));
    }
}
