//! One client that publishes, takes its confirms, consumes and acknowledges, on one connection and two channels.
//!
//! It writes AMQP itself, on a blocking socket: a client library costs more than the broker that is measured.

use std::{
    collections::BTreeSet,
    error::Error,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    ops::Range,
    time::Duration,
};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// Published and not yet confirmed and delivered, at most.
const WINDOW: u64 = 500;
/// Published in one go.
const BURST: u64 = 50;
const BODY: usize = 100;
const PREFETCH: [u8; 2] = 1_000_u16.to_be_bytes();
/// A broker that says nothing for so long is broken.
const PATIENCE: Duration = Duration::from_secs(30);
/// Channels.
const PUBLISHING: u16 = 1;
const CONSUMING: u16 = 2;

/// A connection that is set up, with a durable queue of its own and a consumer.
pub struct Client {
    stream: TcpStream,
    input: Vec<u8>,
    at: usize,
    /// One message, as frames.
    message: Vec<u8>,
    /// Ever sent and delivered; and confirmed without a gap, which is also the last of those tags.
    sent: u64,
    delivered: u64,
    confirmed: u64,
    /// Confirmed behind a gap: RabbitMQ confirms in any order.
    ahead: BTreeSet<u64>,
}

impl Client {
    pub fn connect(addr: SocketAddr, user: &str, password: &str, vhost: &str) -> Result<Self> {
        let stream = TcpStream::connect(addr)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut client = Self {
            stream,
            input: Vec::new(),
            at: 0,
            message: message()?,
            sent: 0,
            delivered: 0,
            confirmed: 0,
            ahead: BTreeSet::new(),
        };
        client.stream.write_all(b"AMQP\x00\x00\x09\x01")?;
        let response = format!("\0{user}\0{password}");
        let size = u32::try_from(response.len())?.to_be_bytes();
        let start_ok =
            [b"\0\0\0\0\x05PLAIN", &size[..], response.as_bytes(), b"\x05en_US"].concat();
        client.method(0, (10, 11), &start_ok)?;
        client.wait((10, 30))?;
        client.method(0, (10, 31), &[7, 255, 0, 2, 0, 0, 0, 0])?;
        let vhost = [&[u8::try_from(vhost.len())?], vhost.as_bytes(), &[0, 0]].concat();
        client.method(0, (10, 40), &vhost)?;
        client.wait((10, 41))?;
        for channel in [PUBLISHING, CONSUMING] {
            client.method(channel, (20, 10), &[0])?;
            client.wait((20, 11))?;
        }
        client.method(PUBLISHING, (85, 10), &[0])?;
        client.wait((85, 11))?;
        client.method(CONSUMING, (50, 10), b"\0\0\x05bench\x02\0\0\0\0")?;
        client.wait((50, 11))?;
        client.method(CONSUMING, (60, 10), &[&[0; 4], &PREFETCH[..], &[0]].concat())?;
        client.wait((60, 11))?;
        client.method(CONSUMING, (60, 20), b"\0\0\x05bench\x01c\0\0\0\0\0")?;
        client.wait((60, 21))?;
        Ok(client)
    }

    /// So many messages from publish to ack. When it returns, all are confirmed and the broker has the acks.
    pub fn play(&mut self, messages: u64) -> Result<()> {
        let goal = self.sent + messages;
        let mut out = Vec::new();
        let mut acks = Vec::new();
        while self.confirmed < goal || self.delivered < goal {
            let done = self.confirmed.min(self.delivered);
            let room = (done + WINDOW).min(goal) - self.sent;
            if room >= BURST.min(goal - self.sent) && room > 0 {
                out.clear();
                (0..room.min(BURST)).for_each(|_| out.extend_from_slice(&self.message));
                self.stream.write_all(&out)?;
                self.sent += room.min(BURST);
                continue;
            }
            // What has come is taken in one go, and acknowledged one by one.
            self.take(&mut acks)?;
            while self.has_frame() {
                self.take(&mut acks)?;
            }
            self.stream.write_all(&acks)?;
            acks.clear();
        }
        self.method(CONSUMING, (60, 10), &[&[0; 4], &PREFETCH[..], &[0]].concat())?;
        self.wait((60, 11))
    }

    fn take(&mut self, acks: &mut Vec<u8>) -> Result<()> {
        let (kind, payload) = self.frame()?;
        if kind != 1 {
            return Ok(());
        }
        match &self.input[payload] {
            [0, 60, 0, 80, tag @ .., multiple] => {
                let tag = u64::from_be_bytes(tag.try_into()?);
                if *multiple == 1 || tag == self.confirmed + 1 {
                    self.confirmed = self.confirmed.max(tag);
                } else {
                    self.ahead.insert(tag);
                }
                while self.ahead.first().is_some_and(|first| *first <= self.confirmed + 1) {
                    self.confirmed = self.confirmed.max(self.ahead.pop_first().unwrap_or(0));
                }
                Ok(())
            }
            [0, 60, 0, 60, 1, b'c', rest @ ..] => {
                let tag = rest.get(..8).ok_or("a delivery without its tag")?;
                frame(acks, 1, CONSUMING, &[&[0, 60, 0, 80], tag, &[0]].concat())?;
                self.delivered += 1;
                Ok(())
            }
            other => Err(format!("the broker says {}", String::from_utf8_lossy(other)).into()),
        }
    }

    fn method(&mut self, channel: u16, id: (u8, u8), fields: &[u8]) -> Result<()> {
        let mut out = Vec::new();
        frame(&mut out, 1, channel, &[&[0, id.0, 0, id.1], fields].concat())?;
        Ok(self.stream.write_all(&out)?)
    }

    /// Waits for a method; nothing else is on its way but what set-up is answered with.
    fn wait(&mut self, (class, id): (u8, u8)) -> Result<()> {
        loop {
            let (kind, payload) = self.frame()?;
            match &self.input[payload] {
                [0, c, 0, m, ..] if kind == 1 && (*c, *m) == (class, id) => return Ok(()),
                [0, 10 | 20, 0, 50 | 40, text @ ..] => {
                    return Err(format!("closed: {}", String::from_utf8_lossy(text)).into());
                }
                _ => {}
            }
        }
    }

    fn has_frame(&self) -> bool {
        whole(&self.input[self.at..]).is_some()
    }

    /// The next frame's type and payload.
    fn frame(&mut self) -> Result<(u8, Range<usize>)> {
        loop {
            if let Some(size) = whole(&self.input[self.at..]) {
                let (kind, from) = (self.input[self.at], self.at + 7);
                self.at += size + 8;
                return Ok((kind, from..from + size));
            }
            self.input.drain(..self.at);
            self.at = 0;
            let mut more = [0; 65_536];
            let got = self.stream.read(&mut more)?;
            if got == 0 {
                return Err("the broker has closed the connection".into());
            }
            self.input.extend_from_slice(&more[..got]);
        }
    }
}

/// The size of the payload of the frame at the front, if all of it is there.
fn whole(bytes: &[u8]) -> Option<usize> {
    let [_, _, _, a, b, c, d, ..] = *bytes else { return None };
    let size = usize::try_from(u32::from_be_bytes([a, b, c, d])).ok()?;
    (bytes.len() >= size + 8).then_some(size)
}

fn message() -> Result<Vec<u8>> {
    let mut all = Vec::new();
    frame(&mut all, 1, PUBLISHING, b"\0\x3c\0\x28\0\0\0\x05bench\0")?;
    // Persistent, and nothing else said.
    let size = u64::try_from(BODY)?.to_be_bytes();
    frame(&mut all, 2, PUBLISHING, &[&[0, 60, 0, 0], &size[..], &[0x10, 0, 2]].concat())?;
    frame(&mut all, 3, PUBLISHING, &[b'm'; BODY])?;
    Ok(all)
}

fn frame(out: &mut Vec<u8>, kind: u8, channel: u16, payload: &[u8]) -> Result<()> {
    out.push(kind);
    out.extend(channel.to_be_bytes());
    out.extend(u32::try_from(payload.len())?.to_be_bytes());
    out.extend(payload);
    out.push(0xCE);
    Ok(())
}
