//! Without faults: bytes, half-close, resets, errors, upstreams, stopping.

use std::{io::ErrorKind, time::Duration};

use gauntlet_network::{CloseKind, Direction, End, Ending, Link, What};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpSocket, TcpStream},
};

use crate::rig::*;

#[tokio::test]
async fn bytes_cross_both_ways() {
    let rig = Rig::new().await;
    let (mut client, mut server) = rig.pair().await;
    send(&mut client, b"there").await;
    expect(&mut server, b"there").await;
    send(&mut server, b"and back").await;
    expect(&mut client, b"and back").await;
    assert_eq!(rig.link.connections().len(), 1);
}

#[tokio::test]
async fn much_crosses_unchanged_although_nobody_reads_for_a_while() {
    let rig = Rig::new().await;
    let (mut client, mut server) = rig.pair().await;
    let much: Vec<u8> =
        (0..20_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let (sent, read) = tokio::join!(
        async {
            client.write_all(&much).await.unwrap();
            client.shutdown().await.unwrap();
        },
        async {
            pause(Duration::from_millis(20)).await;
            rest(&mut server).await
        }
    );
    let () = sent;
    assert!(read.1.is_none() && read.0 == much);
}

#[tokio::test]
async fn half_close_is_passed_through_and_the_answer_comes_back() {
    let rig = Rig::new().await;
    let (mut client, mut server) = rig.pair().await;
    send(&mut client, b"question").await;
    client.shutdown().await.unwrap();
    assert_eq!(rest(&mut server).await, (b"question".to_vec(), None));
    send(&mut server, b"answer").await;
    drop(server);
    assert_eq!(rest(&mut client).await, (b"answer".to_vec(), None));
    rig.heard.wait(|what| *what == What::Closed).await;
    assert!(rig.link.connections().is_empty());
}

#[tokio::test]
async fn a_reset_is_a_reset_on_the_other_side_both_ways() {
    let rig = Rig::new().await;
    for client_resets in [true, false] {
        let (client, server) = rig.pair().await;
        let (first, mut second) = if client_resets { (client, server) } else { (server, client) };
        socket2::SockRef::from(&first).set_linger(Some(Duration::ZERO)).unwrap();
        drop(first);
        expect_reset(&mut second).await;
        let end = if client_resets { End::Client } else { End::Broker };
        rig.heard.wait(|what| *what == What::Ended { end, how: Ending::Rst }).await;
    }
}

/// Sends until some of it stays with the link, or until no more is taken; whether the latter.
async fn fill(rig: &Rig, way: Direction, from: &mut TcpStream, to_the_brim: bool) -> bool {
    let piece = body(&[7; 8000]);
    let crossed = |at: End| {
        let all = rig.heard.all();
        let ends = all.iter().filter_map(|what| match what {
            What::Wire { end, way: gone, .. } if *gone == way => Some(*end),
            _ => None,
        });
        ends.filter(|end| *end == at).count()
    };
    for sent in 1.. {
        if tokio::time::timeout(SILENCE, from.write_all(&piece)).await.is_err() {
            return true;
        }
        while !to_the_brim && crossed(way.source()) < sent {
            pause(Duration::from_millis(1)).await;
        }
        if !to_the_brim && crossed(way.source()) >= crossed(way.sink()) + 2 {
            break;
        }
    }
    false
}

#[tokio::test]
async fn a_reset_overtakes_what_a_peer_that_does_not_read_leaves_waiting() {
    for way in Direction::BOTH {
        for to_the_brim in [false, true] {
            let rig = Rig::new().await;
            let (client, server) = rig.pair().await;
            let (mut first, mut second) = match way {
                Direction::ToBroker => (client, server),
                Direction::ToClient => (server, client),
            };
            assert_eq!(fill(&rig, way, &mut first, to_the_brim).await, to_the_brim);
            send(&mut second, b"the other way goes on").await;
            expect(&mut first, b"the other way goes on").await;
            socket2::SockRef::from(&first).set_linger(Some(Duration::ZERO)).unwrap();
            drop(first);
            rig.heard.wait(|what| *what == What::Closed).await;
            assert!(rig.link.connections().is_empty());
            let told = What::Ended { end: way.source(), how: Ending::Rst };
            assert!(rig.heard.all().contains(&told));
            assert_eq!(rest(&mut second).await.1, Some(ErrorKind::ConnectionReset));
        }
    }
}

#[tokio::test]
async fn an_upstream_that_refuses_resets_the_client() {
    let rig = Rig::new().await;
    let nobody = TcpSocket::new_v4().unwrap();
    nobody.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    rig.link.set_upstream(nobody.local_addr().unwrap());
    expect_reset(&mut rig.client().await).await;
    rig.heard.wait(|what| matches!(what, What::DialFailed { .. })).await;
    rig.heard.wait(|what| *what == What::Cut { end: End::Client, how: CloseKind::Rst }).await;
}

#[tokio::test]
async fn another_upstream_applies_to_new_connections() {
    let rig = Rig::new().await;
    let (mut client, mut server) = rig.pair().await;
    let other = TcpListener::bind("127.0.0.1:0").await.unwrap();
    rig.link.set_upstream(other.local_addr().unwrap());
    let _second = rig.client().await;
    soon("the other upstream is dialed", other.accept()).await.unwrap();
    send(&mut client, b"still here").await;
    expect(&mut server, b"still here").await;
}

#[tokio::test]
async fn a_slow_reader_blocks_neither_the_other_way_nor_an_injection() {
    use gauntlet_network::{Fault, Side};
    let rig = Rig::new().await;
    let (mut client, mut server) = rig.pair().await;
    let chunk = vec![0; 1 << 20];
    while tokio::time::timeout(SILENCE, client.write_all(&chunk)).await.is_ok() {}
    send(&mut server, b"other way").await;
    expect(&mut client, b"other way").await;
    let cut = Fault::Rst { side: Side::Both };
    soon("the injection returns", rig.link.inject(cut)).await.unwrap();
    assert_eq!(rest(&mut client).await.1, Some(ErrorKind::ConnectionReset));
}

#[tokio::test]
async fn stopping_closes_connections_and_frees_the_port() {
    let rig = Rig::new().await;
    let (mut client, mut server) = rig.pair().await;
    let addr = rig.link.addr();
    rig.link.stop().await;
    expect_end(&mut client).await;
    expect_end(&mut server).await;
    assert_eq!(dial(addr).await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    let upstream = rig.upstream.local_addr().unwrap();
    let again = Link::builder("again").listen(addr).upstream(upstream).start().await.unwrap();
    assert_eq!(again.addr(), addr);
    rig.link.stop().await;
    let error = rig.link.inject(gauntlet_network::Fault::Refuse).await.unwrap_err();
    assert_eq!(error.to_string(), "the link \"test\" is stopped");
}

#[tokio::test]
async fn two_links_cannot_have_one_port() {
    let rig = Rig::new().await;
    let upstream = rig.upstream.local_addr().unwrap();
    let second = Link::builder("second").listen(rig.link.addr()).upstream(upstream).start().await;
    assert!(second.is_err_and(|error| error.to_string().contains("could not listen on")));
}

#[tokio::test]
async fn a_dial_without_an_answer_fails_at_its_deadline() {
    let rig = Rig::with(|builder| builder.dial_deadline(Duration::from_millis(50))).await;
    // A listener whose backlog is full does not answer.
    let full = TcpSocket::new_v4().unwrap();
    full.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let full = full.listen(1).unwrap();
    let addr = full.local_addr().unwrap();
    let mut fill = Vec::new();
    for _ in 0..4 {
        fill.push(tokio::time::timeout(SILENCE, tokio::net::TcpStream::connect(addr)).await);
    }
    rig.link.set_upstream(addr);
    expect_reset(&mut rig.client().await).await;
}
