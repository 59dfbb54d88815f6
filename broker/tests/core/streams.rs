//! Streams over time: crashes, what a reader finds after them, intervals.

use std::time::Duration;

use gauntlet_broker::{Action, Direction, Edge, Trigger};

use super::driver::{Driver, ack, method, open_channels, publish, short, text_table};

/// `queue.declare` of the stream `s`.
fn declare() -> Vec<u8> {
    let table = text_table("x-queue-type", "stream");
    method(1, 50, 10, &[&[0, 0][..], &short("s"), &[2], &table].concat())
}

/// `basic.consume` of `s` from an offset, at most two at a time.
fn consume(from: &str) -> Vec<u8> {
    let table = text_table("x-stream-offset", from);
    let qos = method(1, 60, 10, &[0, 0, 0, 0, 0, 2, 0]);
    let consume = [&[0, 0][..], &short("s"), &short(""), &[0], &table].concat();
    [qos, method(1, 60, 20, &consume)].concat()
}

/// One connection, the stream, and nothing unread.
fn ready() -> Driver {
    let mut driver = Driver::new(1);
    driver.feed(0, &[open_channels(), declare()].concat());
    driver.drain(0);
    driver
}

fn bodies(driver: &mut Driver) -> Vec<String> {
    let told = driver.told(0);
    assert!(!told.iter().any(|word| word.ends_with("again")), "a stream redelivers nothing");
    told.into_iter().filter_map(|word| Some(word.strip_prefix("body=")?.to_owned())).collect()
}

#[test]
fn a_crash_loses_nothing_and_moves_nothing() {
    let mut driver = ready();
    driver.feed(0, &[publish("s", "a"), publish("s", "b"), publish("s", "c")].concat());
    driver.feed(0, &consume("first"));
    driver.feed(0, &ack(1));
    assert_eq!(bodies(&mut driver), ["a", "b", "c"]);
    driver.core.crash();
    driver.core.up();
    assert_eq!(driver.core.look().queues[0].ready, 3);
    let mut again = Driver { core: driver.core, input: Vec::new(), now: driver.now };
    again.connect();
    again.feed(0, &[open_channels(), declare(), consume("last")].concat());
    assert_eq!(bodies(&mut again), ["c"]);
    again.feed(0, &publish("s", "d"));
    assert_eq!(bodies(&mut again), ["d"]);
}

#[test]
fn a_crash_before_a_delivery_stops_it() {
    let mut driver = ready();
    driver.feed(0, &[publish("s", "a"), publish("s", "b")].concat());
    let method = "basic.deliver".parse().expect("a method's name");
    driver.core.arm(Trigger {
        way: Direction::Out,
        method,
        nth: 2,
        edge: Edge::Before,
        action: Action::Crash,
    });
    driver.feed(0, &consume("first"));
    assert_eq!(bodies(&mut driver), ["a"]);
    assert!(driver.core.is_down());
}

#[test]
fn an_interval_reaches_so_far_back() {
    let mut driver = ready();
    driver.feed(0, &publish("s", "a"));
    driver.pass(Duration::from_secs(10));
    driver.feed(0, &publish("s", "b"));
    driver.pass(Duration::from_secs(4));
    driver.feed(0, &consume("5s"));
    assert_eq!(bodies(&mut driver), ["b"]);
    driver.feed(0, &consume("1m"));
    assert_eq!(bodies(&mut driver), ["a", "b"]);
}
