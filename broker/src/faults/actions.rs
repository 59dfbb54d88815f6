//! Faults as calls: each has happened when the call returns.

use std::time::Duration;

use super::{ReplyRule, Trigger};
use crate::connection::State;
use crate::core::{ConnectionId, Core};
use crate::model::Name;
use crate::wire::{AmqpError, Code};

/// A fault that a trigger can set off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// [`Core::crash`].
    Crash,
    /// [`Core::shutdown`].
    Shutdown,
    /// [`Core::close_all`].
    CloseAll {
        /// Told to the clients.
        reason: String,
    },
    /// [`Core::cancel_consumers`].
    CancelConsumers {
        /// The virtual host.
        vhost: Name,
        /// The queue.
        queue: Name,
    },
    /// [`Core::remove_queue`].
    DeleteQueue {
        /// The virtual host.
        vhost: Name,
        /// The queue.
        queue: Name,
    },
    /// [`Core::set_memory_alarm`].
    MemoryAlarm(bool),
}

impl Core {
    pub(crate) fn act_all(&mut self, actions: Vec<Action>) {
        for action in actions {
            self.act(action);
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Crash => self.crash(),
            Action::Shutdown => self.shutdown(),
            Action::CloseAll { reason } => {
                self.close_all(&reason);
            }
            Action::CancelConsumers { vhost, queue } => {
                self.cancel_consumers(&vhost, &queue);
            }
            Action::DeleteQueue { vhost, queue } => {
                self.remove_queue(&vhost, &queue);
            }
            Action::MemoryAlarm(on) => self.set_memory_alarm(on),
        }
    }

    /// Does something when a method passes.
    pub fn arm(&mut self, trigger: Trigger) {
        self.faults.arm(trigger);
    }

    /// Holds replies back.
    pub fn withhold(&mut self, rule: ReplyRule) {
        self.faults.withhold(rule);
    }

    /// Holds nothing back any more, and lets go of what was held.
    pub fn lift_withheld(&mut self) {
        self.faults.clear_replies();
        self.release_all();
        self.look_after();
    }

    /// Disarms every trigger and rule, ends silence and alarm, and lets go of what was held.
    pub fn lift_all(&mut self) {
        self.faults.clear();
        self.set_silence(false);
        self.set_memory_alarm(false);
        self.lift_withheld();
    }

    /// How many triggers have fired since the node began, and how many wait.
    pub fn triggers(&self) -> (u64, usize) {
        self.faults.counts()
    }

    /// How many replies were held back since the node began, and how many connections were not answered.
    pub fn touched(&self) -> (u64, u64) {
        self.faults.touched()
    }

    /// Connections made while this is on are accepted and never answered; when it ends they are.
    pub fn set_silence(&mut self, on: bool) {
        self.faults.silence = on;
        if on {
            return;
        }
        let ids: Vec<ConnectionId> = self.connections.keys().copied().collect();
        for id in ids {
            if let Some(connection) = self.connections.get_mut(&id) {
                connection.is_mute = false;
            }
            self.wake(id);
        }
    }

    /// After how long an unsettled delivery closes its channel, and how often that is looked at: for channels opened
    /// from now on.
    pub fn set_consumer_timeout(&mut self, timeout: Duration, tick: Duration) {
        self.config.consumer_timeout = timeout;
        self.config.consumer_timeout_tick = tick;
    }

    /// Closes a connection with 320 and `reason`. Whether it was there and open.
    pub fn close_connection(&mut self, id: ConnectionId, reason: &str) -> bool {
        let is_open = self.connections.get(&id).is_some_and(|c| c.state == State::Running);
        if is_open {
            self.fail_connection(id, &AmqpError::new(Code::ConnectionForced, reason));
            self.look_after();
        }
        is_open
    }

    /// Closes every open connection with 320 and `reason`. How many that were.
    pub fn close_all(&mut self, reason: &str) -> usize {
        let ids: Vec<ConnectionId> = self.connections.keys().copied().collect();
        ids.into_iter().filter(|id| self.close_connection(*id, reason)).count()
    }

    /// Deletes a queue whoever uses it; its consumers are told. Whether it was there.
    pub fn remove_queue(&mut self, vhost: &str, queue: &str) -> bool {
        let Some(id) = self.model.queue_id(vhost, queue) else { return false };
        self.delete_queue(id);
        self.look_after();
        true
    }
}
