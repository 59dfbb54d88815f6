//! A stream: a log of messages that reading does not use up. Each consumer reads from an offset of its own; what is
//! too old or too much goes from the front, a whole segment at a time.
//!
//! RabbitMQ writes messages in chunks and finds `last`, a time and a filter by the chunk; here a chunk is one message.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::model::message::Message;
use crate::model::policy::Policy;
use crate::wire::{Table, Value};

/// A segment's bytes, unless told otherwise.
const SEGMENT: usize = 500_000_000;

/// Years, months, days, hours, minutes and seconds in seconds, as RabbitMQ reckons.
const UNITS: &[(&str, u64)] = &[
    ("Y", 365 * 24 * 60 * 60),
    ("M", 30 * 24 * 60 * 60),
    ("D", 24 * 60 * 60),
    ("h", 60 * 60),
    ("m", 60),
    ("s", 1),
];

/// What is not a length of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoInterval {
    /// It is nothing, or has an unknown unit.
    Refused,
    /// It has no number, which RabbitMQ's own process dies of.
    NoNumber,
}

/// A length of time like `7D` or `12h`.
pub fn interval(text: &str) -> Result<Duration, NoInterval> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    if number.is_empty() {
        return Err(NoInterval::NoNumber);
    }
    let unit = UNITS.iter().find(|(name, _)| *name == unit).ok_or(NoInterval::Refused)?.1;
    match number.parse::<u64>() {
        Ok(0) => Err(NoInterval::Refused),
        // Longer than there is time.
        Err(_) => Ok(Duration::MAX),
        Ok(number) => Ok(Duration::from_secs(number.saturating_mul(unit))),
    }
}

/// How much of a stream is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// Bytes at most.
    pub max_bytes: Option<usize>,
    /// For how long.
    pub max_age: Option<Duration>,
    /// Bytes of a segment, after which another is begun.
    pub segment: Option<usize>,
}

impl Retention {
    /// By arguments and policy; what the policy says counts.
    pub fn of(arguments: &Table, policy: Option<&Policy>) -> Retention {
        let value = |key: &str| {
            let by_policy = policy.and_then(|policy| policy.definition.get(key));
            by_policy.or_else(|| arguments.get(&format!("x-{key}")))
        };
        let size = |key: &str| value(key)?.as_int().and_then(|n| usize::try_from(n).ok());
        Retention {
            max_bytes: size("max-length-bytes"),
            max_age: value("max-age").and_then(Value::as_str).and_then(|age| interval(age).ok()),
            segment: size("stream-max-segment-size-bytes"),
        }
    }
}

/// Where a consumer begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// At the oldest message.
    First,
    /// At the newest.
    Last,
    /// At the next to be published.
    Next,
    /// At this offset, be it reached or not.
    Offset(u64),
    /// At the first that is not older, since 1970.
    Time(Duration),
}

/// Which messages a consumer wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// With one of these values.
    pub values: Vec<String>,
    /// Also those that have none.
    pub unfiltered: bool,
}

impl Filter {
    /// As a consumer's arguments say it.
    pub fn of(arguments: &Table) -> Option<Filter> {
        let values = match arguments.get("x-stream-filter")? {
            Value::Array(values) => values.iter().filter_map(Value::as_str).collect(),
            one => vec![one.as_str()?],
        };
        let values = values.into_iter().map(str::to_owned).collect();
        Some(Filter { values, unfiltered: arguments.is_true("x-stream-match-unfiltered") })
    }

    fn wants(&self, message: &Message) -> bool {
        let props = message.all_props();
        let value = props.headers.as_ref().and_then(|h| h.str("x-stream-filter-value"));
        value.map_or(self.unfiltered, |value| self.values.iter().any(|wanted| wanted == value))
    }
}

/// Where a consumer is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reader {
    next: u64,
    filter: Option<Filter>,
}

#[derive(Debug)]
struct Entry {
    message: Arc<Message>,
    /// Since 1970.
    at: Duration,
}

/// A run of messages that goes as a whole.
#[derive(Debug)]
struct Segment {
    first: u64,
    bytes: usize,
    /// When its last message came.
    last: Duration,
}

/// A stream's messages.
#[derive(Debug, Default)]
pub struct Stream {
    entries: VecDeque<Entry>,
    /// The offset of the oldest of them.
    first: u64,
    segments: VecDeque<Segment>,
}

impl Stream {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Their bytes.
    pub fn bytes(&self) -> usize {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }

    /// The offset that the next one will have.
    fn end(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    /// Adds a message, and lets go what `retention` does not keep.
    pub fn push(&mut self, message: &Message, at: Duration, retention: Retention) {
        let message = stored(message);
        let bytes = message.props.len() + message.body.len();
        let first = self.end();
        self.entries.push_back(Entry { message: Arc::new(message), at });
        match self.segments.back_mut() {
            Some(segment) => {
                segment.bytes += bytes;
                segment.last = at;
            }
            None => self.segments.push_back(Segment { first, bytes, last: at }),
        }
        let most = retention.segment.unwrap_or(SEGMENT);
        if self.segments.back().is_some_and(|segment| segment.bytes >= most) {
            self.segments.push_back(Segment { first: first + 1, bytes: 0, last: at });
            self.retain(retention, at);
        }
    }

    /// Lets go of segments from the front. The last stays, whatever its size and age.
    fn retain(&mut self, retention: Retention, now: Duration) {
        while self.segments.len() > 1 {
            let is_old = |segment: &Segment| {
                retention.max_age.is_some_and(|age| segment.last + age.min(now) < now)
            };
            let is_over = retention.max_bytes.is_some_and(|most| self.bytes() > most);
            if !is_over && !self.segments.front().is_some_and(is_old) {
                return;
            }
            self.segments.pop_front();
            let first = self.segments.front().map_or(self.first, |segment| segment.first);
            let gone = usize::try_from(first - self.first).unwrap_or(usize::MAX);
            self.entries.drain(..gone.min(self.entries.len()));
            self.first = first;
        }
    }

    /// A reader that begins there.
    pub fn reader(&self, start: Start, filter: Option<Filter>) -> Reader {
        let next = match start {
            Start::First => self.first,
            Start::Last => self.end().saturating_sub(1).max(self.first),
            Start::Next => self.end(),
            Start::Offset(offset) => offset.max(self.first),
            Start::Time(at) => {
                let older = self.entries.iter().take_while(|entry| entry.at < at).count();
                self.first + older as u64
            }
        };
        Reader { next, filter }
    }

    /// Moves a reader past what it does not want. The offset and the message that it would get.
    pub fn peek(&self, reader: &mut Reader) -> Option<(u64, &Arc<Message>)> {
        reader.next = reader.next.max(self.first);
        loop {
            let at = usize::try_from(reader.next - self.first).ok()?;
            let message = &self.entries.get(at)?.message;
            if reader.filter.as_ref().is_none_or(|filter| filter.wants(message)) {
                return Some((reader.next, message));
            }
            reader.next += 1;
        }
    }

    /// Gives a reader what it would get.
    pub fn take(&self, reader: &mut Reader) -> Option<(u64, Arc<Message>)> {
        let (offset, message) = self.peek(reader)?;
        let message = message.clone();
        reader.next += 1;
        Some((offset, message))
    }
}

/// The message as it comes out of a stream, which keeps it as AMQP 1.0: that has no cluster id and always a delivery mode,
/// and of tables and arrays only those under a header of the broker's own kind.
fn stored(message: &Message) -> Message {
    let mut props = message.all_props();
    props.cluster_id = None;
    props.delivery_mode = Some(if message.persistent { 2 } else { 1 });
    props.expiration = message.ttl().map(|ttl| ttl.as_millis().to_string());
    if let Some(headers) = &mut props.headers {
        headers.0.retain(|(key, value)| {
            let is_nested = matches!(value, Value::Table(_) | Value::Array(_));
            !is_nested || key.starts_with("x-") || key == "CC"
        });
        for (_, value) in &mut headers.0 {
            if let Value::Binary(bytes) = value {
                *value = Value::Long(std::mem::take(bytes));
            }
        }
    }
    let (props, body) = (props.write(), message.body.clone());
    Message {
        exchange: message.exchange.clone(),
        routing_key: message.routing_key.clone(),
        props,
        body,
        persistent: message.persistent,
        extra: None,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::wire::Props;

    const SECOND: Duration = Duration::from_secs(1);

    /// A stream of so many messages, a second apart, of 100 bytes and some properties.
    fn stream(messages: u32, retention: Retention) -> Stream {
        let body = Bytes::from_static(&[b'x'; 100]);
        let message = Message::published("".into(), "q".into(), Props::default().write(), body);
        let message = message.expect("it is well-formed");
        let mut stream = Stream::default();
        for n in 0..messages {
            stream.push(&message, SECOND * n, retention);
        }
        stream
    }

    fn offsets(stream: &Stream, start: Start) -> Vec<u64> {
        let mut reader = stream.reader(start, None);
        std::iter::from_fn(|| stream.take(&mut reader)).map(|(offset, _)| offset).collect()
    }

    #[test]
    fn intervals_are_read_as_rabbitmq_reads_them() {
        assert_eq!(interval("2m"), Ok(SECOND * 120));
        assert_eq!(interval("1Y"), Ok(SECOND * 31_536_000));
        for text in ["0s", "1w", "1", "1 s", "1hh"] {
            assert_eq!(interval(text), Err(NoInterval::Refused), "{text}");
        }
        for text in ["", "h", "-1s", "newest"] {
            assert_eq!(interval(text), Err(NoInterval::NoNumber), "{text}");
        }
        assert_eq!(interval("99999999999999999999999s"), Ok(Duration::MAX));
    }

    #[test]
    fn readers_begin_where_they_want() {
        let stream = stream(4, Retention::default());
        assert_eq!(offsets(&stream, Start::First), [0, 1, 2, 3]);
        assert_eq!(offsets(&stream, Start::Last), [3]);
        assert_eq!(offsets(&stream, Start::Next), [0; 0]);
        assert_eq!(offsets(&stream, Start::Offset(2)), [2, 3]);
        assert_eq!(offsets(&stream, Start::Offset(9)), [0; 0]);
        assert_eq!(offsets(&stream, Start::Time(SECOND)), [1, 2, 3]);
        assert_eq!(offsets(&stream, Start::Time(SECOND * 3 / 2)), [2, 3]);
        assert_eq!(offsets(&stream, Start::Time(SECOND * 9)), [0; 0]);
        assert_eq!(offsets(&Stream::default(), Start::Last), [0; 0]);
    }

    #[test]
    fn whole_segments_go_when_there_is_too_much() {
        // Two messages are a segment.
        let segment = Some(150);
        let kept = |retention| offsets(&stream(8, retention), Start::First);
        assert_eq!(kept(Retention { segment, ..Retention::default() }).len(), 8);
        let max_bytes = Some(500);
        assert_eq!(kept(Retention { segment, max_bytes, max_age: None }), [4, 5, 6, 7]);
        // Nothing goes before a segment is full.
        assert_eq!(kept(Retention { segment: None, max_bytes, max_age: None }).len(), 8);
        let max_age = Some(SECOND * 3);
        assert_eq!(kept(Retention { segment, max_bytes: None, max_age }), [4, 5, 6, 7]);
        let everything = Retention { segment, max_bytes: Some(1), max_age: None };
        let empty = stream(8, everything);
        assert_eq!((empty.len(), empty.bytes(), empty.end()), (0, 0, 8));
        assert_eq!(offsets(&stream(9, everything), Start::Offset(0)), [8]);
    }

    #[test]
    fn a_reader_left_behind_goes_on_with_what_there_is() {
        let mut kept = stream(2, Retention::default());
        let mut reader = kept.reader(Start::First, None);
        kept.segments.push_back(Segment { first: 1, bytes: 1, last: SECOND });
        kept.retain(Retention { max_bytes: Some(50), ..Retention::default() }, SECOND);
        assert_eq!(kept.take(&mut reader).map(|(offset, _)| offset), Some(1));
    }
}
