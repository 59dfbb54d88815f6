//! The toxics only ours has, proxies made with their toxics, durations and counts.

use std::time::Instant;

use serde_json::Value;
use tokio::{io::AsyncReadExt, net::TcpStream};

use crate::rig::{
    Echo, MS, Rig, dial, echo, expect, expect_end, expect_reset, expect_silence, pair, send, soon,
    until, upstream,
};

/// A method frame of AMQP without arguments.
fn method(class: u16, method: u16) -> Vec<u8> {
    let mut frame = vec![1, 0, 1, 0, 0, 0, 4];
    frame.extend_from_slice(&class.to_be_bytes());
    frame.extend_from_slice(&method.to_be_bytes());
    frame.push(0xCE);
    frame
}

#[tokio::test]
async fn what_is_wrong_is_quoted() {
    let (rig, server) = (Rig::new().await, Echo::start().await);
    rig.proxy(server.addr).await;
    for (body, says) in [
        (
            r#"{"type":"rst","attributes":{"sides":"both"}}"#,
            r#"rst has no attribute \"sides\": it has side"#,
        ),
        (
            r#"{"type":"rst","attributes":{"side":"left"}}"#,
            r#"side is \"left\", and has to be one of both, client, upstream"#,
        ),
        (r#"{"type":"stall","attributes":{"x":1}}"#, "it has none"),
        (r#"{"type":"limit_connections","attributes":{"max":-1}}"#, "max is -1"),
        (r#"{"type":"frame","attributes":{"frame":"basic.akk"}}"#, "basic.akk"),
        (r#"{"type":"frame","attributes":{"nth":0}}"#, "nth is 0"),
        (r#"{"type":"frame","attributes":{"action":"corrupt","xor":256}}"#, "xor is 256"),
        (r#"{"type":"frame","stream":"both"}"#, "stream was invalid"),
        (r#"{"type":"latency","duration":0}"#, "duration is 0"),
        (r#"{"type":"latency","count":-2}"#, "count is -2"),
        (r#"{"type":"latency","count":"two"}"#, "string"),
        (r#"{"type":"refuse","count":2}"#, "refuse"),
    ] {
        let reply = rig.request("POST", "/proxies/p/toxics", body).await;
        assert_eq!(reply.status, 400, "{body}: {reply:?}");
        assert!(reply.body.contains(says), "{body}: {reply:?}");
    }
    assert!(rig.toxics().await.is_empty());
    let bad = r#"{"name":"q","upstream":"x:1","toxics":[{"type":"bogus"}]}"#;
    assert_eq!(rig.request("POST", "/proxies", bad).await.status, 400);
    assert_eq!(rig.request("GET", "/proxies/q", "").await.status, 404);
}

#[tokio::test]
async fn a_proxy_with_a_bad_toxic_does_not_take_the_others_of_its_list_with_it() {
    let rig = Rig::new().await;
    let list = r#"[{"name":"a","upstream":"x:1","listen":"127.0.0.1:0","toxics":[{"type":"latency"},{"type":"bogus"}]},
                   {"name":"b","upstream":"x:1","listen":"127.0.0.1:0","toxics":[{"type":"noop"}]},
                   {"name":"c","upstream":"x:1","listen":"127.0.0.1:0","toxics":[{"type":"stall","attributes":{"x":1}}]},
                   {"name":"d","upstream":"x:1","listen":"127.0.0.1:0"}]"#;
    let reply = rig.request("POST", "/populate", list).await;
    assert_eq!(reply.status, 400, "{reply:?}");
    let json = reply.json();
    let names = |json: &Value| {
        json["proxies"].as_array().unwrap().iter().map(|p| p["name"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(names(&json), ["b", "d"]);
    let said = json["error"].as_str().unwrap();
    for part in [
        "toxic 2: invalid toxic type (proxy \"a\")",
        "toxic 1: stall has no attribute",
        "(proxy \"c\")",
    ] {
        assert!(said.contains(part), "{said}");
    }
    let there = rig.ok("GET", "/proxies", "").await.json();
    assert_eq!(there.as_object().unwrap().keys().collect::<Vec<_>>(), ["b", "d"]);
    assert_eq!(there["b"]["toxics"][0]["type"], "noop");
}

/// What `toxiproxy-cli toxic add -a KEY=VALUE` sends: a number if it reads as one, text otherwise.
#[tokio::test]
async fn attributes_are_taken_as_the_official_command_sends_them() {
    let (rig, server) = (Rig::new().await, Echo::start().await);
    rig.proxy(server.addr).await;
    for (sent, expect) in [
        (r#""true""#, true),
        ("true", true),
        ("1", true),
        (r#""T""#, true),
        (r#""false""#, false),
        ("false", false),
        ("0", false),
        ("null", false),
    ] {
        let body = format!(r#"{{"type":"blackhole","attributes":{{"resume":{sent}}}}}"#);
        let json = rig.ok("POST", "/proxies/p/toxics", &body).await.json();
        assert_eq!(json["attributes"]["resume"], expect, "{sent}");
        let changed = format!(r#"{{"attributes":{{"resume":{sent}}}}}"#);
        rig.ok("PATCH", "/proxies/p/toxics/blackhole_downstream", &changed).await;
        rig.ok("DELETE", "/proxies/p/toxics/blackhole_downstream", "").await;
    }
    let frame = r#"{"type":"frame","toxicity":1,"attributes":{"action":"cut","frame":"basic.ack","nth":40,"how":"fin"}}"#;
    rig.ok("POST", "/proxies/p/toxics", frame).await;
    for (sent, says) in [(r#""yes""#, "yes"), ("2", "2"), ("[]", "array")] {
        let body = format!(r#"{{"type":"blackhole","attributes":{{"resume":{sent}}}}}"#);
        let reply = rig.request("POST", "/proxies/p/toxics", &body).await;
        assert!(reply.status == 400 && reply.body.contains(says), "{reply:?}");
    }
}

#[tokio::test]
async fn every_kind_is_shown_with_all_its_attributes() {
    let (rig, server) = (Rig::new().await, Echo::start().await);
    rig.proxy(server.addr).await;
    for kind in gauntlet_network::toxiproxy::TOXICS {
        let body = format!(r#"{{"type":"{}","duration":60000}}"#, kind.name);
        let json = rig.ok("POST", "/proxies/p/toxics", &body).await.json();
        let attributes = json["attributes"].as_object().unwrap();
        assert_eq!(attributes.len(), kind.attributes.len(), "{json}");
        assert_eq!(json["duration"], 60000);
        rig.ok("DELETE", &format!("/proxies/p/toxics/{}_downstream", kind.name), "").await;
    }
}

#[tokio::test]
async fn rst_and_fin_end_live_connections_and_are_over() {
    let rig = Rig::new().await;
    let (listener, addr) = upstream().await;
    let proxy = rig.proxy(addr).await;
    for (side, client_hears, server_hears) in
        [("both", true, true), ("client", true, false), ("upstream", false, true)]
    {
        let (mut client, mut server) = pair(proxy, &listener).await;
        rig.toxic(&format!(r#"{{"type":"rst","attributes":{{"side":"{side}"}}}}"#)).await;
        assert!(rig.toxics().await.is_empty(), "what is listed is in force");
        for (stream, hears) in [(&mut client, client_hears), (&mut server, server_hears)] {
            if hears {
                expect_reset(stream).await;
            } else {
                expect_silence(stream).await;
            }
        }
        // Whoever adds and removes finds nothing wrong, once.
        rig.ok("DELETE", "/proxies/p/toxics/rst_downstream", "").await;
        assert_eq!(rig.request("DELETE", "/proxies/p/toxics/rst_downstream", "").await.status, 404);
    }
    let (mut client, mut server) = pair(proxy, &listener).await;
    rig.toxic(r#"{"type":"fin"}"#).await;
    expect_end(&mut client).await;
    expect_end(&mut server).await;
}

#[tokio::test]
async fn a_blackhole_both_ways_resumes() {
    let rig = Rig::new().await;
    let (listener, addr) = upstream().await;
    let (mut client, mut server) = pair(rig.proxy(addr).await, &listener).await;
    let name =
        rig.toxic(r#"{"type":"blackhole","stream":"both","attributes":{"resume":true}}"#).await;
    assert_eq!(name, "blackhole_both");
    send(&mut client, b"up").await;
    send(&mut server, b"down").await;
    expect_silence(&mut server).await;
    expect_silence(&mut client).await;
    rig.ok("DELETE", "/proxies/p/toxics/blackhole_both", "").await;
    expect(&mut server, b"up").await;
    expect(&mut client, b"down").await;
    rig.toxic(r#"{"type":"stall","stream":"upstream"}"#).await;
    send(&mut client, b"stalled").await;
    send(&mut server, b"not stalled").await;
    expect(&mut client, b"not stalled").await;
    expect_silence(&mut server).await;
    rig.ok("POST", "/reset", "").await;
    expect(&mut server, b"stalled").await;
}

#[tokio::test]
async fn the_door_refuses_ignores_closes_and_counts() {
    let (rig, server) = (Rig::new().await, Echo::start().await);
    let proxy = rig.proxy(server.addr).await;
    let mut live = dial(proxy).await;
    echo(&mut live).await;
    rig.toxic(r#"{"type":"refuse"}"#).await;
    assert!(TcpStream::connect(proxy).await.is_err());
    echo(&mut live).await;
    rig.ok("DELETE", "/proxies/p/toxics/refuse_downstream", "").await;
    rig.toxic(r#"{"type":"accept_close","attributes":{"how":"fin"}}"#).await;
    expect_end(&mut dial(proxy).await).await;
    rig.ok("POST", "/reset", "").await;
    rig.toxic(r#"{"type":"ignore","count":1}"#).await;
    let mut ignored = dial(proxy).await;
    send(&mut ignored, b"anybody?").await;
    expect_silence(&mut ignored).await;
    echo(&mut dial(proxy).await).await;
    rig.ok("POST", "/reset", "").await;
    until("the others are gone", async || {
        rig.toxic(r#"{"type":"limit_connections","attributes":{"max":1}}"#).await;
        let mut second = dial(proxy).await;
        let refused = soon("an end", second.read(&mut [0])).await.is_err();
        rig.ok("POST", "/reset", "").await;
        refused
    })
    .await;
    echo(&mut live).await;
}

#[tokio::test]
async fn frames_are_dropped_held_changed_and_cut_at() {
    let rig = Rig::new().await;
    let (listener, addr) = upstream().await;
    let proxy = rig.proxy(addr).await;
    let (mut client, mut server) = pair(proxy, &listener).await;
    let ack = method(60, 80);
    rig.toxic(r#"{"type":"frame","stream":"upstream","attributes":{"frame":"basic.ack","nth":2}}"#)
        .await;
    for _ in 0..3 {
        send(&mut client, &ack).await;
    }
    expect(&mut server, &[&*ack, &*ack].concat()).await;
    until("it is over", async || rig.toxics().await.is_empty()).await;

    let hold = r#""action":"hold","delay":150,"frame":"basic.ack","edge":"after""#;
    rig.toxic(&format!(r#"{{"type":"frame","stream":"upstream","attributes":{{{hold}}}}}"#)).await;
    let start = Instant::now();
    send(&mut client, &[&*ack, b"\x08\0\0\0\0\0\0\xCE"].concat()).await;
    expect(&mut server, &ack).await;
    expect(&mut server, b"\x08\0\0\0\0\0\0\xCE").await;
    assert!(start.elapsed() >= 150 * MS, "{:?}", start.elapsed());

    let cut = r#""action":"cut","frame":"basic.ack","edge":"inside","octets":3,"how":"fin""#;
    rig.toxic(&format!(r#"{{"type":"frame","stream":"upstream","attributes":{{{cut}}}}}"#)).await;
    send(&mut client, &ack).await;
    expect(&mut server, &ack[..3]).await;
    expect_end(&mut server).await;
    expect_end(&mut client).await;
}

#[tokio::test]
async fn a_proxy_is_made_with_its_toxics_at_one_moment() {
    let (rig, server) = (Rig::new().await, Echo::start().await);
    let upstream = server.addr;
    let toxics = r#"[{"type":"latency","attributes":{"latency":120}},{"type":"noop","name":"n"}]"#;
    let body = format!(
        r#"[{{"name":"p","listen":"127.0.0.1:0","upstream":"{upstream}","toxics":{toxics}}}]"#
    );
    let json = rig.ok("POST", "/populate", &body).await.json();
    assert_eq!(rig.toxics().await, ["latency_downstream", "n"]);
    let listen = json["proxies"][0]["listen"].as_str().unwrap().parse().unwrap();
    assert!(echo(&mut dial(listen).await).await >= 120 * MS);
    let refusing = format!(
        r#"{{"name":"q","listen":"127.0.0.1:0","upstream":"{upstream}","toxics":[{{"type":"refuse"}}]}}"#
    );
    let json = rig.ok("POST", "/proxies", &refusing).await.json();
    assert!(TcpStream::connect(json["listen"].as_str().unwrap()).await.is_err());
}

#[tokio::test]
async fn a_duration_ends_by_itself_and_a_count_is_for_the_next_connections() {
    let (rig, server) = (Rig::new().await, Echo::start().await);
    let proxy = rig.proxy(server.addr).await;
    let mut client = dial(proxy).await;
    rig.toxic(r#"{"type":"bandwidth","duration":150,"attributes":{"rate":0}}"#).await;
    let took = echo(&mut client).await;
    assert!(took >= 100 * MS, "{took:?}");
    until("it is over", async || rig.toxics().await.is_empty()).await;
    rig.ok("DELETE", "/proxies/p/toxics/bandwidth_downstream", "").await;
    rig.toxic(r#"{"type":"latency","count":1,"attributes":{"latency":100}}"#).await;
    assert!(echo(&mut client).await < 100 * MS, "it was there before");
    assert!(echo(&mut dial(proxy).await).await >= 100 * MS);
    assert!(echo(&mut dial(proxy).await).await < 100 * MS, "it is the second one");
}
