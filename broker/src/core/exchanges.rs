//! Exchanges and bindings coming and going, and what goes with them.

use crate::core::Core;
use crate::look::events::Event;
use crate::model::Name;
use crate::model::exchange::{BindingKey, Exchange, Target};
use crate::wire::Table;

impl Core {
    pub(crate) fn create_exchange(&mut self, vhost: &Name, exchange: Exchange) {
        let name = exchange.name.clone();
        if let Some(known) = self.model.vhosts.get_mut(vhost) {
            known.exchanges.insert(name.clone(), exchange);
            self.note(|| Event::ExchangeDeclared { vhost: vhost.clone(), exchange: name });
        }
    }

    /// Removes an exchange with all its bindings, and the exchanges that go with their last binding.
    pub(crate) fn delete_exchange(&mut self, vhost: &Name, name: &str) {
        let Some(known) = self.model.vhosts.get_mut(vhost) else { return };
        let Some(exchange) = known.exchanges.remove(name) else { return };
        let name = exchange.name.clone();
        self.remove_bindings_to(vhost, &Target::Exchange(name.clone()));
        self.forget_permits();
        self.note(|| Event::ExchangeDeleted { vhost: vhost.clone(), exchange: name });
    }

    pub(crate) fn add_binding(
        &mut self,
        vhost: &Name,
        source: &str,
        binding: BindingKey,
        arguments: Table,
    ) {
        let known = self.model.vhosts.get_mut(vhost).and_then(|v| v.exchanges.get_mut(source));
        if let Some(exchange) = known {
            exchange.bindings.entry(binding).or_insert(arguments);
        }
    }

    pub(crate) fn remove_binding(&mut self, vhost: &Name, source: &str, binding: &BindingKey) {
        let known = self.model.vhosts.get_mut(vhost).and_then(|v| v.exchanges.get_mut(source));
        let Some(exchange) = known else { return };
        if exchange.bindings.remove(binding).is_some()
            && exchange.auto_delete
            && exchange.bindings.is_empty()
        {
            self.delete_exchange(vhost, source);
        }
    }

    /// Removes every binding that leads to `target`.
    pub(crate) fn remove_bindings_to(&mut self, vhost: &Name, target: &Target) {
        let Some(known) = self.model.vhosts.get_mut(vhost) else { return };
        let mut over = Vec::new();
        for exchange in known.exchanges.values_mut() {
            let before = exchange.bindings.len();
            exchange.bindings.retain(|binding, _| binding.target != *target);
            if exchange.auto_delete && before > 0 && exchange.bindings.is_empty() {
                over.push(exchange.name.clone());
            }
        }
        for name in over {
            self.delete_exchange(vhost, &name);
        }
    }
}
