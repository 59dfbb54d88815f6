//! Where Toxiproxy crashes, hangs or loses octets, and ours does not: each row of the table of
//! differences in `docs/toxiproxy.md` names its test.

use std::{collections::BTreeSet, time::Instant};

use gauntlet_network::{Seed, toxiproxy::Options};
use tokio::{io::AsyncWriteExt, net::TcpListener};

use crate::rig::{
    Echo, MS, Rig, dial, echo, expect, expect_end, expect_reset, expect_silence, pair, rest, send,
    soon, upstream,
};

async fn refused(rig: &Rig, body: &str, says: &str) {
    let reply = rig.request("POST", "/proxies/p/toxics", body).await;
    assert_eq!(reply.status, 400, "{body}: {reply:?}");
    assert!(reply.body.contains(says), "{body}: {reply:?}");
}

#[tokio::test]
async fn a_negative_rate_is_refused() {
    let (rig, server) = (Rig::new().await, Echo::start().await);
    rig.proxy(server.addr).await;
    refused(&rig, r#"{"type":"bandwidth","attributes":{"rate":-1}}"#, "rate is -1").await;
    let slicer = r#"{"type":"slicer","attributes":{"average_size":-1}}"#;
    refused(&rig, slicer, "average_size is -1").await;
    assert!(rig.toxics().await.is_empty());
}

#[tokio::test]
async fn a_slice_of_0_does_not_slice() {
    let (rig, server) = (Rig::new().await, Echo::start().await);
    let mut client = dial(rig.proxy(server.addr).await).await;
    rig.toxic(r#"{"type":"slicer"}"#).await;
    echo(&mut client).await;
    let wide = r#"{"attributes":{"average_size":2,"size_variation":1000}}"#;
    rig.ok("PATCH", "/proxies/p/toxics/slicer_downstream", wide).await;
    echo(&mut client).await;
}

#[tokio::test]
async fn a_client_that_does_not_read_blocks_no_request() {
    let rig = Rig::new().await;
    let (listener, addr) = upstream().await;
    let (mut client, mut server) = pair(rig.proxy(addr).await, &listener).await;
    let octets: Vec<u8> = (0..8_000_000_u32).map(|n| (n % 251) as u8).collect();
    let (read, written) = (
        async {
            for n in 0..20 {
                let body =
                    format!(r#"{{"type":"latency","name":"l{n}","attributes":{{"latency":5}}}}"#);
                rig.toxic(&body).await;
                rig.ok(
                    "PATCH",
                    &format!("/proxies/p/toxics/l{n}"),
                    r#"{"attributes":{"latency":1}}"#,
                )
                .await;
                rig.ok("DELETE", &format!("/proxies/p/toxics/l{n}"), "").await;
            }
            let start = Instant::now();
            rig.toxic(r#"{"type":"noop"}"#).await;
            rest(&mut client).await.0 == octets && start.elapsed() < crate::rig::SOON
        },
        async {
            server.write_all(&octets).await.unwrap();
            drop(server);
        },
    );
    let (whole, ()) = soon("all of it comes", async { tokio::join!(read, written) }).await;
    assert!(whole, "not an octet is lost by toxics that come and go");
}

#[tokio::test]
async fn half_a_close_is_half_a_close() {
    let rig = Rig::new().await;
    let (listener, addr) = upstream().await;
    let (mut client, mut server) = pair(rig.proxy(addr).await, &listener).await;
    send(&mut client, b"question").await;
    client.shutdown().await.unwrap();
    assert_eq!(rest(&mut server).await, (b"question".to_vec(), None));
    send(&mut server, b"answer").await;
    expect(&mut client, b"answer").await;
}

#[tokio::test]
async fn a_reset_is_passed_on() {
    let rig = Rig::new().await;
    let (listener, addr) = upstream().await;
    let (mut client, server) = pair(rig.proxy(addr).await, &listener).await;
    let mut server = server;
    send(&mut client, b"x").await;
    expect(&mut server, b"x").await;
    socket2::SockRef::from(&server).set_linger(Some(std::time::Duration::ZERO)).unwrap();
    drop(server);
    expect_reset(&mut client).await;
}

#[tokio::test]
async fn a_dial_that_hangs_keeps_nobody_waiting() {
    let rig = Rig::new().await;
    // A full backlog answers no more.
    let full = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    full.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    full.listen(0).unwrap();
    let addr = full.local_addr().unwrap().as_socket().unwrap();
    let _seat = std::net::TcpStream::connect(addr).unwrap();
    let proxy = rig.proxy(addr).await;
    let _hanging = [dial(proxy).await, dial(proxy).await];
    soon("requests are answered", async {
        rig.toxic(r#"{"type":"noop"}"#).await;
        rig.ok("PATCH", "/proxies/p", r#"{"enabled":false}"#).await;
    })
    .await;
}

#[tokio::test]
async fn an_idle_connection_is_reset_by_reset_peer() {
    let rig = Rig::new().await;
    let (listener, addr) = upstream().await;
    let proxy = rig.proxy(addr).await;
    let (mut client, mut server) = pair(proxy, &listener).await;
    rig.toxic(r#"{"type":"reset_peer","attributes":{"timeout":50}}"#).await;
    expect_reset(&mut client).await;
    expect_reset(&mut server).await;
    // And one that is new, and says nothing.
    let (mut client, _server) = pair(proxy, &listener).await;
    expect_reset(&mut client).await;
}

#[tokio::test]
async fn a_toxicity_of_0_resets_nobody() {
    let (rig, server) = (Rig::new().await, Echo::start().await);
    let proxy = rig.proxy(server.addr).await;
    rig.toxic(r#"{"type":"reset_peer","toxicity":0}"#).await;
    let mut client = dial(proxy).await;
    echo(&mut client).await;
    drop(server);
    rig.ok("PATCH", "/proxies/p", r#"{"enabled":false}"#).await;
    expect_end(&mut client).await;
}

#[tokio::test]
async fn the_seed_decides() {
    let mut drawn = BTreeSet::new();
    for seed in [7, 7, 8] {
        let rig = Rig::with(Options { seed: Seed(seed), ..Options::default() }).await;
        let server = Echo::start().await;
        let proxy = rig.proxy(server.addr).await;
        rig.toxic(r#"{"type":"latency","toxicity":0.5,"attributes":{"latency":80}}"#).await;
        let mut slow = Vec::new();
        for _ in 0..24 {
            slow.push(echo(&mut dial(proxy).await).await >= 80 * MS);
        }
        drawn.insert(slow);
    }
    assert_eq!(drawn.len(), 2, "the same seed twice, and another");
}

#[tokio::test]
async fn a_bad_change_changes_nothing() {
    let (rig, server) = (Rig::new().await, Echo::start().await);
    rig.proxy(server.addr).await;
    rig.toxic(r#"{"type":"latency","attributes":{"latency":1}}"#).await;
    let path = "/proxies/p/toxics/latency_downstream";
    let bad = r#"{"attributes":{"latency":9000,"jitter":"x"}}"#;
    assert_eq!(rig.request("PATCH", path, bad).await.status, 400);
    assert_eq!(rig.ok("GET", path, "").await.json()["attributes"]["latency"], 1);
}

#[tokio::test]
async fn an_upstream_that_refuses_ends_the_client_in_order_though_it_has_sent() {
    let rig = Rig::new().await;
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let mut client = dial(rig.proxy(nobody).await).await;
    let _ = client.write_all(b"hello").await;
    expect_end(&mut client).await;
}

#[tokio::test]
async fn a_request_whose_client_goes_away_is_carried_out() {
    let (rig, server) = (Rig::new().await, Echo::start().await);
    rig.proxy(server.addr).await;
    let body = r#"{"type":"noop"}"#;
    let mut client = dial(rig.api).await;
    let request = format!(
        "POST /proxies/p/toxics HTTP/1.1\r\nHost: t\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    send(&mut client, request.as_bytes()).await;
    drop(client);
    crate::rig::until("the toxic is there", async || !rig.toxics().await.is_empty()).await;
}

#[tokio::test]
async fn latency_keeps_a_silent_client_connected_and_a_stop_ends_everything() {
    let rig = Rig::new().await;
    let (listener, addr) = upstream().await;
    let (mut client, mut server) = pair(rig.proxy(addr).await, &listener).await;
    rig.toxic(r#"{"type":"latency","attributes":{"latency":5}}"#).await;
    expect_silence(&mut client).await;
    rig.server.as_ref().unwrap().stop().await;
    expect_end(&mut client).await;
    expect_end(&mut server).await;
    assert!(tokio::net::TcpStream::connect(rig.api).await.is_err());
}
