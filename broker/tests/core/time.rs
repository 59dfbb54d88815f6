//! Time: heartbeats, timeouts, cut-offs.

use std::time::Duration;

use gauntlet_broker::Config;

use super::driver::{Driver, consume, declare, handshake_with, method, open_channels, publish};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn heartbeats_come_each_half_interval_and_the_dead_are_found() {
    let mut driver = Driver::new(1);
    driver.feed(0, &handshake_with(4));
    driver.drain(0);
    // Two looks in a row that find nothing new, the first of which finds the handshake.
    let mut told = Vec::new();
    for _ in 0..5 {
        driver.pass(SECOND * 2);
        told.push(driver.told(0).join(" "));
    }
    assert_eq!(told, ["heartbeat", "heartbeat", "heartbeat", "heartbeat", "heartbeat"]);
    driver.pass(SECOND * 2);
    assert!(driver.told(0).contains(&"FIN".to_owned()));
}

#[test]
fn any_octet_is_a_sign_of_life() {
    let mut driver = Driver::new(1);
    driver.feed(0, &handshake_with(4));
    for octet in [8, 0, 0, 0, 0, 0, 0, 0xCE] {
        driver.pass(SECOND * 4);
        driver.feed(0, &[octet]);
        assert!(!driver.told(0).contains(&"FIN".to_owned()));
    }
}

#[test]
fn a_delivery_without_ack_closes_its_channel() {
    let config = Config {
        consumer_timeout: SECOND,
        consumer_timeout_tick: Duration::from_millis(100),
        ..Config::default()
    };
    let mut driver = Driver::with(config, 1);
    driver.feed(0, &open_channels());
    driver.feed(0, &[declare("q"), publish("q", "a"), consume("q", "c")].concat());
    driver.drain(0);
    driver.pass(SECOND);
    assert!(driver.told(0).is_empty());
    driver.pass(Duration::from_millis(150));
    let text = "channel.close PRECONDITION_FAILED - delivery acknowledgement on channel 1 timed out. \
                Timeout value used: 1000 ms. This timeout value can be configured, see consumers doc \
                guide to learn more";
    assert_eq!(driver.told(0), [text]);
    assert_eq!(driver.core.look().queues[0].ready, 1);
}

#[test]
fn a_handshake_must_end() {
    let mut driver = Driver::new(1);
    driver.feed(0, b"AMQP");
    driver.pass(SECOND * 9);
    assert!(driver.told(0).is_empty());
    driver.pass(SECOND);
    assert_eq!(driver.told(0), ["FIN"]);
}

#[test]
fn a_closed_connection_does_not_wait_for_ever() {
    let mut driver = Driver::new(1);
    driver.feed(0, &open_channels());
    driver.drain(0);
    driver.feed(0, &method(0, 10, 50, &[0, 200, 0, 0, 0, 0, 0]));
    assert_eq!(driver.told(0), ["connection.close-ok"]);
    driver.pass(SECOND * 30);
    assert_eq!(driver.told(0), ["FIN"]);
}
