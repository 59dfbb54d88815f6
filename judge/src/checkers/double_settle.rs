//! I4, double settle: fails when two settlements cover one delivery.

use super::proof::{Violations, gap, ms, name, place};
use super::{Case, Checker, Decision};

/// The entry in the catalogue.
pub const CHECKER: Checker = Checker {
    id: "I4",
    name: "double settle",
    fails_when: "two settlements cover one delivery",
    decide,
};

fn decide(case: &Case<'_>) -> Decision {
    let mut charges = Violations::default();
    let mut count = 0;
    for epoch in &case.ledger.epochs {
        for (i, s) in epoch.settlements.iter().enumerate() {
            count += 1;
            let Some(d) = epoch.deliveries.get(&s.tag).filter(|d| !d.foreign) else { continue };
            // A `multiple` covers only what is outstanding, but the broker wants its own tag to be.
            let Some(earlier) = d.settled.first().filter(|first| **first < i) else { continue };
            let before = &epoch.settlements[*earlier];
            let words = format!(
                "{} (tag {} on {}) was {} at {} and {} again {} later",
                name(d.id),
                s.tag,
                place(epoch),
                before.kind.verb(),
                ms(before.at_client),
                s.kind.verb(),
                gap(before.at_client, s.at_client)
            );
            charges.add(words, [d.at_client, Some(before.at_client), Some(s.at_client)]);
        }
    }
    charges.or_else(|| match count {
        0 => Decision::not_applicable("the subject settled nothing"),
        n => Decision::pass(format!("none of {n} settlements covered a delivery settled before")),
    })
}

#[cfg(test)]
mod tests {
    use gauntlet_amqp::Args;
    use gauntlet_faults::Direction;

    use super::*;
    use crate::checkers::testing::HistoryBuilder;
    use crate::verdict::Outcome::{Fail, NotApplicable, Pass};

    fn served() -> HistoryBuilder {
        let mut tale = HistoryBuilder::new();
        tale.connect(1, 10).consume(1, 1, 8).at(10.0).served(1, 1, 1, 0);
        tale
    }

    #[test]
    fn the_same_tag_twice_fails() {
        let mut tale = served();
        let nack = Args::Nack { delivery_tag: 1, multiple: false, requeue: true };
        tale.at(15.0).passes(1, Direction::ToBroker, 1, "basic.nack", nack);
        let decision = tale.expect(&CHECKER, Fail);
        assert!(decision.summary.starts_with("m0 (tag 1 on connection 1, channel 1) was acked at 10.0 ms and put back again 5.0 ms later"), "{}", decision.summary);
        assert_eq!(decision.evidence.len(), 3, "delivered, acked, settled again");
        assert_eq!(decision.evidence[2], decision.evidence[1] + 2);
    }

    #[test]
    fn multiple_passes_over_what_is_settled_but_not_with_its_own_tag() {
        let multiple = |tag| Args::Ack { delivery_tag: tag, multiple: true };
        let mut tale = served();
        tale.publish(1).deliver(1, 1, 2, 1).handle(1, true);
        tale.passes(1, Direction::ToBroker, 1, "basic.ack", multiple(2));
        tale.expect(&CHECKER, Pass);
        tale = served();
        tale.passes(1, Direction::ToBroker, 1, "basic.ack", multiple(1));
        tale.expect(&CHECKER, Fail);
        // And the other way round: the single ack comes after the multiple that covered it.
        let mut tale = HistoryBuilder::new();
        tale.connect(1, 10).consume(1, 1, 8).deliver(1, 1, 1, 0).deliver(1, 1, 2, 1);
        tale.passes(1, Direction::ToBroker, 1, "basic.ack", multiple(2)).ack(1, 1, 1);
        tale.expect(&CHECKER, Fail);
    }

    #[test]
    fn the_same_tag_on_another_channel_is_another_delivery() {
        let mut tale = served();
        tale.rst(1).connect(2, 10).consume(2, 1, 8).served(2, 1, 1, 1);
        tale.expect(&CHECKER, Pass);
    }

    #[test]
    fn nothing_settled_is_not_at_stake() {
        HistoryBuilder::new()
            .connect(1, 10)
            .consume(1, 1, 8)
            .deliver(1, 1, 1, 0)
            .expect(&CHECKER, NotApplicable);
    }
}
