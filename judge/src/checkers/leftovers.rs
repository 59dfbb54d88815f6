//! I7, leftovers: fails when something delivered stays unsettled, at the broker after a clean stop, or
//! at the subject while its channel is open.
//!
//! What an orderly close returns to the queue is no leftover. A hold while a fault is in force is not
//! judged: an ack may be on its way, unseen. What waits while the subject works waits its turn; what
//! waits while it does nothing at all, on a connection it keeps up, waits for nothing.

use std::time::Duration;

use gauntlet_faults::End;

use super::proof::{
    Violations, automatic, disturbed, ending, in_order, last_ns, ms, name, names, place,
};
use super::turns::{Kept, Timed};
use super::{Case, Checker, Decision};
use crate::history::ledger::{Consumer, Delivery, Epoch, Handling, Ledger, Mark, Message};
use crate::history::{Moment, SubjectEnd, What};

/// How long a delivery may stay unsettled on an open channel after its message was handled, or while the
/// subject does nothing.
const HELD_AT_MOST: Duration = Duration::from_secs(2);

/// How long a delivery that is settled in the end may wait for that after it was handled, while nothing else on its channel is
/// handled: longer than the timer of any batch.
const BATCH_AT_MOST: Duration = Duration::from_secs(10);

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
        return Decision::not_applicable("nothing was delivered that the subject had to settle");
    }
    let mut charges = Violations::default();
    for epoch in &case.ledger.epochs {
        charge_held(case, &mut charges, epoch);
    }
    if case.plan.promises.reports_handling && knows_starts(case.ledger) {
        for epoch in &case.ledger.epochs {
            charge_stuck(case, &mut charges, epoch);
        }
        let work = Work::of(case.ledger);
        for (epoch, delivery) in manual() {
            charge_idle(case, &mut charges, &work, epoch, delivery);
        }
    }
    let clean = ending(case).filter(|(at, how)| {
        (**how == SubjectEnd::Clean || (matches!(how, SubjectEnd::Terminated(_)) && in_order(case)))
            && case.ledger.stop_requested.is_some_and(|s| s < *at)
    });
    let Some((ended, _)) = clean else {
        return charges
            .or_else(|| Decision::not_applicable("the subject did not come to a clean stop"));
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

/// Whether it is known when handlers begin. A handling that began in the very moment its message arrived is one whose
/// start nobody reported: while such a handler runs, nothing shows that the subject is at work.
fn knows_starts(ledger: &Ledger) -> bool {
    let arrived = |(e, tag): &(usize, u64)| {
        ledger.epochs[*e].deliveries.get(tag).and_then(|d| d.at_client).map(|at| at.ns)
    };
    ledger.messages.values().any(|m| {
        m.handlings.iter().any(|h| m.deliveries.iter().all(|d| arrived(d) != Some(h.start.ns)))
    })
}

/// Handled, and kept unsettled on an open channel all the same. What may wait for the ack of its batch is held from the last
/// handling on that belongs to it: of what was delivered after it, where none of that is settled.
fn charge_held(case: &Case<'_>, charges: &mut Violations, epoch: &Epoch) {
    let ends = [epoch.client_over, case.ledger.subject_ended].into_iter().flatten().map(|m| m.ns);
    let until = ends.min().unwrap_or_else(|| last_ns(case));
    let bound = HELD_AT_MOST.as_nanos() as u64;
    let mut held = Vec::new();
    let (mut batch, mut passed_over) = (None, false);
    // Tags are in the order of their arrival.
    for d in epoch.deliveries.values().rev() {
        let Some(arrived) = d.at_client.filter(|_| !automatic(epoch, d)) else { continue };
        let handled = d.id.and_then(|id| case.ledger.messages.get(&id)?.handled());
        if !epoch.is_open(d) {
            passed_over = true;
        } else if let Some(handled) = handled {
            let done = arrived.max(handled);
            held.push((d, handled, done, batch.filter(|_| !passed_over).max(Some(done))));
        }
        batch = batch.max(handled);
    }
    for (d, handled, done, since) in held.into_iter().rev() {
        let from = since.unwrap_or(done).ns;
        let timed = Timed::of(case, from, until, bound);
        if timed.kept != Kept::InTime && !disturbed(case, from, from + bound) {
            let words = format!(
                "{}, done with at {}, was never settled{}, though {} stayed open for {:.1} ms more",
                name(d.id),
                ms(done),
                if d.settled.is_empty() { "" } else { " but in a transaction without a commit" },
                place(epoch),
                (until - done.ns) as f64 / 1e6
            );
            charges.late(&timed, words, [d.at_client, Some(handled), epoch.client_over]);
        }
    }
}

/// Handled, and settled only when something else came to be handled, long after: a batch that waits for more.
fn charge_stuck(case: &Case<'_>, charges: &mut Violations, epoch: &Epoch) {
    let of = |d: &Delivery| case.ledger.messages.get(&d.id?);
    let handlings = epoch.deliveries.values().filter_map(of).flat_map(|m| &m.handlings);
    let span = |h: &Handling| Some((h.start.ns, h.end?.0.ns));
    let mut spans: Vec<(u64, u64)> = handlings.filter_map(span).collect();
    spans.sort_unstable();
    let bound = BATCH_AT_MOST.as_nanos() as u64;
    let pauses: Vec<(u64, u64)> = pauses(&spans).filter(|(from, to)| to - from > bound).collect();
    if pauses.is_empty() {
        return;
    }
    for d in epoch.deliveries.values().filter(|d| !automatic(epoch, d)) {
        let settled = d.settled.first().map(|i| epoch.settlements[*i].at_client);
        let handled = of(d).and_then(Message::handled);
        let (Some(arrived), Some(handled), Some(settled)) = (d.at_client, handled, settled) else {
            continue;
        };
        let done = arrived.max(handled);
        let within = |(from, to): &(u64, u64)| (done.ns.max(*from), settled.ns.min(*to));
        let longest = pauses.iter().map(within).max_by_key(|(from, to)| to.saturating_sub(*from));
        let Some((from, to)) = longest.filter(|(from, to)| from < to) else { continue };
        let timed = Timed::of(case, from, to, bound);
        if timed.kept != Kept::InTime && !disturbed(case, from, to) {
            let words = format!(
                "{}, done with at {}, was not settled for {:.1} ms in which nothing else on {} was handled",
                name(d.id),
                ms(done),
                (to - from) as f64 / 1e6,
                place(epoch)
            );
            charges.late(&timed, words, [d.at_client, Some(handled), Some(settled)]);
        }
    }
}

/// The stretches in which none of these runs, in order; the last has no end.
fn pauses(spans: &[(u64, u64)]) -> impl Iterator<Item = (u64, u64)> {
    let starts = spans.iter().map(|(start, _)| *start).skip(1).chain([u64::MAX]);
    let ends = spans.iter().scan(0, |last, (_, end)| {
        *last = (*end).max(*last);
        Some(*last)
    });
    ends.zip(starts).filter(|(from, to)| from < to)
}

/// Whatever shows that the subject is at work: handlings and settlements.
struct Work {
    /// When something began or ended, in order.
    marks: Vec<Mark>,
    /// Each handling, from its start to its end.
    handlings: Vec<(u64, u64)>,
}

impl Work {
    fn of(ledger: &Ledger) -> Work {
        let all = || ledger.messages.values().flat_map(|m| &m.handlings);
        let ends = all().filter_map(|h| h.end).map(|(end, _)| end);
        let settled = ledger.epochs.iter().flat_map(|e| &e.settlements).map(|s| s.at_client);
        let mut marks: Vec<Mark> = all().map(|h| h.start).chain(ends).chain(settled).collect();
        marks.sort();
        let span = |h: &Handling| (h.start.ns, h.end.map_or(u64::MAX, |(end, _)| end.ns));
        Work { marks, handlings: all().map(span).collect() }
    }

    /// The last sign of work before a moment; `None` while a handler runs.
    fn last(&self, ns: u64) -> Option<Option<Mark>> {
        let runs = self.handlings.iter().any(|(from, to)| *from <= ns && ns <= *to);
        (!runs).then(|| self.marks[..self.marks.partition_point(|m| m.ns <= ns)].last().copied())
    }
}

/// Never settled while it was asked to work, and at the last no work was done for anything else either.
fn charge_idle(
    case: &Case<'_>,
    charges: &mut Violations,
    work: &Work,
    epoch: &Epoch,
    d: &Delivery,
) {
    let Ledger { subject_ended, stop_requested, .. } = case.ledger;
    let ends = [epoch.client_over, *subject_ended, *stop_requested].into_iter().flatten().min();
    let until = ends.map_or_else(|| last_ns(case), |m| m.ns);
    let settled = d.settled.iter().any(|i| epoch.settlements[*i].at_client.ns <= until);
    let handled = d.id.and_then(|id| case.ledger.messages.get(&id)?.handled()).is_some();
    // The queue may be gone, and the message with it.
    let cancelled = |c: &Consumer| matches!(c.cancelled, Some((End::Broker, _)));
    let cancelled = epoch.consumers.iter().any(|c| c.tag == d.consumer && cancelled(c));
    let Some(arrived) = d.at_client.filter(|_| !settled && !handled && !cancelled) else { return };
    let Some(last) = work.last(until) else { return };
    let from = last.map_or(arrived, |last| last.max(arrived));
    let bound = HELD_AT_MOST.as_nanos() as u64;
    // It may have let go of the connection behind a fault; what it says on it later shows that it did not.
    let connection = case.ledger.connections.get(&epoch.conn);
    let kept = connection.is_some_and(|c| c.spoke.last().is_some_and(|m| m.ns > from.ns + bound));
    let timed = Timed::of(case, from.ns, until, bound);
    if kept && timed.kept != Kept::InTime && !disturbed(case, until - bound, until) {
        let words = format!(
            "{}, delivered at {}, was neither handled nor settled, though nothing else was either for the last {:.1} ms that {} was open and at work",
            name(d.id),
            ms(arrived),
            (until - from.ns) as f64 / 1e6,
            place(epoch)
        );
        charges.late(&timed, words, [Some(arrived), last, ends]);
    }
}

/// What the broker held after the stop; an error says why that cannot be known, or not be blamed.
fn at_broker(case: &Case<'_>, ended: Mark, charges: &mut Violations) -> Result<(), String> {
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
            charges.late(&Timed::mostly(case, ended.ns, at.ns), words, [Some(ended), Some(at)]);
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkers::testing::HistoryBuilder;
    use crate::history::Ending;
    use crate::verdict::Outcome::{Fail, NotApplicable, Pass, Unknown};
    use gauntlet_amqp::Args;
    use gauntlet_faults::Direction;

    fn holds(unacked: Option<u32>) -> What {
        let connections = u32::from(unacked != Some(0));
        What::BrokerHolds { connections, channels: 0, consumers: 0, unacked, at: Moment::After }
    }

    fn served() -> HistoryBuilder {
        let mut tale = HistoryBuilder::new();
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
    fn neither_handled_nor_settled_while_nothing_else_is_done_fails_after_the_bound_only() {
        let told = |at_work_until: f64, stop: f64, faulty: bool, alive: bool| {
            let mut tale = served();
            tale.at(100.0).publish(1).deliver(1, 1, 2, 1).publish(2).deliver(1, 1, 3, 2);
            tale.what(What::HandlerStarted { id: 2, redelivered: false });
            tale.at(at_work_until).what(What::HandlerEnded { id: 2, ok: true }).ack(1, 1, 3);
            if faulty {
                tale.what(What::Injected { step: 0, fault: "stall".into() });
            }
            if alive {
                tale.at(stop).stops(1).what(holds(Some(0)));
            } else {
                tale.at(stop).what(What::StopRequested);
                tale.what(What::Ended { conn: 1, end: End::Client, how: Ending::Fin });
                tale.what(What::SubjectEnded { how: SubjectEnd::Clean }).what(holds(Some(0)));
            }
            tale
        };
        told(200.0, 2199.0, false, true).expect(&CHECKER, Pass);
        let decision = told(200.0, 2201.0, false, true).expect(&CHECKER, Fail);
        assert!(
            decision.summary.starts_with("m1, delivered at 100.0 ms, was neither handled nor"),
            "{}",
            decision.summary
        );
        assert_eq!(decision.evidence.len(), 3, "delivered, the last work, the stop");
        told(5000.0, 6000.0, false, true).expect(&CHECKER, Pass);
        told(200.0, 2201.0, true, true).expect(&CHECKER, Pass);
        told(200.0, 2201.0, false, false).expect(&CHECKER, Pass);
        let mut tale = told(200.0, 2201.0, false, true);
        tale.promises.reports_handling = false;
        tale.expect(&CHECKER, Pass);
    }

    #[test]
    fn what_waits_for_the_ack_of_its_batch_is_held_from_the_batch_s_last_handling_on() {
        let told = |tail: f64, passed_over: bool| {
            let mut tale = HistoryBuilder::new();
            tale.connect(1, 10).consume(1, 1, 8).at(100.0);
            (1..=3).for_each(|id| _ = tale.publish(id).deliver(1, 1, id.into(), id));
            tale.handle(1, true).at(1600.0).handle(2, true).at(3100.0).handle(3, true);
            if passed_over {
                tale.ack(1, 1, 3);
            }
            tale.at(3100.0 + tail).what(What::Cut { conn: 1, end: End::Client, how: Ending::Rst });
            tale
        };
        told(1999.0, false).expect(&CHECKER, NotApplicable);
        told(2001.0, false).expect(&CHECKER, Fail);
        // A later one was settled meanwhile: it waits for no batch.
        told(1999.0, true).expect(&CHECKER, Fail);
    }

    #[test]
    fn a_batch_that_waits_for_more_is_stuck_and_one_with_a_timer_or_a_long_handler_is_not() {
        let told = |next: f64, takes: f64, settled: f64| {
            let mut tale = HistoryBuilder::new();
            tale.connect(1, 10).consume(1, 1, 8).at(100.0).publish(1).deliver(1, 1, 1, 1);
            let begun = |id| What::HandlerStarted { id, redelivered: false };
            tale.at(101.0).what(begun(1)).what(What::HandlerEnded { id: 1, ok: true });
            tale.at(next).publish(2).deliver(1, 1, 2, 2).at(next + 1.0).what(begun(2));
            tale.at(next + takes).what(What::HandlerEnded { id: 2, ok: true });
            let ack = Args::Ack { delivery_tag: 2, multiple: true };
            tale.at(settled).passes(1, Direction::ToBroker, 1, "basic.ack", ack);
            tale.stops(1).what(holds(Some(0)));
            tale
        };
        let decision = told(10_200.0, 5.0, 10_300.0).expect(&CHECKER, Fail);
        let said =
            "m1, done with at 101.0 ms, was not settled for 10100.0 ms in which nothing else";
        assert!(decision.summary.starts_with(said), "{}", decision.summary);
        assert_eq!(decision.evidence.len(), 3, "delivered, handled, settled");
        told(10_000.0, 5.0, 10_100.0).expect(&CHECKER, Pass);
        told(200.0, 5.0, 10_100.0).expect(&CHECKER, Pass);
        told(200.0, 12_000.0, 12_300.0).expect(&CHECKER, Pass);
    }

    #[test]
    fn acked_in_a_transaction_that_is_never_committed_is_not_settled() {
        for (commits, expect) in [(true, NotApplicable), (false, Fail)] {
            let mut tale = HistoryBuilder::new();
            tale.connect(1, 10).consume(1, 1, 8);
            tale.passes(1, Direction::ToBroker, 1, "tx.select", Args::None);
            tale.at(100.0).served(1, 1, 1, 1);
            if commits {
                tale.passes(1, Direction::ToBroker, 1, "tx.commit", Args::None);
            }
            tale.at(2101.0).what(What::Cut { conn: 1, end: End::Client, how: Ending::Rst });
            let decision = tale.expect(&CHECKER, expect);
            assert_eq!(decision.summary.contains("a transaction without a commit"), !commits);
        }
    }

    #[test]
    fn given_back_at_the_stop_alone_is_not_settled_in_time() {
        let mut tale = served();
        tale.at(100.0).publish(1).deliver(1, 1, 2, 1).at(2201.0).what(What::StopRequested);
        let back = Args::Nack { delivery_tag: 2, multiple: false, requeue: true };
        tale.passes(1, Direction::ToBroker, 1, "basic.nack", back).close(1);
        tale.what(What::SubjectEnded { how: SubjectEnd::Clean }).what(holds(Some(0)));
        tale.expect(&CHECKER, Fail);
    }

    #[test]
    fn nothing_delivered_or_no_clean_stop_is_not_at_stake() {
        HistoryBuilder::new()
            .connect(1, 10)
            .consume(1, 1, 8)
            .stops(1)
            .expect(&CHECKER, NotApplicable);
        served()
            .what(What::SubjectEnded { how: SubjectEnd::Failed("no".into()) })
            .expect(&CHECKER, NotApplicable);
    }
}
