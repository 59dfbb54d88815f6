//! I1, loss: fails when a confirmed message has no successful handling and is in no queue.
//!
//! A message that was settled without a successful handling is such a one, unless a dead-letter
//! queue has it, or the subject had published a copy of it that is found or settled elsewhere. Messages that went with a deleted queue are not counted; those whose publishing
//! has an unknown fate are never missed.

use super::proof::{Moved, Violations, moved, ms, names, place, settlements};
use super::{Case, Checker, Decision};
use crate::history::What;
use crate::history::ledger::{Copy, Delivery, Epoch, Fate, Mark, Message, Settle, Settlement};
use crate::scenario::BrokerFault;

/// The entry in the catalogue.
pub const CHECKER: Checker = Checker {
    id: "I1",
    name: "loss",
    fails_when: "a confirmed message has no successful handling and is in no queue, or was settled without one",
    decide,
};

fn decide(case: &Case<'_>) -> Decision {
    if !case.plan.promises.at_least_once {
        return Decision::not_applicable(
            "the subject does not promise to handle before it settles",
        );
    }
    let confirmed: Vec<(u32, &Message)> = case
        .ledger
        .messages
        .iter()
        .filter(|(_, m)| m.confirmed.is_some())
        .map(|(id, m)| (*id, m))
        .collect();
    let total = confirmed.len();
    if total == 0 {
        return Decision::not_applicable("no message was confirmed");
    }
    let (done, rest): (Vec<_>, Vec<_>) = confirmed.iter().partition(|(_, m)| done(case, m));
    let (kept, rest): (Vec<_>, Vec<_>) =
        rest.into_iter().partition(|(_, m)| !m.remaining.is_empty());
    if kept.len() == total && case.ledger.delivered == 0 {
        return Decision::not_applicable(format!(
            "nothing was delivered; all {total} confirmed messages are still in the queue"
        ));
    }
    let gone_with_queue = deletions(case);
    let (exempt, missing): (Vec<_>, Vec<_>) =
        rest.into_iter().partition(|(_, m)| went_with_queue(case, m, gone_with_queue.as_deref()));
    if missing.is_empty() {
        let mut words = format!(
            "{total} confirmed messages: {} handled, {} still in a queue",
            done.len(),
            kept.len()
        );
        if !exempt.is_empty() {
            words.push_str(&format!(", {} gone with the deleted queue", exempt.len()));
        }
        return Decision::pass(words);
    }
    let (missing, unfound): (Vec<_>, Vec<_>) =
        missing.into_iter().partition(|(_, m)| elsewhere(case, m).is_none());
    if missing.is_empty() {
        let (id, m) = unfound[0];
        let place = elsewhere(case, m).map_or_else(String::new, whereto);
        return Decision::unknown(format!(
            "{} messages were acked once the subject had published copies of them, and the copies were not found: that of m{id} went to {place}",
            unfound.len()
        ));
    }
    let counted = match counted(case) {
        Ok(counted) => counted,
        Err(why) => {
            let ids = names(missing.iter().map(|(id, _)| *id));
            return Decision::unknown(format!(
                "{} confirmed messages were not handled ({ids}): {why}",
                missing.len()
            ));
        }
    };
    let (gone, maybe): (Vec<_>, Vec<_>) =
        missing.into_iter().partition(|(_, m)| surely_consumed(case, m));
    let lost = match held(case) {
        Some(held) if maybe.len() > held as usize => [gone, maybe].concat(),
        _ if !gone.is_empty() => gone,
        _ => {
            let ids = names(maybe.iter().map(|(id, _)| *id));
            return Decision::unknown(format!(
                "{ids} may be among what the broker still holds for the subject's connections"
            ));
        }
    };
    convict(case, &confirmed, lost, counted)
}

fn convict(
    case: &Case<'_>,
    confirmed: &[(u32, &Message)],
    mut lost: Vec<(u32, &Message)>,
    counted: Mark,
) -> Decision {
    lost.sort_by_key(|(id, _)| *id);
    let survives = |id: &u32| lost.binary_search_by_key(id, |(id, _)| *id).is_err();
    let alive: Vec<u32> = confirmed.iter().map(|(id, _)| *id).filter(survives).collect();
    let (low, high) = (alive.first().copied(), alive.last().copied());
    let prefix = lost.iter().filter(|(id, _)| low.is_none_or(|low| *id < low)).count();
    let postfix = lost.iter().filter(|(id, _)| high.is_some_and(|high| *id > high)).count();
    let middle = lost.len() - prefix - postfix;
    let mut charges = Violations::default();
    for (id, m) in &lost {
        let settled = consumed(case, m);
        let own = |(e, tag): &&(usize, u64)| {
            case.ledger.epochs[*e].deliveries.get(tag).is_some_and(|d| !d.foreign)
        };
        let delivered = m.deliveries.iter().rfind(own);
        let delivered = delivered.map(|(e, tag)| (&case.ledger.epochs[*e], tag));
        let how = match (&settled, delivered) {
            (Some((epoch, d, s)), _) => {
                let verb = s.kind.verb();
                let how = format!("was {verb} at {} on {}", ms(s.at_client), place(epoch));
                match (moved(case, epoch, d, s), last_copy(case, m)) {
                    (Some(Moved::Confirmed), Some(copy)) => {
                        format!("{how} after a copy of it had gone to {}", whereto(copy))
                    }
                    (Some(Moved::Unconfirmed(_)), Some(copy)) => format!(
                        "{how} before the broker had confirmed its copy to {}",
                        whereto(copy)
                    ),
                    _ => how,
                }
            }
            (None, Some((epoch, tag))) => {
                let unasked = epoch.deliveries.get(tag).is_some_and(|d| d.automatic);
                let how = if unasked { "without acknowledgements" } else { "and not settled" };
                format!("was last delivered on {} {how}", place(epoch))
            }
            (None, None) => "was never delivered: the broker lost it".into(),
        };
        let arrived = delivered
            .and_then(|(e, tag)| e.deliveries.get(tag))
            .map(|d| d.at_client.or(d.at_broker));
        let settled = settled.map(|(_, _, s)| s.at_client);
        charges.add(
            format!("m{id} {how}, has no successful handling and is in no queue"),
            [m.confirmed, arrived.flatten(), settled, Some(counted)],
        );
    }
    let decision = charges.or_else(|| Decision::unknown("nothing was lost"));
    let summary = format!(
        "{} of {} confirmed messages lost (prefix {prefix}, middle {middle}, postfix {postfix}): {}",
        lost.len(),
        confirmed.len(),
        decision.summary
    );
    Decision { summary, ..decision }
}

/// Handled; as far as the wire can tell, where the subject does not report its handlings.
fn done(case: &Case<'_>, m: &Message) -> bool {
    if settled_elsewhere(case, m) {
        return true;
    }
    if case.plan.promises.reports_handling {
        return m.handled().is_some();
    }
    // A copy put into the same queue is for another try.
    let retried = m.copies.iter().any(|i| case.ledger.copies[*i].goes_to(&case.plan.queue));
    let acks = settlements(case, m).filter(|(_, _, s)| s.kind == Settle::Ack);
    acks.into_iter().any(|(e, d, s)| !retried || moved(case, e, d, s).is_none())
}

/// Taken out of its queue, and settled by the subject in one of its own: what it does there is its own business.
fn settled_elsewhere(case: &Case<'_>, m: &Message) -> bool {
    let Some((_, _, left)) = consumed(case, m) else { return false };
    m.deliveries.iter().any(|(e, tag)| {
        let epoch = &case.ledger.epochs[*e];
        let acked = |d: &Delivery| {
            let acks = d.settled.iter().map(|i| &epoch.settlements[*i]);
            d.automatic || acks.into_iter().any(|s| s.kind == Settle::Ack)
        };
        let there = |d: &&Delivery| d.foreign && d.at_client.is_some();
        let moved = |d: &&Delivery| !m.copies.is_empty() || d.at_client > Some(left.at_client);
        epoch.deliveries.get(tag).filter(there).filter(moved).is_some_and(acked)
    })
}

/// The subject's last publish of it.
fn last_copy<'a>(case: &Case<'a>, m: &Message) -> Option<&'a Copy> {
    m.copies.last().map(|i| &case.ledger.copies[*i])
}

/// The copy that it was acked for and that may be where nobody looked: in a queue of the subject's own, or on its way
/// through an exchange of its own.
fn elsewhere<'a>(case: &Case<'a>, m: &Message) -> Option<&'a Copy> {
    let last = settlements(case, m).filter(|(_, _, s)| s.kind.consumes());
    let (epoch, d, s) = last.max_by_key(|(_, _, s)| s.at_client)?;
    let how = moved(case, epoch, d, s)?;
    let copy = last_copy(case, m)?;
    let absent = case
        .history
        .events()
        .iter()
        .any(|e| matches!(&e.what, What::QueueAbsent { queue } if copy.goes_to(queue)));
    let arrived = how == Moved::Confirmed || copy.at_broker.is_some();
    (arrived && !absent && !copy.goes_to(&case.plan.queue)).then_some(copy)
}

fn whereto(copy: &Copy) -> String {
    match &*copy.exchange {
        "" => format!("the queue `{}`", copy.routing_key),
        exchange => format!("the exchange `{exchange}` with the key `{}`", copy.routing_key),
    }
}

/// The first settlement that takes the message out of its queue and may have reached the broker.
fn consumed<'a>(
    case: &Case<'a>,
    m: &'a Message,
) -> Option<(&'a Epoch, &'a Delivery, &'a Settlement)> {
    settlements(case, m)
        .filter(|(_, _, s)| s.kind.consumes() && s.fate != Fate::Dropped)
        .min_by_key(|(_, _, s)| s.at_client)
}

fn surely_consumed(case: &Case<'_>, m: &Message) -> bool {
    settlements(case, m).any(|(_, _, s)| s.kind.consumes() && s.fate == Fate::Received)
}

/// The times at which the schedule deleted the queue, from the order to its being redeclared;
/// `None` when something else deletes it.
fn deletions(case: &Case<'_>) -> Option<Vec<(u64, u64)>> {
    let deletes = |i: &usize| case.plan.steps[*i].broker == Some(BrokerFault::RedeclareQueue);
    let steps: Vec<usize> = (0..case.plan.steps.len()).filter(deletes).collect();
    let span = |i: &usize| {
        let step = case.ledger.steps.get(i)?;
        let to = step.fired.iter().chain(&step.usable).max().copied().or(step.injected)?;
        Some((step.injected?.ns, to.ns))
    };
    (!steps.is_empty()).then(|| steps.iter().filter_map(span).collect())
}

fn went_with_queue(case: &Case<'_>, m: &Message, deletions: Option<&[(u64, u64)]>) -> bool {
    if !case.plan.scenario.expect.queue_is_deleted {
        return false;
    }
    let consumed = consumed(case, m).map(|(_, _, s)| s.at_client.ns);
    let published = m.published.or(m.confirmed).map_or(0, |at| at.ns);
    match deletions {
        None => consumed.is_none(),
        Some(spans) => {
            spans.iter().any(|(from, to)| published <= *to && consumed.is_none_or(|at| at >= *from))
        }
    }
}

/// When the harness looked into the queue, and could name everything in it.
fn counted(case: &Case<'_>) -> Result<Mark, String> {
    let found = case.history.events().iter().rev().find_map(|e| match &e.what {
        What::QueueCounted { queue, ready } if *queue == case.plan.queue => {
            Some((Mark::from(e), *ready as usize))
        }
        _ => None,
    });
    let Some((at, ready)) = found else {
        return Err("the harness did not look into the queue".into());
    };
    let here = |m: &&Message| m.remaining.iter().any(|(queue, _)| *queue == case.plan.queue);
    let named = case.ledger.messages.values().filter(here).count();
    if named < ready {
        return Err(format!(
            "the queue held {ready} messages, of which the harness could name {named}"
        ));
    }
    Ok(at)
}

/// How many deliveries the broker still held when all was over; `None` when nobody knows.
fn held(case: &Case<'_>) -> Option<u32> {
    use crate::history::Moment::After;
    let asked = case.history.events().iter().rev().find_map(|e| match &e.what {
        What::BrokerHolds { connections, unacked, at: After, .. } => Some((*connections, *unacked)),
        _ => None,
    });
    match asked {
        Some((0, None)) => Some(0),
        Some((_, unacked)) => unacked,
        None => case.ledger.connections.values().all(|c| c.broker_over.is_some()).then_some(0),
    }
}

#[cfg(test)]
mod tests {
    use gauntlet_amqp::Args;
    use gauntlet_faults::Direction;

    use super::*;
    use crate::checkers::testing::HistoryBuilder;
    use crate::history::Moment;
    use crate::scenario::{Step, Trigger};
    use crate::verdict::Outcome::{Fail, NotApplicable, Pass, Unknown};

    fn consuming() -> HistoryBuilder {
        let mut tale = HistoryBuilder::new();
        tale.connect(1, 10).consume(1, 1, 8);
        tale
    }

    fn counted(tale: &mut HistoryBuilder, remaining: &[u32]) {
        let ready = remaining.len() as u32;
        tale.what(What::QueueCounted { queue: "work".into(), ready });
        for id in remaining {
            tale.what(What::Remaining { id: *id, queue: "work".into(), redelivered: true });
        }
    }

    #[test]
    fn everything_handled_or_still_there_is_no_loss() {
        let mut tale = consuming();
        tale.served(1, 1, 1, 0).publish(1).deliver(1, 1, 2, 1).stops(1);
        counted(&mut tale, &[1]);
        let decision = tale.expect(&CHECKER, Pass);
        assert_eq!(decision.summary, "2 confirmed messages: 1 handled, 1 still in a queue");
    }

    #[test]
    fn acked_without_handling_is_lost_in_the_middle() {
        let mut tale = consuming();
        tale.served(1, 1, 1, 0).at(10.0).publish(1).deliver(1, 1, 2, 1).ack(1, 1, 2);
        tale.served(1, 1, 3, 2).stops(1);
        counted(&mut tale, &[]);
        let decision = tale.expect(&CHECKER, Fail);
        assert_eq!(
            decision.summary,
            "1 of 3 confirmed messages lost (prefix 0, middle 1, postfix 0): m1 was acked at 10.0 ms on \
             connection 1, channel 1, has no successful handling and is in no queue"
        );
        let events = &decision.evidence;
        assert_eq!(events.len(), 4, "confirmed, delivered, acked, queue counted");
        assert_eq!(events[2], events[1] + 1, "the ack follows the delivery");
    }

    #[test]
    fn a_failed_handling_and_a_reject_is_lost_unless_dead_lettered() {
        let told = |dead_lettered: bool| {
            let mut tale = consuming();
            tale.publish(0).deliver(1, 1, 1, 0).handle(0, false);
            let reject = Args::Reject { delivery_tag: 1, requeue: false };
            tale.passes(1, Direction::ToBroker, 1, "basic.reject", reject).stops(1);
            counted(&mut tale, &[]);
            if dead_lettered {
                tale.what(What::Remaining { id: 0, queue: "work.dead".into(), redelivered: false });
            }
            tale
        };
        let decision = told(false).expect(&CHECKER, Fail);
        assert!(decision.summary.contains("m0 was rejected"), "{}", decision.summary);
        told(true).expect(&CHECKER, Pass);
    }

    #[test]
    fn never_delivered_is_the_brokers_loss_and_named_so() {
        let mut tale = consuming();
        tale.served(1, 1, 1, 0).publish(1).stops(1);
        counted(&mut tale, &[]);
        let decision = tale.expect(&CHECKER, Fail);
        assert!(decision.summary.contains("postfix 1"), "{}", decision.summary);
        assert!(decision.summary.contains("m1 was never delivered"), "{}", decision.summary);
    }

    #[test]
    fn an_unknown_publish_is_never_missed() {
        let mut tale = consuming();
        tale.served(1, 1, 1, 0).what(What::Published { id: 1 });
        tale.what(What::PublishUnknown { id: 1, why: "cut".into() }).stops(1);
        counted(&mut tale, &[]);
        tale.expect(&CHECKER, Pass);
    }

    #[test]
    fn what_nobody_looked_for_or_could_name_or_may_be_held_is_unknown() {
        let lost = |tale: &mut HistoryBuilder| {
            tale.served(1, 1, 1, 0).publish(1).deliver(1, 1, 2, 1);
        };
        let mut tale = consuming();
        lost(tale.stops(9));
        tale.expect(&CHECKER, Unknown);
        let mut tale = consuming();
        lost(&mut tale);
        tale.stops(1).what(What::QueueCounted { queue: "work".into(), ready: 1 });
        tale.expect(&CHECKER, Unknown);
        for (unacked, outcome) in [(1, Unknown), (0, Fail)] {
            let mut tale = consuming();
            lost(&mut tale);
            let (connections, channels, consumers) = (1, 1, 1);
            let unacked = Some(unacked);
            tale.stops(1).what(What::BrokerHolds {
                connections,
                channels,
                consumers,
                unacked,
                at: Moment::After,
            });
            counted(&mut tale, &[]);
            tale.expect(&CHECKER, outcome);
        }
    }

    #[test]
    fn a_deleted_queue_takes_with_it_what_was_unsettled_only() {
        let told = |acked: bool, published_after: bool| {
            let mut tale = consuming();
            tale.scenario.expect.queue_is_deleted = true;
            let broker = Some(BrokerFault::RedeclareQueue);
            tale.scenario.steps.push(Step {
                when: Trigger::Idle,
                broker,
                fault: None,
                subject: None,
                lasts: None,
                connections: None,
                resets: false,
                repeat: 1,
            });
            tale.served(1, 1, 1, 0);
            if !published_after {
                tale.publish(1).deliver(1, 1, 2, 1);
            }
            if acked {
                tale.ack(1, 1, 2);
            }
            tale.at(50.0).what(What::Injected { step: 0, fault: "the queue is deleted".into() });
            tale.what(What::Fired { step: 0, conn: None, note: String::new() });
            tale.what(What::PathUsable { step: 0 }).at(60.0);
            if published_after {
                tale.publish(1);
            }
            tale.stops(1);
            counted(&mut tale, &[]);
            tale
        };
        let decision = told(false, false).expect(&CHECKER, Pass);
        assert!(decision.summary.contains("1 gone with the deleted queue"), "{}", decision.summary);
        told(true, false).expect(&CHECKER, Fail);
        told(false, true).expect(&CHECKER, Fail);
    }

    #[test]
    fn nothing_at_stake() {
        let mut tale = consuming();
        tale.publish(0).stops(1);
        counted(&mut tale, &[0]);
        tale.expect(&CHECKER, NotApplicable);
        HistoryBuilder::new().expect(&CHECKER, NotApplicable);
        let mut tale = consuming();
        tale.promises.at_least_once = false;
        tale.publish(0).deliver(1, 1, 1, 0).ack(1, 1, 1).stops(1);
        counted(&mut tale, &[]);
        tale.expect(&CHECKER, NotApplicable);
    }

    #[test]
    fn without_reports_an_ack_counts_as_handled() {
        let mut tale = consuming();
        tale.promises.reports_handling = false;
        tale.publish(0).deliver(1, 1, 1, 0).ack(1, 1, 1).stops(1);
        counted(&mut tale, &[]);
        tale.expect(&CHECKER, Pass);
    }
}
