//! I13, backoff: fails when the spacing of attempts to connect is not the one promised, or they come too fast.
//!
//! An attempt worked when it led to a consume-ok. Pauses are measured from the end of one attempt
//! to the start of the next, where these do not overlap. What cannot be seen (attempts at a refused
//! port that the subject does not report) is not judged from above.

use gauntlet_network::Fault;

use super::heartbeat::ms;
use super::{Case, Checker, Decision};
use crate::history::What;
use crate::history::ledger::Mark;
use crate::scenario::Ends;
use crate::subject::{BackoffPromise, Jitter};

/// The entry in the catalogue.
pub const CHECKER: Checker = Checker {
    id: "I13",
    name: "backoff",
    fails_when: "the spacing of attempts to connect is not the one promised, or they come too fast",
    decide,
};

/// What a busy machine may add to a pause, or take from it by recording an end late.
const SLACK: u64 = 250_000_000;
/// More retries of attempts that failed, in any one second, are a hot loop, whatever is promised.
const RATE: usize = 20;
/// The second.
const WINDOW: u64 = 1_000_000_000;
/// Fewer failures in a row say nothing of pauses that may each be anything down to nothing.
const ROW: usize = 6;
/// How unlikely under full jitter a row of pauses must be to prove that it was not drawn so.
const CHANCE: f64 = 1e-6;
/// A connection that consumed for so long was stable: pauses start from the base again. (When a
/// subject itself forgets earlier failures it does not say; it may be any time before.)
const STABLE: u64 = 10_000_000_000;

/// One attempt to connect.
struct Attempt {
    at: Mark,
    conn: Option<u64>,
    /// It led to a consume-ok.
    worked: Option<Mark>,
    /// Its connection was over at the subject's end.
    over: Option<Mark>,
    /// The broker closed it before it worked.
    refused: bool,
}

/// The time between an attempt and the next, and what was promised for it.
struct Pause {
    /// Index of the later attempt.
    to: usize,
    /// It follows an attempt that failed.
    failed: bool,
    /// As short, and as long, as it can have been.
    least: u64,
    most: u64,
    /// The delays promised: counted since any connection that worked, and since a stable one.
    short: u64,
    long: u64,
    /// Whether attempts in between may have gone unseen.
    hidden: bool,
}

fn decide(case: &Case<'_>) -> Decision {
    let (attempts, reported) = attempts(case);
    if let Some(fail) = too_fast(&attempts) {
        return fail;
    }
    let failed = attempts
        .iter()
        .filter(|a| a.worked.is_none() && (a.over.is_some() || a.conn.is_none()))
        .count();
    let retries = (1..attempts.len()).filter(|i| attempts[i - 1].worked.is_none()).count();
    let nothing = if failed == 0 {
        "no attempt to connect failed"
    } else {
        "no retry followed a failed attempt"
    };
    let Some(promise) = &case.plan.promises.backoff else {
        return match (case.history.complete(), retries) {
            (false, _) => Decision::unknown("the history stops before the end of the run"),
            (_, 0) => Decision::not_at_stake(nothing),
            _ => Decision::pass(format!(
                "{retries} retries, never more than {RATE} a second; no backoff is promised"
            )),
        };
    };
    if let Some(fail) = too_many(promise, &attempts) {
        return fail;
    }
    let pauses = pauses(case, promise, &attempts, reported);
    let violation = pauses.iter().find_map(|p| out_of_bounds(promise, &attempts, p));
    if let Some(fail) = violation.or_else(|| hot_rows(promise, &attempts, &pauses)) {
        return fail;
    }
    let judged: Vec<&Pause> = pauses.iter().filter(|p| p.failed && !p.hidden).collect();
    match judged.iter().max_by_key(|p| p.least) {
        _ if !case.history.complete() => {
            Decision::unknown("the history stops before the end of the run")
        }
        _ if retries == 0 => Decision::not_at_stake(nothing),
        None => Decision::not_at_stake(
            "no pause between attempts could be measured: they overlap, or may have gone unseen",
        ),
        Some(longest) => Decision::pass(format!(
            "{} pauses after failed attempts as promised, the longest {} of {} at most",
            judged.len(),
            ms(longest.least),
            ms(longest.long + SLACK)
        )),
    }
}

/// The attempts in order: as the subject reports them (then true), or as the link accepted them,
/// whichever are more.
fn attempts(case: &Case<'_>) -> (Vec<Attempt>, bool) {
    let connections = &case.ledger.connections;
    let mut accepted: Vec<(Mark, u64)> =
        connections.iter().filter_map(|(n, c)| Some((c.accepted?, *n))).collect();
    accepted.sort();
    let reported: Vec<Mark> = case
        .history
        .events()
        .iter()
        .filter(|e| matches!(e.what, What::Attempt { .. }))
        .map(Mark::from)
        .collect();
    let by_report = case.plan.promises.reports_attempts && reported.len() >= accepted.len();
    let starts: Vec<(Mark, Option<u64>)> = if by_report {
        let next = |i: usize| reported.get(i + 1).copied();
        let conn = |i: usize, at: Mark| {
            accepted
                .iter()
                .find(|(m, _)| *m > at && next(i).is_none_or(|n| *m < n))
                .map(|(_, conn)| *conn)
        };
        reported.iter().enumerate().map(|(i, at)| (*at, conn(i, *at))).collect()
    } else {
        accepted.into_iter().map(|(at, conn)| (at, Some(conn))).collect()
    };
    let consuming = |conn: u64| {
        let epochs = case.ledger.epochs.iter().filter(|e| e.conn == conn);
        epochs.flat_map(|e| &e.consumers).filter_map(|c| c.ok).min()
    };
    let made = |(at, conn): (Mark, Option<u64>)| {
        let connection = conn.and_then(|c| connections.get(&c));
        let worked = conn.and_then(consuming);
        let closed = connection.and_then(|c| c.close.as_ref());
        let refused =
            worked.is_none() && closed.is_some_and(|(by, ..)| *by == gauntlet_network::End::Broker);
        Attempt { at, conn, worked, over: connection.and_then(|c| c.client_over), refused }
    };
    (starts.into_iter().map(made).collect(), by_report)
}

/// More than [`RATE`] retries of failed attempts in one second.
fn too_fast(attempts: &[Attempt]) -> Option<Decision> {
    let retries: Vec<Mark> = (1..attempts.len())
        .filter(|i| attempts[i - 1].worked.is_none())
        .map(|i| attempts[i].at)
        .collect();
    let hot = retries.windows(RATE + 1).find(|w| w[RATE].ns - w[0].ns < WINDOW)?;
    let summary = format!(
        "{} retries of failed attempts to connect in {}; at most {RATE} a second is no hot loop",
        RATE + 1,
        ms(hot[RATE].ns - hot[0].ns)
    );
    Some(Decision::fail(summary, hot.iter().step_by(2).map(|m| m.seq).collect()))
}

/// An attempt after as many failures in a row as it gives up after.
fn too_many(promise: &BackoffPromise, attempts: &[Attempt]) -> Option<Decision> {
    let max = promise.max_attempts? as usize;
    let mut row = 0;
    for (i, attempt) in attempts.iter().enumerate() {
        if row >= max {
            let shown =
                attempts[i - row..=i].iter().map(|a| a.at.seq).take(11).chain([attempt.at.seq]);
            let mut evidence: Vec<u64> = shown.collect();
            evidence.dedup();
            return Some(Decision::fail(
                format!(
                    "an attempt to connect came after {row} failures in a row; it promises to give up after {max}"
                ),
                evidence,
            ));
        }
        row = if attempt.worked.is_some() { 0 } else { row + 1 };
    }
    None
}

fn pauses(
    case: &Case<'_>,
    promise: &BackoffPromise,
    attempts: &[Attempt],
    reported: bool,
) -> Vec<Pause> {
    let mut pauses = Vec::new();
    // How many retries came before this one, and whether a connection that worked lies before them all.
    let (mut any, mut stable) = ((0, false), (0, false));
    for to in 1..attempts.len() {
        let (before, this) = (&attempts[to - 1], &attempts[to]);
        if case.ledger.stop_requested.is_some_and(|m| m < this.at) {
            break;
        }
        if let Some(worked) = before.worked {
            any = (0, true);
            if before.over.is_some_and(|over| over.ns.saturating_sub(worked.ns) >= STABLE) {
                stable = (0, true);
            }
        }
        let delays = (delay(promise, any), delay(promise, stable));
        (any.0, stable.0) = (any.0 + 1, stable.0 + 1);
        // Not over before the next began: they overlap, and there is no pause to measure.
        let ended = match before.conn {
            None => before.at,
            Some(_) => match before.over.filter(|over| *over <= this.at) {
                Some(over) => winding_down(case, before, over, this.at),
                None => continue,
            },
        };
        let refused = before.refused || case.plan.scenario.expect.outcome == Ends::Refused;
        let cap = if refused { promise.cap.as_nanos() as u64 } else { 0 };
        pauses.push(Pause {
            to,
            failed: before.worked.is_none(),
            least: this.at.ns - ended.ns,
            most: this.at.ns - before.at.ns.max(ended.ns.saturating_sub(SLACK)),
            short: delays.0,
            long: delays.1.max(cap),
            hidden: !reported && unseen(case, before, this.at),
        });
    }
    pauses
}

/// The end of a connection that worked, or of the last handler it left running, where that came
/// later: a pause begins when the subject is done with it.
fn winding_down(case: &Case<'_>, before: &Attempt, over: Mark, next: Mark) -> Mark {
    let handlings = case.ledger.messages.values().flat_map(|m| &m.handlings);
    let left = handlings.filter(|h| before.worked.is_some() && h.start < over);
    let ends = left.filter_map(|h| h.end.map(|(end, _)| end)).filter(|end| *end < next);
    ends.chain([over]).max().unwrap_or(over)
}

/// The delay promised before a retry: how many came before it, and whether after a connection that worked.
fn delay(promise: &BackoffPromise, (retries, worked): (i32, bool)) -> u64 {
    let k = match (promise.first_at_once && worked, retries) {
        (true, 0) => return 0,
        (true, n) => n - 1,
        (false, n) => n,
    };
    let grown = promise.base.as_secs_f64() * promise.factor.powi(k);
    (grown.min(promise.cap.as_secs_f64()) * 1e9) as u64
}

/// Whether between two attempts a fault was in force that hides attempts from the link.
fn unseen(case: &Case<'_>, before: &Attempt, to: Mark) -> bool {
    case.ledger.steps.iter().any(|(i, step)| {
        let fault = case.plan.steps.get(*i).and_then(|s| s.fault.as_ref());
        let hides = before.conn.is_some() && matches!(fault, Some(Fault::Refuse { .. }));
        let from = step.injected.or(step.fired.first().copied());
        hides && from.is_some_and(|m| m < to) && step.lifted.is_none_or(|m| m > before.at)
    })
}

fn out_of_bounds(promise: &BackoffPromise, attempts: &[Attempt], p: &Pause) -> Option<Decision> {
    let (before, this) = (&attempts[p.to - 1], &attempts[p.to]);
    let from = before.over.filter(|m| *m <= this.at).unwrap_or(before.at);
    let after = if p.failed { "a failed attempt" } else { "a connection that had worked" };
    let fail = |words: String| {
        let mut evidence = vec![before.at.seq, from.seq, this.at.seq];
        evidence.dedup();
        Decision::fail(words, evidence)
    };
    if p.least > p.long + SLACK && !p.hidden {
        return Some(fail(format!(
            "the retry after {after} came {} later; {} promised at most, and {} of slack",
            ms(p.least),
            ms(p.long),
            ms(SLACK)
        )));
    }
    let floor = p.short / 10 * 9;
    (promise.jitter == Jitter::None && p.most < floor).then(|| {
        fail(format!(
            "the retry after {after} came {} later; {} promised, without jitter",
            ms(p.least),
            ms(p.short)
        ))
    })
}

/// Failures in a row whose pauses are together too short to have been drawn with full jitter.
fn hot_rows(promise: &BackoffPromise, attempts: &[Attempt], pauses: &[Pause]) -> Option<Decision> {
    let rows = pauses.chunk_by(|a, b| a.failed == b.failed && b.to == a.to + 1);
    for row in rows.filter(|r| r[0].failed && r.len() >= ROW && promise.jitter == Jitter::Full) {
        let waited: u64 = row.iter().map(|p| p.most).sum();
        let expected: u64 = row.iter().map(|p| p.short / 2).sum();
        if waited < expected / 8 && chance(waited, row) < CHANCE {
            let summary = format!(
                "{} retries in a row waited {} together; {} is to be expected of what is promised",
                row.len(),
                ms(waited),
                ms(expected)
            );
            let seqs = row.iter().map(|p| attempts[p.to].at.seq);
            let first = attempts[row[0].to - 1].at.seq;
            return Some(Decision::fail(
                summary,
                std::iter::once(first).chain(seqs).take(12).collect(),
            ));
        }
    }
    None
}

/// A bound on the chance that delays drawn uniformly, each from nothing to its whole, sum to so
/// little: the volume of a simplex over the m longest, for the m that bounds it best.
fn chance(waited: u64, row: &[Pause]) -> f64 {
    let mut whole: Vec<u64> = row.iter().map(|p| p.short).filter(|d| *d > 0).collect();
    whole.sort_by_key(|d| std::cmp::Reverse(*d));
    let mut volume = 1.0;
    let mut best: f64 = 1.0;
    for (i, d) in whole.iter().enumerate() {
        volume *= waited as f64 / *d as f64 / (i + 1) as f64;
        best = best.min(volume);
    }
    best
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use gauntlet_network::{Args, End, Way};

    use super::super::fired::aid::{cited, steps, unfinished};
    use super::super::testing::Tale;
    use super::*;
    use crate::verdict::Outcome::{Fail, NotAtStake, Pass, Unknown};

    fn promise(jitter: Jitter) -> BackoffPromise {
        BackoffPromise {
            first_at_once: false,
            base: Duration::from_millis(1000),
            factor: 2.0,
            cap: Duration::from_secs(8),
            jitter,
            max_attempts: None,
        }
    }

    /// Attempts that fail at once, after these pauses in milliseconds.
    fn failing(jitter: Jitter, pauses: &[f64]) -> Tale {
        let mut tale = Tale::new();
        tale.promises.backoff = Some(promise(jitter));
        let mut at = 0.0;
        for (conn, pause) in (1..).zip(std::iter::once(&0.0).chain(pauses)) {
            at += pause;
            tale.at(at).what(What::Accepted { conn }).rst(conn);
        }
        tale
    }

    #[test]
    fn without_jitter_both_sides_of_the_bound() {
        failing(Jitter::None, &[1000.0, 2000.0, 4000.0, 8000.0, 8000.0]).expect(&CHECKER, Pass);
        failing(Jitter::None, &[905.0, 2249.0]).expect(&CHECKER, Pass);
        let mut tale = failing(Jitter::None, &[1000.0, 2252.0]);
        let decision = tale.expect(&CHECKER, Fail);
        assert_eq!(
            decision.summary,
            "the retry after a failed attempt came 2252 ms later; 2000 ms promised at most, and 250 ms of slack"
        );
        assert_eq!(
            cited(&mut tale, &decision),
            [
                "- link c2 accepted",
                "- link c2 closed towards the subject: RST",
                "- link c3 accepted"
            ]
        );
        let said = failing(Jitter::None, &[1000.0, 1700.0]).expect(&CHECKER, Fail).summary;
        assert_eq!(
            said,
            "the retry after a failed attempt came 1700 ms later; 2000 ms promised, without jitter"
        );
        failing(Jitter::None, &[890.0]).expect(&CHECKER, Fail);
        failing(Jitter::None, &[1000.0, 2000.0, 4000.0, 8000.0, 8252.0]).expect(&CHECKER, Fail);
    }

    #[test]
    fn an_end_recorded_late_takes_nothing_from_a_pause() {
        for (next, expect) in [(1100.0, Pass), (1040.0, Fail)] {
            let mut tale = Tale::new();
            tale.promises.backoff = Some(promise(Jitter::None));
            tale.what(What::Accepted { conn: 1 }).at(400.0).rst(1);
            tale.at(next).what(What::Accepted { conn: 2 }).expect(&CHECKER, expect);
        }
    }

    #[test]
    fn with_full_jitter_a_short_pause_is_luck_and_a_long_one_is_not() {
        failing(Jitter::Full, &[60.0, 60.0, 60.0, 60.0, 60.0]).expect(&CHECKER, Pass);
        failing(Jitter::Full, &[1249.0]).expect(&CHECKER, Pass);
        failing(Jitter::Full, &[1252.0]).expect(&CHECKER, Fail);
    }

    #[test]
    fn a_row_of_short_pauses_is_a_hot_loop() {
        // Expected of 1, 2, 4, 8, 8, 8 s is 15.5 s; an eighth is 1937 ms.
        let mut tale = failing(Jitter::Full, &[60.0; 6]);
        let decision = tale.expect(&CHECKER, Fail);
        assert_eq!(
            decision.summary,
            "6 retries in a row waited 360 ms together; 15500 ms is to be expected of what is promised"
        );
        assert_eq!(cited(&mut tale, &decision).len(), 7);
        failing(Jitter::Full, &[330.0; 6]).expect(&CHECKER, Pass);
        // Below an eighth, and yet not unlikely enough to prove anything.
        failing(Jitter::Full, &[320.0; 6]).expect(&CHECKER, Pass);
    }

    #[test]
    fn more_than_twenty_retries_a_second_fail_without_any_promise() {
        for (pause, expect) in [(51.0, Pass), (49.0, Fail)] {
            let mut tale = failing(Jitter::Full, &[pause; 40]);
            tale.promises.backoff = None;
            tale.expect(&CHECKER, expect);
        }
        let mut tale = failing(Jitter::None, &[0.1; 21]);
        let decision = tale.expect(&CHECKER, Fail);
        assert!(
            decision.summary.starts_with("21 retries of failed attempts to connect in 2 ms"),
            "{}",
            decision.summary
        );
        assert_eq!(decision.evidence.len(), 11);
    }

    #[test]
    fn fast_reconnects_after_connections_that_worked_are_no_hot_loop() {
        let mut tale = Tale::new();
        for conn in 1..40 {
            tale.at(conn as f64 * 10.0).connect(conn, 10).consume(conn, 1, 8).rst(conn);
        }
        tale.expect(&CHECKER, NotAtStake);
        tale.promises.backoff =
            Some(BackoffPromise { first_at_once: true, ..promise(Jitter::Full) });
        tale.expect(&CHECKER, NotAtStake);
    }

    #[test]
    fn after_a_connection_that_worked_it_starts_again() {
        for (once, lived, pause, expect) in [
            // Stable: at once, or from the base.
            (true, 11_000.0, 240.0, Pass),
            (true, 11_000.0, 260.0, Fail),
            (false, 11_000.0, 1240.0, Pass),
            (false, 11_000.0, 1260.0, Fail),
            // Not stable: it may remember the failure before.
            (true, 1000.0, 2200.0, Pass),
            (true, 1000.0, 2260.0, Fail),
        ] {
            let mut tale = failing(Jitter::Full, &[]);
            tale.promises.backoff =
                Some(BackoffPromise { first_at_once: once, ..promise(Jitter::Full) });
            tale.at(500.0).connect(2, 10).consume(2, 1, 8).at(500.0 + lived).rst(2);
            tale.at(500.0 + lived + pause).connect(3, 10).consume(3, 1, 8);
            let decision = tale.judge(&CHECKER);
            assert_eq!(decision.outcome, expect, "{once} {lived} {pause}: {}", decision.summary);
        }
    }

    #[test]
    fn a_handler_left_running_puts_the_pause_off_until_it_ends() {
        for (ended, expect) in [(12_900.0, NotAtStake), (12_500.0, Fail)] {
            let mut tale = Tale::new();
            tale.promises.backoff =
                Some(BackoffPromise { first_at_once: true, ..promise(Jitter::Full) });
            tale.connect(1, 10).consume(1, 1, 8).publish(0).deliver(1, 1, 1, 0);
            tale.what(What::HandlerStarted { id: 0, redelivered: false }).at(12_000.0).rst(1);
            tale.at(ended).what(What::HandlerEnded { id: 0, ok: false });
            tale.at(13_000.0).connect(2, 10).consume(2, 1, 8).expect(&CHECKER, expect);
        }
    }

    #[test]
    fn it_gives_up_after_as_many_attempts_as_it_promises() {
        for (failures, expect) in [(2, Pass), (3, Fail)] {
            let mut tale = failing(Jitter::Full, &vec![500.0; failures]);
            tale.promises.backoff =
                Some(BackoffPromise { max_attempts: Some(3), ..promise(Jitter::Full) });
            let decision = tale.expect(&CHECKER, expect);
            if expect == Fail {
                assert_eq!(
                    decision.summary,
                    "an attempt to connect came after 3 failures in a row; it promises to give up after 3"
                );
                assert_eq!(cited(&mut tale, &decision).len(), 4);
            }
        }
    }

    #[test]
    fn reported_attempts_show_what_a_refused_port_hides() {
        let refused = |reports: bool| {
            let mut tale = Tale::new();
            steps(&mut tale, "[[step]]\nwhen = \"start\"\nfault = { kind = \"refuse\" }\n");
            tale.promises.backoff = Some(promise(Jitter::Full));
            tale.promises.reports_attempts = reports;
            tale.what(What::Attempt { failures: 0 }).what(What::Accepted { conn: 1 }).rst(1);
            tale.what(What::Injected { step: 0, fault: "refuse".into() });
            for (failures, ms) in [(1, 900.0), (2, 2700.0)] {
                tale.at(ms).what(What::Attempt { failures });
            }
            tale.what(What::Lifted { step: 0 })
                .at(6000.0)
                .what(What::Attempt { failures: 3 })
                .connect(2, 10);
            tale
        };
        assert!(
            refused(true)
                .expect(&CHECKER, Pass)
                .summary
                .starts_with("3 pauses after failed attempts")
        );
        refused(false).expect(&CHECKER, NotAtStake);
    }

    #[test]
    fn attempts_it_does_not_report_are_counted_all_the_same() {
        let mut tale = failing(Jitter::None, &[1000.0, 100.0]);
        tale.promises.reports_attempts = true;
        tale.what(What::Attempt { failures: 0 }).expect(&CHECKER, Fail);
    }

    #[test]
    fn refused_it_may_wait_as_long_as_its_cap() {
        for (refused, expect) in [(true, Pass), (false, Fail)] {
            let mut tale = failing(Jitter::Full, &[]);
            tale.at(100.0).what(What::Accepted { conn: 2 });
            let args =
                Args::Close { code: 403, text: "ACCESS_REFUSED".into(), class: 0, method: 0 };
            if refused {
                tale.frame(2, End::Broker, Way::ToClient, 0, "connection.close", args);
            }
            tale.rst(2).at(7900.0).what(What::Accepted { conn: 3 });
            tale.expect(&CHECKER, expect);
        }
    }

    #[test]
    fn nothing_at_stake_or_not_to_be_measured() {
        let mut tale = Tale::new();
        tale.promises.backoff = Some(promise(Jitter::Full));
        tale.connect(1, 10).consume(1, 1, 8).expect(&CHECKER, NotAtStake);
        let said = failing(Jitter::Full, &[]).expect(&CHECKER, NotAtStake).summary;
        assert_eq!(said, "no retry followed a failed attempt");
        let mut overlapping = Tale::new();
        overlapping.promises.backoff = Some(promise(Jitter::None));
        overlapping.what(What::Accepted { conn: 1 }).at(100.0).what(What::Accepted { conn: 2 });
        overlapping.expect(&CHECKER, NotAtStake);
        assert_eq!(unfinished(&mut failing(Jitter::None, &[1000.0]), &CHECKER).outcome, Unknown);
        assert_eq!(unfinished(&mut failing(Jitter::None, &[100.0]), &CHECKER).outcome, Fail);
    }
}
