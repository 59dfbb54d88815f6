//! Toxiproxy itself, where `TOXIPROXY_BIN` names its server: one process a path, driven by its HTTP API.

use std::{
    env, io,
    io::{BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use gauntlet_network::Fault;

/// How long it may take to start.
const STARTED: Duration = Duration::from_secs(10);

/// Its binary, if there is one.
pub fn binary() -> Option<String> {
    env::var("TOXIPROXY_BIN").ok().filter(|path| !path.is_empty())
}

/// A server with one proxy called `bench`. Dropped, it is killed.
pub struct Toxiproxy {
    child: Child,
    api: BufReader<TcpStream>,
    /// Where its proxy listens.
    pub near: SocketAddr,
}

impl Toxiproxy {
    pub fn start(upstream: SocketAddr) -> io::Result<Self> {
        let binary = binary().ok_or_else(|| io::Error::other("TOXIPROXY_BIN is not set"))?;
        let [port, near] = [free_port()?, free_port()?];
        let mut child = Command::new(&binary)
            .args(["-host", "127.0.0.1", "-port", &port.to_string()])
            .env("LOG_LEVEL", "fatal")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| io::Error::new(error.kind(), format!("{binary}: {error}")))?;
        let until = Instant::now() + STARTED;
        let api = loop {
            match TcpStream::connect((Ipv4Addr::LOCALHOST, port)) {
                Ok(api) => break BufReader::new(api),
                Err(error) if Instant::now() > until => {
                    let _ = child.kill();
                    let _ = child.wait();
                    return Err(io::Error::other(format!("{binary} does not answer: {error}")));
                }
                Err(_) => thread::yield_now(),
            }
        };
        api.get_ref().set_nodelay(true)?;
        let near = SocketAddr::from((Ipv4Addr::LOCALHOST, near));
        let mut toxiproxy = Self { child, api, near };
        let proxy = format!(
            r#"{{"name":"bench","listen":"{near}","upstream":"{upstream}","enabled":true}}"#
        );
        toxiproxy.call("POST", "/proxies", &proxy)?;
        Ok(toxiproxy)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Adds the toxic for a fault, on the way to the far end.
    pub fn add(&mut self, fault: &Fault) -> io::Result<()> {
        let attributes = match fault {
            Fault::Latency { delay, .. } => format!(r#"{{"latency":{}}}"#, delay.as_millis()),
            Fault::Bandwidth { bytes_per_second, .. } => {
                format!(r#"{{"rate":{}}}"#, bytes_per_second / 1000)
            }
            other => return Err(io::Error::other(format!("no toxic for {other:?}"))),
        };
        let kind = fault.name();
        let toxic = format!(
            r#"{{"name":"bench","type":"{kind}","stream":"upstream","attributes":{attributes}}}"#
        );
        self.call("POST", "/proxies/bench/toxics", &toxic)
    }

    /// Takes it away.
    pub fn remove(&mut self) -> io::Result<()> {
        self.call("DELETE", "/proxies/bench/toxics/bench", "")
    }

    /// One request over the connection that is kept; any status but 2xx is an error.
    fn call(&mut self, method: &str, path: &str, body: &str) -> io::Result<()> {
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: toxiproxy\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        self.api.get_mut().write_all(request.as_bytes())?;
        let (mut line, mut status, mut length) = (String::new(), String::new(), 0);
        while line != "\r\n" {
            line.clear();
            self.api.read_line(&mut line)?;
            if status.is_empty() {
                status.clone_from(&line);
            }
            let line = line.to_ascii_lowercase();
            if let Some(given) = line.strip_prefix("content-length:") {
                length = given.trim().parse().map_err(io::Error::other)?;
            }
        }
        let mut answer = vec![0; length];
        self.api.read_exact(&mut answer)?;
        match status.contains(" 20") {
            true => Ok(()),
            false => Err(io::Error::other(format!(
                "{method} {path}: {} {}",
                status.trim(),
                String::from_utf8_lossy(&answer)
            ))),
        }
    }
}

impl Drop for Toxiproxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port nobody has at the moment.
fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}
