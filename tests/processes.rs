//! Commands as subjects: the reference consumer's program passes all a process meets, and whoever abuses the harness
//! gets a clear verdict in bounded time and leaves nothing behind.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use gauntlet_harness::subject::process::CONTRACT;
use gauntlet_judge::judgement::{Judgement, judge, load};
use gauntlet_judge::verdict::{Finding, Outcome};
use rstest::rstest;
use tempfile::TempDir;

use crate::support::RUNTIME;
use crate::support::program::path;
use crate::support::turns::{When, suite, turn};
use crate::support::undecided;
use crate::support::until::{until, when};

/// A run of the command: its exit code, what it printed, and where it is kept.
pub struct Ran {
    pub code: Option<i32>,
    pub said: String,
    pub took: Duration,
    pub out: TempDir,
}

impl Ran {
    fn judgement(&self, scenario: &str) -> Judgement {
        let (plan, history) =
            load(&self.out.path().join(scenario)).unwrap_or_else(|e| panic!("{e}\n{}", self.said));
        judge(&plan, &history)
    }

    pub fn finding(&self, scenario: &str, checker: &str) -> Finding {
        let findings = self.judgement(scenario).findings;
        let found = findings.into_iter().find(|f| f.checker == checker);
        found.unwrap_or_else(|| panic!("no {checker}\n{}", self.said))
    }

    /// Whether the machine was too busy for something in it, twice.
    pub fn busy(&self) -> bool {
        self.said.contains(BUSY)
    }

    /// It ended with this code, or undecided because the machine was too busy. A failure is never excused.
    #[track_caller]
    pub fn ended(&self, code: i32) {
        if self.code != Some(code) && self.code == Some(2) && self.busy() {
            return undecided(&self.said);
        }
        assert_eq!(self.code, Some(code), "{}", self.said);
    }

    #[track_caller]
    fn expect(&self, checker: &str, outcome: Outcome, words: &str) {
        self.expect_in("steady", checker, outcome, words);
    }

    /// A checker found this in a scenario, and says so; or nothing, because the machine was too busy.
    #[track_caller]
    pub fn expect_in(&self, scenario: &str, checker: &str, outcome: Outcome, words: &str) {
        let finding = self.finding(scenario, checker);
        let found = finding.outcome == outcome && finding.summary.contains(words);
        let is_unknown = finding.outcome == Outcome::Unknown;
        if !found && is_unknown && finding.summary.contains(BUSY) {
            return undecided(&format!("{checker}: {}", finding.summary));
        }
        assert_eq!(finding.outcome, outcome, "{}\n{}", finding.summary, self.said);
        assert!(finding.summary.contains(words), "no `{words}` in: {}", finding.summary);
    }
}

/// How a report says that nothing could be decided.
const BUSY: &str = "the machine was too busy";

/// Delays between attempts of a service, shortened as one would for a test.
const QUICK: [(&str, &str); 2] =
    [("GAUNTLET_BACKOFF_BASE", "200ms"), ("GAUNTLET_BACKOFF_CAP", "2s")];

/// What plays many scenarios at a time.
const SUITES: [&str; 4] = ["core", "process", "hazards", "herd"];

/// Runs the command. What a busy machine left undecided is played again, alone; a failure never is.
pub fn gauntlet(args: &[&str], env: &[(&str, &str)]) -> Ran {
    let first = gauntlet_once(args, env);
    if first.code != Some(2) || !first.busy() {
        return first;
    }
    let _alone = turn(When::Last);
    once(args, env)
}

/// The same for what is to be unknown anyway.
pub fn gauntlet_once(args: &[&str], env: &[(&str, &str)]) -> Ran {
    let many = args.first().is_some_and(|first| SUITES.contains(first));
    let _turn = if many { suite() } else { turn(When::Beside) };
    once(args, env)
}

fn once(args: &[&str], env: &[(&str, &str)]) -> Ran {
    let out = tempfile::tempdir().expect("a directory");
    let kept = out.path().to_string_lossy().into_owned();
    let (flags, program) =
        args.split_at(args.iter().position(|a| *a == "--").unwrap_or(args.len()));
    let mut command = Command::new(env!("CARGO_BIN_EXE_gauntlet"));
    command.arg("run").args(flags).args(["--out", &kept]).args(program);
    command.env_remove("GAUNTLET_BROKER").env_remove("RUST_LOG").envs(QUICK);
    command.envs(env.iter().copied()).env("CONSUMER", path());
    let began = Instant::now();
    let output = command.output().expect("the command can be run");
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    Ran { code: output.status.code(), said, took: began.elapsed(), out }
}

/// A shell script as the subject, in which `$CONSUMER` is the reference consumer's program.
fn script(flags: &[&str], script: &str) -> Ran {
    gauntlet(&steady(flags, script), &[])
}

fn steady<'a>(flags: &[&'a str], script: &'a str) -> Vec<&'a str> {
    [&["steady"], flags, &["--", "/bin/sh", "-c", script]].concat()
}

/// Whether a process with this in its command line is there.
fn runs(words: &str) -> bool {
    let all = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let lines = all.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    lines.into_iter().any(|line| {
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        line.contains(words) && !line.contains("-c")
    })
}

#[rstest]
#[case("core", "26 scenarios: 24 passed, 2 skipped")]
#[case("process", "10 scenarios: 10 passed")]
fn the_reference_consumers_program_passes(#[case] suite: &str, #[case] totals: &str) {
    let program = path().to_string_lossy().into_owned();
    let promises = ["--dedups", "--heartbeats", "--health", "/health"];
    let command = ["--", &program, "--dedup-by", "message-id"];
    let ran = gauntlet(&[&[suite], &promises[..], &command].concat(), &[]);
    assert!(ran.said.contains(totals), "{}", ran.said);
    ran.ended(0);
}

#[test]
fn what_it_reports_is_judged_and_what_it_does_not_is_left_to_the_wire() {
    let ran = script(&[], "exec $CONSUMER");
    ran.ended(0);
    ran.expect("reports", Outcome::Pass, "300 messages reported");
    ran.expect("I5", Outcome::Pass, "each of 300 acks");
    let ran = script(&[], "exec $CONSUMER >/dev/null");
    ran.ended(0);
    ran.expect("reports", Outcome::NotApplicable, "the wire alone decides");
    ran.expect("I5", Outcome::NotApplicable, "does not report");
    ran.expect("I1", Outcome::Pass, "300 handled");
}

#[test]
fn an_ack_before_its_report_is_caught() {
    // The reports come when all is over: each is written after its ack was sent.
    let late = "$CONSUMER >reports & trap 'kill $!; wait $!; cat reports; exit 0' TERM; wait; wait";
    let dir = tempfile::tempdir().expect("a directory");
    let ran = script(&[], &format!("cd {}; {late}", dir.path().display()));
    ran.expect("I5", Outcome::Fail, "m0 was acked on connection 1");
}

#[test]
fn a_flood_costs_nobody_more_than_its_own_time() {
    let ran = script(
        &[],
        "yes \"$(head -c 200 /dev/zero | tr '\\0' n)\" | head -n 60000; exec $CONSUMER",
    );
    ran.ended(0);
    let log = ran.out.path().join("steady/subject.log");
    let kept = log.metadata().expect("a log").len();
    assert!((1_000_000..5_000_000).contains(&kept), "{kept} bytes");
}

#[rstest]
#[case::in_its_group("sleep 31331 & exec $CONSUMER", "sleep 31331")]
#[case::on_its_own("setsid sleep 31332 & exec $CONSUMER", "sleep 31332")]
fn what_it_leaves_behind_is_named_and_gone(#[case] forks: &str, #[case] left: &str) {
    let ran = script(&[], forks);
    ran.ended(1);
    ran.expect("I18", Outcome::Fail, left);
    assert!(!runs(left), "{left} is still there");
}

#[test]
fn one_that_ignores_sigterm_is_torn_down() {
    let ran = script(
        &["--stops-within", "1s"],
        "trap '' TERM; $CONSUMER & while :; do sleep 31333; done",
    );
    ran.ended(1);
    ran.expect("I20", Outcome::Fail, "torn down");
    assert!(!runs("sleep 31333"), "it is still there");
}

#[test]
fn one_that_ends_at_once_is_told_with_its_last_words() {
    let ran = script(&[], "echo cannot open the database >&2; exit 3");
    ran.ended(1);
    ran.expect("I20", Outcome::Fail, "exit code 3; its last line: cannot open the database");
    assert!(ran.said.contains("| cannot open the database"), "{}", ran.said);
    let hint = "\nhint: it ended before it connected (exit code 3): its last words say why";
    assert!(ran.said.contains(hint), "{}", ran.said);
}

#[test]
fn what_many_scenarios_have_in_common_is_told_once() {
    let worker = ["--", "/bin/sh", "-c", "echo worker $$ cannot open the database >&2; exit 3"];
    let scenarios = ["steady", "rst-idle", "rst-load", "--no-preflight"];
    let ran = gauntlet(&[&scenarios, &worker[..]].concat(), &[]);
    let count = |words: &str| ran.said.matches(words).count();
    assert_eq!(count("the subject's log ends with"), 1, "{}", ran.said);
    assert_eq!(count("\n  the same in rst-idle: gauntlet check "), 1, "{}", ran.said);
    assert_eq!(count("\n  the same in rst-load: gauntlet check "), 1, "{}", ran.said);
    assert!(ran.said.lines().count() < 40, "{}", ran.said);
    assert_eq!(count("\nhint: it ended before it connected"), 1, "{}", ran.said);
    assert_eq!(count("(seen in 3 scenarios)"), 1, "{}", ran.said);
    // What could not be decided is not told as what was violated.
    assert!(count("\n  undecided: fired, ") > 0, "{}", ran.said);
}

#[test]
fn one_that_is_killed_from_outside_is_told_by_its_signal() {
    let ran = script(&[], "kill -SEGV $$");
    ran.expect("I20", Outcome::Fail, "killed by signal 11 (SIGSEGV)");
}

#[test]
fn one_that_never_connects_is_unknown_in_bounded_time() {
    let worker = steady(&[], "trap exit TERM; while :; do sleep 1; done");
    let ran = gauntlet_once(&worker, &[]);
    ran.expect("fired", Outcome::Unknown, "the start phase overran");
    assert!(ran.took < Duration::from_secs(90), "{:?}", ran.took);
}

#[rstest]
#[case("echo handled order-7; exec $CONSUMER", "`handled order-7`, which names no message")]
#[case("echo handled m250; exec $CONSUMER", "m250")]
#[case("echo handled m4000; exec $CONSUMER", "m4000")]
fn nonsense_is_unknown_and_quoted(#[case] lies: &str, #[case] words: &str) {
    let ran = gauntlet_once(&steady(&[], lies), &[]);
    ran.ended(2);
    ran.expect("reports", Outcome::Unknown, words);
}

#[test]
fn what_is_not_promised_is_not_held_against_it() {
    // It takes no notice of the prefetch it is told.
    let own = "GAUNTLET_PREFETCH=3 exec $CONSUMER";
    assert_eq!(script(&["--prefetch"], own).code, Some(1));
    for flags in [&[][..], &["--no-prefetch"]] {
        let ran = script(flags, own);
        ran.ended(0);
        ran.expect("I8", Outcome::NotApplicable, "does not promise");
    }
}

#[test]
fn delays_without_jitter_are_a_herd() {
    let program = path().to_string_lossy().into_owned();
    let env = [
        ("GAUNTLET_BACKOFF_JITTER", "0"),
        ("GAUNTLET_BACKOFF_BASE", "2s"),
        ("GAUNTLET_BACKOFF_CAP", "4s"),
    ];
    let ran = gauntlet(&["herd", "--", &program], &env);
    ran.expect_in("herd", "I14", Outcome::Fail, "");
}

/// Answers 200 to everybody, as long as its parent runs.
const ALWAYS_UP: &str = "
import http.server, os
class Up(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers()
host, port = os.environ['GAUNTLET_HEALTH'].split(':')
http.server.HTTPServer((host, int(port)), Up).serve_forever()
";

#[test]
fn health_that_is_always_up_is_no_health() {
    if Command::new("python3").arg("--version").output().is_err() {
        return crate::support::skip("python3", "it is not in PATH");
    }
    let dir = tempfile::tempdir().expect("a directory");
    let server = dir.path().join("up.py");
    std::fs::write(&server, ALWAYS_UP).expect("written");
    let script = format!("python3 {} & unset GAUNTLET_HEALTH; exec $CONSUMER", server.display());
    let args = [
        "health-outage",
        "--health",
        "/",
        "--recovers-within",
        "15s",
        "--",
        "/bin/sh",
        "-c",
        &script,
    ];
    let ran = gauntlet(&args, &[]);
    ran.expect_in("health-outage", "I21", Outcome::Fail, "it said 200 for");
}

#[test]
fn a_killed_harness_leaves_no_subject() {
    let out = tempfile::tempdir().expect("a directory");
    let kept = out.path().join("run");
    let mut harness = Command::new(env!("CARGO_BIN_EXE_gauntlet"))
        .args(["run", "steady", "--out"])
        .arg(&kept)
        .args(["--", "/bin/sh", "-c", "sleep 31334"])
        .env_remove("GAUNTLET_BROKER")
        .stdout(Stdio::null())
        .spawn()
        .expect("the command can be run");
    let becomes = |there: bool| {
        let look = async move || when(runs("sleep 31334") == there, || format!("{}", !there));
        RUNTIME.block_on(until("a process of the subject", Duration::from_secs(30), look));
    };
    becomes(true);
    harness.kill().expect("it can be killed");
    harness.wait().expect("it ends");
    becomes(false);
}

#[rstest]
#[case(&["steady", "--", "no-such-program"], "`no-such-program`")]
#[case(&["steady", "--", "./nowhere/worker"], "`./nowhere/worker`")]
#[case(&["steady", "--subject", "control", "--", "true"], "--subject")]
#[case(&["steady", "--no-drains"], "COMMAND")]
#[case(&["steady", "--"], "nothing follows `--`")]
#[case(&["steady", "--recovers-within", "soon", "--", "true"], "soon")]
#[case(&["steady", "--promises", "/nowhere.toml", "--", "true"], "/nowhere.toml")]
fn wrong_input_is_quoted(#[case] args: &[&str], #[case] words: &str) {
    let ran = gauntlet(args, &[]);
    ran.ended(64);
    assert!(ran.said.contains(words), "no `{words}` in:\n{}", ran.said);
}

#[test]
fn a_consumer_inside_gauntlet_skips_what_takes_a_process() {
    let ran = gauntlet(&["kill-before-ack", "rolling"], &[]);
    ran.ended(4);
    assert!(ran.said.contains("killing it takes a process of its own"), "{}", ran.said);
}

#[test]
fn hazards_are_shown_and_pass() {
    let ran = gauntlet(&["hazards"], &[]);
    ran.ended(0);
    assert_eq!(ran.said.matches("hazard shown: ").count(), 2, "{}", ran.said);
}

#[test]
fn a_league_is_a_table() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("league.toml");
    let program = path().to_string_lossy().into_owned();
    let text = format!(
        "scenarios = [\"steady\", \"rst-idle\", \"kill-before-ack\"]\n\
         [[subject]]\nname = \"own\"\ncommand = [\"{program}\"]\n\
         [[subject]]\nbuiltin = \"reference\"\n\
         [[subject]]\nname = \"gone\"\ncommand = [\"false\"]\npromises = {{ drains = false }}\n"
    );
    std::fs::write(&file, text).expect("written");
    let out = dir.path().join("out");
    let output = Command::new(env!("CARGO_BIN_EXE_gauntlet"))
        .arg("league")
        .arg(&file)
        .arg("--out")
        .arg(&out)
        .envs(QUICK)
        .env_remove("GAUNTLET_BROKER")
        .output()
        .expect("the command can be run");
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert_eq!(output.status.code(), Some(0), "{said}");
    let table = std::fs::read_to_string(out.join("league.md")).expect("a table");
    assert!(table.starts_with("| scenario | own | reference | gone |\n"), "{table}");
    assert!(table.contains("| steady | pass | pass | FAIL preflight |"), "{table}");
    assert!(table.contains("| passed | 3 of 3 | 2 of 2 | 0 of 3 |"), "{table}");
    assert!(
        table.contains("- **gone**, `steady`, fail: it ended before it connected: exit code 1"),
        "{table}"
    );
    let json = std::fs::read_to_string(out.join("league.json")).expect("JSON");
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json.as_array().map(Vec::len), Some(9), "{json}");
    assert!(out.join("own/rst-idle/history.jsonl").is_file());
}

#[test]
fn a_leagues_file_is_checked_before_anything_runs() {
    let dir = tempfile::tempdir().expect("a directory");
    let check = |text: &str, words: &str| {
        let file = dir.path().join("league.toml");
        std::fs::write(&file, text).expect("written");
        let output = Command::new(env!("CARGO_BIN_EXE_gauntlet"))
            .arg("league")
            .arg(&file)
            .output()
            .expect("the command can be run");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(64), "{said}");
        assert!(said.contains(words), "no `{words}` in: {said}");
    };
    check("[[subject]]\nname = \"a\"\n", "`a` needs either `command` or `builtin`");
    check("[[subject]]\nname = \"a\"\ncommand = [\"no-such\"]\n", "`no-such`");
    check("[[subject]]\nname = \"a\"\ncomand = []\n", "did you mean `command`?");
    check("[[subject]]\nbuiltin = \"referenc\"\n", "did you mean `reference`?");
    check("scenarios = [\"stedy\"]\n[[subject]]\nbuiltin = \"reference\"\n", "`stedy`");
    let promises = |said: &str| {
        format!("[[subject]]\nname = \"a\"\ncommand = [\"true\"]\npromises = {said}\n")
    };
    check(&promises("{ drain = true }"), "did you mean `drains`?");
    check(&promises("\"none.toml\""), "none.toml");
    check(&promises("7"), "promises");
    let twice = "[[subject]]\nbuiltin = \"reference\"\n".repeat(2);
    check(&twice, "two subjects are named `reference`");
}

/// The page for users says all of the contract, and nothing that is not in it.
#[test]
fn the_contract_is_documented() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/subjects.md");
    let page = std::fs::read_to_string(page).expect("docs/subjects.md");
    for variable in CONTRACT {
        let row = format!("| `{}` | {} |", variable.name, variable.means);
        assert!(page.contains(&row), "docs/subjects.md lacks: {row}");
    }
    let rows = page.lines().filter(|l| {
        l.starts_with("| `") && l.contains("_URL` |")
            || l.starts_with("| `GAUNTLET_")
            || l.starts_with("| `PYTHON")
    });
    assert_eq!(rows.count(), CONTRACT.len(), "docs/subjects.md has variables that are none");
}
