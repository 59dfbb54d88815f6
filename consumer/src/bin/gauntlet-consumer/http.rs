//! `/health` and `/metrics` over the smallest HTTP that probers accept.
//!
//! HTTP/1.0, one request a connection, each within two seconds and in the owner's task set.

use std::{io, time::Duration};

use gauntlet_consumer::Consumer;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};

const PATIENCE: Duration = Duration::from_secs(2);
const AT_ONCE: usize = 32;

/// Serve until dropped.
pub(crate) async fn serve(listener: TcpListener, consumer: &Consumer) {
    use futures_util::{StreamExt, stream};
    let connections = stream::unfold(&listener, async |listener| {
        // A failed accept (no descriptors left) is not worth a hot loop: the next one waits.
        Some((listener.accept().await, listener))
    });
    connections
        .for_each_concurrent(AT_ONCE, async |accepted| match accepted {
            Ok((stream, _)) => {
                if let Ok(Err(error)) = timeout(PATIENCE, answer(stream, consumer)).await {
                    tracing::debug!("a health probe failed: {error}");
                }
            }
            Err(error) => {
                tracing::warn!("failed to accept a health probe: {error}");
                let pause = tokio::time::Instant::now() + Duration::from_millis(100);
                tokio::time::sleep_until(pause).await;
            }
        })
        .await;
}

async fn answer(mut stream: TcpStream, consumer: &Consumer) -> io::Result<()> {
    let mut request = [0; 2048];
    let mut filled = 0;
    while filled < request.len() && !request[..filled].ends_with(b"\r\n\r\n") {
        match stream.read(&mut request[filled..]).await? {
            0 => break,
            read => filled += read,
        }
    }
    let request = String::from_utf8_lossy(&request[..filled]).into_owned();
    let mut words = request.split_whitespace();
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let path = target.split('?').next().unwrap_or_default();
    let (status, kind, body) = match (method, path) {
        ("GET" | "HEAD", "/health" | "/healthz" | "/") => health(consumer),
        ("GET" | "HEAD", "/metrics") => {
            ("200 OK", "text/plain; version=0.0.4", consumer.metrics().prometheus())
        }
        ("GET" | "HEAD", _) => ("404 Not Found", "text/plain", "not found\n".to_owned()),
        _ => ("405 Method Not Allowed", "text/plain", "only GET\n".to_owned()),
    };
    let length = body.len();
    let head = format!(
        "HTTP/1.0 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await?;
    if method != "HEAD" {
        stream.write_all(body.as_bytes()).await?;
    }
    stream.shutdown().await
}

fn health(consumer: &Consumer) -> (&'static str, &'static str, String) {
    let health = consumer.health().borrow().clone();
    let status = if health.ready() { "UP" } else { "DOWN" };
    let body = serde_json::json!({ "status": status, "details": { "rabbitmq": health } });
    let code = if health.ready() { "200 OK" } else { "503 Service Unavailable" };
    (code, "application/json", format!("{body}\n"))
}
