//! What checkers share: charges with their evidence, words for messages and moments, and a few
//! questions to a case that several of them ask. It decides nothing.

use gauntlet_faults::{Direction, End};

use super::turns::{Kept, Timed};
use super::{Case, Decision};
use crate::history::ledger::{Connection, Copy, Delivery, Epoch, Mark, Message, Settlement};
use crate::history::{SubjectEnd, What};
use crate::scenario::{Step, SubjectFault};

/// How many events a finding lists at most.
const MOST_EVENTS: usize = 12;
/// How many messages a summary names at most.
const MOST_NAMES: usize = 5;

/// Violations found, in order; the first is told in words, all of them by their events.
#[derive(Default)]
pub(super) struct Violations {
    words: Vec<String>,
    evidence: Vec<u64>,
    /// The first that the machine may have caused, being busy.
    busy: Option<String>,
}

impl Violations {
    /// One more violation, and the events that prove it (put in order of time).
    pub(super) fn add(
        &mut self,
        words: impl Into<String>,
        evidence: impl IntoIterator<Item = Option<Mark>>,
    ) {
        let mut marks: Vec<Mark> = evidence.into_iter().flatten().collect();
        marks.sort();
        self.words.push(words.into());
        for mark in marks {
            if !self.evidence.contains(&mark.seq) {
                self.evidence.push(mark.seq);
            }
        }
    }

    /// One more violation if the bound was missed; none if the machine was too busy to tell, which is kept in mind.
    pub(super) fn late(
        &mut self,
        timed: &Timed,
        words: impl Into<String>,
        evidence: impl IntoIterator<Item = Option<Mark>>,
    ) {
        match timed.kept {
            Kept::InTime => {}
            Kept::Late => self.add(words, evidence),
            Kept::TooBusy => {
                let words = words.into();
                self.busy.get_or_insert_with(|| format!("{words}, but {}", timed.busy()));
            }
        }
    }

    /// A failure if there is any; unknown if one may be the doing of a busy machine; else what `otherwise` says.
    pub(super) fn or_else(mut self, otherwise: impl FnOnce() -> Decision) -> Decision {
        let Some(first) = self.words.first() else {
            return self.busy.map_or_else(otherwise, Decision::too_busy);
        };
        let mut summary = first.clone();
        if self.words.len() > 1 {
            summary.push_str(&format!("; and {} more", self.words.len() - 1));
        }
        if self.evidence.len() > MOST_EVENTS {
            summary.push_str(&format!(" (and {} more events)", self.evidence.len() - MOST_EVENTS));
            self.evidence.truncate(MOST_EVENTS);
        }
        Decision::fail(summary, self.evidence)
    }
}

/// "m1, m2 and 7 more".
pub(super) fn names(ids: impl IntoIterator<Item = u32>) -> String {
    let ids: Vec<u32> = ids.into_iter().collect();
    let mut words: Vec<String> = ids.iter().take(MOST_NAMES).map(|id| format!("m{id}")).collect();
    if let Some(more @ 1..) = ids.len().checked_sub(MOST_NAMES) {
        let last = words.pop().unwrap_or_default();
        words.push(format!("{last} and {more} more"));
    }
    words.join(", ")
}

/// "m17", or "a message without an id".
pub(super) fn name(id: Option<u32>) -> String {
    id.map_or_else(|| "a message without an id".to_owned(), |id| format!("m{id}"))
}

/// "104.2 ms".
pub(super) fn ms(at: Mark) -> String {
    format!("{:.1} ms", at.ns as f64 / 1e6)
}

/// The time between two moments, in ms.
pub(super) fn gap(from: Mark, to: Mark) -> String {
    format!("{:.1} ms", to.ns.saturating_sub(from.ns) as f64 / 1e6)
}

/// "connection 2, channel 1".
pub(super) fn place(epoch: &Epoch) -> String {
    format!("connection {}, channel {}", epoch.conn, epoch.channel)
}

/// Every settlement of every delivery of a message from the queue under test.
pub(super) fn settlements<'a>(
    case: &Case<'a>,
    message: &'a Message,
) -> impl Iterator<Item = (&'a Epoch, &'a Delivery, &'a Settlement)> {
    let ledger = case.ledger;
    message.deliveries.iter().flat_map(move |(epoch, tag)| {
        let epoch = &ledger.epochs[*epoch];
        let delivery = epoch.deliveries.get(tag);
        let of = move |d: &'a Delivery| {
            d.settled.iter().map(move |i| (epoch, d, &epoch.settlements[*i]))
        };
        delivery.into_iter().filter(|d| !d.foreign).flat_map(of)
    })
}

/// The subject published the message itself between its delivery and a settlement: it did not drop it, it moved it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moved {
    /// The broker had confirmed the copy by then.
    Confirmed,
    /// It had not: nobody knew whether the broker had the copy.
    Unconfirmed(Mark),
}

/// Whether the subject had moved what it settles.
pub(super) fn moved(case: &Case<'_>, epoch: &Epoch, d: &Delivery, s: &Settlement) -> Option<Moved> {
    let (id, arrived) = (d.id?, d.at_client?);
    let copies = case.ledger.messages.get(&id)?.copies.iter().map(|i| &case.ledger.copies[*i]);
    let between = |c: &&Copy| c.sent > arrived && c.sent < s.at_client;
    let refused = |c: &Copy| c.refused.is_some_and(|at| at < s.at_client);
    let mut unconfirmed = None;
    for copy in copies.filter(between).filter(|c| !refused(c)) {
        let on = &case.ledger.epochs[copy.epoch];
        let together = epoch.transacted && (on.conn, on.opened) == (epoch.conn, epoch.opened);
        if together || copy.confirmed.is_some_and(|at| at < s.at_client) {
            return Some(Moved::Confirmed);
        }
        unconfirmed.get_or_insert(copy.sent);
    }
    unconfirmed.map(Moved::Unconfirmed)
}

/// Whether the subject does not have to settle a delivery: it came without acknowledgements, or from a queue that is
/// the subject's own business.
pub(super) fn automatic(_: &Epoch, delivery: &Delivery) -> bool {
    delivery.automatic || delivery.foreign
}

/// How and when the subject came to an end.
pub(super) fn ending<'a>(case: &Case<'a>) -> Option<(Mark, &'a SubjectEnd)> {
    case.history.events().iter().find_map(|e| match &e.what {
        What::SubjectEnded { how } => Some((Mark::from(e), how)),
        _ => None,
    })
}

/// Whether a subject that ended by the request to stop had closed its connections in order before. One that the signal
/// itself ended has to have closed one, to show that it would.
pub(super) fn in_order(case: &Case<'_>) -> bool {
    let replaces = |i: &usize| {
        case.plan.steps.get(*i).is_some_and(|s| s.subject == Some(SubjectFault::Replace))
    };
    let replaced = case.ledger.steps.iter().filter(|(i, _)| replaces(i));
    let replaced = replaced.filter_map(|(_, s)| s.fired.first().copied());
    let Some(asked) = replaced.chain(case.ledger.stop_requested).min() else { return false };
    let closed = |c: &Connection| c.close.as_ref().is_some_and(|(by, ..)| *by == End::Client);
    let left_open = |c: &Connection| {
        let standing = |left: Mark| left >= asked && c.broker_over.is_none_or(|over| over > left);
        c.opened.is_some()
            && c.close.is_none()
            && (c.client_over.is_none() || c.client_left.is_some_and(standing))
    };
    let by_signal =
        matches!(ending(case), Some((_, SubjectEnd::Terminated(how))) if how.contains("signal 15"));
    let connections = &case.ledger.connections;
    !connections.values().any(left_open) && (!by_signal || connections.values().any(closed))
}

/// When it is done with what it was at when it was asked to stop: a consumer with one thread hears the request then.
/// Where it reports no handlings, its first settlement shows that. Not later than it may take to stop.
pub(super) fn busy_until(case: &Case<'_>, epoch: &Epoch, asked: Mark) -> Mark {
    let bound = asked.ns + case.plan.scenario.expect.stops_within.as_nanos() as u64;
    let until = if case.plan.promises.reports_handling {
        let handlings = case.ledger.messages.values().flat_map(|m| &m.handlings);
        let begun = handlings.filter(|h| h.start < asked);
        begun.filter_map(|h| h.end).map(|(end, _)| end).max()
    } else {
        let had = |tag: &u64| epoch.deliveries.get(tag)?.at_client.filter(|at| *at < asked);
        let settled = epoch.settlements.iter().filter(|s| s.at_client > asked);
        settled.filter(|s| s.covers.iter().any(|t| had(t).is_some())).map(|s| s.at_client).min()
    };
    until.filter(|at| at.ns <= bound).unwrap_or(asked)
}

/// The first event of a kind.
pub(super) fn first(case: &Case<'_>, wanted: impl Fn(&What) -> bool) -> Option<Mark> {
    case.history.events().iter().find(|e| wanted(&e.what)).map(Mark::from)
}

/// The last moment the history knows of.
pub(super) fn last_ns(case: &Case<'_>) -> u64 {
    case.history.events().last().map_or(0, |e| e.ns)
}

/// Whether a fault of the network or the broker was in force at any time between the two moments.
/// One that was never lifted and never left a usable path is in force to the end.
pub(super) fn disturbed(case: &Case<'_>, from: u64, to: u64) -> bool {
    let request = |s: &Step| matches!(s.subject, Some(SubjectFault::Stop | SubjectFault::Abort));
    let of_subject = |i: usize| case.plan.steps.get(i).is_some_and(request);
    case.ledger.steps.iter().filter(|(i, _)| !of_subject(**i)).any(|(_, step)| {
        let Some(injected) = step.injected else { return false };
        let over = step.lifted.or(step.usable.last().copied());
        injected.ns <= to && over.is_none_or(|over| over.ns >= from)
    })
}

/// Whether what ended something was the subject's own doing: a frame it sent, or the end of its socket.
pub(super) fn by_subject(case: &Case<'_>, at: Mark) -> bool {
    case.history.get(at.seq).is_some_and(|e| {
        matches!(
            e.what,
            What::Wire { end: End::Client, way: Direction::ToBroker, .. }
                | What::Ended { end: End::Client, .. }
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(seq: u64) -> Option<Mark> {
        Some(Mark { ns: seq, seq })
    }

    #[test]
    fn charges_tell_the_first_count_the_rest_and_cap_the_events() {
        let mut charges = Violations::default();
        charges.add("m1 was bad", [mark(3), None, mark(1), mark(1)]);
        let (words, evidence) = (charges.words.clone(), charges.evidence.clone());
        let one = Violations { words, evidence, busy: None };
        let decision = one.or_else(|| Decision::pass("fine"));
        assert_eq!(decision, Decision::fail("m1 was bad", vec![1, 3]));
        charges.add("m2 was bad", (4..20).map(mark));
        let decision = charges.or_else(|| Decision::pass("fine"));
        assert_eq!(decision.summary, "m1 was bad; and 1 more (and 6 more events)");
        assert_eq!(decision.evidence, [1, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13]);
        assert_eq!(Violations::default().or_else(|| Decision::pass("fine")).summary, "fine");
    }

    #[test]
    fn a_fault_disturbs_from_its_injection_to_its_lifting_or_to_the_end() {
        use crate::checkers::testing::HistoryBuilder;
        use crate::checkers::{Case, Checker, Decision};
        fn decide(case: &Case<'_>) -> Decision {
            let ms = |ms: u64| ms * 1_000_000;
            let spans = [(0, 99), (0, 101), (150, 160), (199, 300), (201, 300)];
            let words = spans.map(|(from, to)| disturbed(case, ms(from), ms(to)).to_string());
            Decision::pass(words.join(" "))
        }
        let checker = Checker { id: "I0", name: "any", fails_when: "never", decide };
        let fault = || What::Injected { step: 0, fault: "stall".into() };
        let mut tale = HistoryBuilder::new();
        tale.at(100.0).what(fault()).at(200.0).what(What::Lifted { step: 0 });
        assert_eq!(tale.judge(&checker).summary, "false true true true false");
        let decision = HistoryBuilder::new().at(100.0).what(fault()).judge(&checker);
        assert_eq!(decision.summary, "false true true true true");
    }

    #[test]
    fn names_are_capped() {
        assert_eq!(names([1, 2]), "m1, m2");
        assert_eq!(names(0..5), "m0, m1, m2, m3, m4");
        assert_eq!(names(0..7), "m0, m1, m2, m3, m4 and 2 more");
    }
}
