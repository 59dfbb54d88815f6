//! What each phase of a run may take, and the sum of it: no run takes longer.
//!
//! Owns the figures. A run that reaches the sum is cut short, which makes it Unknown.

use std::time::Duration;

use gauntlet_judge::plan::Plan;
use gauntlet_judge::scenario::{Ends, Step, SubjectFault, Trigger};

use crate::broker::BrokerFault;
use crate::conductor::{ATTEMPT_GRACE, patience, trigger_bound};

/// The subject must consume, with nothing in its way, within this.
const START: Duration = Duration::from_secs(10);
/// A process may have a runtime and a framework to load first.
const PROCESS_START: Duration = Duration::from_secs(30);
/// The first messages must be handled within this.
pub(super) const STEADY: Duration = Duration::from_secs(20);
/// A subject that is refused and promises to give up must do so within this.
pub(super) const REFUSED: Duration = Duration::from_secs(10);
/// Beyond its bound to stop, a subject is given this before it is torn down, so that "too late" can be told from
/// "never".
pub(super) const STOP_GRACE: Duration = Duration::from_secs(2);
/// Tasks and sockets of an ended subject may take so long, and half a heartbeat, to go: a heartbeat's task may notice
/// only at its next turn.
const GOING: Duration = Duration::from_secs(1);
/// The broker's figures must be what they should be within this.
pub(super) const FIGURES: Duration = Duration::from_secs(8);
/// Lifting what is in force: each of it must have been met by something first.
const HEAL: Duration = Duration::from_secs(15);
/// A node that goes down and comes back.
const NODE: Duration = Duration::from_secs(60);
/// A process that is killed, and the one in its place.
const REPLACED: Duration = Duration::from_secs(10);
/// Beyond all bounds: an answer of the broker that is late here and there.
const SLACK: Duration = Duration::from_secs(15);

/// The upper bound of a run from the subject's start to what the broker holds after its end.
pub fn upper_bound(plan: &Plan) -> Duration {
    let refused = plan.scenario.expect.outcome == Ends::Refused;
    let armed = plan.steps.iter().any(|s| s.when == Trigger::Start);
    let before = if refused || armed { Duration::ZERO } else { start(plan) + FIGURES + STEADY };
    let ended = match refused {
        true => REFUSED,
        false => 2 * drain(plan) + FIGURES,
    };
    before + faults(plan) + HEAL + ended + torn_down(plan) + settle(plan) + SLACK
}

/// Until it consumes.
pub(super) fn start(plan: &Plan) -> Duration {
    if plan.command.is_some() { PROCESS_START } else { START }
}

/// Until everything is published; and from then on, until everything is handled, the queue is empty and every copy
/// consumes.
pub(super) fn drain(plan: &Plan) -> Duration {
    plan.scenario.expect.drains_within
}

/// From the request to stop until it is torn down.
pub(super) fn stop(plan: &Plan) -> Duration {
    plan.scenario.expect.stops_within + STOP_GRACE
}

/// From the request to stop until it is torn down on a machine that is busy all the time.
pub(super) fn torn_down(plan: &Plan) -> Duration {
    3 * stop(plan)
}

/// Until nothing is left of it in its process.
pub(super) fn going(plan: &Plan) -> Duration {
    GOING + plan.heartbeat() / 2
}

/// Until the broker has forgotten it.
pub(super) fn forgotten(plan: &Plan) -> Duration {
    FIGURES + 3 * plan.heartbeat()
}

fn settle(plan: &Plan) -> Duration {
    super::afterlife(&plan.promises) + going(plan) + forgotten(plan)
}

/// Every step in time, one condition that is not met, and the work that slows it all.
fn faults(plan: &Plan) -> Duration {
    let (work, told) = (&plan.scenario.workload, &plan.scenario.subject);
    let published = work.rate.map_or(0.0, |rate| f64::from(work.messages) / rate);
    let handlers = f64::from(told.workers) * f64::from(told.copies);
    let handled = f64::from(work.messages) * told.handler_time.as_secs_f64() / handlers.max(1.0);
    let slow = told.slow.as_ref().map_or(Duration::ZERO, |slow| slow.time);
    let steps: Duration = plan.steps.iter().map(|s| step(plan, s)).sum();
    let missed = if plan.steps.is_empty() { Duration::ZERO } else { trigger_bound(plan) };
    steps + missed + Duration::from_secs_f64(published.max(handled)) + slow + 2 * drain(plan)
}

fn step(plan: &Plan, step: &Step) -> Duration {
    let (recovered, stopped) = (patience(plan), plan.scenario.expect.stops_within);
    let when = match step.when {
        Trigger::Start => Duration::ZERO,
        Trigger::After(pause) => pause,
        Trigger::Frame { .. }
        | Trigger::Handled(_)
        | Trigger::HandledBetween { .. }
        | Trigger::Idle => recovered,
    };
    let fires = if step.connections.is_some() { recovered } else { Duration::ZERO };
    let broker = match step.broker {
        Some(BrokerFault::Restart | BrokerFault::RestartApp | BrokerFault::Kill) => NODE,
        Some(_) => HEAL,
        None => Duration::ZERO,
    };
    let subject = match step.subject {
        Some(SubjectFault::Kill) => REPLACED,
        Some(SubjectFault::Replace) => REPLACED + stopped + recovered,
        Some(SubjectFault::Stop | SubjectFault::Abort) => stopped,
        Some(SubjectFault::Pause) | None => Duration::ZERO,
    };
    let pause = crate::on_subject::PAUSE;
    let pauses = step.subject == Some(SubjectFault::Pause);
    // It goes on until an attempt to recover meets it.
    let met = plan.scenario.expect.recovers_within + ATTEMPT_GRACE;
    let lasts = match step.lasts {
        Some(lasts) => lasts + met,
        None if pauses => pause,
        None => Duration::ZERO,
    };
    when + fires + broker + subject + lasts
}

#[cfg(test)]
mod tests {
    use gauntlet_network::Seed;

    use gauntlet_judge::scenario::parse;

    use super::*;
    use crate::subject::Promises;

    fn plan(steps: &str, promises: &Promises) -> Plan {
        let text = format!("# A tale.\ntitle = \"t\"\ndecides = []\nown_broker = true\n{steps}");
        let scenario = parse("t", &text).expect("valid");
        Plan::resolve(&scenario, Seed(1), "t", promises, "none")
    }

    #[test]
    fn every_step_adds_to_the_bound_and_a_slow_promise_widens_it() {
        let of = |steps: &str| upper_bound(&plan(steps, &Promises::all()));
        let idle = "[[step]]\nwhen = \"idle\"\nfault = { kind = \"rst\" }\n";
        let (none, one) = (of(""), of(idle));
        let many = of(&format!("{idle}repeat = 30\n"));
        assert!(none < one && one < many, "{none:?} {one:?} {many:?}");
        // One condition that is not met is waited out once, not thirty times.
        assert_eq!(many - one, 29 * Duration::from_secs(7));
        let lasts = of(&format!(
            "{idle}\n[[step]]\nwhen = {{ after = \"9s\" }}\nlasts = \"11s\"\nfault = {{ kind = \"refuse\" }}\n"
        ));
        // 9 s until then, 11 s of it, and at most 3 s until an attempt to recover meets it.
        assert_eq!(lasts - one, Duration::from_secs(23));
        let slow = Promises { recovers_within: Some(Duration::from_secs(60)), ..Promises::all() };
        assert!(upper_bound(&plan(idle, &slow)) > one + Duration::from_secs(60));
    }
}
