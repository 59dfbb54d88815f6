//! reports: can what the subject says of its handlings be believed? Its words are evidence in other checkers.
//!
//! It never fails a subject: one that reports what cannot be makes the run Unknown, with that reason. A consumer
//! inside this process is called for each message it handles, and is not asked.

use super::proof::names;
use super::{Case, Checker, Decision};
use crate::history::What;

/// The entry in the catalogue.
pub const CHECKER: Checker = Checker {
    id: "reports",
    name: "reports",
    fails_when: "never; it is unknown when the subject reports handlings that cannot have been",
    decide,
};

fn decide(case: &Case<'_>) -> Decision {
    let process = |what: &What| matches!(what, What::ProcessStarted { .. });
    if !case.history.events().iter().any(|e| process(&e.what)) {
        return Decision::not_applicable("the subject runs inside gauntlet");
    }
    let flood = case.history.events().iter().rev().find_map(|e| match &e.what {
        What::Flood { text } => Some((e.seq, text)),
        _ => None,
    });
    if let Some((seq, text)) = flood {
        let words = format!("it reported more than can have been: {text}");
        return Decision { evidence: vec![seq], ..Decision::unknown(words) };
    }
    let nonsense = case.history.events().iter().find_map(|e| match &e.what {
        What::Nonsense { text } => Some((e.seq, text)),
        _ => None,
    });
    if let Some((seq, text)) = nonsense {
        let words = format!(
            "it reported `{text}`, which names no message: a report is `handled` and the message's message_id, like `handled m59`"
        );
        return Decision { evidence: vec![seq], ..Decision::unknown(words) };
    }
    let arrived = |(e, tag): &(usize, u64)| case.ledger.epochs[*e].deliveries.get(tag)?.at_client;
    let reported = || case.ledger.messages.iter().filter(|(_, m)| !m.handlings.is_empty());
    let never: Vec<(u32, u64)> = reported()
        .filter(|(_, m)| {
            let first = m.deliveries.iter().filter_map(arrived).min();
            first.is_none_or(|first| m.handlings[0].start < first)
        })
        .map(|(id, m)| (*id, m.handlings[0].start.seq))
        .collect();
    if !never.is_empty() {
        let words = format!(
            "it reported {} handled, which had not reached it: its reports cannot be believed",
            names(never.iter().map(|(id, _)| *id))
        );
        let evidence = never.iter().map(|(_, seq)| *seq).take(12).collect();
        return Decision { evidence, ..Decision::unknown(words) };
    }
    match reported().count() {
        0 => Decision::not_applicable(
            "the subject reports no handlings: the wire alone decides (docs/subjects.md says how to report)",
        ),
        n => Decision::pass(format!("{n} messages reported, each of them was delivered before")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkers::testing::HistoryBuilder;
    use crate::verdict::Outcome::{NotApplicable, Pass, Unknown};

    fn process() -> HistoryBuilder {
        let mut tale = HistoryBuilder::new();
        tale.what(What::ProcessStarted { copy: 1, pid: 7 }).connect(1, 10).consume(1, 1, 8);
        tale
    }

    #[test]
    fn what_was_delivered_can_be_handled_and_nothing_else() {
        process().served(1, 1, 1, 0).expect(&CHECKER, Pass);
        let decision = process().served(1, 1, 1, 0).handle(9, true).expect(&CHECKER, Unknown);
        assert!(decision.summary.contains("m9 handled, which had not reached it"));
        assert_eq!(decision.evidence.len(), 1);
        // Before it was delivered.
        process().handle(0, true).served(1, 1, 1, 0).expect(&CHECKER, Unknown);
    }

    #[test]
    fn nonsense_is_quoted() {
        let mut tale = process();
        tale.served(1, 1, 1, 0).what(What::Nonsense { text: "handled order-7".into() });
        assert!(tale.expect(&CHECKER, Unknown).summary.contains("`handled order-7`"));
    }

    #[test]
    fn a_flood_is_unknown_with_its_figures() {
        let mut tale = process();
        tale.served(1, 1, 1, 0).what(What::Flood { text: "1001 reports of 1 deliveries".into() });
        tale.what(What::Flood { text: "5000 reports of 1 deliveries".into() });
        let said = tale.expect(&CHECKER, Unknown).summary;
        assert!(said.contains("more than can have been: 5000 reports of 1"), "{said}");
    }

    #[test]
    fn not_asked() {
        HistoryBuilder::new().handle(9, true).expect(&CHECKER, NotApplicable);
        process().publish(0).deliver(1, 1, 1, 0).ack(1, 1, 1).expect(&CHECKER, NotApplicable);
    }
}
