//! Exchanges and their bindings: which destinations a message goes on to from one exchange.

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::BytesMut;

use super::message::Message;
use super::queue::arguments::{equivalent, text_or_none};
use super::{Name, exchange_in, same, topic};
use crate::refuse::refuse;
use crate::wire::{AmqpError, Table, Value};

/// The types of exchange that RabbitMQ has without plugins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The routing key is the binding key.
    Direct,
    /// Everybody.
    Fanout,
    /// By pattern.
    Topic,
    /// By header.
    Headers,
    /// One of the bound queues, at random.
    LocalRandom,
}

impl Kind {
    /// The type called `name`.
    pub fn named(name: &str) -> Result<Kind, AmqpError> {
        Ok(match name {
            "direct" => Kind::Direct,
            "fanout" => Kind::Fanout,
            "topic" => Kind::Topic,
            "headers" => Kind::Headers,
            "x-local-random" => Kind::LocalRandom,
            // The empty name is known to RabbitMQ, only not as a type.
            "" => refuse!(PreconditionFailed, "invalid exchange type ''"),
            _ => refuse!(PreconditionFailed, "unknown exchange type '{name}'"),
        })
    }

    /// Its name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Direct => "direct",
            Kind::Fanout => "fanout",
            Kind::Topic => "topic",
            Kind::Headers => "headers",
            Kind::LocalRandom => "x-local-random",
        }
    }
}

/// Where a binding leads.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// A queue of the same virtual host.
    Queue(Name),
    /// An exchange of the same virtual host.
    Exchange(Name),
}

/// What makes a binding the same as another: key, destination and arguments in any order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BindingKey {
    /// The routing key or pattern.
    pub key: Name,
    /// Where it leads.
    pub target: Target,
    /// The arguments, sorted and written.
    arguments: Vec<u8>,
}

impl BindingKey {
    /// Identifies a binding.
    pub fn new(key: Name, target: Target, arguments: &Table) -> BindingKey {
        let mut sorted = arguments.clone();
        sorted.sort();
        let mut bytes = BytesMut::new();
        if !sorted.is_empty() {
            sorted.write(&mut bytes);
        }
        BindingKey { key, target, arguments: bytes.to_vec() }
    }
}

/// An exchange.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// Its name; the default exchange's is empty.
    pub name: Name,
    /// Its type.
    pub kind: Kind,
    /// Whether it survives a restart.
    pub durable: bool,
    /// Whether it goes with its last binding.
    pub auto_delete: bool,
    /// Whether clients must not publish to it.
    pub internal: bool,
    /// As declared.
    pub arguments: Table,
    /// From here.
    pub bindings: BTreeMap<BindingKey, Table>,
}

impl Exchange {
    /// One without bindings.
    pub fn new(name: Name, kind: Kind) -> Exchange {
        Exchange {
            name,
            kind,
            durable: true,
            auto_delete: false,
            internal: false,
            arguments: Table::default(),
            bindings: BTreeMap::new(),
        }
    }

    /// Refuses a declaration that is unlike the one that made it.
    pub fn check_alike(&self, vhost: &str, new: &Exchange) -> Result<(), AmqpError> {
        let shown = exchange_in(vhost, &self.name);
        if self.kind != new.kind {
            refuse!(
                PreconditionFailed,
                "inequivalent arg 'type' for {shown}: received '{}' but current is '{}'",
                new.kind.name(),
                self.kind.name()
            );
        }
        same(&shown, "durable", self.durable, new.durable)?;
        same(&shown, "auto_delete", self.auto_delete, new.auto_delete)?;
        same(&shown, "internal", self.internal, new.internal)?;
        equivalent(&shown, &self.arguments, &new.arguments, &["alternate-exchange"])
    }

    /// Refuses a new exchange that RabbitMQ refuses.
    pub fn check_new(&self, vhost: &str) -> Result<(), AmqpError> {
        text_or_none("alternate-exchange", &self.arguments, || exchange_in(vhost, &self.name))?;
        Ok(())
    }

    /// The targets of `message`; `dice` decides what is left to chance.
    pub fn targets<'a>(&'a self, message: &Message, dice: u64, mut each: impl FnMut(&'a Target)) {
        match self.kind {
            Kind::Direct => {
                for key in message.keys() {
                    self.bound_with(key).for_each(&mut each);
                }
            }
            Kind::Fanout => self.bindings.keys().for_each(|binding| each(&binding.target)),
            Kind::Topic => {
                for binding in self.bindings.keys() {
                    if message.keys().any(|key| topic::matches(&binding.key, key)) {
                        each(&binding.target);
                    }
                }
            }
            Kind::Headers => {
                for (binding, arguments) in &self.bindings {
                    if headers_match(arguments, message.headers()) {
                        each(&binding.target);
                    }
                }
            }
            Kind::LocalRandom => {
                if let Some(at) = dice.checked_rem(self.bindings.len() as u64)
                    && let Some(binding) = self.bindings.keys().nth(at as usize)
                {
                    each(&binding.target);
                }
            }
        }
    }

    fn bound_with(&self, key: &Name) -> impl Iterator<Item = &Target> {
        let first = BindingKey {
            key: key.clone(),
            target: Target::Queue("".into()),
            arguments: Vec::new(),
        };
        let key = key.clone();
        self.bindings
            .range((Bound::Included(first), Bound::Unbounded))
            .map(|(binding, _)| binding)
            .take_while(move |binding| binding.key == key)
            .map(|binding| &binding.target)
    }

    /// Refuses what no binding of this exchange may have.
    pub fn check_binding(&self, key: &str, arguments: &Table) -> Result<(), AmqpError> {
        if self.kind == Kind::LocalRandom && !key.is_empty() {
            refuse!(PreconditionFailed, "Non empty binding '{key}' key not permitted");
        }
        if self.kind != Kind::Headers {
            return Ok(());
        }
        match arguments.get("x-match") {
            None => Ok(()),
            Some(Value::Long(text)) => match &text[..] {
                b"all" | b"any" | b"all-with-x" | b"any-with-x" => Ok(()),
                other => refuse!(
                    PreconditionFailed,
                    "Invalid x-match field value {}; expected all, any, all-with-x, or any-with-x",
                    crate::wire::erlang_binary(other)
                ),
            },
            Some(other) => refuse!(
                PreconditionFailed,
                "Invalid x-match field type {} (value {}); expected longstr",
                other.type_name(),
                other.shown()
            ),
        }
    }
}

fn headers_match(arguments: &Table, headers: Option<&Table>) -> bool {
    let how = arguments.str("x-match").unwrap_or("all");
    let with_x = how.ends_with("-with-x");
    let mut conditions = arguments
        .0
        .iter()
        .filter(|(key, _)| if with_x { key != "x-match" } else { !key.starts_with("x-") });
    let holds = |(key, wanted): &(String, Value)| match headers.and_then(|h| h.get(key)) {
        None => false,
        Some(_) if *wanted == Value::Void => true,
        Some(got) => got.same_as(wanted),
    };
    if how.starts_with("any") { conditions.any(holds) } else { conditions.all(holds) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(entries: &[(&str, Value)]) -> Table {
        Table(entries.iter().map(|(k, v)| ((*k).to_owned(), v.clone())).collect())
    }

    #[test]
    fn headers_match_all_or_any() {
        let check = |how: &str, headers: &[(&str, Value)], expect: bool| {
            let arguments = table(&[
                ("x-match", Value::text(how)),
                ("a", Value::I32(1)),
                ("x-b", Value::text("b")),
                ("c", Value::Void),
            ]);
            assert_eq!(headers_match(&arguments, Some(&table(headers))), expect, "{how}");
        };
        let (a, b, c) = (("a", Value::I64(1)), ("x-b", Value::text("b")), ("c", Value::I8(0)));
        check("all", &[a.clone(), c.clone()], true);
        check("all", std::slice::from_ref(&a), false);
        check("any", std::slice::from_ref(&c), true);
        check("any", std::slice::from_ref(&b), false);
        check("any-with-x", std::slice::from_ref(&b), true);
        check("all-with-x", &[a.clone(), c.clone()], false);
        check("all-with-x", &[a, b, c], true);
        assert!(headers_match(&Table::default(), None));
        assert!(!headers_match(&table(&[("x-match", Value::text("any"))]), None));
    }
}
