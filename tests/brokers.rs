//! What brokers promise: isolation, restarts that keep what is durable, and nothing left behind.
//!
//! Not here: what single modules of `harness/src/broker` decide (their own tests), faults on brokers (scenarios).

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use gauntlet_harness::broker::{Broker, BrokerError, BrokerSpec, Restart, RunId};
use rstest::rstest;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::support::queue::{QUEUE, Queue, declare, new_vhost, open, ready};
use crate::support::turns::suite;
use crate::support::until::{until, when};
use crate::support::{RUNTIME, broker};

/// A broker that answered a moment ago answers within this.
const SOON: Duration = Duration::from_secs(5);

#[rstest]
fn a_queue_is_seen_in_its_own_virtual_host_only(#[values("container", "local")] kind: &str) {
    let Some(broker) = broker(kind) else { return };
    RUNTIME.block_on(async {
        let mut here = Queue::declare(&broker, "here").await;
        let there = new_vhost("there");
        broker.create_vhost(&there).await.expect("a second one");
        broker.create_vhost(&there).await.expect("one that is there is kept");
        here.publish(3).await;

        let (_connection, channel) = open(&broker, &there).await.expect("it can be entered");
        let unseen = ready(&channel).await.expect_err("the queue is not there").to_string();
        assert!(unseen.contains("NOT_FOUND"), "{unseen}");
        assert_eq!(broker.queue(&there, QUEUE).await.expect("can be asked"), None);
        assert!(broker.queue(&here.vhost, QUEUE).await.expect("can be asked").is_some());

        let (_connection, channel) = open(&broker, &there).await.expect("it can be entered");
        declare(&channel).await.expect("the same name is free");
        assert_eq!(ready(&channel).await.expect("its own queue"), 0);
        broker.delete_vhost(&there).await.expect("it can be deleted");
        broker.delete_vhost(&there).await.expect("one that is gone is no error");
        assert!(open(&broker, &there).await.is_err(), "{there} is deleted");
        assert_eq!(here.left_beside(&BTreeSet::new()).await, *here.published());
        here.delete().await;
    });
}

#[rstest]
fn one_beside_another_restarts_keeps_what_is_durable_and_leaves_nothing(
    #[values("container", "local")] kind: &str,
) {
    let Some(shared) = broker(kind) else { return };
    let _turn = suite();
    RUNTIME.block_on(Box::pin(async {
        let run = RunId::new();
        let spec: BrokerSpec = kind.parse().expect("a kind");
        let own = Broker::start(&spec, &run).await.expect("where one started, a second does");
        let (own, addr) = (Arc::new(own), shared.addr());
        assert_ne!(own.addr(), addr);
        assert_eq!(own.kind(), kind);

        let mut queue = Queue::declare(&own, "own").await;
        assert!(open(&shared, &queue.vhost).await.is_err(), "they share a vhost");
        for how in [Restart::App, Restart::Graceful, Restart::Kill] {
            queue.publish(1).await;
            restart(&own, how).await;
            queue.reconnect().await;
        }
        assert_eq!(queue.left_beside(&BTreeSet::new()).await, *queue.published());
        assert_eq!(own.version().await, shared.version().await);
        shared.ready(SOON).await.expect("the one beside it was not touched");
        assert_eq!(shared.addr(), addr);

        let (mark, addr) = (format!("{run}-"), own.addr());
        assert_ne!(traces(&mark), Vec::<String>::new(), "what runs leaves traces that can be seen");
        own.stop().await.expect("it stops");
        assert_eq!(traces(&mark), Vec::<String>::new());
        assert!(!root().join("ports").join(addr.port().to_string()).exists(), "its port is held");
        assert!(TcpStream::connect(addr).await.is_err(), "something listens at {addr}");
        own.stop().await.expect("again is no error");
        shared.ready(SOON).await.expect("the one beside it was not touched");
    }));
}

/// Takes it down and up. While down nothing answers; the instant given is the one from which AMQP does.
async fn restart(broker: &Broker, how: Restart) {
    broker.down(how).await.expect("it goes down");
    assert!(!answers(broker.addr()).await, "{how:?}: down, and it answers");
    let (began, enough, addr) = (Instant::now(), CancellationToken::new(), broker.addr());
    let mut prober = JoinSet::new();
    prober.spawn(probe(addr, enough.clone()));
    let up = broker.up().await.expect("it comes up");
    let returned = Instant::now();
    enough.cancel();
    let probes = prober.join_next().await.expect("one was started").expect("it does not panic");

    assert_eq!(broker.addr(), addr, "{how:?}: clients find it where it was");
    assert!(answers(addr).await, "{how:?}: up, and it does not answer");
    assert!(began <= up && up <= returned, "{how:?}");
    let late = probes.iter().find(|probe| probe.answered.is_none() && probe.begun > up);
    assert!(late.is_none(), "{how:?}: no answer after it was said to answer");
    // Two lookers, each every few ms, on a machine with other things to do.
    let slack = Duration::from_secs(3);
    if let Some(first) = probes.iter().find_map(|probe| probe.answered) {
        assert!(up <= first + slack, "{how:?}: it answered {:?} before it was said", up - first);
    }
}

struct Probe {
    begun: Instant,
    answered: Option<Instant>,
}

async fn probe(addr: SocketAddr, enough: CancellationToken) -> Vec<Probe> {
    let mut probes = Vec::new();
    let mut ticks = tokio::time::interval(Duration::from_millis(10));
    while !enough.is_cancelled() {
        ticks.tick().await;
        let begun = Instant::now();
        let answered = answers(addr).await.then(Instant::now);
        probes.push(Probe { begun, answered });
    }
    probes
}

/// Whether a frame comes back for the AMQP header.
async fn answers(addr: SocketAddr) -> bool {
    let attempt = timeout(SOON, async {
        let mut stream = TcpStream::connect(addr).await?;
        stream.write_all(b"AMQP\x00\x00\x09\x01").await?;
        stream.read_u8().await
    });
    matches!(attempt.await, Ok(Ok(1)))
}

#[test]
fn nothing_is_left_when_its_starter_is_killed() {
    let Some(_there_is_a_server) = broker("local") else { return };
    let _turn = suite();
    let out = tempfile::tempdir().expect("a directory for the run");
    RUNTIME.block_on(async {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gauntlet"));
        command.args(["run", "blackhole", "--broker", "local", "--out"]).arg(out.path());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut starter = command.kill_on_drop(true).spawn().expect("gauntlet starts");
        let mark = owner_of(starter.id().expect("it was not waited for"));
        let mut lines = BufReader::new(starter.stdout.take().expect("piped")).lines();
        let ready = timeout(Duration::from_secs(150), async {
            while let Some(line) = lines.next_line().await.expect("stdout is text") {
                if line.contains("ready after") {
                    return true;
                }
            }
            false
        });
        assert_eq!(ready.await, Ok(true), "its broker is ready");
        let before = traces(&mark);
        assert!(before.iter().any(|trace| trace.starts_with("process")), "{before:?}");
        assert!(before.iter().any(|trace| trace.starts_with("file")), "{before:?}");

        starter.kill().await.expect("it can be killed");
        until("nothing is left", Duration::from_secs(15), async || {
            let left = traces(&mark);
            when(left.is_empty(), || left.join(", "))
        })
        .await;
    });
}

#[test]
fn an_external_broker_gives_virtual_hosts_and_is_not_controlled() {
    let Some(ours) = broker("local") else { return };
    RUNTIME.block_on(Box::pin(async {
        let external =
            Broker::start(&ours.as_external(), &RunId::new()).await.expect("it is there");
        assert_eq!((external.kind(), external.addr()), ("external", ours.addr()));
        assert!(!external.controllable());

        let external = Arc::new(external);
        let mut queue = Queue::declare(&external, "external").await;
        queue.publish(2).await;
        assert!(ours.queue(&queue.vhost, QUEUE).await.expect("can be asked").is_some());
        assert_eq!(queue.left_beside(&BTreeSet::new()).await, *queue.published());
        queue.delete().await;

        let refused = external.restart(Restart::Kill).await.expect_err("it is not ours");
        assert!(matches!(refused, BrokerError::Unsupported { .. }), "{refused}");
        assert!(refused.to_string().contains("use --broker container or --broker local"));
        external.stop().await.expect("there is nothing to stop");
        ours.ready(SOON).await.expect("it was left as it is");
    }));
}

#[test]
fn an_image_that_cannot_be_had_is_quoted_within_seconds() {
    let Some(_docker_works) = broker("container") else { return };
    // No registry listens there, on any machine.
    let image = "127.0.0.1:1/gauntlet/nothing:0.0";
    RUNTIME.block_on(async {
        let spec: BrokerSpec = format!("container:{image}").parse().expect("a name of an image");
        let run = RunId::new();
        let started = timeout(Duration::from_secs(10), Box::pin(Broker::start(&spec, &run)));
        let error = match started.await.expect("within seconds") {
            Ok(_) => panic!("{image} exists"),
            Err(error) => error.to_string(),
        };
        assert!(error.contains(&format!("'{image}'")), "{error}");
        assert!(error.contains("check its name"), "{error}");
        assert_eq!(traces(&format!("{run}-")), Vec::<String>::new());
    });
}

/// Where brokers of this user keep their files.
fn root() -> PathBuf {
    let uid = std::fs::metadata("/proc/self").expect("tests of brokers need a /proc").uid();
    std::env::temp_dir().join(format!("gauntlet-{uid}"))
}

/// As everything of a process's brokers is marked: its pid, and when it started.
fn owner_of(pid: u32) -> String {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
    let fields = stat.rsplit_once(')').expect("a name in parentheses").1;
    let started = fields.split_whitespace().nth(19).expect("there are 52 fields");
    format!("{pid}-{started}-")
}

/// Every process, container, directory and port on this machine that bears `mark`.
fn traces(mark: &str) -> Vec<String> {
    let mut found = Vec::new();
    for process in entries("/proc".into()) {
        for file in ["environ", "cmdline"] {
            let text = std::fs::read(process.join(file)).unwrap_or_default();
            if text.windows(mark.len()).any(|part| part == mark.as_bytes()) {
                let name = std::fs::read_to_string(process.join("comm")).unwrap_or_default();
                found.push(format!("process {} ({})", process.display(), name.trim()));
                break;
            }
        }
    }
    for path in entries(root()).into_iter().chain(entries(root().join("ports"))) {
        let owner = std::fs::read_link(&path).unwrap_or_default();
        if path.to_string_lossy().contains(mark) || owner.to_string_lossy().contains(mark) {
            found.push(format!("file {}", path.display()));
        }
    }
    let format = ["--format", "{{.Names}} {{.Labels}}"];
    let docker = std::process::Command::new("docker").args(["ps", "--all"]).args(format).output();
    // Without a docker command there are no containers of ours.
    let listed = docker.map(|output| output.stdout).unwrap_or_default();
    let listed = String::from_utf8_lossy(&listed).into_owned();
    found.extend(listed.lines().filter(|it| it.contains(mark)).map(|it| format!("container {it}")));
    found
}

fn entries(dir: PathBuf) -> Vec<PathBuf> {
    std::fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}
