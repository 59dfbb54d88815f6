//! I8, prefetch: fails when more is outstanding than asked for, consume comes before qos, a channel sets another
//! prefetch than the subject promised to keep to, or than its own before a recovery.
//!
//! Counted at the subject's end, for each consumer of the queue under test; for all channels of a connection, which
//! together hold no more than all workers may; and for all connections, until the first fault: behind one, a subject
//! may have let go of a connection unseen. A prefetch binds only consumers started after it. One that chooses its own
//! prefetch is held to that.

use std::collections::{BTreeMap, BTreeSet};

use super::proof::{Violations, automatic, ms, place};
use super::{Case, Checker, Decision};
use crate::history::ledger::{Consumer, Delivery, Epoch, Mark};
use crate::scenario::Settings;

/// The entry in the catalogue.
pub const CHECKER: Checker = Checker {
    id: "I8",
    name: "prefetch",
    fails_when: "more deliveries are outstanding than asked for, consume comes before qos, or recovery sets another prefetch",
    decide,
};

fn decide(case: &Case<'_>) -> Decision {
    let told = case.plan.promises.prefetch.then_some(case.plan.scenario.subject.prefetch);
    let mut charges = Violations::default();
    let (mut consumers, mut most, mut polls) = (0, 0, false);
    let mut held: Vec<Held<'_>> = Vec::new();
    for epoch in &case.ledger.epochs {
        let of_epoch = held_on(epoch);
        let judged = |c: &Consumer| !c.no_ack && c.under_test;
        for (i, consumer) in epoch.consumers.iter().enumerate().filter(|(_, c)| judged(c)) {
            consumers += 1;
            match told {
                Some(told) => charge_asked(case, &mut charges, epoch, consumer, told),
                None => charge_own(case, &mut charges, epoch, consumer),
            }
            let limit = told.unwrap_or_else(|| asked(epoch, consumer));
            let marks = peak(of_epoch.iter().filter(|h| h.consumer == i).map(|h| (h.from, h.to)));
            most = most.max(marks.len());
            if limit > 0 && marks.len() > usize::from(limit) {
                let words = format!(
                    "{} deliveries were unsettled at once on {}, where {limit} were asked for",
                    marks.len(),
                    place(epoch)
                );
                charges.add(words, marks.into_iter().map(Some));
            }
        }
        held.extend(of_epoch);
        let marks = peak(polled(epoch).into_iter());
        polls |= epoch.polls.iter().any(|p| p.under_test && !p.no_ack);
        if let Some(told) = told.filter(|told| *told > 0 && marks.len() > usize::from(*told)) {
            let words = format!(
                "{} polled messages were unsettled at once on {}, where {told} may be",
                marks.len(),
                place(epoch)
            );
            charges.add(words, marks.into_iter().map(Some));
        }
    }
    if told.is_some() {
        charge_together(case, &mut charges, &held);
    }
    charges.or_else(|| match (consumers, told) {
        (0, Some(told)) if polls => {
            Decision::pass(format!("it polls, and never held more than {told} messages at once"))
        }
        (0, _) => Decision::not_applicable(
            "the subject had no consumer of the queue with acknowledgements",
        ),
        (_, None) => Decision::not_applicable(format!(
            "the subject does not promise to keep to the prefetch it is told; with its own, at most {most} were unsettled at once"
        )),
        (n, Some(told)) => Decision::pass(format!(
            "prefetch {told} before each of {n} consumers; at most {most} unsettled at once"
        )),
    })
}

/// The prefetch in force for a consumer; 0 is no limit.
fn asked(epoch: &Epoch, consumer: &Consumer) -> u16 {
    epoch.qos.iter().rev().find(|(at, _)| *at < consumer.asked).map_or(0, |(_, n)| *n)
}

fn charge_asked(
    case: &Case<'_>,
    charges: &mut Violations,
    epoch: &Epoch,
    consumer: &Consumer,
    told: u16,
) {
    if asked(epoch, consumer) == told {
        return;
    }
    let qos = epoch.qos.iter().rev().find(|(at, _)| *at < consumer.asked);
    let recovered = ended_before(case, consumer).next().is_some();
    let after = if recovered { " after a recovery" } else { "" };
    let late = epoch.qos.iter().find(|(at, _)| *at > consumer.asked);
    let words = match (qos, late) {
        (Some((_, n)), _) => format!("a prefetch of {n} instead of {told}"),
        (None, Some((at, _))) => format!("no prefetch until {}", ms(*at)),
        (None, None) => format!("no prefetch instead of {told}"),
    };
    let words =
        format!("on {} it consumed at {}{after} with {words}", place(epoch), ms(consumer.asked));
    let qos = qos.or(late).map(|(at, _)| *at);
    charges.add(words, [qos, Some(consumer.asked), consumer.ok]);
}

/// Consumers of the queue, each with its channel.
fn consumers<'a>(case: &Case<'a>) -> impl Iterator<Item = (&'a Epoch, &'a Consumer)> {
    let all = case.ledger.epochs.iter().flat_map(|e| e.consumers.iter().map(move |c| (e, c)));
    all.filter(|(_, c)| c.under_test && !c.no_ack)
}

/// When a consumer was over.
fn over(epoch: &Epoch, consumer: &Consumer) -> Option<Mark> {
    [consumer.cancelled.map(|(_, at)| at), epoch.client_over].into_iter().flatten().min()
}

/// Consumers that were over before this one was asked for: what it may have taken the place of.
fn ended_before<'a>(
    case: &Case<'a>,
    consumer: &Consumer,
) -> impl Iterator<Item = (&'a Epoch, &'a Consumer)> {
    let asked = consumer.asked;
    consumers(case).filter(move |(e, c)| over(e, c).is_some_and(|at| at < asked))
}

/// A subject that chooses its own prefetch: it sets it before it consumes, and the same again after a recovery.
fn charge_own(case: &Case<'_>, charges: &mut Violations, epoch: &Epoch, consumer: &Consumer) {
    let own = asked(epoch, consumer);
    let before = epoch.qos.iter().any(|(at, _)| *at < consumer.asked);
    let late = epoch.qos.iter().find(|(at, _)| *at > consumer.asked).map(|(at, _)| *at);
    let next = |late: Mark| epoch.consumers.iter().any(|c| c.asked > late);
    if let Some(late) = late.filter(|late| !before && !next(*late)) {
        let words = format!(
            "on {} it consumed at {} and set its prefetch at {}, which binds no consumer that is there already",
            place(epoch),
            ms(consumer.asked),
            ms(late)
        );
        charges.add(words, [Some(consumer.asked), Some(late)]);
        return;
    }
    let earlier = |(_, c): &(&Epoch, &Consumer)| c.asked < consumer.asked;
    if consumers(case).filter(earlier).any(|(e, c)| asked(e, c) == own) {
        return;
    }
    // What had that prefetch before is there again beside it: this one is new, and may have its own.
    let end = over(epoch, consumer);
    let back = |gone: (&Epoch, &Consumer)| {
        let since = over(gone.0, gone.1);
        consumers(case).any(|(e, c)| {
            Some(c.asked) > since
                && asked(e, c) == asked(gone.0, gone.1)
                && end.is_none_or(|end| c.asked < end)
        })
    };
    if let Some((e, c)) = ended_before(case, consumer).find(|gone| !back(*gone)) {
        let limit =
            |n| if n == 0 { "no prefetch".to_owned() } else { format!("a prefetch of {n}") };
        let words = format!(
            "on {} it consumed at {} after a recovery with {} instead of its own before, {}",
            place(epoch),
            ms(consumer.asked),
            limit(own),
            limit(asked(e, c))
        );
        charges.add(words, [Some(c.asked), over(e, c), Some(consumer.asked)]);
    }
}

/// A delivery in the subject's hands.
struct Held<'a> {
    epoch: &'a Epoch,
    /// Which of the epoch's consumers it came by.
    consumer: usize,
    from: Mark,
    /// When it was settled.
    to: Option<Mark>,
}

fn held_on(epoch: &Epoch) -> Vec<Held<'_>> {
    let at_nothing = epoch.settlements.iter().filter(|s| s.covers.is_empty());
    let early: BTreeMap<u64, Mark> = at_nothing.map(|s| (s.tag, s.at_client)).collect();
    let held = |(tag, d): (&u64, &Delivery)| {
        let settled = d.settled.first().map(|i| epoch.settlements[*i].at_client);
        let to = early.get(tag).copied().or(settled);
        // A tag settled before its delivery arrived (I3) gave the broker its credit back all the same.
        let from = d.at_client.filter(|at| to.is_none_or(|s| s > *at))?;
        // A tag may serve again once its consumer is cancelled: what arrives is of the last that has begun.
        let begun = |c: &Consumer| c.tag == d.consumer && c.ok.unwrap_or(c.asked) < from;
        let consumer = epoch.consumers.iter().rposition(begun)?;
        Some(Held { epoch, consumer, from, to })
    };
    epoch.deliveries.iter().filter(|(_, d)| !automatic(epoch, d)).filter_map(held).collect()
}

/// What was polled, from its arrival to its settlement.
fn polled(epoch: &Epoch) -> Vec<(Mark, Option<Mark>)> {
    let own = |d: &&Delivery| d.consumer.is_empty() && !automatic(epoch, d);
    let settled = |d: &Delivery| d.settled.first().map(|i| epoch.settlements[*i].at_client);
    let deliveries = epoch.deliveries.values().filter(own);
    deliveries.filter_map(|d| Some((d.at_client?, settled(d)))).collect()
}

/// More on several channels together than all workers may hold, though on each it is no more than one may.
fn charge_together(case: &Case<'_>, charges: &mut Violations, held: &[Held<'_>]) {
    let Settings { workers, prefetch, copies, .. } = case.plan.scenario.subject;
    // What a consumer received that is cancelled by now, the next one on its channel does not answer for.
    let given_up = |h: &Held<'_>| {
        let cancelled = h.epoch.consumers[h.consumer].cancelled.map(|(_, at)| at);
        [h.to, cancelled, h.epoch.client_over].into_iter().flatten().min()
    };
    let last_words = |h: &Held<'_>| {
        case.ledger.connections.get(&h.epoch.conn).and_then(|c| c.spoke.last()).copied()
    };
    let fault = case.ledger.steps.values().filter_map(|s| s.injected).min();
    let mut groups: BTreeMap<Option<u64>, Vec<(Mark, Option<Mark>)>> = BTreeMap::new();
    for h in held {
        groups.entry(Some(h.epoch.conn)).or_default().push((h.from, given_up(h)));
        if fault.is_none_or(|fault| h.from < fault) {
            let to = [given_up(h), last_words(h)].into_iter().flatten().min();
            groups.entry(None).or_default().push((h.from, to));
        }
    }
    let most = usize::from(workers) * usize::from(prefetch);
    let most_on = |on: &Option<u64>| if on.is_some() { most } else { most * usize::from(copies) };
    let mut over = groups.into_iter().map(|(on, spans)| (on, peak(spans.into_iter())));
    if let Some((on, marks)) = over.rfind(|(on, m)| most > 0 && m.len() > most_on(on)) {
        let on = on.map_or("all its connections".into(), |conn| format!("connection {conn}"));
        let words = format!(
            "{} deliveries were unsettled at once on {on}, where {workers} workers may hold {prefetch} each",
            marks.len()
        );
        charges.add(words, marks.into_iter().map(Some));
    }
}

/// The most of these spans that are open at once, as their beginnings.
fn peak(spans: impl Iterator<Item = (Mark, Option<Mark>)>) -> Vec<Mark> {
    let mut changes: Vec<(Mark, Mark)> = Vec::new();
    for (from, to) in spans.filter(|(from, to)| to.is_none_or(|to| to > *from)) {
        changes.push((from, from));
        changes.extend(to.map(|to| (to, from)));
    }
    changes.sort();
    let (mut open, mut most, mut through) = (0_usize, 0, 0);
    for (i, (at, from)) in changes.iter().enumerate() {
        open = if at == from { open + 1 } else { open.saturating_sub(1) };
        if open > most {
            (most, through) = (open, i + 1);
        }
    }
    let mut spans = BTreeSet::new();
    for (at, from) in &changes[..through] {
        if at == from {
            spans.insert(*from);
        } else {
            spans.remove(from);
        }
    }
    spans.into_iter().collect()
}

#[cfg(test)]
mod tests;
