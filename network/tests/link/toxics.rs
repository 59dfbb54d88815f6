//! The toxics of Toxiproxy as faults, and changing a fault in force.

use std::time::{Duration, Instant};

use gauntlet_network::{
    CloseKind, Direction, Fault, FaultError, FaultId, Injection, Link, fault::Toxic,
};
use tokio::net::TcpListener;

use crate::rig::{
    Rig, SILENCE, SOON, dial, expect, expect_end, expect_reset, expect_silence, rest, send, soon,
};

const MS: Duration = Duration::from_millis(1);

fn up(toxic: Toxic) -> Fault {
    Fault::Toxic { way: Some(Direction::ToBroker), toxic }
}

fn down(toxic: Toxic) -> Fault {
    Fault::Toxic { way: Some(Direction::ToClient), toxic }
}

#[tokio::test]
async fn timeout_drops_and_closes_after_so_long_without_a_chunk() {
    let rig = Rig::new().await;
    let (mut client, mut server) = rig.pair().await;
    let start = Instant::now();
    rig.link.inject(up(Toxic::Timeout { timeout: 200 })).await.unwrap();
    for _ in 0..3 {
        crate::rig::pause(100 * MS).await;
        send(&mut client, b"lost").await;
    }
    send(&mut server, b"the other way").await;
    expect(&mut client, b"the other way").await;
    expect_end(&mut server).await;
    assert!(start.elapsed() >= 500 * MS, "chunks put it off: {:?}", start.elapsed());
    expect_end(&mut client).await;
}

#[tokio::test]
async fn a_timeout_of_0_never_closes_and_its_lifting_does() {
    let rig = Rig::new().await;
    let (mut client, mut server) = rig.pair().await;
    let id = rig.link.inject(up(Toxic::Timeout { timeout: 0 })).await.unwrap();
    send(&mut client, b"lost").await;
    expect_silence(&mut server).await;
    let id = rig.link.replace(id, up(Toxic::Timeout { timeout: 3_600_000 })).await.unwrap();
    expect_silence(&mut server).await;
    rig.link.lift(id).await.unwrap();
    expect_end(&mut server).await;
    expect_end(&mut client).await;
}

#[tokio::test]
async fn reset_peer_resets_a_live_connection_idle_or_not() {
    let rig = Rig::new().await;
    let (mut idle, mut server) = rig.pair().await;
    let id = rig.link.inject(down(Toxic::ResetPeer { timeout: 50 })).await.unwrap();
    expect_reset(&mut idle).await;
    expect_reset(&mut server).await;
    // A client that connects under it has time for its first words.
    let (mut client, mut server) = rig.pair().await;
    send(&mut client, b"hello").await;
    expect(&mut server, b"hello").await;
    send(&mut server, b"never").await;
    expect_reset(&mut client).await;
    rig.link.lift(id).await.unwrap();
}

/// A limit that is reached ends the stream when those behind it let the end pass; one of them resets it instead.
#[tokio::test]
async fn a_limit_that_waits_for_a_reset_behind_it_is_reset() {
    let rig = Rig::new().await;
    let (mut client, mut server) = rig.pair().await;
    rig.link.inject(up(Toxic::LimitData { bytes: 4 })).await.unwrap();
    let start = Instant::now();
    rig.link.inject(up(Toxic::ResetPeer { timeout: 100 })).await.unwrap();
    send(&mut client, b"more than that").await;
    expect_reset(&mut client).await;
    expect_reset(&mut server).await;
    assert!(start.elapsed() >= 100 * MS, "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_change_counts_on_and_interrupts_what_waits() {
    let rig = Rig::new().await;
    let (mut client, mut server) = rig.pair().await;
    let limit = rig.link.inject(up(Toxic::LimitData { bytes: 10 })).await.unwrap();
    send(&mut client, &[1; 6]).await;
    expect(&mut server, &[1; 6]).await;
    let latency = Toxic::Latency { latency: 3_600_000, jitter: 0 };
    let latency = rig.link.inject(up(latency)).await.unwrap();
    send(&mut client, &[2; 3]).await;
    expect_silence(&mut server).await;
    let short = up(Toxic::Latency { latency: 1, jitter: 0 });
    let latency = rig.link.replace(latency, short).await.unwrap();
    expect(&mut server, &[2; 3]).await;
    let limit = rig.link.replace(limit, up(Toxic::LimitData { bytes: 12 })).await.unwrap();
    let order: Vec<FaultId> = rig.link.active().iter().map(|active| active.id).collect();
    assert_eq!(order, [limit, latency], "a change keeps its place");
    send(&mut client, &[3; 9]).await;
    assert_eq!(rest(&mut server).await, (vec![3; 3], None));
    expect_end(&mut client).await;
    let gone = rig.link.replace(FaultId(1), up(Toxic::Noop)).await;
    assert!(matches!(gone, Err(FaultError::Unknown { .. })), "{gone:?}");
}

#[tokio::test]
async fn what_is_dropped_has_passed_those_in_front_and_never_comes_to_those_behind() {
    for (first, passes) in [(true, false), (false, true)] {
        let rig = Rig::new().await;
        let (mut client, mut server) = rig.pair().await;
        let (limit, timeout) = (Toxic::LimitData { bytes: 4 }, Toxic::Timeout { timeout: 0 });
        let order = if first { [limit, timeout] } else { [timeout, limit] };
        for toxic in order {
            rig.link.inject(up(toxic)).await.unwrap();
        }
        send(&mut client, b"more than four").await;
        if passes {
            expect_silence(&mut server).await;
        } else {
            expect_end(&mut server).await;
        }
    }
}

#[tokio::test]
async fn latency_does_not_delay_the_end_and_slow_close_delays_a_limits() {
    let rig = Rig::new().await;
    let (client, mut server) = rig.pair().await;
    let id = rig.link.inject(up(Toxic::Latency { latency: 3_600_000, jitter: 0 })).await.unwrap();
    drop(client);
    expect_end(&mut server).await;
    rig.link.lift(id).await.unwrap();
    drop(server);

    let (mut client, mut server) = rig.pair().await;
    rig.link.inject(up(Toxic::LimitData { bytes: 2 })).await.unwrap();
    rig.link.inject(up(Toxic::SlowClose { delay: 150 })).await.unwrap();
    let start = Instant::now();
    send(&mut client, b"four").await;
    expect(&mut server, b"fo").await;
    expect_end(&mut server).await;
    assert!(start.elapsed() >= 150 * MS, "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_rate_of_0_is_a_pause_without_loss() {
    let rig = Rig::new().await;
    let (mut client, mut server) = rig.pair().await;
    let id = rig.link.inject(up(Toxic::Bandwidth { rate: 0 })).await.unwrap();
    send(&mut client, b"later").await;
    expect_silence(&mut server).await;
    rig.link.lift(id).await.unwrap();
    expect(&mut server, b"later").await;
}

#[tokio::test]
async fn a_change_draws_anew() {
    let rig = Rig::new().await;
    let (mut client, mut server) = rig.pair().await;
    let timeout = || Injection::from(up(Toxic::Timeout { timeout: 0 }));
    let id = rig.link.inject(timeout().share(0.0)).await.unwrap();
    send(&mut client, b"a").await;
    expect(&mut server, b"a").await;
    let id = rig.link.replace(id, timeout()).await.unwrap();
    send(&mut client, b"b").await;
    expect_silence(&mut server).await;
    rig.link.replace(id, timeout().share(0.0)).await.unwrap();
    send(&mut client, b"c").await;
    expect(&mut server, b"c").await;
}

#[tokio::test]
async fn an_upstream_is_looked_up_at_each_dial_and_may_be_missing() {
    let upstream = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = upstream.local_addr().unwrap().port();
    let link = Link::builder("named")
        .upstream_name(format!("localhost:{port}"))
        .undialed(CloseKind::Fin)
        .start()
        .await
        .unwrap();
    let mut client = dial(link.addr()).await.unwrap();
    let (mut server, _) = soon("the upstream is dialed", upstream.accept()).await.unwrap();
    send(&mut client, b"hello").await;
    expect(&mut server, b"hello").await;
    let until = Instant::now() + SOON;
    while link.traffic(Direction::ToBroker) != (5, 5) {
        assert!(Instant::now() < until, "{:?}", link.traffic(Direction::ToBroker));
        crate::rig::pause(SILENCE / 10).await;
    }
    drop(upstream);
    let mut orphan = dial(link.addr()).await.unwrap();
    expect_end(&mut orphan).await;
    link.stop().await;
}
