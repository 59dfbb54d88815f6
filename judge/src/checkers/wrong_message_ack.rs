//! I3, wrong-message ack: fails when an ack names a delivery of another epoch, or a tag not outstanding.
//!
//! A tag is scoped to its channel's opening. Twice the same tag is I4's. The silent form, where the
//! stale tag happens to name another message, needs the handlings.

use gauntlet_amqp::Args;
use gauntlet_faults::Direction;

use super::proof::{Violations, moved, ms, name, place};
use super::{Case, Checker, Decision};
use crate::history::What;
use crate::history::ledger::{Delivery, Epoch, Mark, Settlement};

/// The entry in the catalogue.
pub const CHECKER: Checker = Checker {
    id: "I3",
    name: "wrong-message ack",
    fails_when: "an ack names a delivery of another epoch, or a tag not outstanding",
    decide,
};

fn decide(case: &Case<'_>) -> Decision {
    let mut charges = Violations::default();
    let mut settled = 0;
    let mut unexplained = None;
    for (index, epoch) in case.ledger.epochs.iter().enumerate() {
        let refusal = unknown_tag(case, index);
        let mut explained = false;
        for (i, s) in epoch.settlements.iter().enumerate() {
            settled += 1;
            if s.tag == 0 && s.multiple {
                continue;
            }
            let there = |d: &&Delivery| d.at_client.is_some_and(|at| at < s.at_client);
            match epoch.deliveries.get(&s.tag).filter(there) {
                // A queue of its own is its own business, and so is a refusal for it.
                Some(d) if d.foreign => explained = true,
                None => {
                    charge_stale(case, &mut charges, index, s, refusal);
                    explained = true;
                }
                Some(d) if d.settled.first() == Some(&i) => silent(case, &mut charges, index, s, d),
                Some(_) => explained = true,
            }
        }
        unexplained = unexplained.or(refusal.filter(|_| !explained).map(|at| (place(epoch), at)));
    }
    charges.or_else(|| match unexplained {
        Some((place, at)) => {
            let words = format!("the broker closed {place} at {} over an unknown tag that the subject's frames do not show", ms(at));
            Decision { evidence: vec![at.seq], ..Decision::unknown(words) }
        }
        None if settled == 0 => Decision::not_applicable("the subject settled nothing"),
        None => Decision::pass(format!(
            "each of {settled} settlements over {} channel openings named a delivery of its own",
            case.ledger.epochs.len()
        )),
    })
}

/// The earlier epoch, if any, in which this tag was delivered and never settled, the latest first.
fn owner<'a>(case: &Case<'a>, index: usize, tag: u64) -> Option<(&'a Epoch, &'a Delivery)> {
    let before = case.ledger.epochs[..index].iter().rev();
    let mut owners = before.filter_map(|e| Some((e, e.deliveries.get(&tag)?)));
    owners.find(|(_, d)| d.at_client.is_some() && d.settled.is_empty() && !d.foreign)
}

fn charge_stale(
    case: &Case<'_>,
    charges: &mut Violations,
    index: usize,
    s: &Settlement,
    refusal: Option<Mark>,
) {
    let epoch = &case.ledger.epochs[index];
    let mut words = format!(
        "tag {} was {} on {} at {}, where it had not been delivered",
        s.tag,
        s.kind.verb(),
        place(epoch),
        ms(s.at_client)
    );
    let owner = owner(case, index, s.tag);
    if let Some((old, d)) = owner {
        words.push_str(&format!("; on {} it was {}", place(old), name(d.id)));
    }
    if refusal.is_some() {
        words.push_str("; the broker closed the channel for it");
    }
    let (delivered, over) = owner.map_or((None, None), |(old, d)| (d.at_client, old.client_over));
    charges.add(words, [delivered, over, Some(epoch.opened), Some(s.at_client), refusal]);
}

/// The tag is outstanding here, but its message is not handled, while the one that had the same tag
/// on an earlier channel is, and was never settled there: the ack was meant for that one.
fn silent(case: &Case<'_>, charges: &mut Violations, index: usize, s: &Settlement, d: &Delivery) {
    let promises = &case.plan.promises;
    if !(promises.reports_handling && promises.at_least_once && s.kind.consumes()) {
        return;
    }
    let handled = |id: u32| case.ledger.messages.get(&id)?.handled().filter(|at| *at < s.at_client);
    let Some(id) = d.id.filter(|id| handled(*id).is_none()) else { return };
    let Some((old, meant)) = owner(case, index, s.tag) else { return };
    let Some((other, finished)) = meant.id.and_then(|m| Some((m, handled(m)?))) else { return };
    // Never begun on this delivery, it was skipped on purpose (I5, I11). Begun and over, or put elsewhere, it is done with.
    // In both cases the tag is a coincidence.
    let running = case.ledger.messages[&id]
        .handlings
        .iter()
        .any(|h| Some(h.start) > d.at_client && h.end.is_none_or(|(end, _)| end > s.at_client));
    if other == id || !running || moved(case, &case.ledger.epochs[index], d, s).is_some() {
        return;
    }
    let epoch = &case.ledger.epochs[index];
    let words = format!(
        "tag {} {} on {} at {} settles m{id}, which is not handled; it was meant for m{other}, which had that tag on {}",
        s.tag,
        s.kind.verb(),
        place(epoch),
        ms(s.at_client),
        place(old)
    );
    charges.add(
        words,
        [meant.at_client, old.client_over, d.at_client, Some(finished), Some(s.at_client)],
    );
}

/// The broker's close of this epoch over an unknown delivery tag.
fn unknown_tag(case: &Case<'_>, index: usize) -> Option<Mark> {
    let epoch = &case.ledger.epochs[index];
    let later = |e: &&Epoch| (e.conn, e.channel) == (epoch.conn, epoch.channel);
    let next = case.ledger.epochs[index + 1..].iter().find(later).map(|e| e.opened);
    let events = case.history.events().iter().filter(|e| Mark::from(*e) > epoch.opened);
    let mut events = events.take_while(|e| next.is_none_or(|next| Mark::from(*e) < next));
    let said = events.find(|e| {
        matches!(&e.what, What::Wire { conn, way: Direction::ToClient, frame, .. }
            if (*conn, frame.channel) == (epoch.conn, epoch.channel)
                && matches!(&frame.args, Args::Close { code: 406, text, .. } if text.contains("delivery tag")))
    });
    said.map(Mark::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkers::testing::HistoryBuilder;
    use crate::verdict::Outcome::{Fail, NotApplicable, Pass, Unknown};

    /// m0 to m2 are delivered on connection 1, m0 acked there; connection 2 follows a reset.
    fn recovered() -> HistoryBuilder {
        let mut tale = HistoryBuilder::new();
        tale.connect(1, 10).consume(1, 1, 8);
        for id in 0..3 {
            tale.publish(id).deliver(1, 1, u64::from(id) + 1, id);
        }
        tale.handle(0, true).ack(1, 1, 1).rst(1).connect(2, 10).consume(2, 1, 8);
        tale
    }

    fn refuses(tale: &mut HistoryBuilder, conn: u64) {
        let text = "PRECONDITION_FAILED - unknown delivery tag 3".into();
        let close = Args::Close { code: 406, text, class: 60, method: 80 };
        tale.passes(conn, Direction::ToClient, 1, "channel.close", close);
    }

    #[test]
    fn a_stale_tag_on_a_new_channel_fails_and_names_its_owner() {
        let mut tale = recovered();
        tale.redeliver(2, 1, 1, 1).at(40.0).ack(2, 1, 3);
        refuses(&mut tale, 2);
        let decision = tale.expect(&CHECKER, Fail);
        assert_eq!(
            decision.summary,
            "tag 3 was acked on connection 2, channel 1 at 40.0 ms, where it had not been delivered; \
             on connection 1, channel 1 it was m2; the broker closed the channel for it"
        );
        let e = &decision.evidence;
        assert_eq!(e.len(), 5, "delivered, over, opened anew, acked, closed");
        assert_eq!(e[4], e[3] + 2);
    }

    #[test]
    fn an_ack_is_not_ahead_of_its_delivery_at_the_subject() {
        let late = |first: bool| {
            let mut tale = recovered();
            if first {
                tale.redeliver(2, 1, 1, 1).ack(2, 1, 1);
            } else {
                tale.deliver_at(gauntlet_faults::End::Broker, 2, 1, 1, 1, true).ack(2, 1, 1);
            }
            tale
        };
        late(true).handle(1, true).expect(&CHECKER, Pass);
        late(false).expect(&CHECKER, Fail);
    }

    #[test]
    fn the_silent_form_is_found_by_the_handlings() {
        let told = |handled: u32| {
            let mut tale = recovered();
            // Tag 2 was m1 on connection 1; on connection 2 it is m2.
            tale.redeliver(2, 1, 1, 1).redeliver(2, 1, 2, 2).handle(handled, true).ack(2, 1, 2);
            tale
        };
        let decision = told(1).handle(2, true).expect(&CHECKER, Fail);
        assert!(
            decision.summary.contains("settles m2, which is not handled; it was meant for m1"),
            "{}",
            decision.summary
        );
        assert_eq!(decision.evidence.len(), 5);
        // Its own handler was over, without success: the ack was meant for it (I5), and the tag is a coincidence.
        let mut over = recovered();
        over.redeliver(2, 1, 1, 1).redeliver(2, 1, 2, 2).handle(1, true).handle(2, false);
        over.ack(2, 1, 2).expect(&CHECKER, Pass);
        // Skipped for good: an early ack, whose tag is a coincidence.
        told(1).expect(&CHECKER, Pass);
        told(2).expect(&CHECKER, Pass);
    }

    #[test]
    fn a_refusal_that_nothing_explains_is_unknown_and_one_for_a_double_settle_is_not_ours() {
        let mut tale = recovered();
        refuses(tale.redeliver(2, 1, 1, 1).handle(1, true).ack(2, 1, 1), 2);
        tale.expect(&CHECKER, Unknown);
        let mut tale = recovered();
        refuses(tale.redeliver(2, 1, 1, 1).handle(1, true).ack(2, 1, 1).ack(2, 1, 1), 2);
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
