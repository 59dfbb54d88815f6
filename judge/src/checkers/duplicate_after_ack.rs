//! I2, duplicate-after-ack: fails when the broker delivers a message again whose ack it had read.
//!
//! Only an ack that was provably read makes a later delivery a duplicate, and the broker is to blame
//! for it; whether the subject repeated the effect is said with it. Not blamed: a redelivery after
//! the broker itself was restarted or killed (acks are not confirmed to anyone), or of a message
//! that its publisher may have published twice. A copy that the subject publishes under the same id is
//! another publish: each ack takes one of them away.

use super::proof::{Violations, gap, ms, place, settlements};
use super::{Case, Checker, Decision};
use crate::history::ledger::{Copy, Fate, Mark, Message, Settle};
use crate::scenario::BrokerFault;

/// The entry in the catalogue.
pub const CHECKER: Checker = Checker {
    id: "I2",
    name: "duplicate-after-ack",
    fails_when: "the broker delivers a message again whose ack it had read, or the subject repeats its effect",
    decide,
};

fn decide(case: &Case<'_>) -> Decision {
    let acks =
        || case.ledger.epochs.iter().flat_map(|e| &e.settlements).filter(|s| s.kind == Settle::Ack);
    let (total, received) = (acks().count(), acks().filter(|s| s.fate == Fate::Received).count());
    if total == 0 {
        return Decision::not_applicable("nothing was acked");
    }
    let mut charges = Violations::default();
    let (mut restarted, mut twice) = (0, 0);
    for (id, message) in &case.ledger.messages {
        let Some((ack, again, words)) = repeated(case, *id, message) else { continue };
        if message.publish_unknown.is_some() || routed(case, message, again) {
            twice += 1;
        } else if broker_restarted(case, ack.0, again) {
            restarted += 1;
        } else {
            let effect = message.effects.iter().find(|x| **x > again).copied();
            let subject = match effect {
                Some(at) => format!("the subject committed its effect again at {}", ms(at)),
                None => "the subject did not repeat its effect".to_owned(),
            };
            let evidence = [ack.1, Some(ack.0), ack.2, Some(again), effect];
            charges.add(format!("{words}: the broker is to blame; {subject}"), evidence);
        }
    }
    charges.or_else(|| {
        if twice > 0 {
            return Decision::unknown(format!(
                "{twice} messages came again after their ack was read, but may have been published more than once"
            ));
        }
        if received == 0 {
            return Decision::unknown(format!("{total} acks, and for none of them is it known that the broker read it"));
        }
        let mut words = format!("none of the messages of {received} acks that the broker provably read (of {total}) came again");
        if restarted > 0 {
            words = format!("{words}, but for {restarted} after the broker itself was restarted, which may happen");
        }
        Decision::pass(words)
    })
}

/// A received ack (at the broker, at the subject, its proof) and the first delivery after it.
type Ack = (Mark, Option<Mark>, Option<Mark>);

fn repeated(case: &Case<'_>, id: u32, message: &Message) -> Option<(Ack, Mark, String)> {
    let mut acks: Vec<_> = settlements(case, message)
        .filter(|(e, d, s)| d.settled.first().is_some_and(|i| std::ptr::eq(&e.settlements[*i], *s)))
        .filter(|(_, _, s)| s.kind == Settle::Ack && s.fate == Fate::Received)
        .filter_map(|(e, _, s)| Some((s.at_broker?, s, e)))
        .collect();
    acks.sort_by_key(|(at, _, _)| *at);
    let mut arrivals: Vec<_> = message
        .deliveries
        .iter()
        .filter_map(|(e, tag)| {
            let epoch = &case.ledger.epochs[*e];
            let d = epoch.deliveries.get(tag).filter(|d| !d.foreign)?;
            Some((d.at_broker?, epoch))
        })
        .collect();
    arrivals.sort_by_key(|(at, _)| *at);
    // By then, as many were acked as there had been published.
    let (again, epoch, (read, ack, acked_on)) = arrivals.into_iter().find_map(|(at, epoch)| {
        let copies = copies(case, message).filter(|c| c.sent < at).count();
        acks.get(copies).filter(|(read, _, _)| *read < at).map(|ack| (at, epoch, *ack))
    })?;
    let words = format!(
        "m{id}, acked on {} at {}, was delivered again on {} {} after the broker had its ack",
        place(acked_on),
        ms(ack.at_client),
        place(epoch),
        gap(read, again)
    );
    Some(((read, Some(ack.at_client), ack.proof), again, words))
}

fn copies<'a>(case: &Case<'a>, message: &'a Message) -> impl Iterator<Item = &'a Copy> {
    message.copies.iter().map(|i| &case.ledger.copies[*i])
}

/// Whether the subject published it to an exchange of its own: how many queues that leads to, nobody here knows.
fn routed(case: &Case<'_>, message: &Message, by: Mark) -> bool {
    copies(case, message).any(|c| c.sent < by && !c.exchange.is_empty())
}

fn broker_restarted(case: &Case<'_>, from: Mark, to: Mark) -> bool {
    use BrokerFault::{Kill, Restart, RestartApp};
    case.ledger.steps.iter().any(|(i, step)| {
        let broker = case.plan.steps.get(*i).and_then(|s| s.broker.as_ref());
        matches!(broker, Some(Kill | Restart | RestartApp))
            && step.injected.is_some_and(|at| at < to)
            && step.usable.last().is_none_or(|at| *at > from)
    })
}

#[cfg(test)]
mod tests {
    use gauntlet_amqp::Args;
    use gauntlet_faults::Direction;

    use super::*;
    use crate::checkers::testing::HistoryBuilder;
    use crate::history::What;
    use crate::scenario::{Step, Trigger};
    use crate::verdict::Outcome::{Fail, NotApplicable, Pass, Unknown};

    /// m0 is acked on connection 1; a cancel-ok proves it read, or nothing does; the link breaks.
    fn acked(proven: bool) -> HistoryBuilder {
        let mut tale = HistoryBuilder::new();
        tale.connect(1, 10).consume(1, 1, 8).at(10.0).served(1, 1, 1, 0);
        if proven {
            let cancel = Args::Cancel { consumer_tag: "c1".into() };
            tale.passes(1, Direction::ToBroker, 1, "basic.cancel", cancel);
            tale.passes(1, Direction::ToClient, 1, "basic.cancel-ok", Args::None);
        }
        tale.rst(1).connect(2, 10).consume(2, 1, 8);
        tale
    }

    #[test]
    fn a_delivery_after_a_received_ack_is_the_brokers_fault() {
        let mut tale = acked(true);
        tale.at(30.0).redeliver(2, 1, 1, 0).ack(2, 1, 1);
        let decision = tale.expect(&CHECKER, Fail);
        let words = "m0, acked on connection 1, channel 1 at 10.0 ms, was delivered again on connection 2, channel 1";
        assert!(decision.summary.starts_with(words), "{}", decision.summary);
        assert!(
            decision.summary.ends_with("the subject did not repeat its effect"),
            "{}",
            decision.summary
        );
        let e = &decision.evidence;
        assert_eq!(e.len(), 4, "ack at both ends, what proves it read, the delivery");
        assert_eq!((e[1], e[2]), (e[0] + 1, e[0] + 4));
    }

    #[test]
    fn a_repeated_effect_is_said() {
        let decision = acked(true).redeliver(2, 1, 1, 0).handle(0, true).expect(&CHECKER, Fail);
        assert!(decision.summary.contains("committed its effect again"), "{}", decision.summary);
    }

    #[test]
    fn a_delivery_after_an_ack_of_unknown_fate_is_no_duplicate() {
        let mut tale = acked(false);
        tale.redeliver(2, 1, 1, 0).ack(2, 1, 1);
        tale.expect(&CHECKER, Unknown);
        let mut tale = acked(false);
        tale.redeliver(2, 1, 1, 0).ack(2, 1, 1).close(2);
        tale.expect(&CHECKER, Pass);
        acked(true).expect(&CHECKER, Pass);
    }

    #[test]
    fn no_blame_after_a_restart_or_for_two_copies() {
        let mut tale = acked(true);
        tale.scenario.steps.push(Step {
            when: Trigger::Idle,
            broker: Some(BrokerFault::Kill),
            fault: None,
            subject: None,
            lasts: None,
            connections: None,
            resets: false,
            repeat: 1,
        });
        tale.what(What::Injected { step: 0, fault: "kill".into() })
            .what(What::PathUsable { step: 0 });
        let decision = tale.redeliver(2, 1, 1, 0).expect(&CHECKER, Pass);
        assert!(decision.summary.contains("but for 1"), "{}", decision.summary);
        let mut tale = acked(true);
        tale.what(What::PublishUnknown { id: 0, why: "cut".into() }).redeliver(2, 1, 1, 0);
        tale.expect(&CHECKER, Unknown);
    }

    #[test]
    fn nothing_acked_is_not_at_stake() {
        HistoryBuilder::new()
            .connect(1, 10)
            .consume(1, 1, 8)
            .publish(0)
            .deliver(1, 1, 1, 0)
            .expect(&CHECKER, NotApplicable);
    }
}
