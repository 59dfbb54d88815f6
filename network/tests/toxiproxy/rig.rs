//! A Toxiproxy server, ours or the real one, its HTTP API, and an upstream that echoes.

use std::{
    collections::BTreeMap,
    future::Future,
    io,
    net::SocketAddr,
    process::Stdio,
    time::{Duration, Instant},
};

use gauntlet_network::{
    Seed,
    toxiproxy::{Options, Server},
};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    process::{Child, Command},
    task::JoinSet,
};

/// Everything here takes milliseconds; a busy machine gets this long.
pub const SOON: Duration = Duration::from_secs(10);
/// How long silence is listened to before it counts as silence.
pub const SILENCE: Duration = Duration::from_millis(80);
pub const MS: Duration = Duration::from_millis(1);

pub struct Rig {
    pub api: SocketAddr,
    pub server: Option<Server>,
    /// That of the real one.
    _child: Option<Child>,
}

/// What came back.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    pub body: String,
}

impl Reply {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(String::as_str).unwrap_or_default()
    }
}

impl Rig {
    pub async fn new() -> Self {
        Self::with(Options { seed: Seed(42), ..Options::default() }).await
    }

    pub async fn with(options: Options) -> Self {
        let server = Server::start("127.0.0.1:0", options).await.unwrap();
        Self { api: server.addr(), server: Some(server), _child: None }
    }

    /// The real one, if there is one.
    pub async fn real() -> Option<Self> {
        let program = std::env::var_os("TOXIPROXY_BIN")?;
        let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
        let child = Command::new(program)
            .args(["-host", "127.0.0.1", "-port", &port.to_string(), "-proxy-metrics"])
            .env("LOG_LEVEL", "error")
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let api = SocketAddr::from(([127, 0, 0, 1], port));
        let until = Instant::now() + SOON;
        while TcpStream::connect(api).await.is_err() {
            assert!(Instant::now() < until, "the real Toxiproxy does not listen on {api}");
            pause(5 * MS).await;
        }
        Some(Self { api, server: None, _child: Some(child) })
    }

    /// One request on a connection of its own.
    pub async fn request(&self, method: &str, path: &str, body: &str) -> Reply {
        self.request_as("gauntlet/1", method, path, body).await
    }

    pub async fn request_as(&self, agent: &str, method: &str, path: &str, body: &str) -> Reply {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: toxiproxy\r\nUser-Agent: {agent}\r\nConnection: close\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let answer = async {
            let mut stream = TcpStream::connect(self.api).await.unwrap();
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).await.unwrap();
            String::from_utf8(answer).unwrap()
        };
        let answer = soon(&format!("{method} {path} is answered"), answer).await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let header = |line: &str| {
            let (name, value) = line.split_once(": ").unwrap();
            (name.to_lowercase(), value.to_owned())
        };
        Reply { status, headers: lines.map(header).collect(), body: body.to_owned() }
    }

    /// A request that succeeds.
    pub async fn ok(&self, method: &str, path: &str, body: &str) -> Reply {
        let reply = self.request(method, path, body).await;
        assert!((200..300).contains(&reply.status), "{method} {path} {body}: {reply:?}");
        reply
    }

    /// A proxy called `p` to that upstream; where it listens.
    pub async fn proxy(&self, upstream: SocketAddr) -> SocketAddr {
        let body = format!(r#"{{"name":"p","listen":"127.0.0.1:0","upstream":"{upstream}"}}"#);
        self.ok("POST", "/proxies", &body).await.json()["listen"].as_str().unwrap().parse().unwrap()
    }

    /// A toxic on it; its name.
    pub async fn toxic(&self, body: &str) -> String {
        let reply = self.ok("POST", "/proxies/p/toxics", body).await;
        reply.json()["name"].as_str().unwrap().to_owned()
    }

    pub async fn toxics(&self) -> Vec<String> {
        let json = self.ok("GET", "/proxies/p/toxics", "").await.json();
        let name = |toxic: &Value| toxic["name"].as_str().unwrap().to_owned();
        json.as_array().unwrap().iter().map(name).collect()
    }
}

/// An upstream that gives back what it gets, until it is dropped.
pub struct Echo {
    pub addr: SocketAddr,
    _task: JoinSet<()>,
}

impl Echo {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let mut task = JoinSet::new();
        task.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                connections.spawn(async move {
                    let _ = stream.set_nodelay(true);
                    let (mut read, mut write) = stream.split();
                    let _ = tokio::io::copy(&mut read, &mut write).await;
                    let _ = write.shutdown().await;
                });
            }
        });
        Self { addr, _task: task }
    }
}

/// The two ends of one connection through a proxy.
pub async fn pair(proxy: SocketAddr, upstream: &TcpListener) -> (TcpStream, TcpStream) {
    let client = dial(proxy).await;
    let (server, _) = soon("the upstream is dialed", upstream.accept()).await.unwrap();
    server.set_nodelay(true).unwrap();
    (client, server)
}

pub async fn upstream() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    (listener, addr)
}

pub async fn pause(duration: Duration) {
    tokio::time::sleep_until(tokio::time::Instant::now() + duration).await;
}

pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(SOON, future)
        .await
        .unwrap_or_else(|_| panic!("not within {SOON:?}: {what}"))
}

pub async fn dial(addr: SocketAddr) -> TcpStream {
    let stream = soon("the proxy is dialed", TcpStream::connect(addr)).await.unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

pub async fn send(stream: &mut TcpStream, bytes: &[u8]) {
    soon("written", stream.write_all(bytes)).await.unwrap();
}

pub async fn expect(stream: &mut TcpStream, bytes: &[u8]) {
    let mut read = vec![0; bytes.len()];
    soon("read", stream.read_exact(&mut read)).await.unwrap();
    assert!(read == bytes, "read {} other octets: {read:02x?}", read.len());
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

pub async fn expect_end(stream: &mut TcpStream) {
    assert_eq!(rest(stream).await, (vec![], None));
}

pub async fn expect_reset(stream: &mut TcpStream) {
    assert_eq!(rest(stream).await, (vec![], Some(io::ErrorKind::ConnectionReset)));
}

/// Nothing can be read, not even an end.
pub async fn expect_silence(stream: &mut TcpStream) {
    let mut octet = [0];
    let read = tokio::time::timeout(SILENCE, stream.read(&mut octet)).await;
    assert!(read.is_err(), "not silent: {read:?}");
}

/// How long an echo takes.
pub async fn echo(stream: &mut TcpStream) -> Duration {
    let start = Instant::now();
    send(stream, b"hello").await;
    expect(stream, b"hello").await;
    start.elapsed()
}

/// Looks until it holds.
pub async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + SOON;
    while !holds().await {
        assert!(Instant::now() < deadline, "never came true: {what}");
        pause(2 * MS).await;
    }
}
