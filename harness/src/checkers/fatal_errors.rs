//! I22, fatal errors: fails when a refusal is retried beyond policy, or a passing error is taken for a
//! fatal one.
//!
//! A refusal is connection.close 403 or 530 before the connection is open, or, for clients that do not
//! ask for that, the broker's bare close after start-ok.

use std::collections::BTreeSet;
use std::time::Duration;

use gauntlet_network::{End, Way};

use super::proof::{Charges, ending, last_ns, ms};
use super::{Case, Checker, Decision};
use crate::history::ledger::Mark;
use crate::history::{SubjectEnd, What};
use crate::scenario::Ends;
use crate::subject::{Jitter, Refused};

/// How many refused connections a subject that gives up may need to be sure; each of its workers may have one of its
/// own, and need as many.
const TRIES: usize = 3;

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
    let mut answered = BTreeSet::new();
    let mut refusals = Vec::new();
    for event in case.history.events() {
        match &event.what {
            What::Wire { conn, end: End::Client, way: Way::ToBroker, frame }
                if &*frame.name == "connection.start-ok" =>
            {
                answered.insert(*conn);
            }
            What::Ended { conn, end: End::Broker, .. } if answered.contains(conn) => {
                let c = &case.ledger.connections[conn];
                if c.opened.is_none()
                    && c.close.is_none()
                    && c.client_left.is_none_or(|at| at > event.into())
                {
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
    let mut charges = Charges::default();
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
                SubjectEnd::Clean | SubjectEnd::Failed(_) => "ended without saying why",
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
            if tried >= case.plan.scenario.expect.drains_within {
                let words = format!(
                    "refused {n} times, it had not given up {} ms after the first refusal",
                    tried.as_millis()
                );
                charges.add(words, evidence().chain([stop]));
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
    let Some(backoff) = &case.plan.promises.backoff else {
        return Decision::unknown("it keeps trying, but promises no backoff to hold that to");
    };
    let tries = case.history.events().iter().filter(|e| matches!(e.what, What::Accepted { .. }));
    let tries: Vec<Mark> =
        tries.map(Mark::from).filter(|at| stop.is_none_or(|stop| *at < stop)).collect();
    let mut charges = Charges::default();
    let until = stop.map_or(last_ns(case), |stop| stop.ns);
    if let Some(last) = tries.last() {
        let silent = Duration::from_nanos(until.saturating_sub(last.ns));
        if silent > backoff.cap * 2 + case.plan.scenario.expect.recovers_within {
            let words = format!(
                "it promises to keep trying when refused, and did not for the last {} ms",
                silent.as_millis()
            );
            charges.add(words, [Some(*last), stop]);
        }
    }
    let late = tries.get(2..).unwrap_or_default();
    let gaps: Vec<(Mark, Mark)> = late.windows(2).map(|w| (w[0], w[1])).collect();
    let least = backoff.cap.as_nanos() as u64 / 2;
    match backoff.jitter {
        Jitter::None => {
            for (from, to) in gaps.iter().filter(|(from, to)| to.ns - from.ns < least) {
                let words = format!(
                    "refused, it tried again after {} ms; its cap is {} ms",
                    (to.ns - from.ns) / 1_000_000,
                    backoff.cap.as_millis()
                );
                charges.add(words, [Some(*from), Some(*to)]);
            }
        }
        Jitter::Full if gaps.len() >= 4 => {
            let mean =
                gaps.iter().map(|(from, to)| to.ns - from.ns).sum::<u64>() / gaps.len() as u64;
            if mean < least / 2 {
                let words = format!(
                    "refused, it tried again every {} ms on average; its cap is {} ms",
                    mean / 1_000_000,
                    backoff.cap.as_millis()
                );
                charges.add(words, late.iter().map(|at| Some(*at)));
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

/// In a scenario whose troubles pass, the subject must not give up.
fn passing(case: &Case<'_>) -> Decision {
    if !case.plan.promises.reconnects {
        return Decision::not_at_stake("the subject does not promise to come back after trouble");
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
            return Decision::not_at_stake("it gave up after as many attempts as it promises");
        }
        let before = troubles.iter().copied().filter(|trouble| *trouble < at).max();
        let mut charges = Charges::default();
        charges.add(
            format!("a passing error was taken for a fatal one at {}: {why}", ms(at)),
            [before, Some(at)],
        );
        return charges.or_else(|| Decision::unknown("decided above"));
    }
    match (troubles.len(), ended) {
        (0, _) => Decision::not_at_stake("nothing went wrong that could be taken for fatal"),
        (_, None) => Decision::unknown("the history does not say how the subject ended"),
        (n, Some(_)) => Decision::pass(format!("{n} troubles that pass were not taken for fatal")),
    }
}

#[cfg(test)]
mod tests {
    use gauntlet_network::Args;
    use rstest::rstest;

    use super::*;
    use crate::checkers::testing::Tale;
    use crate::history::Ending;
    use crate::subject::BackoffPromise;
    use crate::verdict::Outcome::{self, Fail, NotAtStake, Pass, Unknown};

    fn refused(tale: &mut Tale, conn: u64, frame: bool) {
        tale.what(What::Accepted { conn }).passes(
            conn,
            Way::ToBroker,
            0,
            "connection.start-ok",
            Args::None,
        );
        if frame {
            let close =
                Args::Close { code: 403, text: "ACCESS_REFUSED".into(), class: 10, method: 11 };
            tale.passes(conn, Way::ToClient, 0, "connection.close", close);
        }
        tale.what(What::Ended { conn, end: End::Broker, how: Ending::Rst });
    }

    fn refusing(policy: Refused) -> Tale {
        let mut tale = Tale::new();
        tale.scenario.expect.outcome = Ends::Refused;
        tale.promises.refused = policy;
        tale
    }

    fn failed(why: &str) -> What {
        What::SubjectEnded { how: SubjectEnd::Failed(why.into()) }
    }

    #[rstest]
    #[case::at_once(1, "login refused", Pass)]
    #[case::enough(3, "login refused", Pass)]
    #[case::too_often(4, "login refused", Fail)]
    #[case::without_a_word(1, " ", Fail)]
    fn giving_up(#[case] times: u64, #[case] why: &str, #[case] outcome: Outcome) {
        for frame in [true, false] {
            let mut tale = refusing(Refused::GivesUp);
            tale.scenario.subject.workers = 1;
            for conn in 0..times {
                tale.at(conn as f64 * 100.0);
                refused(&mut tale, conn, frame);
            }
            let decision = tale.what(failed(why)).expect(&CHECKER, outcome);
            if times == 4 {
                assert!(
                    decision.summary.starts_with("it was refused 4 times"),
                    "{}",
                    decision.summary
                );
                assert_eq!(decision.evidence.len(), 4, "the refusals");
            }
        }
    }

    /// Four workers, each with a connection; `begun` says at which ms each attempt is begun, 10 ms before its refusal.
    fn of_four(begun: &[f64], failures: Option<u32>) -> Tale {
        let mut tale = refusing(Refused::GivesUp);
        tale.scenario.subject.workers = 4;
        tale.promises.reports_attempts = failures.is_some();
        let mut told: Vec<(f64, u64, bool)> = Vec::new();
        for (conn, at) in (0..).zip(begun) {
            told.extend([(*at, conn, false), (*at + 10.0, conn, true)]);
        }
        told.sort_by(|a, b| a.0.total_cmp(&b.0));
        for (at, conn, over) in told {
            tale.at(at);
            match over {
                false => tale.what(What::Accepted { conn }),
                true => {
                    let close = Args::Close { code: 403, text: "no".into(), class: 10, method: 11 };
                    tale.passes(conn, Way::ToClient, 0, "connection.close", close)
                }
            };
        }
        if let Some(failures) = failures {
            tale.what(What::Attempt { failures });
        }
        tale.what(failed("login refused"));
        tale
    }

    #[test]
    fn each_worker_may_have_a_connection_of_its_own_refused() {
        let at_once = [0.0, 1.0, 2.0, 3.0];
        of_four(&at_once, None).expect(&CHECKER, Pass);
        let three_times: Vec<f64> =
            (0..3).flat_map(|i| at_once.map(|at| at + f64::from(i) * 50.0)).collect();
        of_four(&three_times, None).expect(&CHECKER, Pass);
        let more: Vec<f64> = three_times.iter().copied().chain([200.0]).collect();
        of_four(&more, None).expect(&CHECKER, Fail);
    }

    #[test]
    fn one_after_the_other_may_be_one_that_retries_or_several_that_do_not() {
        let in_turn = [0.0, 20.0, 40.0, 60.0];
        of_four(&in_turn, Some(0)).expect(&CHECKER, Pass);
        of_four(&in_turn, Some(2)).expect(&CHECKER, Pass);
        of_four(&in_turn, Some(3)).expect(&CHECKER, Fail);
        of_four(&in_turn, None).expect(&CHECKER, Unknown);
        of_four(&in_turn[..3], None).expect(&CHECKER, Pass);
    }

    #[rstest]
    #[case::too_early_to_say(14_900.0, Unknown)]
    #[case::endless(15_100.0, Fail)]
    fn not_giving_up(#[case] stop: f64, #[case] outcome: Outcome) {
        let mut tale = refusing(Refused::GivesUp);
        refused(&mut tale, 0, true);
        tale.at(stop).what(What::StopRequested).what(What::SubjectEnded { how: SubjectEnd::Clean });
        tale.expect(&CHECKER, outcome);
    }

    fn backoff(jitter: Jitter) -> Option<BackoffPromise> {
        let (base, cap) = (Duration::from_millis(100), Duration::from_millis(1000));
        Some(BackoffPromise {
            first_at_once: true,
            base,
            factor: 2.0,
            cap,
            jitter,
            max_attempts: None,
        })
    }

    #[rstest]
    #[case::at_half_the_cap(Jitter::None, 501.0, Pass)]
    #[case::faster(Jitter::None, 499.0, Fail)]
    #[case::drawn(Jitter::Full, 251.0, Pass)]
    #[case::drawn_too_short(Jitter::Full, 249.0, Fail)]
    fn keeping_on(#[case] jitter: Jitter, #[case] gap: f64, #[case] outcome: Outcome) {
        let mut tale = refusing(Refused::KeepsTrying);
        tale.promises.backoff = backoff(jitter);
        for conn in 0..7 {
            // The first three come fast: the backoff has yet to grow.
            tale.at(if conn < 3 { conn as f64 * 20.0 } else { 40.0 + (conn - 2) as f64 * gap });
            refused(&mut tale, conn, true);
        }
        tale.what(What::StopRequested).what(What::SubjectEnded { how: SubjectEnd::Clean });
        tale.expect(&CHECKER, outcome);
    }

    #[test]
    fn keeping_on_means_neither_ending_nor_falling_silent() {
        let mut tale = refusing(Refused::KeepsTrying);
        refused(&mut tale, 0, true);
        assert_eq!(tale.what(failed("no")).expect(&CHECKER, Fail).evidence.len(), 2);
        for (stop, outcome) in [(3900.0, Unknown), (4100.0, Fail)] {
            let mut tale = refusing(Refused::KeepsTrying);
            tale.promises.backoff = backoff(Jitter::None);
            refused(&mut tale, 0, true);
            tale.at(stop).what(What::StopRequested).expect(&CHECKER, outcome);
        }
    }

    #[test]
    fn a_refusal_that_never_came_is_unknown() {
        refusing(Refused::GivesUp).connect(1, 10).what(failed("no")).expect(&CHECKER, Unknown);
    }

    #[test]
    fn a_passing_error_is_not_fatal() {
        let troubled = || {
            let mut tale = Tale::new();
            tale.connect(1, 10)
                .what(What::Fired { step: 0, conn: Some(1), note: "reset".into() })
                .rst(1);
            tale
        };
        let mut tale = troubled();
        tale.connect(2, 10).stops(2).expect(&CHECKER, Pass);
        let decision = troubled().at(70.0).what(failed("connection reset")).expect(&CHECKER, Fail);
        assert_eq!(
            decision.summary,
            "a passing error was taken for a fatal one at 70.0 ms: connection reset"
        );
        assert_eq!(decision.evidence.len(), 2, "the trouble, the end");
        let mut tale = troubled();
        tale.promises.reconnects = false;
        tale.what(failed("connection reset")).expect(&CHECKER, NotAtStake);
        let mut tale = troubled();
        tale.promises.backoff =
            backoff(Jitter::None).map(|b| BackoffPromise { max_attempts: Some(2), ..b });
        tale.what(What::Attempt { failures: 1 })
            .what(failed("gave up"))
            .expect(&CHECKER, NotAtStake);
        Tale::new().connect(1, 10).stops(1).expect(&CHECKER, NotAtStake);
        troubled().expect(&CHECKER, Unknown);
    }
}
