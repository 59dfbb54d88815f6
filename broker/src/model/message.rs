//! A message as the broker keeps it: bytes it forwards untouched, and the few facts it acts on.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use super::Name;
use crate::refuse::refuse;
use crate::wire::{AmqpError, Props, Table, Value, props};

/// Ten years: RabbitMQ takes no longer times.
pub const LONGEST: i64 = 315_360_000_000;

/// A message, shared by every queue it is in.
#[derive(Clone, Debug)]
pub struct Message {
    /// The exchange it was last published to.
    pub exchange: Name,
    /// The routing key it was last published with.
    pub routing_key: Name,
    /// Property flags and list, as they go out.
    pub props: Bytes,
    /// The body.
    pub body: Bytes,
    /// Delivery mode 2.
    pub persistent: bool,
    /// What only some messages have.
    pub extra: Option<Box<Extra>>,
}

/// What only some messages have.
#[derive(Clone, Debug, Default)]
pub struct Extra {
    /// All properties.
    pub props: Props,
    /// Further routing keys: CC, then BCC.
    pub also: Vec<Name>,
    /// How many of `also`, from the end, are BCC.
    pub blind: usize,
    /// Its own time to live.
    pub ttl: Option<Duration>,
    /// Where it died, newest first.
    pub deaths: Vec<Death>,
    /// Of its first death: reason, queue, exchange.
    pub first_death: Option<(&'static str, Name, Name)>,
}

/// A queue and a reason, and how often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Death {
    /// Where it was.
    pub queue: Name,
    /// Why it had to go.
    pub reason: Reason,
    /// How often.
    pub count: i64,
    /// The exchange it had been published to.
    pub exchange: Name,
    /// The routing keys it had, without BCC.
    pub keys: Vec<Name>,
    /// When, in seconds since 1970.
    pub time: u64,
    /// The time to live that was taken off it.
    pub expiration: Option<Duration>,
}

/// Why a message leaves a queue for the dead-letter exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// A client rejected it.
    Rejected,
    /// Its time was up.
    Expired,
    /// The queue was full.
    Maxlen,
    /// It came back too often.
    DeliveryLimit,
}

impl Reason {
    /// As in `x-death`.
    pub const fn name(self) -> &'static str {
        match self {
            Reason::Rejected => "rejected",
            Reason::Expired => "expired",
            Reason::Maxlen => "maxlen",
            Reason::DeliveryLimit => "delivery_limit",
        }
    }
}

impl Message {
    /// A message as it was published. Looks into the properties only as far as it must.
    pub fn published(
        exchange: Name,
        routing_key: Name,
        bytes: Bytes,
        body: Bytes,
    ) -> Result<Message, AmqpError> {
        if let Some(mode) = props::plain(&bytes) {
            let persistent = mode == Some(2);
            return Ok(Message {
                exchange,
                routing_key,
                props: bytes,
                body,
                persistent,
                extra: None,
            });
        }
        let mut read = Props::read(&bytes).map_err(|_| AmqpError::internal())?;
        let ttl = expiration(&read)?;
        let mut extra = Extra { ttl, ..Extra::default() };
        let mut bytes = bytes;
        if let Some(headers) = &mut read.headers {
            extra.also = routes(headers, "CC")?;
            let blind = routes(headers, "BCC")?;
            extra.blind = blind.len();
            extra.also.extend(blind);
            let had_bcc = headers.get("BCC").is_some();
            if had_bcc || !headers.is_sorted() {
                headers.0.retain(|(key, _)| key != "BCC");
                headers.sort();
                bytes = read.write();
            }
        }
        let persistent = read.delivery_mode == Some(2);
        extra.props = read;
        let extra = Some(Box::new(extra));
        Ok(Message { exchange, routing_key, props: bytes, body, persistent, extra })
    }

    /// The headers, if there are any.
    pub fn headers(&self) -> Option<&Table> {
        self.extra.as_ref().and_then(|extra| extra.props.headers.as_ref())
    }

    /// Its own time to live.
    pub fn ttl(&self) -> Option<Duration> {
        self.extra.as_ref().and_then(|extra| extra.ttl)
    }

    /// Its priority; none is 0.
    pub fn priority(&self) -> u8 {
        self.extra.as_ref().and_then(|extra| extra.props.priority).unwrap_or(0)
    }

    /// The routing key, then those of CC and BCC.
    pub fn keys(&self) -> impl Iterator<Item = &Name> {
        std::iter::once(&self.routing_key).chain(self.extra.iter().flat_map(|extra| &extra.also))
    }

    /// Where it died, newest first.
    pub fn deaths(&self) -> &[Death] {
        self.extra.as_ref().map_or(&[], |extra| &extra.deaths)
    }

    /// The same message with another `reply-to`.
    pub fn set_reply_to(&mut self, to: String) {
        if let Some(extra) = &mut self.extra {
            extra.props.reply_to = Some(to);
            self.props = extra.props.write();
        }
    }

    /// The properties with one more header, as they go out to one consumer.
    pub fn props_with(&self, header: &str, value: Value) -> Bytes {
        let mut props = self.all_props();
        let mut headers = props.headers.take().unwrap_or_default();
        headers.set(header, value);
        headers.sort();
        props.headers = Some(headers);
        props.write()
    }

    /// All properties, read again if they were plain.
    pub fn all_props(&self) -> Props {
        match &self.extra {
            Some(extra) => extra.props.clone(),
            None => Props::read(&self.props).unwrap_or_default(),
        }
    }

    /// The message after it died in `queue`: `x-death` and its company in the headers, no time to live of its own.
    pub fn dead(
        &self,
        queue: &Name,
        reason: Reason,
        to: Name,
        key: Option<&Name>,
        time: u64,
    ) -> Message {
        let mut extra = self.extra.clone().unwrap_or_default();
        extra.props = self.all_props();
        let seen = extra.also.len() - extra.blind;
        let keys: Vec<Name> = self.keys().take(1 + seen).cloned().collect();
        let known = extra.deaths.iter().position(|d| *d.queue == **queue && d.reason == reason);
        let death = match known.map(|at| extra.deaths.remove(at)) {
            Some(old) => Death { count: old.count + 1, ..old },
            None => Death {
                queue: queue.clone(),
                reason,
                count: 1,
                exchange: self.exchange.clone(),
                keys,
                time,
                expiration: extra.ttl,
            },
        };
        extra.deaths.insert(0, death);
        let first = extra
            .first_death
            .get_or_insert_with(|| (reason.name(), queue.clone(), self.exchange.clone()))
            .clone();
        let mut headers = extra.props.headers.take().unwrap_or_default();
        let deaths = extra.deaths.iter().map(Death::table).collect();
        headers.set("x-death", Value::Array(deaths));
        for (name, value) in [
            ("x-first-death-reason", first.0),
            ("x-first-death-queue", &first.1),
            ("x-first-death-exchange", &first.2),
            ("x-last-death-reason", reason.name()),
            ("x-last-death-queue", queue),
            ("x-last-death-exchange", &self.exchange),
        ] {
            headers.set(name, Value::text(value));
        }
        headers.sort();
        extra.props.headers = Some(headers);
        extra.props.expiration = None;
        extra.ttl = None;
        let routing_key = match key {
            // A dead-letter routing key replaces all the keys it had.
            Some(key) => {
                extra.also.clear();
                extra.blind = 0;
                key.clone()
            }
            None => self.routing_key.clone(),
        };
        Message {
            exchange: to,
            routing_key,
            props: extra.props.write(),
            body: self.body.clone(),
            persistent: self.persistent,
            extra: Some(extra),
        }
    }

    /// Whether sending it to `queue` closes a circle that no client has a hand in.
    pub fn would_circle(&self, queue: &str) -> bool {
        let deaths = self.deaths();
        deaths
            .iter()
            .position(|death| &*death.queue == queue)
            .is_some_and(|at| deaths[..=at].iter().all(|d| d.reason != Reason::Rejected))
    }
}

impl Death {
    fn table(&self) -> Value {
        let mut table = vec![
            ("count".to_owned(), Value::I64(self.count)),
            ("reason".to_owned(), Value::text(self.reason.name())),
            ("queue".to_owned(), Value::text(&self.queue)),
            ("time".to_owned(), Value::Timestamp(self.time)),
            ("exchange".to_owned(), Value::text(&self.exchange)),
            ("routing-keys".to_owned(), Value::Array(self.keys.iter().map(Value::text).collect())),
        ];
        if let Some(ttl) = self.expiration {
            let text = Value::text(ttl.as_millis().to_string());
            table.insert(0, ("original-expiration".to_owned(), text));
        }
        Value::Table(Table(table))
    }
}

fn routes(headers: &Table, header: &str) -> Result<Vec<Name>, AmqpError> {
    match headers.get(header) {
        None => Ok(Vec::new()),
        Some(Value::Array(values)) => {
            Ok(values.iter().filter_map(Value::as_str).map(Arc::from).collect())
        }
        Some(other) => refuse!(
            PreconditionFailed,
            "invalid message: {{unacceptable_type_in_header,\"{header}\",{}}}",
            other.type_name()
        ),
    }
}

fn expiration(props: &Props) -> Result<Option<Duration>, AmqpError> {
    let Some(text) = &props.expiration else { return Ok(None) };
    let end = text
        .char_indices()
        .find(|(at, c)| !(c.is_ascii_digit() || (*at == 0 && matches!(c, '-' | '+'))))
        .map_or(text.len(), |(at, _)| at);
    let why = match text[..end].parse::<i64>() {
        Err(_) => "no_integer".to_owned(),
        Ok(_) if end < text.len() => format!("{{leftover_string,\"{}\"}}", &text[end..]),
        Ok(n) if n < 0 => format!("{{value_negative,{n}}}"),
        Ok(n) if n > LONGEST => format!("{{value_too_large,{n}}}"),
        Ok(n) => return Ok(Some(Duration::from_millis(n.unsigned_abs()))),
    };
    refuse!(PreconditionFailed, "invalid expiration '{text}': {why}")
}

/// Properties and body in one piece of memory: what came in a large read must not be kept alive by a small message.
pub fn compact(props: &[u8], body: &[u8]) -> (Bytes, Bytes) {
    let mut both = BytesMut::with_capacity(props.len() + body.len());
    both.extend_from_slice(props);
    both.extend_from_slice(body);
    let mut props_bytes = both.freeze();
    let body = props_bytes.split_off(props.len());
    (props_bytes, body)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn publish(props: Props) -> Result<Message, AmqpError> {
        Message::published("x".into(), "k".into(), props.write(), Bytes::from_static(b"m"))
    }

    fn headers(entries: &[(&str, Value)]) -> Option<Table> {
        Some(Table(entries.iter().map(|(k, v)| ((*k).to_owned(), v.clone())).collect()))
    }

    #[test]
    fn expirations_are_checked_as_rabbitmq_checks_them() {
        let check = |text: &str, expect: Result<Option<u64>, &str>| {
            let props = Props { expiration: Some(text.to_owned()), ..Props::default() };
            let got = publish(props).map(|m| m.ttl().map(|d| d.as_millis() as u64));
            let expect = expect
                .map_err(|why| format!("PRECONDITION_FAILED - invalid expiration '{text}': {why}"));
            assert_eq!(got.map_err(|error| error.text()), expect);
        };
        check("0", Ok(Some(0)));
        check("60000", Ok(Some(60_000)));
        check("", Err("no_integer"));
        check("x", Err("no_integer"));
        check("12a", Err("{leftover_string,\"a\"}"));
        check("-1", Err("{value_negative,-1}"));
        check("315360000001", Err("{value_too_large,315360000001}"));
    }

    #[test]
    fn bcc_is_a_route_and_is_not_told() {
        let cc = Value::Array(vec![Value::text("c")]);
        let bcc = Value::Array(vec![Value::text("b")]);
        let message =
            publish(Props { headers: headers(&[("BCC", bcc), ("CC", cc)]), ..Props::default() });
        let message = message.expect("it is well-formed");
        assert_eq!(message.keys().map(|k| &**k).collect::<Vec<_>>(), ["k", "c", "b"]);
        let told = Props::read(&message.props).expect("it was written").headers.expect("CC");
        assert!(told.get("BCC").is_none() && told.get("CC").is_some());
    }

    #[test]
    fn deaths_merge_by_queue_and_reason() {
        let queue: Name = "q".into();
        let first = publish(Props { expiration: Some("5".into()), ..Props::default() });
        let first = first.expect("it is well-formed");
        let once = first.dead(&queue, Reason::Expired, "dlx".into(), None, 7);
        let twice = once.dead(&queue, Reason::Expired, "dlx".into(), None, 9);
        assert_eq!(twice.deaths().len(), 1);
        assert_eq!(twice.deaths()[0].count, 2);
        assert_eq!(twice.deaths()[0].time, 7);
        assert_eq!(twice.ttl(), None);
        assert!(twice.would_circle("q"));
        let rejected = twice.dead(&queue, Reason::Rejected, "dlx".into(), None, 9);
        assert!(!rejected.would_circle("q"));
    }
}
