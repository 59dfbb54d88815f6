//! I6, ack scope: fails when an ack with `multiple` covers a message whose handler has not finished.
//!
//! A nack that puts everything back takes nothing away and is not judged here.

use super::proof::{Moved, Violations, moved, ms, names, place};
use super::{Case, Checker, Decision};
use crate::history::ledger::{Handling, Mark, Message};

/// The entry in the catalogue.
pub const CHECKER: Checker = Checker {
    id: "I6",
    name: "ack scope",
    fails_when: "an ack with `multiple` covers a message whose handler has not finished",
    decide,
};

fn decide(case: &Case<'_>) -> Decision {
    let promises = &case.plan.promises;
    if !promises.at_least_once {
        return Decision::not_applicable(
            "the subject does not promise to handle before it settles",
        );
    }
    let mut charges = Violations::default();
    let (mut acks, mut covered) = (0, 0);
    for epoch in &case.ledger.epochs {
        for s in epoch.settlements.iter().filter(|s| s.multiple && s.kind.consumes()) {
            acks += 1;
            let mut open = Vec::new();
            let mut marks = Vec::new();
            for d in s.covers.iter().filter_map(|tag| epoch.deliveries.get(tag)) {
                let Some(id) = d.id.filter(|_| !d.foreign) else { continue };
                covered += 1;
                if moved(case, epoch, d, s) == Some(Moved::Confirmed) {
                    continue;
                }
                let (unfinished, begun) = unfinished(case.ledger.messages.get(&id), s.at_client);
                if unfinished {
                    open.push(id);
                    marks.extend([d.at_client, begun]);
                }
            }
            if !open.is_empty() && promises.reports_handling {
                let words = format!(
                    "tag {} with `multiple`, {} on {} at {}, covered {} messages whose handlers had not finished: {}",
                    s.tag,
                    s.kind.verb(),
                    place(epoch),
                    ms(s.at_client),
                    open.len(),
                    names(open)
                );
                charges.add(words, marks.into_iter().chain([Some(s.at_client)]));
            }
        }
    }
    charges.or_else(|| {
        if acks == 0 {
            Decision::not_applicable("the subject never settled with `multiple`")
        } else if !promises.reports_handling {
            Decision::unknown(format!(
                "{acks} acks with `multiple`, and the subject does not report its handlings"
            ))
        } else {
            Decision::pass(format!(
                "{acks} acks with `multiple` covered {covered} messages, all of them finished"
            ))
        }
    })
}

/// Whether no handler of it had finished by then, or one was running; and since when.
fn unfinished(message: Option<&Message>, by: Mark) -> (bool, Option<Mark>) {
    let handlings = message.map(|m| &m.handlings[..]).unwrap_or_default();
    let begun: Vec<&Handling> = handlings.iter().filter(|h| h.start < by).collect();
    let running = begun.iter().find(|h| h.end.is_none_or(|(at, _)| at > by));
    (running.is_some() || begun.is_empty(), running.map(|h| h.start))
}

#[cfg(test)]
mod tests {
    use gauntlet_amqp::Args;
    use gauntlet_faults::Direction;

    use super::*;
    use crate::checkers::testing::HistoryBuilder;
    use crate::history::What;
    use crate::verdict::Outcome::{Fail, NotApplicable, Pass, Unknown};

    /// m0 is begun, m1 and m2 handled; then tag 3 is settled with `multiple`.
    fn swept(finish_first: bool, args: Args) -> HistoryBuilder {
        let mut tale = HistoryBuilder::new();
        tale.connect(1, 10).consume(1, 1, 8);
        for id in 0..3 {
            tale.publish(id).deliver(1, 1, u64::from(id) + 1, id);
        }
        tale.at(10.0).what(What::HandlerStarted { id: 0, redelivered: false });
        if finish_first {
            tale.what(What::HandlerEnded { id: 0, ok: true });
        }
        let name = if matches!(args, Args::Ack { .. }) { "basic.ack" } else { "basic.nack" };
        tale.handle(1, true).handle(2, true).at(20.0).passes(1, Direction::ToBroker, 1, name, args);
        tale
    }

    fn ack() -> Args {
        Args::Ack { delivery_tag: 3, multiple: true }
    }

    #[test]
    fn covering_finished_messages_passes_and_a_running_one_fails() {
        swept(true, ack()).expect(&CHECKER, Pass);
        let decision = swept(false, ack()).expect(&CHECKER, Fail);
        assert_eq!(
            decision.summary,
            "tag 3 with `multiple`, acked on connection 1, channel 1 at 20.0 ms, \
             covered 1 messages whose handlers had not finished: m0"
        );
        assert_eq!(decision.evidence.len(), 3, "delivered, begun, acked");
    }

    #[test]
    fn a_message_whose_handler_has_not_even_begun_is_unfinished() {
        let mut tale = HistoryBuilder::new();
        tale.connect(1, 10)
            .consume(1, 1, 8)
            .deliver(1, 1, 1, 0)
            .deliver(1, 1, 2, 1)
            .handle(1, true);
        tale.passes(
            1,
            Direction::ToBroker,
            1,
            "basic.ack",
            Args::Ack { delivery_tag: 0, multiple: true },
        );
        assert_eq!(tale.expect(&CHECKER, Fail).evidence.len(), 2, "delivered, acked");
    }

    #[test]
    fn putting_everything_back_is_fine() {
        let back = Args::Nack { delivery_tag: 3, multiple: true, requeue: true };
        swept(false, back).expect(&CHECKER, NotApplicable);
        let drop = Args::Nack { delivery_tag: 3, multiple: true, requeue: false };
        swept(false, drop).expect(&CHECKER, Fail);
    }

    #[test]
    fn not_at_stake_or_not_decidable() {
        let mut tale = swept(false, ack());
        tale.promises.reports_handling = false;
        tale.expect(&CHECKER, Unknown);
        tale.promises.at_least_once = false;
        tale.expect(&CHECKER, NotApplicable);
        HistoryBuilder::new()
            .connect(1, 10)
            .consume(1, 1, 8)
            .served(1, 1, 1, 0)
            .expect(&CHECKER, NotApplicable);
    }
}
