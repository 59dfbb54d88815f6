//! The names of frames: those of the methods, and the rest.

use std::{borrow::Cow, fmt, ops::Deref};

use serde::{Deserialize, Deserializer, Serialize};

use crate::methods::METHODS;

/// The eight bytes a client opens with (and a server refuses with).
pub const PROTOCOL_HEADER: &str = "protocol-header";
/// A content header frame.
pub const HEADER: &str = "header";
/// A content body frame.
pub const BODY: &str = "body";
/// A heartbeat frame.
pub const HEARTBEAT: &str = "heartbeat";

/// What is not a method.
const OTHERS: [&str; 4] = [PROTOCOL_HEADER, HEADER, BODY, HEARTBEAT];

/// Every name a frame can have but those of unknown methods, in the order of the table.
pub fn names() -> impl Iterator<Item = &'static str> {
    OTHERS.into_iter().chain(METHODS.iter().map(|(_, _, name)| *name))
}

/// A frame's name: `basic.deliver`, `header`, `body`, `heartbeat`, `protocol-header`, or
/// `class60.method99` for a method nobody knows. Compares with `&str`; known names cost nothing.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct FrameName(Cow<'static, str>);

impl FrameName {
    /// The name of a method by its ids.
    pub fn method(class: u16, method: u16) -> Self {
        match METHODS.binary_search_by_key(&(class, method), |(c, m, _)| (*c, *m)) {
            Ok(found) => Self(Cow::Borrowed(METHODS[found].2)),
            Err(_) => Self(Cow::Owned(format!("class{class}.method{method}"))),
        }
    }

    /// A name of this module.
    pub const fn known(name: &'static str) -> Self {
        Self(Cow::Borrowed(name))
    }

    /// Reads a name; `None` if no frame can have it.
    pub fn parse(name: &str) -> Option<Self> {
        if let Some(known) = names().find(|known| *known == name) {
            return Some(Self::known(known));
        }
        let (class, method) = name.strip_prefix("class")?.split_once(".method")?;
        Some(Self::method(class.parse().ok()?, method.parse().ok()?))
    }

    /// The known name nearest to `given`, for the message that refuses it.
    pub fn nearest(given: &str) -> &'static str {
        let distance = |name: &&str| (strsim::jaro_winkler(name, given) * -1e6) as i64;
        names().min_by_key(distance).unwrap_or(HEARTBEAT)
    }
}

impl Deref for FrameName {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl PartialEq<str> for FrameName {
    fn eq(&self, other: &str) -> bool {
        **self == *other
    }
}

impl PartialEq<&str> for FrameName {
    fn eq(&self, other: &&str) -> bool {
        **self == **other
    }
}

impl fmt::Debug for FrameName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

impl fmt::Display for FrameName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}

impl<'de> Deserialize<'de> for FrameName {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let given = Cow::<'de, str>::deserialize(from)?;
        Self::parse(&given).ok_or_else(|| {
            let nearest = Self::nearest(&given);
            serde::de::Error::custom(format!("no frame is called {given:?}; nearest: {nearest:?}"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_so_that_it_can_be_searched() {
        assert!(METHODS.is_sorted_by(|a, b| (a.0, a.1) < (b.0, b.1)));
        for (class, method, name) in METHODS {
            assert_eq!(FrameName::method(*class, *method), *name);
            assert_eq!(FrameName::parse(name), Some(FrameName::known(name)));
        }
    }

    #[test]
    fn unknown_methods_have_names_and_misspelt_ones_a_neighbour() {
        assert_eq!(FrameName::method(60, 99), "class60.method99");
        assert_eq!(FrameName::parse("class60.method99"), Some(FrameName::method(60, 99)));
        assert_eq!(FrameName::parse("class60.method60"), Some(FrameName::known("basic.deliver")));
        assert_eq!(FrameName::parse("basic.delivery"), None);
        assert_eq!(FrameName::nearest("basic.delivery"), "basic.deliver");
        assert_eq!(FrameName::nearest("connecton.tune"), "connection.tune");
    }
}
