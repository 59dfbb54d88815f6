//! The examples in Python (`examples/subjects`): those done well pass, and the naive one fails where theory says.
//!
//! They need what `clients` needs. The others, in Go and Rust, play in the league of the nightly workflow.

use std::path::Path;

use rstest::rstest;

use crate::clients::PYTHON;
use crate::processes::gauntlet;
use crate::support::skip;

/// A clean start and end, a cut under load, and a stop with work in hand.
const SCENARIOS: [&str; 3] = ["steady", "rst-load", "stop-in-flight"];

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
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/subjects").join(name);
    let [promises, program] = ["promises.toml", "consumer.py"]
        .map(|file| directory.join(file).to_string_lossy().into_owned());
    let command = ["--promises", &promises, "--", &python, &program];
    let quick = [("BACKOFF_BASE_MS", "50"), ("BACKOFF_CAP_MS", "400")];
    let ran = gauntlet(&[&SCENARIOS[..], &command[..]].concat(), &quick);
    let missing: Vec<_> = words.iter().filter(|words| !ran.said.contains(**words)).collect();
    assert!(missing.is_empty(), "no {missing:?} in: {}", ran.said);
    assert_eq!(ran.code, Some(i32::from(name == "pika-naive")), "{}", ran.said);
}
