//! The names of AMQP's methods: one table, for errors, faults and looking.

use std::fmt;
use std::str::FromStr;

/// A method by its class and index; (0, 0) is none.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MethodId {
    /// The class.
    pub class: u16,
    /// The method within it.
    pub method: u16,
}

impl MethodId {
    /// No method is to blame.
    pub const NONE: MethodId = MethodId::of(0, 0);

    /// By its numbers.
    pub const fn of(class: u16, method: u16) -> MethodId {
        MethodId { class, method }
    }

    /// Its name, if it is one of AMQP 0-9-1's or RabbitMQ's.
    pub fn name(self) -> Option<&'static str> {
        METHODS
            .iter()
            .find(|(_, class, method)| (self.class, self.method) == (*class, *method))
            .map(|row| row.0)
    }

    /// Whether content follows it.
    pub const fn has_content(self) -> bool {
        self.class == 60 && matches!(self.method, 40 | 50 | 60 | 71)
    }
}

impl fmt::Display for MethodId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "{}.{}", self.class, self.method),
        }
    }
}

impl fmt::Debug for MethodId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// No method has that name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no method is named {0:?}; a name is like \"basic.deliver\"")]
pub struct UnknownMethod(pub String);

impl FromStr for MethodId {
    type Err = UnknownMethod;

    fn from_str(name: &str) -> Result<MethodId, UnknownMethod> {
        METHODS
            .iter()
            .find(|row| row.0 == name)
            .map(|(_, class, method)| MethodId::of(*class, *method))
            .ok_or_else(|| UnknownMethod(name.to_owned()))
    }
}

/// Every method: name, class, index.
pub const METHODS: &[(&str, u16, u16)] = &[
    ("connection.start", 10, 10),
    ("connection.start-ok", 10, 11),
    ("connection.secure", 10, 20),
    ("connection.secure-ok", 10, 21),
    ("connection.tune", 10, 30),
    ("connection.tune-ok", 10, 31),
    ("connection.open", 10, 40),
    ("connection.open-ok", 10, 41),
    ("connection.close", 10, 50),
    ("connection.close-ok", 10, 51),
    ("connection.blocked", 10, 60),
    ("connection.unblocked", 10, 61),
    ("connection.update-secret", 10, 70),
    ("connection.update-secret-ok", 10, 71),
    ("channel.open", 20, 10),
    ("channel.open-ok", 20, 11),
    ("channel.flow", 20, 20),
    ("channel.flow-ok", 20, 21),
    ("channel.close", 20, 40),
    ("channel.close-ok", 20, 41),
    ("access.request", 30, 10),
    ("access.request-ok", 30, 11),
    ("exchange.declare", 40, 10),
    ("exchange.declare-ok", 40, 11),
    ("exchange.delete", 40, 20),
    ("exchange.delete-ok", 40, 21),
    ("exchange.bind", 40, 30),
    ("exchange.bind-ok", 40, 31),
    ("exchange.unbind", 40, 40),
    ("exchange.unbind-ok", 40, 51),
    ("queue.declare", 50, 10),
    ("queue.declare-ok", 50, 11),
    ("queue.bind", 50, 20),
    ("queue.bind-ok", 50, 21),
    ("queue.purge", 50, 30),
    ("queue.purge-ok", 50, 31),
    ("queue.delete", 50, 40),
    ("queue.delete-ok", 50, 41),
    ("queue.unbind", 50, 50),
    ("queue.unbind-ok", 50, 51),
    ("basic.qos", 60, 10),
    ("basic.qos-ok", 60, 11),
    ("basic.consume", 60, 20),
    ("basic.consume-ok", 60, 21),
    ("basic.cancel", 60, 30),
    ("basic.cancel-ok", 60, 31),
    ("basic.publish", 60, 40),
    ("basic.return", 60, 50),
    ("basic.deliver", 60, 60),
    ("basic.get", 60, 70),
    ("basic.get-ok", 60, 71),
    ("basic.get-empty", 60, 72),
    ("basic.ack", 60, 80),
    ("basic.reject", 60, 90),
    ("basic.recover-async", 60, 100),
    ("basic.recover", 60, 110),
    ("basic.recover-ok", 60, 111),
    ("basic.nack", 60, 120),
    ("confirm.select", 85, 10),
    ("confirm.select-ok", 85, 11),
    ("tx.select", 90, 10),
    ("tx.select-ok", 90, 11),
    ("tx.commit", 90, 20),
    ("tx.commit-ok", 90, 21),
    ("tx.rollback", 90, 30),
    ("tx.rollback-ok", 90, 31),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_agree() {
        for (name, class, method) in METHODS {
            assert_eq!(name.parse(), Ok(MethodId::of(*class, *method)));
            assert_eq!(MethodId::of(*class, *method).name(), Some(*name));
        }
        assert!("basic.delivr".parse::<MethodId>().is_err());
    }
}
