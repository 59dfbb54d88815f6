//! What the broker knows: virtual hosts, exchanges, bindings, queues, messages, policies, users. It sees no connection
//! and sends nothing; whatever follows from a change is done by [`crate::core`].

pub mod exchange;

pub mod message;

pub mod policy;

pub mod queue;

pub mod topic;

pub mod user;

pub mod vhost;

use std::collections::BTreeMap;
use std::sync::Arc;

use policy::Settings;
use queue::{Flags, Queue};
use user::Users;
use vhost::VHost;

use crate::refuse::refuse;
use crate::wire::{AmqpError, Table, Value};

/// A name: of a virtual host, an exchange, a queue, a user, or a routing key.
pub type Name = Arc<str>;

/// Which queue, for as long as it lives; a queue declared again is another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueueId(pub u64);

/// Which consumer, over the whole broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConsumerId(pub u64);

/// Everything the broker knows.
#[derive(Debug, Default)]
pub struct Model {
    /// By name.
    pub vhosts: BTreeMap<Name, VHost>,
    /// Of all virtual hosts.
    pub queues: BTreeMap<QueueId, Queue>,
    /// Who may log in, and do what.
    pub users: Users,
    last: u64,
}

impl Model {
    /// A number nobody else has.
    pub fn number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// The queue called `name`.
    pub fn queue_id(&self, vhost: &str, name: &str) -> Option<QueueId> {
        self.vhosts.get(vhost)?.queues.get(name).copied()
    }

    /// The queue called `name` itself.
    pub fn queue(&self, vhost: &str, name: &str) -> Option<&Queue> {
        self.queues.get(&self.queue_id(vhost, name)?)
    }

    /// The arguments of a declaration with a type of queue: where none is given the virtual host's, if the queue can be one.
    pub fn completed(&self, vhost: &str, mut arguments: Table, flags: Flags) -> Table {
        if arguments.get("x-queue-type").is_none() {
            let vhost = self.vhosts.get(vhost).filter(|_| flags.suit_replication());
            let kind = vhost.map_or("classic", |vhost| &vhost.about.default_queue_type);
            arguments.set("x-queue-type", Value::text(kind));
        }
        arguments
    }

    /// The settings of a queue: its arguments and the policy that applies, merged.
    pub fn settings(&self, queue: &Queue) -> (Option<Name>, Settings) {
        let policy = self.vhosts.get(&queue.vhost).and_then(|vhost| vhost.policy_for_queue(queue));
        (policy.map(|policy| policy.name.clone()), Settings::of(&queue.arguments, policy))
    }
}

/// Refuses a declaration of what is there with another value.
pub fn same(what: &str, field: &str, old: bool, new: bool) -> Result<(), AmqpError> {
    if old != new {
        refuse!(
            PreconditionFailed,
            "inequivalent arg '{field}' for {what}: received '{new}' but current is '{old}'"
        );
    }
    Ok(())
}

/// How RabbitMQ names a queue in an error.
pub fn queue_in(vhost: &str, name: &str) -> String {
    format!("queue '{name}' in vhost '{vhost}'")
}

/// How RabbitMQ names an exchange in an error.
pub fn exchange_in(vhost: &str, name: &str) -> String {
    format!("exchange '{name}' in vhost '{vhost}'")
}
