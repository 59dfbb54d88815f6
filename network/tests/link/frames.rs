//! Frames dropped, held, corrupted, truncated.

use std::time::{Duration, Instant};

use gauntlet_network::{Direction, Edge, Fault, FaultId, Injection, Point, Side};
use tokio::io::AsyncWriteExt;

use crate::rig::*;

/// Sends acks 1 to 4 with bodies between them; what arrives must be `expected` of those frames.
async fn check(
    injection: impl Into<Injection>,
    pieces: usize,
    expected: impl Fn(&mut Vec<Vec<u8>>),
) {
    let rig = Rig::new().await;
    let (mut client, mut server) = rig.pair().await;
    let id: FaultId = rig.link.inject(injection).await.unwrap();
    let mut frames: Vec<_> = (1..=4).flat_map(|n| [ack(n), body(&[n as u8; 300])]).collect();
    for piece in frames.concat().chunks(pieces) {
        send(&mut client, piece).await;
    }
    drop(client);
    expected(&mut frames);
    let (read, end) = rest(&mut server).await;
    assert!(read == frames.concat(), "in pieces of {pieces}: {read:02x?}");
    assert_eq!(end, None);
    assert!(rig.link.fired(id) > 0);
}

fn second_ack() -> Point {
    Point::new(Direction::ToBroker, "basic.ack").nth(2)
}

#[tokio::test]
async fn exactly_the_nth_frame_is_dropped() {
    for pieces in [1, 5, 64, 10_000] {
        let one = Injection::from(Fault::Drop).at(second_ack());
        check(one.clone(), pieces, |frames| drop(frames.remove(2))).await;
        check(one.times(2), pieces, |frames| {
            frames.remove(4);
            frames.remove(2);
        })
        .await;
    }
}

#[tokio::test]
async fn exactly_one_byte_is_corrupted() {
    for pieces in [1, 10_000] {
        for byte in [0_u32, 7, 20] {
            let corrupt = Injection::from(Fault::Corrupt { byte, xor: 0x80 }).at(second_ack());
            check(corrupt, pieces, |frames| frames[2][byte as usize] ^= 0x80).await;
        }
    }
}

#[tokio::test]
async fn an_byte_that_comes_later_than_those_before_it_is_corrupted() {
    let rig = Rig::new().await;
    let (mut client, mut server) = rig.pair().await;
    let corrupt = Injection::from(Fault::Corrupt { byte: 20, xor: 0xFF }).at(second_ack());
    let id = rig.link.inject(corrupt).await.unwrap();
    let (mut first, second) = (ack(1), ack(2));
    first.extend_from_slice(&second[..20]);
    send(&mut client, &first).await;
    expect(&mut server, &first).await;
    assert_eq!(rig.link.fired(id), 0, "nothing is changed yet");
    send(&mut client, &second[20..]).await;
    expect(&mut server, &[second[20] ^ 0xFF]).await;
    assert_eq!(rig.link.fired(id), 1);
}

#[tokio::test]
async fn an_byte_to_be_corrupted_keeps_no_cut_at_its_place_waiting() {
    let rig = Rig::new().await;
    let (mut client, mut server) = rig.pair().await;
    let corrupt = Injection::from(Fault::Corrupt { byte: 20, xor: 0xFF }).at(second_ack());
    rig.link.inject(corrupt).await.unwrap();
    let cut = Injection::from(Fault::Fin { side: Side::Both });
    rig.link.inject(cut.at(second_ack().edge(Edge::Inside(20)))).await.unwrap();
    let sent = [&ack(1)[..], &ack(2)[..20]].concat();
    send(&mut client, &sent).await;
    assert_eq!(rest(&mut server).await, (sent, None));
}

#[tokio::test]
async fn a_frame_is_truncated_and_the_stream_goes_on() {
    for pieces in [1, 10_000] {
        let truncate = Injection::from(Fault::Truncate { keep: 9 }).at(second_ack());
        check(truncate, pieces, |frames| frames[2].truncate(9)).await;
    }
}

#[tokio::test]
async fn a_held_frame_holds_what_follows_and_nothing_else() {
    let delay = Duration::from_millis(80);
    for (edge, before) in [(Edge::Before, 0), (Edge::Inside(10), 10), (Edge::After, 21)] {
        let rig = Rig::new().await;
        let (mut client, mut server) = rig.pair().await;
        let hold = Injection::from(Fault::Hold { delay }).at(second_ack().edge(edge));
        rig.link.inject(hold).await.unwrap();
        let start = Instant::now();
        send(&mut client, &[ack(1), ack(2), ack(3)].concat()).await;
        expect(&mut server, &[ack(1), ack(2)[..before].to_vec()].concat()).await;
        let first = start.elapsed();
        expect(&mut server, &[&ack(2)[before..], &ack(3)].concat()).await;
        assert!(first < delay && start.elapsed() >= delay, "{first:?} {:?}", start.elapsed());
    }
}

#[tokio::test]
async fn lifting_a_hold_lets_it_go() {
    let rig = Rig::new().await;
    let (mut client, mut server) = rig.pair().await;
    let hold = Injection::from(Fault::Hold { delay: Duration::from_secs(3000) }).at(second_ack());
    let id = rig.link.inject(hold).await.unwrap();
    send(&mut client, &[ack(1), ack(2)].concat()).await;
    expect(&mut server, &ack(1)).await;
    expect_silence(&mut server).await;
    rig.link.lift(id).await.unwrap();
    expect(&mut server, &ack(2)).await;
}

#[tokio::test]
async fn an_end_waits_behind_a_hold_like_anything_that_follows() {
    let delay = Duration::from_millis(80);
    for lifted in [false, true] {
        let rig = Rig::new().await;
        let (mut client, mut server) = rig.pair().await;
        let delay = if lifted { Duration::from_secs(3000) } else { delay };
        let hold = Injection::from(Fault::Hold { delay }).at(second_ack().edge(Edge::After));
        let id = rig.link.inject(hold).await.unwrap();
        let start = Instant::now();
        send(&mut client, &[ack(1), ack(2)].concat()).await;
        client.shutdown().await.unwrap();
        expect(&mut server, &[ack(1), ack(2)].concat()).await;
        if lifted {
            expect_silence(&mut server).await;
            rig.link.lift(id).await.unwrap();
        }
        expect_end(&mut server).await;
        assert!(lifted || start.elapsed() >= delay, "{:?}", start.elapsed());
    }
}

#[tokio::test]
async fn of_two_holds_the_longer_one_can_be_lifted_alone() {
    let rig = Rig::new().await;
    let (mut client, mut server) = rig.pair().await;
    let (short, long) = (Duration::from_millis(80), Duration::from_secs(3000));
    let hold = |delay| Injection::from(Fault::Hold { delay }).at(second_ack());
    let longer = rig.link.inject(hold(long)).await.unwrap();
    rig.link.inject(hold(short)).await.unwrap();
    let start = Instant::now();
    send(&mut client, &[ack(1), ack(2)].concat()).await;
    expect(&mut server, &ack(1)).await;
    rig.link.lift(longer).await.unwrap();
    expect(&mut server, &ack(2)).await;
    assert!(start.elapsed() >= short, "the shorter is still in force: {:?}", start.elapsed());
}

#[tokio::test]
async fn a_shorter_hold_does_not_end_a_longer_one() {
    let rig = Rig::new().await;
    let (mut client, mut server) = rig.pair().await;
    for millis in [250, 1] {
        let delay = Duration::from_millis(millis);
        rig.link.inject(Injection::from(Fault::Hold { delay }).at(second_ack())).await.unwrap();
    }
    let start = Instant::now();
    send(&mut client, &[ack(1), ack(2)].concat()).await;
    expect(&mut server, &[ack(1), ack(2)].concat()).await;
    assert!(start.elapsed() >= Duration::from_millis(250), "{:?}", start.elapsed());
}
