//! A virtual host: its exchanges and queues by name, its policies, and the way of a message through its exchanges.

use std::collections::{BTreeMap, BTreeSet};

use super::exchange::{Exchange, Kind, Target};
use super::message::Message;
use super::policy::Policy;
use super::queue::Queue;
use super::{Name, QueueId};

/// A virtual host.
#[derive(Debug)]
pub struct VHost {
    /// Its name.
    pub name: Name,
    /// By name; the default exchange's is empty.
    pub exchanges: BTreeMap<Name, Exchange>,
    /// By name.
    pub queues: BTreeMap<Name, QueueId>,
    /// By name.
    pub policies: BTreeMap<Name, Policy>,
    /// What operators say about it.
    pub about: About,
}

/// What operators say about a virtual host.
#[derive(Clone, Debug)]
pub struct About {
    /// In words.
    pub description: String,
    /// As they like.
    pub tags: Vec<String>,
    /// Of queues declared without one: `classic`, `quorum` or `stream`.
    pub default_queue_type: String,
}

impl Default for About {
    fn default() -> About {
        let default_queue_type = "classic".to_owned();
        About { description: String::new(), tags: Vec::new(), default_queue_type }
    }
}

impl VHost {
    /// One with the exchanges that every virtual host has.
    pub fn new(name: Name) -> VHost {
        let exchanges = [
            ("", Kind::Direct),
            ("amq.direct", Kind::Direct),
            ("amq.fanout", Kind::Fanout),
            ("amq.headers", Kind::Headers),
            ("amq.match", Kind::Headers),
            ("amq.topic", Kind::Topic),
        ]
        .map(|(name, kind)| (Name::from(name), Exchange::new(name.into(), kind)));
        let mut exchanges = BTreeMap::from(exchanges);
        let trace =
            Exchange { internal: true, ..Exchange::new("amq.rabbitmq.trace".into(), Kind::Topic) };
        exchanges.insert(trace.name.clone(), trace);
        let mut about = About::default();
        if &*name == "/" {
            about.description = "Default virtual host".to_owned();
        }
        VHost { name, exchanges, queues: BTreeMap::new(), policies: BTreeMap::new(), about }
    }

    /// Adds the queues `message` goes to from `exchange` to `found`, each once.
    pub fn route(&self, exchange: &str, message: &Message, dice: u64, found: &mut Vec<QueueId>) {
        if exchange.is_empty() {
            for key in message.keys() {
                if let Some(id) = self.queues.get(key) {
                    add(*id, found);
                }
            }
            return;
        }
        let Some(first) = self.exchanges.get(exchange) else { return };
        // Without bindings between exchanges, and there mostly are none, nothing is allocated.
        let mut further: Vec<&Name> = Vec::new();
        self.step(first, message, dice, found, &mut further);
        if further.is_empty() {
            return;
        }
        let mut seen = BTreeSet::from([first.name.clone()]);
        while let Some(name) = further.pop() {
            if !seen.insert(name.clone()) {
                continue;
            }
            if name.is_empty() {
                self.route("", message, dice, found);
            } else if let Some(next) = self.exchanges.get(name) {
                self.step(next, message, dice, found, &mut further);
            }
        }
    }

    fn step<'a>(
        &'a self,
        exchange: &'a Exchange,
        message: &Message,
        dice: u64,
        found: &mut Vec<QueueId>,
        further: &mut Vec<&'a Name>,
    ) {
        let mut any = false;
        exchange.targets(message, dice, |target| {
            any = true;
            match target {
                Target::Queue(name) => {
                    if let Some(id) = self.queues.get(name) {
                        add(*id, found);
                    }
                }
                Target::Exchange(name) => further.push(name),
            }
        });
        if !any
            && let Some((name, _)) =
                self.alternate(exchange).and_then(|n| self.exchanges.get_key_value(n))
        {
            further.push(name);
        }
    }

    /// The alternate exchange of an exchange, by argument or policy.
    pub fn alternate<'a>(&'a self, exchange: &'a Exchange) -> Option<&'a str> {
        exchange.arguments.str("alternate-exchange").or_else(|| {
            self.policy(&exchange.name, &["all", "exchanges"])?.definition.str("alternate-exchange")
        })
    }

    /// The policy that applies to a queue.
    pub fn policy_for_queue(&self, queue: &Queue) -> Option<&Policy> {
        let kinds: &[&str] = match queue.kind() {
            "stream" => &["all", "queues", "streams"],
            "quorum" => &["all", "queues", "quorum_queues"],
            _ => &["all", "queues", "classic_queues"],
        };
        self.policy(&queue.name, kinds)
    }

    /// The policy that applies to an exchange.
    pub fn policy_for_exchange(&self, exchange: &Exchange) -> Option<&Policy> {
        self.policy(&exchange.name, &["all", "exchanges"])
    }

    fn policy(&self, name: &str, kinds: &[&str]) -> Option<&Policy> {
        self.policies
            .values()
            .filter(|policy| kinds.contains(&&*policy.apply_to) && policy.pattern.matches(name))
            .max_by_key(|policy| policy.priority)
    }
}

fn add(id: QueueId, found: &mut Vec<QueueId>) {
    if !found.contains(&id) {
        found.push(id);
    }
}
