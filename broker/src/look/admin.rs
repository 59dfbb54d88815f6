//! Changing a node from the outside, as RabbitMQ's management does: virtual hosts, users, permissions, policies,
//! exchanges, queues and bindings.

use crate::core::{ConnectionId, Core};
use crate::model::exchange::{BindingKey, Exchange, Target};
use crate::model::policy::Policy;
use crate::model::queue::Flags;
use crate::model::queue::arguments;
use crate::model::user::{BadPattern, Hash, Pattern, Permission, User};
use crate::model::vhost::{About, VHost};
use crate::model::{Name, QueueId};
use crate::wire::{AmqpError, Code, Table};
use rand::Rng as _;

/// What was refused, and why.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// There is nothing of that name.
    #[error("there is no {0}")]
    Unknown(String),
    /// A pattern is no regular expression.
    #[error(transparent)]
    Pattern(#[from] BadPattern),
    /// A client would have been told this.
    #[error(transparent)]
    Refused(#[from] AmqpError),
}

impl Core {
    /// Adds a virtual host; one that is there is left alone.
    pub fn add_vhost(&mut self, name: &str) {
        self.set_vhost(name, |_| ());
    }

    /// Adds a virtual host if it is not there, and changes what is said about it. Whether it was new.
    pub fn set_vhost(&mut self, name: &str, change: impl FnOnce(&mut About)) -> bool {
        let is_new = !self.model.vhosts.contains_key(name);
        let name: Name = name.into();
        let vhost = self.model.vhosts.entry(name.clone()).or_insert_with(|| VHost::new(name));
        change(&mut vhost.about);
        is_new
    }

    /// Deletes a virtual host with all that is in it; its connections are closed. Whether it was there.
    pub fn delete_vhost(&mut self, name: &str) -> bool {
        let Some(vhost) = self.model.vhosts.get(name) else { return false };
        let queues: Vec<QueueId> = vhost.queues.values().copied().collect();
        let connections: Vec<ConnectionId> = self
            .connections
            .values()
            .filter(|connection| &*connection.vhost == name)
            .map(|connection| connection.id)
            .collect();
        let reason = format!("vhost '{name}' is deleted");
        for connection in connections {
            self.close_connection(connection, &reason);
        }
        for queue in queues {
            self.delete_queue(queue);
        }
        self.model.vhosts.remove(name);
        for user in self.model.users.0.values_mut() {
            user.permissions.remove(name);
        }
        self.look_after();
        true
    }

    /// Adds a user, or gives one another password and other tags.
    pub fn set_user(&mut self, name: &str, password: &str, tags: &[&str]) {
        let salt = self.dice.next_u32();
        self.set_user_hash(name, Hash::of(salt, password.as_bytes()), tags);
    }

    /// The same by the hash of the password; an empty one keeps them out.
    pub fn set_user_hash(&mut self, name: &str, password: Hash, tags: &[&str]) {
        let tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
        let name: Name = name.into();
        let permissions =
            self.model.users.0.get(&name).map(|user| user.permissions.clone()).unwrap_or_default();
        let user = User { name: name.clone(), password, tags, permissions };
        self.model.users.0.insert(name, user);
    }

    /// Deletes a user; their connections are closed. Whether they were there.
    pub fn delete_user(&mut self, name: &str) -> bool {
        if self.model.users.0.remove(name).is_none() {
            return false;
        }
        let connections: Vec<ConnectionId> = self
            .connections
            .values()
            .filter(|connection| &*connection.user == name)
            .map(|connection| connection.id)
            .collect();
        let reason = format!("user '{name}' is deleted");
        for connection in connections {
            self.close_connection(connection, &reason);
        }
        true
    }

    /// Says what a user may do in a virtual host; none is nothing at all.
    pub fn set_permission(
        &mut self,
        user: &str,
        vhost: &str,
        permission: Option<Permission>,
    ) -> Result<(), AdminError> {
        self.vhost_there(vhost)?;
        let known = self.model.users.0.get_mut(user);
        let known = known.ok_or_else(|| AdminError::Unknown(format!("user '{user}'")))?;
        match permission {
            Some(permission) => known.permissions.insert(vhost.into(), permission),
            None => known.permissions.remove(vhost),
        };
        self.forget_permits();
        Ok(())
    }

    /// Adds or replaces a policy, which takes effect at once.
    pub fn set_policy(
        &mut self,
        vhost: &str,
        name: &str,
        pattern: &str,
        apply_to: &str,
        priority: i64,
        definition: Table,
    ) -> Result<(), AdminError> {
        let policy = Policy {
            name: name.into(),
            pattern: Pattern::of_names(pattern)?,
            apply_to: apply_to.to_owned(),
            priority,
            definition,
        };
        self.vhost_there(vhost)?;
        if let Some(known) = self.model.vhosts.get_mut(vhost) {
            known.policies.insert(name.into(), policy);
        }
        self.apply_policies(vhost);
        self.look_after();
        Ok(())
    }

    /// Deletes a policy. Whether it was there.
    pub fn delete_policy(&mut self, vhost: &str, name: &str) -> bool {
        let known = self.model.vhosts.get_mut(vhost);
        let removed = known.is_some_and(|known| known.policies.remove(name).is_some());
        if removed {
            self.apply_policies(vhost);
            self.look_after();
        }
        removed
    }

    /// Declares a queue that is nobody's own, with RabbitMQ's checks: one that is there must be alike. Whether it is new.
    pub fn declare_queue(
        &mut self,
        vhost: &str,
        name: &str,
        durable: bool,
        auto_delete: bool,
        arguments: Table,
    ) -> Result<bool, AdminError> {
        let vhost = self.vhost_there(vhost)?;
        let flags = Flags { durable, exclusive: false, auto_delete };
        let table = self.model.completed(&vhost, arguments, flags);
        if name.is_empty() || name.starts_with("amq.") {
            let text = format!("queue name '{name}' contains reserved prefix 'amq.*'");
            return Err(AmqpError::new(Code::AccessRefused, text).into());
        }
        if let Some(queue) = self.model.queue(&vhost, name) {
            if queue.owner.is_some() {
                return Err(queue.locked().into());
            }
            queue.check_alike(flags, &table)?;
            return Ok(false);
        }
        arguments::check_new(&vhost, name, &table, flags)?;
        self.create_queue(&vhost, &name.into(), durable, auto_delete, None, table);
        Ok(true)
    }

    /// Drops the ready messages of a queue. How many that were.
    pub fn purge(&mut self, vhost: &str, queue: &str) -> Option<u32> {
        let id = self.model.queue_id(vhost, queue)?;
        Some(self.purge_queue(id))
    }

    /// Declares an exchange, with RabbitMQ's checks: one that is there must be alike. Whether it is new.
    pub fn declare_exchange(
        &mut self,
        vhost: &str,
        exchange: Exchange,
    ) -> Result<bool, AdminError> {
        let vhost = self.vhost_there(vhost)?;
        let known = self.model.vhosts.get(&vhost).and_then(|v| v.exchanges.get(&exchange.name));
        if exchange.name.is_empty() || (known.is_none() && exchange.name.starts_with("amq.")) {
            let text =
                format!("exchange name '{}' contains reserved prefix 'amq.*'", exchange.name);
            return Err(AmqpError::new(Code::AccessRefused, text).into());
        }
        if let Some(known) = known {
            known.check_alike(&vhost, &exchange)?;
            return Ok(false);
        }
        exchange.check_new(&vhost)?;
        self.create_exchange(&vhost, exchange);
        Ok(true)
    }

    /// Deletes an exchange with its bindings. Whether it was there; those every virtual host has stay.
    pub fn remove_exchange(&mut self, vhost: &str, name: &str) -> bool {
        let Ok(vhost) = self.vhost_there(vhost) else { return false };
        let is_there =
            self.model.vhosts.get(&vhost).is_some_and(|v| v.exchanges.contains_key(name));
        let is_fixed = name.is_empty() || name.starts_with("amq.");
        if is_there && !is_fixed {
            self.delete_exchange(&vhost, name);
        }
        is_there && !is_fixed
    }

    /// Binds a queue, or with `to_exchange` an exchange, to an exchange.
    pub fn add_bind(
        &mut self,
        vhost: &str,
        source: &str,
        destination: &str,
        to_exchange: bool,
        routing_key: &str,
        arguments: Table,
    ) -> Result<(), AdminError> {
        let vhost = self.vhost_there(vhost)?;
        let binding = binding(destination, to_exchange, routing_key, &arguments);
        let Some(known) = self.model.vhosts.get(&vhost) else { return Ok(()) };
        let is_there = match &binding.target {
            Target::Queue(name) => known.queues.contains_key(name),
            Target::Exchange(name) => known.exchanges.contains_key(name),
        };
        let from = known.exchanges.get(source).filter(|_| is_there && !source.is_empty());
        let what = || AdminError::Unknown(format!("'{source}' or '{destination}' in '{vhost}'"));
        from.ok_or_else(what)?.check_binding(routing_key, &arguments)?;
        self.add_binding(&vhost, source, binding, arguments);
        Ok(())
    }

    /// Removes a binding.
    pub fn remove_bind(
        &mut self,
        vhost: &str,
        source: &str,
        destination: &str,
        to_exchange: bool,
        routing_key: &str,
        arguments: &Table,
    ) -> Result<(), AdminError> {
        let vhost = self.vhost_there(vhost)?;
        let binding = binding(destination, to_exchange, routing_key, arguments);
        self.remove_binding(&vhost, source, &binding);
        Ok(())
    }

    fn vhost_there(&self, name: &str) -> Result<Name, AdminError> {
        match self.model.vhosts.get_key_value(name) {
            Some((name, _)) => Ok(name.clone()),
            None => Err(AdminError::Unknown(format!("virtual host '{name}'"))),
        }
    }
}

fn binding(to: &str, to_exchange: bool, key: &str, arguments: &Table) -> BindingKey {
    let target = if to_exchange { Target::Exchange(to.into()) } else { Target::Queue(to.into()) };
    BindingKey::new(key.into(), target, arguments)
}
