//! `gauntlet proxy` as a program, and Toxiproxy's clients at work on it.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::LazyLock;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdout};
use tokio::time::timeout;

use crate::support::{RUNTIME, skip};

/// A busy machine gets this long.
const SOON: Duration = Duration::from_secs(20);

/// The program at work. Dropping it kills it.
pub struct Proxy {
    child: Child,
    _out: BufReader<ChildStdout>,
    /// Where its API is.
    pub addr: String,
}

impl Proxy {
    /// Starts it on any port.
    pub async fn start(args: &[&str]) -> Proxy {
        Proxy::start_with(args, Stdio::inherit()).await
    }

    async fn start_with(args: &[&str], stderr: Stdio) -> Proxy {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_gauntlet"));
        command.args(["proxy", "-host=127.0.0.1", "-port=0"]).args(args).kill_on_drop(true);
        command.env_remove("RUST_LOG").env_remove("LOG_LEVEL");
        let mut child =
            command.stdout(Stdio::piped()).stderr(stderr).spawn().expect("the program starts");
        let mut out = BufReader::new(child.stdout.take().expect("piped"));
        let mut line = String::new();
        let read = timeout(SOON, out.read_line(&mut line)).await;
        read.expect("it says where it is").expect("stdout can be read");
        let addr = line.split("http://").nth(1).and_then(|rest| rest.split(',').next());
        let addr = addr.unwrap_or_else(|| panic!("no address: {line:?}")).to_owned();
        Proxy { child, _out: out, addr }
    }

    /// What it answers to a GET.
    pub async fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(&self.addr).await.expect("it listens");
        let request = format!("GET {path} HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("it reads");
        let mut answer = String::new();
        timeout(SOON, stream.read_to_string(&mut answer)).await.expect("an answer").expect("text");
        answer
    }
}

fn gauntlet(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_gauntlet")).args(args).output().expect("the command runs")
}

#[test]
fn it_begins_with_the_proxies_of_its_file_and_ends_in_order() {
    RUNTIME.block_on(async {
        let dir = tempfile::tempdir().expect("a directory");
        let config = dir.path().join("proxies.json");
        let proxies = r#"[{"name":"a","listen":"127.0.0.1:0","upstream":"x:1","toxics":[{"type":"noop"}]},
                          {"name":"b","listen":"nowhere","upstream":"x:1"}]"#;
        std::fs::write(&config, proxies).expect("a file can be written");
        let config = format!("-config={}", config.display());
        let mut proxy = Proxy::start(&[&config, "-proxy-metrics"]).await;
        let listed = proxy.get("/proxies").await;
        assert!(listed.contains(r#"{"a":{"name":"a","#) && listed.contains("noop"), "{listed}");
        assert!(!listed.contains(r#""b":"#), "{listed}");
        assert!(proxy.get("/metrics").await.starts_with("HTTP/1.1 200"));
        let pid = proxy.child.id().expect("it runs");
        let kill = Command::new("/bin/sh").args(["-c", &format!("kill -TERM {pid}")]).status();
        assert!(kill.expect("there is a shell").success());
        let ended = timeout(SOON, proxy.child.wait()).await.expect("it ends").expect("it ran");
        assert_eq!(ended.code(), Some(0));
    });
}

#[test]
fn a_dial_that_fails_is_logged_as_toxiproxy_does() {
    RUNTIME.block_on(async {
        let dir = tempfile::tempdir().expect("a directory");
        let closed = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port");
        let config = dir.path().join("proxies.json");
        let proxies = format!(
            r#"[{{"name":"a","listen":"127.0.0.1:0","upstream":"{closed}"}},
                {{"name":"b","listen":"127.0.0.1:0","upstream":"no-such-host.invalid:amqp"}}]"#
        );
        std::fs::write(&config, proxies).expect("a file can be written");
        let config = format!("-config={}", config.display());
        let mut proxy = Proxy::start_with(&[&config], Stdio::piped()).await;
        let mut log = BufReader::new(proxy.child.stderr.take().expect("piped")).lines();
        let listed = proxy.get("/proxies").await;
        for (name, error) in [
            ("a", format!("dial tcp {closed}: connect: connection refused")),
            ("b", "dial tcp: lookup no-such-host.invalid: no such host".to_owned()),
        ] {
            let listen = listed.split(&format!(r#""name":"{name}","listen":""#)).nth(1);
            let listen = listen.and_then(|rest| rest.split('"').next()).expect("it listens");
            let mut client = TcpStream::connect(listen).await.expect("it accepts");
            let at = client.local_addr().expect("connected");
            assert_eq!(client.read(&mut [0]).await.ok(), Some(0), "the client is closed in order");
            let line = timeout(SOON, log.next_line()).await.expect("a line").expect("text");
            let line = line.expect("a line");
            let parts = ["ERROR", "Unable to open connection to upstream", name, &error];
            for part in parts.into_iter().chain([at.to_string().as_str()]) {
                assert!(line.contains(part), "no {part} in {line}");
            }
        }
    });
}

#[test]
fn a_port_that_is_taken_is_said_and_the_version_too() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("bound").port().to_string();
    let output = gauntlet(&["proxy", "-host", "127.0.0.1", "-port", &port]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains(&format!("127.0.0.1:{port}")) && said.contains("--port"), "{said}");
    let output = gauntlet(&["proxy", "-version"]);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "toxiproxy-server version 2.12.0\n");
    let output = gauntlet(&["proxy", "-prot=1"]);
    assert_eq!(output.status.code(), Some(64));
}

/// The Python that has toxiproxy-python, as `.ci/run` makes it, or why there is none.
static PYTHON: LazyLock<Result<PathBuf, String>> = LazyLock::new(|| {
    let given = std::env::var_os("GAUNTLET_CLIENTS_PYTHON").map(PathBuf::from);
    let own = || Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("clients/bin/python");
    let python = given.unwrap_or_else(own);
    let asked = Command::new(&python).args(["-c", "import toxiproxy, requests, future"]).output();
    let why = match asked {
        Ok(output) if output.status.success() => return Ok(python),
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            said.trim().lines().last().unwrap_or("it fails").to_owned()
        }
        Err(error) => error.to_string(),
    };
    Err(format!("{}: {why} (tests/clients/README.md says how to have it)", python.display()))
});

#[test]
fn toxiproxy_python_does_all_it_can() {
    let python = match &*PYTHON {
        Ok(python) => python,
        Err(why) => return skip("toxiproxy-python from PyPI", why),
    };
    let proxy = RUNTIME.block_on(Proxy::start(&[]));
    let (host, port) = proxy.addr.rsplit_once(':').expect("a host and a port");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/toxiproxy_python.py");
    let output = Command::new(python).arg(script).args([host, port]).output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}

/// What `toxiproxy_rust` can do. On this thread: its client is blocking.
#[cfg(feature = "toxiproxy")]
#[test]
fn toxiproxy_rust_does_all_it_can() {
    use std::cell::Cell;
    use std::io::{Read, Write};
    use std::time::Instant;

    use toxiproxy_rust::client::Client;
    use toxiproxy_rust::proxy::ProxyPack;

    let upstream = TcpListener::bind("127.0.0.1:0").expect("a port");
    let target = upstream.local_addr().expect("bound");
    let echo = std::thread::spawn(move || {
        // As many as the test makes; a byte each.
        for stream in upstream.incoming().flatten() {
            let (mut stream, mut byte) = (stream, [0]);
            match stream.read(&mut byte) {
                Ok(1) if byte[0] == 0 => return,
                Ok(1) => _ = stream.write_all(&byte),
                _ => {}
            }
        }
    });
    let server = RUNTIME.block_on(Proxy::start(&[]));
    let client = Client::new(server.addr.as_str());
    assert!(client.is_running());
    assert!(client.version().expect("a version").contains("2.12.0"));
    let pack = ProxyPack::new("rust".into(), "127.0.0.1:0".into(), target.to_string());
    let populated = client.populate(vec![pack]).expect("it is populated");
    assert_eq!(populated.len(), 1);
    let listen = client.all().expect("a list")["rust"].proxy_pack.listen.clone();
    let took = |byte: u8| {
        let start = Instant::now();
        let mut stream = std::net::TcpStream::connect(&listen).ok()?;
        stream.write_all(&[byte]).ok()?;
        let _ = stream.read(&mut [0]);
        Some(start.elapsed())
    };
    let proxy = client.find_and_reset_proxy("rust").expect("it is there");
    let slow = Cell::new(None);
    let latency = proxy.with_latency("downstream".into(), 150, 0, 1.0);
    latency.apply(|| slow.set(took(1))).expect("it is applied");
    assert!(slow.get() >= Some(Duration::from_millis(150)), "{slow:?}");
    proxy.with_bandwidth("upstream".into(), 500, 1.0).with_slow_close("downstream".into(), 5, 1.0);
    proxy.with_timeout("downstream".into(), 5, 0.0).with_slicer("upstream".into(), 9, 1, 1, 1.0);
    proxy.with_limit_data("downstream".into(), 1000, 1.0);
    assert_eq!(proxy.toxics().expect("a list").len(), 5);
    proxy.with_down(|| assert_eq!(took(1), None)).expect("it is down");
    client.reset().expect("it is reset");
    assert!(proxy.toxics().expect("a list").is_empty());
    assert!(took(0).is_some());
    echo.join().expect("the upstream ends");
    proxy.delete().expect("it is deleted");
    assert!(client.find_proxy("rust").is_err());
}
