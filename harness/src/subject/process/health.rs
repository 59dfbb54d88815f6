//! Asks a copy's health endpoint, as Nginx, Consul, Kubernetes or Prometheus would, and records what changes.
//!
//! Only the subject is asked: before each question it is looked up who listens on the port.

use std::net::SocketAddr;
use std::time::Duration;

use gauntlet_judge::history::{Owner, What};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::recorder::Recorder;
use crate::whose::Whose;

/// Between two questions.
const EVERY: Duration = Duration::from_millis(200);
/// No prober waits longer: Consul gives up after 1 s, Nginx after 2 s.
const PATIENCE: Duration = Duration::from_secs(2);
/// Of an answer, that is read.
const HEAD: u64 = 4096;

/// Programs that hold the published port of a container, for the container.
const FORWARDERS: [&str; 4] = ["docker-proxy", "rootlessport", "pasta", "slirp4netns"];

/// How it is asked.
#[derive(Clone, Debug)]
pub struct Answers {
    /// The path, `/health`.
    pub path: String,
}

impl Answers {
    /// Asks on and on. A copy that has not answered yet need not ever: only from the first answer on it is recorded
    /// that there is none. While somebody else holds the port, that is recorded instead.
    pub(super) async fn watch(
        &self,
        copy: u32,
        at: SocketAddr,
        recorder: &Recorder,
        whose: &Whose,
    ) {
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut last = None;
        let mut taken = None;
        loop {
            ticks.tick().await;
            let stranger = whose.server(at).and_then(stranger);
            if let Some(by) = &stranger {
                if taken != stranger {
                    recorder.record(What::HealthTaken { copy, by: by.clone() });
                }
                // What the subject says next is news.
                (taken, last) = (stranger, None);
                continue;
            }
            taken = None;
            let (status, why) = match timeout(PATIENCE, ask(at, &self.path)).await {
                Ok(Ok(status)) => (Some(status), None),
                Ok(Err(e)) => (None, Some(e.to_string())),
                Err(_) => (None, Some(format!("no answer in {} s", PATIENCE.as_secs()))),
            };
            let answer = (status, why);
            let news = match &last {
                None => answer.0.is_some(),
                Some(last) => *last != answer,
            };
            if news {
                let (status, why) = answer.clone();
                recorder.record(What::Health { copy, status, why });
                last = Some(answer);
            }
        }
    }
}

/// Who it is, where it is not the subject.
fn stranger(owner: Owner) -> Option<String> {
    let Owner::Other { pid, name } = owner else { return None };
    let program = name.split(' ').next().and_then(|path| path.rsplit('/').next());
    let forwards = program.is_some_and(|program| FORWARDERS.contains(&program));
    (!forwards).then(|| format!("process {pid} ({name})"))
}

async fn ask(at: SocketAddr, path: &str) -> std::io::Result<u16> {
    let mut stream = TcpStream::connect(at).await?;
    let question = format!("GET {path} HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n\r\n");
    stream.write_all(question.as_bytes()).await?;
    let mut head = Vec::new();
    let mut answer = (&mut stream).take(HEAD);
    while !head.contains(&b'\n') && answer.read_buf(&mut head).await? > 0 {}
    let line = head.split(|b| *b == b'\n').next().unwrap_or_default();
    let line = String::from_utf8_lossy(line);
    let status = line.strip_prefix("HTTP/").and_then(|l| l.split(' ').nth(1)?.trim().parse().ok());
    status.ok_or_else(|| std::io::Error::other(format!("no HTTP: `{}`", line.trim())))
}
