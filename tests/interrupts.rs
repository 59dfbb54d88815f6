//! SIGINT and SIGTERM end a run in order, a second at once, and SIGKILL leaves nothing that the next run does not remove:
//! no virtual host, no proxy, no process, no directory.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rstest::rstest;

use crate::support::served::Served;
use crate::support::until::{until, when};
use crate::support::{RUNTIME, command_passed};
#[cfg(feature = "toxiproxy")]
use crate::toxiproxy::Proxy;

/// Longer than any clean-up may take.
const SOON: Duration = Duration::from_secs(30);

/// A run of the command, in a directory of its own.
struct Going {
    child: Child,
    dir: tempfile::TempDir,
}

impl Going {
    fn start(args: &[&str], broker: &str) -> Going {
        Going::with(args, broker, &[])
    }

    fn with(args: &[&str], broker: &str, command_of_subject: &[&str]) -> Going {
        let dir = tempfile::tempdir().expect("a directory");
        let mut command = Command::new(env!("CARGO_BIN_EXE_gauntlet"));
        command.args(args);
        if args[0] != "mutants" {
            command.arg("--out").arg(dir.path().join("runs"));
        }
        command.args(command_of_subject).env("GAUNTLET_BROKER", broker).env_remove("RUST_LOG");
        command.env("TMPDIR", dir.path()).stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        Going { child: command.spawn().expect("the command can be run"), dir }
    }

    fn signal(&self, name: &str) {
        let script = format!("kill -{name} {}", self.child.id());
        let status = Command::new("/bin/sh").args(["-c", &script]).status();
        assert!(status.expect("there is a shell").success(), "{script}");
    }

    /// Its end, and what it wrote to stdout.
    fn end(mut self) -> (ExitStatus, String, tempfile::TempDir) {
        let status = RUNTIME.block_on(async {
            until("the command ends", SOON, async || {
                let status = self.child.try_wait().expect("a child can be waited for");
                status.ok_or_else(|| "it runs".to_owned())
            })
            .await
        });
        let mut said = String::new();
        let out = BufReader::new(self.child.stdout.take().expect("piped"));
        for line in out.lines().map_while(Result::ok) {
            said += &(line + "\n");
        }
        (status, said, self.dir)
    }
}

/// Every path under a directory.
fn under(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten().map(|e| e.path());
    entries.flat_map(|path| [vec![path.clone()], under(&path)].concat()).collect()
}

/// Waits until a run on this broker is well under way: so many virtual hosts of it are there, and something was handled.
fn under_way(served: &Served, going: &Going, vhosts: usize) {
    RUNTIME.block_on(until("the run is under way", SOON, async || {
        let there = served.vhosts().iter().filter(|v| v.starts_with("gauntlet-")).count();
        let played = under(going.dir.path());
        let histories = played.iter().filter(|p| p.ends_with("history.jsonl"));
        let handled = histories.filter(|p| {
            std::fs::read_to_string(p).is_ok_and(|text| text.contains("handler_ended"))
        });
        let handled = handled.count();
        when(there >= vhosts && handled > 0, || format!("{there} virtual hosts, {handled} at work"))
    }));
}

/// No virtual host of a run is on the broker.
fn is_clean(served: &Served, said: &str) {
    let left = served.vhosts();
    assert!(!left.iter().any(|vhost| vhost.starts_with("gauntlet-")), "{left:?} is left: {said}");
}

/// `leaks` plays in a process of its own, and takes half a minute: the signal comes in the middle of it.
#[rstest]
#[case("INT", 130, &["run", "leaks", "blackhole"])]
#[case("TERM", 143, &["run", "leaks", "blackhole"])]
#[case("INT", 130, &["mutants", "--jobs", "4"])]
fn a_signal_ends_a_run_in_order(#[case] signal: &str, #[case] code: i32, #[case] args: &[&str]) {
    let served = Served::start();
    let going = Going::start(args, &format!("amqp://{},http://{}", served.amqp, served.management));
    if args[0] == "run" {
        under_way(&served, &going, 2);
    } else {
        RUNTIME.block_on(until("mutants play", SOON, async || {
            let there = served.vhosts().len();
            when(there >= 2, || format!("{there} virtual hosts"))
        }));
    }
    going.signal(signal);
    let began = Instant::now();
    let (status, said, dir) = going.end();
    assert_eq!(status.code(), Some(code), "{said}");
    assert!(said.contains("interrupted"), "{said}");
    assert!(said.contains("scenarios: "), "no totals: {said}");
    is_clean(&served, &said);
    let all = under(dir.path());
    let isolated = all.iter().filter(|p| p.to_string_lossy().contains("isolated"));
    assert_eq!(isolated.count(), 0, "{all:?}");
    if args[0] == "run" {
        assert!(said.contains(&dir.path().join("runs").display().to_string()), "no path: {said}");
        assert!(all.iter().any(|p| p.ends_with("history.jsonl")), "histories are kept: {all:?}");
    }
    assert!(began.elapsed() < Duration::from_secs(25), "it took {:?}", began.elapsed());
}

/// A league, and a command as the subject: neither it nor what it started is left.
#[test]
fn the_processes_of_a_subject_go_with_the_run() {
    let served = Served::start();
    let broker = format!("amqp://{},http://{}", served.amqp, served.management);
    // A second process, in the background, that nobody would miss.
    let mark = format!("86{}", std::process::id());
    let script = format!("sleep {mark} & exec sleep {mark}");
    let going = Going::with(&["run", "steady"], &broker, &["--", "sh", "-c", &script]);
    RUNTIME.block_on(until("the subject runs", SOON, async || {
        let there = sleeping(&mark);
        when(there == 2, || format!("{there} processes"))
    }));
    going.signal("TERM");
    let (status, said, _dir) = going.end();
    assert_eq!(status.code(), Some(143), "{said}");
    assert_eq!(sleeping(&mark), 0, "{said}");
    is_clean(&served, &said);
}

/// Processes that sleep for so long.
fn sleeping(mark: &str) -> usize {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let line = |entry: std::fs::DirEntry| std::fs::read(entry.path().join("cmdline")).ok();
    processes.filter_map(line).filter(|l| l == format!("sleep\0{mark}\0").as_bytes()).count()
}

/// The second signal ends it at once, whatever the first one's clean-up waits for: here, a broker that does not answer.
#[test]
fn a_second_signal_ends_it_at_once() {
    let served = Served::start();
    let broker = format!("amqp://{},http://{}", served.amqp, served.management);
    let going = Going::start(&["run", "steady", "blackhole"], &broker);
    under_way(&served, &going, 1);
    served.freeze();
    going.signal("TERM");
    let mut going = going;
    RUNTIME.block_on(until("the first signal is heard", SOON, async || {
        // It is over for the subject and the link, and waits for the broker.
        let threads = std::fs::read_dir(format!("/proc/{}/task", going.child.id()));
        let subject = threads.into_iter().flatten().flatten().any(|t| {
            std::fs::read_to_string(t.path().join("comm")).is_ok_and(|n| n.starts_with("subject"))
        });
        when(!subject, || "a subject runs".to_owned())
    }));
    assert!(going.child.try_wait().expect("a child").is_none(), "it did not wait");
    let began = Instant::now();
    going.signal("INT");
    let (status, said, _dir) = going.end();
    assert_eq!(status.code(), Some(130), "{said}");
    assert!(began.elapsed() < Duration::from_secs(5), "it took {:?}", began.elapsed());
}

/// What SIGKILL leaves on somebody else's broker the next run removes; what is not of the dead it leaves alone.
#[test]
fn the_next_run_removes_what_a_killed_one_left() {
    let served = Served::start();
    let broker = format!("amqp://{},http://{}", served.amqp, served.management);
    let going = Going::start(&["run", "leaks", "blackhole", "steady"], &broker);
    under_way(&served, &going, 2);
    let alive = Going::start(&["run", "blackhole"], &broker);
    under_way(&served, &alive, 3);
    going.signal("KILL");
    let pid = going.child.id();
    let (_, _, _dir) = going.end();
    let of_it = |vhost: &String| vhost.contains(&format!("-{pid}-"));
    let left: Vec<String> = served.vhosts().into_iter().filter(of_it).collect();
    assert!(!left.is_empty(), "it was killed before it could remove anything");
    // Of another machine, which nobody can see from here; and one with a name like ours.
    let others = ["gauntlet-abcdef-1-steady.0-1-1-0123456789ab-1", "gauntlet-mine"];
    others.iter().for_each(|vhost| served.add_vhost(vhost));

    let next = Going::start(&["run", "steady"], &broker);
    let (status, said, _dir) = next.end();
    command_passed(status.code(), &said);
    let there = served.vhosts();
    assert!(!there.iter().any(of_it), "{there:?}");
    assert!(others.iter().all(|vhost| there.iter().any(|v| v == vhost)), "{there:?}");
    // One that lives is let live: it comes to its own end.
    let (status, said, _dir) = alive.end();
    command_passed(status.code(), &said);
}

/// The same of proxies on somebody else's Toxiproxy.
#[cfg(feature = "toxiproxy")]
#[test]
fn no_proxy_is_left_on_a_toxiproxy() {
    let toxiproxy = RUNTIME.block_on(Proxy::start(&["-proxy-metrics"]));
    let network = format!("http://{}", toxiproxy.addr);
    let ours = || RUNTIME.block_on(toxiproxy.get("/proxies")).matches("\"listen\"").count();
    let playing = |name: &str| {
        let going = Going::start(&["run", "blackhole", "--network", &network], "embedded");
        RUNTIME.block_on(until("a proxy is there", SOON, async || {
            let listed = toxiproxy.get("/proxies").await;
            when(listed.contains("gauntlet-"), || listed)
        }));
        going.signal(name);
        going.end()
    };
    let (status, said, _dir) = playing("INT");
    assert_eq!((status.code(), ours()), (Some(130), 0), "{said}");
    playing("KILL");
    assert_eq!(ours(), 1, "it was killed before it could remove anything");
    let next = Going::start(&["run", "steady", "--network", &network], "embedded");
    let (status, said, _dir) = next.end();
    command_passed(status.code(), &said);
    assert_eq!(ours(), 0, "{said}");
}
