//! I11, effect-once: fails when a message's effect is committed twice where once is promised, or a
//! redelivered message is acked as done although its effect never was.
//!
//! Within one process: no run restarts its subject. It applies only where a message reached the
//! subject twice.

use super::proof::{Violations, moved, ms, place, settlements};
use super::{Case, Checker, Decision};
use crate::history::What;
use crate::history::ledger::{Mark, Message, Settle};

/// The entry in the catalogue.
pub const CHECKER: Checker = Checker {
    id: "I11",
    name: "effect-once",
    fails_when: "a message's effect is committed twice where once is promised",
    decide,
};

fn decide(case: &Case<'_>) -> Decision {
    let promises = &case.plan.promises;
    if !promises.dedups {
        return Decision::not_applicable("the subject does not promise to have each effect once");
    }
    let processes =
        case.history.events().iter().filter(|e| matches!(e.what, What::ProcessStarted { .. }));
    if processes.count() > 1 {
        return Decision::not_applicable(
            "several processes took part: one does not know what another has handled",
        );
    }
    if !promises.reports_handling {
        return Decision::unknown("the subject does not report its effects");
    }
    let mut charges = Violations::default();
    let (mut effects, mut again) = (0, 0);
    for (id, message) in &case.ledger.messages {
        effects += usize::from(!message.effects.is_empty());
        let arrivals = arrivals(case, message);
        again += usize::from(arrivals.len() > 1);
        if let [first, .., last] = message.effects[..] {
            let words = format!(
                "the effect of m{id} was committed {} times, first at {}, last at {}",
                message.effects.len(),
                ms(first),
                ms(last)
            );
            let between = arrivals.iter().filter(|at| **at < last).map(|at| Some(*at));
            charges.add(words, message.effects.iter().map(|at| Some(*at)).chain(between));
        }
        charge_skipped(case, &mut charges, *id, message);
    }
    charges.or_else(|| match (effects, again) {
        (_, 0) => Decision::not_applicable("no message reached the subject twice"),
        (0, n) => Decision::unknown(format!(
            "{n} messages reached the subject twice, but no effect was reported"
        )),
        (_, n) => Decision::pass(format!(
            "{n} messages reached the subject more than once, and each effect was committed once"
        )),
    })
}

/// When deliveries of the message were complete at the subject's end.
fn arrivals(case: &Case<'_>, message: &Message) -> Vec<Mark> {
    let whole = |(e, tag): &(usize, u64)| case.ledger.epochs[*e].deliveries.get(tag)?.at_client;
    message.deliveries.iter().filter_map(whole).collect()
}

/// Acked on a redelivery without a handling, as if it had been done before, which it was not.
fn charge_skipped(case: &Case<'_>, charges: &mut Violations, id: u32, message: &Message) {
    for (epoch, d, s) in
        settlements(case, message).filter(|(_, d, s)| d.redelivered && s.kind == Settle::Ack)
    {
        let Some(arrived) = d.at_client else { continue };
        let tried = message.handlings.iter().any(|h| h.start > arrived && h.start < s.at_client);
        let done = message.effects.iter().any(|x| *x < s.at_client);
        if !tried && !done && moved(case, epoch, d, s).is_none() {
            let words = format!(
                "m{id}, redelivered on {}, was skipped and acked at {} without an earlier effect",
                place(epoch),
                ms(s.at_client)
            );
            charges.add(words, [Some(arrived), Some(s.at_client)]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkers::testing::HistoryBuilder;
    use crate::verdict::Outcome::{Fail, NotApplicable, Pass, Unknown};

    /// m0 is delivered and perhaps handled, unacked; the link breaks; it is delivered again.
    fn again(handled: Option<bool>) -> HistoryBuilder {
        let mut tale = HistoryBuilder::new();
        tale.connect(1, 10).consume(1, 1, 8).publish(0).deliver(1, 1, 1, 0).at(10.0);
        if let Some(ok) = handled {
            tale.handle(0, ok);
        }
        tale.rst(1).connect(2, 10).consume(2, 1, 8).redeliver(2, 1, 1, 0).at(50.0);
        tale
    }

    #[test]
    fn a_second_effect_fails_and_an_ack_without_one_passes() {
        again(Some(true)).ack(2, 1, 1).expect(&CHECKER, Pass);
        let decision = again(Some(true)).handle(0, true).ack(2, 1, 1).expect(&CHECKER, Fail);
        assert!(
            decision.summary.starts_with(
                "the effect of m0 was committed 2 times, first at 10.0 ms, last at 50.0 ms"
            ),
            "{}",
            decision.summary
        );
        assert_eq!(decision.evidence.len(), 4, "arrived, effect, arrived again, effect again");
        assert_eq!(decision.evidence[3], decision.evidence[2] + 2);
    }

    #[test]
    fn a_second_effect_without_a_redelivery_fails_too() {
        let mut tale = HistoryBuilder::new();
        tale.connect(1, 10)
            .consume(1, 1, 8)
            .publish(0)
            .deliver(1, 1, 1, 0)
            .handle(0, true)
            .handle(0, true);
        tale.expect(&CHECKER, Fail);
    }

    #[test]
    fn skipped_without_an_earlier_effect_fails() {
        for before in [None, Some(false)] {
            let decision = again(before).ack(2, 1, 1).expect(&CHECKER, Fail);
            let words = "m0, redelivered on connection 2, channel 1, was skipped and acked at 50.0 ms without an earlier effect";
            assert_eq!(decision.summary, words);
            assert_eq!(decision.evidence[1], decision.evidence[0] + 1);
        }
        again(None).handle(0, true).ack(2, 1, 1).expect(&CHECKER, Pass);
    }

    #[test]
    fn not_at_stake_or_not_decidable() {
        HistoryBuilder::new()
            .connect(1, 10)
            .consume(1, 1, 8)
            .served(1, 1, 1, 0)
            .expect(&CHECKER, NotApplicable);
        let mut tale = again(Some(true));
        tale.promises.reports_handling = false;
        tale.expect(&CHECKER, Unknown);
        tale.promises.dedups = false;
        tale.handle(0, true).expect(&CHECKER, NotApplicable);
    }
}
