//! The example consumers (`examples/subjects`): those done well pass, and the naive ones fail where theory says.
//!
//! Those in Python need what `clients` needs; the others are made by their `setup.sh`.

use std::path::{Path, PathBuf};

use rstest::rstest;

use crate::clients::PYTHON;
use crate::processes::gauntlet;
use crate::support::program::fresh;
use crate::support::{skip, undecided};

/// A clean start and end, a cut under load, and a stop with work in hand.
const SCENARIOS: [&str; 3] = ["steady", "rst-load", "stop-in-flight"];

/// Plays them against a command, held to what the example promises.
#[track_caller]
fn check(name: &str, scenarios: &[&str], command: &[&str], words: &[&str]) {
    let promises = directory().join(name).join("promises.toml").to_string_lossy().into_owned();
    let command = [&["--promises", &promises, "--"], command].concat();
    let quick = [("BACKOFF_BASE_MS", "50"), ("BACKOFF_CAP_MS", "400")];
    let ran = gauntlet(&[scenarios, &command[..]].concat(), &quick);
    let missing: Vec<_> = words.iter().filter(|words| !ran.said.contains(**words)).collect();
    let fails = words.iter().any(|words| words.contains("failed"));
    // One done well that fails is not excused by what else could not be decided.
    if !missing.is_empty() && ran.busy() && (fails || ran.code == Some(2)) {
        return undecided(&format!("{name}: {}", ran.said));
    }
    assert!(missing.is_empty(), "no {missing:?} in: {}", ran.said);
    ran.ended(i32::from(fails));
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/subjects")
}

#[rstest]
#[case("pika", &["3 passed"])]
#[case("aio-pika", &["3 passed"])]
#[case("kombu", &["3 passed"])]
#[case("pika-naive", &[
    "0 passed, 3 failed",
    "killed by signal 15 (SIGTERM): it has no handler for it",
    "StreamLostError",
])]
fn an_example_in_python_is_what_it_is_said_to_be(#[case] name: &str, #[case] words: &[&str]) {
    let python = match &*PYTHON {
        Ok(python) => python.to_string_lossy(),
        Err(why) => return skip("Python's client libraries", why),
    };
    let program = directory().join(name).join("consumer.py").to_string_lossy().into_owned();
    check(name, &SCENARIOS, &[&python, &program], words);
}

/// A compiled example, as new as its sources; or why there is none.
fn made(name: &str) -> Result<PathBuf, String> {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/subjects/bin").join(name);
    match fresh(&program, &[&format!("examples/subjects/{name}")]) {
        true => Ok(program),
        false => Err(format!("{name} is to be built: `examples/subjects/setup.sh {name}`")),
    }
}

#[rstest]
#[case("go-gin", &SCENARIOS, &["3 passed"])]
#[case("go-gin-naive", &SCENARIOS, &["0 passed, 3 failed", "I12 ", "I21 ", "SIGTERM"])]
#[case("amqprs", &SCENARIOS, &["3 passed"])]
#[case("lapin", &["steady", "cancelled", "stop-in-flight"], &["2 passed, 1 failed", "fail     cancelled "])]
fn an_example_that_is_compiled_is_what_it_is_said_to_be(
    #[case] name: &str,
    #[case] scenarios: &[&str],
    #[case] words: &[&str],
) {
    match made(name) {
        Ok(program) => check(name, scenarios, &[&program.to_string_lossy()], words),
        Err(why) => skip("the examples in Go and Rust", &why),
    }
}
