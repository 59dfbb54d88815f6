//! Methods by number and by name, for errors, faults and snapshots.

use std::fmt;
use std::str::FromStr;

use crate::methods::METHODS;

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
            .binary_search_by_key(&(self.class, self.method), |(class, method, _)| {
                (*class, *method)
            })
            .ok()
            .map(|found| METHODS[found].2)
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
            .find(|row| row.2 == name)
            .map(|(class, method, _)| MethodId::of(*class, *method))
            .ok_or_else(|| UnknownMethod(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_agree() {
        for (class, method, name) in METHODS {
            assert_eq!(name.parse(), Ok(MethodId::of(*class, *method)));
            assert_eq!(MethodId::of(*class, *method).name(), Some(*name));
        }
        assert!("basic.delivr".parse::<MethodId>().is_err());
    }
}
