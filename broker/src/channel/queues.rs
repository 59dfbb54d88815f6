//! The methods of class queue.

use super::publish::{REPLY_TO, reply_target};
use super::{Resource, clean};
use crate::core::{ChannelId, Core};
use crate::model::exchange::Target;
use crate::model::queue::{Flags, arguments};
use crate::model::user::Access;
use crate::model::{Name, QueueId, exchange_in, queue_in};
use crate::refuse::refuse;
use crate::wire::method::{Bind, QueueDeclare};
use crate::wire::{AmqpError, Reply};

impl Core {
    /// The queue that a name means: an empty one is the last that was declared on this channel.
    pub(super) fn queue_meant(&mut self, at: ChannelId, name: &str) -> Result<Name, AmqpError> {
        if !name.is_empty() {
            return Ok(name.into());
        }
        match self.channel(at).and_then(|channel| channel.last_queue.clone()) {
            Some(last) => Ok(last),
            None => refuse!(NotFound, "no previously declared queue"),
        }
    }

    /// The queue called `name`, if it is there and not another connection's own.
    pub(super) fn queue_for(&self, at: ChannelId, name: &str) -> Result<QueueId, AmqpError> {
        let vhost = self.vhost_of(at.connection);
        let Some(id) = self.model.queue_id(&vhost, name) else {
            refuse!(NotFound, "no {}", queue_in(&vhost, name));
        };
        self.unlocked(at, id)?;
        Ok(id)
    }

    /// Refuses queues that are another connection's own.
    pub(super) fn unlocked(&self, at: ChannelId, id: QueueId) -> Result<(), AmqpError> {
        let Some(queue) = self.model.queues.get(&id) else { return Ok(()) };
        match queue.owner {
            Some(owner) if owner != at.connection => Err(queue.locked()),
            _ => Ok(()),
        }
    }

    /// `queue.declare`.
    pub(super) fn queue_declare(
        &mut self,
        at: ChannelId,
        declare: QueueDeclare<'_>,
    ) -> Result<(), AmqpError> {
        let vhost = self.vhost_of(at.connection);
        let name = clean(&declare.queue).into_owned();
        if let Some(rest) = name.strip_prefix(REPLY_TO) {
            let is_there = rest.is_empty()
                || reply_target(rest)
                    .and_then(|to| self.channel(to))
                    .is_some_and(|channel| channel.reply_to.is_some());
            if !is_there {
                refuse!(NotFound, "no {}", queue_in(&vhost, &name));
            }
            return self.declared(at, name.into(), None, declare.nowait);
        }
        if declare.passive {
            let name = if name.is_empty() {
                self.queue_meant(at, "").unwrap_or_default()
            } else {
                name.into()
            };
            let Some(id) = self.model.queue_id(&vhost, &name) else {
                refuse!(NotFound, "no {}", queue_in(&vhost, &name));
            };
            self.unlocked(at, id)?;
            return self.declared(at, name, Some(id), declare.nowait);
        }
        let QueueDeclare { durable, exclusive, auto_delete, nowait, .. } = declare;
        // An exclusive queue does not outlive its connection, so RabbitMQ counts it as transient.
        let durable = durable && !exclusive;
        let flags = Flags { durable, exclusive, auto_delete };
        let table = self.model.completed(&vhost, declare.arguments, flags);
        let is_quorum = arguments::is_quorum(&table);
        if name.is_empty() && (is_quorum || arguments::is_stream(&table)) {
            let kind = if is_quorum { "quorum" } else { "stream" };
            refuse!(
                PreconditionFailed,
                "Cannot declare a server-named queue for type rabbit_{kind}_queue"
            );
        }
        if name.starts_with("amq.") {
            refuse!(AccessRefused, "queue name '{name}' contains reserved prefix 'amq.*'");
        }
        let name: Name =
            if name.is_empty() { self.generated("amq.gen-").into() } else { name.into() };
        self.permit(at, Access::Configure, Resource::Queue(&name))?;
        if let Some(id) = self.model.queue_id(&vhost, &name) {
            let Some(queue) = self.model.queues.get(&id) else { return Ok(()) };
            // Also a connection's own queue is not declared again as everybody's.
            if queue.owner != exclusive.then_some(at.connection) {
                return Err(queue.locked());
            }
            queue.check_alike(flags, &table)?;
            return self.declared(at, name, Some(id), nowait);
        }
        let dead =
            arguments::text_or_none("x-dead-letter-exchange", &table, || queue_in(&vhost, &name))?;
        if let Some(to) = dead {
            self.permit(at, Access::Read, Resource::Queue(&name))?;
            let to = String::from_utf8_lossy(to);
            self.permit(at, Access::Write, Resource::Exchange(&to))?;
        }
        arguments::check_new(&vhost, &name, &table, flags)?;
        let owner = exclusive.then_some(at.connection);
        let id = self.create_queue(&vhost, &name, durable, auto_delete, owner, table);
        self.declared(at, name, Some(id), nowait)
    }

    fn declared(
        &mut self,
        at: ChannelId,
        name: Name,
        id: Option<QueueId>,
        nowait: bool,
    ) -> Result<(), AmqpError> {
        let (mut messages, mut consumers) = (0, 1);
        if let Some(id) = id {
            self.expire(id);
            self.use_queue(id);
            if let Some(queue) = self.model.queues.get(&id) {
                messages = u32::try_from(queue.ready()).unwrap_or(u32::MAX);
                // A stream does not tell.
                let told = if queue.stream.is_some() { 0 } else { queue.consumers.len() };
                consumers = told as u32;
            }
        }
        if let Some(channel) = self.channel(at) {
            channel.last_queue = Some(name.clone());
        }
        if !nowait {
            self.reply(at, &Reply::QueueDeclareOk { queue: &name, messages, consumers });
        }
        Ok(())
    }

    /// `queue.bind`.
    pub(super) fn queue_bind(&mut self, at: ChannelId, bind: Bind<'_>) -> Result<(), AmqpError> {
        let nowait = bind.nowait;
        let (target, key) = self.queue_binding(at, &bind)?;
        self.bind(at, target, &bind.source, key, bind.arguments)?;
        if !nowait {
            self.reply(at, &Reply::QueueBindOk);
        }
        Ok(())
    }

    /// `queue.unbind`.
    pub(super) fn queue_unbind(&mut self, at: ChannelId, bind: Bind<'_>) -> Result<(), AmqpError> {
        let (target, key) = self.queue_binding(at, &bind)?;
        self.unbind(at, target, &bind.source, key, &bind.arguments)?;
        self.reply(at, &Reply::QueueUnbindOk);
        Ok(())
    }

    fn queue_binding(
        &mut self,
        at: ChannelId,
        bind: &Bind<'_>,
    ) -> Result<(Target, Name), AmqpError> {
        let queue = self.queue_meant(at, &bind.destination)?;
        let both_empty = bind.destination.is_empty() && bind.routing_key.is_empty();
        let key = if both_empty { queue.clone() } else { bind.routing_key.as_ref().into() };
        Ok((Target::Queue(queue), key))
    }

    /// `queue.purge`.
    pub(super) fn queue_purge(
        &mut self,
        at: ChannelId,
        queue: &str,
        nowait: bool,
    ) -> Result<(), AmqpError> {
        let name = self.queue_meant(at, queue)?;
        self.permit(at, Access::Read, Resource::Queue(&name))?;
        let id = self.queue_for(at, &name)?;
        if let Some(queue) = self.model.queues.get(&id)
            && queue.stream.is_some()
        {
            let shown = queue_in(&queue.vhost, &name);
            refuse!(NotImplemented, "queue.purge not supported by stream queues {shown}");
        }
        let messages = self.purge_queue(id);
        if !nowait {
            self.reply(at, &Reply::QueuePurgeOk { messages });
        }
        Ok(())
    }

    /// `queue.delete`. A queue that is not there is deleted all the same.
    pub(super) fn queue_delete(
        &mut self,
        at: ChannelId,
        queue: &str,
        if_unused: bool,
        if_empty: bool,
        nowait: bool,
    ) -> Result<(), AmqpError> {
        let name = self.queue_meant(at, queue)?;
        let name = clean(&name);
        self.permit(at, Access::Configure, Resource::Queue(&name))?;
        let vhost = self.vhost_of(at.connection);
        let mut messages = 0;
        let id = self.model.queue_id(&vhost, &name);
        if let Some(id) = id {
            self.unlocked(at, id)?;
            self.expire(id);
            let Some(queue) = self.model.queues.get(&id) else { return Ok(()) };
            let shown = queue_in(&vhost, &name);
            for (is_asked, what) in [(if_unused, "if-unused"), (if_empty, "if-empty")] {
                if is_asked && queue.is_quorum {
                    refuse!(
                        NotImplemented,
                        "cannot delete {shown}. queue.delete operations with {what} flag set are \
                         not supported by quorum queues"
                    );
                }
            }
            // Nothing holds a stream back.
            let if_unused = if_unused && queue.stream.is_none();
            if if_empty && !queue.store.is_empty() {
                refuse!(PreconditionFailed, "{shown} not empty");
            }
            if if_unused && !queue.consumers.is_empty() {
                refuse!(PreconditionFailed, "{shown} in use");
            }
            messages = u32::try_from(queue.store.len()).unwrap_or(u32::MAX);
        }
        // The answer first: consumers on this channel hear of it after that.
        if !nowait {
            self.reply(at, &Reply::QueueDeleteOk { messages });
        }
        if let Some(id) = id {
            self.delete_queue(id);
        }
        Ok(())
    }

    /// Refuses what the user may not bind or unbind.
    pub(super) fn permit_binding(
        &self,
        at: ChannelId,
        target: &Target,
        source: &str,
    ) -> Result<(), AmqpError> {
        let resource = match target {
            Target::Queue(name) => Resource::Queue(name),
            Target::Exchange(name) => Resource::Exchange(name),
        };
        self.permit(at, Access::Write, resource)?;
        let is_default = matches!(target, Target::Exchange(name) if name.is_empty());
        if is_default || source.is_empty() {
            refuse!(AccessRefused, "operation not permitted on the default exchange");
        }
        self.permit(at, Access::Read, Resource::Exchange(source))
    }

    /// Refuses to bind what does not exist, or is another connection's own.
    pub(super) fn check_ends(
        &self,
        at: ChannelId,
        target: &Target,
        source: &str,
    ) -> Result<(), AmqpError> {
        let vhost = self.vhost_of(at.connection);
        let Some(known) = self.model.vhosts.get(&vhost) else { return Ok(()) };
        if !known.exchanges.contains_key(source) {
            refuse!(NotFound, "no {}", exchange_in(&vhost, source));
        }
        match target {
            Target::Queue(name) => {
                self.queue_for(at, name)?;
            }
            Target::Exchange(name) if !known.exchanges.contains_key(name) => {
                refuse!(NotFound, "no {}", exchange_in(&vhost, name))
            }
            Target::Exchange(_) => {}
        }
        Ok(())
    }
}
