//! The first words of AMQP: enough to know that a broker answers, and what it is.
//!
//! A port that accepts proves nothing: Docker's proxy accepts before the broker does, and while it is down.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// One attempt. A broker under load on a small machine was seen to take 0.3 s.
const PATIENCE: Duration = Duration::from_secs(3);
/// Longer than any `connection.start`; a peer that claims more is not a broker.
const LONGEST: usize = 64 * 1024;

/// What a broker says in its `connection.start`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Hello {
    /// Its version, where it names one.
    pub(super) version: Option<String>,
}

/// Connects, sends the protocol header and reads one frame. The error says how far it came.
pub(super) async fn hello(addr: SocketAddr) -> Result<Hello, String> {
    let mut far = "connecting to";
    let attempt = timeout(PATIENCE, async {
        let mut stream = TcpStream::connect(addr).await?;
        far = "sending the AMQP header to";
        stream.write_all(b"AMQP\x00\x00\x09\x01").await?;
        far = "reading a frame from";
        let mut header = [0; 7];
        stream.read_exact(&mut header).await?;
        let length = u32::from_be_bytes([header[3], header[4], header[5], header[6]]) as usize;
        if header[..3] != [1, 0, 0] || length > LONGEST {
            return Ok(Err(format!(
                "{addr} answers the AMQP header with {:?}",
                String::from_utf8_lossy(&header)
            )));
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await?;
        Ok::<_, std::io::Error>(Ok(Hello { version: version(&body) }))
    });
    match attempt.await {
        Ok(Ok(said)) => said,
        Ok(Err(error)) => Err(format!("{far} {addr}: {error}")),
        Err(_late) => Err(format!("{far} {addr}: nothing for {} s", PATIENCE.as_secs())),
    }
}

/// The long string named `version` in the server properties; the table's other fields are of no interest here.
fn version(start: &[u8]) -> Option<String> {
    const KEY: &[u8] = b"\x07versionS";
    let at = start.windows(KEY.len()).position(|window| window == KEY)? + KEY.len();
    let length = u32::from_be_bytes(start.get(at..at + 4)?.try_into().ok()?) as usize;
    let text = start.get(at + 4..at.checked_add(4)?.checked_add(length)?)?;
    String::from_utf8(text.to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    async fn check(answer: &'static [u8], expect: &str) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let addr = listener.local_addr().expect("a bound address");
        let serve = async {
            let (mut peer, _) = listener.accept().await.expect("a client");
            let mut header = [0; 8];
            peer.read_exact(&mut header).await.expect("the header");
            peer.write_all(answer).await.expect("the answer is sent");
        };
        let (said, ()) = tokio::join!(hello(addr), serve);
        let said = format!("{said:?}");
        assert!(said.contains(expect), "{said}");
    }

    #[tokio::test]
    async fn tells_a_broker_from_what_is_not() {
        check(b"\x01\x00\x00\x00\x00\x00\x11....\x07versionS\x00\x00\x00\x01", "version: None")
            .await;
        check(b"\x01\x00\x00\x00\x00\x00\x13\x07versionS\x00\x00\x00\x055.0.1.", "Some(\"5.0.1\")")
            .await;
        check(b"AMQP\x03\x01\x00\x00", "answers the AMQP header with").await;
        check(b"", "reading a frame from").await;
        check(b"\x01\x00\x00\xff\xff\xff\xff", "answers the AMQP header with").await;
    }
}
