//! I13, backoff: fails when the spacing of attempts to connect is not the one promised, or they come too fast.
//!
//! An attempt worked when it led to a consume-ok (or to a poll or a publish). Pauses are measured from the end of one attempt
//! to the start of the next, where these do not overlap. What cannot be seen (attempts at a refused
//! port that the subject does not report) is not judged from above. Attempts are counted for each copy of the
//! subject by itself; where several run and nobody knows whose an attempt was, only their rate together is judged.

use std::collections::BTreeMap;

use gauntlet_faults::Fault;

use super::heartbeat::ms;
use super::turns::{Kept, Timed};
use super::{Case, Checker, Decision};
use crate::history::What;
use crate::history::ledger::{Connection, Mark};
use crate::promises::{BackoffPromise, Jitter};
use crate::scenario::Ends;

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
    /// When it began: the end of the earlier attempt.
    from: u64,
    /// Whether attempts in between may have gone unseen.
    hidden: bool,
}

fn decide(case: &Case<'_>) -> Decision {
    let (attempts, reported) = attempts(case);
    let mut copies: BTreeMap<Option<u32>, Vec<Attempt>> = BTreeMap::new();
    for attempt in attempts {
        copies.entry(copy(case, &attempt)).or_default().push(attempt);
    }
    let together = copies.remove(&None);
    let mut decisions: Vec<Decision> =
        copies.into_values().map(|attempts| of_one(case, &attempts, reported)).collect();
    if let Some(attempts) = together.or_else(|| decisions.is_empty().then(Vec::new)) {
        decisions.push(match case.plan.scenario.subject.copies {
            ..=1 => of_one(case, &attempts, reported),
            n => of_several(case, &attempts, n),
        });
    }
    // The worst of them, and of those the first.
    let verdict = |d: &Decision| d.outcome.verdict();
    let worst = decisions.iter().map(verdict).max().flatten();
    decisions
        .into_iter()
        .find(|d| verdict(d) == worst)
        .unwrap_or_else(|| Decision::unknown("no attempt was looked at"))
}

/// Whose attempt it was, where that is known.
fn copy(case: &Case<'_>, attempt: &Attempt) -> Option<u32> {
    let connection = attempt.conn.and_then(|conn| case.ledger.connections.get(&conn));
    if let Some(copy) = connection.and_then(Connection::copy) {
        return Some(copy);
    }
    if case.plan.scenario.subject.copies > 1 {
        return None;
    }
    // One copy at a time: the last that was started.
    let started = case.history.events().iter().take_while(|e| Mark::from(*e) <= attempt.at);
    let started = started.filter_map(|e| match e.what {
        What::ProcessStarted { copy, .. } => Some(copy),
        _ => None,
    });
    started.last()
}

/// Several copies, nobody knows which of them tried when.
fn of_several(case: &Case<'_>, attempts: &[Attempt], copies: u16) -> Decision {
    too_fast(case, attempts, usize::from(copies) * RATE).unwrap_or_else(|| {
        Decision::not_applicable(format!(
            "which of {copies} copies made an attempt is not known, and together they are no hot loop"
        ))
    })
}

fn of_one(case: &Case<'_>, attempts: &[Attempt], reported: bool) -> Decision {
    if let Some(fail) = too_fast(case, attempts, RATE) {
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
            (_, 0) => Decision::not_applicable(nothing),
            _ => Decision::pass(format!(
                "{retries} retries, never more than {RATE} a second; no backoff is promised"
            )),
        };
    };
    if let Some(fail) = too_many(promise, attempts) {
        return fail;
    }
    let pauses = pauses(case, promise, attempts, reported);
    let mut wrong: Vec<Decision> =
        pauses.iter().filter_map(|p| out_of_bounds(case, promise, attempts, p)).collect();
    wrong.extend(hot_rows(case, promise, attempts, &pauses));
    // What fails comes before what nobody can tell.
    wrong.sort_by_key(|d| d.busy);
    if let Some(first) = wrong.into_iter().next() {
        return first;
    }
    let judged: Vec<&Pause> = pauses.iter().filter(|p| p.failed && !p.hidden).collect();
    match judged.iter().max_by_key(|p| p.least) {
        _ if !case.history.complete() => {
            Decision::unknown("the history stops before the end of the run")
        }
        _ if retries == 0 => Decision::not_applicable(nothing),
        None => Decision::not_applicable(
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
    // A consumer, a poll that was answered, or, on a connection for nothing else, a publish.
    let consuming = |conn: u64| {
        let epochs = || case.ledger.epochs.iter().filter(|e| e.conn == conn);
        let consumers = epochs().flat_map(|e| &e.consumers).filter_map(|c| c.ok);
        let polls = epochs().flat_map(|e| &e.polls).filter_map(|p| p.answered);
        let publishes =
            case.ledger.copies.iter().filter(|c| case.ledger.epochs[c.epoch].conn == conn);
        consumers.chain(polls).chain(publishes.map(|c| c.sent)).min()
    };
    let made = |(at, conn): (Mark, Option<u64>)| {
        let connection = conn.and_then(|c| connections.get(&c));
        let worked = conn.and_then(consuming);
        let closed = connection.and_then(|c| c.close.as_ref());
        let refused =
            worked.is_none() && closed.is_some_and(|(by, ..)| *by == gauntlet_faults::End::Broker);
        Attempt { at, conn, worked, over: connection.and_then(|c| c.client_over), refused }
    };
    (starts.into_iter().map(made).collect(), by_report)
}

/// More than this many retries of failed attempts in one second. A busy link accepts late what was spread out before.
fn too_fast(case: &Case<'_>, attempts: &[Attempt], rate: usize) -> Option<Decision> {
    let retries: Vec<Mark> = (1..attempts.len())
        .filter(|i| attempts[i - 1].worked.is_none())
        .map(|i| attempts[i].at)
        .collect();
    let timed = |w: &[Mark]| Timed::at_least(case, (w[0].ns, w[rate].ns), WINDOW, WINDOW);
    let hot: Vec<&[Mark]> =
        retries.windows(rate + 1).filter(|w| w[rate].ns - w[0].ns < WINDOW).collect();
    let surely = hot.iter().find(|w| timed(w).kept == Kept::Late);
    let hot = surely.or(hot.first())?;
    let summary = format!(
        "{} retries of failed attempts to connect in {}; at most {rate} a second is no hot loop",
        rate + 1,
        ms(hot[rate].ns - hot[0].ns)
    );
    Some(timed(hot).decision(summary, hot.iter().step_by(2).map(|m| m.seq).collect()))
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
        let over = [case.ledger.stop_requested, case.ledger.subject_ended];
        if over.into_iter().flatten().any(|m| m < this.at) {
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
            from: ended.ns,
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
        let hides = before.conn.is_some() && matches!(fault, Some(Fault::Refuse));
        let from = step.injected.or(step.fired.first().copied());
        hides && from.is_some_and(|m| m < to) && step.lifted.is_none_or(|m| m > before.at)
    })
}

fn out_of_bounds(
    case: &Case<'_>,
    promise: &BackoffPromise,
    attempts: &[Attempt],
    p: &Pause,
) -> Option<Decision> {
    let (before, this) = (&attempts[p.to - 1], &attempts[p.to]);
    let from = before.over.filter(|m| *m <= this.at).unwrap_or(before.at);
    let after = if p.failed { "a failed attempt" } else { "a connection that had worked" };
    let mut evidence = vec![before.at.seq, from.seq, this.at.seq];
    evidence.dedup();
    let timed = Timed::of(case, p.from, this.at.ns, p.long + SLACK);
    if timed.kept != Kept::InTime && !p.hidden {
        let words = format!(
            "the retry after {after} came {} later{}; {} promised at most, and {} of slack",
            ms(p.least),
            timed.breakdown(),
            ms(p.long),
            ms(SLACK)
        );
        return Some(timed.decision(words, evidence));
    }
    let floor = p.short / 10 * 9;
    let span = (this.at.ns.saturating_sub(p.most), this.at.ns);
    let timed = Timed::at_least(case, span, SLACK, floor);
    (promise.jitter == Jitter::None && timed.kept != Kept::InTime).then(|| {
        let words = format!(
            "the retry after {after} came {} later; {} promised, without jitter",
            ms(p.least),
            ms(p.short)
        );
        timed.decision(words, evidence)
    })
}

/// Failures in a row whose pauses are together too short to have been drawn with full jitter.
fn hot_rows(
    case: &Case<'_>,
    promise: &BackoffPromise,
    attempts: &[Attempt],
    pauses: &[Pause],
) -> Option<Decision> {
    let rows = pauses.chunk_by(|a, b| a.failed == b.failed && b.to == a.to + 1);
    for row in rows.filter(|r| r[0].failed && r.len() >= ROW && promise.jitter == Jitter::Full) {
        let (first, last) = (&attempts[row[0].to - 1], &attempts[row[row.len() - 1].to]);
        let waited = row.iter().map(|p| p.most).sum::<u64>();
        let expected: u64 = row.iter().map(|p| p.short / 2).sum();
        if waited < expected / 8 && chance(waited, row) < CHANCE {
            let summary = format!(
                "{} retries in a row waited {} together; {} is to be expected of what is promised",
                row.len(),
                ms(waited),
                ms(expected)
            );
            let seqs = row.iter().map(|p| attempts[p.to].at.seq);
            let evidence = std::iter::once(first.at.seq).chain(seqs).take(12).collect();
            let span = (last.at.ns.saturating_sub(waited), last.at.ns);
            let timed = Timed::at_least(case, span, SLACK, expected / 8);
            return Some(timed.decision(summary, evidence));
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
mod tests;
