//! A Toxiproxy behind the link: scenarios pass through one, and what it played it is known to have touched.

use std::process::{Command, Output, Stdio};

use gauntlet_judge::history::What;
use gauntlet_judge::judgement::load;

use crate::support::turns::suite;
use crate::support::{broker, skip};
use crate::toxiproxy::Proxy;

/// Its image; `images/build.sh toxiproxy` makes one that is ours.
const IMAGE: &str = "ghcr.io/shopify/toxiproxy:2.12.0";

fn run(args: &[&str], network: &str, out: &std::path::Path) -> Output {
    let _turn = suite();
    let mut command = Command::new(env!("CARGO_BIN_EXE_gauntlet"));
    command.arg("run").args(args).args(["--network", network, "--out"]).arg(out);
    command.env_remove("GAUNTLET_BROKER").output().expect("the command runs")
}

fn passed(output: &Output) {
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(
        output.status.code(),
        Some(0),
        "{said}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Steps that were fired by a toxic, by the notes in a run's history.
fn by_toxics(run: &std::path::Path) -> Vec<String> {
    let (_, history) = load(run).expect("the run was kept");
    let notes = history.events().iter().filter_map(|e| match &e.what {
        What::Fired { note, .. } if note.contains("of Toxiproxy") => Some(note.clone()),
        _ => None,
    });
    notes.collect()
}

/// What Toxiproxy plays, and some of what the link plays before it. (The whole suite: the nightly workflow.)
const THROUGH: &[&str] =
    &["steady", "latency", "bandwidth", "rst-load", "cut-deliver-ack", "broker-restart"];

#[test]
fn scenarios_pass_through_a_toxiproxy_in_a_container() {
    let Some(_broker) = broker("container") else { return };
    let there =
        Command::new("docker").args(["image", "inspect", IMAGE]).stdout(Stdio::null()).status();
    if !there.is_ok_and(|status| status.success()) {
        return skip(
            "the image of a Toxiproxy",
            "it is not here; images/build.sh toxiproxy makes it",
        );
    }
    let out = tempfile::tempdir().expect("a directory");
    let out = out.path().join("runs");
    passed(&run(&[THROUGH, &["--jobs", "4"]].concat(), "toxiproxy", &out));
    for scenario in ["latency", "bandwidth"] {
        assert!(
            !by_toxics(&out.join(scenario)).is_empty(),
            "{scenario} was not played by Toxiproxy"
        );
    }
}

#[test]
fn our_own_toxiproxy_plays_what_the_real_one_plays() {
    let proxy = crate::support::RUNTIME.block_on(Proxy::start(&[]));
    let out = tempfile::tempdir().expect("a directory");
    let out = out.path().join("runs");
    let url = format!("http://{}", proxy.addr);
    let scenarios = ["steady", "latency", "bandwidth", "blackhole", "rst-idle", "broker-restart"];
    passed(&run(&scenarios, &url, &out));
    let fired = by_toxics(&out.join("latency"));
    assert_eq!(
        fired.first().map(String::as_str),
        Some("latency_upstream and latency_downstream of Toxiproxy")
    );
    for by_link in ["rst-idle", "blackhole"] {
        assert!(by_toxics(&out.join(by_link)).is_empty(), "the link itself plays {by_link}");
    }
}

#[test]
fn what_cannot_be_put_together_is_said_and_what_to_do() {
    let out = tempfile::tempdir().expect("a directory");
    let mut command = Command::new(env!("CARGO_BIN_EXE_gauntlet"));
    command.args(["run", "steady", "--network", "toxiproxy", "--broker", "embedded", "--out"]);
    let output = command.arg(out.path().join("runs")).output().expect("the command runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(64), "{said}");
    assert!(said.contains("--broker container") && said.contains("--network http://"), "{said}");
    let nothing = run(&["steady"], "http://127.0.0.1:1", &out.path().join("runs"));
    let said = String::from_utf8_lossy(&nothing.stderr).into_owned();
    assert_eq!(nothing.status.code(), Some(3), "{said}");
    assert!(said.contains("127.0.0.1:1") && said.contains("nothing answers"), "{said}");
}
