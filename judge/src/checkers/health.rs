//! I21, health truth: fails when the subject says it is ready and does not consume, or says it is not and works.
//!
//! What it says is what its health endpoint answered, asked a few times a second; that it consumes is what the wire
//! says: a consume-ok on a connection it may still use, or, from one that polls, a basic.get not long ago. Behind a silent link it cannot know better, and is not blamed.

use super::heartbeat::ms;
use super::proof::{Violations, first};
use super::turns::{Kept, Timed};
use super::{Case, Checker, Decision};
use crate::history::What;
use crate::history::ledger::{Mark, POLLS_WITHIN};
use crate::promises::HealthPromise;
use crate::scenario::SubjectFault;

/// How long what it says and what is so may differ: two probes of a patient prober.
const GRACE: u64 = 3_000_000_000;

/// The entry in the catalogue.
pub const CHECKER: Checker = Checker {
    id: "I21",
    name: "health truth",
    fails_when: "it says it is ready and does not consume, or it says it is not and works",
    decide,
};

/// What a copy said, for how long.
struct Said {
    from: Mark,
    to: u64,
    status: Option<u16>,
    why: String,
}

fn decide(case: &Case<'_>) -> Decision {
    let Some(promise) = &case.plan.promises.health else {
        return Decision::not_applicable("the subject does not promise to serve its health");
    };
    if case.plan.scenario.subject.copies > 1 {
        return Decision::not_applicable("of several copies nobody knows which one consumes");
    }
    let end = case
        .ledger
        .stop_requested
        .or(case.ledger.subject_ended)
        .map_or_else(|| case.history.events().last().map_or(0, |e| e.ns), |m| m.ns);
    let said = said(case, end);
    let started =
        first(case, |what| matches!(what, What::ProcessStarted { .. })).map_or(0, |m| m.ns);
    if let Some(by) = taken(case, end) {
        return Decision::unknown(format!(
            "the port it was given for its health was held by somebody else: {by}"
        ));
    }
    if said.is_empty() && end.saturating_sub(started) <= GRACE {
        return Decision::not_applicable(
            "it was at work for less than 3 s, too short to blame it for not answering about its health",
        );
    }
    if said.is_empty() {
        return Decision::fail(
            format!("it promises its health under {} and never answered", promise.path),
            Vec::new(),
        );
    }
    let consumed = consumed(case, end);
    let mut charges = Violations::default();
    for s in &said {
        match s.status {
            Some(status) if promise.says_ready(status) => {
                charge_ready(case, &mut charges, s, status, &consumed);
            }
            _ => charge_not_ready(case, &mut charges, s, &consumed, promise),
        }
    }
    charges.or_else(|| match case.history.complete() {
        false => Decision::unknown("the history stops before the end of the run"),
        true => {
            Decision::pass(format!("what it said in {} answers that differed was so", said.len()))
        }
    })
}

/// Who held its port, if it did not answer there afterwards.
fn taken<'a>(case: &Case<'a>, end: u64) -> Option<&'a str> {
    let news = case.history.events().iter().rev().filter(|e| e.ns < end);
    let mut news = news.filter_map(|e| match &e.what {
        What::HealthTaken { by, .. } => Some(Some(by.as_str())),
        What::Health { status: Some(_), .. } => Some(None),
        _ => None,
    });
    news.next()?
}

/// Everything it said until then, in order.
fn said(case: &Case<'_>, end: u64) -> Vec<Said> {
    let mut said: Vec<Said> = Vec::new();
    for e in case.history.events().iter().filter(|e| e.ns < end) {
        let news = matches!(
            e.what,
            What::Health { .. } | What::HealthTaken { .. } | What::ProcessEnded { .. }
        );
        if let Some(last) = said.last_mut().filter(|last| news && last.to == end) {
            last.to = e.ns;
        }
        if let What::Health { status, why, .. } = &e.what {
            let why = why.clone().unwrap_or_default();
            said.push(Said { from: Mark::from(e), to: end, status: *status, why });
        }
    }
    said
}

/// The spans in which it had a consumer, joined.
fn consumed(case: &Case<'_>, end: u64) -> Vec<(u64, u64)> {
    let mut spans: Vec<(u64, u64)> = Vec::new();
    for epoch in &case.ledger.epochs {
        let over = epoch.client_over.map_or(end, |m| m.ns);
        for poll in epoch.polls.iter().filter(|p| p.under_test && p.answered.is_some()) {
            spans.push((poll.asked.ns, over.min(poll.asked.ns + POLLS_WITHIN)));
        }
        let polled = epoch.deliveries.values().filter(|d| d.consumer.is_empty() && !d.foreign);
        for d in polled {
            let Some(arrived) = d.at_client else { continue };
            let settled = d.settled.first().map_or(over, |i| epoch.settlements[*i].at_client.ns);
            spans.push((arrived.ns, over.min(settled)));
        }
        for c in epoch.consumers.iter().filter(|c| c.under_test) {
            let Some(ok) = c.ok else { continue };
            let over = [epoch.client_over, c.cancelled.map(|(_, at)| at)];
            spans.push((ok.ns, over.into_iter().flatten().map(|m| m.ns).min().unwrap_or(end)));
        }
    }
    spans.sort_unstable();
    let mut joined: Vec<(u64, u64)> = Vec::new();
    for (from, to) in spans {
        match joined.last_mut() {
            Some(last) if from <= last.1 => last.1 = last.1.max(to),
            _ => joined.push((from, to)),
        }
    }
    joined
}

fn charge_ready(
    case: &Case<'_>,
    charges: &mut Violations,
    s: &Said,
    status: u16,
    consumed: &[(u64, u64)],
) {
    // The gaps between the spans, within what it said.
    let mut from = s.from.ns;
    for (begins, ends) in consumed.iter().copied().chain([(s.to, s.to)]) {
        let to = begins.min(s.to);
        let timed = Timed::of(case, from, to, GRACE);
        if timed.kept != Kept::InTime && !frozen(case, from, to) {
            let words = format!(
                "it said {status} for {} while it had no consumer, {} allowed",
                ms(to - from),
                ms(GRACE)
            );
            let lost = case.ledger.connections.values().filter_map(|c| c.client_over);
            let lost = lost.filter(|m| m.ns <= from).max();
            charges.late(&timed, words, [lost, Some(s.from)]);
        }
        from = from.max(ends);
    }
}

fn charge_not_ready(
    case: &Case<'_>,
    charges: &mut Violations,
    s: &Said,
    consumed: &[(u64, u64)],
    promise: &HealthPromise,
) {
    let since = s.from.ns + GRACE;
    let whole = consumed.iter().any(|(from, to)| *from <= s.from.ns && *to >= s.to);
    if s.to <= since || !whole || frozen(case, s.from.ns, s.to) {
        return;
    }
    let acks = case.ledger.epochs.iter().flat_map(|e| &e.settlements).map(|a| a.at_client);
    let works: Vec<Mark> = acks.filter(|at| at.ns > since && at.ns < s.to).collect();
    if let [first, ..] = &works[..] {
        let answer = s.status.map_or_else(|| s.why.clone(), |status| status.to_string());
        let words = format!(
            "{} said it is not ready ({answer}) for {} while it consumed, and settled {} messages",
            promise.path,
            ms(s.to - s.from.ns),
            works.len()
        );
        let timed = Timed::of(case, s.from.ns, s.to, GRACE);
        charges.late(&timed, words, [Some(s.from), Some(*first)]);
    }
}

/// Whether it was stopped in its tracks meanwhile.
fn frozen(case: &Case<'_>, from: u64, to: u64) -> bool {
    case.ledger.steps.iter().any(|(i, step)| {
        let pause = case.plan.steps.get(*i).is_some_and(|s| s.subject == Some(SubjectFault::Pause));
        let began = step.fired.first().is_some_and(|m| m.ns < to);
        pause && began && step.usable.first().is_none_or(|m| m.ns > from)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkers::testing::HistoryBuilder;
    use crate::verdict::Outcome::{Fail, NotApplicable, Pass, Unknown};

    fn health(status: Option<u16>) -> What {
        let why = status.is_none().then(|| "no answer in 2 s".to_owned());
        What::Health { copy: 1, status, why }
    }

    /// It consumes from 100 ms on and says so, and loses its connection at 1 s.
    fn lost() -> HistoryBuilder {
        let mut tale = HistoryBuilder::new();
        tale.promises.health = Some(HealthPromise::default());
        tale.at(100.0).connect(1, 10).consume(1, 1, 8).what(health(Some(200))).at(1000.0).rst(1);
        tale
    }

    #[test]
    fn ready_without_a_consumer_fails_after_the_grace() {
        for (until, outcome) in [(3999.0, Pass), (4001.0, Fail)] {
            let decision = lost()
                .at(until)
                .what(health(Some(503)))
                .at(9000.0)
                .stops(1)
                .expect(&CHECKER, outcome);
            if outcome == Fail {
                assert!(decision.summary.starts_with("it said 200 for 3"), "{}", decision.summary);
                assert_eq!(decision.evidence.len(), 2, "said, lost");
            }
        }
    }

    #[test]
    fn ready_from_the_start_without_ever_consuming_fails() {
        let mut tale = HistoryBuilder::new();
        tale.promises.health = Some(HealthPromise::default());
        tale.at(10.0).what(health(Some(200))).at(5000.0).what(What::StopRequested);
        tale.expect(&CHECKER, Fail);
    }

    #[test]
    fn a_recovery_within_the_grace_is_no_lie() {
        lost()
            .at(3900.0)
            .connect(2, 10)
            .consume(2, 1, 8)
            .at(9000.0)
            .stops(2)
            .expect(&CHECKER, Pass);
        lost()
            .at(4100.0)
            .connect(2, 10)
            .consume(2, 1, 8)
            .at(9000.0)
            .stops(2)
            .expect(&CHECKER, Fail);
    }

    #[test]
    fn not_ready_while_it_works_fails() {
        for status in [Some(503), None] {
            for (works, outcome) in [(3990.0, Pass), (4010.0, Fail)] {
                let mut tale = HistoryBuilder::new();
                tale.promises.health = Some(HealthPromise::default());
                tale.at(100.0).connect(1, 10).consume(1, 1, 8).at(1000.0).what(health(status));
                tale.at(works).served(1, 1, 1, 0).at(5000.0).stops(1).expect(&CHECKER, outcome);
            }
        }
    }

    #[test]
    fn a_port_that_somebody_else_holds_is_not_held_against_it() {
        let taken = || What::HealthTaken { copy: 1, by: "process 7 (another test)".into() };
        let mut tale = HistoryBuilder::new();
        tale.promises.health = Some(HealthPromise::default());
        tale.connect(1, 10).consume(1, 1, 8).at(1000.0).what(taken());
        let decision = tale.at(9000.0).stops(1).expect(&CHECKER, Unknown);
        assert!(decision.summary.ends_with("process 7 (another test)"), "{}", decision.summary);
        // What it said before ends there; what it says afterwards counts.
        lost().at(2000.0).what(taken()).at(9000.0).stops(1).expect(&CHECKER, Unknown);
        for (until, outcome) in [(4000.0, Pass), (6000.0, Fail)] {
            let mut tale = lost();
            tale.at(1500.0).what(taken()).at(2000.0).what(health(Some(200)));
            tale.at(until).what(health(Some(503))).at(9000.0).stops(1).expect(&CHECKER, outcome);
        }
    }

    #[test]
    fn statuses_are_as_promised() {
        let promise = HealthPromise { ready: vec![204], ..HealthPromise::default() };
        assert!(promise.says_ready(204) && !promise.says_ready(200));
        assert!(HealthPromise::default().says_ready(299));
        assert!(!HealthPromise::default().says_ready(300));
    }

    #[test]
    fn not_at_stake_or_never_there() {
        let mut tale = lost();
        tale.promises.health = None;
        tale.expect(&CHECKER, NotApplicable);
        let mut tale = HistoryBuilder::new();
        tale.promises.health = Some(HealthPromise::default());
        tale.connect(1, 10).consume(1, 1, 8).at(2999.0).stops(1).expect(&CHECKER, NotApplicable);
        let mut tale = HistoryBuilder::new();
        tale.promises.health = Some(HealthPromise::default());
        tale.connect(1, 10).consume(1, 1, 8).at(3001.0).stops(1).expect(&CHECKER, Fail);
    }
}
