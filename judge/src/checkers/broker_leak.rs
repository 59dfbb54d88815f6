//! I17, broker-side leak: fails when settled connections, channels or consumers differ from the baseline.
//!
//! Compares what the broker says it holds with steady state, and what the link sees the subject
//! hold open. A connection the subject let go of and the broker does not yet know to be dead is the
//! network's doing, and no leak. Fewer than before is a consumer or a channel that did not come back.
//!
//! What the wire shows before the faults belongs to steady state, whenever the broker was asked. A connection or channel that
//! publishes may be opened when it is first needed, one for each worker ([`mod@used`]).

#[cfg(test)]
mod tests;
mod used;

use gauntlet_faults::{Direction, Fault};

use self::used::Used;
use super::half_open::holes;
use super::turns::{Kept, Timed};
use super::{Case, Checker, Decision};
use crate::history::ledger::{Connection, Mark};
use crate::history::{Event, Moment, Phase, What};
use crate::verdict::Outcome;

/// The entry in the catalogue.
pub const CHECKER: Checker = Checker {
    id: "I17",
    name: "broker-side leak",
    fails_when: "settled connections, channels or consumers differ from the baseline",
    decide,
};

/// How long before a figure the machine must have had time for it to settle.
const SETTLES: u64 = 3_000_000_000;

/// What the broker held at one point of the run.
struct Held {
    at: Mark,
    moment: Moment,
    connections: u32,
    channels: u32,
    consumers: u32,
}

impl Held {
    fn words(&self) -> String {
        format!(
            "{} connections, {} channels, {} consumers",
            self.connections, self.channels, self.consumers
        )
    }

    fn over(&self, base: &Held) -> bool {
        self.connections > base.connections
            || self.channels > base.channels
            || self.consumers > base.consumers
    }

    /// The same, or more where the wire shows that there was more before the faults: the broker may have been asked while the
    /// subject was still setting up.
    fn and_on_the_wire(&self, case: &Case<'_>, before: Mark) -> Held {
        let used = Used::at(case, before);
        Held {
            connections: self.connections.max(used.connections),
            channels: self.channels.max(used.channels),
            consumers: self.consumers.max(used.consumers),
            ..*self
        }
    }

    /// The same, and what was opened since to publish.
    fn and_publishers(&self, case: &Case<'_>, before: Mark, now: Mark) -> Held {
        let (connections, channels) = Used::at(case, now).publishers_since(case, before);
        Held {
            connections: self.connections + connections,
            channels: self.channels + channels,
            ..*self
        }
    }
}

fn decide(case: &Case<'_>) -> Decision {
    let held = held(case);
    let find = |m: Moment| held.iter().find(|h| h.moment == m);
    let later: Vec<&Held> = held
        .iter()
        .filter(|h| matches!(h.moment, Moment::Recovered(_) | Moment::Drained))
        .collect();
    let mut judged = Vec::new();
    let begun = case.history.events().iter().find(|e| phase_of(e) == Some(Phase::Faults));
    let begun = begun.map(Mark::from);
    if let Some(base) = find(Moment::Steady) {
        let before = begun.unwrap_or(base.at);
        judged.extend(later.iter().map(|h| compare(case, base, before, h)));
        judged.extend(wire(case, before, open(case, before).len().max(1), &later));
    } else if let Some(begun) = begun {
        judged.extend(wire(case, begun, open(case, begun).len(), &later));
    }
    judged.extend(find(Moment::After).map(|h| after(case, h)));
    if let Some(fail) = judged.iter().position(|d| d.outcome == Outcome::Fail) {
        let fail = judged.swap_remove(fail);
        // Before the figure was taken there was time for it to settle, unless the machine was busy.
        let at = fail.evidence.last().and_then(|seq| case.history.get(*seq)).map_or(0, |e| e.ns);
        return match Timed::mostly(case, at.saturating_sub(SETTLES), at) {
            Timed { kept: Kept::Late, .. } => fail,
            timed => timed.decision(fail.summary, Vec::new()),
        };
    }
    if !case.history.complete() {
        return Decision::unknown("the history stops before the end of the run");
    }
    if !case.ledger.connections.values().any(|c| c.opened.is_some()) {
        return Decision::not_applicable("the subject never had an open connection");
    }
    let reached = |phase| case.history.events().iter().any(|e| phase_of(e) == Some(phase));
    for (missing, what) in [
        (find(Moment::Steady).is_none() && reached(Phase::Steady), "in steady state"),
        (later.is_empty() && reached(Phase::Drain), "after the faults"),
        (find(Moment::After).is_none(), "after the subject ended"),
    ] {
        if missing {
            return Decision::unknown(format!("nobody asked the broker what it holds {what}"));
        }
    }
    match judged.iter().position(|d| d.outcome == Outcome::Unknown) {
        Some(unsure) => judged.swap_remove(unsure),
        None => Decision::pass(match find(Moment::Steady) {
            Some(steady) => format!(
                "the broker held {} in steady state, the same at {} points after faults, and nothing after the end",
                steady.words(),
                later.len()
            ),
            None => {
                "the broker held nothing after the end; there was no steady state to compare with"
                    .to_owned()
            }
        }),
    }
}

/// What the broker held, in order of time; the last answer of each moment, by then it has settled.
fn held(case: &Case<'_>) -> Vec<Held> {
    let mut held: Vec<Held> = Vec::new();
    for event in case.history.events() {
        if let What::BrokerHolds { connections, channels, consumers, at: moment, .. } = event.what {
            held.retain(|h| h.moment != moment);
            held.push(Held { at: Mark::from(event), moment, connections, channels, consumers });
        }
    }
    held
}

fn compare(case: &Case<'_>, steady: &Held, before: Mark, later: &Held) -> Decision {
    let base = &steady.and_on_the_wire(case, before);
    let most = &base.and_publishers(case, before, later.at);
    let when = match later.moment {
        Moment::Recovered(n) => format!("after recovery {n}"),
        _ => "after everything was handled".into(),
    };
    let said = format!(
        "{when} the broker holds {}; in steady state it held {}",
        later.words(),
        base.words()
    );
    let excused = excused(case, later.at);
    if later.over(most) && later.connections > most.connections + excused {
        let open = open(case, later.at).into_iter().map(|(_, at)| at.seq);
        return Decision::fail(
            said,
            [base.at.seq].into_iter().chain(open).take(11).chain([later.at.seq]).collect(),
        );
    }
    match (later.over(most), excused) {
        (true, 0) => Decision::fail(said, vec![base.at.seq, later.at.seq]),
        (true, _) => Decision::unknown(format!(
            "{said}, but it cannot know yet that {excused} of them are dead"
        )),
        // The broker was asked until its figures settled: what is missing now stays missing.
        _ if steady.over(later) => Decision::fail(said, vec![base.at.seq, later.at.seq]),
        _ => Decision::pass(said),
    }
}

fn after(case: &Case<'_>, held: &Held) -> Decision {
    let excused = excused(case, held.at);
    let said = format!("after the subject ended the broker holds {}", held.words());
    match held.connections {
        0 => Decision::pass(said),
        n if n <= excused => {
            Decision::unknown(format!("{said}, but it cannot know yet that they are dead"))
        }
        _ => {
            let end = case.ledger.subject_ended.map(|m| m.seq);
            Decision::fail(said, end.into_iter().chain([held.at.seq]).collect())
        }
    }
}

/// More connections held open by the subject than the `base` there was before the faults, seen at its end of the wire. Where
/// there was none, it is not known how many it takes: then those count that it never came to use.
fn wire(case: &Case<'_>, before: Mark, base: usize, later: &[&Held]) -> Vec<Decision> {
    let moments = later.iter().map(|h| h.at).chain(case.ledger.stop_requested);
    let judge = |at: Mark| {
        let open = open(case, at);
        // What is younger than the newest usable connection is still being made.
        let newest = open.iter().filter(|(c, _)| usable(c, at)).map(|(_, m)| *m).max()?;
        let counts = |c: &Connection, m: Mark| m <= newest && (base > 0 || !usable(c, at));
        let held: Vec<Mark> = open.iter().filter(|(c, m)| counts(c, *m)).map(|(_, m)| *m).collect();
        let (publishers, _) = Used::at(case, at).publishers_since(case, before);
        let surplus = held.len().saturating_sub(base + publishers as usize);
        if surplus == 0 {
            return None;
        }
        let (ms, held_open) = (at.ns / 1_000_000, held.len());
        let said = match base {
            0 => format!(
                "{ms} ms into the run the subject holds {held_open} connections open that it never opened AMQP on, beside one that it uses"
            ),
            _ => format!(
                "{ms} ms into the run the subject holds {held_open} connections open; {base} in steady state"
            ),
        };
        if surplus <= half_open(case, at) {
            return Some(Decision::unknown(format!(
                "{said}, but it need not have noticed yet that one is dead"
            )));
        }
        let newest = (base == 0).then_some(newest);
        let shown = held.iter().take(11).copied().chain(newest).map(|m| m.seq);
        Some(Decision::fail(said, shown.chain([at.seq]).collect()))
    };
    moments.filter_map(judge).collect()
}

/// The connections known to be open at the subject's end at this time, with when they were accepted.
fn open<'a>(case: &Case<'a>, at: Mark) -> Vec<(&'a Connection, Mark)> {
    let read = case.ledger.connections.iter().filter(|(conn, _)| !unread(case, **conn, at));
    let accepted = read.filter_map(|(_, c)| Some((c, c.accepted?)));
    let mut open: Vec<_> =
        accepted.filter(|(c, m)| *m <= at && c.client_over.is_none_or(|over| over > at)).collect();
    open.sort_by_key(|(_, m)| *m);
    open
}

fn usable(connection: &Connection, at: Mark) -> bool {
    connection.opened.is_some_and(|m| m <= at)
}

/// Connections the broker may hold through no fault of the subject.
fn excused(case: &Case<'_>, at: Mark) -> u32 {
    let unknowing = case.ledger.connections.iter().filter(|(conn, c)| {
        let left = c.client_over.is_some_and(|m| m <= at) || unread(case, **conn, at);
        left && c.broker_over.is_none_or(|m| m > at)
    });
    unknowing.count() as u32 + half_open(case, at) as u32
}

/// Whether the link does not read from the subject now, and so cannot know that it let go.
fn unread(case: &Case<'_>, conn: u64, at: Mark) -> bool {
    case.ledger.steps.iter().any(|(i, step)| {
        let blind = match case.plan.steps.get(*i).and_then(|s| s.fault.as_ref()) {
            Some(Fault::Stall { way }) => *way != Some(Direction::ToClient),
            Some(Fault::Ignore) => true,
            _ => false,
        };
        let hit = step.hit.get(&conn).is_some_and(|m| *m <= at);
        blind && hit && step.lifted.is_none_or(|m| m > at)
    })
}

/// Blackholed connections that the subject need not have noticed by now.
fn half_open(case: &Case<'_>, at: Mark) -> usize {
    let excuses = |hole: &super::half_open::Hole| {
        case.ledger
            .connections
            .get(&hole.conn)
            .is_some_and(|c| c.client_over.is_none_or(|m| m > at) && hole.excuses(case, c, at))
    };
    holes(case).iter().filter(|h| excuses(h)).count()
}

fn phase_of(event: &Event) -> Option<Phase> {
    match event.what {
        What::Phase { phase } => Some(phase),
        _ => None,
    }
}
