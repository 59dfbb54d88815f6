//! Descriptors: the command raises its soft limit, what it starts gets the original one back, and out of descriptors
//! a proxy serves what it can.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, ChildStdout};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::support::RUNTIME;

/// A busy machine gets this long.
const SOON: Duration = Duration::from_secs(30);

/// `gauntlet proxy` under a limit of open files, as a shell sets it (`-n 64`, `-Sn 64`), with one proxy to `upstream`.
struct Limited {
    child: Child,
    _out: BufReader<ChildStdout>,
    proxy: SocketAddr,
}

impl Limited {
    async fn start(limit: &str, upstream: SocketAddr, dir: &Path) -> Limited {
        let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr());
        let proxy = port.expect("a port");
        let config = dir.join("proxies.json");
        let proxies = format!(r#"[{{"name":"p","listen":"{proxy}","upstream":"{upstream}"}}]"#);
        std::fs::write(&config, proxies).expect("a file can be written");
        let script = format!("ulimit {limit} && exec \"$0\" \"$@\"");
        let mut command = tokio::process::Command::new("/bin/sh");
        command.args(["-c", &script, env!("CARGO_BIN_EXE_gauntlet"), "proxy", "-host=127.0.0.1"]);
        command.args(["-port=0", &format!("-config={}", config.display())]).kill_on_drop(true);
        let mut child = command.stdout(Stdio::piped()).spawn().expect("a shell starts it");
        let mut out = BufReader::new(child.stdout.take().expect("piped"));
        let mut line = String::new();
        timeout(SOON, out.read_line(&mut line)).await.expect("it starts").expect("stdout");
        assert!(line.contains("gauntlet proxy"), "{line:?}");
        Limited { child, _out: out, proxy }
    }
}

/// An upstream that gives back what it gets.
async fn echo() -> (SocketAddr, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let addr = listener.local_addr().expect("bound");
    let mut task = JoinSet::new();
    task.spawn(async move {
        let mut served = JoinSet::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            served.spawn(async move {
                let (mut read, mut write) = stream.split();
                let _ = tokio::io::copy(&mut read, &mut write).await;
            });
        }
    });
    (addr, task)
}

/// A client that wants one answer, and leaves when it has it.
async fn ask(proxy: SocketAddr) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(proxy).await?;
    stream.write_all(b"?").await?;
    stream.read_exact(&mut [0]).await.map(|_| ())
}

#[test]
fn out_of_descriptors_what_was_accepted_is_served_and_the_others_wait_their_turn() {
    RUNTIME.block_on(async {
        let dir = tempfile::tempdir().expect("a directory");
        let (upstream, _echo) = echo().await;
        // Four times as many as it can hold at a time.
        let limited = Limited::start("-n 64", upstream, dir.path()).await;
        let mut clients = JoinSet::new();
        for _ in 0..100 {
            clients.spawn(ask(limited.proxy));
        }
        let mut answered = 0;
        while let Some(asked) = timeout(SOON, clients.join_next()).await.unwrap_or_else(|_| {
            panic!("nobody is served any more after {answered} of 100");
        }) {
            asked.expect("no panic").unwrap_or_else(|e| panic!("{e} after {answered} of 100"));
            answered += 1;
        }
        assert_eq!(answered, 100);
    });
}

#[cfg(target_os = "linux")]
mod linux {
    use super::*;

    /// The soft and the hard limit of a process.
    fn limits(pid: u32) -> (String, String) {
        let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).expect("its limits");
        let line = limits.lines().find(|line| line.starts_with("Max open files"));
        let mut words = line.expect("a limit of files").split_whitespace().skip(3);
        let mut next = || words.next().expect("a number").to_owned();
        (next(), next())
    }

    #[test]
    fn the_soft_limit_is_raised_to_the_hard_one() {
        RUNTIME.block_on(async {
            let dir = tempfile::tempdir().expect("a directory");
            let (upstream, _echo) = echo().await;
            let limited = Limited::start("-Sn 64", upstream, dir.path()).await;
            let (soft, hard) = limits(limited.child.id().expect("it runs"));
            assert_eq!(soft, hard);
            assert_ne!(soft, "64");
        });
    }

    /// The limit of what is started is set from outside, just after the start: the subject waits to see it.
    #[test]
    fn a_subject_gets_the_original_limit_back() {
        let dir = tempfile::tempdir().expect("a directory");
        let seen = dir.path().join("seen");
        let subject = format!(
            "until [ \"$(ulimit -Sn)\" = 222 ]; do :; done; ulimit -Sn > '{}'; exit 3",
            seen.display()
        );
        let script = "ulimit -Sn 222 && exec \"$0\" \"$@\"";
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script, env!("CARGO_BIN_EXE_gauntlet"), "run", "steady", "--out"]);
        command.arg(dir.path().join("out")).args(["--", "/bin/sh", "-c", &subject]);
        let output = command.env_remove("GAUNTLET_BROKER").output().expect("a shell runs it");
        let said = String::from_utf8_lossy(&output.stdout);
        let seen = std::fs::read_to_string(seen).unwrap_or_else(|e| panic!("{e}: {said}"));
        assert_eq!(seen.trim(), "222", "{said}");
    }
}
