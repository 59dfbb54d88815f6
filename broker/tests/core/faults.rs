//! Faults at exact points, and what is left after them.

use std::time::Duration;

use gauntlet_broker::{Action, Direction, Edge, MethodId, ReplyRule, Trigger, Withheld};

use super::driver::{Driver, ack, consume, declare, open_channels, publish};

fn named(method: &str) -> MethodId {
    method.parse().expect("a method's name")
}

/// One connection with two channels, a durable queue `q`, and nothing unread.
fn ready() -> Driver {
    let mut driver = Driver::new(1);
    driver.feed(0, &open_channels());
    driver.feed(0, &declare("q"));
    driver.drain(0);
    driver
}

fn trigger(way: Direction, method: &str, nth: u64, edge: Edge, action: Action) -> Trigger {
    Trigger { way, method: named(method), nth, edge, action }
}

#[test]
fn a_crash_before_a_delivery_leaves_it_unseen() {
    let mut driver = ready();
    let crash = trigger(Direction::Out, "basic.deliver", 3, Edge::Before, Action::Crash);
    driver.core.arm(crash);
    for body in ["a", "b", "c"] {
        driver.feed(0, &publish("q", body));
    }
    driver.feed(0, &consume("q", "c"));
    let told = driver.told(0);
    let expect = ["basic.consume-ok", "basic.deliver", "content", "body=a", "basic.deliver"];
    assert_eq!(told[..5], expect);
    assert_eq!(told[5..], ["content", "body=b", "RST"]);
    assert!(driver.core.is_down());
    driver.core.up();
    let mut again = Driver { core: driver.core, input: Vec::new(), now: driver.now };
    again.connect();
    again.feed(0, &open_channels());
    again.feed(0, &consume("q", "c"));
    let told = again.told(0);
    let bodies: Vec<&String> =
        told.iter().filter(|w| w.contains("deliver") || w.contains("body")).collect();
    let expect = [
        "basic.deliver again",
        "body=a",
        "basic.deliver again",
        "body=b",
        "basic.deliver",
        "body=c",
    ];
    assert_eq!(bodies, expect);
}

#[test]
fn an_ack_received_before_the_crash_counts() {
    for (edge, left) in [(Edge::Before, 2), (Edge::After, 1)] {
        let mut driver = ready();
        driver.core.arm(trigger(Direction::In, "basic.ack", 1, edge, Action::Crash));
        driver.feed(0, &[publish("q", "a"), publish("q", "b"), consume("q", "c")].concat());
        driver.feed(0, &ack(1));
        assert_eq!(driver.told(0).last().map(String::as_str), Some("RST"));
        assert_eq!(driver.core.look().queues[0].ready, left, "{edge:?}");
    }
}

#[test]
fn a_shutdown_is_told() {
    let mut driver = ready();
    driver.core.shutdown();
    let text = "connection.close CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'";
    assert_eq!(driver.told(0), [text, "FIN"]);
}

#[test]
fn an_alarm_blocks_those_who_publish() {
    let mut driver = ready();
    driver.core.set_memory_alarm(true);
    assert!(driver.told(0).is_empty());
    driver.feed(0, &[publish("q", "a"), publish("q", "b")].concat());
    assert!(!driver.core.may_read(driver.input[0].0));
    let look = driver.core.look();
    // This client has not said that it understands connection.blocked.
    assert!(driver.told(0).is_empty());
    assert_eq!((look.connections[0].state, look.queues[0].ready), ("blocked", 0));
    driver.core.set_memory_alarm(false);
    driver.feed(0, &[]);
    assert_eq!(driver.core.look().queues[0].ready, 2);
}

#[test]
fn a_withheld_reply_keeps_the_channel_silent_until_it_is_let_go() {
    let mut driver = ready();
    let method = named("basic.consume-ok");
    let withheld = Withheld::Forever;
    driver.core.withhold(ReplyRule { method, skip: 0, count: None, withheld });
    driver.feed(0, &[consume("q", "c"), publish("q", "a")].concat());
    assert!(driver.told(0).is_empty());
    driver.core.lift_withheld();
    assert_eq!(driver.told(0), ["basic.consume-ok", "basic.deliver", "content", "body=a"]);
}

#[test]
fn a_delayed_reply_comes_later() {
    let mut driver = ready();
    let method = named("queue.declare-ok");
    let withheld = Withheld::Delayed(Duration::from_secs(5));
    driver.core.withhold(ReplyRule { method, skip: 0, count: Some(1), withheld });
    driver.feed(0, &declare("q"));
    driver.pass(Duration::from_millis(4_999));
    assert!(driver.told(0).is_empty());
    driver.pass(Duration::from_millis(1));
    assert_eq!(driver.told(0), ["queue.declare-ok"]);
    driver.feed(0, &declare("q"));
    assert_eq!(driver.told(0), ["queue.declare-ok"]);
}

#[test]
fn silence_lasts_until_it_is_lifted() {
    let mut driver = Driver::new(0);
    driver.core.set_silence(true);
    driver.connect();
    driver.feed(0, &open_channels());
    driver.pass(Duration::from_secs(60));
    assert!(driver.told(0).is_empty());
    driver.core.set_silence(false);
    driver.feed(0, &[]);
    assert_eq!(driver.told(0)[..2], ["connection.start", "connection.tune"]);
}

#[test]
fn cancelled_consumers_and_closed_connections_are_gone() {
    let mut driver = ready();
    driver.feed(0, &consume("q", "c"));
    driver.drain(0);
    assert_eq!(driver.core.cancel_consumers("/", "q"), 1);
    assert!(driver.core.look().consumers.is_empty());
    // This client has not said that it understands basic.cancel.
    assert!(driver.told(0).is_empty());
    assert_eq!(driver.core.close_all("tired"), 1);
    assert_eq!(driver.told(0), ["connection.close CONNECTION_FORCED - tired"]);
}
