//! I12, recovery bound: fails when the first successful handling comes later after the path is usable than the bound.
//!
//! Judges each outage: a step whose fault made the path unusable, until a message that was
//! delivered anew is handled. Outages that run into each other count as one, the last. Where the
//! subject reports no handling, its own acks stand for it.

use std::collections::BTreeSet;

use gauntlet_network::{End, Fault, Way};

use super::heartbeat::ms;
use super::{Case, Checker, Decision};
use crate::history::What;
use crate::history::ledger::{Ledger, Mark, Settle, Step};
use crate::scenario::Ends;

/// The entry in the catalogue.
pub const CHECKER: Checker = Checker {
    id: "I12",
    name: "recovery bound",
    fails_when: "the first successful handling comes later after the path is usable than the bound",
    decide,
};

/// One recovery, and where its time went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovery {
    /// Index of the step in the plan.
    pub step: usize,
    /// The path was usable and there was something to handle, in nanoseconds since the run began.
    pub usable_ns: u64,
    /// The first message delivered anew was handled (or acked, where no handling is reported).
    pub handled_ns: u64,
    /// The connection that brought it.
    pub conn: u64,
    /// The parts of the time between, in order; together they are all of it.
    pub parts: Vec<(&'static str, u64)>,
}

impl Recovery {
    /// How long it took, in nanoseconds.
    pub fn ns(&self) -> u64 {
        self.handled_ns.saturating_sub(self.usable_ns)
    }

    fn words(&self) -> String {
        let parts: Vec<String> =
            self.parts.iter().map(|(name, ns)| format!("{name} {}", ms(*ns))).collect();
        parts.join(", ")
    }
}

/// Every recovery of a run that can be told from the others, late or not.
pub fn recoveries(case: &Case<'_>) -> Vec<Recovery> {
    let outages = outages(case).into_iter();
    outages
        .filter_map(|o| if let Outage::Over(recovery, _) = o { Some(recovery) } else { None })
        .collect()
}

enum Outage {
    /// Recovered; the events that show it.
    Over(Recovery, Vec<u64>),
    /// Not within the bound, though there was something to handle.
    Never(Decision),
    /// Merged with the next, or ended by a request to stop.
    NotJudged,
    Unsure(String),
}

fn decide(case: &Case<'_>) -> Decision {
    if !case.plan.promises.reconnects {
        return Decision::not_at_stake("the subject does not promise to reconnect");
    }
    if case.plan.scenario.expect.outcome == Ends::Refused {
        return Decision::not_at_stake("the subject is to be refused, not to recover");
    }
    let bound = bound(case);
    let outages = outages(case);
    if outages.is_empty() {
        return Decision::not_at_stake("no fault made the path unusable");
    }
    let (mut over, mut unsure) = (Vec::new(), None);
    for outage in outages {
        match outage {
            Outage::Never(decision) => return decision,
            Outage::Over(r, evidence) => over.push((r, evidence)),
            Outage::Unsure(why) => unsure = Some(why),
            Outage::NotJudged => {}
        }
    }
    over.sort_by_key(|(r, _)| r.ns());
    let Some((worst, evidence)) = over.last() else {
        return match unsure {
            Some(why) => Decision::unknown(why),
            None => Decision::not_at_stake("the subject was asked to stop before it could recover"),
        };
    };
    let parts = worst.words();
    if worst.ns() > bound {
        let (step, took, bound) = (worst.step + 1, ms(worst.ns()), ms(bound));
        let summary = format!(
            "after step {step} the first message was handled {took} after the path was usable; {bound} allowed ({parts})"
        );
        return Decision::fail(summary, evidence.clone());
    }
    let median = ms(over[over.len() / 2].0.ns());
    let count = over.len();
    match unsure {
        _ if !case.history.complete() => {
            Decision::unknown("the history stops before the end of the run")
        }
        Some(why) => Decision::unknown(format!("{why} ({count} other recoveries were in time)")),
        None => Decision::pass(format!(
            "{count} recoveries, worst {} and median {median} of {} allowed; the worst: {parts}",
            ms(worst.ns()),
            ms(bound)
        )),
    }
}

fn bound(case: &Case<'_>) -> u64 {
    case.plan.scenario.expect.recovers_within.as_nanos() as u64
}

fn outages(case: &Case<'_>) -> Vec<Outage> {
    let served = served(case);
    let steps = case.ledger.steps.iter().filter(|(_, s)| !s.usable.is_empty());
    steps.map(|(i, step)| judge(case, *i, step, &served)).collect()
}

/// A message delivered and done with.
struct Served {
    id: u32,
    epoch: usize,
    delivered: Mark,
    began: Mark,
    done: Mark,
}

/// Everything served, in order of its end.
fn served(case: &Case<'_>) -> Vec<Served> {
    let handled = case.ledger.handled > 0 && case.plan.promises.reports_handling;
    let mut served = Vec::new();
    for (epoch, e) in case.ledger.epochs.iter().enumerate() {
        for delivery in e.deliveries.values() {
            let (Some(id), Some(delivered)) = (delivery.id, delivery.at_client) else { continue };
            let acks = delivery.settled.iter().map(|i| &e.settlements[*i]);
            let acked =
                acks.filter(|s| s.kind == Settle::Ack).map(|s| (delivered, s.at_client)).min();
            let handlings = case.ledger.messages.get(&id).into_iter().flat_map(|m| &m.handlings);
            // A delivery is served by a handling that began after it and before the next of the same message.
            let began = handlings.filter(|h| h.start > delivered).min_by_key(|h| h.start);
            let ended =
                began.and_then(|h| h.end.filter(|(_, ok)| *ok).map(|(end, _)| (h.start, end)));
            if let Some((began, done)) = if handled { ended } else { acked } {
                served.push(Served { id, epoch, delivered, began, done });
            }
        }
    }
    served.sort_by_key(|s| (s.done, std::cmp::Reverse(s.delivered)));
    served
}

fn judge(case: &Case<'_>, index: usize, step: &Step, served: &[Served]) -> Outage {
    let Some(fired) = began(case, index, step) else {
        return Outage::Unsure(format!("step {} never fired", index + 1));
    };
    let anew = |s: &&Served| s.delivered > fired && !broken(case, index, step, fired, s);
    let first = served.iter().filter(|s| s.done >= step.usable[0]).find(anew);
    let usable = step
        .usable
        .iter()
        .copied()
        .rfind(|u| first.is_none_or(|s| *u <= s.done))
        .unwrap_or(step.usable[0]);
    let Some(since) = waiting(case, fired, usable, served) else {
        // Everything was handled before anyone could say that the path was usable.
        return match served.iter().filter(|s| reconnected(case, fired, s)).find(anew) {
            Some(s) => {
                Outage::Over(recovery(case, index, s.done.ns, s), vec![fired.seq, s.done.seq])
            }
            None => Outage::Unsure(format!("nothing to handle after step {}", index + 1)),
        };
    };
    let deadline = since + bound(case);
    let until = first.map_or(deadline, |s| s.done.ns.min(deadline));
    if disturbed(case.ledger, index, fired, until) {
        return Outage::NotJudged;
    }
    if stopping(case).is_some_and(|m| m.ns < until) {
        return Outage::NotJudged;
    }
    if let Some(s) = first {
        let evidence = vec![fired.seq, usable.seq, s.delivered.seq, s.began.seq, s.done.seq];
        return Outage::Over(recovery(case, index, since, s), dedup(evidence));
    }
    let Some(last) = case.history.events().last().filter(|e| e.ns > deadline) else {
        return Outage::Unsure(format!(
            "the run ended before the subject had {} to recover from step {}",
            ms(bound(case)),
            index + 1
        ));
    };
    let summary = format!(
        "after step {} no message was handled in {} from the path being usable to {}; {} allowed",
        index + 1,
        ms(last.ns.saturating_sub(since)),
        case.ledger.subject_ended.map_or("the end of the run", |_| "the subject's end"),
        ms(bound(case))
    );
    let end = case.ledger.subject_ended.map_or(last.seq, |m| m.seq);
    let tried = case.ledger.connections.values().filter_map(|c| c.accepted).filter(|m| *m > fired);
    let evidence =
        [fired, usable].into_iter().chain(tried.take(9)).map(|m| m.seq).chain([end]).collect();
    Outage::Never(Decision::fail(summary, dedup(evidence)))
}

/// When the outage began. A broker's fault is recorded as fired when it is done, the subject may be
/// back by then: it counts from its injection.
fn began(case: &Case<'_>, index: usize, step: &Step) -> Option<Mark> {
    let of_broker = case.plan.steps.get(index).is_some_and(|s| s.broker.is_some());
    let fired = step.fired.first().copied()?;
    Some(step.injected.filter(|m| of_broker && *m < fired).unwrap_or(fired))
}

/// Whether it came by a connection made since.
fn reconnected(case: &Case<'_>, fired: Mark, s: &Served) -> bool {
    let connection = case.ledger.connections.get(&case.ledger.epochs[s.epoch].conn);
    connection.and_then(|c| c.accepted).is_some_and(|m| m > fired)
}

/// The same sequence number is shown once.
fn dedup(mut seqs: Vec<u64>) -> Vec<u64> {
    let mut seen = BTreeSet::new();
    seqs.retain(|s| seen.insert(*s));
    seqs
}

/// When the subject was first asked to stop, in whatever way.
fn stopping(case: &Case<'_>) -> Option<Mark> {
    let asked = |w: &What| matches!(w, What::StopRequested | What::AbortRequested);
    case.history.events().iter().find(|e| asked(&e.what)).map(Mark::from)
}

/// Whether another step fired between this one and its recovery. One that fired before it too, and
/// breaks no path, is weather.
fn disturbed(ledger: &Ledger, index: usize, fired: Mark, until: u64) -> bool {
    let others = ledger.steps.iter().filter(|(i, _)| **i != index);
    others.into_iter().any(|(_, other)| {
        let mut hits = if other.usable.is_empty() {
            &other.fired[..other.fired.len().min(1)]
        } else {
            &other.fired[..]
        }
        .iter();
        hits.any(|m| *m > fired && m.ns < until)
    })
}

/// Whether what this connection brought is no recovery: the step fired on it and it ended by that,
/// or it is from before and was over by then.
fn broken(case: &Case<'_>, index: usize, step: &Step, fired: Mark, s: &Served) -> bool {
    let conn = case.ledger.epochs[s.epoch].conn;
    let Some(connection) = case.ledger.connections.get(&conn) else { return false };
    let over =
        |before: Option<Mark>| connection.client_over.is_some_and(|o| before.is_none_or(|b| o < b));
    let older = connection.accepted.is_some_and(|m| m < fired);
    let of_broker = step.hit.is_empty();
    if !step.hit.contains_key(&conn) && !(older && of_broker) {
        return older && over(Some(s.done));
    }
    let others = case.ledger.steps.iter().filter(|(i, _)| **i != index).flat_map(|(_, s)| &s.fired);
    let next = others.filter(|m| **m > fired).min().copied();
    let planned = case.plan.steps.get(index).and_then(|s| s.fault.as_ref());
    let lost = matches!(planned, Some(Fault::Blackhole { resume: false, .. }));
    (lost && !of_broker) || over([next, stopping(case)].into_iter().flatten().min())
}

/// From when on, with the path usable, a message waited that only a recovery could get handled.
fn waiting(case: &Case<'_>, fired: Mark, usable: Mark, served: &[Served]) -> Option<u64> {
    let gone = case.plan.scenario.expect.queue_is_deleted;
    let mut waiting = Vec::new();
    for (id, message) in &case.ledger.messages {
        let Some(confirmed) = message.confirmed else { continue };
        let lost = gone && message.published.is_none_or(|p| p < fired);
        let first = served.iter().find(|s| s.id == *id);
        let elsewhere = first.is_none() && message.handled().is_some();
        // Begun before the fault, it finishes by itself.
        if !lost && !elsewhere && first.is_none_or(|s| s.began > fired && s.done >= usable) {
            waiting.push(confirmed.ns.max(usable.ns));
        }
    }
    waiting.into_iter().min()
}

/// Where the time went, from what the subject's end of the wire saw.
fn recovery(case: &Case<'_>, step: usize, since: u64, s: &Served) -> Recovery {
    let epoch = &case.ledger.epochs[s.epoch];
    let accepted = case.ledger.connections.get(&epoch.conn).and_then(|c| c.accepted);
    let heard = |channel: u16, name: &str| {
        let frames =
            case.history.events().iter().filter(|e| channel == 0 || Mark::from(*e) > epoch.opened);
        frames
            .filter_map(|e| match &e.what {
                What::Wire { conn, end: End::Client, way: Way::ToClient, frame } => {
                    (*conn == epoch.conn && frame.channel == channel && &*frame.name == name)
                        .then(|| Mark::from(e))
                }
                _ => None,
            })
            .next()
    };
    let last = if case.ledger.handled > 0 && case.plan.promises.reports_handling {
        "handle"
    } else {
        "ack"
    };
    let milestones = [
        ("connect", accepted),
        ("start", heard(0, "connection.start")),
        ("tune", heard(0, "connection.tune")),
        ("open", heard(0, "connection.open-ok")),
        ("qos", heard(epoch.channel, "basic.qos-ok")),
        ("consume", heard(epoch.channel, "basic.consume-ok")),
        ("deliver", Some(s.delivered)),
        (last, Some(s.done)),
    ];
    let mut parts = Vec::new();
    let mut from = since;
    for (name, mark) in milestones {
        if let Some(mark) = mark.filter(|m| m.ns >= from) {
            parts.push((name, mark.ns - from));
            from = mark.ns;
        }
    }
    Recovery { step, usable_ns: since, handled_ns: s.done.ns, conn: epoch.conn, parts }
}

#[cfg(test)]
mod tests {
    use super::super::fired::aid::{cited, steps, unfinished};
    use super::super::testing::Tale;
    use super::*;
    use crate::verdict::Outcome::{Fail, NotAtStake, Pass, Unknown};

    const RST: &str = "[[step]]\nwhen = \"idle\"\nfault = { kind = \"rst\" }\n";

    fn fires(tale: &mut Tale, ms: f64, step: usize, conn: Option<u64>) {
        tale.at(ms).what(What::Fired { step, conn, note: "rst".into() });
    }

    /// Message 0 is served on connection 1, which is reset at 1000 ms; message 1 waits.
    fn outage() -> Tale {
        let mut tale = Tale::new();
        steps(&mut tale, &RST.repeat(2));
        tale.connect(1, 10).consume(1, 1, 8).served(1, 1, 1, 0).publish(1);
        fires(&mut tale, 1000.0, 0, Some(1));
        tale.rst(1).what(What::PathUsable { step: 0 });
        tale
    }

    /// Comes back on connection 2 and begins to handle message 1 at this time.
    fn back(tale: &mut Tale, ms: f64) -> &mut Tale {
        tale.at(ms - 100.0)
            .connect(2, 10)
            .consume(2, 1, 8)
            .at(ms)
            .redeliver(2, 1, 1, 1)
            .handle(1, true)
            .ack(2, 1, 1)
    }

    #[test]
    fn both_sides_of_the_bound_and_where_the_time_went() {
        // The path is usable at 1000.004 ms, the handling over 8 us after the delivery began; 2000 ms allowed.
        let said = back(&mut outage(), 2999.9).expect(&CHECKER, Pass).summary;
        assert_eq!(
            said,
            "1 recoveries, worst 2000 ms and median 2000 ms of 2000 ms allowed; the worst: connect 1900 ms, \
             start 0 ms, tune 0 ms, open 0 ms, qos 0 ms, consume 0 ms, deliver 100 ms, handle 0 ms"
        );
        let mut tale = outage();
        let decision = back(&mut tale, 3000.1).expect(&CHECKER, Fail);
        assert!(decision.summary.starts_with(
            "after step 1 the first message was handled 2000 ms after the path was usable; 2000 ms allowed (connect 1900 ms"
        ), "{}", decision.summary);
        let cited = cited(&mut tale, &decision);
        assert_eq!(
            cited[..2],
            ["- fault c1 step 1 fired: rst", "- fault the path is usable after step 1"]
        );
        assert!(cited[2].starts_with("< subject c2 ch1 body"), "{cited:?}");
        assert_eq!(cited[3..], ["- subject handler began m1", "- subject handler ended m1: ok"]);
    }

    #[test]
    fn the_parts_are_all_of_it() {
        let mut tale = outage();
        back(&mut tale, 2500.0);
        const PARTS: Checker = Checker { id: "", name: "", fails_when: "", decide: parts };
        fn parts(case: &Case<'_>) -> Decision {
            let all = recoveries(case);
            assert_eq!((all.len(), all[0].step, all[0].conn), (1, 0, 2));
            assert_eq!(all[0].parts.iter().map(|(_, ns)| ns).sum::<u64>(), all[0].ns());
            Decision::pass("")
        }
        tale.expect(&PARTS, Pass);
    }

    #[test]
    fn never_back_fails_with_the_attempts() {
        let mut tale = outage();
        tale.at(2000.0).what(What::Accepted { conn: 2 }).at(5000.0).publish(2);
        let decision = tale.expect(&CHECKER, Fail);
        assert!(
            decision.summary.starts_with("after step 1 no message was handled in 4000 ms"),
            "{}",
            decision.summary
        );
        assert_eq!(cited(&mut tale, &decision)[2..], ["- link c2 accepted", "- run end"]);
        let mut tale = outage();
        tale.at(2999.0).publish(2);
        assert_eq!(
            tale.expect(&CHECKER, Unknown).summary,
            "the run ended before the subject had 2000 ms to recover from step 1"
        );
    }

    #[test]
    fn what_was_delivered_before_the_fault_or_on_the_broken_connection_is_no_recovery() {
        let mut stale = Tale::new();
        steps(&mut stale, RST);
        stale.connect(1, 10).consume(1, 1, 8).publish(0).publish(1).publish(2).deliver(1, 1, 1, 0);
        fires(&mut stale, 1000.0, 0, Some(1));
        stale
            .deliver(1, 1, 2, 1)
            .rst(1)
            .what(What::PathUsable { step: 0 })
            .handle(0, true)
            .handle(1, true);
        stale.at(9000.0).publish(3);
        stale.expect(&CHECKER, Fail);
    }

    #[test]
    fn a_connection_that_outlives_the_fault_recovers_itself() {
        let mut tale = Tale::new();
        steps(&mut tale, "[[step]]\nwhen = \"idle\"\nfault = { kind = \"stall\" }\n");
        tale.connect(1, 10).consume(1, 1, 8).served(1, 1, 1, 0);
        fires(&mut tale, 1000.0, 0, Some(1));
        tale.at(2000.0)
            .what(What::PathUsable { step: 0 })
            .publish(1)
            .deliver(1, 1, 2, 1)
            .handle(1, true);
        tale.at(4000.0).what(What::StopRequested).rst(1);
        let said = tale.expect(&CHECKER, Pass).summary;
        assert!(said.ends_with("the worst: deliver 0 ms, handle 0 ms"), "{said}");
    }

    #[test]
    fn what_was_delivered_before_the_fault_is_no_recovery_though_its_connection_lives() {
        for (again, expect) in [(3900.0, Pass), (4100.0, Fail)] {
            let mut tale = Tale::new();
            steps(&mut tale, "[[step]]\nwhen = \"idle\"\nfault = { kind = \"stall\" }\n");
            tale.connect(1, 10).consume(1, 1, 8).publish(0).publish(1).deliver(1, 1, 1, 0);
            fires(&mut tale, 1000.0, 0, Some(1));
            tale.at(2000.0).what(What::PathUsable { step: 0 }).handle(0, true);
            tale.at(again).deliver(1, 1, 2, 1).handle(1, true).expect(&CHECKER, expect);
        }
    }

    #[test]
    fn nothing_to_handle_is_unknown_and_the_clock_starts_when_there_is_something() {
        let idle = || {
            let mut tale = Tale::new();
            steps(&mut tale, RST);
            tale.connect(1, 10).consume(1, 1, 8).served(1, 1, 1, 0);
            fires(&mut tale, 1000.0, 0, Some(1));
            tale.rst(1).what(What::PathUsable { step: 0 });
            tale
        };
        let mut tale = idle();
        tale.at(9000.0).phase(crate::history::Phase::Drain);
        assert_eq!(tale.expect(&CHECKER, Unknown).summary, "nothing to handle after step 1");
        let mut tale = idle();
        tale.at(5000.0).publish(1);
        back(&mut tale, 6900.0).expect(&CHECKER, Pass);
        let mut tale = idle();
        tale.at(5000.0).publish(1);
        back(&mut tale, 7100.0).expect(&CHECKER, Fail);
    }

    #[test]
    fn outages_that_run_into_each_other_are_judged_by_the_last() {
        let mut tale = outage();
        fires(&mut tale, 2500.0, 1, Some(3));
        tale.at(2600.0).what(What::PathUsable { step: 1 });
        let said = back(&mut tale, 4500.0).expect(&CHECKER, Pass).summary;
        assert!(said.starts_with("1 recoveries, worst 1900 ms"), "{said}");
        // The next comes when the bound is already broken.
        let mut tale = outage();
        fires(&mut tale, 3001.0, 1, Some(3));
        tale.at(3100.0).what(What::PathUsable { step: 1 });
        back(&mut tale, 3500.0).expect(&CHECKER, Fail);
    }

    #[test]
    fn a_stop_before_recovery_is_not_judged_and_one_after_the_bound_is_too_late() {
        outage()
            .at(2000.0)
            .what(What::StopRequested)
            .at(9000.0)
            .publish(2)
            .expect(&CHECKER, NotAtStake);
        outage().at(3500.0).what(What::StopRequested).at(9000.0).publish(2).expect(&CHECKER, Fail);
    }

    #[test]
    fn without_reported_handling_acks_stand_for_it() {
        for (ms, expect) in [(2900.0, Pass), (3100.0, Fail)] {
            let mut tale = outage();
            tale.promises.reports_handling = false;
            tale.at(2000.0)
                .connect(2, 10)
                .consume(2, 1, 8)
                .redeliver(2, 1, 1, 1)
                .at(ms)
                .ack(2, 1, 1);
            tale.at(9000.0).publish(7).expect(&CHECKER, expect);
        }
    }

    #[test]
    fn a_fault_of_the_broker_counts_from_its_injection() {
        // Back, and everything delivered, before the step could be recorded as fired and usable.
        for (handled, expect) in [(1010.0, Pass), (1500.0, Pass), (3100.0, Fail)] {
            let mut tale = Tale::new();
            steps(&mut tale, "[[step]]\nwhen = \"idle\"\nbroker = \"close_connections\"\n");
            tale.connect(1, 10).consume(1, 1, 8).served(1, 1, 1, 0).publish(1);
            tale.at(1000.0).what(What::Injected { step: 0, fault: "close".into() }).rst(1);
            tale.at(1005.0).connect(2, 10).consume(2, 1, 8).redeliver(2, 1, 1, 1);
            tale.at(handled).handle(1, true);
            fires(&mut tale, 1020.0, 0, None);
            tale.what(What::PathUsable { step: 0 }).at(9000.0).expect(&CHECKER, expect);
        }
    }

    #[test]
    fn on_a_connection_the_broker_was_about_to_close_nothing_is_a_recovery() {
        let mut tale = Tale::new();
        steps(&mut tale, "[[step]]\nwhen = \"idle\"\nbroker = \"close_connections\"\n");
        tale.connect(1, 10).consume(1, 1, 8).publish(0).publish(1).at(1000.0);
        tale.what(What::Injected { step: 0, fault: "close".into() }).deliver(1, 1, 1, 0);
        fires(&mut tale, 1010.0, 0, None);
        tale.what(What::PathUsable { step: 0 }).handle(0, true).rst(1).at(9000.0).publish(2);
        tale.expect(&CHECKER, Fail);
    }

    #[test]
    fn a_failed_handling_is_no_recovery() {
        let mut tale = outage();
        tale.at(2000.0)
            .connect(2, 10)
            .consume(2, 1, 8)
            .redeliver(2, 1, 1, 1)
            .handle(1, false)
            .at(9000.0)
            .publish(2);
        tale.expect(&CHECKER, Fail);
    }

    #[test]
    fn nothing_at_stake_or_cut_short() {
        Tale::new().expect(&CHECKER, NotAtStake);
        let mut tale = outage();
        tale.promises.reconnects = false;
        tale.expect(&CHECKER, NotAtStake);
        assert_eq!(unfinished(back(&mut outage(), 2000.0), &CHECKER).outcome, Unknown);
        assert_eq!(unfinished(back(&mut outage(), 5000.0), &CHECKER).outcome, Fail);
    }
}
