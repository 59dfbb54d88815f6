//! `basic.publish`: putting the content together, checking it, routing it, confirming it.

use std::sync::Arc;

use bytes::Bytes;

use super::{Channel, Confirms, Content, Resource};
use crate::core::{ChannelId, Core};
use crate::faults::Direction;
use crate::model::message::{Message, compact};
use crate::model::user::Access;
use crate::model::{Name, QueueId, exchange_in};
use crate::refuse::refuse;
use crate::wire::frame::Kind;
use crate::wire::reply::Content as ContentReply;
use crate::wire::{AmqpError, Code, Method, MethodId, Reply};

/// Where replies to a direct request go: this, a dot, and who asked.
pub(crate) const REPLY_TO: &str = "amq.rabbitmq.reply-to";

/// Property flags and list at most: more does not fit a frame anyway.
const HEADER_FRONT: usize = 12;

/// A method whose content is awaited.
#[derive(Debug)]
pub(crate) struct Publish {
    method: MethodId,
    exchange: Name,
    routing_key: Name,
    mandatory: bool,
    immediate: bool,
}

/// A body on its way in.
#[derive(Debug)]
pub(crate) struct Body {
    publish: Publish,
    props: Bytes,
    wanted: u64,
    /// Below zero once there was too much; then there is no end any more.
    missing: i64,
    parts: Vec<Bytes>,
}

/// What one publish comes to.
enum Fate {
    Confirmed,
    Refused,
}

impl Core {
    /// Remembers where the content is to go.
    pub(crate) fn begin_publish(
        &mut self,
        at: ChannelId,
        id: MethodId,
        method: &Method<'_>,
    ) -> Publish {
        let (exchange, key, mandatory, immediate) = match method {
            Method::BasicPublish { exchange, routing_key, mandatory, immediate } => {
                (&**exchange, &**routing_key, *mandatory, *immediate)
            }
            _ => ("", "", false, false),
        };
        let exchange = self
            .connections
            .get(&at.connection)
            .and_then(|connection| self.model.vhosts.get(&connection.vhost))
            .and_then(|vhost| vhost.exchanges.get_key_value(exchange))
            .map_or_else(|| Name::from(exchange), |(name, _)| name.clone());
        let routing_key = match self.channel(at) {
            Some(channel) => match &channel.last_key {
                Some(last) if **last == *key => last.clone(),
                _ => channel.last_key.insert(key.into()).clone(),
            },
            None => key.into(),
        };
        Publish { method: id, exchange, routing_key, mandatory, immediate }
    }

    /// A frame where the header is awaited.
    pub(crate) fn content_header(
        &mut self,
        at: ChannelId,
        publish: Publish,
        kind: Kind,
        payload: &[u8],
    ) -> Result<(), AmqpError> {
        let unexpected =
            |text: String| Err(AmqpError::new(Code::UnexpectedFrame, text).of(publish.method));
        let (Kind::Header, Some(front)) = (kind, payload.first_chunk::<HEADER_FRONT>()) else {
            return unexpected(
                "expected content header for class 60, got non content header frame instead".into(),
            );
        };
        let class = u16::from_be_bytes([front[0], front[1]]);
        if class != 60 {
            return unexpected(format!(
                "expected content header for class 60, got one for class {class} instead"
            ));
        }
        if front[2..4] != [0, 0] {
            return unexpected(
                "expected content header for class 60, got non content header frame instead".into(),
            );
        }
        let [_, _, _, _, size @ ..] = *front;
        let wanted = u64::from_be_bytes(size);
        let props = &payload[HEADER_FRONT..];
        if wanted == 0 {
            let (props, body) = compact(props, &[]);
            let result = self.publish(at, publish, props, body, 0);
            self.published(at.connection);
            return result;
        }
        let props = Bytes::copy_from_slice(props);
        // No body is longer: what says it is never ends.
        let missing = i64::try_from(wanted).unwrap_or(i64::MAX);
        let body = Body { publish, props, wanted, missing, parts: Vec::new() };
        if let Some(channel) = self.channel(at) {
            channel.content = Content::Body(body);
        }
        self.published(at.connection);
        Ok(())
    }

    /// A frame where the body is awaited.
    pub(crate) fn content_body(
        &mut self,
        at: ChannelId,
        mut body: Body,
        kind: Kind,
        payload: &[u8],
        whole: Option<Bytes>,
    ) -> Result<(), AmqpError> {
        if kind != Kind::Body {
            let error = AmqpError::new(
                Code::UnexpectedFrame,
                "expected content body, got non content body frame instead",
            );
            return Err(error.of(body.publish.method));
        }
        let is_first = body.missing.unsigned_abs() == body.wanted;
        let missing = body.missing.saturating_sub_unsigned(payload.len() as u64);
        body.missing = missing;
        if missing == 0 && is_first && whole.is_none() {
            let (props, bytes) = compact(&body.props, payload);
            return self.publish(at, body.publish, props, bytes, body.wanted);
        }
        // What is too large anyway is counted and not kept.
        if body.wanted <= self.config.max_message && missing >= 0 {
            body.parts.push(whole.unwrap_or_else(|| Bytes::copy_from_slice(payload)));
        }
        if missing < 0 {
            body.parts.clear();
        }
        if missing != 0 {
            if let Some(channel) = self.channel(at) {
                channel.content = Content::Body(body);
            }
            self.published(at.connection);
            return Ok(());
        }
        let bytes = match &body.parts[..] {
            [] => Bytes::new(),
            [one] => one.clone(),
            many => many.concat().into(),
        };
        self.publish(at, body.publish, body.props, bytes, body.wanted)
    }

    /// The content is complete.
    fn publish(
        &mut self,
        at: ChannelId,
        publish: Publish,
        props: Bytes,
        body: Bytes,
        size: u64,
    ) -> Result<(), AmqpError> {
        let id = publish.method;
        match self.channel(at).map(|channel| channel.state) {
            Some(super::State::Running) => {}
            Some(super::State::Closing) | None => return Ok(()),
            Some(super::State::Starting) => {
                let error = AmqpError::new(Code::ChannelError, "expected 'channel.open'");
                return Err(error.of(id));
            }
        }
        let fired = self.received_point(id);
        self.act_all(fired.before);
        let result = self.publish_checked(at, publish, props, body, size);
        self.act_all(fired.after);
        result.map_err(|error| if error.explanation.is_some() { error.of(id) } else { error })
    }

    fn publish_checked(
        &mut self,
        at: ChannelId,
        publish: Publish,
        props: Bytes,
        body: Bytes,
        size: u64,
    ) -> Result<(), AmqpError> {
        if publish.method != MethodId::of(60, 40) {
            refuse!(CommandInvalid, "unimplemented method");
        }
        if publish.immediate {
            refuse!(NotImplemented, "immediate=true");
        }
        if size > self.config.max_message {
            let most = self.config.max_message;
            refuse!(
                PreconditionFailed,
                "message size {size} is larger than configured max size {most}"
            );
        }
        let Publish { exchange, routing_key, mandatory, .. } = publish;
        self.may_publish(at, &exchange)?;
        let mut message = Message::published(exchange, routing_key, props, body)?;
        if message.extra.is_some() {
            self.check_props(at, &mut message)?;
        }
        let message = Arc::new(message);
        let Some(channel) = self.channel(at) else { return Ok(()) };
        if let Some(tx) = &mut channel.tx {
            tx.publishes.push((message, mandatory));
            return Ok(());
        }
        let confirming = channel.is_confirming;
        let fate = self.route_and_return(at, &message, mandatory);
        if confirming {
            self.confirm(at, &fate);
        }
        Ok(())
    }

    /// Permission and existence; remembered for the next publish, until either can change.
    fn may_publish(&mut self, at: ChannelId, exchange: &Name) -> Result<(), AmqpError> {
        let known = self.channel(at).is_some_and(|c| c.writable.as_ref() == Some(exchange));
        if known {
            return Ok(());
        }
        self.permit(at, Access::Write, Resource::Exchange(exchange))?;
        let vhost = self.vhost_of(at.connection);
        let Some(found) = self.model.vhosts.get(&vhost).and_then(|v| v.exchanges.get(exchange))
        else {
            refuse!(NotFound, "no {}", exchange_in(&vhost, exchange));
        };
        if found.internal {
            refuse!(AccessRefused, "cannot publish to internal {}", exchange_in(&vhost, exchange));
        }
        if let Some(channel) = self.channel(at) {
            channel.writable = Some(exchange.clone());
        }
        Ok(())
    }

    fn check_props(&mut self, at: ChannelId, message: &mut Message) -> Result<(), AmqpError> {
        let Some(extra) = &message.extra else { return Ok(()) };
        let user = self.connections.get(&at.connection).map(|c| c.user.clone());
        let user = user.unwrap_or_else(|| "".into());
        if let Some(claimed) = &extra.props.user_id {
            let poses = self
                .model
                .users
                .0
                .get(&user)
                .is_some_and(|user| user.tags.iter().any(|tag| tag == "impersonator"));
            if **claimed != *user && !poses {
                refuse!(
                    PreconditionFailed,
                    "user_id property set to '{claimed}' but authenticated user was '{user}'"
                );
            }
        }
        if extra.props.reply_to.as_deref() == Some(REPLY_TO) {
            if self.channel(at).is_none_or(|channel| channel.reply_to.is_none()) {
                refuse!(PreconditionFailed, "fast reply consumer does not exist");
            }
            message.set_reply_to(reply_address(at));
        }
        Ok(())
    }

    fn route_and_return(&mut self, at: ChannelId, message: &Arc<Message>, mandatory: bool) -> Fate {
        let vhost = self.vhost_of(at.connection);
        let mut queues = self.route(&vhost, message);
        if message.exchange.is_empty() {
            for key in message.keys() {
                if let Some(to) = key.strip_prefix(REPLY_TO).and_then(reply_target) {
                    self.deliver_reply(to, message);
                }
            }
        }
        if queues.is_empty() && mandatory {
            self.give_back(at, message);
        }
        let refused = self.enqueue_all(&queues, message);
        queues.clear();
        self.keep_routed(queues);
        if refused { Fate::Refused } else { Fate::Confirmed }
    }

    fn give_back(&mut self, at: ChannelId, message: &Message) {
        let content = ContentReply::Return {
            code: Code::NoRoute,
            exchange: &message.exchange,
            routing_key: &message.routing_key,
        };
        let fired = if self.faults.is_armed() {
            self.faults.reached(Direction::Out, content.id())
        } else {
            Default::default()
        };
        self.act_all(fired.before);
        self.content(at, content, message);
        self.act_all(fired.after);
    }

    /// Hands `message` to every queue. Whether any refused it.
    pub(crate) fn enqueue_all(&mut self, queues: &[QueueId], message: &Arc<Message>) -> bool {
        let mut refused = false;
        for queue in queues {
            refused |= !self.enqueue(*queue, message.clone());
        }
        refused
    }

    fn confirm(&mut self, at: ChannelId, fate: &Fate) {
        let Some(connection) = self.connections.get_mut(&at.connection) else { return };
        let Some(channel) = connection.channels.get_mut(&at.channel) else { return };
        channel.published += 1;
        let tag = channel.published;
        match (fate, &mut channel.unsent_confirms) {
            (Fate::Confirmed, Some(run)) => run.last = tag,
            (Fate::Confirmed, none) => {
                *none = Some(Confirms { first: tag, last: tag });
                connection.unconfirmed.push(at.channel);
            }
            // The run before it goes first.
            (Fate::Refused, _) => self.reply(at, &Reply::BasicNack { tag, multiple: false }),
        }
    }

    /// `confirm.select`.
    pub(super) fn confirm_select(&mut self, at: ChannelId, nowait: bool) -> Result<(), AmqpError> {
        let Some(channel) = self.channel(at) else { return Ok(()) };
        if channel.tx.is_some() {
            refuse!(PreconditionFailed, "cannot switch from tx to confirm mode");
        }
        channel.is_confirming = true;
        if !nowait {
            self.reply(at, &Reply::ConfirmSelectOk);
        }
        Ok(())
    }

    /// Publishes what a transaction has committed. Whether any queue refused any of it.
    pub(super) fn publish_committed(
        &mut self,
        at: ChannelId,
        message: &Arc<Message>,
        mandatory: bool,
    ) -> bool {
        matches!(self.route_and_return(at, message, mandatory), Fate::Refused)
    }

    /// A message straight to the channel that asked for it.
    fn deliver_reply(&mut self, to: ChannelId, message: &Message) {
        let Some(channel) = self.channel(to) else { return };
        if !channel.has_room() {
            return;
        }
        let Some(consumer) = channel.reply_to.clone() else { return };
        channel.last_tag += 1;
        let content = ContentReply::Deliver {
            consumer: &consumer,
            tag: channel.last_tag,
            redelivered: false,
            exchange: &message.exchange,
            routing_key: &message.routing_key,
        };
        self.content(to, content, message);
    }

    /// Forgets which exchanges may be published to: permissions or exchanges have changed.
    pub(crate) fn forget_permits(&mut self) {
        let channels = self.connections.values_mut().flat_map(|c| c.channels.values_mut());
        for channel in channels {
            Channel::forget_permit(channel);
        }
    }
}

impl Channel {
    fn forget_permit(&mut self) {
        self.writable = None;
    }
}

/// The address of a channel's reply consumer. RabbitMQ's is opaque, too.
pub(crate) fn reply_address(at: ChannelId) -> String {
    format!("{REPLY_TO}.g1{:x}.{:x}", at.connection.0, at.channel)
}

/// The channel that `rest`, the part of an address after the name, leads to.
pub(crate) fn reply_target(rest: &str) -> Option<ChannelId> {
    let (connection, channel) = rest.strip_prefix(".g1")?.split_once('.')?;
    Some(ChannelId {
        connection: crate::core::ConnectionId(u64::from_str_radix(connection, 16).ok()?),
        channel: u16::from_str_radix(channel, 16).ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::ConnectionId;

    #[test]
    fn reply_addresses_lead_back() {
        let at = ChannelId { connection: ConnectionId(300), channel: 17 };
        let address = reply_address(at);
        assert_eq!(address.strip_prefix(REPLY_TO).and_then(reply_target), Some(at));
        assert_eq!(reply_target(".nonsense"), None);
        assert_eq!(reply_target(""), None);
    }
}
