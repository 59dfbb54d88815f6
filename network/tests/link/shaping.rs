//! Latency, bandwidth, slices, limits, slow close.

use std::{
    io::ErrorKind,
    time::{Duration, Instant},
};

use gauntlet_network::{CloseKind, Direction, Fault};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::rig::*;

const MS: Duration = Duration::from_millis(1);

#[tokio::test]
async fn a_hundred_milliseconds_are_a_hundred_milliseconds() {
    let rig = Rig::new().await;
    let (mut client, mut server) = rig.pair().await;
    let latency =
        Fault::Latency { way: Some(Direction::ToBroker), delay: 100 * MS, jitter: Duration::ZERO };
    let id = rig.link.inject(latency).await.unwrap();
    // The same machine's timer at the same time: what it is late by is not the link's doing.
    let (mut took, mut late) = (Vec::new(), Vec::new());
    for n in 0..11 {
        let start = Instant::now();
        let timer = async {
            pause(100 * MS).await;
            late.push(start.elapsed().saturating_sub(100 * MS));
        };
        let byte = async {
            send(&mut client, &[n]).await;
            expect(&mut server, &[n]).await;
            took.push(start.elapsed());
        };
        tokio::join!(timer, byte);
    }
    took.sort();
    late.sort();
    assert!(took[0] >= 100 * MS, "{took:?}");
    assert!(took[5] <= 102 * MS + late[5], "median of {took:?}; the timer itself: {late:?}");
    println!(
        "latency 100 ms: min {:?}, median {:?}; timer late by {:?}",
        took[0], took[5], late[5]
    );
    assert_eq!(rig.link.fired(id), 1, "once a connection");
    assert_eq!(rig.link.active()[0].bytes, 11);
}

#[tokio::test]
async fn latency_knows_less_than_a_millisecond() {
    let rig = Rig::new().await;
    let (mut client, mut server) = rig.pair().await;
    let delay = Duration::from_micros(2_500);
    let latency = Fault::Latency { way: Some(Direction::ToBroker), delay, jitter: Duration::ZERO };
    rig.link.inject(latency).await.unwrap();
    // Timers of whole milliseconds would never do it below 3 ms; on a busy machine this one may not always.
    let mut took = Vec::new();
    for n in 0..=255 {
        let start = Instant::now();
        send(&mut client, &[n]).await;
        expect(&mut server, &[n]).await;
        took.push(start.elapsed());
        assert!(took.last() >= Some(&delay), "{took:?}");
        if took.last() < Some(&Duration::from_micros(2_950)) {
            return;
        }
    }
    panic!("never below 2.95 ms: {took:?}");
}

#[tokio::test]
async fn latency_delays_each_chunk_from_its_own_arrival_and_keeps_the_order() {
    let rig = Rig::new().await;
    let (mut client, mut server) = rig.pair().await;
    rig.link.inject(Fault::Latency { way: None, delay: 60 * MS, jitter: 50 * MS }).await.unwrap();
    let start = Instant::now();
    for n in 0..50 {
        send(&mut client, &[n]).await;
        pause(MS).await;
    }
    client.shutdown().await.unwrap();
    let (read, end) = rest(&mut server).await;
    assert_eq!((read, end), ((0..50).collect(), None));
    assert!(start.elapsed() < 1000 * MS, "fifty chunks travel at once: {:?}", start.elapsed());
}

#[tokio::test]
async fn lifting_latency_lets_what_waits_go() {
    let rig = Rig::new().await;
    let (mut client, mut server) = rig.pair().await;
    let latency =
        Fault::Latency { way: None, delay: Duration::from_secs(3000), jitter: Duration::ZERO };
    let id = rig.link.inject(latency).await.unwrap();
    send(&mut client, b"patience").await;
    expect_silence(&mut server).await;
    rig.link.lift(id).await.unwrap();
    expect(&mut server, b"patience").await;
}

#[tokio::test]
async fn bandwidth_keeps_its_pace() {
    let rig = Rig::new().await;
    let (mut client, mut server) = rig.pair().await;
    rig.link.inject(Fault::Bandwidth { way: None, bytes_per_second: 1_000_000 }).await.unwrap();
    let bytes = vec![7; 1_500_000];
    let start = Instant::now();
    let (_, read) = tokio::join!(
        async {
            client.write_all(&bytes).await.unwrap();
            client.shutdown().await.unwrap();
        },
        rest(&mut server)
    );
    let took = start.elapsed().as_secs_f64();
    println!("bandwidth 1 MB/s: {:.0} B/s", 1_500_000.0 / took);
    assert_eq!(read.0.len(), bytes.len());
    assert!((1.35..=1.65).contains(&took), "1.5 MB at 1 MB/s took {took} s");
}

#[tokio::test]
async fn slices_are_small_and_apart() {
    let rig = Rig::new().await;
    let (mut client, mut server) = rig.pair().await;
    let slice =
        Fault::Slice { way: Some(Direction::ToBroker), size: 10, variation: 5, pause: 10 * MS };
    rig.link.inject(slice).await.unwrap();
    send(&mut client, &[1; 100]).await;
    let (mut sizes, mut buffer) = (Vec::new(), [0; 100]);
    let start = Instant::now();
    while sizes.iter().sum::<usize>() < 100 {
        sizes.push(soon("a slice", server.read(&mut buffer)).await.unwrap());
    }
    assert!(sizes.iter().filter(|size| (5..=15).contains(*size)).count() >= 5, "{sizes:?}");
    assert!(start.elapsed() >= 60 * MS, "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_limit_passes_exactly_its_bytes() {
    for (how, end) in [(CloseKind::Fin, None), (CloseKind::Rst, Some(ErrorKind::ConnectionReset))] {
        let rig = Rig::new().await;
        let (mut client, mut server) = rig.pair().await;
        send(&mut client, &[0; 50]).await;
        expect(&mut server, &[0; 50]).await;
        rig.link
            .inject(Fault::Limit { way: Some(Direction::ToBroker), bytes: 1000, how })
            .await
            .unwrap();
        send(&mut client, &[1; 700]).await;
        expect(&mut server, &[1; 700]).await;
        send(&mut client, &[2; 700]).await;
        assert_eq!(rest(&mut server).await, (vec![2; 300], end));
        assert_eq!(rest(&mut client).await, (vec![], end));
    }
}

#[tokio::test]
async fn slow_close_delays_the_end_only() {
    let rig = Rig::new().await;
    let (mut client, mut server) = rig.pair().await;
    rig.link.inject(Fault::SlowClose { delay: 80 * MS }).await.unwrap();
    let start = Instant::now();
    send(&mut client, b"last words").await;
    client.shutdown().await.unwrap();
    expect(&mut server, b"last words").await;
    let read = start.elapsed();
    expect_end(&mut server).await;
    assert!(start.elapsed() >= 80 * MS && read < 80 * MS, "{read:?}, {:?}", start.elapsed());
}
