//! A channel: what it owes and is owed, and its methods, one file for each concern.

mod consume;

mod exchanges;

mod get;

mod publish;

mod queues;

mod settle;

mod tx;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::BytesMut;

use crate::core::{ChannelId, Core};
use crate::model::queue::Ready;
use crate::model::user::Access;
use crate::model::{ConsumerId, Name, QueueId, exchange_in, queue_in};
use crate::refuse::refuse;
use crate::wire::{AmqpError, Method, MethodId, Reply};

pub(crate) use publish::{Body, Publish};
pub(crate) use tx::Tx;

/// Where a channel is in its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// A frame came on it, and it was no `channel.open` yet.
    #[default]
    Starting,
    /// In use.
    Running,
    /// `channel.close` was sent: only its answer matters.
    Closing,
}

/// A method's content on its way in.
#[derive(Debug, Default)]
pub(crate) enum Content {
    /// None is awaited.
    #[default]
    None,
    /// The header is awaited.
    Header(Publish),
    /// The body is awaited.
    Body(Body),
}

/// Frames a channel is kept from sending.
#[derive(Debug, Default)]
pub(crate) struct Held {
    /// The frames.
    pub bytes: BytesMut,
}

/// Publishes confirmed and not yet told, in one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Confirms {
    /// The first of the run.
    pub first: u64,
    /// The last.
    pub last: u64,
}

/// A delivery the client has not settled.
#[derive(Clone, Debug)]
pub(crate) struct Unacked {
    /// Its delivery tag.
    pub tag: u64,
    /// Where it came from.
    pub queue: QueueId,
    /// By which consumer; none for `basic.get`.
    pub consumer: Option<ConsumerId>,
    /// The message.
    pub ready: Ready,
    /// When it was delivered.
    pub at: Duration,
}

/// A consumer, as its channel knows it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConsumerOf {
    pub id: ConsumerId,
    pub queue: QueueId,
}

/// A channel.
#[derive(Debug, Default)]
pub struct Channel {
    pub(crate) state: State,
    pub(crate) content: Content,
    pub(crate) last_tag: u64,
    pub(crate) unacked: VecDeque<Unacked>,
    pub(crate) consumers: BTreeMap<Name, ConsumerOf>,
    /// For consumers to come.
    pub(crate) prefetch: u16,
    /// For all consumers together; 0 is any number.
    pub(crate) global_prefetch: u16,
    /// Of `unacked`, those that count against `global_prefetch`.
    pub(crate) from_consumers: usize,
    pub(crate) is_confirming: bool,
    pub(crate) published: u64,
    pub(crate) unsent_confirms: Option<Confirms>,
    pub(crate) tx: Option<Tx>,
    /// What an empty queue name means.
    pub(crate) last_queue: Option<Name>,
    /// The consumer of `amq.rabbitmq.reply-to`: its tag.
    pub(crate) reply_to: Option<Name>,
    pub(crate) held: Option<Held>,
    /// Whether its timer runs.
    pub(crate) is_timed: bool,
    /// Of the last publish: mostly the next one's too.
    pub(crate) last_key: Option<Name>,
    /// An exchange that this user may write to.
    pub(crate) writable: Option<Name>,
}

impl Channel {
    /// The confirms that wait, to be sent now.
    pub(crate) fn take_confirms(&mut self) -> Option<Confirms> {
        self.unsent_confirms.take()
    }

    /// Whether a delivery that needs an acknowledgement can go out.
    pub(crate) fn has_credit(&self) -> bool {
        self.global_prefetch == 0 || self.from_consumers < usize::from(self.global_prefetch)
    }

    /// Whether any delivery can.
    pub(crate) fn has_room(&self) -> bool {
        self.state == State::Running
            && self.held.as_ref().is_none_or(|held| held.bytes.len() < crate::core::HELD_MOST)
    }
}

impl Core {
    /// A method on a running channel.
    pub(crate) fn channel_method(
        &mut self,
        at: ChannelId,
        id: MethodId,
        method: Method<'_>,
    ) -> Result<(), AmqpError> {
        match method {
            Method::BasicAck { tag, multiple } => self.ack(at, tag, multiple),
            Method::BasicNack { tag, multiple, requeue } => self.reject(at, tag, multiple, requeue),
            Method::BasicReject { tag, requeue } => self.reject(at, tag, false, requeue),
            Method::BasicConsume(consume) => self.consume(at, consume),
            Method::BasicCancel { tag, nowait } => self.cancel(at, &tag, nowait),
            Method::BasicGet { queue, no_ack } => self.get(at, &queue, no_ack),
            Method::BasicQos { size, count, global } => self.qos(at, size, count, global),
            Method::BasicRecoverAsync { requeue } => self.recover(at, requeue),
            Method::BasicRecover { requeue } => {
                self.recover(at, requeue)?;
                self.reply(at, &Reply::BasicRecoverOk);
                Ok(())
            }
            Method::ExchangeDeclare(declare) => self.exchange_declare(at, &declare),
            Method::ExchangeDelete { exchange, if_unused, nowait } => {
                self.exchange_delete(at, &exchange, if_unused, nowait)
            }
            Method::ExchangeBind(bind) => self.exchange_bind(at, &bind),
            Method::ExchangeUnbind(bind) => self.exchange_unbind(at, &bind),
            Method::QueueDeclare(declare) => self.queue_declare(at, declare),
            Method::QueueBind(bind) => self.queue_bind(at, bind),
            Method::QueueUnbind(bind) => self.queue_unbind(at, bind),
            Method::QueuePurge { queue, nowait } => self.queue_purge(at, &queue, nowait),
            Method::QueueDelete { queue, if_unused, if_empty, nowait } => {
                self.queue_delete(at, &queue, if_unused, if_empty, nowait)
            }
            Method::ConfirmSelect { nowait } => self.confirm_select(at, nowait),
            Method::TxSelect => self.tx_select(at),
            Method::TxCommit => self.tx_commit(at),
            Method::TxRollback => self.tx_rollback(at),
            Method::AccessRequest => {
                self.reply(at, &Reply::AccessRequestOk);
                Ok(())
            }
            Method::ChannelFlow { active: true } => {
                self.reply(at, &Reply::ChannelFlowOk { active: true });
                Ok(())
            }
            Method::ChannelFlow { active: false } => refuse!(NotImplemented, "active=false"),
            _ => {
                tracing::debug!(method = %id, "a method that no client sends");
                refuse!(CommandInvalid, "unimplemented method")
            }
        }
    }

    /// Refuses what the user has no permission for.
    pub(crate) fn permit(
        &self,
        at: ChannelId,
        access: Access,
        resource: Resource<'_>,
    ) -> Result<(), AmqpError> {
        let Some(connection) = self.connections.get(&at.connection) else { return Ok(()) };
        let (name, shown) = match resource {
            // Patterns know the default exchange by this name.
            Resource::Exchange("") => {
                ("amq.default", exchange_in(&connection.vhost, "amq.default"))
            }
            Resource::Exchange(name) => (name, exchange_in(&connection.vhost, name)),
            Resource::Queue(name) => (name, queue_in(&connection.vhost, name)),
        };
        let permission = self.model.users.permission(&connection.user, &connection.vhost);
        if permission.is_some_and(|permission| permission.pattern(access).matches(name)) {
            return Ok(());
        }
        refuse!(
            AccessRefused,
            "{} access to {shown} refused for user '{}'",
            access.name(),
            connection.user
        )
    }
}

/// What a permission is about.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Resource<'a> {
    Exchange(&'a str),
    Queue(&'a str),
}

/// A name without the line breaks that RabbitMQ takes out.
pub(crate) fn clean(name: &str) -> std::borrow::Cow<'_, str> {
    if name.contains(['\n', '\r']) { name.replace(['\n', '\r'], "").into() } else { name.into() }
}
