//! I7, leftovers: fails when something delivered stays unsettled, at the broker after a clean stop, or
//! at the subject while its channel is open.
//!
//! What an orderly close returns to the queue is no leftover. A hold while a fault is in force is not
//! judged: an ack may be on its way, unseen.

use std::time::Duration;

use super::proof::{Charges, automatic, disturbed, ending, last_ns, ms, name, names, place};
use super::{Case, Checker, Decision};
use crate::history::ledger::{Delivery, Epoch, Mark};
use crate::history::{Moment, SubjectEnd, What};

/// How long a delivery may stay unsettled on an open channel after its message was handled.
const HELD_AT_MOST: Duration = Duration::from_secs(2);

/// The entry in the catalogue.
pub const CHECKER: Checker = Checker {
    id: "I7",
    name: "leftovers",
    fails_when: "after a clean stop something delivered stays unsettled, at the broker or at the subject",
    decide,
};

fn decide(case: &Case<'_>) -> Decision {
    let manual = || {
        let all =
            case.ledger.epochs.iter().flat_map(|e| e.deliveries.values().map(move |d| (e, d)));
        all.filter(|(e, d)| d.at_client.is_some() && !automatic(e, d))
    };
    let total = manual().count();
    if total == 0 {
        return Decision::not_at_stake("nothing was delivered that the subject had to settle");
    }
    let mut charges = Charges::default();
    for (epoch, delivery) in manual().filter(|(_, d)| d.settled.is_empty()) {
        charge_held(case, &mut charges, epoch, delivery);
    }
    let clean = ending(case).filter(|(at, how)| {
        **how == SubjectEnd::Clean && case.ledger.stop_requested.is_some_and(|s| s < *at)
    });
    let Some((ended, _)) = clean else {
        return charges
            .or_else(|| Decision::not_at_stake("the subject did not come to a clean stop"));
    };
    if case.history.complete() {
        for epoch in case.ledger.open_epochs() {
            let left: Vec<&Delivery> = manual()
                .filter(|(e, d)| std::ptr::eq(*e, epoch) && d.settled.is_empty())
                .map(|(_, d)| d)
                .collect();
            if !left.is_empty() {
                let ids = names(left.iter().filter_map(|d| d.id));
                let words = format!(
                    "the subject ended and left {} open with {} unsettled ({ids})",
                    place(epoch),
                    left.len()
                );
                charges.add(words, left.iter().map(|d| d.at_client).chain([Some(ended)]));
            }
        }
    }
    let held = at_broker(case, ended, &mut charges);
    charges.or_else(|| match held {
        Err(why) => Decision::unknown(why),
        Ok(()) => Decision::pass(format!(
            "after a clean stop the broker holds none of {total} deliveries, and none was held longer than {} s",
            HELD_AT_MOST.as_secs()
        )),
    })
}

/// Handled, and kept unsettled on an open channel all the same.
fn charge_held(case: &Case<'_>, charges: &mut Charges, epoch: &Epoch, d: &Delivery) {
    let handled = d.id.and_then(|id| case.ledger.messages.get(&id)?.handled());
    let (Some(arrived), Some(handled)) = (d.at_client, handled) else { return };
    let done = arrived.max(handled);
    let ends = [epoch.client_over, case.ledger.subject_ended].into_iter().flatten().map(|m| m.ns);
    let until = ends.min().unwrap_or_else(|| last_ns(case));
    let bound = HELD_AT_MOST.as_nanos() as u64;
    if until.saturating_sub(done.ns) > bound && !disturbed(case, done.ns, done.ns + bound) {
        let words = format!(
            "{}, done with at {}, was never settled, though {} stayed open for {:.1} ms more",
            name(d.id),
            ms(done),
            place(epoch),
            (until - done.ns) as f64 / 1e6
        );
        charges.add(words, [d.at_client, Some(handled), epoch.client_over]);
    }
}

/// What the broker held after the stop; an error says why that cannot be known, or not be blamed.
fn at_broker(case: &Case<'_>, ended: Mark, charges: &mut Charges) -> Result<(), String> {
    let asked = case.history.events().iter().rev().find_map(|e| match &e.what {
        What::BrokerHolds { connections, unacked, at: Moment::After, .. } => {
            Some((Mark::from(e), *connections, *unacked))
        }
        _ => None,
    });
    match asked {
        None => Err("the broker was not asked what it holds after the stop".into()),
        Some((_, 0, None) | (_, _, Some(0))) => Ok(()),
        Some((_, _, None)) => Err("the broker cannot say how many deliveries are unsettled".into()),
        Some((at, _, Some(n))) => {
            let kept = |c: &crate::history::ledger::Connection| {
                c.client_over.is_some() && c.broker_over.is_none_or(|over| over > at)
            };
            if let Some((conn, _)) = case.ledger.connections.iter().find(|(_, c)| kept(c)) {
                return Err(format!(
                    "the broker holds {n} deliveries, but nobody told it that connection {conn} had ended"
                ));
            }
            let words = format!(
                "{n} deliveries are still unsettled at the broker at {} after a clean stop",
                ms(at)
            );
            charges.add(words, [Some(ended), Some(at)]);
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkers::testing::Tale;
    use crate::history::Ending;
    use crate::verdict::Outcome::{Fail, NotAtStake, Pass, Unknown};
    use gauntlet_network::End;

    fn holds(unacked: Option<u32>) -> What {
        let connections = u32::from(unacked != Some(0));
        What::BrokerHolds { connections, channels: 0, consumers: 0, unacked, at: Moment::After }
    }

    fn served() -> Tale {
        let mut tale = Tale::new();
        tale.connect(1, 10).consume(1, 1, 8).at(10.0).served(1, 1, 1, 0);
        tale
    }

    #[test]
    fn a_clean_stop_leaves_nothing_at_the_broker() {
        let mut tale = served();
        tale.publish(1).deliver(1, 1, 2, 1).stops(1).what(holds(Some(0)));
        tale.expect(&CHECKER, Pass);
        let mut tale = served();
        let decision = tale
            .publish(1)
            .deliver(1, 1, 2, 1)
            .stops(1)
            .what(holds(Some(1)))
            .expect(&CHECKER, Fail);
        assert!(
            decision.summary.starts_with("1 deliveries are still unsettled at the broker"),
            "{}",
            decision.summary
        );
        assert_eq!(decision.evidence.len(), 2, "ended, asked");
        assert_eq!(decision.evidence[1], decision.evidence[0] + 1);
    }

    #[test]
    fn what_the_broker_does_not_say_or_cannot_know_is_unknown() {
        served().stops(1).expect(&CHECKER, Unknown);
        served().stops(1).what(holds(None)).expect(&CHECKER, Unknown);
        let mut tale = served();
        tale.publish(1).deliver(1, 1, 2, 1).what(What::StopRequested);
        tale.what(What::Ended { conn: 1, end: End::Client, how: Ending::Fin });
        tale.what(What::SubjectEnded { how: SubjectEnd::Clean }).what(holds(Some(1)));
        tale.expect(&CHECKER, Unknown);
    }

    #[test]
    fn a_connection_left_open_with_work_fails() {
        let mut tale = served();
        tale.publish(1).deliver(1, 1, 2, 1).what(What::StopRequested);
        tale.what(What::SubjectEnded { how: SubjectEnd::Clean }).what(holds(Some(1)));
        let decision = tale.expect(&CHECKER, Fail);
        assert!(
            decision.summary.contains("left connection 1, channel 1 open with 1 unsettled (m1)"),
            "{}",
            decision.summary
        );
    }

    #[test]
    fn handled_and_never_settled_fails_after_the_bound_only() {
        let told = |open_for: f64, faulty: bool| {
            let mut tale = served();
            tale.at(100.0).publish(1).deliver(1, 1, 2, 1).handle(1, true);
            if faulty {
                tale.what(What::Injected { step: 0, fault: "stall".into() });
            }
            tale.at(100.0 + open_for).stops(1).what(holds(Some(0)));
            tale
        };
        told(1999.0, false).expect(&CHECKER, Pass);
        let decision = told(2001.0, false).expect(&CHECKER, Fail);
        assert!(
            decision.summary.starts_with("m1, done with at 100.0 ms, was never settled"),
            "{}",
            decision.summary
        );
        let e = &decision.evidence;
        assert_eq!((e.len(), e[1]), (3, e[0] + 3), "delivered, handled, over");
        told(2001.0, true).expect(&CHECKER, Pass);
    }

    #[test]
    fn nothing_delivered_or_no_clean_stop_is_not_at_stake() {
        Tale::new().connect(1, 10).consume(1, 1, 8).stops(1).expect(&CHECKER, NotAtStake);
        served()
            .what(What::SubjectEnded { how: SubjectEnd::Failed("no".into()) })
            .expect(&CHECKER, NotAtStake);
    }
}
