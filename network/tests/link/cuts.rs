//! RST and FIN, at once and at points of the protocol.

use std::io::ErrorKind;

use gauntlet_network::{CloseKind, Direction, Edge, End, Fault, Injection, Point, Side, What};
use tokio::io::AsyncWriteExt;

use crate::rig::*;

const RST: Fault = Fault::Rst { side: Side::Both };

#[tokio::test]
async fn a_reset_of_an_idle_connection_is_a_reset_on_both_sides() {
    let rig = Rig::new().await;
    let (mut client, mut server) = rig.pair().await;
    let id = rig.link.inject(RST).await.unwrap();
    assert!(rig.link.connections().is_empty(), "confirmed: it is gone when inject returns");
    expect_reset(&mut client).await;
    expect_reset(&mut server).await;
    assert_eq!((rig.link.fired(id), rig.link.active()), (1, vec![]), "done, and lifted by itself");
    let (mut client, mut server) = rig.pair().await;
    send(&mut client, b"the next one lives").await;
    expect(&mut server, b"the next one lives").await;
}

#[tokio::test]
async fn a_fin_of_an_idle_connection_is_an_end_on_both_sides() {
    let rig = Rig::new().await;
    let (mut client, mut server) = rig.pair().await;
    rig.link.inject(Fault::Fin { side: Side::Both }).await.unwrap();
    expect_end(&mut client).await;
    expect_end(&mut server).await;
}

#[tokio::test]
async fn a_side_that_is_not_reset_learns_with_its_next_byte() {
    let rig = Rig::new().await;
    for side in [Side::Client, Side::Broker] {
        let (client, server) = rig.pair().await;
        rig.link.inject(Fault::Rst { side }).await.unwrap();
        let (mut cut, mut left) =
            if side == Side::Client { (client, server) } else { (server, client) };
        expect_reset(&mut cut).await;
        expect_silence(&mut left).await;
        send(&mut left, b"anyone?").await;
        expect_reset(&mut left).await;
    }
}

/// Both peers are gone: nothing of their connection may be left.
async fn expect_closed(rig: &Rig) {
    rig.heard.wait(|what| *what == What::Closed).await;
    assert!(rig.link.connections().is_empty());
}

#[tokio::test]
async fn an_end_that_closes_on_a_forgotten_peer_is_reset_and_the_connection_is_over() {
    for side in [Side::Client, Side::Broker] {
        for cut in [Fault::Rst { side }, Fault::Fin { side }] {
            for half_closed in [false, true] {
                let rig = Rig::new().await;
                let (client, server) = rig.pair().await;
                let (other, mut left, cut_end) = match side {
                    Side::Client => (client, server, End::Client),
                    _ => (server, client, End::Broker),
                };
                if half_closed {
                    left.shutdown().await.unwrap();
                    let told = What::Cut { end: cut_end, how: CloseKind::Fin };
                    rig.heard.wait(|what| *what == told).await;
                }
                rig.link.inject(cut.clone()).await.unwrap();
                if !half_closed {
                    left.shutdown().await.unwrap();
                }
                expect_reset(&mut left).await;
                drop(other);
                expect_closed(&rig).await;
            }
        }
    }
}

#[tokio::test]
async fn an_end_that_is_sent_fin_is_listened_to_however_soon_the_other_closes() {
    let rig = Rig::new().await;
    let (mut client, mut server) = rig.pair().await;
    rig.link.inject(Fault::Fin { side: Side::Broker }).await.unwrap();
    client.shutdown().await.unwrap();
    expect_reset(&mut client).await;
    send(&mut server, b"last words").await;
    expect_end(&mut server).await;
    drop(server);
    expect_closed(&rig).await;
}

#[tokio::test]
async fn a_hundred_connections_are_cut_by_one_injection() {
    let rig = Rig::new().await;
    let mut pairs = Vec::new();
    for _ in 0..100 {
        pairs.push(rig.pair().await);
    }
    let start = std::time::Instant::now();
    let id = rig.link.inject(RST).await.unwrap();
    println!("100 connections cut in {:?}", start.elapsed());
    assert!(rig.link.connections().is_empty());
    for (mut client, mut server) in pairs {
        expect_reset(&mut client).await;
        expect_reset(&mut server).await;
    }
    assert_eq!(rig.link.fired(id), 100);
}

/// Cuts at `edge` of the second ack: what the broker still gets of 3 acks between heartbeats.
async fn cut_at(edge: Edge, expected: &[u8], fault: Fault, end: Option<ErrorKind>) {
    for pieces in [1, 2, 7, 1000] {
        let rig = Rig::new().await;
        let (mut client, mut server) = rig.pair().await;
        send(&mut client, b"AMQP\x00\x00\x09\x01").await;
        expect(&mut server, b"AMQP\x00\x00\x09\x01").await;
        let point = Point::new(Direction::ToBroker, "basic.ack").nth(2).edge(edge);
        let id = rig.link.inject(Injection::from(fault.clone()).at(point)).await.unwrap();
        let sent = [heartbeat(), ack(1), heartbeat(), ack(2), heartbeat(), ack(3)].concat();
        for piece in sent.chunks(pieces) {
            if client.write_all(piece).await.is_err() {
                break; // cut already
            }
        }
        let (read, ended) = rest(&mut server).await;
        assert_eq!((read.as_slice(), ended), (expected, end), "{edge:?} in pieces of {pieces}");
        assert_eq!(rig.link.fired(id), 1);
        rig.heard.wait(|what| *what == What::Lifted { fault: id }).await;
    }
}

#[tokio::test]
async fn a_cut_before_a_frame_inside_it_and_after_it_is_exact() {
    let before = [heartbeat(), ack(1), heartbeat()].concat();
    let reset = Some(ErrorKind::ConnectionReset);
    cut_at(Edge::Before, &before, RST, reset).await;
    for bytes in [1, 3, 7, 11, 20] {
        let some = &ack(2)[..bytes as usize];
        cut_at(Edge::Inside(bytes), &[&before, some].concat(), RST, reset).await;
    }
    cut_at(Edge::After, &[&*before, &ack(2)].concat(), RST, reset).await;
    cut_at(Edge::Inside(9999), &[&*before, &ack(2)].concat(), RST, reset).await;
    let fin = Fault::Fin { side: Side::Both };
    cut_at(Edge::Inside(5), &[&*before, &ack(2)[..5]].concat(), fin, None).await;
}

#[tokio::test]
async fn a_point_counts_over_connections_and_cuts_only_where_it_is_met() {
    let rig = Rig::new().await;
    let (mut first, mut first_server) = rig.pair().await;
    let (mut second, mut second_server) = rig.pair().await;
    let point = Point::new(Direction::ToBroker, "basic.ack").nth(2);
    rig.link.inject(Injection::from(RST).at(point)).await.unwrap();
    send(&mut first, &ack(1)).await;
    expect(&mut first_server, &ack(1)).await;
    send(&mut second, &ack(1)).await;
    expect_reset(&mut second).await;
    expect_reset(&mut second_server).await;
    send(&mut first, &ack(2)).await;
    expect(&mut first_server, &ack(2)).await;
}

/// Whoever hears that a cut has fired may lift everything at once: what has fired is done.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_that_has_fired_is_done_however_soon_it_is_lifted() {
    let rig = Rig::new().await;
    for round in 0..200 {
        let (mut client, mut server) = rig.pair().await;
        let point = Point::new(Direction::ToBroker, "basic.ack");
        let id = rig.link.inject(Injection::from(RST).at(point)).await.unwrap();
        let lifted = async {
            while rig.link.fired(id) == 0 {
                tokio::task::yield_now().await;
            }
            rig.link.lift_all().await.unwrap();
        };
        let settled = ack(1);
        tokio::join!(lifted, send(&mut client, &settled));
        assert_eq!(rest(&mut server).await.0, b"", "round {round}: the ack got through");
        expect_reset(&mut client).await;
    }
}

#[tokio::test]
async fn a_point_injected_in_mid_frame_is_in_step() {
    let rig = Rig::new().await;
    let (mut client, mut server) = rig.pair().await;
    let long = body(&[0xCE; 5000]);
    send(&mut client, &long[..3000]).await;
    expect(&mut server, &long[..3000]).await;
    let point = Point::new(Direction::ToBroker, "*");
    rig.link.inject(Injection::from(RST).at(point)).await.unwrap();
    send(&mut client, &[&long[3000..], &ack(1)].concat()).await;
    assert_eq!(rest(&mut server).await, (long[3000..].to_vec(), Some(ErrorKind::ConnectionReset)));
}

#[tokio::test]
async fn the_next_two_connections_are_reset_and_the_third_lives() {
    let rig = Rig::new().await;
    let (mut old, mut old_server) = rig.pair().await;
    let id = rig.link.inject(Injection::from(RST).next_connections(2)).await.unwrap();
    expect_reset(&mut rig.client().await).await;
    expect_reset(&mut rig.client().await).await;
    let (mut third, mut server) = rig.pair().await;
    for (client, server) in [(&mut third, &mut server), (&mut old, &mut old_server)] {
        send(client, b"alive").await;
        expect(server, b"alive").await;
    }
    assert_eq!(rig.link.fired(id), 2);
    let cut = What::Cut { end: End::Client, how: CloseKind::Rst };
    assert_eq!(rig.heard.all().iter().filter(|what| **what == cut).count(), 2);
}
