//! Streams: messages into them, and out to each consumer from where it is.

use super::deliver::{Out, can_take};
use super::{ChannelId, Core};
use crate::faults::Direction;
use crate::model::QueueId;
use crate::model::message::Message;
use crate::model::queue::Ready;
use crate::wire::Value;

impl Core {
    /// Adds a message to a stream and delivers it.
    pub(super) fn append(&mut self, id: QueueId, message: &Message) {
        let at = self.config.epoch + self.now;
        let Some(queue) = self.model.queues.get_mut(&id) else { return };
        let retention = queue.settings.retention;
        if let Some(stream) = &mut queue.stream {
            stream.push(message, at, retention);
        }
        self.pump_stream(id);
    }

    /// Delivers from a stream for as long as there is a consumer that can take a message.
    pub(crate) fn pump_stream(&mut self, id: QueueId) {
        loop {
            let Core { model, connections, faults, .. } = self;
            let Some(queue) = model.queues.get_mut(&id) else { return };
            let Some(stream) = &queue.stream else { return };
            let Some(turn) = queue.consumers.iter_mut().position(|consumer| {
                can_take(connections, consumer)
                    && consumer.reader.as_mut().is_some_and(|reader| stream.peek(reader).is_some())
            }) else {
                return;
            };
            let mut after = Vec::new();
            if faults.is_armed() {
                let fired = faults.reached(Direction::Out, super::deliver::DELIVER);
                after = fired.after;
                if !fired.before.is_empty() {
                    // It may change everything: look again.
                    self.act_all(fired.before);
                    self.act_all(after);
                    continue;
                }
            }
            let consumer = &mut queue.consumers[turn];
            let Some(reader) = &mut consumer.reader else { return };
            let Some((offset, message)) = stream.take(reader) else { return };
            consumer.unacked += 1;
            let out = Out {
                to: ChannelId { connection: consumer.connection, channel: consumer.channel },
                queue: id,
                consumer: consumer.id,
                tag: consumer.tag.clone(),
                no_ack: false,
                header: i64::try_from(offset).ok().map(|n| ("x-stream-offset", Value::I64(n))),
                ready: Ready { at: offset, message, expires: None, redelivered: false, returns: 0 },
            };
            queue.turn(turn);
            self.hand_out(out);
            self.act_all(after);
        }
    }
}
