//! What the command prints and returns: wrong input of every kind gives one clear error that quotes it
//! and names the next step, and the documented exit code.

use std::process::{Command, Output, Stdio};
use std::time::Duration;

use lapin::{Connection, ConnectionProperties};
use rstest::rstest;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::turns::suite;
use crate::support::{RUNTIME, command_passed, skip};

/// For a program to start, to answer or to end.
const PATIENCE: Duration = Duration::from_secs(10);

fn gauntlet(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_gauntlet"))
        .args(args)
        .env_remove("GAUNTLET_BROKER")
        .env_remove("RUST_LOG")
        .output()
        .expect("the command can be run")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[rstest]
#[case(&["run", "rst-idel"], 64, &["`rst-idel`", "did you mean `rst-idle`?", "gauntlet list"])]
#[case(&["run", "steady", "sh", "worker"], 64, &["`sh`", "gauntlet run steady -- sh worker"])]
#[case(&["run", "--broker", "contaner"], 64, &["contaner", "did you mean"])]
#[case(&["run", "--broker", "amqp://u:secret@no port/"], 64, &["amqp://"])]
#[case(&["run", "--broker", "amqp://h,https://x:secret@h"], 64, &["amqp://h", "***@h", "http://"])]
#[case(&["run", "--broker", "amqp=u:secret@h"], 64, &["***@h", "amqp"])]
#[case(&["run", "--seed", "seven"], 64, &["seven", "--seed"])]
#[case(&["run", "--jobs", "0"], 64, &["--jobs", "0"])]
#[case(&["run", "--subject", "no-dedupe"], 64, &["`no-dedupe`", "did you mean `no-dedup`?"])]
#[case(&["rnu"], 64, &["rnu", "--help"])]
#[case(&["show", "stedy"], 64, &["`stedy`", "did you mean `steady`?"])]
#[case(&["mutants", "hotloop"], 64, &["`hotloop`", "did you mean `hot-loop`?"])]
#[case(&["run", "steady", "--broker", "local", "--out", "/proc/nowhere"], 3, &["/proc/nowhere", "--out"])]
#[case(&["run", "steady", "--broker", "local:/nowhere/rabbitmq-server"], 3, &["/nowhere/rabbitmq-server"])]
#[case(&["run", "steady", "--broker", "amqp://guest:guest@127.0.0.1:1"], 3, &["127.0.0.1:1"])]
#[case(&["broker", "--host", "localhst"], 64, &["localhst", "--host"])]
#[case(&["broker", "--port", "65536"], 64, &["65536", "--port"])]
#[case(&["check", "/nowhere/run"], 3, &["/nowhere/run"])]
fn wrong_input_is_quoted_and_has_its_exit_code(
    #[case] args: &[&str],
    #[case] code: i32,
    #[case] expect: &[&str],
) {
    let output = gauntlet(args);
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{error}");
    assert!(error.starts_with("error: "), "{error}");
    assert!(!error.contains("secret"), "a password is printed: {error}");
    assert!(!error.contains("panicked"), "{error}");
    for words in expect {
        assert!(error.contains(words), "no `{words}` in:\n{error}");
    }
}

#[test]
fn a_broker_that_cannot_be_had_leaves_no_directory_behind() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let output = Command::new(env!("CARGO_BIN_EXE_gauntlet"))
        .args(["run", "steady", "--broker", "amqp://guest:guest@127.0.0.1:1"])
        .current_dir(dir.path())
        .env_remove("GAUNTLET_BROKER")
        .output()
        .expect("the command can be run");
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
    let left = std::fs::read_dir(dir.path()).expect("it is there").count();
    assert_eq!(left, 0, "something was left behind");
}

#[test]
fn without_docker_the_error_says_what_to_do() {
    let output = Command::new(env!("CARGO_BIN_EXE_gauntlet"))
        .args(["run", "steady", "--broker", "container"])
        .env("DOCKER_HOST", "unix:///nowhere/docker.sock")
        .output()
        .expect("the command can be run");
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{error}");
    assert!(error.contains("--broker local"), "{error}");
}

#[rstest]
#[case(&["completions", "bash"], 0, "_gauntlet()")]
#[case(&["completions", "cmd.exe"], 64, "cmd.exe")]
#[case(&["man"], 0, ".TH gauntlet 1")]
#[case(&["man", "run"], 0, "gauntlet\\-run")]
#[case(&["man", "runn"], 64, "`runn`")]
fn completions_and_man_pages_are_made_of_the_command_line(
    #[case] args: &[&str],
    #[case] code: i32,
    #[case] words: &str,
) {
    let output = gauntlet(args);
    let said = text(&output.stdout) + &text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert!(said.contains(words), "no `{words}` in: {said}");
}

/// The first command of the README: no argument at all.
#[test]
fn a_bare_gauntlet_runs_the_core_suite_against_the_reference_consumer() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let _turn = suite();
    let run = Command::new(env!("CARGO_BIN_EXE_gauntlet"))
        .current_dir(dir.path())
        .env_remove("GAUNTLET_BROKER")
        .output()
        .expect("the command can be run");
    let said = text(&run.stdout);
    assert!(said.contains("26 scenarios, subject reference"), "{said}");
    if command_passed(run.status.code(), &(said.clone() + &text(&run.stderr))) {
        assert!(said.contains("26 passed"), "{said}");
    }
    assert!(dir.path().join("gauntlet-out").is_dir());
}

/// On a terminal of any kind, a line stays for each scenario.
#[rstest]
#[case("xterm")]
#[case("dumb")]
#[case("")]
fn every_terminal_shows_a_line_for_each_scenario(#[case] term: &str) {
    let dir = tempfile::tempdir().expect("temporary directory");
    let run = format!("'{}' run steady wrong-vhost --out runs", env!("CARGO_BIN_EXE_gauntlet"));
    let mut command = Command::new("script");
    command.args(["-qec", &run, "/dev/null"]).current_dir(dir.path()).stdin(Stdio::null());
    command.env("TERM", term).env_remove("GAUNTLET_BROKER");
    let output = match command.output() {
        Ok(output) => output,
        Err(e) => return skip("a terminal (the command `script`)", &e.to_string()),
    };
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{said}");
    for scenario in ["steady", "wrong-vhost"] {
        let line = |l: &str| l.contains("pass") && l.contains(scenario);
        assert!(said.lines().any(line), "no line of {scenario}: {said}");
    }
}

#[test]
fn help_and_lists_go_to_stdout() {
    let help = gauntlet(&["--help"]);
    assert_eq!(help.status.code(), Some(0));
    for words in ["run", "list", "show", "check", "mutants", "broker", "Exit codes", "64"] {
        assert!(text(&help.stdout).contains(words), "{}", text(&help.stdout));
    }
    let list = text(&gauntlet(&["list"]).stdout);
    for words in ["rst-idle", "I12", "blackhole", "stale-tag"] {
        assert!(list.contains(words), "{list}");
    }
    let some = text(&gauntlet(&["list", "checkers"]).stdout);
    assert!(some.contains("I12") && !some.contains("rst-idle"), "{some}");
}

#[test]
fn a_scenario_is_shown_in_words() {
    insta::assert_snapshot!(text(&gauntlet(&["show", "cut-deliver-ack"]).stdout));
}

/// The broker alone says where it is, answers there, does not take anybody's port, and ends when it is told to.
#[cfg(unix)]
#[test]
fn the_broker_alone_serves_until_a_signal() {
    RUNTIME.block_on(async {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_gauntlet"));
        command.args(["broker", "--port", "0", "--management-port", "0"]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().expect("the command can be run");
        let mut out = BufReader::new(child.stdout.take().expect("piped")).lines();
        let line = timeout(PATIENCE, out.next_line()).await.expect("it speaks soon");
        let line = line.expect("it writes text").expect("it says where it is");
        let word = |scheme: &str| {
            let mut words = line.split([' ', ',', ';']);
            words.find(|it| it.starts_with(scheme)).unwrap_or_else(|| panic!("{line}")).to_owned()
        };
        let (amqp, http) = (word("amqp://"), word("http://"));
        assert!(line.contains("user guest, password guest"), "{line}");

        let connect = Connection::connect(&amqp, ConnectionProperties::default());
        let connection = timeout(PATIENCE, connect).await.expect("soon").expect("it answers AMQP");
        let at = http.trim_start_matches("http://").trim_end_matches("/api").to_owned();
        let ask = async {
            let mut stream = TcpStream::connect(&at).await?;
            let request = "GET /api/connections HTTP/1.1\r\nHost: it\r\nConnection: close\r\n\
                           Authorization: Basic Z3Vlc3Q6Z3Vlc3Q=\r\n\r\n";
            stream.write_all(request.as_bytes()).await?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await?;
            Ok::<_, std::io::Error>(answer)
        };
        let answer = timeout(PATIENCE, ask).await.expect("soon").expect("it answers HTTP");
        assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("lapin"), "{answer}");

        let port = |address: &str| {
            let digits = address.rsplit(':').next().and_then(|rest| rest.split('/').next());
            digits.expect("an address has a port").to_owned()
        };
        for (option, other, port) in [
            ("--port", "--management-port", port(&amqp)),
            ("--management-port", "--port", port(&at)),
        ] {
            let refused = gauntlet(&["broker", option, &port, other, "0"]);
            let error = text(&refused.stderr);
            assert_eq!(refused.status.code(), Some(3), "{error}");
            assert!(error.contains(&format!("127.0.0.1:{port}")), "{error}");
            assert!(error.contains(&format!("with {option} ")), "{error}");
        }

        let script = format!("kill -TERM {}", child.id().expect("it runs"));
        let status = Command::new("/bin/sh").args(["-c", &script]).status();
        assert!(status.expect("there is a shell").success(), "{script}");
        let ended = timeout(PATIENCE, child.wait()).await.expect("it ends soon");
        assert_eq!(ended.expect("a child can be waited for").code(), Some(0));
        drop(connection);
    });
}
