//! fired: was there anything to decide? Every fault touched something, every expected frame was
//! seen, the subject connected and was delivered to, and no phase gave up on its condition.
//!
//! It never fails a subject: what is missing here makes the run Unknown, with that reason.

use std::collections::BTreeMap;

use gauntlet_amqp::{Args, Frame};
use gauntlet_faults::Direction;

use super::{Case, Checker, Decision};
use crate::history::{Event, Phase, What};
use crate::scenario::{Ends, Step, describe};

/// The entry in the catalogue.
pub const CHECKER: Checker = Checker {
    id: "fired",
    name: "fired",
    fails_when: "never; it is unknown when a fault, an expected frame, a connection or a delivery did not come about",
    decide,
};

fn decide(case: &Case<'_>) -> Decision {
    let refused = case.plan.scenario.expect.outcome == Ends::Refused;
    let mut missing: Vec<(String, Option<u64>)> = Vec::new();
    for event in case.history.events() {
        missing.extend(gave_up(event, refused).map(|why| (why, Some(event.seq))));
    }
    missing.extend(untouched(case).into_iter().map(|why| (why, None)));
    for pattern in &case.plan.scenario.expect.sees {
        if !case.history.events().iter().any(|e| shows(e, pattern)) {
            missing.push((format!("`{pattern}` was never on the wire"), None));
        }
    }
    if !refused && !case.ledger.connections.values().any(|c| c.opened.is_some()) {
        missing.push(("the subject never had an open connection".into(), None));
    } else if !refused && case.ledger.delivered == 0 {
        missing.push(("no delivery reached the subject".into(), None));
    }
    if !case.history.complete() {
        missing.push(("the history stops before the end of the run".into(), None));
    }
    if missing.is_empty() {
        return Decision::pass(format!("{}; {}", touched(case), traffic(case)));
    }
    let more = missing.len().saturating_sub(3);
    let mut words: Vec<String> = missing.iter().take(3).map(|(why, _)| why.clone()).collect();
    if more > 0 {
        words.push(format!("{more} more"));
    }
    let evidence = missing.iter().filter_map(|(_, seq)| *seq).take(12).collect();
    Decision { evidence, ..Decision::unknown(words.join("; ")) }
}

/// Steps that touched nothing. The schedule ends with a step whose condition does not come true; those after it are
/// only counted.
fn untouched(case: &Case<'_>) -> Vec<String> {
    let steps = case.plan.steps.iter().enumerate();
    let untouched =
        steps.filter(|(i, _)| case.ledger.steps.get(i).is_none_or(|s| s.fired.is_empty()));
    let missed = case.ledger.missed.unwrap_or(usize::MAX);
    let (reached, after): (Vec<_>, Vec<_>) =
        untouched.filter(|(i, _)| *i != missed).partition(|(i, _)| *i < missed);
    let never = |(i, step): (usize, &Step)| {
        format!("step {} ({}) never touched anything", i + 1, describe(step))
    };
    let mut words: Vec<String> = reached.into_iter().map(never).collect();
    match after.len() {
        0 => {}
        1 => words.push("the step after it was not played".into()),
        n => words.push(format!("the {n} steps after it were not played")),
    }
    words
}

/// A step or a phase whose condition did not come true. The stop and the settling are left to the
/// checkers that decide just that: drain, and the leaks.
fn gave_up(event: &Event, refused: bool) -> Option<String> {
    match &event.what {
        What::CutShort { why } => Some(format!("the run was cut short: {why}")),
        What::StepMissed { step, missing } => {
            Some(format!("step {} was not played: {missing}", step + 1))
        }
        What::PhaseOverran { phase: Phase::Stop | Phase::Settle, .. } => None,
        What::PhaseOverran { phase: Phase::Start, .. } if refused => None,
        What::PhaseOverran { phase, missing } => {
            Some(format!("the {phase} phase overran: {missing}"))
        }
        _ => None,
    }
}

/// Whether the event is a frame that `> METHOD` or `< METHOD [CODE]` describes.
fn shows(event: &Event, pattern: &str) -> bool {
    let What::Wire { way, frame, .. } = &event.what else { return false };
    let mut words = pattern.split_ascii_whitespace();
    let direction = match way {
        Direction::ToBroker => ">",
        Direction::ToClient => "<",
    };
    words.next() == Some(direction)
        && words.next() == Some(&*frame.name)
        && words.all(|word| says(frame, word))
}

fn says(frame: &Frame, word: &str) -> bool {
    match (&frame.args, word.parse::<u16>()) {
        (Args::Close { code, .. }, Ok(wanted)) => *code == wanted,
        _ => frame.to_string().split_ascii_whitespace().skip(2).any(|w| w == word),
    }
}

/// "3 of 3 steps fired: 2 x reset on connection 1, restart".
fn touched(case: &Case<'_>) -> String {
    let mut notes: BTreeMap<(usize, String), u32> = BTreeMap::new();
    for event in case.history.events() {
        if let What::Fired { step, conn, note } = &event.what {
            let on = conn.map(|c| format!(" on connection {c}")).unwrap_or_default();
            *notes.entry((*step, format!("{note}{on}"))).or_default() += 1;
        }
    }
    if case.plan.steps.is_empty() {
        return "no fault was planned".into();
    }
    let total: u32 = notes.values().sum();
    let times = |n: u32| if n > 1 { format!("{n} x ") } else { String::new() };
    let mut words: Vec<String> = notes
        .iter()
        .take(4)
        .map(|((step, note), n)| format!("{}{note} (step {})", times(*n), step + 1))
        .collect();
    if notes.len() > words.len() {
        words.push(format!("{} more", notes.len() - words.len()));
    }
    let steps = case.plan.steps.len();
    format!("{steps} steps fired, {total} times: {}", words.join(", "))
}

fn traffic(case: &Case<'_>) -> String {
    let opened = case.ledger.connections.values().filter(|c| c.opened.is_some()).count();
    format!("{opened} connections opened, {} deliveries reached the subject", case.ledger.delivered)
}

/// What the tests of several checkers need beside a [`HistoryBuilder`](super::testing::HistoryBuilder).
#[cfg(test)]
pub(super) mod aid {
    use gauntlet_faults::Seed;

    use super::super::testing::HistoryBuilder;
    use super::super::{Case, Checker, Decision};
    use crate::history::ledger::Ledger;
    use crate::history::{Event, History, What};
    use crate::plan::Plan;
    use crate::report::trace;
    use crate::scenario;

    /// The tale's steps, as TOML: `[[step]]` and so on.
    pub fn steps(tale: &mut HistoryBuilder, steps: &str) {
        let text = format!("# A tale.\ntitle = \"tale\"\ndecides = []\nown_broker = true\n{steps}");
        tale.scenario.steps = scenario::parse("tale", &text).expect("valid steps").steps;
    }

    /// The evidence of a decision in words, in its order.
    pub fn cited(tale: &mut HistoryBuilder, decision: &Decision) -> Vec<String> {
        let history = History::new(events(tale));
        let words =
            |seq: &u64| trace::words(history.get(*seq).expect("evidence is in the history"));
        decision.evidence.iter().map(words).collect()
    }

    /// What the checker says when the history stops with the tale, the harness killed.
    pub fn unfinished(tale: &mut HistoryBuilder, checker: &Checker) -> Decision {
        let history =
            History::new(events(tale).into_iter().filter(|e| e.what != What::End).collect());
        let ledger = Ledger::of(history.events());
        let plan = Plan::resolve(&tale.scenario, Seed(1), "tale", &tale.promises, "none");
        (checker.decide)(&Case { plan: &plan, history: &history, ledger: &ledger })
    }

    fn events(tale: &mut HistoryBuilder) -> Vec<Event> {
        const TELL: Checker = Checker { id: "", name: "", fails_when: "", decide: tell };
        fn tell(case: &Case<'_>) -> Decision {
            Decision::pass(serde_json::to_string(case.history.events()).expect("events are JSON"))
        }
        serde_json::from_str(&tale.judge(&TELL).summary).expect("events are JSON")
    }
}

#[cfg(test)]
mod tests {
    use gauntlet_faults::End;

    use super::super::testing::HistoryBuilder;
    use super::aid::{cited, steps, unfinished};
    use super::*;
    use crate::verdict::Outcome::{Pass, Unknown};

    const TWO: &str = "[[step]]\nwhen = \"idle\"\nbroker = \"kill\"\nrepeat = 2\n";

    fn fire(tale: &mut HistoryBuilder, step: usize, conn: Option<u64>) {
        tale.what(What::Fired { step, conn, note: "reset".into() });
    }

    fn busy() -> HistoryBuilder {
        let mut tale = HistoryBuilder::new();
        tale.connect(1, 10).consume(1, 1, 8).served(1, 1, 1, 0);
        tale
    }

    #[test]
    fn all_fired_passes_and_says_on_what() {
        let mut tale = busy();
        steps(&mut tale, TWO);
        fire(&mut tale, 0, Some(1));
        fire(&mut tale, 0, Some(1));
        fire(&mut tale, 1, None);
        let said = tale.expect(&CHECKER, Pass).summary;
        assert!(
            said.starts_with(
                "2 steps fired, 3 times: 2 x reset on connection 1 (step 1), reset (step 2)"
            ),
            "{said}"
        );
        assert!(said.ends_with("1 connections opened, 1 deliveries reached the subject"), "{said}");
    }

    #[test]
    fn a_step_that_touched_nothing_is_unknown() {
        let mut tale = busy();
        steps(&mut tale, TWO);
        fire(&mut tale, 0, Some(1));
        let said = tale.expect(&CHECKER, Unknown).summary;
        assert!(said.starts_with("step 2 (") && said.ends_with("never touched anything"), "{said}");
    }

    #[test]
    fn a_missed_step_is_unknown_and_cited() {
        let mut tale = busy();
        tale.at(50.0).what(What::StepMissed { step: 0, missing: "200 messages handled".into() });
        let decision = tale.expect(&CHECKER, Unknown);
        assert_eq!(decision.summary, "step 1 was not played: 200 messages handled");
        assert_eq!(cited(&mut tale, &decision), ["- fault step 1 missed: 200 messages handled"]);
    }

    #[test]
    fn steps_after_a_missed_one_are_counted_and_the_cause_comes_first() {
        let mut tale = busy();
        steps(&mut tale, &TWO.replace("repeat = 2", "repeat = 30"));
        fire(&mut tale, 0, Some(1));
        tale.what(What::StepMissed { step: 1, missing: "nothing was handled".into() });
        assert_eq!(
            tale.expect(&CHECKER, Unknown).summary,
            "step 2 was not played: nothing was handled; the 28 steps after it were not played"
        );
    }

    #[test]
    fn a_run_that_was_cut_short_says_why() {
        let mut tale = busy();
        tale.what(What::CutShort { why: "it took 3m, its upper bound".into() });
        assert_eq!(
            unfinished(&mut tale, &CHECKER).summary,
            "the run was cut short: it took 3m, its upper bound; the history stops before the end of the run"
        );
    }

    #[test]
    fn overrun_phases_are_unknown_but_for_those_others_decide() {
        for (phase, expect) in [
            (Phase::Drain, Unknown),
            (Phase::Heal, Unknown),
            (Phase::Stop, Pass),
            (Phase::Settle, Pass),
        ] {
            let mut tale = busy();
            tale.what(What::PhaseOverran { phase, missing: "something".into() });
            tale.expect(&CHECKER, expect);
        }
    }

    #[test]
    fn expected_frames_must_be_seen_with_their_code_and_direction() {
        for (pattern, expect) in [
            ("< connection.close 320", Pass),
            ("< connection.close", Pass),
            ("< connection.close 200", Unknown),
            ("> connection.close 320", Unknown),
            ("< basic.cancel", Unknown),
        ] {
            let mut tale = busy();
            let args =
                Args::Close { code: 320, text: "CONNECTION_FORCED".into(), class: 0, method: 0 };
            tale.frame(1, End::Broker, Direction::ToClient, 0, "connection.close", args);
            tale.scenario.expect.sees = vec![pattern.into()];
            tale.expect(&CHECKER, expect);
        }
    }

    #[test]
    fn without_connection_or_delivery_nothing_is_proven_unless_it_is_to_be_refused() {
        let said = HistoryBuilder::new().expect(&CHECKER, Unknown).summary;
        assert_eq!(said, "the subject never had an open connection");
        let said = HistoryBuilder::new().connect(1, 10).expect(&CHECKER, Unknown).summary;
        assert_eq!(said, "no delivery reached the subject");
        let mut tale = HistoryBuilder::new();
        tale.scenario.expect.outcome = Ends::Refused;
        tale.expect(&CHECKER, Pass);
    }
}
