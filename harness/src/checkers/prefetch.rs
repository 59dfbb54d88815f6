//! I8, prefetch: fails when more is outstanding than asked for, consume comes before qos, or a channel
//! sets another prefetch than the subject was told.
//!
//! Counted for each consumer at the subject's end; a prefetch binds only consumers started after it.

use std::collections::BTreeMap;

use super::proof::{Charges, automatic, ms, place};
use super::{Case, Checker, Decision};
use crate::history::ledger::{Consumer, Epoch, Mark};

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
    for epoch in &case.ledger.epochs {
        for consumer in epoch.consumers.iter().filter(|c| !c.no_ack) {
            consumers += 1;
            charge_asked(case, &mut charges, epoch, consumer, told);
            let (peak, marks) = peak(epoch, &consumer.tag);
            most = most.max(peak);
            if told > 0 && peak > usize::from(told) {
                let words = format!(
                    "{peak} deliveries were unsettled at once on {}, where {told} were asked for",
                    place(epoch)
                );
                charges.add(words, marks.into_iter().map(Some));
            }
        }
    }
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

/// The most deliveries of one consumer unsettled at once, and the arrivals of those.
fn peak(epoch: &Epoch, consumer: &str) -> (usize, Vec<Mark>) {
    let at_nothing = epoch.settlements.iter().filter(|s| s.covers.is_empty());
    let early: BTreeMap<u64, Mark> = at_nothing.map(|s| (s.tag, s.at_client)).collect();
    let mut changes: Vec<(Mark, u64, bool)> = Vec::new();
    for (tag, d) in
        epoch.deliveries.iter().filter(|(_, d)| d.consumer == consumer && !automatic(epoch, d))
    {
        let settled = d.settled.first().map(|i| epoch.settlements[*i].at_client);
        let settled = early.get(tag).copied().or(settled);
        // A tag settled before its delivery arrived (I3) gave the broker its credit back all the same.
        let Some(arrived) = d.at_client.filter(|at| settled.is_none_or(|s| s > *at)) else {
            continue;
        };
        changes.push((arrived, *tag, true));
        changes.extend(settled.map(|at| (at, *tag, false)));
    }
    changes.sort();
    let mut open: Vec<(u64, Mark)> = Vec::new();
    let mut most: Vec<Mark> = Vec::new();
    for (at, tag, arrives) in changes {
        if arrives {
            open.push((tag, at));
            if open.len() > most.len() {
                most = open.iter().map(|(_, at)| *at).collect();
            }
        } else {
            open.retain(|(t, _)| *t != tag);
        }
    }
    (most.len(), most)
}

#[cfg(test)]
mod tests {
    use gauntlet_network::{Args, Way};

    use super::*;
    use crate::checkers::testing::Tale;
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
