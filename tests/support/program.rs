//! The reference consumer's program as a child process: found or built, started, listened to, signalled.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::queue::QUEUE;

const NAME: &str = "gauntlet-consumer";

/// The program, as new as its sources. `cargo test` of one package builds no other's programs.
static PROGRAM: LazyLock<PathBuf> = LazyLock::new(|| {
    let program = Path::new(env!("CARGO_BIN_EXE_gauntlet")).with_file_name(NAME);
    let sources = ["consumer/Cargo.toml", "consumer/src"];
    if !fresh(&program, &sources) {
        build(&program);
    }
    program
});

/// Where it is, as new as its sources.
pub fn path() -> &'static Path {
    &PROGRAM
}

/// Whether a program is newer than its sources: files, or directories of them, from the root of the project.
pub fn fresh(program: &Path, sources: &[&str]) -> bool {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let changed = |path: &Path| path.metadata().and_then(|m| m.modified()).ok();
    let Some(built) = changed(program) else { return false };
    let (mut newest, mut left) = (SystemTime::UNIX_EPOCH, Vec::new());
    left.extend(sources.iter().map(|source| root.join(source)));
    while let Some(path) = left.pop() {
        match std::fs::read_dir(&path) {
            Ok(entries) => left.extend(entries.flatten().map(|entry| entry.path())),
            Err(_) => newest = newest.max(changed(&path).unwrap_or(newest)),
        }
    }
    newest < built
}

/// Into the directory that holds the tests' own programs.
fn build(program: &Path) {
    let profile_dir = program.parent().expect("a program lies in a directory");
    let target = profile_dir.parent().expect("a profile lies in the target directory");
    let profile = match profile_dir.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(profile) => profile,
    };
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| env!("CARGO").into());
    let mut command = std::process::Command::new(cargo);
    command.args(["build", "--package", NAME, "--bin", NAME, "--profile", profile]);
    command.arg("--target-dir").arg(target).current_dir(env!("CARGO_MANIFEST_DIR"));
    let built = command.output().expect("cargo can be run");
    let said = String::from_utf8_lossy(&built.stderr);
    assert!(built.status.success() && program.is_file(), "{NAME} cannot be built: {said}");
}

type Lines = Arc<Mutex<Vec<String>>>;

/// The program at work. Dropping it kills it.
pub struct Program {
    child: Child,
    pid: u32,
    out: Lines,
    err: Lines,
    readers: JoinSet<()>,
}

impl Program {
    /// Starts it on the queue at `url`, with every event written to stderr, and an otherwise empty environment.
    pub fn start(url: &str, args: &[&str]) -> Program {
        let mut program = Program::unread(url, args);
        program.listen();
        program
    }

    /// The same, but nobody reads what it writes before [`Program::listen`].
    pub fn unread(url: &str, args: &[&str]) -> Program {
        let mut command = Command::new(&*PROGRAM);
        command.env_clear().env("AMQP_URL", url).env("RUST_LOG", "info,lapin=off");
        command.args(["--queue", QUEUE, "--events"]).args(args).kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().expect("the program starts");
        let pid = child.id().expect("it was not waited for");
        Program {
            child,
            pid,
            out: Lines::default(),
            err: Lines::default(),
            readers: JoinSet::new(),
        }
    }

    /// Reads what it wrote and writes.
    pub fn listen(&mut self) {
        let (out, err) = (self.child.stdout.take(), self.child.stderr.take());
        self.readers.spawn(read(out.expect("piped"), self.out.clone()));
        self.readers.spawn(read(err.expect("piped"), self.err.clone()));
    }

    /// Nobody will ever read its standard output.
    pub fn close_stdout(&mut self) {
        drop(self.child.stdout.take());
        self.readers.spawn(read(self.child.stderr.take().expect("piped"), self.err.clone()));
    }

    /// The ids of the effects so far, in order.
    pub fn effects(&self) -> Vec<String> {
        let effect = |line: &String| {
            let value: Value = serde_json::from_str(line).expect("stdout is JSON lines");
            value["effect"].as_str().expect("an effect is an id").to_owned()
        };
        lines(&self.out).iter().map(effect).collect()
    }

    /// The events so far, in order.
    pub fn events(&self) -> Vec<Value> {
        lines(&self.err).iter().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// How often this happened so far.
    pub fn count(&self, event: &str) -> usize {
        self.events().iter().filter(|it| it["event"] == event).count()
    }

    /// The ids of messages to which this happened, in order.
    pub fn ids(&self, event: &str) -> Vec<String> {
        ids(&self.events(), event)
    }

    /// Everything it wrote, for a message or to search in.
    pub fn said(&self) -> String {
        format!("{}\n{}", lines(&self.out).join("\n"), lines(&self.err).join("\n"))
    }

    /// Sends a signal, `TERM` or `INT`.
    pub fn signal(&self, name: &str) {
        // The shell's own `kill`: there without a package, and without unsafe code here.
        let script = format!("kill -{name} {}", self.pid);
        let status = std::process::Command::new("/bin/sh").args(["-c", &script]).status();
        assert!(status.expect("there is a shell").success(), "{script}");
    }

    /// Whether it is still there.
    pub fn runs(&mut self) -> bool {
        self.child.try_wait().expect("a child can be waited for").is_none()
    }

    /// Its exit code, within the deadline; then everything it wrote has been read.
    pub async fn exit(&mut self, deadline: Duration) -> Option<i32> {
        let ended = timeout(deadline, self.child.wait()).await;
        let Ok(status) = ended else { panic!("runs on after {deadline:?}: {}", self.said()) };
        self.read_all().await;
        status.expect("a child can be waited for").code()
    }

    /// Waits until everything it wrote has been read: it has ended.
    pub async fn read_all(&mut self) {
        while self.readers.join_next().await.is_some() {}
    }

    /// Its threads, file descriptors and resident memory in KiB; nothing where there is no /proc.
    pub fn holds(&self) -> Option<Holds> {
        let process = PathBuf::from(format!("/proc/{}", self.pid));
        let entries = |dir| Some(std::fs::read_dir(process.join(dir)).ok()?.count());
        let status = std::fs::read_to_string(process.join("status")).ok()?;
        let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        let rss_kib = rss.split_ascii_whitespace().next()?.parse().ok()?;
        Some(Holds { threads: entries("task")?, fds: entries("fd")?, rss_kib })
    }
}

/// What a process holds.
#[derive(Clone, Copy, Debug)]
pub struct Holds {
    pub threads: usize,
    pub fds: usize,
    pub rss_kib: u64,
}

/// The ids of messages to which this happened, in order.
pub fn ids(events: &[Value], event: &str) -> Vec<String> {
    let those = events.iter().filter(|it| it["event"] == event);
    those.map(|it| it["id"].as_str().expect("it is about a message").to_owned()).collect()
}

fn lines(of: &Lines) -> Vec<String> {
    of.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

async fn read(pipe: impl AsyncRead + Unpin, into: Lines) {
    let mut pipe = BufReader::new(pipe).lines();
    while let Ok(Some(line)) = pipe.next_line().await {
        into.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }
}
