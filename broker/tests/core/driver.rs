//! A core with peers that are byte buffers: what is sent to it, and what it sends.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::BytesMut;
use gauntlet_broker::{Batch, Config, ConnectionId, Core, How};

const PEER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1);
const FRAME_END: u8 = 0xCE;

/// What a test has sent and not seen taken, by connection.
pub struct Driver {
    pub core: Core,
    pub input: Vec<(ConnectionId, BytesMut)>,
    pub now: Duration,
}

impl Driver {
    pub fn new(connections: usize) -> Driver {
        Driver::with(Config::default(), connections)
    }

    pub fn with(config: Config, connections: usize) -> Driver {
        let core = Core::new(config);
        let mut driver = Driver { core, input: Vec::new(), now: Duration::ZERO };
        (0..connections).for_each(|_| driver.connect());
        driver
    }

    /// One peer more.
    pub fn connect(&mut self) {
        let id = self.core.opened(PEER, self.now);
        self.input.push((id, BytesMut::new()));
    }

    pub fn feed(&mut self, connection: usize, octets: &[u8]) {
        let (id, input) = &mut self.input[connection];
        input.extend_from_slice(octets);
        self.core.received(*id, input, self.now);
    }

    /// Everything sent to that peer so far.
    pub fn drain(&mut self, connection: usize) -> Vec<u8> {
        let mut batch = Batch::default();
        let mut woken = Vec::new();
        let mut all = Vec::new();
        self.core.take_woken(&mut woken);
        loop {
            self.core.take_output(self.input[connection].0, &mut batch);
            let part = batch.concat();
            if part.is_empty() {
                return all;
            }
            all.extend(part);
            // What was held back for lack of room.
            self.feed(connection, &[]);
        }
    }
}

pub fn frame(kind: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![kind];
    frame.extend(channel.to_be_bytes());
    frame.extend((payload.len() as u32).to_be_bytes());
    frame.extend(payload);
    frame.push(FRAME_END);
    frame
}

pub fn method(channel: u16, class: u16, id: u16, fields: &[u8]) -> Vec<u8> {
    let mut payload = class.to_be_bytes().to_vec();
    payload.extend(id.to_be_bytes());
    payload.extend(fields);
    frame(1, channel, &payload)
}

pub fn short(text: &str) -> Vec<u8> {
    let mut octets = vec![text.len() as u8];
    octets.extend(text.as_bytes());
    octets
}

/// A table of one text.
pub fn text_table(key: &str, text: &str) -> Vec<u8> {
    let mut entry = [&short(key)[..], b"S"].concat();
    entry.extend((text.len() as u32).to_be_bytes());
    entry.extend(text.as_bytes());
    [&(entry.len() as u32).to_be_bytes()[..], &entry].concat()
}

pub fn handshake() -> Vec<u8> {
    handshake_with(0)
}

/// With an interval of heartbeats in seconds.
pub fn handshake_with(heartbeat: u8) -> Vec<u8> {
    let mut all = b"AMQP\x00\x00\x09\x01".to_vec();
    let response = b"\0guest\0guest";
    let mut start_ok = vec![0, 0, 0, 0];
    start_ok.extend(short("PLAIN"));
    start_ok.extend((response.len() as u32).to_be_bytes());
    start_ok.extend(response);
    start_ok.extend(short("en_US"));
    all.extend(method(0, 10, 11, &start_ok));
    all.extend(method(0, 10, 31, &[7, 255, 0, 2, 0, 0, 0, heartbeat]));
    let mut open = short("/");
    open.extend([0, 0]);
    all.extend(method(0, 10, 40, &open));
    all
}

pub fn open_channels() -> Vec<u8> {
    let mut all = handshake();
    for channel in 1..=2 {
        all.extend(method(channel, 20, 10, &[0]));
    }
    all
}

impl Driver {
    /// Lets time pass, and what is due be done.
    pub fn pass(&mut self, time: Duration) {
        self.now += time;
        self.core.tick(self.now);
    }

    /// What was sent to that peer, a word a frame: the method's name, `content`, `body=...`, `heartbeat`; and how the
    /// connection ended, if it did.
    pub fn told(&mut self, connection: usize) -> Vec<String> {
        let all = self.drain(connection);
        let mut octets = &all[..];
        let mut told = Vec::new();
        while octets.len() >= 8 {
            if octets.starts_with(b"AMQP") {
                octets = &octets[8..];
                told.push("header".to_owned());
                continue;
            }
            let size = u32::from_be_bytes([octets[3], octets[4], octets[5], octets[6]]) as usize;
            told.push(word(octets[0], &octets[7..7 + size]));
            octets = &octets[size + 8..];
        }
        assert!(octets.is_empty(), "half a frame: {octets:?}");
        match self.core.take_output(self.input[connection].0, &mut Batch::default()) {
            Some(How::Fin) => told.push("FIN".to_owned()),
            Some(How::Rst) => told.push("RST".to_owned()),
            None => {}
        }
        told
    }
}

fn word(kind: u8, payload: &[u8]) -> String {
    match kind {
        1 => {
            let id = |at: usize| u16::from_be_bytes([payload[at], payload[at + 1]]);
            let method = gauntlet_broker::MethodId::of(id(0), id(2));
            match method.to_string().as_str() {
                name @ ("connection.close" | "channel.close") => {
                    let text = &payload[7..7 + usize::from(payload[6])];
                    format!("{name} {}", String::from_utf8_lossy(text))
                }
                "basic.deliver" => {
                    let redelivered = payload[5 + usize::from(payload[4]) + 8] == 1;
                    if redelivered { "basic.deliver again".into() } else { "basic.deliver".into() }
                }
                name => name.to_owned(),
            }
        }
        2 => "content".to_owned(),
        3 => format!("body={}", String::from_utf8_lossy(payload)),
        8 => "heartbeat".to_owned(),
        other => format!("frame {other}"),
    }
}

/// `queue.declare` of a durable queue.
pub fn declare(queue: &str) -> Vec<u8> {
    method(1, 50, 10, &[&[0, 0][..], &short(queue), &[2, 0, 0, 0, 0]].concat())
}

/// `basic.consume`, with acknowledgements.
pub fn consume(queue: &str, tag: &str) -> Vec<u8> {
    method(1, 60, 20, &[&[0, 0][..], &short(queue), &short(tag), &[0, 0, 0, 0, 0]].concat())
}

/// A persistent message.
pub fn publish(queue: &str, body: &str) -> Vec<u8> {
    let mut all = method(1, 60, 40, &[&[0, 0, 0][..], &short(queue), &[0]].concat());
    let mut header = vec![0, 60, 0, 0];
    header.extend((body.len() as u64).to_be_bytes());
    header.extend([0x10, 0, 2]);
    all.extend(frame(2, 1, &header));
    all.extend(frame(3, 1, body.as_bytes()));
    all
}

/// `basic.ack` of one delivery.
pub fn ack(tag: u64) -> Vec<u8> {
    method(1, 60, 80, &[&tag.to_be_bytes()[..], &[0]].concat())
}
