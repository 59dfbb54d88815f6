//! Peers that take and do not give, or give and do not end.

use super::driver::{Driver, frame, method, open_channels, short};

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
