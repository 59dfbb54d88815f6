//! I5, early ack: fails when a message is acked before its handler succeeded, where that is promised.
//!
//! An ack of a redelivered message without a new handling is fine when an earlier one succeeded; so is one
//! of a message that the subject has published again, once the broker has confirmed the copy. A consumer that
//! asks for no acknowledgements acks everything early.

use super::proof::{Moved, Violations, moved, ms, place};
use super::{Case, Checker, Decision};
use crate::history::ledger::{Epoch, Mark, Message, Settle};

/// The entry in the catalogue.
pub const CHECKER: Checker = Checker {
    id: "I5",
    name: "early ack",
    fails_when: "a message is acked before its handler succeeded",
    decide,
};

fn decide(case: &Case<'_>) -> Decision {
    if !case.plan.promises.at_least_once {
        return Decision::not_applicable(
            "the subject does not promise to handle before it settles",
        );
    }
    let mut charges = Violations::default();
    for epoch in &case.ledger.epochs {
        let asked = unacknowledged(epoch);
        if let Some(first) = asked.first() {
            let words = format!(
                "on {} it consumes without acknowledgements since {}: the broker forgets each message before it is handled",
                place(epoch),
                ms(*first)
            );
            charges.add(words, asked.into_iter().map(Some));
        }
    }
    if !case.plan.promises.reports_handling {
        let unknown =
            "the subject does not report its handlings, so that acks cannot be compared with them";
        return charges.or_else(|| Decision::unknown(unknown));
    }
    let (mut acked, mut nameless, mut unsure) = (0, 0, Vec::new());
    for epoch in &case.ledger.epochs {
        for (i, s) in epoch.settlements.iter().enumerate().filter(|(_, s)| s.kind == Settle::Ack) {
            for d in s.covers.iter().filter_map(|tag| epoch.deliveries.get(tag)) {
                if d.settled.first() != Some(&i) || d.foreign {
                    continue;
                }
                let Some(id) = d.id else {
                    nameless += 1;
                    continue;
                };
                acked += 1;
                let message = case.ledger.messages.get(&id);
                if message.and_then(Message::handled).is_some_and(|at| at < s.at_client) {
                    continue;
                }
                match moved(case, epoch, d, s) {
                    Some(Moved::Confirmed) => continue,
                    Some(Moved::Unconfirmed(_)) => {
                        unsure.push((id, "a copy that the broker had not confirmed"));
                        continue;
                    }
                    None if copied_without_id(case, message, s.at_client) => {
                        unsure.push((id, "a message without an id, which may be its copy"));
                        continue;
                    }
                    None => {}
                }
                let (end, how) = handler(message, s.at_client);
                let words =
                    format!("m{id} was acked on {} at {}, {how}", place(epoch), ms(s.at_client));
                charges.add(words, [d.at_client, Some(s.at_client), end]);
            }
        }
    }
    charges.or_else(|| match (acked, nameless) {
        _ if !unsure.is_empty() => {
            let (id, published) = unsure[0];
            Decision::unknown(format!(
                "{} acks without a successful handling came after the subject had published {published}: the first is that of m{id}",
                unsure.len()
            ))
        }
        (0, 0) => Decision::not_applicable("nothing was acked"),
        (0, n) => Decision::unknown(format!("{n} acks of messages without an id of the harness")),
        (n, _) => Decision::pass(format!(
            "each of {n} acks came after a successful handling of its message, or after the broker had confirmed a copy of it"
        )),
    })
}

/// Where it asked the queue under test for messages without acknowledgements: consumers, and the first poll.
fn unacknowledged(epoch: &Epoch) -> Vec<Mark> {
    let consumers = epoch.consumers.iter().filter(|c| c.under_test && c.no_ack).map(|c| c.asked);
    let poll = epoch.polls.iter().find(|p| p.under_test && p.no_ack).map(|p| p.asked);
    consumers.chain(poll).collect()
}

/// Whether its handling failed, and before the ack the subject published something that carries no id of the harness,
/// confirmed: many a retry does not keep the properties.
fn copied_without_id(case: &Case<'_>, message: Option<&Message>, acked: Mark) -> bool {
    let handlings = message.map(|m| &m.handlings[..]).unwrap_or_default();
    let last = handlings.iter().rev().find(|h| h.start < acked);
    let Some(failed) = last.filter(|h| h.end.is_some_and(|(at, ok)| !ok && at < acked)) else {
        return false;
    };
    let nameless = case.ledger.copies.iter().filter(|c| c.id.is_none() && c.sent > failed.start);
    nameless.into_iter().any(|c| c.confirmed.is_some_and(|at| at < acked))
}

/// What its handler was doing when the ack came.
fn handler(message: Option<&Message>, acked: Mark) -> (Option<Mark>, String) {
    let handlings = message.map(|m| &m.handlings[..]).unwrap_or_default();
    let Some(h) = handlings.iter().rev().find(|h| h.start < acked) else {
        return (handlings.first().map(|h| h.start), "before any handler had begun it".into());
    };
    match h.end {
        Some((end, false)) if end < acked => (Some(end), "after its handler had failed".into()),
        end => {
            (end.map(|(at, _)| at).or(Some(h.start)), "while its handler was still running".into())
        }
    }
}

#[cfg(test)]
mod tests {
    use gauntlet_amqp::Args;
    use gauntlet_faults::Direction;

    use super::*;
    use crate::checkers::testing::HistoryBuilder;
    use crate::history::What;
    use crate::verdict::Outcome::{Fail, NotApplicable, Pass, Unknown};

    fn delivered() -> HistoryBuilder {
        let mut tale = HistoryBuilder::new();
        tale.connect(1, 10).consume(1, 1, 8).publish(0).deliver(1, 1, 1, 0).at(10.0);
        tale
    }

    #[test]
    fn an_ack_after_the_handling_passes_and_before_it_fails() {
        delivered().handle(0, true).ack(1, 1, 1).expect(&CHECKER, Pass);
        let decision = delivered().ack(1, 1, 1).handle(0, true).expect(&CHECKER, Fail);
        let words =
            "m0 was acked on connection 1, channel 1 at 10.0 ms, before any handler had begun it";
        assert_eq!(decision.summary, words);
        let e = &decision.evidence;
        assert_eq!((e.len(), e[1], e[2]), (3, e[0] + 1, e[0] + 3), "delivered, acked, begun");
    }

    #[test]
    fn an_ack_while_the_handler_runs_or_after_it_failed_fails() {
        let mut tale = delivered();
        tale.what(What::HandlerStarted { id: 0, redelivered: false }).ack(1, 1, 1);
        let decision = tale.what(What::HandlerEnded { id: 0, ok: true }).expect(&CHECKER, Fail);
        assert!(decision.summary.contains("still running"), "{}", decision.summary);
        let decision = delivered().handle(0, false).ack(1, 1, 1).expect(&CHECKER, Fail);
        assert!(decision.summary.contains("had failed"), "{}", decision.summary);
    }

    #[test]
    fn multiple_acks_early_what_it_sweeps_along() {
        let mut tale = delivered();
        tale.publish(1).deliver(1, 1, 2, 1).handle(1, true);
        tale.passes(
            1,
            Direction::ToBroker,
            1,
            "basic.ack",
            Args::Ack { delivery_tag: 2, multiple: true },
        );
        assert!(tale.expect(&CHECKER, Fail).summary.starts_with("m0 "));
    }

    #[test]
    fn a_redelivery_that_was_handled_before_may_be_acked_at_once() {
        let mut tale = delivered();
        tale.handle(0, true)
            .rst(1)
            .connect(2, 10)
            .consume(2, 1, 8)
            .redeliver(2, 1, 1, 0)
            .ack(2, 1, 1);
        tale.expect(&CHECKER, Pass);
    }

    #[test]
    fn consuming_without_acknowledgements_breaks_the_promise() {
        let ask = || Args::Consume {
            queue: "work".into(),
            consumer_tag: "c".into(),
            no_ack: true,
            exclusive: false,
        };
        for reports_handling in [true, false] {
            let mut tale = HistoryBuilder::new();
            tale.promises.reports_handling = reports_handling;
            tale.connect(1, 10).passes(1, Direction::ToBroker, 1, "channel.open", Args::None);
            tale.passes(1, Direction::ToBroker, 1, "basic.consume", ask());
            let decision = tale.expect(&CHECKER, Fail);
            assert_eq!(decision.evidence.len(), 1, "the basic.consume");
        }
    }

    #[test]
    fn not_at_stake_or_not_decidable() {
        delivered().expect(&CHECKER, NotApplicable);
        let mut tale = delivered();
        tale.promises.at_least_once = false;
        tale.ack(1, 1, 1).expect(&CHECKER, NotApplicable);
        let mut tale = delivered();
        tale.promises.reports_handling = false;
        tale.ack(1, 1, 1).expect(&CHECKER, Unknown);
    }
}
