//! A verdict comes in bounded time, whatever the subject does, and its cause comes first.

use std::sync::Arc;
use std::time::Duration;

use gauntlet_harness::broker::{Broker, BrokerSpec};
use gauntlet_harness::mutants;
use gauntlet_harness::network::Network;
use gauntlet_harness::run::{Environment, run_within};
use gauntlet_harness::subject::{SubjectSpec, reference};
use gauntlet_judge::history::What;
use gauntlet_judge::judgement::judge;
use gauntlet_judge::plan::Plan;
use gauntlet_judge::verdict::{Outcome, Verdict};
use gauntlet_network::Seed;
use rstest::rstest;
use tokio_util::sync::CancellationToken;

use crate::processes::{Ran, gauntlet, gauntlet_once};
use crate::support::{RUN, RUNTIME, explain, play};

/// A shell script through these scenarios; `$CONSUMER` is the reference consumer's program.
fn script(scenarios: &[&str], script: &str) -> Ran {
    gauntlet(&worker(scenarios, script), &[])
}

fn worker<'a>(scenarios: &[&'a str], script: &'a str) -> Vec<&'a str> {
    [scenarios, &["--", "/bin/sh", "-c", script]].concat()
}

#[test]
fn a_schedule_ends_with_a_recovery_that_does_not_come() {
    let mut scenario = gauntlet_scenarios::scenario("leaks").expect("listed");
    // Elsewhere it would be played in a process of its own.
    scenario.exclusive = false;
    let mutant = mutants::find("never-reconnects").expect("listed");
    // It stays where it is: one that ends is hopeless at once.
    let dead = (mutant.make)();
    let Some(played) = play(&scenario, &dead, "embedded") else { return };
    let took = played.history.events().last().map(|e| Duration::from_nanos(e.ns));
    assert!(took < Some(Duration::from_secs(60)), "{took:?}");
    let found = |id: &str| {
        let findings = &played.judgement.findings;
        findings.iter().find(|f| f.checker == id).expect("every checker finds something")
    };
    assert_eq!(found("I12").outcome, Outcome::Fail, "{}", explain(&played));
    let fired = &found("fired").summary;
    assert!(fired.contains("steps after it were not played"), "{fired}");
}

#[test]
fn a_run_that_reaches_its_bound_is_cut_short_and_unknown() {
    let scenario = gauntlet_scenarios::scenario("steady").expect("listed");
    let SubjectSpec { name, promises, .. } = reference::subject_spec();
    let plan = Plan::resolve(&scenario, Seed(1), &name, &promises, "embedded");
    let history = RUNTIME.block_on(async {
        let broker = Broker::start(&BrokerSpec::Embedded, &RUN).await.expect("the model starts");
        let environment = Environment {
            broker: Arc::new(broker),
            vhost: format!("test-{}-cut-short", *RUN),
            alone: false,
            network: Arc::new(Network::Embedded),
            halt: CancellationToken::new(),
        };
        let bound = Duration::from_millis(100);
        let played = run_within(bound, &plan, &reference::subject_spec(), &environment, None).await;
        environment.broker.stop().await.expect("the model stops");
        played.expect("the environment holds")
    });
    let judgement = judge(&plan, &history);
    assert!(history.events().iter().any(|e| matches!(e.what, What::CutShort { .. })));
    assert!(!history.complete());
    assert_eq!(judgement.verdict, Verdict::Unknown, "{judgement:?}");
    let fired = judgement.findings.iter().find(|f| f.checker == "fired").expect("it is there");
    assert!(fired.summary.contains("the run was cut short: it took 100ms"), "{}", fired.summary);
}

#[test]
fn a_flood_of_reports_does_not_hold_up_the_link() {
    let flood = "yes 'handled m1' | head -n 5000000 & exec $CONSUMER";
    let ran = gauntlet_once(&worker(&["steady"], flood), &[]);
    ran.expect_in("steady", "reports", Outcome::Unknown, "more than can have been");
    assert!(ran.took < Duration::from_secs(40), "{:?}", ran.took);
}

/// What a command lacks is told within seconds, first, and once; nothing else is played.
#[rstest]
#[case::ends_at_once(
    "echo no database >&2; exit 3",
    1,
    "it ended before it connected: exit code 3; its last line: no database"
)]
#[case::another_queue(
    "GAUNTLET_QUEUE=work.dead exec $CONSUMER",
    2,
    "it consumes the queue `work.dead`, and not `work`"
)]
#[case::ignores_sigterm(
    "trap '' TERM; $CONSUMER & while :; do sleep 1; done",
    1,
    "it did not stop"
)]
fn a_preflight_names_the_cause_and_nothing_else_is_played(
    #[case] subject: &str,
    #[case] code: i32,
    #[case] cause: &str,
) {
    let ran = gauntlet_once(&worker(&["core", "--stops-within", "1s"], subject), &[]);
    assert_eq!(ran.code, Some(code), "{}", ran.said);
    assert!(ran.said.contains(cause), "no `{cause}` in:\n{}", ran.said);
    let core = gauntlet_scenarios::select(&["core".to_owned()]).expect("a suite").len();
    assert!(ran.said.contains(&format!("{core} not played")), "{}", ran.said);
    assert!(ran.took < Duration::from_secs(30), "{:?}", ran.took);
    assert!(ran.said.lines().count() < 40, "{}", ran.said);
    let evidence = ran.said.find(" preflight - ").expect("it is told");
    let hint = ran.said.find("\nhint: ");
    assert!(hint.is_none_or(|hint| hint < evidence), "{}", ran.said);
}

#[test]
fn what_is_no_program_fails_the_preflight() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("worker");
    std::fs::write(&file, "\x01\x02 neither a script nor a program").expect("written");
    let path = file.to_string_lossy().into_owned();
    let ran = gauntlet(&["core", "--", &path], &[]);
    assert_eq!(ran.code, Some(64), "{}", ran.said);
    assert!(ran.said.contains("chmod +x"), "{}", ran.said);
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o755)).expect("it is ours");
    let ran = gauntlet(&["core", "--", &path], &[]);
    assert_eq!(ran.code, Some(1), "{}", ran.said);
    assert!(ran.said.contains("it cannot be executed"), "{}", ran.said);
    assert!(ran.took < Duration::from_secs(20), "{:?}", ran.took);
}

#[test]
fn a_slow_start_is_no_cause() {
    let ran = script(&["steady", "rst-idle"], "sleep 8; exec $CONSUMER");
    assert_eq!(ran.code, Some(0), "{}", ran.said);
    assert!(ran.said.contains("2 scenarios: 2 passed"), "{}", ran.said);
}

#[test]
fn a_single_scenario_ends_early_for_a_reason_that_shows() {
    let elsewhere = "GAUNTLET_QUEUE=work.dead exec $CONSUMER";
    let ran = gauntlet_once(&worker(&["steady"], elsewhere), &[]);
    assert_eq!(ran.code, Some(2), "{}", ran.said);
    let fired = ran.finding("steady", "fired").summary;
    assert!(fired.contains("it consumes the queue `work.dead`"), "{fired}");
    assert!(ran.took < Duration::from_secs(25), "{:?}", ran.took);
}
