//! The methods of class exchange.

use super::{Resource, clean};
use crate::core::{ChannelId, Core};
use crate::model::exchange::{BindingKey, Exchange, Kind, Target};
use crate::model::user::Access;
use crate::model::{Name, exchange_in};
use crate::refuse::refuse;
use crate::wire::method::{Bind, ExchangeDeclare};
use crate::wire::{AmqpError, Reply, Table};

impl Core {
    /// `exchange.declare`.
    pub(super) fn exchange_declare(
        &mut self,
        at: ChannelId,
        declare: &ExchangeDeclare<'_>,
    ) -> Result<(), AmqpError> {
        let vhost = self.vhost_of(at.connection);
        let name = clean(&declare.exchange);
        let shown = exchange_in(&vhost, &name);
        let kind = if declare.passive { Kind::Direct } else { Kind::named(&declare.kind)? };
        if name.is_empty() {
            refuse!(AccessRefused, "operation not permitted on the default exchange");
        }
        let known = self.model.vhosts.get(&vhost).and_then(|vhost| vhost.exchanges.get(&*name));
        if declare.passive {
            if known.is_none() {
                refuse!(NotFound, "no {shown}");
            }
        } else {
            self.permit(at, Access::Configure, Resource::Exchange(&name))?;
            let new = Exchange {
                durable: declare.durable,
                auto_delete: declare.auto_delete,
                internal: declare.internal,
                arguments: declare.arguments.clone(),
                ..Exchange::new(name.as_ref().into(), kind)
            };
            match known {
                Some(known) => known.check_alike(&vhost, &new)?,
                None => self.exchange_new(at, &vhost, new)?,
            }
        }
        if !declare.nowait {
            self.reply(at, &Reply::ExchangeDeclareOk);
        }
        Ok(())
    }

    fn exchange_new(
        &mut self,
        at: ChannelId,
        vhost: &Name,
        new: Exchange,
    ) -> Result<(), AmqpError> {
        let name = &new.name;
        if name.starts_with("amq.") {
            refuse!(AccessRefused, "exchange name '{name}' contains reserved prefix 'amq.*'");
        }
        new.check_new(vhost)?;
        if let Some(to) = new.arguments.str("alternate-exchange") {
            self.permit(at, Access::Read, Resource::Exchange(name))?;
            self.permit(at, Access::Write, Resource::Exchange(to))?;
        }
        self.create_exchange(vhost, new);
        Ok(())
    }

    /// `exchange.delete`. An exchange that is not there is deleted all the same.
    pub(super) fn exchange_delete(
        &mut self,
        at: ChannelId,
        exchange: &str,
        if_unused: bool,
        nowait: bool,
    ) -> Result<(), AmqpError> {
        let vhost = self.vhost_of(at.connection);
        let name = clean(exchange);
        let shown = exchange_in(&vhost, &name);
        if name.is_empty() {
            refuse!(AccessRefused, "operation not permitted on the default exchange");
        }
        if name.starts_with("amq.") {
            refuse!(AccessRefused, "deletion of system {shown} not allowed");
        }
        self.permit(at, Access::Configure, Resource::Exchange(&name))?;
        let known = self.model.vhosts.get(&vhost).and_then(|vhost| vhost.exchanges.get(&*name));
        if if_unused && known.is_some_and(|exchange| !exchange.bindings.is_empty()) {
            refuse!(PreconditionFailed, "{shown} in use");
        }
        self.delete_exchange(&vhost, &name);
        if !nowait {
            self.reply(at, &Reply::ExchangeDeleteOk);
        }
        Ok(())
    }

    /// `exchange.bind`.
    pub(super) fn exchange_bind(
        &mut self,
        at: ChannelId,
        bind: &Bind<'_>,
    ) -> Result<(), AmqpError> {
        let target = Target::Exchange(clean(&bind.destination).as_ref().into());
        self.bind(
            at,
            target,
            &bind.source,
            bind.routing_key.as_ref().into(),
            bind.arguments.clone(),
        )?;
        if !bind.nowait {
            self.reply(at, &Reply::ExchangeBindOk);
        }
        Ok(())
    }

    /// `exchange.unbind`.
    pub(super) fn exchange_unbind(
        &mut self,
        at: ChannelId,
        bind: &Bind<'_>,
    ) -> Result<(), AmqpError> {
        let target = Target::Exchange(clean(&bind.destination).as_ref().into());
        self.unbind(at, target, &bind.source, bind.routing_key.as_ref().into(), &bind.arguments)?;
        if !bind.nowait {
            self.reply(at, &Reply::ExchangeUnbindOk);
        }
        Ok(())
    }

    /// Checks and adds a binding; one that is there already is fine.
    pub(super) fn bind(
        &mut self,
        at: ChannelId,
        target: Target,
        source: &str,
        key: Name,
        arguments: Table,
    ) -> Result<(), AmqpError> {
        let source = clean(source);
        self.permit_binding(at, &target, &source)?;
        self.check_ends(at, &target, &source)?;
        let vhost = self.vhost_of(at.connection);
        let known = self.model.vhosts.get(&vhost).and_then(|vhost| vhost.exchanges.get(&*source));
        if let Some(exchange) = known {
            exchange.check_binding(&key, &arguments)?;
        }
        self.add_binding(&vhost, &source, BindingKey::new(key, target, &arguments), arguments);
        Ok(())
    }

    /// Removes a binding. One that is not there is fine, whatever else is wrong with it.
    pub(super) fn unbind(
        &mut self,
        at: ChannelId,
        target: Target,
        source: &str,
        key: Name,
        arguments: &Table,
    ) -> Result<(), AmqpError> {
        let source = clean(source);
        self.permit_binding(at, &target, &source)?;
        let vhost = self.vhost_of(at.connection);
        let binding = BindingKey::new(key, target, arguments);
        let known = self.model.vhosts.get(&vhost).and_then(|vhost| vhost.exchanges.get(&*source));
        if known.is_some_and(|exchange| exchange.bindings.contains_key(&binding)) {
            self.check_ends(at, &binding.target, &source)?;
            self.remove_binding(&vhost, &source, &binding);
        }
        Ok(())
    }
}
