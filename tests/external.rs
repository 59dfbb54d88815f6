//! Somebody else's broker (`gauntlet broker` in another process): scenarios on it, with its management API elsewhere
//! and another login there.

use std::process::{Command, Output};

use crate::support::command_passed;
use crate::support::served::Served;
use crate::support::turns::suite;

/// Plays scenarios on this broker, in a directory that is gone afterwards.
fn run(broker: &str, scenarios: &[&str]) -> Output {
    let out = tempfile::tempdir().expect("a directory");
    let _turn = suite();
    let mut command = Command::new(env!("CARGO_BIN_EXE_gauntlet"));
    command.arg("run").args(scenarios).arg("--out").arg(out.path().join("runs"));
    command.env("GAUNTLET_BROKER", broker).env_remove("RUST_LOG");
    command.output().expect("the command runs")
}

/// `leaks` is played in a process of its own beside others: it must find the management API, and log in there, too.
#[test]
fn a_management_api_with_another_port_and_another_login_serves_every_scenario() {
    let served = Served::start();
    served.add_user("manager", "m@n,ager", "administrator");
    served.add_user("worker", "w0rk,er", "");
    let (amqp, management) = (&served.amqp, &served.management);
    let broker = format!("amqp://worker:w0rk,er@{amqp},http://manager:m%40n%2Cager@{management}");
    let output = run(&broker, &["steady", "leaks"]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let said = said + &String::from_utf8_lossy(&output.stderr);
    if command_passed(output.status.code(), &said) {
        assert!(said.contains("2 passed"), "{said}");
    }
    assert_eq!(served.vhosts(), Vec::<String>::new(), "virtual hosts are left: {said}");
}

#[test]
fn a_wrong_management_login_is_named_without_its_password() {
    let served = Served::start();
    let (amqp, management) = (&served.amqp, &served.management);
    let output = run(&format!("amqp://{amqp},http://guest:s3cret@{management}"), &["steady"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("as guest") && said.contains("401"), "{said}");
    assert!(!said.contains("s3cret"), "{said}");
}
