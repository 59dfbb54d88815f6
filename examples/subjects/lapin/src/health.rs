//! GET anything, and hear whether the consumer consumes: 200 or 503.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A prober that takes longer than this to ask or to listen is let go.
const PATIENCE: Duration = Duration::from_secs(2);

/// Whether the consumer consumes.
pub type Probe = Arc<dyn Fn() -> bool + Send + Sync>;

/// Serves until it is dropped.
pub async fn serve(listener: TcpListener, consuming: Probe) {
    loop {
        if let Ok((socket, _)) = listener.accept().await {
            let consuming = consuming.clone();
            tokio::spawn(async move {
                let _ = tokio::time::timeout(PATIENCE, answer(socket, consuming())).await;
            });
        }
    }
}

async fn answer(mut socket: TcpStream, consuming: bool) -> std::io::Result<()> {
    let mut request = [0; 1024]; // of which nothing matters
    let _ = socket.read(&mut request).await?;
    let (status, body) = match consuming {
        true => ("200 OK", r#"{"status": "UP"}"#),
        false => ("503 Service Unavailable", r#"{"status": "DOWN"}"#),
    };
    let length = body.len();
    let head = format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\n");
    let rest = format!("content-length: {length}\r\nconnection: close\r\n\r\n{body}");
    socket.write_all((head + &rest).as_bytes()).await?;
    socket.shutdown().await
}
