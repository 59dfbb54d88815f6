//! What a change costs: adding a toxic to a proxy with one connection, and with 500.

use std::time::{Duration, Instant};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::rig::{Echo, Rig, dial, echo, soon};

/// Far above what it takes (see `--nocapture`), and far below what waiting for anybody would.
const BOUND: Duration = Duration::from_millis(100);

/// A request on a connection that is kept, and how long its answer takes.
async fn ask(api: &mut TcpStream, method: &str, path: &str, body: &str) -> Duration {
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: t\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let (start, mut answer) = (Instant::now(), [0; 4096]);
    api.write_all(request.as_bytes()).await.unwrap();
    let n = soon("an answer", api.read(&mut answer)).await.unwrap();
    let took = start.elapsed();
    let answer = str::from_utf8(&answer[..n]).unwrap();
    assert!(answer.starts_with("HTTP/1.1 20"), "{answer}");
    took
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::print_stdout, reason = "what was measured is worth reading with --nocapture")]
async fn a_toxic_is_cheap_to_add_however_many_connections_there_are() {
    let (rig, server) = (Rig::new().await, Echo::start().await);
    let proxy = rig.proxy(server.addr).await;
    let mut api = dial(rig.api).await;
    let mut live = Vec::new();
    for connections in [1, 500] {
        while live.len() < connections {
            let mut client = dial(proxy).await;
            echo(&mut client).await;
            live.push(client);
        }
        let (mut added, mut removed) = (Vec::new(), Vec::new());
        for _ in 0..100 {
            let body = r#"{"type":"latency","attributes":{"latency":1}}"#;
            added.push(ask(&mut api, "POST", "/proxies/p/toxics", body).await);
            removed.push(ask(&mut api, "DELETE", "/proxies/p/toxics/latency_downstream", "").await);
        }
        added.sort();
        removed.sort();
        println!(
            "{connections} connections: a toxic is added in {:?} (median; 90 %: {:?}), removed in {:?}",
            added[50], added[90], removed[50]
        );
        assert!(added[50] < BOUND, "{added:?}");
    }
    let start = Instant::now();
    for client in &mut live {
        echo(client).await;
    }
    println!("500 echoes after it: {:?}", start.elapsed());
}
