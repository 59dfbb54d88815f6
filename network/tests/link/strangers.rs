//! Strangers: clients that the faults are not meant for use up nothing that is counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use gauntlet_network::{CloseKind, Direction, Fault, Injection, Point, Side};

use crate::rig::*;

const RST: Fault = Fault::Rst { side: Side::Both };

/// A rig whose clients are strangers while the flag is up.
async fn rig() -> (Rig, Arc<AtomicBool>) {
    let flag = Arc::new(AtomicBool::new(true));
    let up = flag.clone();
    (Rig::with(|link| link.strangers(move |_, _| up.load(SeqCst))).await, flag)
}

#[tokio::test]
async fn a_stranger_is_not_among_the_next_connections() {
    for fault in [RST, Fault::AcceptThenClose { how: CloseKind::Rst }] {
        let (rig, flag) = rig().await;
        let id = rig.link.inject(Injection::from(fault).next_connections(1)).await.unwrap();
        let (mut stranger, mut server) = rig.pair().await;
        flag.store(false, SeqCst);
        expect_reset(&mut rig.client().await).await;
        send(&mut stranger, b"served as others are").await;
        expect(&mut server, b"served as others are").await;
        assert_eq!(rig.link.fired(id), 1);
    }
}

#[tokio::test]
async fn frames_of_a_stranger_are_not_counted() {
    let (rig, flag) = rig().await;
    let (mut stranger, mut its_server) = rig.pair().await;
    flag.store(false, SeqCst);
    let (mut client, mut server) = rig.pair().await;
    for (from, to) in [(&mut stranger, &mut its_server), (&mut client, &mut server)] {
        send(from, b"AMQP\x00\x00\x09\x01").await;
        expect(to, b"AMQP\x00\x00\x09\x01").await;
    }
    let point = Point::new(Direction::ToBroker, "heartbeat").nth(2);
    let id = rig.link.inject(Injection::from(RST).at(point)).await.unwrap();
    send(&mut stranger, &[heartbeat(), heartbeat(), heartbeat()].concat()).await;
    expect(&mut its_server, &[heartbeat(), heartbeat(), heartbeat()].concat()).await;
    send(&mut client, &heartbeat()).await;
    expect(&mut server, &heartbeat()).await;
    assert_eq!(rig.link.fired(id), 0);
    send(&mut client, &heartbeat()).await;
    expect_reset(&mut client).await;
    assert_eq!(rig.link.fired(id), 1);
}

#[tokio::test]
async fn a_stranger_takes_no_place_of_a_limit() {
    let (rig, flag) = rig().await;
    rig.link.inject(Fault::LimitConnections { max: 1 }).await.unwrap();
    let _stranger = rig.pair().await;
    flag.store(false, SeqCst);
    let _client = rig.pair().await;
    expect_reset(&mut rig.client().await).await;
}
