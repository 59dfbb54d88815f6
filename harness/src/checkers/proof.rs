//! What checkers share: charges with their evidence, words for messages and moments, and a few
//! questions to a case that several of them ask. It decides nothing.

use gauntlet_network::{End, Way};

use super::turns::{Kept, Timed};
use super::{Case, Decision};
use crate::history::ledger::{Delivery, Epoch, Mark, Message, Settlement};
use crate::history::{SubjectEnd, What};
use crate::scenario::{Step, SubjectFault};

/// How many events a finding lists at most.
const MOST_EVENTS: usize = 12;
/// How many messages a summary names at most.
const MOST_NAMES: usize = 5;

/// Violations found, in order; the first is told in words, all of them by their events.
#[derive(Default)]
pub(super) struct Charges {
    words: Vec<String>,
    evidence: Vec<u64>,
    /// The first that the machine may have caused, being busy.
    busy: Option<String>,
}

impl Charges {
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

/// Every settlement of every delivery of a message.
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
        delivery.into_iter().flat_map(of)
    })
}

/// Whether a delivery came by a consumer that asked for no acknowledgements.
pub(super) fn automatic(epoch: &Epoch, delivery: &Delivery) -> bool {
    epoch.consumers.iter().any(|c| c.no_ack && c.tag == delivery.consumer)
}

/// How and when the subject came to an end.
pub(super) fn ending<'a>(case: &Case<'a>) -> Option<(Mark, &'a SubjectEnd)> {
    case.history.events().iter().find_map(|e| match &e.what {
        What::SubjectEnded { how } => Some((Mark::from(e), how)),
        _ => None,
    })
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
            What::Wire { end: End::Client, way: Way::ToBroker, .. }
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
        let mut charges = Charges::default();
        charges.add("m1 was bad", [mark(3), None, mark(1), mark(1)]);
        let (words, evidence) = (charges.words.clone(), charges.evidence.clone());
        let one = Charges { words, evidence, busy: None };
        let decision = one.or_else(|| Decision::pass("fine"));
        assert_eq!(decision, Decision::fail("m1 was bad", vec![1, 3]));
        charges.add("m2 was bad", (4..20).map(mark));
        let decision = charges.or_else(|| Decision::pass("fine"));
        assert_eq!(decision.summary, "m1 was bad; and 1 more (and 6 more events)");
        assert_eq!(decision.evidence, [1, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13]);
        assert_eq!(Charges::default().or_else(|| Decision::pass("fine")).summary, "fine");
    }

    #[test]
    fn a_fault_disturbs_from_its_injection_to_its_lifting_or_to_the_end() {
        use crate::checkers::testing::Tale;
        use crate::checkers::{Case, Checker, Decision};
        fn decide(case: &Case<'_>) -> Decision {
            let ms = |ms: u64| ms * 1_000_000;
            let spans = [(0, 99), (0, 101), (150, 160), (199, 300), (201, 300)];
            let words = spans.map(|(from, to)| disturbed(case, ms(from), ms(to)).to_string());
            Decision::pass(words.join(" "))
        }
        let checker = Checker { id: "I0", name: "any", fails_when: "never", decide };
        let fault = || What::Injected { step: 0, fault: "stall".into() };
        let mut tale = Tale::new();
        tale.at(100.0).what(fault()).at(200.0).what(What::Lifted { step: 0 });
        assert_eq!(tale.judge(&checker).summary, "false true true true false");
        let decision = Tale::new().at(100.0).what(fault()).judge(&checker);
        assert_eq!(decision.summary, "false true true true true");
    }

    #[test]
    fn names_are_capped() {
        assert_eq!(names([1, 2]), "m1, m2");
        assert_eq!(names(0..5), "m0, m1, m2, m3, m4");
        assert_eq!(names(0..7), "m0, m1, m2, m3, m4 and 2 more");
    }
}
