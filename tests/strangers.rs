//! Others who find the ports of a run, or hold one that the subject was given: recorded, and never the subject's fault.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use gauntlet_judge::judgement::{judge, load};
use gauntlet_judge::verdict::{Outcome, Verdict};
use rstest::rstest;

use crate::support::RUNTIME;
use crate::support::program::path;
use crate::support::until::until;

/// How long a stranger stays, and how often it looks for new ports.
const STAY: Duration = Duration::from_millis(20);

/// For a subject to start.
const PATIENCE: Duration = Duration::from_secs(30);

/// Ports of 127.0.0.1 that a process listens on.
fn ports(process: u32) -> Vec<u16> {
    let descriptors = std::fs::read_dir(format!("/proc/{process}/fd")).into_iter().flatten();
    let targets = descriptors.flatten().filter_map(|fd| std::fs::read_link(fd.path()).ok());
    let held: BTreeSet<String> =
        targets.map(|target| target.to_string_lossy().into_owned()).collect();
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap_or_default();
    let listening = table.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [_, local, _, "0A", ..] = fields[..] else { return None };
        let its = held.contains(&format!("socket:[{}]", fields.get(9)?));
        let (_, port) = local.split_once(':').filter(|_| its)?;
        u16::from_str_radix(port, 16).ok()
    });
    listening.collect()
}

/// Connects to every port of the process and says `words`, for as long as it runs; how often.
fn knock(child: &mut Child, words: &[u8], holds: bool) -> usize {
    let (mut knocks, mut held) = (0, Vec::new());
    while child.try_wait().expect("a child can be waited for").is_none() {
        for port in ports(child.id()) {
            // The port may be gone again.
            let Ok(mut stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) else { continue };
            stream.set_read_timeout(Some(STAY)).expect("a time");
            let _ = stream.write_all(words);
            let _ = stream.read(&mut [0; 64]);
            knocks += 1;
            if holds {
                held.push(stream);
            }
        }
    }
    knocks
}

/// A scanner, a browser, and one that holds what it gets: the reference consumer passes all the same, and a fault for
/// the first connection is not used up by theirs.
#[rstest]
#[case::probe(b"", false)]
#[case::http(b"GET / HTTP/1.0\r\n\r\n", false)]
#[case::hold(b"", true)]
fn strangers_at_the_port_are_ignored(#[case] words: &[u8], #[case] holds: bool) {
    let out = tempfile::tempdir().expect("a directory");
    let mut command = Command::new(env!("CARGO_BIN_EXE_gauntlet"));
    command.args(["run", "steady", "rst-idle", "silent-start", "--out"]).arg(out.path());
    command.env_remove("GAUNTLET_BROKER").env_remove("RUST_LOG");
    command.stdout(Stdio::piped()).stderr(Stdio::inherit());
    let mut child = command.spawn().expect("the command can be run");
    let knocks = knock(&mut child, words, holds);
    let output = child.wait_with_output().expect("it has ended");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(knocks > 0, "nobody was there to be disturbed:\n{said}");
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.contains("came from strangers and were ignored"), "{said}");
    for name in ["steady", "rst-idle", "silent-start"] {
        let (plan, history) = load(&out.path().join(name)).expect("a run");
        assert!(!history.strangers().is_empty(), "no stranger in {name}:\n{said}");
        assert_eq!(judge(&plan, &history).verdict, Verdict::Pass, "{name}:\n{said}");
    }
}

/// Another server has the port that the subject was given for its health, and says that all is well.
#[test]
fn another_server_on_the_health_port_is_not_the_subject() {
    let dir = tempfile::tempdir().expect("a directory");
    let (told, go, out) = (dir.path().join("told"), dir.path().join("go"), dir.path().join("out"));
    let made = Command::new("mkfifo").arg(&go).status().expect("mkfifo");
    assert!(made.success());
    let script = format!(
        "echo $GAUNTLET_HEALTH > {}; read line < {}; unset GAUNTLET_HEALTH; exec $CONSUMER",
        told.display(),
        go.display()
    );
    let mut command = Command::new(env!("CARGO_BIN_EXE_gauntlet"));
    command.args(["run", "rst-idle", "--health", "/health", "--out"]).arg(&out);
    command.args(["--", "/bin/sh", "-c", &script]).env("CONSUMER", path());
    command.env_remove("GAUNTLET_BROKER").env_remove("RUST_LOG").stdout(Stdio::null());
    let mut child = command.spawn().expect("the command can be run");
    let told = until("the subject", PATIENCE, async || {
        let text = std::fs::read_to_string(&told).map_err(|e| e.to_string())?;
        text.strip_suffix('\n').map(str::to_owned).ok_or_else(|| format!("a whole line: {text:?}"))
    });
    let addr = RUNTIME.block_on(told);
    let server = TcpListener::bind(&addr).expect("the port is free");
    std::thread::spawn(move || {
        for stream in server.incoming() {
            let Ok(mut stream) = stream else { return };
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        }
    });
    std::fs::write(&go, "go\n").expect("the subject waits for it");
    child.wait().expect("it ends");
    let (plan, history) = load(&out.join("rst-idle")).expect("a run");
    let findings = judge(&plan, &history).findings;
    let health = findings.into_iter().find(|f| f.checker == "I21").expect("it is decided");
    assert_eq!(health.outcome, Outcome::Unknown, "{}", health.summary);
    let words = format!("held by somebody else: process {}", std::process::id());
    assert!(health.summary.contains(&words), "{}", health.summary);
}
