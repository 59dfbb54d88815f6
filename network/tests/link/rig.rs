//! A link between a client and an upstream of the test's own, and what its taps heard.

use std::{
    future::Future,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use gauntlet_network::{Builder, Event, Link, Seed, Tap, What};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// Everything here takes milliseconds; a busy machine gets this long.
pub const SOON: Duration = Duration::from_secs(10);
/// How long silence is listened to before it counts as silence.
pub const SILENCE: Duration = Duration::from_millis(60);

pub struct Rig {
    pub link: Link,
    pub upstream: TcpListener,
    pub heard: Arc<Heard>,
}

#[derive(Default)]
pub struct Heard(Mutex<Vec<Event>>);

impl Tap for Heard {
    fn record(&self, event: Event) {
        self.0.lock().unwrap().push(event);
    }
}

impl Heard {
    pub fn all(&self) -> Vec<What> {
        self.0.lock().unwrap().iter().map(|event| event.what.clone()).collect()
    }

    pub fn events(&self) -> Vec<Event> {
        self.0.lock().unwrap().clone()
    }

    /// Waits until something like that was heard.
    pub async fn wait(&self, wanted: impl Fn(&What) -> bool) -> What {
        let until = Instant::now() + SOON;
        loop {
            if let Some(what) = self.all().into_iter().find(&wanted) {
                return what;
            }
            assert!(Instant::now() < until, "never heard; heard: {:#?}", self.all());
            pause(Duration::from_millis(1)).await;
        }
    }
}

pub async fn pause(duration: Duration) {
    tokio::time::sleep_until(tokio::time::Instant::now() + duration).await;
}

impl Rig {
    pub async fn new() -> Self {
        Self::with(|builder| builder).await
    }

    pub async fn with(more: impl FnOnce(Builder) -> Builder) -> Self {
        let upstream = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let heard = Arc::new(Heard::default());
        let builder = Link::builder("test")
            .upstream(upstream.local_addr().unwrap())
            .tap(Arc::clone(&heard) as Arc<dyn Tap>)
            .seed(Seed(42));
        let link = more(builder).start().await.unwrap();
        Self { link, upstream, heard }
    }

    /// A client, and nothing said about the upstream.
    pub async fn client(&self) -> TcpStream {
        dial(self.link.addr()).await.unwrap()
    }

    pub async fn served(&self) -> TcpStream {
        let (stream, _) = soon("the upstream is dialed", self.upstream.accept()).await.unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    }

    /// A client and the upstream's end of the same connection.
    pub async fn pair(&self) -> (TcpStream, TcpStream) {
        let dialed = |heard: &Heard| {
            heard.all().iter().filter(|what| matches!(what, What::Dialed { .. })).count()
        };
        let before = dialed(&self.heard);
        let pair = (self.client().await, self.served().await);
        while dialed(&self.heard) == before {
            pause(Duration::from_millis(1)).await;
        }
        pair
    }
}

pub async fn dial(addr: SocketAddr) -> io::Result<TcpStream> {
    let stream = soon("the link is dialed", TcpStream::connect(addr)).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(SOON, future)
        .await
        .unwrap_or_else(|_| panic!("not within {SOON:?}: {what}"))
}

pub async fn send(stream: &mut TcpStream, bytes: &[u8]) {
    soon("written", stream.write_all(bytes)).await.unwrap();
}

/// Reads exactly what is expected.
pub async fn expect(stream: &mut TcpStream, bytes: &[u8]) {
    let mut read = vec![0; bytes.len()];
    soon("read", stream.read_exact(&mut read)).await.unwrap();
    assert!(read == bytes, "read {} other bytes: {read:02x?}", read.len());
}

/// Everything until the end, and the end: `None` is end of file.
pub async fn rest(stream: &mut TcpStream) -> (Vec<u8>, Option<io::ErrorKind>) {
    let mut all = Vec::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match soon("an end is read", stream.read(&mut buffer)).await {
            Ok(0) => return (all, None),
            Ok(n) => all.extend_from_slice(&buffer[..n]),
            Err(error) => return (all, Some(error.kind())),
        }
    }
}

pub async fn expect_reset(stream: &mut TcpStream) {
    assert_eq!(rest(stream).await, (vec![], Some(io::ErrorKind::ConnectionReset)));
}

pub async fn expect_end(stream: &mut TcpStream) {
    assert_eq!(rest(stream).await, (vec![], None));
}

/// Nothing can be read, not even an end.
pub async fn expect_silence(stream: &mut TcpStream) {
    let mut byte = [0];
    let read = tokio::time::timeout(SILENCE, stream.read(&mut byte)).await;
    assert!(read.is_err(), "not silent: {read:?}");
}

/// A frame of that type on channel 1.
pub fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![kind, 0, 1];
    frame.extend_from_slice(&u32::try_from(payload.len()).unwrap().to_be_bytes());
    frame.extend_from_slice(payload);
    frame.push(0xCE);
    frame
}

/// `basic.ack` of one tag: 21 bytes.
pub fn ack(tag: u64) -> Vec<u8> {
    let mut payload = vec![0, 60, 0, 80];
    payload.extend_from_slice(&tag.to_be_bytes());
    payload.push(0);
    frame(1, &payload)
}

pub fn heartbeat() -> Vec<u8> {
    vec![8, 0, 0, 0, 0, 0, 0, 0xCE]
}

pub fn body(payload: &[u8]) -> Vec<u8> {
    frame(3, payload)
}
