//! One runtime and one broker of each kind for all tests of the binary.

pub mod program;
pub mod queue;
pub mod raw;
pub mod served;
pub mod story;
pub mod turns;
pub mod until;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use gauntlet_harness::broker::{Broker, BrokerSpec, RunId};
use gauntlet_harness::network::Network;
use gauntlet_harness::run::{Environment, run};
use gauntlet_harness::starvation;
use gauntlet_harness::subject::SubjectSpec;
use gauntlet_harness::suite::Played;
use gauntlet_judge::judgement::{Judgement, judge, load};
use gauntlet_judge::plan::Plan;
use gauntlet_judge::scenario::Scenario;
use gauntlet_network::Seed;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use self::turns::{When, turn};

/// Brokers outlive the test that started them, so the runtime they live on does too.
pub static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime can be started")
});

/// The id of this run of the tests; what they start carries it.
pub static RUN: LazyLock<RunId> = LazyLock::new(RunId::new);

/// A broker, or why there is none.
type Started = Result<Arc<Broker>, String>;

/// The RabbitMQs of this process: for each kind one that tests share, and one for scenarios that want a broker to
/// themselves.
struct Brokers {
    shared: BTreeMap<&'static str, Started>,
    alone: BTreeMap<&'static str, Mutex<Option<Started>>>,
}

/// All at once, before anything measures time: starting one keeps every core busy for seconds.
static BROKERS: LazyLock<Brokers> = LazyLock::new(|| {
    let _alone = turn(When::Alone);
    let kinds = ["container", "local"];
    let started = RUNTIME.block_on(join_all(kinds.iter().cycle().take(4).map(|kind| own(kind))));
    let mut each = started.into_iter();
    Brokers {
        shared: kinds.into_iter().zip(each.by_ref()).collect(),
        alone: kinds.into_iter().zip(each.map(|it| Mutex::new(Some(it)))).collect(),
    }
});

/// Where all tests run, some need RabbitMQ: it is started before anything plays. One that was asked for by its name may need
/// none.
fn start_brokers_first() {
    static ALL: LazyLock<bool> =
        LazyLock::new(|| std::env::args().skip(1).all(|argument| argument.starts_with('-')));
    if *ALL {
        LazyLock::force(&BROKERS);
    }
}

async fn own(kind: &str) -> Started {
    let spec: BrokerSpec = kind.parse().map_err(|e| format!("{e}"))?;
    Broker::start(&spec, &RUN).await.map(Arc::new).map_err(|e| e.to_string())
}

/// Says why tests did not run, once and where the test runner does not swallow it; with
/// `GAUNTLET_REQUIRE=all` that is a failure.
pub fn skip(what: &str, why: &str) {
    static SAID: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let why = why.lines().next().unwrap_or_default();
    let required = std::env::var("GAUNTLET_REQUIRE").as_deref() == Ok("all");
    assert!(!required, "GAUNTLET_REQUIRE=all, but no {what}: {why}");
    if SAID.lock().unwrap_or_else(PoisonError::into_inner).insert(what.to_owned()) {
        // Nobody reading is no reason to fail.
        let _ = writeln!(std::io::stderr(), "skipped what needs {what}: {why}");
    }
}

/// A broker of this kind, or a line that says why there is none.
pub fn broker(kind: &str) -> Option<Arc<Broker>> {
    static EMBEDDED: LazyLock<Started> = LazyLock::new(|| RUNTIME.block_on(own("embedded")));
    let there = if kind == "embedded" { &*EMBEDDED } else { &BROKERS.shared[kind] };
    there.clone().map_err(|why| skip(kind, &why)).ok()
}

/// How long to wait for a machine that other programs keep busy.
const BUSY: Duration = Duration::from_secs(10);

/// Whether a run was undecided because the machine was too busy.
pub type TooBusy<'a> = &'a dyn Fn(&Judgement) -> bool;

/// Plays a scenario on a broker of this kind and judges it; nothing where such a broker cannot be made to, or where the
/// machine was too busy twice, which is said. What a busy machine left open is played again, alone; a failure never is.
pub fn play(scenario: &Scenario, subject_spec: &SubjectSpec, kind: &str) -> Option<Played> {
    play_until(scenario, subject_spec, kind, &Judgement::too_busy)
}

/// The same, where something else than the verdict says whether it was undecided.
pub fn play_until(
    scenario: &Scenario,
    subject_spec: &SubjectSpec,
    kind: &str,
    busy: TooBusy<'_>,
) -> Option<Played> {
    let first = play_once(scenario, subject_spec, kind, When::Beside)?;
    if !busy(&first.judgement) {
        return Some(first);
    }
    let spare = {
        let _turn = turn(When::Last);
        quiet()
    };
    let last = if spare { play_once(scenario, subject_spec, kind, When::Last)? } else { first };
    if busy(&last.judgement) {
        undecided(&format!("{} against {} ({kind})", scenario.name, subject_spec.name));
        return None;
    }
    Some(last)
}

/// Whether the machine has CPU time to spare by now. What was waited for in vain is not waited for again by each test.
fn quiet() -> bool {
    static GAVE_UP: Mutex<Option<Instant>> = Mutex::new(None);
    let mut gave_up = GAVE_UP.lock().unwrap_or_else(PoisonError::into_inner);
    if gave_up.is_some_and(|at| at.elapsed() < 6 * BUSY) {
        return false;
    }
    let quiet = RUNTIME.block_on(starvation::quiet(BUSY));
    *gave_up = (!quiet).then(Instant::now);
    quiet
}

/// One line, where the test runner does not swallow it.
pub fn undecided(what: &str) {
    // Nobody reading is no reason to fail.
    let _ = writeln!(std::io::stderr(), "undecided, the machine was too busy: {what}");
}

/// Whether a run of the command passed. What a busy machine left open is said, and decides nothing.
pub fn command_passed(code: Option<i32>, said: &str) -> bool {
    let busy = code == Some(2) && said.contains("too busy");
    if busy {
        undecided(said);
    }
    assert!(busy || code == Some(0), "exit code {code:?}: {said}");
    !busy
}

/// The run is kept when `GAUNTLET_KEEP` names a directory.
fn play_once(
    scenario: &Scenario,
    subject_spec: &SubjectSpec,
    kind: &str,
    when: When,
) -> Option<Played> {
    let spec: BrokerSpec = kind.parse().expect("a kind of broker");
    if scenario.refused_by(spec.kind()).is_some() {
        return None;
    }
    let embedded = kind == "embedded";
    // Kept by those who take turns at it, until this one is done.
    let mut kept = (scenario.own_broker && !embedded)
        .then(|| BROKERS.alone[kind].lock().unwrap_or_else(PoisonError::into_inner));
    let broker = match kept.as_mut().map(|kept| kept.take()) {
        Some(Some(there)) => there.map_err(|why| skip(kind, &why)).ok()?,
        Some(None) => RUNTIME.block_on(own(kind)).expect("where one started, another does"),
        None if embedded => RUNTIME.block_on(own(kind)).expect("the model starts"),
        None => broker(kind)?,
    };
    let _turn = turn(when);
    if scenario.exclusive {
        let played = play_isolated(scenario, &subject_spec.name, &broker);
        if let Some(kept) = kept.as_mut() {
            **kept = Some(Ok(broker));
        }
        return Some(played);
    }
    // The same scenario may be played by several tests at a time.
    static PLAYED: AtomicU32 = AtomicU32::new(0);
    let number = PLAYED.fetch_add(1, Ordering::Relaxed);
    let vhost = format!("test-{}-{number}-{}-{}", *RUN, subject_spec.name, scenario.name);
    let environment = Environment {
        broker: broker.clone(),
        vhost: vhost.clone(),
        alone: false,
        network: Arc::new(Network::Embedded),
        halt: CancellationToken::new(),
    };
    let SubjectSpec { name, promises, .. } = subject_spec;
    let plan = Plan::resolve(scenario, Seed::random(), name, promises, kind);
    let dir = std::env::var_os("GAUNTLET_KEEP").map(|d| PathBuf::from(d).join(&vhost).join(kind));
    let history = RUNTIME.block_on(run(&plan, subject_spec, &environment, dir.as_deref()));
    if embedded {
        RUNTIME.block_on(broker.stop()).expect("the broker stops");
    }
    match kept {
        // Whatever state it is in after an error is not for the next one.
        Some(mut kept) if history.is_ok() => *kept = Some(Ok(broker)),
        Some(_) => RUNTIME.block_on(broker.stop()).expect("the broker stops"),
        None => {}
    }
    let history = history.expect("the environment holds");
    let judgement = judge(&plan, &history);
    Some(Played { plan, history, judgement })
}

/// Plays a scenario that counts what its process holds in a process of its own: the command.
fn play_isolated(scenario: &Scenario, subject: &str, broker: &Broker) -> Played {
    let out = tempfile::tempdir().expect("a directory for the run");
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_gauntlet"));
    command.args(["run", &scenario.name, "--subject", subject, "--out"]).arg(out.path());
    command.env("GAUNTLET_BROKER", broker.as_external().in_full());
    let output = command.output().expect("the command can be run");
    let (plan, history) = load(&out.path().join(&scenario.name)).unwrap_or_else(|e| {
        panic!("{e}\n{}", String::from_utf8_lossy(&[output.stdout, output.stderr].concat()))
    });
    let judgement = judge(&plan, &history);
    Played { plan, history, judgement }
}

/// The report of a run that did not come out as wanted.
pub fn explain(played: &Played) -> String {
    use gauntlet_harness::suite::{RunOutcome, RunReport};
    use gauntlet_judge::report::summary::{Detail, Told, details};
    let report = RunReport {
        scenario: played.plan.scenario.name.clone(),
        title: played.plan.scenario.title.clone(),
        subject: played.plan.subject.clone(),
        dir: None,
        took: std::time::Duration::ZERO,
        outcome: RunOutcome::Judged(Box::new(played.clone())),
    };
    details(
        &report,
        played,
        &format!("gauntlet run {} --seed {}", report.scenario, played.plan.seed),
        Detail::Brief,
        &mut Told::default(),
    )
}
