//! I22, fatal errors: fails when a refusal is retried beyond policy, or a passing error is taken for a
//! fatal one.
//!
//! A refusal is connection.close 403 or 530 before the connection is open, or, for clients that do not
//! ask for that, the broker's bare close after start-ok. That comes after 3 s of silence (RabbitMQ's
//! `SILENT_CLOSE_DELAY`): a client with a wrong password that waits no longer is refused when it leaves.

use std::collections::BTreeSet;
use std::time::Duration;

use gauntlet_amqp::Args;
use gauntlet_faults::{Direction, End};

use super::proof::{Violations, ending, last_ns, ms};
use super::turns::{Kept, Timed};
use super::{Case, Checker, Decision};
use crate::history::ledger::Mark;
use crate::history::{SubjectEnd, What};
use crate::promises::{Jitter, Refused};
use crate::scenario::Ends;

/// How many refused connections a subject that gives up may need to be sure; each of its workers may have one of its
/// own, and need as many.
const TRIES: usize = 3;

/// So many attempts within a second are a hot loop, where nothing else is promised.
const HOT: usize = 10;

/// Nanoseconds in a second.
const SECOND: u64 = 1_000_000_000;

/// The entry in the catalogue.
pub const CHECKER: Checker = Checker {
    id: "I22",
    name: "fatal errors",
    fails_when: "a refusal is retried beyond policy, or a passing error is taken for a fatal one",
    decide,
};

fn decide(case: &Case<'_>) -> Decision {
    if case.plan.scenario.expect.outcome == Ends::Stopped {
        return passing(case);
    }
    let refusals = refusals(case);
    if refusals.is_empty() {
        return Decision::unknown("the broker never refused the subject");
    }
    match case.plan.promises.refused {
        Refused::GivesUp => gives_up(case, &refusals),
        Refused::KeepsTrying => keeps_trying(case, &refusals),
        Refused::Either if gave_up_on_its_own(case) => gives_up(case, &refusals),
        Refused::Either => keeps_trying(case, &refusals),
    }
}

/// It ended with an error before it was asked to.
fn gave_up_on_its_own(case: &Case<'_>) -> bool {
    ending(case).is_some_and(|(at, how)| {
        matches!(how, SubjectEnd::Failed(_)) && case.ledger.stop_requested.is_none_or(|s| at < s)
    })
}

/// When the broker refused a connection, in order.
pub(super) fn refusals(case: &Case<'_>) -> Vec<Mark> {
    refused(case).into_iter().map(|(_, at)| at).collect()
}

/// Each refused connection, as (accepted, refused), in order of the refusals.
fn refused(case: &Case<'_>) -> Vec<(Option<Mark>, Mark)> {
    let (mut answered, mut silenced) = (BTreeSet::new(), BTreeSet::new());
    let mut refusals = Vec::new();
    let wrong_password = case.plan.scenario.subject.password.is_some();
    for event in case.history.events() {
        match &event.what {
            What::Wire { conn, end: End::Broker, way: Direction::ToBroker, frame }
                if wrong_password
                    && matches!(
                        frame.args,
                        Args::StartOk { authentication_failure_close: false, .. }
                    ) =>
            {
                silenced.insert(*conn);
            }
            What::Wire { conn, end: End::Client, way: Direction::ToBroker, frame }
                if &*frame.name == "connection.start-ok" =>
            {
                answered.insert(*conn);
            }
            What::Ended { conn, end, .. } => {
                let c = &case.ledger.connections[conn];
                // By whichever end was the first to go.
                let (refused, other) = match end {
                    End::Broker => (answered.contains(conn), c.client_left),
                    End::Client => (silenced.contains(conn), c.broker_over),
                };
                let first = other.is_none_or(|at| at > event.into());
                if refused && first && c.opened.is_none() && c.close.is_none() {
                    refusals.push((c.accepted, Mark::from(event)));
                }
            }
            _ => {}
        }
    }
    for c in case.ledger.connections.values().filter(|c| c.opened.is_none()) {
        if let Some((End::Broker, 403 | 530, _, at)) = c.close {
            refusals.push((c.accepted, at));
        }
    }
    refusals.sort_by_key(|(_, at)| *at);
    refusals
}

/// Whether it tried again too often after it was refused; an error says why that cannot be told.
fn retried(case: &Case<'_>) -> Result<bool, String> {
    let refused = refused(case);
    if refused.len() > TRIES * usize::from(case.plan.scenario.subject.workers.max(1)) {
        return Ok(true);
    }
    // The most connections that were begun one after the other was refused.
    let (mut in_turn, mut last) = (0, None);
    for (begun, over) in &refused {
        if last.is_none_or(|last| *begun > Some(last)) {
            (in_turn, last) = (in_turn + 1, Some(*over));
        }
    }
    if in_turn <= TRIES {
        return Ok(false);
    }
    // One that retries, or one worker after the other, each for the first time: it may say so itself.
    let failures = case.history.events().iter().filter_map(|e| match e.what {
        What::Attempt { failures } => Some(failures),
        _ => None,
    });
    let most = failures.max().filter(|_| case.plan.promises.reports_attempts);
    most.map(|most| most as usize >= TRIES).ok_or_else(|| {
        format!(
            "{in_turn} connections were refused one after the other; whether each was of another worker cannot be told"
        )
    })
}

fn gives_up(case: &Case<'_>, refusals: &[Mark]) -> Decision {
    let stop = case.ledger.stop_requested;
    let ended = ending(case).filter(|(at, _)| stop.is_none_or(|stop| *at < stop));
    let n = refusals.len();
    let mut charges = Violations::default();
    let evidence = || refusals.iter().map(|at| Some(*at));
    let retried = retried(case);
    if retried == Ok(true) {
        charges.add(
            format!(
                "it was refused {n} times before it stopped trying; {TRIES} are enough to give up"
            ),
            evidence(),
        );
    }
    match ended {
        Some((_, SubjectEnd::Failed(why))) if !why.trim().is_empty() => {
            charges.or_else(|| match retried {
                Err(unsure) => Decision::unknown(unsure),
                Ok(_) => Decision::pass(format!("refused {n} times, it gave up: {why}")),
            })
        }
        Some((at, how)) => {
            let how = match how {
                SubjectEnd::Panicked(_) => "panicked",
                SubjectEnd::Overran => "had to be torn down",
                SubjectEnd::Clean | SubjectEnd::Failed(_) | SubjectEnd::Terminated(_) => {
                    "ended without saying why"
                }
            };
            charges.add(
                format!("refused {n} times, it {how} at {}", ms(at)),
                evidence().chain([Some(at)]),
            );
            charges.or_else(|| Decision::unknown("decided above"))
        }
        None => {
            let until = stop.map_or(last_ns(case), |stop| stop.ns);
            let tried = Duration::from_nanos(until.saturating_sub(refusals[0].ns));
            let within = case.plan.scenario.expect.drains_within;
            if tried >= within {
                let words = format!(
                    "refused {n} times, it had not given up {} ms after the first refusal",
                    tried.as_millis()
                );
                // To the nanosecond its time is up.
                let bound = (within.as_nanos() as u64).saturating_sub(1);
                let timed = Timed::of(case, refusals[0].ns, until, bound);
                charges.late(&timed, words, evidence().chain([stop]));
            }
            charges.or_else(|| {
                Decision::unknown(format!(
                    "refused {n} times, it was stopped before it could give up"
                ))
            })
        }
    }
}

/// From the fourth attempt on, the backoff has reached its cap: gaps are at least half of it, or, when
/// they are drawn from nothing to the cap, half of their mean.
fn keeps_trying(case: &Case<'_>, refusals: &[Mark]) -> Decision {
    let stop = case.ledger.stop_requested;
    if let Some((at, how)) = ending(case).filter(|(at, _)| stop.is_none_or(|stop| *at < stop)) {
        let words =
            format!("it promises to keep trying when refused, and ended at {}: {how:?}", ms(at));
        return Decision::fail(words, vec![refusals[0].seq, at.seq]);
    }
    let tries = case.history.events().iter().filter(|e| matches!(e.what, What::Accepted { .. }));
    let tries: Vec<Mark> =
        tries.map(Mark::from).filter(|at| stop.is_none_or(|stop| *at < stop)).collect();
    let Some(backoff) = &case.plan.promises.backoff else {
        return hot_loop(case, &tries, refusals.len());
    };
    let mut charges = Violations::default();
    let until = stop.map_or(last_ns(case), |stop| stop.ns);
    if let Some(last) = tries.last() {
        let silent = Duration::from_nanos(until.saturating_sub(last.ns));
        let most = backoff.cap * 2 + case.plan.scenario.expect.recovers_within;
        if silent > most {
            let words = format!(
                "it promises to keep trying when refused, and did not for the last {} ms",
                silent.as_millis()
            );
            let timed = Timed::of(case, last.ns, until, most.as_nanos() as u64);
            charges.late(&timed, words, [Some(*last), stop]);
        }
    }
    let late = tries.get(2..).unwrap_or_default();
    let gaps: Vec<(Mark, Mark)> = late.windows(2).map(|w| (w[0], w[1])).collect();
    let least = backoff.cap.as_nanos() as u64 / 2;
    match backoff.jitter {
        Jitter::None => {
            for (from, to) in &gaps {
                let timed = Timed::at_least(case, (from.ns, to.ns), SECOND, least);
                let words = format!(
                    "refused, it tried again after {} ms; its cap is {} ms",
                    (to.ns - from.ns) / 1_000_000,
                    backoff.cap.as_millis()
                );
                charges.late(&timed, words, [Some(*from), Some(*to)]);
            }
        }
        Jitter::Full if gaps.len() >= 4 => {
            let mean =
                gaps.iter().map(|(from, to)| to.ns - from.ns).sum::<u64>() / gaps.len() as u64;
            let span = (gaps[0].0.ns, gaps[gaps.len() - 1].1.ns);
            let all = least / 2 * gaps.len() as u64;
            let timed = Timed::at_least(case, span, SECOND, all);
            if timed.kept != Kept::InTime {
                let words = format!(
                    "refused, it tried again every {} ms on average; its cap is {} ms",
                    mean / 1_000_000,
                    backoff.cap.as_millis()
                );
                charges.late(&timed, words, late.iter().map(|at| Some(*at)));
            }
        }
        Jitter::Full => {}
    }
    charges.or_else(|| match gaps.len() {
        n if n >= 4 || (n > 0 && backoff.jitter == Jitter::None) => Decision::pass(format!(
            "refused {} times, it kept trying no faster than its cap allows",
            refusals.len()
        )),
        n => Decision::unknown(format!(
            "{n} attempts after the third are too few to tell how fast it keeps trying"
        )),
    })
}

/// Where no backoff is promised: many attempts within a second are no backoff at all.
fn hot_loop(case: &Case<'_>, tries: &[Mark], refusals: usize) -> Decision {
    let timed = |w: &[Mark]| Timed::at_least(case, (w[0].ns, w[HOT - 1].ns), SECOND, SECOND + 1);
    let hot: Vec<&[Mark]> = tries.windows(HOT).filter(|w| timed(w).kept != Kept::InTime).collect();
    let surely = hot.iter().find(|w| timed(w).kept == Kept::Late);
    match surely.or(hot.first()) {
        Some(tries) => timed(tries).decision(
            format!("refused, it tried again {HOT} times within a second: a hot loop"),
            tries.iter().map(|at| at.seq).collect(),
        ),
        None => Decision::pass(format!(
            "refused {refusals} times, it kept trying, {} attempts in all and no {HOT} within a second",
            tries.len()
        )),
    }
}

/// In a scenario whose troubles pass, the subject must not give up.
fn passing(case: &Case<'_>) -> Decision {
    if !case.plan.promises.reconnects {
        return Decision::not_applicable("the subject does not promise to come back after trouble");
    }
    let of_path = |i: &usize| case.plan.steps.get(*i).is_none_or(|s| s.subject.is_none());
    let fired = case.ledger.steps.iter().filter(|(i, s)| of_path(i) && !s.fired.is_empty());
    let troubles: Vec<Mark> = fired.flat_map(|(_, s)| s.fired.first().copied()).collect();
    let stop = case.ledger.stop_requested;
    let ended = ending(case);
    if let Some((at, SubjectEnd::Failed(why))) =
        ended.filter(|(at, _)| stop.is_none_or(|stop| *at < stop))
    {
        let attempts = case.history.events().iter().filter_map(|e| match e.what {
            What::Attempt { failures } if Mark::from(e) < at => Some(failures + 1),
            _ => None,
        });
        let most = case.plan.promises.backoff.as_ref().and_then(|b| b.max_attempts);
        if most.is_some_and(|most| attempts.max().unwrap_or(0) >= most) {
            return Decision::not_applicable("it gave up after as many attempts as it promises");
        }
        let before = troubles.iter().copied().filter(|trouble| *trouble < at).max();
        if before.is_none() {
            return Decision::not_applicable("it ended before anything had gone wrong");
        }
        let mut charges = Violations::default();
        charges.late(
            &Timed::gave_up(case, before.map_or(0, |m| m.ns), at.ns),
            format!("a passing error was taken for a fatal one at {}: {why}", ms(at)),
            [before, Some(at)],
        );
        return charges.or_else(|| Decision::unknown("decided above"));
    }
    match (troubles.len(), ended) {
        (0, _) => Decision::not_applicable("nothing went wrong that could be taken for fatal"),
        (_, None) => Decision::unknown("the history does not say how the subject ended"),
        (n, Some(_)) => Decision::pass(format!("{n} troubles that pass were not taken for fatal")),
    }
}

#[cfg(test)]
mod tests;
