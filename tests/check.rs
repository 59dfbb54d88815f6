//! `gauntlet check`: decides again from saved runs alone, judges what is sound and names what is damaged.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use gauntlet_judge::history::{History, What};
use gauntlet_judge::judgement::{judge, load};
use gauntlet_judge::verdict::Verdict;

use crate::support::command_passed;
use crate::support::turns::{When, turn};

fn gauntlet(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gauntlet"));
    command.args(args).env_remove("GAUNTLET_BROKER").env_remove("RUST_LOG");
    command.output().expect("the command can be run")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A directory of saved runs.
struct Runs(tempfile::TempDir);

impl Runs {
    /// Plays scenarios that pass, or fail; nothing where the machine was too busy all the same.
    fn play(args: &[&str], code: i32) -> Option<Runs> {
        let _turn = turn(When::Beside);
        let runs = Runs(tempfile::tempdir().expect("a directory"));
        let out = runs.dir().display().to_string();
        let output = gauntlet(&[&["run"], args, &["--out", &out]].concat());
        let said = text(&output.stdout) + &text(&output.stderr);
        if output.status.code() == Some(code) && code != 0 {
            return Some(runs);
        }
        command_passed(output.status.code(), &said).then_some(runs)
    }

    fn dir(&self) -> &Path {
        self.0.path()
    }

    fn file(&self, run: &str, name: &str) -> PathBuf {
        self.dir().join(run).join(name)
    }

    fn edit(&self, run: &str, name: &str, edit: impl FnOnce(String) -> String) {
        let path = self.file(run, name);
        let before = std::fs::read_to_string(&path).expect("text");
        std::fs::write(&path, edit(before)).expect("written");
    }

    /// What `check` says of all of them, or of one.
    #[track_caller]
    fn check(&self, run: &str, code: i32, expect: &[&str]) -> String {
        let output = gauntlet(&["check", &self.dir().join(run).display().to_string()]);
        let said = text(&output.stdout) + &text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{said}");
        for words in expect {
            assert!(said.contains(words), "no `{words}` in:\n{said}");
        }
        said
    }
}

/// The line in the middle of a history, broken.
fn broken_in_the_middle(history: String) -> String {
    let middle = history.lines().count() / 2;
    let lines = history.lines().enumerate();
    lines
        .map(|(i, l)| if i == middle { "not an event\n".into() } else { format!("{l}\n") })
        .collect()
}

#[test]
fn one_that_is_damaged_is_named_and_judged_as_far_as_it_is_sound_and_the_others_too() {
    let Some(runs) = Runs::play(&["steady", "wrong-vhost", "rst-idle"], 0) else { return };
    let whole = runs.check("", 0, &["pass     steady", "pass     wrong-vhost"]);
    assert!(!whole.contains("note"), "{whole}");

    // What is missing is not taken for granted.
    runs.edit("steady", "history.jsonl", broken_in_the_middle);
    let said = runs.check("", 2, &["unknown  steady", "pass     wrong-vhost", "not an event"]);
    assert!(said.contains("damaged: line ") && said.contains("events before it"), "{said}");
    assert!(said.contains("it was pass, now it is unknown"), "{said}");

    // Nothing of it is sound: it is named, and the others are judged.
    std::fs::write(runs.file("rst-idle", "history.jsonl"), "not an event\n{}\n").expect("written");
    runs.check("", 3, &["broken   rst-idle", "line 1 of ", "pass     wrong-vhost"]);
    runs.check("rst-idle", 3, &["error: ", "line 1 of ", "not an event"]);
    std::fs::remove_file(runs.file("rst-idle", "plan.json")).expect("removed");
    runs.check("", 3, &["broken   rst-idle", "plan.json", "pass     wrong-vhost"]);

    runs.edit("wrong-vhost", "plan.json", |plan| {
        plan.replacen("\"format\": 1", "\"format\": 99", 1)
    });
    runs.check("wrong-vhost", 3, &["format 99"]);
}

/// A failure that stands before the damage stands; one that only follows it does not.
#[test]
fn a_violation_before_the_damage_stands() {
    let Some(runs) = Runs::play(&["cut-deliver-ack", "--subject", "no-dedup", "--seed", "7"], 1)
    else {
        return;
    };
    let run = "cut-deliver-ack";
    let (_, history) = load(&runs.dir().join(run)).expect("it was kept");
    let judged = judge(&load(&runs.dir().join(run)).expect("kept").0, &history);
    let failure = judged.failures().find(|f| f.checker == "I11").expect("it does the work twice");
    let evidence = || failure.evidence.iter().map(|seq| *seq as usize);
    let (begins, proven) = (evidence().min().expect("some"), evidence().max().expect("some"));

    let whole = std::fs::read_to_string(runs.file(run, "history.jsonl")).expect("text");
    let without = |line: usize| {
        let kept = whole.lines().enumerate().filter(|(i, _)| *i != line);
        kept.map(|(_, l)| format!("{l}\n")).collect::<String>()
    };
    std::fs::write(runs.file(run, "history.jsonl"), without(proven + 1)).expect("written");
    runs.check("", 1, &["fail     cut-deliver-ack", "I11", "lost, doubled or moved"]);
    std::fs::write(runs.file(run, "history.jsonl"), without(begins)).expect("written");
    let said = runs.check("", 2, &["unknown  cut-deliver-ack", "damaged: "]);
    assert!(said.contains("it was fail, now it is unknown"), "{said}");
}

/// Wherever a run that passes is cut, what is left proves nothing against the subject.
#[test]
fn no_beginning_of_a_pass_is_a_failure() {
    let Some(runs) = Runs::play(&["steady", "rst-load", "stop-in-flight", "broker-restart"], 0)
    else {
        return;
    };
    for run in ["steady", "rst-load", "stop-in-flight", "broker-restart"] {
        let (plan, history) = load(&runs.dir().join(run)).expect("it was kept");
        let mut events = history.events().to_vec();
        events.sort_by_key(|e| e.seq);
        for cut in (0..events.len()).step_by((events.len() / 60).max(1)) {
            let judgement = judge(&plan, &History::new(events[..cut].to_vec()));
            let failed: Vec<_> = judgement.failures().collect();
            assert!(failed.is_empty(), "{run} cut after {cut} events: {failed:?}");
            assert_eq!(judgement.verdict, Verdict::Unknown, "{run} cut after {cut} events");
        }
    }
}

#[test]
fn a_plan_that_is_not_the_one_the_history_was_made_with_decides_nothing() {
    let Some(runs) = Runs::play(&["wrong-vhost"], 0) else { return };
    let (_, history) = load(&runs.dir().join("wrong-vhost")).expect("it was kept");
    let first = &history.get(0).expect("events").what;
    assert!(matches!(first, What::Began { plan } if plan.starts_with("sha256:")), "{first:?}");

    // Laid out otherwise it is the same plan.
    runs.edit("wrong-vhost", "plan.json", |plan| {
        let plan: serde_json::Value = serde_json::from_str(&plan).expect("JSON");
        plan.to_string()
    });
    let same = runs.check("", 0, &["pass     wrong-vhost"]);
    assert!(!same.contains("note"), "{same}");

    runs.edit("wrong-vhost", "plan.json", |plan| {
        plan.replacen("\"subject\":\"reference\"", "\"subject\":\"somebody\"", 1)
    });
    runs.check("", 2, &["unknown  wrong-vhost", "plan.json was changed", "sha256:"]);
}

#[test]
fn a_verdict_that_is_not_the_saved_one_is_told_with_both() {
    let Some(runs) = Runs::play(&["wrong-vhost"], 0) else { return };
    runs.edit("wrong-vhost", "verdict.json", |verdict| {
        verdict.replacen("\"verdict\": \"pass\"", "\"verdict\": \"fail\"", 1)
    });
    runs.check("", 0, &["verdict changed since it was saved: it was fail, now it is pass"]);
    runs.edit("wrong-vhost", "verdict.json", |_| "{".into());
    runs.check("", 0, &["verdict.json cannot be compared"]);
    std::fs::remove_file(runs.file("wrong-vhost", "verdict.json")).expect("removed");
    let said = runs.check("", 0, &["pass"]);
    assert!(!said.contains("note"), "{said}");
}
