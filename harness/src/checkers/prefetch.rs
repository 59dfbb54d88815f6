//! I8, prefetch: fails when more is outstanding than asked for, consume comes before qos, or a channel
//! sets another prefetch than the subject was told.
//!
//! Counted at the subject's end, for each consumer; for all channels of a connection, which together hold
//! no more than all workers may; and for all connections, until the first fault: behind one, a subject may
//! have let go of a connection unseen. A prefetch binds only consumers started after it.

use std::collections::{BTreeMap, BTreeSet};

use super::proof::{Charges, automatic, ms, place};
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
    if !case.plan.promises.prefetch {
        return Decision::not_at_stake(
            "the subject does not promise to keep to the prefetch it is told",
        );
    }
    let told = case.plan.scenario.subject.prefetch;
    let mut charges = Charges::default();
    let (mut consumers, mut most) = (0, 0);
    let mut held: Vec<Held<'_>> = Vec::new();
    for epoch in &case.ledger.epochs {
        let of_epoch = held_on(epoch);
        for (i, consumer) in epoch.consumers.iter().enumerate().filter(|(_, c)| !c.no_ack) {
            consumers += 1;
            charge_asked(case, &mut charges, epoch, consumer, told);
            let marks = peak(of_epoch.iter().filter(|h| h.consumer == i).map(|h| (h.from, h.to)));
            most = most.max(marks.len());
            if told > 0 && marks.len() > usize::from(told) {
                let words = format!(
                    "{} deliveries were unsettled at once on {}, where {told} were asked for",
                    marks.len(),
                    place(epoch)
                );
                charges.add(words, marks.into_iter().map(Some));
            }
        }
        held.extend(of_epoch);
    }
    charge_together(case, &mut charges, &held);
    charges.or_else(|| match consumers {
        0 => Decision::not_at_stake("the subject never consumed with acknowledgements"),
        n => Decision::pass(format!(
            "prefetch {told} before each of {n} consumers; at most {most} unsettled at once"
        )),
    })
}

fn charge_asked(
    case: &Case<'_>,
    charges: &mut Charges,
    epoch: &Epoch,
    consumer: &Consumer,
    told: u16,
) {
    let qos = epoch.qos.iter().rev().find(|(at, _)| *at < consumer.asked);
    let asked = qos.map_or(0, |(_, n)| *n);
    if asked == told {
        return;
    }
    let earlier = case.ledger.epochs.iter().any(|e| e.conn < epoch.conn);
    let after = if earlier { " after a recovery" } else { "" };
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

/// More on several channels together than all workers may hold, though on each it is no more than one may.
fn charge_together(case: &Case<'_>, charges: &mut Charges, held: &[Held<'_>]) {
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
mod tests {
    use gauntlet_network::{Args, Way};

    use super::*;
    use crate::checkers::testing::Tale;
    use crate::history::What;
    use crate::verdict::Outcome::{Fail, NotAtStake, Pass};

    fn told(prefetch: u16) -> Tale {
        let mut tale = Tale::new();
        tale.scenario.subject.prefetch = prefetch;
        tale.connect(1, 10);
        tale
    }

    fn ask() -> Args {
        Args::Consume {
            queue: "work".into(),
            consumer_tag: "c1".into(),
            no_ack: false,
            exclusive: false,
        }
    }

    #[test]
    fn as_many_as_told_pass_and_one_more_fails() {
        let mut tale = told(2);
        tale.consume(1, 1, 2)
            .deliver(1, 1, 1, 0)
            .deliver(1, 1, 2, 1)
            .ack(1, 1, 1)
            .deliver(1, 1, 3, 2);
        let decision = tale.expect(&CHECKER, Pass);
        assert_eq!(
            decision.summary,
            "prefetch 2 before each of 1 consumers; at most 2 unsettled at once"
        );
        let decision = tale_without_end(3).expect(&CHECKER, Fail);
        assert!(
            decision
                .summary
                .starts_with("3 deliveries were unsettled at once on connection 1, channel 1"),
            "{}",
            decision.summary
        );
        let e = &decision.evidence;
        assert_eq!((e.len(), e[1] - e[0], e[2] - e[1]), (3, 6, 6), "the arrivals");
    }

    #[test]
    fn an_ack_ahead_of_its_delivery_does_not_count_against_the_prefetch() {
        let mut tale = told(2);
        tale.consume(1, 1, 2).deliver(1, 1, 1, 1);
        tale.deliver_at(gauntlet_network::End::Broker, 1, 1, 2, 2, false).ack(1, 1, 2).ack(1, 1, 3);
        tale.deliver_at(gauntlet_network::End::Client, 1, 1, 2, 2, false).deliver(1, 1, 3, 3);
        tale.ack(1, 1, 3).deliver(1, 1, 4, 4).expect(&CHECKER, Pass);
        tale.deliver(1, 1, 5, 5).expect(&CHECKER, Fail);
    }

    fn tale_without_end(deliveries: u64) -> Tale {
        let mut tale = told(2);
        tale.consume(1, 1, 2);
        for tag in 1..=deliveries {
            tale.deliver(1, 1, tag, tag as u32);
        }
        tale
    }

    #[test]
    fn consume_before_qos_fails() {
        let mut tale = told(2);
        let qos = Args::Qos { prefetch_count: 2, global: false };
        tale.passes(1, Way::ToBroker, 1, "channel.open", Args::None).at(5.0);
        tale.passes(1, Way::ToBroker, 1, "basic.consume", ask());
        tale.passes(1, Way::ToBroker, 1, "basic.qos", qos);
        let decision = tale.expect(&CHECKER, Fail);
        assert!(
            decision.summary.contains("consumed at 5.0 ms with no prefetch until"),
            "{}",
            decision.summary
        );
        assert_eq!(decision.evidence.len(), 2, "consume, qos");
        assert_eq!(decision.evidence[1], decision.evidence[0] + 2);
    }

    #[test]
    fn another_prefetch_after_recovery_fails() {
        for (second, outcome) in [(8, Pass), (9, Fail), (0, Fail)] {
            let mut tale = told(8);
            tale.consume(1, 1, 8)
                .rst(1)
                .connect(2, 10)
                .consume(2, 1, second)
                .expect(&CHECKER, outcome);
        }
        let mut tale = told(8);
        tale.consume(1, 1, 8).rst(1).connect(2, 10).passes(
            2,
            Way::ToBroker,
            1,
            "channel.open",
            Args::None,
        );
        let decision =
            tale.passes(2, Way::ToBroker, 1, "basic.consume", ask()).expect(&CHECKER, Fail);
        assert!(
            decision.summary.contains("after a recovery with no prefetch instead of 8"),
            "{}",
            decision.summary
        );
    }

    fn consume_again(tale: &mut Tale) {
        let ok = Args::ConsumeOk { consumer_tag: "c1".into() };
        tale.passes(1, Way::ToBroker, 1, "basic.consume", ask());
        tale.passes(1, Way::ToClient, 1, "basic.consume-ok", ok);
    }

    #[test]
    fn a_consumer_that_follows_a_cancelled_one_counts_for_itself() {
        let after = |deliveries: u64| {
            let mut tale = tale_without_end(2);
            let cancel = Args::Cancel { consumer_tag: "c1".into() };
            tale.passes(1, Way::ToClient, 1, "basic.cancel", cancel);
            consume_again(&mut tale);
            for tag in 3..3 + deliveries {
                tale.deliver(1, 1, tag, tag as u32);
            }
            tale.ack(1, 1, 1).ack(1, 1, 2).ack(1, 1, 3);
            tale
        };
        after(2).expect(&CHECKER, Pass);
        after(3).expect(&CHECKER, Fail);
    }

    #[test]
    fn each_cancel_is_of_the_consumer_it_meets() {
        let mut tale = tale_without_end(2);
        let cancel = || Args::Cancel { consumer_tag: "c1".into() };
        tale.scenario.subject.workers = 1;
        for _ in 0..2 {
            tale.passes(1, Way::ToClient, 1, "basic.cancel", cancel());
            consume_again(&mut tale);
        }
        // Deliveries of the first and the second are left over; only the third is asked for still.
        tale.deliver(1, 1, 3, 3).deliver(1, 1, 4, 4).ack(1, 1, 4).expect(&CHECKER, Pass);
    }

    /// Channels of one connection, with so many deliveries on each at once, one after the other settled.
    fn channels(prefetch: u16, deliveries: &[u64]) -> Tale {
        let mut tale = told(prefetch);
        tale.scenario.subject.workers = 2;
        for channel in (1..).take(deliveries.len()) {
            tale.consume(1, channel, prefetch);
        }
        for (channel, n) in (1..).zip(deliveries) {
            for tag in 1..=*n {
                tale.deliver(1, channel, tag, u32::from(channel) * 100 + tag as u32);
            }
        }
        tale
    }

    #[test]
    fn all_channels_together_hold_no_more_than_all_workers_may() {
        channels(2, &[2, 2]).ack(1, 1, 1).expect(&CHECKER, Pass);
        channels(2, &[2, 1, 1]).ack(1, 1, 1).expect(&CHECKER, Pass);
        let decision = channels(2, &[2, 1, 2]).ack(1, 1, 1).expect(&CHECKER, Fail);
        assert_eq!(
            decision.summary,
            "5 deliveries were unsettled at once on connection 1, where 2 workers may hold 2 each"
        );
        assert_eq!(decision.evidence.len(), 5, "the arrivals");
    }

    #[test]
    fn what_a_connection_held_that_the_subject_let_go_of_is_nobody_s() {
        let replaced = |speaks: bool, faulty: bool| {
            let mut tale = channels(2, &[2, 2]);
            if faulty {
                tale.what(What::Injected { step: 0, fault: "blackhole".into() });
            }
            tale.connect(2, 10).consume(2, 1, 2).deliver(2, 1, 1, 31);
            if speaks {
                tale.passes(1, Way::ToBroker, 0, "heartbeat", Args::None);
            }
            tale.ack(2, 1, 1);
            tale
        };
        replaced(false, false).expect(&CHECKER, Pass);
        let decision = replaced(true, false).expect(&CHECKER, Fail);
        assert!(decision.summary.contains("on all its connections"), "{}", decision.summary);
        replaced(true, true).expect(&CHECKER, Pass);
    }

    #[test]
    fn each_channel_counts_for_itself() {
        let mut tale = told(1);
        tale.consume(1, 1, 1).consume(1, 2, 1).deliver(1, 1, 1, 0).deliver(1, 2, 1, 1);
        tale.expect(&CHECKER, Pass);
    }

    #[test]
    fn not_at_stake() {
        told(8).expect(&CHECKER, NotAtStake);
        let mut tale = tale_without_end(9);
        tale.promises.prefetch = false;
        tale.expect(&CHECKER, NotAtStake);
    }
}
