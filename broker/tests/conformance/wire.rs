//! One raw AMQP connection: frames out of script lines, trace lines out of frames. It has no
//! opinion of the protocol: it sends what it is told, in order or not.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::spec::{self, Kind, Method};
use super::value::{Octets, Table, Value, put_long, put_table, show_str, show_table};

/// Longer than the three seconds RabbitMQ waits before it closes on a handshake error.
const PATIENCE: Duration = Duration::from_secs(15);

const METHOD: u8 = 1;
const HEADER: u8 = 2;
const BODY: u8 = 3;
const HEARTBEAT: u8 = 8;

/// What came from the broker: one method with its content, or what is no method.
pub struct Received {
    pub channel: u16,
    /// A method's name, or `heartbeat`, `closed`, `nothing`, `protocol`, `frame`.
    pub name: &'static str,
    pub text: String,
    pub fields: Table,
}

impl Received {
    fn other(name: &'static str, text: String) -> Received {
        Received { channel: 0, name, text, fields: Vec::new() }
    }

    /// An integer or bit field, zero if there is none of that name.
    pub fn int(&self, name: &str) -> i128 {
        match self.fields.iter().find(|(key, _)| key == name) {
            Some((_, Value::Int(n, _))) => *n,
            Some((_, Value::Bool(b))) => i128::from(*b),
            _ => 0,
        }
    }

    /// Whether nothing can follow.
    pub fn is_end(&self) -> bool {
        matches!(self.name, "closed" | "nothing")
    }
}

pub struct Conn {
    stream: Option<TcpStream>,
    buffer: Vec<u8>,
    pub frame_max: usize,
    /// Whether closes are answered only when the script says so.
    pub manual: bool,
    /// Publisher confirms seen, by channel and tag: whether it was an ack.
    pub confirms: BTreeMap<(u16, i128), bool>,
    /// For acks of several: the tags below were confirmed, by channel.
    floor: BTreeMap<u16, i128>,
}

impl Conn {
    pub async fn connect(addr: &str) -> io::Result<Conn> {
        let stream = TcpStream::connect(addr).await?;
        stream.set_nodelay(true)?;
        Ok(Conn {
            stream: Some(stream),
            buffer: Vec::new(),
            frame_max: 131_072,
            manual: false,
            confirms: BTreeMap::new(),
            floor: BTreeMap::new(),
        })
    }

    /// Sends octets. A broker that has closed shows when it is read from.
    pub async fn send(&mut self, octets: &[u8]) {
        if let Some(stream) = &mut self.stream {
            let _ = timeout(PATIENCE, stream.write_all(octets)).await;
        }
    }

    /// Goes without a word.
    pub fn drop_it(&mut self) {
        self.stream = None;
    }

    async fn fill(&mut self, wanted: usize) -> Result<(), Received> {
        while self.buffer.len() < wanted {
            let Some(stream) = &mut self.stream else {
                return Err(Received::other("closed", "closed".into()));
            };
            match timeout(PATIENCE, stream.read_buf(&mut self.buffer)).await {
                Err(_) => return Err(Received::other("nothing", "nothing in 15 s".into())),
                Ok(Ok(n)) if n > 0 => {}
                Ok(_) => {
                    self.stream = None;
                    return Err(Received::other("closed", "closed".into()));
                }
            }
        }
        Ok(())
    }

    async fn frame(&mut self) -> Result<(u8, u16, Vec<u8>), Received> {
        self.fill(8).await?;
        if self.buffer[0] == b'A' {
            let header: Vec<u8> = self.buffer.drain(..8).collect();
            let numbers: Vec<String> = header[4..].iter().map(u8::to_string).collect();
            let text = format!("protocol {}", numbers.join(" "));
            return Err(Received::other("protocol", text));
        }
        let channel = u16::from_be_bytes([self.buffer[1], self.buffer[2]]);
        let size = Octets(&self.buffer[3..7]).uint(4).expect("four octets") as usize;
        self.fill(size + 8).await?;
        let frame: Vec<u8> = self.buffer.drain(..size + 8).collect();
        if frame[size + 7] != 0xce {
            return Err(Received::other("frame", "a frame without its end".into()));
        }
        Ok((frame[0], channel, frame[7..size + 7].to_vec()))
    }

    /// The next thing the broker says.
    pub async fn read(&mut self) -> Received {
        match self.try_read().await {
            Ok(received) | Err(received) => received,
        }
    }

    async fn try_read(&mut self) -> Result<Received, Received> {
        let (kind, channel, payload) = self.frame().await?;
        if kind == HEARTBEAT {
            return Ok(Received::other("heartbeat", "heartbeat".into()));
        }
        let Some((method, fields)) = (kind == METHOD).then(|| decode(&payload)).flatten() else {
            let text = format!("frame type={kind} size={}", payload.len());
            return Ok(Received { channel, name: "frame", text, fields: Vec::new() });
        };
        let mut text = method.name.to_owned();
        for (name, value) in fields.iter().filter(|(name, _)| !name.starts_with('_')) {
            // A list of words whose order RabbitMQ takes from a hash table.
            let value = if name == "mechanisms" { &sorted(value) } else { value };
            text.push_str(&format!(" {name}={}", show_field(value)));
        }
        if method.has_content() {
            text.push_str(&self.content(channel).await?);
        }
        let received = Received { channel, name: method.name, text, fields };
        self.note_confirm(&received);
        Ok(received)
    }

    /// The header and the body frames that follow a method, as text.
    async fn content(&mut self, channel: u16) -> Result<String, Received> {
        let (kind, at, payload) = self.frame().await?;
        let mut octets = Octets(&payload);
        if (kind, at) != (HEADER, channel) || octets.uint(4) != Some(60 << 16) {
            return Ok(format!(" ! frame type={kind} channel={at} instead of a header"));
        }
        let size = octets.uint(8).unwrap_or(0) as usize;
        let mut text = String::from(" |");
        match properties(&mut octets) {
            Some(properties) => {
                for (name, value) in properties {
                    text.push_str(&format!(" {name}={}", show_field(&value)));
                }
            }
            None => text.push_str(" ! unreadable properties"),
        }
        let mut body = Vec::new();
        let mut sizes = Vec::new();
        while body.len() < size {
            let (kind, at, payload) = self.frame().await?;
            if (kind, at) != (BODY, channel) {
                return Ok(format!("{text} ! frame type={kind} channel={at} instead of a body"));
            }
            sizes.push(payload.len().to_string());
            body.extend(payload);
        }
        text.push_str(&format!(" | {}", show_str(&body)));
        if sizes.len() > 1 {
            text.push_str(&format!(" in frames of {}", sizes.join(", ")));
        }
        Ok(text)
    }

    fn note_confirm(&mut self, received: &Received) {
        if !matches!(received.name, "basic.ack" | "basic.nack") {
            return;
        }
        let tag = received.int("delivery_tag");
        let floor = self.floor.entry(received.channel).or_insert(0);
        let first = if received.int("multiple") != 0 { *floor + 1 } else { tag };
        for tag in first..=tag {
            self.confirms
                .entry((received.channel, tag))
                .or_insert_with(|| received.name == "basic.ack");
        }
        while self.confirms.contains_key(&(received.channel, *floor + 1)) {
            *floor += 1;
        }
    }
}

fn show_field(value: &Value) -> String {
    match value {
        Value::Bool(b) => b.to_string(),
        Value::Int(n, _) => n.to_string(),
        Value::Str(s) => show_str(s),
        Value::Table(table) => show_table(table),
        other => format!("{other:?}"),
    }
}

fn sorted(words: &Value) -> Value {
    let Value::Str(words) = words else { return words.clone() };
    let mut words: Vec<&[u8]> = words.split(|b| *b == b' ').collect();
    words.sort_unstable();
    Value::Str(words.join(&b' '))
}

fn decode(payload: &[u8]) -> Option<(&'static Method, Table)> {
    let mut octets = Octets(payload);
    let method = spec::by_id(octets.uint(2)? as u16, octets.uint(2)? as u16)?;
    let mut fields = Vec::new();
    let mut bits = None;
    for (name, kind) in method.fields() {
        let value = if kind == Kind::Bit {
            let (octet, at) = match bits {
                Some((octet, at)) if at < 8 => (octet, at),
                _ => (octets.uint(1)?, 0),
            };
            bits = Some((octet, at + 1));
            Value::Bool(octet >> at & 1 == 1)
        } else {
            bits = None;
            get(&mut octets, kind)?
        };
        fields.push((name.to_owned(), value));
    }
    Some((method, fields))
}

fn get(octets: &mut Octets<'_>, kind: Kind) -> Option<Value> {
    Some(match kind {
        Kind::Octet => Value::Int(octets.uint(1)?.into(), b'B'),
        Kind::Short => Value::Int(octets.uint(2)?.into(), b'u'),
        Kind::Long => Value::Int(octets.uint(4)?.into(), b'i'),
        Kind::LongLong => Value::Int(octets.uint(8)?.into(), b'T'),
        Kind::ShortStr => Value::Str(octets.short_str()?.to_vec()),
        Kind::LongStr => Value::Str(octets.long_str()?.to_vec()),
        Kind::Table => Value::Table(octets.table()?),
        Kind::Bit => Value::Bool(octets.uint(1)? != 0),
    })
}

fn properties(octets: &mut Octets<'_>) -> Option<Table> {
    let flags = octets.uint(2)?;
    let mut found = Vec::new();
    for (at, (name, kind)) in spec::properties().enumerate() {
        if flags >> (15 - at) & 1 == 1 {
            found.push((name.to_owned(), get(octets, kind)?));
        }
    }
    Some(found)
}

fn put(value: Option<&Value>, kind: Kind, out: &mut Vec<u8>) {
    let int = match value {
        Some(Value::Int(n, _)) => *n,
        Some(Value::Bool(b)) => i128::from(*b),
        _ => 0,
    };
    let digits;
    let string: &[u8] = match value {
        Some(Value::Str(s)) => s,
        Some(Value::Int(n, _)) => {
            digits = n.to_string();
            digits.as_bytes()
        }
        _ => b"",
    };
    match kind {
        Kind::Octet | Kind::Bit => out.push(int as u8),
        Kind::Short => out.extend_from_slice(&(int as u16).to_be_bytes()),
        Kind::Long => out.extend_from_slice(&(int as u32).to_be_bytes()),
        Kind::LongLong => out.extend_from_slice(&(int as u64).to_be_bytes()),
        Kind::ShortStr => {
            out.push(string.len() as u8);
            out.extend_from_slice(string);
        }
        Kind::LongStr => put_long(string, out),
        Kind::Table => match value {
            Some(Value::Table(table)) => put_table(table, out),
            _ => put_long(b"", out),
        },
    }
}

pub fn frame(kind: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![kind];
    out.extend_from_slice(&channel.to_be_bytes());
    put_long(payload, &mut out);
    out.push(0xce);
    out
}

fn look<'a>(pairs: &'a Table, name: &str) -> Option<&'a Value> {
    pairs.iter().find(|(key, _)| key == name).map(|(_, value)| value)
}

/// A method frame, and for a publish its content: `body=` and properties as `p.name=`.
pub fn encode(method: &Method, channel: u16, pairs: &Table, frame_max: usize) -> Vec<u8> {
    for (key, _) in pairs {
        let known = method.fields().any(|(name, _)| name == key);
        let content = method.has_content() && (key == "body" || key.starts_with("p."));
        assert!(known || content, "{} has no field {key}", method.name);
    }
    let mut payload = [method.class.to_be_bytes(), method.id.to_be_bytes()].concat();
    let mut bit = 0;
    for (name, kind) in method.fields() {
        if kind != Kind::Bit {
            bit = 0;
            put(look(pairs, name), kind, &mut payload);
            continue;
        }
        if bit % 8 == 0 {
            payload.push(0);
        }
        let on = matches!(look(pairs, name), Some(Value::Bool(true)))
            || matches!(look(pairs, name), Some(Value::Int(n, _)) if *n != 0);
        *payload.last_mut().expect("an octet of bits") |= u8::from(on) << (bit % 8);
        bit += 1;
    }
    let mut out = frame(METHOD, channel, &payload);
    if method.has_content() && look(pairs, "body") != Some(&Value::Void) {
        let body = match look(pairs, "body") {
            Some(Value::Str(body)) => body.as_slice(),
            _ => b"",
        };
        out.extend(header(channel, 60, body.len() as u64, pairs));
        for part in body.chunks(frame_max - 8) {
            out.extend(frame(BODY, channel, part));
        }
    }
    out
}

/// A content header; properties are the pairs `p.name`.
pub fn header(channel: u16, class: u16, size: u64, pairs: &Table) -> Vec<u8> {
    let mut flags = 0u16;
    let mut values = Vec::new();
    for (at, (name, kind)) in spec::properties().enumerate() {
        if let Some(value) = look(pairs, &format!("p.{name}")) {
            flags |= 1 << (15 - at);
            put(Some(value), kind, &mut values);
        }
    }
    let mut payload = [class.to_be_bytes(), [0, 0]].concat();
    payload.extend_from_slice(&size.to_be_bytes());
    payload.extend_from_slice(&flags.to_be_bytes());
    payload.extend(values);
    frame(HEADER, channel, &payload)
}

pub fn body(channel: u16, octets: &[u8]) -> Vec<u8> {
    frame(BODY, channel, octets)
}
