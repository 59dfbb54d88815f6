//! What each of Toxiproxy's toxics does; the same on the real one, where that does not fail.

use std::time::{Duration, Instant};

use crate::rig::{
    Echo, MS, Rig, dial, echo, expect, expect_end, expect_reset, expect_silence, pair, rest, send,
    upstream,
};

/// Ours, and the real one if it is there.
async fn rigs() -> Vec<Rig> {
    let mut rigs = vec![Rig::new().await];
    rigs.extend(Rig::real().await);
    rigs
}

#[tokio::test]
async fn latency_adds_up_changes_and_goes() {
    for rig in rigs().await {
        let server = Echo::start().await;
        let mut client = dial(rig.proxy(server.addr).await).await;
        rig.toxic(r#"{"type":"latency","attributes":{"latency":60}}"#).await;
        rig.toxic(r#"{"type":"latency","stream":"upstream","attributes":{"latency":60}}"#).await;
        let took = echo(&mut client).await;
        assert!(took >= 120 * MS && took < 1000 * MS, "{took:?}");
        let change = r#"{"attributes":{"latency":200}}"#;
        rig.ok("PATCH", "/proxies/p/toxics/latency_downstream", change).await;
        let took = echo(&mut client).await;
        assert!(took >= 260 * MS && took < 1500 * MS, "{took:?}");
        rig.ok("POST", "/reset", "").await;
        let took = echo(&mut client).await;
        assert!(took < 120 * MS, "{took:?}");
    }
}

#[tokio::test]
async fn a_change_lets_what_waits_go() {
    for rig in rigs().await {
        let (listener, addr) = upstream().await;
        let (mut client, mut server) = pair(rig.proxy(addr).await, &listener).await;
        let latency = r#"{"type":"latency","stream":"upstream","attributes":{"latency":60000}}"#;
        rig.toxic(latency).await;
        send(&mut client, b"patience").await;
        expect_silence(&mut server).await;
        let change = r#"{"attributes":{"latency":1}}"#;
        rig.ok("PATCH", "/proxies/p/toxics/latency_upstream", change).await;
        expect(&mut server, b"patience").await;
        rig.ok("DELETE", "/proxies/p/toxics/latency_upstream", "").await;
        send(&mut client, b"and on").await;
        expect(&mut server, b"and on").await;
    }
}

#[tokio::test]
async fn bandwidth_paces_and_0_is_a_pause() {
    for rig in rigs().await {
        let (listener, addr) = upstream().await;
        let (mut client, mut server) = pair(rig.proxy(addr).await, &listener).await;
        let name = rig
            .toxic(r#"{"type":"bandwidth","stream":"upstream","attributes":{"rate":100}}"#)
            .await;
        let (start, octets) = (Instant::now(), vec![7; 50_000]);
        send(&mut client, &octets).await;
        expect(&mut server, &octets).await;
        let took = start.elapsed();
        assert!(took >= 450 * MS && took < 1500 * MS, "50 kB at 100 kB/s took {took:?}");
        let path = format!("/proxies/p/toxics/{name}");
        rig.ok("PATCH", &path, r#"{"attributes":{"rate":0}}"#).await;
        send(&mut client, b"later").await;
        expect_silence(&mut server).await;
        rig.ok("DELETE", &path, "").await;
        expect(&mut server, b"later").await;
    }
}

#[tokio::test]
async fn slow_close_delays_the_end() {
    for rig in rigs().await {
        let (listener, addr) = upstream().await;
        let (mut client, server) = pair(rig.proxy(addr).await, &listener).await;
        rig.toxic(r#"{"type":"slow_close","attributes":{"delay":200}}"#).await;
        let start = Instant::now();
        drop(server);
        expect_end(&mut client).await;
        assert!(start.elapsed() >= 200 * MS, "{:?}", start.elapsed());
    }
}

#[tokio::test]
async fn timeout_closes_after_silence_and_when_it_is_removed() {
    for rig in rigs().await {
        let (listener, addr) = upstream().await;
        let proxy = rig.proxy(addr).await;
        let (mut client, mut server) = pair(proxy, &listener).await;
        rig.toxic(r#"{"type":"timeout","stream":"upstream","attributes":{"timeout":250}}"#).await;
        let start = Instant::now();
        send(&mut client, b"lost").await;
        expect_end(&mut server).await;
        expect_end(&mut client).await;
        assert!(start.elapsed() >= 250 * MS, "{:?}", start.elapsed());
        rig.ok("DELETE", "/proxies/p/toxics/timeout_upstream", "").await;

        let (mut client, mut server) = pair(proxy, &listener).await;
        rig.toxic(r#"{"type":"timeout","attributes":{"timeout":0}}"#).await;
        send(&mut server, b"lost").await;
        expect_silence(&mut client).await;
        rig.ok("DELETE", "/proxies/p/toxics/timeout_downstream", "").await;
        expect_end(&mut client).await;
    }
}

#[tokio::test]
async fn reset_peer_resets_after_the_first_octets() {
    for rig in rigs().await {
        let server = Echo::start().await;
        let proxy = rig.proxy(server.addr).await;
        rig.toxic(r#"{"type":"reset_peer","stream":"upstream","attributes":{"timeout":150}}"#)
            .await;
        let mut client = dial(proxy).await;
        let start = Instant::now();
        send(&mut client, b"hello").await;
        expect_reset(&mut client).await;
        let took = start.elapsed();
        assert!(took >= 150 * MS && took < 1100 * MS, "{took:?}");
    }
}

#[tokio::test]
async fn limit_data_closes_after_its_octets_and_counts_on_through_changes() {
    for rig in rigs().await {
        let (listener, addr) = upstream().await;
        let (mut client, mut server) = pair(rig.proxy(addr).await, &listener).await;
        rig.toxic(r#"{"type":"limit_data","stream":"upstream","attributes":{"bytes":9}}"#).await;
        send(&mut client, b"12345").await;
        expect(&mut server, b"12345").await;
        let change = r#"{"attributes":{"bytes":7}}"#;
        rig.ok("PATCH", "/proxies/p/toxics/limit_data_upstream", change).await;
        send(&mut client, b"67890").await;
        assert_eq!(rest(&mut server).await, (b"67".to_vec(), None));
    }
}

#[tokio::test]
async fn slicer_slices() {
    for rig in rigs().await {
        let (listener, addr) = upstream().await;
        let (mut client, mut server) = pair(rig.proxy(addr).await, &listener).await;
        let attributes = r#"{"average_size":100,"size_variation":20,"delay":2000}"#;
        let slicer =
            format!(r#"{{"type":"slicer","stream":"upstream","attributes":{attributes}}}"#);
        rig.toxic(&slicer).await;
        let (start, octets) = (Instant::now(), vec![3; 4000]);
        send(&mut client, &octets).await;
        expect(&mut server, &octets).await;
        let took = start.elapsed();
        assert!(took >= 50 * MS && took < Duration::from_secs(3), "{took:?}");
    }
}

#[tokio::test]
async fn toxicity_is_drawn_for_each_connection() {
    for rig in rigs().await {
        let server = Echo::start().await;
        let proxy = rig.proxy(server.addr).await;
        let latency = r#"{"type":"latency","toxicity":0.5,"attributes":{"latency":100}}"#;
        rig.toxic(latency).await;
        let mut slow = 0;
        for _ in 0..40 {
            let mut client = dial(proxy).await;
            let first = echo(&mut client).await >= 100 * MS;
            assert_eq!(echo(&mut client).await >= 100 * MS, first, "it stays as it was drawn");
            slow += u32::from(first);
        }
        // Both sides of it are a matter of 1 in 10,000.
        assert!((8..=32).contains(&slow), "{slow} of 40");
    }
}

#[tokio::test]
async fn toxics_stay_in_the_order_they_were_made_in() {
    for rig in rigs().await {
        let server = Echo::start().await;
        rig.proxy(server.addr).await;
        for (name, stream) in [("z", "downstream"), ("m", "upstream"), ("a", "downstream")] {
            rig.toxic(&format!(r#"{{"type":"noop","name":"{name}","stream":"{stream}"}}"#)).await;
        }
        rig.ok("PATCH", "/proxies/p/toxics/z", "{}").await;
        assert_eq!(rig.toxics().await, ["m", "z", "a"]);
    }
}
