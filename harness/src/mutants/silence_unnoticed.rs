//! The habit of `silence-unnoticed`: it sends its heartbeats, and never looks whether any arrive.
//!
//! Stands for php-amqplib#762 and #792. lapin does look; so a relay before it answers for the broker:
//! when the broker says nothing for a while, it makes up the heartbeats that lapin waits for. Towards
//! the broker it changes nothing.

use std::net::SocketAddr;
use std::time::Duration;

use lapin::uri::AMQPUri;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::subject::Job;

/// A heartbeat frame: type 8, channel 0, no payload.
const HEARTBEAT: [u8; 8] = [8, 0, 0, 0, 0, 0, 0, 0xCE];
/// A frame's type, channel and size.
const HEADER: usize = 7;

/// A relay for one connection; it ends with it, or when dropped.
pub(super) struct Relay {
    _tasks: JoinSet<()>,
}

impl Relay {
    /// Starts a relay to the broker of the job; the URL leads to it.
    pub(super) async fn start(job: &Job) -> std::io::Result<(String, Relay)> {
        let uri: AMQPUri = job.url.parse().map_err(std::io::Error::other)?;
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
        let to = format!("{}:{}", uri.authority.host, uri.authority.port);
        let url = job.url.replacen(&to, &listener.local_addr()?.to_string(), 1);
        let patience = Duration::from_secs(job.heartbeat.max(1).into());
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            // Trouble on one side ends both: the sockets close as they are dropped.
            _ = relay(listener, &to, patience).await;
        });
        Ok((url, Relay { _tasks: tasks }))
    }
}

async fn relay(listener: TcpListener, to: &str, patience: Duration) -> std::io::Result<()> {
    let (client, _) = listener.accept().await?;
    drop(listener);
    let broker = TcpStream::connect(to).await?;
    client.set_nodelay(true)?;
    broker.set_nodelay(true)?;
    let (mut from_client, to_client) = client.into_split();
    let (from_broker, mut to_broker) = broker.into_split();
    tokio::select! {
        copied = tokio::io::copy(&mut from_client, &mut to_broker) => copied.map(|_| ()),
        copied = answer(from_broker, to_client, patience) => copied,
    }
}

/// Passes on whole frames, and heartbeats of its own when none come.
async fn answer(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    patience: Duration,
) -> std::io::Result<()> {
    let (mut waiting, mut heard) = (Vec::new(), false);
    loop {
        match timeout(patience, from.read_buf(&mut waiting)).await {
            Ok(Ok(0)) => return Ok(()),
            Ok(Ok(_)) => heard = true,
            Ok(Err(e)) => return Err(e),
            // Before the first frame it is not lapin's heartbeat that waits.
            Err(_) if heard => to.write_all(&HEARTBEAT).await?,
            Err(_) => {}
        }
        while let Some(len) = whole(&waiting) {
            to.write_all(&waiting[..len]).await?;
            waiting.drain(..len);
        }
    }
}

/// The length of the frame at the front, once it is there whole.
fn whole(bytes: &[u8]) -> Option<usize> {
    let size = bytes.get(3..HEADER)?;
    let len = HEADER + size.iter().fold(0, |n, byte| n << 8 | usize::from(*byte)) + 1;
    (bytes.len() >= len).then_some(len)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_passed_on_when_it_is_whole() {
        assert_eq!(whole(&HEARTBEAT), Some(8));
        assert_eq!(whole(&HEARTBEAT[..7]), None);
        assert_eq!(whole(&[1, 0, 1, 0, 0, 0, 2, 9, 9, 0xCE, 8]), Some(10));
        assert_eq!(whole(&[1, 0, 1, 0, 0, 0, 2, 9, 9]), None);
    }
}
