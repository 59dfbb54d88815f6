//! What taps hear, and in which order.

use gauntlet_network::{Direction, End, Fault, Injection, Item, Point, Side, What};

use crate::rig::*;

/// One line an event, without times and addresses.
fn line(what: &What) -> String {
    match what {
        What::Accepted { .. } => "accepted".into(),
        What::Dialed { .. } => "dialed".into(),
        What::Wire { end, way, item: Item::Frame(frame) } => format!("{end} {way} {frame}"),
        What::Wire { end, way, item: Item::Garbage { bytes, .. } } => {
            format!("{end} {way} garbage {bytes}")
        }
        What::Ended { end, how } => format!("{end} ended {how:?}"),
        What::Cut { end, how } => format!("{end} cut {how}"),
        What::Closed => "closed".into(),
        What::Injected { fault, name, .. } => format!("{fault} {name}"),
        What::Fired { fault, note, .. } => format!("{fault} fired {note}"),
        What::Lifted { fault } => format!("{fault} lifted"),
        other => format!("{other:?}"),
    }
}

#[tokio::test]
async fn both_ends_are_heard_in_causal_order() {
    let rig = Rig::new().await;
    let (mut client, mut server) = rig.pair().await;
    send(&mut client, &ack(1)).await;
    expect(&mut server, &ack(1)).await;
    rig.heard.wait(|what| matches!(what, What::Wire { end: End::Broker, .. })).await;
    let cut = Injection::from(Fault::Rst { side: Side::Both });
    rig.link.inject(cut.at(Point::new(Direction::ToBroker, "basic.ack"))).await.unwrap();
    send(&mut client, &[heartbeat(), ack(2)].concat()).await;
    expect(&mut server, &heartbeat()).await;
    expect_reset(&mut server).await;
    rig.heard.wait(|what| matches!(what, What::Lifted { .. })).await;
    rig.heard.wait(|what| matches!(what, What::Closed)).await;
    let mut lines: Vec<_> = rig.heard.all().iter().map(line).collect();
    lines.retain(|line| line != "#1 lifted"); // by the link's own task, when it gets to it
    assert_eq!(
        lines,
        [
            "accepted",
            "dialed",
            "client > ch1 basic.ack tag=1",
            "broker > ch1 basic.ack tag=1",
            "#1 rst",
            "client > ch0 heartbeat",
            "client > ch1 basic.ack tag=2",
            "broker > ch0 heartbeat",
            "#1 fired before ch1 basic.ack",
            "client cut rst",
            "broker cut rst",
            "closed",
        ]
    );
    let times: Vec<_> = rig.heard.events().iter().map(|event| event.at).collect();
    assert!(times.is_sorted() || times.len() > 12, "{times:?}");
}

#[tokio::test]
async fn a_frame_counts_at_the_far_end_with_its_last_byte() {
    let rig = Rig::new().await;
    let (mut client, mut server) = rig.pair().await;
    let sent = ack(1);
    send(&mut client, &sent[..20]).await;
    expect(&mut server, &sent[..20]).await;
    assert!(!rig.heard.all().iter().any(|what| matches!(what, What::Wire { .. })));
    send(&mut client, &sent[20..]).await;
    expect(&mut server, &sent[20..]).await;
    rig.heard.wait(|what| matches!(what, What::Wire { end: End::Broker, .. })).await;
}

#[tokio::test]
async fn what_is_no_amqp_is_relayed_and_said_to_be_none() {
    let rig = Rig::new().await;
    let (mut client, mut server) = rig.pair().await;
    send(&mut client, b"GET / HTTP/1.1\r\n").await;
    expect(&mut server, b"GET / HTTP/1.1\r\n").await;
    let garbage = |what: &What| {
        matches!(what, What::Wire { end: End::Broker, item: Item::Garbage { .. }, .. })
    };
    rig.heard.wait(garbage).await;
}
