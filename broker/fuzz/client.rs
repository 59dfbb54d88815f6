//! What a client may ask of the broker, in octets: mostly sensible, with few names, so that requests meet.

use arbitrary::Arbitrary;
use bytes::{BufMut as _, BytesMut};
use gauntlet_broker::{Table, Value};

/// Channels a client uses, and one that is not open.
pub const CHANNELS: u16 = 4;

/// One of [`CHANNELS`], or 0.
pub fn channel(number: u8) -> u16 {
    u16::from(number) % (CHANNELS + 1)
}

/// Of a queue, an exchange, a consumer or a key.
#[derive(Arbitrary, Debug, Clone, Copy)]
pub enum Name {
    Empty,
    A,
    B,
    C,
    Star,
    Topic,
    Fanout,
    Headers,
    ReplyTo,
}

impl Name {
    pub fn text(self) -> &'static str {
        match self {
            Name::Empty => "",
            Name::A => "a",
            Name::B => "b",
            Name::C => "c.a",
            Name::Star => "#",
            Name::Topic => "amq.topic",
            Name::Fanout => "amq.fanout",
            Name::Headers => "amq.headers",
            Name::ReplyTo => "amq.rabbitmq.reply-to",
        }
    }
}

/// An argument of a declaration, a consumer or a binding; or a header.
#[derive(Arbitrary, Debug, Clone, Copy)]
pub enum Argument {
    MessageTtl(u16),
    Expires(u16),
    MaxLength(u8),
    MaxBytes(u16),
    RejectPublish,
    RejectAndDeadLetter,
    DeadLetterTo(Name),
    DeadLetterKey(Name),
    MaxPriority(u8),
    Quorum,
    Stream,
    MaxAge(u8),
    Segment(u8),
    Offset(i8),
    OffsetByName(u8),
    Filter(bool),
    DeliveryLimit(u8),
    SingleActive,
    Priority(i8),
    Alternate(Name),
    Match(bool),
    Cc(Name),
    Plain(u8),
    Nonsense(u8),
}

impl Argument {
    fn entry(self) -> (String, Value) {
        let int = |n: u16| Value::I32(n.into());
        let (key, value) = match self {
            Argument::MessageTtl(ms) => ("x-message-ttl", int(ms)),
            Argument::Expires(ms) => ("x-expires", int(ms)),
            Argument::MaxLength(n) => ("x-max-length", int(n.into())),
            Argument::MaxBytes(n) => ("x-max-length-bytes", int(n)),
            Argument::RejectPublish => ("x-overflow", Value::text("reject-publish")),
            Argument::RejectAndDeadLetter => ("x-overflow", Value::text("reject-publish-dlx")),
            Argument::DeadLetterTo(name) => ("x-dead-letter-exchange", Value::text(name.text())),
            Argument::DeadLetterKey(name) => {
                ("x-dead-letter-routing-key", Value::text(name.text()))
            }
            Argument::MaxPriority(n) => ("x-max-priority", int(n.into())),
            Argument::Quorum => ("x-queue-type", Value::text("quorum")),
            Argument::Stream => ("x-queue-type", Value::text("stream")),
            Argument::MaxAge(n) => ("x-max-age", Value::text(format!("{n}s"))),
            Argument::Segment(n) => ("x-stream-max-segment-size-bytes", int(n.into())),
            Argument::Offset(n) => ("x-stream-offset", Value::I8(n)),
            Argument::OffsetByName(n) => {
                let known = ["first", "last", "next", "5s", "5", "newest"];
                ("x-stream-offset", Value::text(known[usize::from(n) % known.len()]))
            }
            Argument::Filter(wanted) => {
                let key = if wanted { "x-stream-filter" } else { "x-stream-filter-value" };
                (key, Value::text("f"))
            }
            Argument::DeliveryLimit(n) => ("x-delivery-limit", int(n.into())),
            Argument::SingleActive => ("x-single-active-consumer", Value::Bool(true)),
            Argument::Priority(n) => ("x-priority", Value::I8(n)),
            Argument::Alternate(name) => ("alternate-exchange", Value::text(name.text())),
            Argument::Match(all) => ("x-match", Value::text(if all { "all" } else { "any" })),
            Argument::Cc(name) => ("CC", Value::Array(vec![Value::text(name.text())])),
            Argument::Plain(n) => ("h", Value::U8(n)),
            Argument::Nonsense(n) => ("x-death", Value::U8(n)),
        };
        (key.to_owned(), value)
    }
}

/// Arguments, at most three.
type Arguments = [Option<Argument>; 3];

/// A request. Bits are the method's flags, as they come.
#[derive(Arbitrary, Debug)]
pub enum Request {
    DeclareQueue { queue: Name, bits: u8, arguments: Arguments },
    DeleteQueue { queue: Name, bits: u8 },
    Purge { queue: Name },
    Bind { queue: Name, exchange: Name, key: Name, arguments: Arguments },
    Unbind { queue: Name, exchange: Name, key: Name },
    DeclareExchange { exchange: Name, kind: u8, bits: u8, arguments: Arguments },
    DeleteExchange { exchange: Name, bits: u8 },
    BindExchange { to: Name, from: Name, key: Name, unbind: bool },
    Qos { count: u8, global: bool },
    Consume { queue: Name, tag: Name, bits: u8, arguments: Arguments },
    Cancel { tag: Name, nowait: bool },
    Publish(Publish),
    Get { queue: Name, no_ack: bool },
    Ack { tag: u8, multiple: bool },
    Nack { tag: u8, bits: u8 },
    Reject { tag: u8, requeue: bool },
    Recover { requeue: bool },
    Select,
    Tx(u8),
    Open,
    Flow(bool),
    Close,
    CloseOk,
    CloseConnection,
    Heartbeat,
    Method { class: u8, method: u8, fields: Vec<u8> },
}

/// A message. Large bodies are of one octet repeated, so that little input makes much to do.
#[derive(Arbitrary, Debug)]
pub struct Publish {
    exchange: Name,
    key: Name,
    bits: u8,
    persistent: bool,
    expiration: Option<u8>,
    priority: Option<u8>,
    reply_to: Option<Name>,
    headers: Arguments,
    /// How much its header promises.
    size: u32,
    /// How much comes, in units of 1024, if that is not what was promised.
    comes: Option<u8>,
}

impl Request {
    /// As a client sends it.
    pub fn octets(&self, on: u16) -> Vec<u8> {
        let m = |class, id, parts: &[&[u8]]| method(on, class, id, &parts.concat());
        let reserved: &[u8] = &[0, 0];
        match self {
            Request::DeclareQueue { queue, bits, arguments } => {
                m(50, 10, &[reserved, &short(*queue), &[bits & 0b1_1111], &table(arguments)])
            }
            Request::DeleteQueue { queue, bits } => {
                m(50, 40, &[reserved, &short(*queue), &[bits & 7]])
            }
            Request::Purge { queue } => m(50, 30, &[reserved, &short(*queue), &[0]]),
            Request::Bind { queue, exchange, key, arguments } => {
                let names = [short(*queue), short(*exchange), short(*key)].concat();
                m(50, 20, &[reserved, &names, &[0], &table(arguments)])
            }
            Request::Unbind { queue, exchange, key } => {
                let names = [short(*queue), short(*exchange), short(*key)].concat();
                m(50, 50, &[reserved, &names, &[0; 4]])
            }
            Request::DeclareExchange { exchange, kind, bits, arguments } => {
                let kinds = ["direct", "fanout", "topic", "headers", "?"];
                let kind = kinds[usize::from(*kind) % kinds.len()].as_bytes();
                let kind = [&[kind.len() as u8], kind].concat();
                let bits = [bits & 0b1_1111];
                m(40, 10, &[reserved, &short(*exchange), &kind, &bits, &table(arguments)])
            }
            Request::DeleteExchange { exchange, bits } => {
                m(40, 20, &[reserved, &short(*exchange), &[bits & 3]])
            }
            Request::BindExchange { to, from, key, unbind } => {
                let names = [short(*to), short(*from), short(*key)].concat();
                m(40, if *unbind { 40 } else { 30 }, &[reserved, &names, &[0], &[0; 4]])
            }
            Request::Qos { count, global } => {
                m(60, 10, &[&[0; 5], &[*count], &[u8::from(*global)]])
            }
            Request::Consume { queue, tag, bits, arguments } => {
                let names = [short(*queue), short(*tag)].concat();
                m(60, 20, &[reserved, &names, &[bits & 0b1110], &table(arguments)])
            }
            Request::Cancel { tag, nowait } => m(60, 30, &[&short(*tag), &[u8::from(*nowait)]]),
            Request::Publish(publish) => publish.octets(on),
            Request::Get { queue, no_ack } => {
                m(60, 70, &[reserved, &short(*queue), &[u8::from(*no_ack)]])
            }
            Request::Ack { tag, multiple } => m(60, 80, &[&long(*tag), &[u8::from(*multiple)]]),
            Request::Nack { tag, bits } => m(60, 120, &[&long(*tag), &[bits & 3]]),
            Request::Reject { tag, requeue } => m(60, 90, &[&long(*tag), &[u8::from(*requeue)]]),
            Request::Recover { requeue } => m(60, 110, &[&[u8::from(*requeue)]]),
            Request::Select => m(85, 10, &[&[0]]),
            Request::Tx(which) => m(90, 10 + 10 * u16::from(which % 3), &[]),
            Request::Open => m(20, 10, &[&[0]]),
            Request::Flow(active) => m(20, 20, &[&[u8::from(*active)]]),
            Request::Close => m(20, 40, &[&[0; 7]]),
            Request::CloseOk => m(20, 41, &[]),
            Request::CloseConnection => method(0, 10, 50, &[0; 7]),
            Request::Heartbeat => frame(8, 0, &[]),
            Request::Method { class, method: id, fields } => {
                m(u16::from(*class) % 10 * 10, (*id).into(), &[fields])
            }
        }
    }
}

impl Publish {
    fn octets(&self, on: u16) -> Vec<u8> {
        let names = [short(self.exchange), short(self.key)].concat();
        let mut all = method(on, 60, 40, &[&[0, 0], &names[..], &[self.bits & 1]].concat());
        let size = self.size % 120_000;
        let mut header = vec![0, 60, 0, 0];
        header.extend(u64::from(size).to_be_bytes());
        let bit = |is_there: bool, at: u16| u16::from(is_there) << at;
        let has_headers = self.headers.iter().any(Option::is_some);
        let flags = bit(has_headers, 13)
            | bit(self.persistent, 12)
            | bit(self.priority.is_some(), 11)
            | bit(self.reply_to.is_some(), 9)
            | bit(self.expiration.is_some(), 8);
        header.extend(flags.to_be_bytes());
        if has_headers {
            header.extend(table(&self.headers));
        }
        if self.persistent {
            header.push(2);
        }
        header.extend(self.priority);
        header.extend(self.reply_to.map(short).unwrap_or_default());
        if let Some(ms) = self.expiration {
            let text = ms.to_string();
            header.push(text.len() as u8);
            header.extend(text.as_bytes());
        }
        all.extend(frame(2, on, &header));
        let comes = self.comes.map_or(size as usize, |kib| usize::from(kib) << 10);
        for part in vec![b'm'; comes].chunks(100_000) {
            all.extend(frame(3, on, part));
        }
        all
    }
}

/// From the header to `open`, and channels but for the last.
pub fn greeting() -> Vec<u8> {
    let mut all = b"AMQP\x00\x00\x09\x01".to_vec();
    // It understands `basic.cancel` and `connection.blocked`.
    let can = |what: &str| (what.to_owned(), Value::Bool(true));
    let capabilities = Table(vec![can("consumer_cancel_notify"), can("connection.blocked")]);
    let mut start_ok = BytesMut::new();
    Table(vec![("capabilities".to_owned(), Value::Table(capabilities))]).write(&mut start_ok);
    start_ok.put_slice(b"\x05PLAIN\x00\x00\x00\x0c\x00guest\x00guest\x05en_US");
    all.extend(method(0, 10, 11, &start_ok));
    all.extend(method(0, 10, 31, &[7, 255, 0, 2, 0, 0, 0, 60]));
    all.extend(method(0, 10, 40, b"\x01/\x00\x00"));
    (1..CHANNELS).for_each(|channel| all.extend(method(channel, 20, 10, &[0])));
    all
}

/// A whole frame of any type.
pub fn frame(kind: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![kind];
    frame.extend(channel.to_be_bytes());
    frame.extend((payload.len() as u32).to_be_bytes());
    frame.extend(payload);
    frame.push(0xCE);
    frame
}

fn method(channel: u16, class: u16, id: u16, fields: &[u8]) -> Vec<u8> {
    let mut payload = class.to_be_bytes().to_vec();
    payload.extend(id.to_be_bytes());
    payload.extend(fields);
    frame(1, channel, &payload)
}

fn short(name: Name) -> Vec<u8> {
    let text = name.text();
    [&[text.len() as u8], text.as_bytes()].concat()
}

fn long(tag: u8) -> [u8; 8] {
    u64::from(tag % 32).to_be_bytes()
}

fn table(of: &Arguments) -> Vec<u8> {
    let mut out = BytesMut::new();
    arguments(of).write(&mut out);
    out.to_vec()
}

/// As a declaration has them.
pub fn arguments(of: &Arguments) -> Table {
    Table(of.iter().flatten().map(|argument| argument.entry()).collect())
}

/// As a policy has them.
pub fn policy(says: &Arguments) -> Table {
    let mut table = arguments(says);
    for (key, _) in &mut table.0 {
        *key = key.trim_start_matches("x-").to_owned();
    }
    table
}
