//! `basic.consume` and `basic.cancel`.

use super::publish::REPLY_TO;
use super::{ConsumerOf, Resource};
use crate::core::{ChannelId, Core};
use crate::look::events::Event;
use crate::model::queue::stream::Filter;
use crate::model::queue::{Consumer, consuming};
use crate::model::user::Access;
use crate::model::{ConsumerId, Name, queue_in};
use crate::refuse::refuse;
use crate::wire::method::Consume;
use crate::wire::{AmqpError, Reply};

impl Core {
    /// `basic.consume`.
    pub(super) fn consume(&mut self, at: ChannelId, consume: Consume<'_>) -> Result<(), AmqpError> {
        let name = self.queue_meant(at, &consume.queue)?;
        let Some(channel) = self.channel(at) else { return Ok(()) };
        let is_used = channel.consumers.contains_key(&*consume.tag)
            || channel.reply_to.as_deref().is_some_and(|tag| tag == consume.tag);
        if is_used && !consume.tag.is_empty() {
            refuse!(NotAllowed, "attempt to reuse consumer tag '{}'", consume.tag);
        }
        let prefetch = channel.prefetch;
        let is_limited = channel.global_prefetch > 0;
        if &*name == REPLY_TO {
            return self.consume_replies(at, &consume);
        }
        self.permit(at, Access::Read, Resource::Queue(&name))?;
        let id = self.queue_for(at, &name)?;
        let tag: Name = match &*consume.tag {
            "" => self.generated("amq.ctag-").into(),
            given => given.into(),
        };
        let consumer = ConsumerId(self.model.number());
        let now = self.now;
        let Some(queue) = self.model.queues.get_mut(&id) else { return Ok(()) };
        let shown = queue_in(&queue.vhost, &name);
        let priority = consuming::check(queue, &consume.arguments)?;
        let reader = match &queue.stream {
            Some(_) if prefetch == 0 => {
                refuse!(PreconditionFailed, "consumer prefetch count is not set for stream {shown}")
            }
            Some(_) if consume.no_ack => {
                refuse!(NotImplemented, "automatic acknowledgement not supported by stream {shown}")
            }
            Some(stream) if !is_limited => {
                let start = consuming::start(&consume.arguments, self.config.epoch + now)?;
                Some(stream.reader(start, Filter::of(&consume.arguments)))
            }
            _ => None,
        };
        let is_replicated = queue.is_quorum || queue.stream.is_some();
        if is_replicated && is_limited {
            refuse!(NotImplemented, "{shown} does not support global qos");
        }
        // A quorum queue or a stream does not know exclusive consumers, and takes them as any other.
        let exclusive = consume.exclusive && !is_replicated;
        let taken = queue.is_exclusively_consumed
            || (exclusive && (queue.settings.single_active || !queue.consumers.is_empty()));
        if taken {
            refuse!(AccessRefused, "{shown} in exclusive use");
        }
        queue.used = now;
        queue.add_consumer(Consumer {
            id: consumer,
            connection: at.connection,
            channel: at.channel,
            tag: tag.clone(),
            no_ack: consume.no_ack,
            exclusive,
            priority,
            prefetch: if consume.no_ack { 0 } else { prefetch },
            unacked: 0,
            reader,
            arguments: consume.arguments,
        });
        if let Some(channel) = self.channel(at) {
            channel.consumers.insert(tag.clone(), ConsumerOf { id: consumer, queue: id });
        }
        if !consume.nowait {
            self.reply(at, &Reply::BasicConsumeOk { tag: &tag });
        }
        self.note(|| Event::ConsumerStarted { at, consumer, tag, queue: name });
        self.is_dirty(id);
        Ok(())
    }

    /// A consumer of replies to this channel's own requests: there is no queue.
    fn consume_replies(&mut self, at: ChannelId, consume: &Consume<'_>) -> Result<(), AmqpError> {
        if !consume.no_ack {
            refuse!(PreconditionFailed, "reply consumer cannot acknowledge");
        }
        let generated = self.generated("amq.ctag-");
        let Some(channel) = self.channel(at) else { return Ok(()) };
        if channel.reply_to.is_some() {
            refuse!(PreconditionFailed, "reply consumer already set");
        }
        let tag: Name =
            if consume.tag.is_empty() { generated.into() } else { consume.tag.as_ref().into() };
        channel.reply_to = Some(tag.clone());
        if !consume.nowait {
            self.reply(at, &Reply::BasicConsumeOk { tag: &tag });
        }
        Ok(())
    }

    /// `basic.cancel`. What was delivered stays delivered.
    pub(super) fn cancel(
        &mut self,
        at: ChannelId,
        tag: &str,
        nowait: bool,
    ) -> Result<(), AmqpError> {
        let Some(channel) = self.channel(at) else { return Ok(()) };
        if channel.reply_to.as_deref() == Some(tag) {
            channel.reply_to = None;
        }
        let consumer = channel.consumers.remove(tag);
        if !nowait {
            self.reply(at, &Reply::BasicCancelOk { tag });
        }
        if let Some(ConsumerOf { id, queue }) = consumer {
            if let Some(queue) = self.model.queues.get_mut(&queue) {
                queue.remove_consumer(id);
            }
            self.note(|| Event::ConsumerGone { at, consumer: id });
            self.consumer_left(queue);
        }
        Ok(())
    }
}
