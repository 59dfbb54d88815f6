//! The core alone, without sockets or clock: whatever comes in, in whatever pieces, it stands and stays small.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::BytesMut;
use gauntlet_broker::{Batch, Config, ConnectionId, Core};
use proptest::collection::vec;
use proptest::prelude::*;

const PEER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1);
const FRAME_END: u8 = 0xCE;

/// What a test has sent and not seen taken, by connection.
struct Driver {
    core: Core,
    input: Vec<(ConnectionId, BytesMut)>,
    now: Duration,
}

impl Driver {
    fn new(connections: usize) -> Driver {
        let mut core = Core::new(Config::default());
        let input = (0..connections)
            .map(|_| (core.opened(PEER, Duration::ZERO), BytesMut::new()))
            .collect();
        Driver { core, input, now: Duration::ZERO }
    }

    fn feed(&mut self, connection: usize, octets: &[u8]) {
        let (id, input) = &mut self.input[connection];
        input.extend_from_slice(octets);
        self.core.received(*id, input, self.now);
    }

    /// Everything sent to that peer so far.
    fn drain(&mut self, connection: usize) -> Vec<u8> {
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

fn frame(kind: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![kind];
    frame.extend(channel.to_be_bytes());
    frame.extend((payload.len() as u32).to_be_bytes());
    frame.extend(payload);
    frame.push(FRAME_END);
    frame
}

fn method(channel: u16, class: u16, id: u16, fields: &[u8]) -> Vec<u8> {
    let mut payload = class.to_be_bytes().to_vec();
    payload.extend(id.to_be_bytes());
    payload.extend(fields);
    frame(1, channel, &payload)
}

fn short(text: &str) -> Vec<u8> {
    let mut octets = vec![text.len() as u8];
    octets.extend(text.as_bytes());
    octets
}

fn handshake() -> Vec<u8> {
    let mut all = b"AMQP\x00\x00\x09\x01".to_vec();
    let response = b"\0guest\0guest";
    let mut start_ok = vec![0, 0, 0, 0];
    start_ok.extend(short("PLAIN"));
    start_ok.extend((response.len() as u32).to_be_bytes());
    start_ok.extend(response);
    start_ok.extend(short("en_US"));
    all.extend(method(0, 10, 11, &start_ok));
    all.extend(method(0, 10, 31, &[7, 255, 0, 2, 0, 0, 0, 0]));
    let mut open = short("/");
    open.extend([0, 0]);
    all.extend(method(0, 10, 40, &open));
    all
}

fn open_channels() -> Vec<u8> {
    let mut all = handshake();
    for channel in 1..=2 {
        all.extend(method(channel, 20, 10, &[0]));
    }
    all
}

/// One request that a client could make, mostly a sensible one.
fn request() -> impl Strategy<Value = Vec<u8>> {
    let queue = prop_oneof![Just("a"), Just("b"), Just("amq.rabbitmq.reply-to"), Just("")];
    let exchange = prop_oneof![Just(""), Just("x"), Just("amq.topic"), Just("amq.fanout")];
    (0..22u8, 1..=2u16, queue, exchange, any::<u8>(), 0..6u8).prop_map(
        |(what, channel, queue, exchange, bits, number)| {
            let tag = [0, 0, 0, 0, 0, 0, 0, number];
            let queue = short(queue);
            let exchange = short(exchange);
            let key = short("k");
            let table = [0, 0, 0, 0];
            let reserved = [0u8, 0];
            let method = |class, id, parts: &[&[u8]]| method(channel, class, id, &parts.concat());
            match what {
                0 => method(50, 10, &[&reserved, &queue, &[bits & 0b0_1110], &table]),
                1 => method(50, 20, &[&reserved, &queue, &exchange, &key, &[0], &table]),
                2 => method(50, 30, &[&reserved, &queue, &[0]]),
                3 => method(50, 40, &[&reserved, &queue, &[bits & 3]]),
                4 => method(40, 10, &[&reserved, &exchange, &short("topic"), &[0], &table]),
                5 => method(40, 20, &[&reserved, &exchange, &[0]]),
                6 => method(60, 10, &[&[0, 0, 0, 0, 0], &[number], &[bits & 1]]),
                7 | 8 => method(60, 20, &[&reserved, &queue, &short(""), &[bits & 0b0110], &table]),
                9 => method(60, 30, &[&key, &[0]]),
                10 => method(60, 70, &[&reserved, &queue, &[bits & 1]]),
                11 | 12 => method(60, 80, &[&tag, &[bits & 1]]),
                13 => method(60, 120, &[&tag, &[bits & 3]]),
                14 => method(60, 110, &[&[1]]),
                15 => method(85, 10, &[&[0]]),
                16 => method(90, 10 + 10 * u16::from(number % 3), &[]),
                17 => method(20, 41, &[]),
                18 => method(20, 10, &[&[0]]),
                _ => {
                    let mut all = method(60, 40, &[&reserved, &exchange, &queue, &[bits & 1]]);
                    let mut header = vec![0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, number, 0x10, 0, 2];
                    if bits & 2 != 0 {
                        // With a header of its own the broker has to look inside.
                        header.splice(12.., [0x20, 0, 0, 0, 0, 4, 1, b'h', b'B', 7]);
                    }
                    all.extend(frame(2, channel, &header));
                    if number > 0 {
                        all.extend(frame(3, channel, &vec![b'm'; usize::from(number)]));
                    }
                    all
                }
            }
        },
    )
}

proptest! {
    #[test]
    fn any_octets_are_stood(octets in vec(any::<u8>(), 0..2_000), greeted in any::<bool>()) {
        let mut driver = Driver::new(1);
        if greeted {
            driver.feed(0, &open_channels());
        }
        driver.feed(0, &octets);
        prop_assert!(driver.drain(0).len() < 10_000);
    }

    #[test]
    fn any_frames_are_stood(
        frames in vec((0..9u8, 0..3u16, 0..100u16, 0..130u16, vec(any::<u8>(), 0..60)), 1..20),
    ) {
        let mut driver = Driver::new(1);
        driver.feed(0, &open_channels());
        for (kind, channel, class, id, fields) in frames {
            let class = class / 10 * 10;
            let octets = match kind {
                0..=4 => method(channel, class, id / 10 * 10 + id % 2, &fields),
                other => frame(other, channel, &fields),
            };
            driver.feed(0, &octets);
        }
        prop_assert!(driver.drain(0).len() < 100_000);
    }

    #[test]
    fn requests_are_stood_by_any_connection(
        requests in vec((0..2usize, request()), 1..80),
        pause in 0..100_000u64,
    ) {
        let mut driver = Driver::new(2);
        for connection in 0..2 {
            driver.feed(connection, &open_channels());
        }
        for (connection, octets) in requests {
            driver.feed(connection, &octets);
        }
        driver.now += Duration::from_millis(pause);
        driver.core.tick(driver.now);
        let look = driver.core.look();
        let unacked: usize = look.channels.iter().map(|channel| channel.unacked).sum();
        let owed: usize = look.queues.iter().map(|queue| queue.unacked).sum();
        // A queue that was deleted is owed nothing; one that is there knows what it is owed.
        prop_assert!(owed <= unacked + look.channels.iter().map(|c| c.acks_uncommitted).sum::<usize>());
        for connection in 0..2 {
            driver.drain(connection);
            driver.core.gone(driver.input[connection].0, driver.now);
        }
        let look = driver.core.look();
        prop_assert!(look.channels.is_empty() && look.consumers.is_empty());
        prop_assert!(look.queues.iter().all(|queue| queue.unacked == 0 && queue.owner.is_none()));
    }

    #[test]
    fn how_octets_are_split_changes_nothing(
        requests in vec(request(), 1..40),
        cuts in vec(1..40usize, 1..40),
    ) {
        let mut stream = open_channels();
        stream.extend(requests.concat());
        let mut whole = Driver::new(1);
        whole.feed(0, &stream);
        let mut split = Driver::new(1);
        let mut rest = &stream[..];
        let mut cuts = cuts.iter().cycle();
        while !rest.is_empty() {
            let at = cuts.next().map_or(1, |cut| *cut).min(rest.len());
            split.feed(0, &rest[..at]);
            rest = &rest[at..];
        }
        // Confirms of what comes together are told together, so what is compared is what remains.
        let looks = (whole.core.look(), split.core.look());
        prop_assert_eq!(looks.0.queues, looks.1.queues);
        prop_assert_eq!(looks.0.bindings, looks.1.bindings);
        prop_assert_eq!(looks.0.consumers, looks.1.consumers);
        prop_assert_eq!(without_confirms(&whole.drain(0)), without_confirms(&split.drain(0)));
    }
}

/// The frames but for `basic.ack`.
fn without_confirms(mut octets: &[u8]) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    while octets.len() > 7 {
        let size = u32::from_be_bytes([octets[3], octets[4], octets[5], octets[6]]) as usize + 8;
        let (frame, rest) = octets.split_at(size.min(octets.len()));
        octets = rest;
        if frame.get(7..11) != Some(&[0, 60, 0, 80]) {
            frames.push(frame.to_vec());
        }
    }
    frames
}

#[test]
fn a_peer_that_does_not_read_is_held_and_harms_nobody() {
    let mut driver = Driver::new(2);
    driver.feed(0, &open_channels());
    driver.feed(1, &open_channels());
    let queue = short("q");
    driver.feed(0, &method(1, 50, 10, &[&[0, 0], &queue[..], &[0], &[0; 4]].concat()));
    driver.feed(0, &method(1, 60, 20, &[&[0, 0], &queue[..], &[0], &[2], &[0; 4]].concat()));
    // The other one publishes 64 MiB; the first takes a part and no more.
    let body = vec![7; 64 << 10];
    for _ in 0..1024 {
        driver.feed(1, &method(1, 60, 40, &[&[0, 0, 0], &queue[..], &[0]].concat()));
        let mut header = vec![0, 60, 0, 0];
        header.extend((body.len() as u64).to_be_bytes());
        header.extend([0, 0]);
        driver.feed(1, &frame(2, 1, &header));
        driver.feed(1, &frame(3, 1, &body));
    }
    let look = driver.core.look();
    assert!(look.queues[0].ready > 1000, "{}", look.queues[0].ready);
    assert!(!driver.core.may_read(driver.input[0].0));
    assert!(driver.core.may_read(driver.input[1].0));
    // As soon as it reads it gets the rest.
    let got = driver.drain(0);
    assert!(got.len() > 64 << 20, "{}", got.len());
    assert_eq!(driver.core.look().queues[0].ready, 0);
}

#[test]
fn a_body_too_large_is_not_kept() {
    let mut driver = Driver::new(1);
    driver.feed(0, &open_channels());
    driver.drain(0);
    driver.feed(0, &method(1, 60, 40, &[0, 0, 0, 1, b'q', 0]));
    let size = (16u64 << 20) + 1;
    let mut header = vec![0, 60, 0, 0];
    header.extend(size.to_be_bytes());
    header.extend([0, 0]);
    driver.feed(0, &frame(2, 1, &header));
    let mut left = size as usize;
    while left > 0 {
        let part = left.min(100_000);
        driver.feed(0, &frame(3, 1, &vec![0; part]));
        left -= part;
    }
    let told = String::from_utf8_lossy(&driver.drain(0)).into_owned();
    assert!(
        told.contains("message size 16777217 is larger than configured max size 16777216"),
        "{told}"
    );
}
