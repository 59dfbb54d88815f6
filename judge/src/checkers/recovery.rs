//! I12, recovery bound: fails when the first successful handling comes later after the path is usable than the bound.
//!
//! Judges each outage: a step whose fault made the path unusable, until a message that was
//! delivered anew is handled. Outages that run into each other count as one, the last. Where the
//! subject reports no handling, its own acks stand for it.

use std::collections::{BTreeMap, BTreeSet};

use gauntlet_faults::{Direction, End, Fault};

use super::heartbeat::ms;
use super::turns::{Kept, Timed};
use super::{Case, Checker, Decision};
use crate::history::What;
use crate::history::ledger::{Ledger, Mark, Settle, Step};
use crate::scenario::{Ends, Trigger};

/// The entry in the catalogue.
pub const CHECKER: Checker = Checker {
    id: "I12",
    name: "recovery bound",
    fails_when: "the first successful handling comes later after the path is usable than the bound",
    decide,
};

/// One recovery, and where its time went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovery {
    /// Index of the step in the plan.
    pub step: usize,
    /// The path was usable and there was something to handle, in nanoseconds since the run began.
    pub usable_ns: u64,
    /// The first message delivered anew was handled (or acked, where no handling is reported).
    pub handled_ns: u64,
    /// The connection that brought it.
    pub conn: u64,
    /// The parts of the time between, in order; together they are all of it.
    pub parts: Vec<(&'static str, u64)>,
}

impl Recovery {
    /// How long it took, in nanoseconds.
    pub fn ns(&self) -> u64 {
        self.handled_ns.saturating_sub(self.usable_ns)
    }

    fn timed(&self, case: &Case<'_>) -> Timed {
        Timed::own(case, self.usable_ns, self.handled_ns, bound(case))
    }

    fn words(&self) -> String {
        let parts: Vec<String> =
            self.parts.iter().map(|(name, ns)| format!("{name} {}", ms(*ns))).collect();
        parts.join(", ")
    }
}

/// Every recovery of a run that can be told from the others, late or not.
pub fn recoveries(case: &Case<'_>) -> Vec<Recovery> {
    let outages = outages(case).into_iter();
    outages
        .filter_map(|o| if let Outage::Over(recovery, _) = o { Some(recovery) } else { None })
        .collect()
}

enum Outage {
    /// Recovered; the events that show it.
    Over(Recovery, Vec<u64>),
    /// Not within the bound, though there was something to handle.
    Never(Decision),
    /// Merged with the next, or ended by a request to stop.
    NotJudged,
    Unsure(Decision),
}

fn decide(case: &Case<'_>) -> Decision {
    if !case.plan.promises.reconnects {
        return Decision::not_applicable("the subject does not promise to reconnect");
    }
    if case.plan.scenario.expect.outcome == Ends::Refused {
        return Decision::not_applicable("the subject is to be refused, not to recover");
    }
    let bound = bound(case);
    let outages = outages(case);
    if outages.is_empty() {
        return Decision::not_applicable("no fault made the path unusable");
    }
    let (mut over, mut unsure) = (Vec::new(), None);
    for outage in outages {
        match outage {
            Outage::Never(decision) => return decision,
            Outage::Over(r, evidence) => over.push((r, evidence)),
            Outage::Unsure(why) => unsure = Some(why),
            Outage::NotJudged => {}
        }
    }
    over.sort_by_key(|(r, _)| r.ns());
    let count = over.len();
    let Some((slowest, _)) = over.last() else {
        return unsure.unwrap_or_else(|| {
            Decision::not_applicable("the subject was asked to stop before it could recover")
        });
    };
    for wanted in [Kept::Late, Kept::TooBusy] {
        if let Some(late) = over.iter().rev().find(|(r, _)| r.timed(case).kept == wanted) {
            return too_late(case, late);
        }
    }
    match unsure {
        _ if !case.history.complete() => {
            Decision::unknown("the history stops before the end of the run")
        }
        Some(Decision { summary, busy, .. }) => {
            let words = format!("{summary} ({count} other recoveries were in time)");
            Decision { busy, ..Decision::unknown(words) }
        }
        None => {
            let (worst, parts) = (ms(slowest.ns()), slowest.words());
            let took = match count {
                1 => format!("recovered in {worst}"),
                _ => format!(
                    "{count} recoveries, median {}, worst {worst}",
                    ms(over[count / 2].0.ns())
                ),
            };
            // One that is beyond the bound and in time says why.
            let own = slowest.timed(case).breakdown();
            Decision::pass(format!("{took} of {} allowed{own}; the worst: {parts}", ms(bound)))
        }
    }
}

/// A recovery beyond the bound, or perhaps beyond it.
fn too_late(case: &Case<'_>, (r, evidence): &(Recovery, Vec<u64>)) -> Decision {
    let timed = r.timed(case);
    let summary = format!(
        "after step {} the first message was handled {} after the path was usable{}; {} allowed ({})",
        r.step + 1,
        ms(r.ns()),
        timed.breakdown(),
        ms(bound(case)),
        r.words()
    );
    timed.decision(summary, evidence.clone())
}

fn bound(case: &Case<'_>) -> u64 {
    case.plan.scenario.expect.recovers_within.as_nanos() as u64
}

fn outages(case: &Case<'_>) -> Vec<Outage> {
    let served = served(case);
    let steps = case.ledger.steps.iter().filter(|(_, s)| !s.usable.is_empty());
    steps.map(|(i, step)| judge(case, *i, step, &served)).collect()
}

/// A message delivered and done with.
struct Served {
    id: u32,
    epoch: usize,
    delivered: Mark,
    began: Mark,
    done: Mark,
}

/// Everything served, in order of its end.
fn served(case: &Case<'_>) -> Vec<Served> {
    let handled = case.ledger.handled > 0 && case.plan.promises.reports_handling;
    let mut served = Vec::new();
    for (epoch, e) in case.ledger.epochs.iter().enumerate() {
        for delivery in e.deliveries.values() {
            let (Some(id), Some(delivered)) = (delivery.id, delivery.at_client) else { continue };
            let acks = delivery.settled.iter().map(|i| &e.settlements[*i]);
            let acked =
                acks.filter(|s| s.kind == Settle::Ack).map(|s| (delivered, s.at_client)).min();
            let handlings = case.ledger.messages.get(&id).into_iter().flat_map(|m| &m.handlings);
            // A delivery is served by a handling that began after it and before the next of the same message.
            let began = handlings.filter(|h| h.start > delivered).min_by_key(|h| h.start);
            let ended =
                began.and_then(|h| h.end.filter(|(_, ok)| *ok).map(|(end, _)| (h.start, end)));
            if let Some((began, done)) = if handled { ended } else { acked } {
                served.push(Served { id, epoch, delivered, began, done });
            }
        }
    }
    served.sort_by_key(|s| (s.done, std::cmp::Reverse(s.delivered)));
    served
}

fn judge(case: &Case<'_>, index: usize, step: &Step, served: &[Served]) -> Outage {
    let Some(fired) = began(case, index, step) else {
        return unsure(format!("step {} never fired", index + 1));
    };
    let anew = |s: &&Served| {
        s.delivered > fired && of_a_new_queue(case, step, s) && !broken(case, index, step, fired, s)
    };
    let first = served.iter().filter(|s| s.done >= step.usable[0]).find(anew);
    let usable = step
        .usable
        .iter()
        .copied()
        .rfind(|u| first.is_none_or(|s| *u <= s.done))
        .unwrap_or(step.usable[0]);
    let Some(since) = waiting(case, fired, usable, served) else {
        // Everything was handled before anyone could say that the path was usable.
        return match served.iter().filter(|s| reconnected(case, fired, s)).find(anew) {
            Some(s) => {
                Outage::Over(recovery(case, index, s.done.ns, s), vec![fired.seq, s.done.seq])
            }
            None => unsure(format!("nothing to handle after step {}", index + 1)),
        };
    };
    let deadline = since + bound(case);
    let until = first.map_or(deadline, |s| s.done.ns.min(deadline));
    if disturbed(case.ledger, index, fired, until) {
        return Outage::NotJudged;
    }
    if stopping(case).is_some_and(|m| m.ns < until) {
        return Outage::NotJudged;
    }
    if let Some(s) = first {
        let evidence = vec![fired.seq, usable.seq, s.delivered.seq, s.began.seq, s.done.seq];
        return Outage::Over(recovery(case, index, since, s), dedup(evidence));
    }
    let Some(last) = case.history.events().last().filter(|e| e.ns > deadline) else {
        return unsure(format!(
            "the run ended before the subject had {} to recover from step {}",
            ms(bound(case)),
            index + 1
        ));
    };
    let until = stopping(case).or(case.ledger.subject_ended).map_or(last.ns, |m| m.ns);
    let timed = Timed::own(case, since, until.max(deadline + 1), bound(case));
    let summary = format!(
        "after step {} no message was handled in {} from the path being usable to {}{}; {} allowed",
        index + 1,
        ms(last.ns.saturating_sub(since)),
        case.ledger.subject_ended.map_or("the end of the run", |_| "the subject's end"),
        timed.breakdown(),
        ms(bound(case))
    );
    if timed.kept == Kept::InTime {
        return unsure(summary);
    }
    let end = case.ledger.subject_ended.map_or(last.seq, |m| m.seq);
    let tried = case.ledger.connections.values().filter_map(|c| c.accepted).filter(|m| *m > fired);
    let evidence =
        [fired, usable].into_iter().chain(tried.take(9)).map(|m| m.seq).chain([end]).collect();
    let decision = timed.decision(summary, dedup(evidence));
    match timed.kept {
        Kept::Late => Outage::Never(decision),
        _ => Outage::Unsure(decision),
    }
}

fn unsure(why: String) -> Outage {
    Outage::Unsure(Decision::unknown(why))
}

/// When the outage began. A broker's fault is recorded as fired when it is done, the subject may be
/// back by then: it counts from its injection.
fn began(case: &Case<'_>, index: usize, step: &Step) -> Option<Mark> {
    let of_broker = case.plan.steps.get(index).is_some_and(|s| s.broker.is_some());
    let fired = step.fired.first().copied()?;
    Some(step.injected.filter(|m| of_broker && *m < fired).unwrap_or(fired))
}

/// Where the queue was deleted: whether it was in the new one. What the old one had delivered is handled without any
/// recovery.
fn of_a_new_queue(case: &Case<'_>, step: &Step, s: &Served) -> bool {
    let published = case.ledger.messages.get(&s.id).and_then(|m| m.published);
    !case.plan.scenario.expect.queue_is_deleted
        || step.fired.first().is_none_or(|done| published.is_some_and(|p| p > *done))
}

/// Whether it came by a connection made since.
fn reconnected(case: &Case<'_>, fired: Mark, s: &Served) -> bool {
    let connection = case.ledger.connections.get(&case.ledger.epochs[s.epoch].conn);
    connection.and_then(|c| c.accepted).is_some_and(|m| m > fired)
}

/// The same sequence number is shown once.
fn dedup(mut seqs: Vec<u64>) -> Vec<u64> {
    let mut seen = BTreeSet::new();
    seqs.retain(|s| seen.insert(*s));
    seqs
}

/// When the subject was first asked to stop, in whatever way.
fn stopping(case: &Case<'_>) -> Option<Mark> {
    let asked = |w: &What| matches!(w, What::StopRequested | What::AbortRequested);
    case.history.events().iter().find(|e| asked(&e.what)).map(Mark::from)
}

/// Whether another step fired between this one and its recovery. One that fired before it too, and
/// breaks no path, is weather.
fn disturbed(ledger: &Ledger, index: usize, fired: Mark, until: u64) -> bool {
    let others = ledger.steps.iter().filter(|(i, _)| **i != index);
    others.into_iter().any(|(_, other)| {
        let mut hits = if other.usable.is_empty() {
            &other.fired[..other.fired.len().min(1)]
        } else {
            &other.fired[..]
        }
        .iter();
        hits.any(|m| *m > fired && m.ns < until)
    })
}

/// Whether what this connection brought is no recovery: the step fired on it and it ended by that,
/// or it is from before and was over by then.
fn broken(case: &Case<'_>, index: usize, step: &Step, fired: Mark, s: &Served) -> bool {
    let conn = case.ledger.epochs[s.epoch].conn;
    let Some(connection) = case.ledger.connections.get(&conn) else { return false };
    let over =
        |before: Option<Mark>| connection.client_over.is_some_and(|o| before.is_none_or(|b| o < b));
    let older = connection.accepted.is_some_and(|m| m < fired);
    // A fault of the broker fires on no connection in particular.
    let of_broker = step.hit.is_empty();
    let touched = if of_broker { older } else { step.hit.contains_key(&conn) };
    if !touched {
        return older && over(Some(s.done));
    }
    let others = case.ledger.steps.iter().filter(|(i, _)| **i != index).flat_map(|(_, s)| &s.fired);
    let next = others.filter(|m| **m > fired).min().copied();
    let planned = case.plan.steps.get(index).and_then(|s| s.fault.as_ref());
    let forgets = matches!(planned, Some(Fault::Blackhole { resume: false, .. }));
    // One that was made in the hole has no flow that could be forgotten.
    let made_in_it = step.injected.is_some_and(|m| connection.accepted > Some(m))
        && !matches!(case.plan.steps[index].when, Trigger::Frame { .. });
    let lost = forgets && !made_in_it;
    (lost && !of_broker) || over([next, stopping(case)].into_iter().flatten().min())
}

/// From when on, with the path usable, a message waited that only a recovery could get handled.
fn waiting(case: &Case<'_>, fired: Mark, usable: Mark, served: &[Served]) -> Option<u64> {
    let gone = case.plan.scenario.expect.queue_is_deleted;
    let mut firsts: BTreeMap<u32, &Served> = BTreeMap::new();
    for s in served {
        firsts.entry(s.id).or_insert(s);
    }
    let mut waiting = Vec::new();
    for (id, message) in &case.ledger.messages {
        let Some(confirmed) = message.confirmed else { continue };
        let lost = gone && message.published.is_none_or(|p| p < fired);
        let first = firsts.get(id);
        let elsewhere = first.is_none() && message.handled().is_some();
        // Begun before the fault, it finishes by itself.
        if !lost && !elsewhere && first.is_none_or(|s| s.began > fired && s.done >= usable) {
            waiting.push(confirmed.ns.max(usable.ns));
        }
    }
    waiting.into_iter().min()
}

/// Where the time went, from what the subject's end of the wire saw.
fn recovery(case: &Case<'_>, step: usize, since: u64, s: &Served) -> Recovery {
    let epoch = &case.ledger.epochs[s.epoch];
    let accepted = case.ledger.connections.get(&epoch.conn).and_then(|c| c.accepted);
    let heard = |channel: u16, name: &str| {
        let frames =
            case.history.events().iter().filter(|e| channel == 0 || Mark::from(*e) > epoch.opened);
        frames
            .filter_map(|e| match &e.what {
                What::Wire { conn, end: End::Client, way: Direction::ToClient, frame } => {
                    (*conn == epoch.conn && frame.channel == channel && &*frame.name == name)
                        .then(|| Mark::from(e))
                }
                _ => None,
            })
            .next()
    };
    let last = if case.ledger.handled > 0 && case.plan.promises.reports_handling {
        "handle"
    } else {
        "ack"
    };
    let milestones = [
        ("connect", accepted),
        ("start", heard(0, "connection.start")),
        ("tune", heard(0, "connection.tune")),
        ("open", heard(0, "connection.open-ok")),
        ("qos", heard(epoch.channel, "basic.qos-ok")),
        ("consume", heard(epoch.channel, "basic.consume-ok")),
        ("deliver", Some(s.delivered)),
        (last, Some(s.done)),
    ];
    let mut parts = Vec::new();
    let mut from = since;
    for (name, mark) in milestones {
        if let Some(mark) = mark.filter(|m| m.ns >= from) {
            parts.push((name, mark.ns - from));
            from = mark.ns;
        }
    }
    Recovery { step, usable_ns: since, handled_ns: s.done.ns, conn: epoch.conn, parts }
}

#[cfg(test)]
mod tests;
