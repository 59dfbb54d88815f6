//! `basic.get`.

use super::{Resource, Unacked};
use crate::core::{ChannelId, Core};
use crate::faults::Direction;
use crate::model::queue_in;
use crate::model::user::Access;
use crate::refuse::refuse;
use crate::wire::reply::Content;
use crate::wire::{AmqpError, Reply, Value};

impl Core {
    /// `basic.get`.
    pub(super) fn get(
        &mut self,
        at: ChannelId,
        queue: &str,
        no_ack: bool,
    ) -> Result<(), AmqpError> {
        let name = self.queue_meant(at, queue)?;
        self.permit(at, Access::Read, Resource::Queue(&name))?;
        let id = self.queue_for(at, &name)?;
        self.expire(id);
        let now = self.now;
        let Some(queue) = self.model.queues.get_mut(&id) else { return Ok(()) };
        let shown = queue_in(&queue.vhost, &name);
        if queue.stream.is_some() {
            refuse!(NotImplemented, "basic.get not supported by stream queues {shown}");
        }
        if queue.is_quorum && queue.settings.single_active {
            refuse!(
                ResourceLocked,
                "cannot obtain access to locked {shown}. basic.get operations are not supported by \
                 quorum queues with single active consumer"
            );
        }
        queue.used = now;
        let Some(ready) = queue.store.pop() else {
            self.reply(at, &Reply::BasicGetEmpty);
            return Ok(());
        };
        if !no_ack {
            queue.unacked += 1;
        }
        let is_quorum = queue.is_quorum;
        // What was behind it may be past its time.
        self.expire(id);
        let left = self.model.queues.get(&id).map_or(0, |queue| queue.store.len());
        let messages = u32::try_from(left).unwrap_or(u32::MAX);
        let Some(channel) = self.channel(at) else { return Ok(()) };
        channel.last_tag += 1;
        let tag = channel.last_tag;
        if !no_ack {
            let delivery =
                Unacked { tag, queue: id, consumer: None, ready: ready.clone(), at: now };
            channel.unacked.push_back(delivery);
            self.time_channel(at);
        }
        let mut message = ready.message.clone();
        if is_quorum && ready.returns > 0 {
            let mut counted = (*message).clone();
            let returns = i64::try_from(ready.returns).unwrap_or(i64::MAX);
            counted.props = message.props_with("x-delivery-count", Value::I64(returns));
            message = counted.into();
        }
        let content = Content::GetOk {
            tag,
            redelivered: ready.redelivered,
            exchange: &message.exchange,
            routing_key: &message.routing_key,
            messages,
        };
        let fired = if self.faults.is_armed() {
            self.faults.reached(Direction::Out, content.id())
        } else {
            Default::default()
        };
        self.act_all(fired.before);
        self.content(at, content, &message);
        self.act_all(fired.after);
        Ok(())
    }
}
