//! Whatever comes in, in whatever pieces: the core stands and stays small.

use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;

use super::driver::{Driver, frame, method, open_channels, short, text_table};

/// One request that a client could make, mostly a sensible one.
fn request() -> impl Strategy<Value = Vec<u8>> {
    let queue = prop_oneof![Just("a"), Just("b"), Just("amq.rabbitmq.reply-to"), Just("")];
    let exchange = prop_oneof![Just(""), Just("x"), Just("amq.topic"), Just("amq.fanout")];
    (0..24u8, 1..=2u16, queue, exchange, any::<u8>(), 0..6u8).prop_map(
        |(what, channel, queue, exchange, bits, number)| {
            let tag = [0, 0, 0, 0, 0, 0, 0, number];
            let queue = short(queue);
            let exchange = short(exchange);
            let key = short("k");
            let table = [0, 0, 0, 0];
            let stream = text_table("x-queue-type", "stream");
            let first = text_table("x-stream-offset", "first");
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
                19 => method(50, 10, &[&reserved, &queue, &[2], &stream]),
                20 => method(60, 20, &[&reserved, &queue, &short(""), &[bits & 4], &first]),
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
