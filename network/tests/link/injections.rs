//! What is refused, read back, counted; shares, numbers, durations.

use std::time::Duration;

use gauntlet_network::{
    Direction, Edge, Fault, FaultId, Injection, Point, Side,
    fault::{CATALOGUE, Toxic},
};

use crate::rig::*;

async fn refused(injection: impl Into<Injection>, message: &str) {
    let rig = Rig::new().await;
    let error = rig.link.inject(injection).await.unwrap_err();
    assert_eq!(error.to_string(), message);
    assert!(rig.link.active().is_empty() && rig.heard.all().is_empty(), "refused before anything");
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_and_quoted() {
    let rst = || Injection::from(Fault::Rst { side: Side::Both });
    let point = |frame: &str| Point::new(Direction::ToBroker, frame);
    refused(
        rst().at(point("basic.delivery")),
        "no frame is called \"basic.delivery\"; did you mean \"basic.deliver\"? (\"*\" is any frame)",
    )
    .await;
    refused(rst().at(point("*").nth(0)), "nth is 0, and has to be from 1").await;
    refused(rst().share(1.5), "share is 1.5, and has to be from 0 to 1").await;
    refused(rst().share(f64::NAN), "share is NaN, and has to be from 0 to 1").await;
    refused(rst().next_connections(0), "connections is 0, and has to be from 1").await;
    refused(rst().lasting(Duration::ZERO), "lasts is 0s, and has to be above 0").await;
    refused(rst().times(2), "times counts matches of a point, and there is none").await;
    refused(Fault::Drop, "drop acts on a frame: say which with a point").await;
    refused(
        Injection::from(Fault::Drop).at(point("*").edge(Edge::Inside(3))),
        "drop takes a frame as a whole: its point has the edge \"before\", not \"3 bytes into\"",
    )
    .await;
    refused(
        Fault::Bandwidth { way: None, bytes_per_second: 0 },
        "bytes_per_second is 0, and has to be from 1 (a pause without loss is \"stall\")",
    )
    .await;
    refused(
        Fault::SlowClose { delay: Duration::from_secs(3601) },
        "delay is 1h 1s, and has to be 1h at most",
    )
    .await;
    refused(
        Injection::from(Fault::Refuse).share(0.5),
        "refuse concerns the whole link: it takes no share and no number of connections",
    )
    .await;
}

#[tokio::test]
async fn points_need_a_link_that_scans_and_lifting_a_fault() {
    let rig = Rig::with(|builder| builder.scan(false)).await;
    let cut =
        Injection::from(Fault::Rst { side: Side::Both }).at(Point::new(Direction::ToBroker, "*"));
    let error = rig.link.inject(cut).await.unwrap_err().to_string();
    assert_eq!(error, "the link \"test\" was started with scan(false): it knows no points");
    let error = rig.link.lift(FaultId(7)).await.unwrap_err().to_string();
    assert_eq!(error, "no fault #7 was injected into the link \"test\"");
}

#[tokio::test]
async fn what_is_in_force_is_read_back_and_lifted() {
    let rig = Rig::new().await;
    let stall = Injection::from(Fault::Stall { way: None }).share(0.25);
    let id = rig.link.inject(stall.clone()).await.unwrap();
    let active = rig.link.active();
    assert_eq!((active.len(), active[0].id, &active[0].injection), (1, id, &stall));
    rig.link.inject(Fault::Ignore).await.unwrap();
    rig.link.lift_all().await.unwrap();
    assert!(rig.link.active().is_empty());
    rig.link.lift(id).await.unwrap();
}

#[tokio::test]
async fn a_share_is_drawn_from_the_seed_the_same_each_time() {
    let mut runs = Vec::new();
    for _ in 0..2 {
        let rig = Rig::new().await;
        let mut pairs = Vec::new();
        for _ in 0..40 {
            pairs.push(rig.pair().await);
        }
        let cut = Injection::from(Fault::Rst { side: Side::Both }).share(0.5);
        let id = rig.link.inject(cut).await.unwrap();
        let left: Vec<u64> = rig.link.connections().iter().map(|conn| conn.id).collect();
        assert_eq!(left.len() as u64 + rig.link.fired(id), 40);
        runs.push(left);
    }
    assert_eq!(runs[0], runs[1]);
    assert!((10..=30).contains(&runs[0].len()), "{runs:?}");
}

#[tokio::test]
async fn a_reset_that_lasts_cuts_the_newborn_too() {
    let rig = Rig::new().await;
    let cut = Injection::from(Fault::Rst { side: Side::Both }).lasting(Duration::from_secs(60));
    let id = rig.link.inject(cut).await.unwrap();
    expect_reset(&mut rig.client().await).await;
    rig.link.lift(id).await.unwrap();
    rig.pair().await;
}

/// While bytes stream, an injection returns and not one byte more may pass.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_inject_returns_the_next_byte_is_subject_to_it() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let rig = Rig::new().await;
    for _ in 0..20 {
        let (mut client, mut server) = rig.pair().await;
        let mut stream = tokio::task::JoinSet::new();
        stream.spawn(async move { while client.write_all(&[0; 4096]).await.is_ok() {} });
        let mut buffer = vec![0; 1 << 16];
        soon("bytes flow", server.read(&mut buffer)).await.unwrap();
        let id = rig.link.inject(Fault::Blackhole { way: None, resume: false }).await.unwrap();
        // What was written before is in the socket's buffers already: drain it, then silence.
        while let Ok(Ok(n)) =
            tokio::time::timeout(Duration::from_millis(20), server.read(&mut buffer)).await
        {
            assert!(n > 0, "still open");
        }
        expect_silence(&mut server).await;
        stream.shutdown().await;
        rig.link.lift(id).await.unwrap();
    }
}

#[test]
fn every_fault_survives_its_file_format_under_its_catalogued_name() {
    let delay = Duration::from_millis(1500);
    let faults = [
        Fault::Latency { way: None, delay, jitter: Duration::ZERO },
        Fault::Bandwidth { way: Some(Direction::ToBroker), bytes_per_second: 1 },
        Fault::Slice { way: None, size: 1, variation: 0, pause: delay },
        Fault::Limit { way: None, bytes: 0, how: Default::default() },
        Fault::SlowClose { delay },
        Fault::Rst { side: Side::Client },
        Fault::Fin { side: Side::Both },
        Fault::Blackhole { way: None, resume: true },
        Fault::Stall { way: None },
        Fault::Refuse,
        Fault::Ignore,
        Fault::AcceptThenClose { how: Default::default() },
        Fault::LimitConnections { max: 0 },
        Fault::Drop,
        Fault::Hold { delay },
        Fault::Corrupt { byte: 0, xor: 1 },
        Fault::Truncate { keep: 0 },
        Fault::Toxic { way: Some(Direction::ToClient), toxic: Toxic::Timeout { timeout: 1 } },
    ];
    assert_eq!(faults.len(), CATALOGUE.len());
    for (fault, about) in faults.into_iter().zip(CATALOGUE) {
        assert_eq!(fault.name(), about.name);
        let json = serde_json::to_value(&fault).unwrap();
        assert_eq!(json["kind"], about.name);
        for (field, _) in json.as_object().unwrap().iter().filter(|(field, _)| *field != "kind") {
            assert!(about.fields.iter().any(|(name, _)| name == field), "{field} of {json}");
        }
        let point = Point::new(Direction::ToClient, "body").nth(3).edge(Edge::Inside(9));
        let injection = Injection::from(fault).at(point).times(2);
        let text = serde_json::to_string(&injection).unwrap();
        assert_eq!(serde_json::from_str::<Injection>(&text).unwrap(), injection, "{text}");
    }
    let given = r#"{"fault": {"kind": "latency", "delay": "100ms"}, "lasts": "2s"}"#;
    let read: Injection = serde_json::from_str(given).unwrap();
    assert_eq!(read.lasts, Some(Duration::from_secs(2)));
    assert!(serde_json::from_str::<Fault>(r#"{"kind": "stall", "weight": 3}"#).is_err());
}
