//! The plan of one run: a scenario with every choice made, saved beside the history.
//!
//! Owns the resolution (random moments drawn from the seed, repeated steps unrolled) and the
//! plan's file format. A plan and a history are all a checker needs.

use std::time::Duration;

use gauntlet_faults::{Fault, Seed};
use rand::RngExt;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::broker_fault::BrokerFault;
use crate::checkers::three_heartbeats;
use crate::history::ledger::QUEUE;
use crate::history::{Event, History, What};
use crate::promises::Promises;
use crate::scenario::{Expect, Scenario, Step, SubjectFault, Trigger};

/// The version of the plan's and the history's file format.
pub const FORMAT: u32 = 1;

/// Everything decided before the run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// [`FORMAT`] when written.
    pub format: u32,
    /// The scenario; its steps as the file says them.
    pub scenario: Scenario,
    /// The steps to play, in order: repeats unrolled, random moments drawn. Step numbers in the history are indexes into it.
    pub steps: Vec<Step>,
    /// The seed; decimal.
    pub seed: u64,
    /// The subject's name.
    pub subject: String,
    /// The command that starts it, where it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// What the subject promises.
    pub promises: Promises,
    /// The broker, in words: `container rabbitmq:4.0-management (RabbitMQ 4.0.5)`.
    pub broker: String,
    /// The queue.
    pub queue: String,
}

/// What tells a plan from any other, however its file is laid out: `sha256:` and the hash of its JSON without white space.
pub fn digest(plan: &serde_json::Value) -> String {
    use std::fmt::Write;
    let mut text = "sha256:".to_owned();
    for byte in Sha256::digest(plan.to_string()) {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// What the drain may take beyond the longest recovery.
const CATCHES_UP: Duration = Duration::from_secs(15);

/// What a blackhole lasts beyond the time it has to be noticed in.
const TOLD_APART: Duration = Duration::from_secs(1);

/// What a connection is left without an answer beyond the time the subject has to recover in.
const OUTLASTS: Duration = Duration::from_secs(2);

/// The scenario, with its bounds as wide as the subject's promises.
fn held_to(scenario: &Scenario, promises: &Promises) -> Scenario {
    let mut scenario = scenario.clone();
    let expect = &mut scenario.expect;
    if let Some(bound) = promises.recovers_within {
        expect.recovers_within = expect.recovers_within.max(bound);
        expect.drains_within = expect.drains_within.max(bound + CATCHES_UP);
        // After each of many recoveries there must be something left to handle.
        let recoveries = scenario
            .steps
            .iter()
            .filter(|s| s.when == Trigger::Idle)
            .map(|s| s.repeat)
            .sum::<u32>();
        let lasts = f64::from(recoveries) * (bound + Duration::from_secs(1)).as_secs_f64();
        let workload = &mut scenario.workload;
        if let Some(rate) = workload.rate.as_mut().filter(|_| recoveries > 1) {
            *rate = rate.min(f64::from(workload.messages) / lasts);
        }
    }
    held_to_notice(&mut scenario, promises);
    outlast(&mut scenario);
    let expect = &mut scenario.expect;
    if let Some(bound) = promises.stops_within {
        expect.stops_within = expect.stops_within.max(bound);
    }
    scenario
}

/// Where a silent peer is to be noticed: a cable stays pulled until that has to have happened, and where the flow is
/// forgotten, recovery begins with it.
fn held_to_notice(scenario: &mut Scenario, promises: &Promises) {
    let bound = promises
        .notices_within
        .unwrap_or_else(|| Duration::from_nanos(three_heartbeats(scenario.subject.heartbeat)));
    let tells = promises.heartbeats && scenario.decides.iter().any(|d| d == "I16");
    if tells || promises.notices_within.is_some() {
        let holes =
            scenario.steps.iter_mut().filter(|s| matches!(s.fault, Some(Fault::Blackhole { .. })));
        for lasts in holes.filter_map(|step| step.lasts.as_mut()) {
            *lasts = (*lasts).max(bound + TOLD_APART);
        }
    }
    let forgets = scenario
        .steps
        .iter()
        .any(|s| matches!(s.fault, Some(Fault::Blackhole { resume: false, .. })));
    let said = promises.notices_within.is_some() || promises.recovers_within.is_some();
    if forgets && said {
        let expect = &mut scenario.expect;
        let comes_back = promises.recovers_within.unwrap_or(Expect::default().recovers_within);
        expect.recovers_within = expect.recovers_within.max(bound + comes_back);
        expect.drains_within = expect.drains_within.max(expect.recovers_within + CATCHES_UP);
    }
}

/// A connection that is never answered is not answered for longer than the subject has to recover: one that waits for
/// an answer for ever is to be told from one that does not.
fn outlast(scenario: &mut Scenario) {
    let bound = scenario.expect.recovers_within + OUTLASTS;
    let of_some = |s: &&mut Step| s.fault == Some(Fault::Ignore) && s.connections.is_some();
    for lasts in scenario.steps.iter_mut().filter(of_some).filter_map(|s| s.lasts.as_mut()) {
        *lasts = (*lasts).max(bound);
    }
}

impl Plan {
    /// Resolves a scenario. The seed fixes the schedule, not how real processes interleave.
    pub fn resolve(
        scenario: &Scenario,
        seed: Seed,
        subject: &str,
        promises: &Promises,
        broker: &str,
    ) -> Plan {
        let scenario = held_to(scenario, promises);
        let mut rng = seed.stream(&format!("schedule/{}", scenario.name));
        let mut steps = Vec::new();
        for step in &scenario.steps {
            let mut unrolled: Vec<Step> = Vec::new();
            for _ in 0..step.repeat {
                let mut one = Step { repeat: 1, ..step.clone() };
                if let Trigger::HandledBetween { from, to } = step.when {
                    one.when = Trigger::Handled(rng.random_range(from..to));
                }
                unrolled.push(one);
            }
            unrolled.sort_by_key(|s| match s.when {
                Trigger::Handled(n) => n,
                _ => 0,
            });
            steps.extend(unrolled);
        }
        Plan {
            format: FORMAT,
            scenario,
            steps,
            seed: seed.0,
            subject: subject.to_owned(),
            command: None,
            promises: promises.clone(),
            broker: broker.to_owned(),
            queue: QUEUE.to_owned(),
        }
    }

    /// The plan as the history shows it: a subject that reports its handlings has them judged, and one that reported
    /// more than was kept has none.
    pub fn as_seen(&self, history: &History) -> Plan {
        let mut plan = self.clone();
        let promises = &mut plan.promises;
        if promises.reports_when_seen && !promises.reports_handling {
            let reported = |e: &Event| matches!(e.what, What::HandlerStarted { .. });
            promises.reports_handling = history.events().iter().any(reported);
        }
        let flood = |e: &Event| matches!(e.what, What::Flood { .. });
        promises.reports_handling &= !history.events().iter().any(flood);
        plan
    }

    /// Whether the schedule itself asks the subject to stop, so that work is left over on purpose.
    pub fn stops_early(&self) -> bool {
        self.steps.iter().any(|s| s.subject == Some(SubjectFault::Stop))
    }

    /// Messages to be kept for when a broker that goes down, or a queue that is deleted, is back.
    pub fn reserve(&self) -> u32 {
        let down = |fault: &BrokerFault| {
            let down =
                matches!(fault, BrokerFault::Restart | BrokerFault::RestartApp | BrokerFault::Kill);
            down || *fault == BrokerFault::DeleteQueue
        };
        let goes_down = self.steps.iter().filter_map(|s| s.broker.as_ref()).any(down);
        if goes_down { self.scenario.workload.messages / 10 } else { 0 }
    }

    /// Whether the schedule asks the subject to stop at once.
    pub fn aborts(&self) -> bool {
        self.steps.iter().any(|s| s.subject == Some(SubjectFault::Abort))
    }

    /// The heartbeat the subject was told to ask for.
    pub fn heartbeat(&self) -> Duration {
        Duration::from_secs(self.scenario.subject.heartbeat.into())
    }
}

#[cfg(test)]
mod tests;
