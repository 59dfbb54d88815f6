//! What is ready in a queue, in the order it goes out: by priority, then by age, with returned messages where they were.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::model::message::Message;

/// Of a quorum queue: one of three messages is of normal priority, if any is.
const HIGH_IN_A_ROW: u8 = 2;

/// A message in a queue.
#[derive(Clone, Debug)]
pub struct Ready {
    /// Its age: unique in the queue, growing.
    pub at: u64,
    /// The message.
    pub message: Arc<Message>,
    /// When it is to go.
    pub expires: Option<Duration>,
    /// Whether a client may have seen it.
    pub redelivered: bool,
    /// How often it came back; only quorum queues count.
    pub returns: u64,
}

impl Ready {
    fn size(&self) -> usize {
        self.message.body.len()
    }
}

/// Ready messages.
#[derive(Debug)]
pub struct Store {
    /// By priority, lowest first; each by age.
    levels: Vec<VecDeque<Ready>>,
    /// What came back to a quorum queue goes out before everything else, in the order it came.
    returned: VecDeque<Ready>,
    is_quorum: bool,
    taken: u8,
    len: usize,
    bytes: usize,
    next: u64,
    /// How many have a time to go.
    expiring: usize,
}

impl Store {
    /// For a classic queue with so many priorities beyond the lowest.
    pub fn classic(max_priority: u8) -> Store {
        Store::with(usize::from(max_priority) + 1, false)
    }

    /// For a quorum queue: it has two priorities.
    pub fn quorum() -> Store {
        Store::with(2, true)
    }

    fn with(levels: usize, is_quorum: bool) -> Store {
        Store {
            levels: std::iter::repeat_with(VecDeque::new).take(levels).collect(),
            returned: VecDeque::new(),
            is_quorum,
            taken: 0,
            len: 0,
            bytes: 0,
            next: 0,
            expiring: 0,
        }
    }

    /// How many are ready.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether none is.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The bytes of their bodies.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether any of them expires.
    pub const fn expires(&self) -> bool {
        self.expiring > 0
    }

    fn level(&self, message: &Message) -> usize {
        let priority = usize::from(message.priority());
        if self.is_quorum { usize::from(priority > 4) } else { priority.min(self.levels.len() - 1) }
    }

    fn count(&mut self, ready: &Ready) {
        self.len += 1;
        self.bytes += ready.size();
        self.expiring += usize::from(ready.expires.is_some());
    }

    fn uncount(&mut self, ready: Ready) -> Ready {
        self.len -= 1;
        self.bytes -= ready.size();
        self.expiring -= usize::from(ready.expires.is_some());
        ready
    }

    /// Adds a new message.
    pub fn push(&mut self, message: Arc<Message>, expires: Option<Duration>) {
        self.next += 1;
        let level = self.level(&message);
        let ready = Ready { at: self.next, message, expires, redelivered: false, returns: 0 };
        self.count(&ready);
        self.levels[level].push_back(ready);
    }

    /// Puts a message back: where it was, or, in a quorum queue, to what goes out next.
    pub fn put_back(&mut self, ready: Ready) {
        self.count(&ready);
        if self.is_quorum {
            self.returned.push_back(ready);
            return;
        }
        let level = self.level(&ready.message);
        let level = &mut self.levels[level];
        let at = level.partition_point(|other| other.at < ready.at);
        level.insert(at, ready);
    }

    /// Takes the next message.
    pub fn pop(&mut self) -> Option<Ready> {
        if let Some(ready) = self.returned.pop_front() {
            return Some(self.uncount(ready));
        }
        let mut order = self.levels.len();
        if self.is_quorum {
            let low_first = self.taken == HIGH_IN_A_ROW && {
                // The older of the two goes first, even out of turn.
                match (self.levels[1].front(), self.levels[0].front()) {
                    (Some(high), Some(low)) => low.at < high.at,
                    _ => false,
                }
            };
            self.taken = if self.taken == HIGH_IN_A_ROW { 0 } else { self.taken + 1 };
            if low_first {
                order = 1;
            }
        }
        let ready = self.levels[..order].iter_mut().rev().find_map(VecDeque::pop_front)?;
        Some(self.uncount(ready))
    }

    /// Takes the messages at the heads whose time is up: what is behind a head waits for it.
    pub fn expired(&mut self, now: Duration) -> Vec<Ready> {
        if self.expiring == 0 {
            return Vec::new();
        }
        let is_up = |ready: &Ready| ready.expires.is_some_and(|expires| expires <= now);
        let mut gone = Vec::new();
        for queue in std::iter::once(&mut self.returned).chain(&mut self.levels) {
            while queue.front().is_some_and(is_up) {
                gone.extend(queue.pop_front());
            }
        }
        for ready in &gone {
            self.len -= 1;
            self.bytes -= ready.size();
        }
        self.expiring -= gone.len();
        gone
    }

    /// When to look at the heads again.
    pub fn next_expiry(&self) -> Option<Duration> {
        std::iter::once(&self.returned)
            .chain(&self.levels)
            .filter_map(|queue| queue.front()?.expires)
            .min()
    }

    /// Takes everything, in order.
    pub fn clear(&mut self) -> usize {
        let had = self.len;
        self.returned.clear();
        self.levels.iter_mut().for_each(VecDeque::clear);
        self.len = 0;
        self.bytes = 0;
        self.expiring = 0;
        had
    }

    /// Keeps only what `keep` wants, as after a crash.
    pub fn retain(&mut self, keep: impl Fn(&Message) -> bool) {
        for queue in std::iter::once(&mut self.returned).chain(&mut self.levels) {
            queue.retain(|ready| keep(&ready.message));
        }
        let all = || std::iter::once(&self.returned).chain(&self.levels).flatten();
        self.len = all().count();
        self.bytes = all().map(Ready::size).sum();
        self.expiring = all().filter(|ready| ready.expires.is_some()).count();
    }

    /// Everything, in order of level and age.
    pub fn iter(&self) -> impl Iterator<Item = &Ready> {
        std::iter::once(&self.returned).chain(self.levels.iter().rev()).flatten()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::wire::Props;

    fn message(body: &'static str, priority: u8) -> Arc<Message> {
        let props = Props { priority: Some(priority), ..Props::default() };
        let body = Bytes::from_static(body.as_bytes());
        Message::published("".into(), "q".into(), props.write(), body).map(Arc::new).expect("fine")
    }

    fn drain(store: &mut Store) -> String {
        let mut out = String::new();
        while let Some(ready) = store.pop() {
            out.push_str(std::str::from_utf8(&ready.message.body).expect("text"));
        }
        assert_eq!((store.len(), store.bytes()), (0, 0));
        out
    }

    #[test]
    fn classic_queues_put_back_where_it_was() {
        let mut store = Store::classic(0);
        for body in ["a", "b", "c", "d"] {
            store.push(message(body, 9), None);
        }
        let taken: Vec<Ready> = std::iter::from_fn(|| store.pop()).take(3).collect();
        let mut taken = taken.into_iter();
        let (a, b, c) = (taken.next(), taken.next(), taken.next());
        for ready in [b, c, a].into_iter().flatten() {
            store.put_back(ready);
        }
        assert_eq!(drain(&mut store), "abcd");
    }

    #[test]
    fn priorities_go_first_and_are_capped() {
        let mut store = Store::classic(2);
        for (body, priority) in [("a", 0), ("b", 1), ("c", 9), ("d", 2), ("e", 0)] {
            store.push(message(body, priority), None);
        }
        assert_eq!(drain(&mut store), "cdbae");
    }

    #[test]
    fn quorum_queues_return_to_the_front_and_mix_priorities() {
        let mut store = Store::quorum();
        for (body, priority) in [("a", 0), ("b", 0), ("c", 5), ("d", 5), ("e", 5)] {
            store.push(message(body, priority), None);
        }
        let first = store.pop().expect("there are five");
        store.put_back(first);
        assert_eq!(drain(&mut store), "cdaeb");
    }

    #[test]
    fn only_heads_expire() {
        let mut store = Store::classic(0);
        let at = |ms| Some(Duration::from_millis(ms));
        for (body, expires) in [("a", at(5)), ("b", at(20)), ("c", at(1))] {
            store.push(message(body, 0), expires);
        }
        assert_eq!(store.expired(Duration::from_millis(4)).len(), 0);
        assert_eq!(store.expired(Duration::from_millis(5)).len(), 1);
        assert_eq!(store.next_expiry(), at(20));
        assert_eq!(store.expired(Duration::from_millis(20)).len(), 2);
        assert_eq!(store.len(), 0);
        assert!(!store.expires());
    }
}
