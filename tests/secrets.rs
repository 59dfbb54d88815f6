//! A password is never printed, nor saved: not from an argument, a variable, a command line or a log.

use std::path::Path;
use std::process::{Command, Output};

use rstest::rstest;

use crate::support::program;

/// What must not be seen.
const SECRET: &str = "s3kr1t";

fn gauntlet(args: &[&str], env: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gauntlet"));
    command.args(args).env_remove("GAUNTLET_BROKER").env_remove("GAUNTLET_NETWORK");
    command.env("RUST_LOG", "info").envs(env.iter().copied());
    command.output().expect("the command runs")
}

#[track_caller]
fn hidden(output: &Output) {
    for (name, text) in [("stdout", &output.stdout), ("stderr", &output.stderr)] {
        let text = String::from_utf8_lossy(text);
        assert!(!text.contains(SECRET), "a password on {name}: {text}");
        assert!(!text.contains("panicked"), "{text}");
    }
}

/// Wherever a URL with a login may be written by mistake or on purpose, well formed or not.
#[rstest]
#[case(&["run", "--network", "http://u:s3kr1t@127.0.0.1:8474"])]
#[case(&["run", "--network", "http:/u:s3kr1t@h"])]
#[case(&["run", "--network=u:s3kr1t@h"])]
#[case(&["run", "--broker", "amqp://u:pa,s3kr1t@127.0.0.1:1"])]
#[case(&["run", "--broker", "amqp://u:pa,https3kr1t@127.0.0.1:1"])]
#[case(&["run", "--broker", "amqp:/u:s3kr1t@h"])]
#[case(&["run", "--broker", "amqp://u:s3kr1t"])]
#[case(&["run", "--broker", "amqp://h,http://u:s3kr1t@h:x"])]
#[case(&["run", "--broker=http://u:s3kr1t@h"])]
#[case(&["run", "amqp://u:s3kr1t@h"])]
#[case(&["run", "amqp:/u:s3kr1t@h"])]
#[case(&["run", "--bork", "--seed", "amqp://u:s3kr1t@h"])]
#[case(&["run", "--subject", "amqp://u:s3kr1t@h"])]
#[case(&["run", "--promises", "amqp://u:s3kr1t@h", "--", "true"])]
#[case(&["run", "--", "amqp://u:s3kr1t@h"])]
#[case(&["show", "amqp://u:s3kr1t@h"])]
#[case(&["mutants", "amqp://u:s3kr1t@h"])]
#[case(&["league", "amqp://u:s3kr1t@h"])]
#[case(&["check", "amqp://u:s3kr1t@h"])]
#[case(&["proxy", "--host", "http://u:s3kr1t@h"])]
#[case(&["broker", "--host", "amqp://u:s3kr1t@h"])]
#[case(&["amqp://u:s3kr1t@h"])]
fn no_argument_is_echoed_with_its_password(#[case] args: &[&str]) {
    let output = gauntlet(args, &[]);
    hidden(&output);
    assert!(!output.status.success() && !output.stderr.is_empty(), "{output:?}");
}

#[rstest]
#[case("GAUNTLET_BROKER", "amqp://u:pa,s3kr1t@127.0.0.1:1")]
#[case("GAUNTLET_BROKER", "amqp=u:s3kr1t@h")]
#[case("GAUNTLET_NETWORK", "http://u:s3kr1t@127.0.0.1:1")]
#[case("GAUNTLET_NETWORK", "u:s3kr1t@h")]
fn no_variable_is_echoed_with_its_password(#[case] name: &str, #[case] value: &str) {
    let output = gauntlet(&["run", "steady"], &[(name, value)]);
    hidden(&output);
    assert!(!output.stderr.is_empty(), "{output:?}");
}

/// The same of the reference consumer's own program.
#[rstest]
#[case("amqp://u:pa,s3kr1t@127.0.0.1:1")]
#[case("amqp:/u:s3kr1t@h")]
#[case("amqp:///u:s3kr1t@h")]
#[case("amqp://u:s3kr1t@h:x")]
#[case("amqp://h/s3kr1t@x")]
#[case("http://u:s3kr1t@h")]
#[case("amqp://127.0.0.1:1,http://u:s3kr1t@h")]
fn nor_does_the_reference_consumer_print_it(#[case] url: &str) {
    let arguments = ["--queue", "q", "--start-attempts", "1", "--events"];
    let run = |args: &[&str], env: &[(&str, &str)]| {
        let mut command = Command::new(program::path());
        command.args(arguments).args(args).env_remove("AMQP_URL").envs(env.iter().copied());
        command.env("RUST_LOG", "info").output().expect("the program runs")
    };
    for output in [run(&["--url", url], &[]), run(&[url], &[]), run(&[], &[("AMQP_URL", url)])] {
        hidden(&output);
        assert!(!output.status.success(), "{output:?}");
    }
}

/// A command with a URL in its arguments, which also prints one: neither the report nor a file of the run has it.
#[test]
fn what_is_kept_of_a_run_has_no_password() {
    let dir = tempfile::tempdir().expect("a directory");
    let out = dir.path().join("runs");
    let url = "amqp://u:s3kr1t@127.0.0.1:1/v";
    let script = format!("echo \"to {url}\"; echo 'handled {url}'; exit 3");
    let out_arg = out.display().to_string();
    let args = ["run", "steady", "--out", &out_arg, "--", "sh", "-c", &script, "sh", url];
    let output = gauntlet(&args, &[]);
    hidden(&output);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("amqp://u:***@127.0.0.1:1/v"), "{said}");
    let mut files = 0;
    for file in files_under(&out) {
        files += 1;
        let text = std::fs::read_to_string(&file).expect("text");
        assert!(!text.contains(SECRET), "{}: {text}", file.display());
    }
    assert!(files >= 3, "plan, history and verdict were kept: {said}");
    hidden(&gauntlet(&["check", &out_arg, "--full"], &[]));
}

fn files_under(dir: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(dir).expect("a directory").flatten().map(|e| e.path());
    entries.flat_map(|path| if path.is_dir() { files_under(&path) } else { vec![path] }).collect()
}
