//! Refusing, ignoring, closing, limiting: what happens to new connections.

use std::{io::ErrorKind, time::Duration};

use gauntlet_network::{CloseKind, Fault, Injection, What};
use socket2::{Domain, Socket, Type};

use crate::rig::*;

#[tokio::test]
async fn a_refusing_port_refuses_stays_ours_and_comes_back() {
    let rig = Rig::new().await;
    let (mut old, mut old_server) = rig.pair().await;
    let addr = rig.link.addr();
    for _ in 0..3 {
        let id = rig.link.inject(Fault::Refuse).await.unwrap();
        assert_eq!(dial(addr).await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
        for reuse in [false, true] {
            let thief = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            thief.set_reuse_address(reuse).unwrap();
            assert_eq!(thief.bind(&addr.into()).unwrap_err().kind(), ErrorKind::AddrInUse);
        }
        send(&mut old, b"untouched").await;
        expect(&mut old_server, b"untouched").await;
        assert_eq!(rig.link.fired(id), 1);
        rig.link.lift(id).await.unwrap();
        assert_eq!(rig.link.addr(), addr);
        let (mut client, mut server) = rig.pair().await;
        send(&mut client, b"back").await;
        expect(&mut server, b"back").await;
    }
}

#[tokio::test]
async fn refusing_for_a_while_ends_by_itself() {
    let rig = Rig::new().await;
    let lasting = Injection::from(Fault::Refuse).lasting(Duration::from_millis(50));
    let id = rig.link.inject(lasting).await.unwrap();
    assert_eq!(dial(rig.link.addr()).await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    rig.heard.wait(|what| *what == What::Lifted { fault: id }).await;
    rig.link.lift(id).await.unwrap();
    while dial(rig.link.addr()).await.is_err() {
        pause(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn an_ignored_connection_is_neither_dialed_nor_answered() {
    let rig = Rig::new().await;
    let id = rig.link.inject(Fault::Ignore).await.unwrap();
    let mut client = rig.client().await;
    send(&mut client, b"hello?").await;
    expect_silence(&mut client).await;
    assert!(!rig.heard.all().iter().any(|w| matches!(w, What::Dialed { .. } | What::Wire { .. })));
    assert_eq!(rig.link.fired(id), 1);
    rig.link.lift(id).await.unwrap();
    expect_reset(&mut client).await;
    rig.pair().await;
}

#[tokio::test]
async fn accepted_then_closed() {
    for (how, end) in [(CloseKind::Fin, None), (CloseKind::Rst, Some(ErrorKind::ConnectionReset))] {
        let rig = Rig::new().await;
        let id = rig.link.inject(Fault::AcceptThenClose { how }).await.unwrap();
        assert_eq!(rest(&mut rig.client().await).await, (vec![], end));
        assert_eq!(rig.link.fired(id), 1);
        assert!(!rig.heard.all().iter().any(|what| matches!(what, What::Dialed { .. })));
    }
}

#[tokio::test]
async fn connections_beyond_the_limit_are_reset() {
    let rig = Rig::new().await;
    let _first = rig.pair().await;
    let id = rig.link.inject(Fault::LimitConnections { max: 2 }).await.unwrap();
    let (second, server) = rig.pair().await;
    expect_reset(&mut rig.client().await).await;
    assert_eq!(rig.link.fired(id), 1);
    drop((second, server));
    while rig.link.connections().len() > 1 {
        pause(Duration::from_millis(1)).await;
    }
    rig.pair().await;
}

#[tokio::test]
async fn a_port_that_refuses_from_a_point_on() {
    use gauntlet_network::{Direction, Point};
    let rig = Rig::new().await;
    let (mut client, mut server) = rig.pair().await;
    let at = Point::new(Direction::ToBroker, "heartbeat");
    let id = rig.link.inject(Injection::from(Fault::Refuse).at(at)).await.unwrap();
    drop(rig.pair().await);
    send(&mut client, &heartbeat()).await;
    expect(&mut server, &heartbeat()).await;
    rig.heard.wait(|what| matches!(what, What::Fired { .. })).await;
    while dial(rig.link.addr()).await.is_ok() {
        pause(Duration::from_millis(1)).await;
    }
    assert_eq!(rig.link.fired(id), 1);
}
