//! Messages in and out from the outside, as RabbitMQ's management does it: no connection, no channel.

use std::sync::Arc;

use crate::channel::Unacked;
use crate::core::Core;
use crate::look::admin::AdminError;
use crate::model::message::Message;
use crate::model::queue::Ready;
use crate::model::{Name, QueueId};

/// What becomes of messages after they were looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settle {
    /// They are gone.
    Ack,
    /// They are back where they were, marked as redelivered.
    Requeue,
    /// They are rejected: gone, or on their way to the dead-letter exchange.
    Reject,
}

/// A message that was looked at.
#[derive(Clone, Debug)]
pub struct Taken {
    /// The message.
    pub message: Arc<Message>,
    /// Whether a client may have seen it before.
    pub redelivered: bool,
    /// How many were ready behind it.
    pub left: usize,
}

impl Core {
    /// Publishes to the exchange that the message names. Whether it reached any queue.
    pub fn put_message(&mut self, vhost: &str, message: Message) -> Result<bool, AdminError> {
        let known = self.model.vhosts.get_key_value(vhost);
        let known = known.filter(|(_, it)| it.exchanges.contains_key(&message.exchange));
        let Some((vhost, _)) = known else {
            let what = format!("exchange '{}' in vhost '{vhost}'", message.exchange);
            return Err(AdminError::Unknown(what));
        };
        let vhost: Name = vhost.clone();
        let message = Arc::new(message);
        let mut queues: Vec<QueueId> = self.route(&vhost, &message);
        let routed = !queues.is_empty();
        self.enqueue_all(&queues, &message);
        queues.clear();
        self.keep_routed(queues);
        self.look_after();
        Ok(routed)
    }

    /// Takes at most `most` messages out of a queue, all of them before any is settled.
    pub fn take_messages(
        &mut self,
        vhost: &str,
        queue: &str,
        most: usize,
        settle: Settle,
    ) -> Option<Vec<Taken>> {
        let id = self.model.queue_id(vhost, queue)?;
        let now = self.now;
        let mut taken: Vec<(Ready, usize)> = Vec::new();
        while taken.len() < most {
            self.expire(id);
            let queue = self.model.queues.get_mut(&id)?;
            queue.used = now;
            let Some(ready) = queue.store.pop() else { break };
            queue.unacked += 1;
            taken.push((ready, queue.store.len()));
        }
        self.expire(id);
        let mut seen = Vec::with_capacity(taken.len());
        for (ready, left) in taken {
            let (message, redelivered) = (ready.message.clone(), ready.redelivered);
            seen.push(Taken { message, redelivered, left });
            let delivery = Unacked { tag: 0, queue: id, consumer: None, ready, at: now };
            match settle {
                Settle::Ack => {
                    if let Some(queue) = self.model.queues.get_mut(&id) {
                        queue.settled(None);
                    }
                }
                Settle::Requeue => self.put_back(delivery, true),
                Settle::Reject => self.discard(delivery),
            }
        }
        self.look_after();
        Some(seen)
    }
}
