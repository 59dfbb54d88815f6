//! Blackholes and stalls, lifted and not.

use std::time::Duration;

use gauntlet_network::{Direction, Fault, Injection, Point, What};
use tokio::io::AsyncWriteExt;

use crate::rig::*;

fn blackhole(way: Option<Direction>, resume: bool) -> Fault {
    Fault::Blackhole { way, resume }
}

#[tokio::test]
async fn a_blackhole_lets_nothing_pass_and_closes_nothing() {
    let rig = Rig::new().await;
    let (mut client, mut server) = rig.pair().await;
    let id = rig.link.inject(blackhole(None, false)).await.unwrap();
    assert_eq!(rig.link.fired(id), 0, "idle: nothing touched yet");
    send(&mut client, b"lost").await;
    send(&mut server, b"lost").await;
    expect_silence(&mut client).await;
    expect_silence(&mut server).await;
    assert_eq!(rig.link.fired(id), 1);
    assert_eq!(rig.link.active()[0].bytes, 8);
    rig.link.lift(id).await.unwrap();
    send(&mut client, b"still dead").await;
    expect_silence(&mut server).await;
    drop(client);
    expect_reset(&mut server).await;
}

#[tokio::test]
async fn closing_what_lost_something_resets_both_ends_and_ends_the_connection() {
    for way in [None, Some(Direction::ToBroker)] {
        let rig = Rig::new().await;
        let (mut client, mut server) = rig.pair().await;
        let id = rig.link.inject(blackhole(way, false)).await.unwrap();
        send(&mut client, b"lost").await;
        rig.heard.wait(|what| matches!(what, What::Fired { .. })).await;
        rig.link.lift(id).await.unwrap();
        client.shutdown().await.unwrap();
        expect_reset(&mut server).await;
        expect_reset(&mut client).await;
        rig.heard.wait(|what| *what == What::Closed).await;
        assert!(rig.link.connections().is_empty());
    }
}

#[tokio::test]
async fn in_a_blackhole_neither_fin_nor_rst_passes() {
    for reset in [false, true] {
        let rig = Rig::new().await;
        let (client, mut server) = rig.pair().await;
        let id = rig.link.inject(blackhole(None, false)).await.unwrap();
        if reset {
            socket2::SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
        }
        drop(client);
        rig.heard.wait(|what| matches!(what, What::Ended { .. })).await;
        send(&mut server, b"heartbeat").await;
        expect_silence(&mut server).await;
        rig.link.lift(id).await.unwrap();
        expect_reset(&mut server).await;
    }
}

#[tokio::test]
async fn one_way_black_leaves_the_other_way_alone() {
    let rig = Rig::new().await;
    let (mut client, mut server) = rig.pair().await;
    rig.link.inject(blackhole(Some(Direction::ToClient), false)).await.unwrap();
    send(&mut server, b"lost").await;
    send(&mut client, b"heard").await;
    expect(&mut server, b"heard").await;
    expect_silence(&mut client).await;
}

#[tokio::test]
async fn a_blackhole_that_resumes_loses_nothing() {
    let rig = Rig::new().await;
    let (mut client, mut server) = rig.pair().await;
    let id = rig.link.inject(blackhole(None, true)).await.unwrap();
    send(&mut client, b"kept").await;
    client.shutdown().await.unwrap();
    expect_silence(&mut server).await;
    let mut born = rig.client().await;
    send(&mut born, b"early").await;
    expect_silence(&mut born).await;
    assert_eq!(rig.heard.all().iter().filter(|w| matches!(w, What::Dialed { .. })).count(), 1);
    rig.link.lift(id).await.unwrap();
    assert_eq!(rest(&mut server).await, (b"kept".to_vec(), None));
    expect(&mut rig.served().await, b"early").await;
}

#[tokio::test]
async fn born_in_a_blackhole_is_dialed_when_it_is_lifted_whatever_becomes_of_the_others() {
    for resume in [true, false] {
        let rig = Rig::new().await;
        let id = rig.link.inject(blackhole(None, resume)).await.unwrap();
        let mut born = rig.client().await;
        send(&mut born, b"hello?").await;
        expect_silence(&mut born).await;
        assert_eq!(rig.link.fired(id), 1);
        assert!(!rig.heard.all().iter().any(|what| matches!(what, What::Dialed { .. })));
        rig.link.lift(id).await.unwrap();
        let mut served = rig.served().await;
        expect(&mut served, b"hello?").await;
        send(&mut served, b"hello!").await;
        expect(&mut born, b"hello!").await;
    }
}

#[tokio::test]
async fn born_in_a_blackhole_of_one_way_is_dialed_when_it_is_lifted() {
    for way in Direction::BOTH {
        let rig = Rig::new().await;
        let id = rig.link.inject(blackhole(Some(way), false)).await.unwrap();
        let mut born = rig.client().await;
        send(&mut born, b"hello?").await;
        expect_silence(&mut born).await;
        rig.link.lift(id).await.unwrap();
        let mut served = rig.served().await;
        expect(&mut served, b"hello?").await;
        send(&mut served, b"hello!").await;
        expect(&mut born, b"hello!").await;
    }
}

#[tokio::test]
async fn a_flow_that_is_forgotten_stays_dead_while_new_connections_work() {
    let rig = Rig::new().await;
    let (mut client, mut server) = rig.pair().await;
    let point = Point::new(Direction::ToBroker, "basic.ack").edge(gauntlet_network::Edge::After);
    let id = rig.link.inject(Injection::from(blackhole(None, false)).at(point)).await.unwrap();
    send(&mut client, &[ack(1), ack(2)].concat()).await;
    expect(&mut server, &ack(1)).await;
    let (mut other, mut other_server) = rig.pair().await;
    send(&mut other, b"new").await;
    expect(&mut other_server, b"new").await;
    rig.link.lift(id).await.unwrap();
    send(&mut server, b"x").await;
    send(&mut client, &ack(3)).await;
    expect_silence(&mut client).await;
    expect_silence(&mut server).await;
}

#[tokio::test]
async fn a_blackhole_at_a_point_concerns_that_connection() {
    let rig = Rig::new().await;
    let (mut client, mut server) = rig.pair().await;
    let (mut other, mut other_server) = rig.pair().await;
    let point = Point::new(Direction::ToBroker, "basic.ack").edge(gauntlet_network::Edge::After);
    rig.link.inject(Injection::from(blackhole(None, false)).at(point)).await.unwrap();
    send(&mut client, &[ack(1), ack(2)].concat()).await;
    expect(&mut server, &ack(1)).await;
    send(&mut server, b"x").await;
    expect_silence(&mut server).await;
    expect_silence(&mut client).await;
    send(&mut other, &ack(3)).await;
    expect(&mut other_server, &ack(3)).await;
}

#[tokio::test]
async fn a_stall_builds_back_pressure_and_loses_nothing() {
    let rig = Rig::new().await;
    let (mut client, mut server) = rig.pair().await;
    let id = rig.link.inject(Fault::Stall { way: Some(Direction::ToBroker) }).await.unwrap();
    let much: Vec<u8> = (0..30_000_000_u32).map(|n| (n % 251) as u8).collect();
    let mut sent = 0;
    while let Ok(wrote) = tokio::time::timeout(SILENCE, client.write(&much[sent..])).await {
        sent += wrote.unwrap();
    }
    assert!(sent < much.len(), "no back-pressure after {sent}");
    let read = |what: &What| matches!(what, What::Wire { way: Direction::ToBroker, .. });
    assert!(!rig.heard.all().iter().any(read), "nothing is read");
    assert_eq!(rig.link.fired(id), 1);
    expect_silence(&mut server).await;
    send(&mut server, b"the other way goes on").await;
    expect(&mut client, b"the other way goes on").await;
    rig.link.lift(id).await.unwrap();
    let (_, read) = tokio::join!(
        async {
            client.write_all(&much[sent..]).await.unwrap();
            client.shutdown().await.unwrap();
        },
        rest(&mut server)
    );
    assert!(read.0 == much && read.1.is_none(), "{} of {}", read.0.len(), much.len());
}
