//! The preflight of a command: it connects, consumes, handles one message and stops. Where it does not, no scenario
//! has anything to decide, and none is played.
//!
//! Owns the scenario and its judgement, which names the cause and nothing that follows from it. What it promises
//! beyond that is the scenarios' business.

use gauntlet_faults::End;

use crate::checkers::Decision;
use crate::history::ledger::{Ledger, Mark};
use crate::history::{History, SubjectEnd, What};
use crate::judgement::{Judgement, busy};
use crate::plan::Plan;
use crate::scenario::{Scenario, parse};
use crate::verdict::{Finding, Outcome, Verdict};

/// Its name.
pub const NAME: &str = "preflight";

const TEXT: &str = "\
# Before anything goes wrong, a command must connect, consume the queue, handle a message and stop when it is asked to.
title = \"it connects, consumes, handles a message and stops\"
decides = []

[workload]
messages = 100
";

/// The scenario.
pub fn scenario() -> Scenario {
    parse(NAME, TEXT).expect("the preflight is a valid scenario")
}

/// Whether this is the plan of one.
pub fn is_preflight(plan: &Plan) -> bool {
    plan.scenario.name == NAME
}

/// Judges it: one finding.
pub fn judge(plan: &Plan, history: &History) -> Judgement {
    let Decision { outcome, mut summary, evidence, .. } = decide(plan, history);
    let ledger = Ledger::of(history.events());
    let busy = busy(&ledger, history).filter(|_| outcome == Outcome::Unknown);
    busy.iter().for_each(|why| summary.push_str(&format!("; {why}")));
    let busy = busy.is_some();
    let finding = Finding { checker: NAME.to_owned(), outcome, summary, evidence, busy };
    let verdict = Verdict::merge(outcome.verdict());
    Judgement { verdict, findings: vec![finding], recovery_ns: None }
}

fn decide(plan: &Plan, history: &History) -> Decision {
    let ledger = Ledger::of(history.events());
    let end = history.events().iter().find_map(|e| match &e.what {
        What::SubjectEnded { how } => Some((Mark::from(e), how)),
        _ => None,
    });
    let handled = first_handled(&ledger);
    let unasked = |at: Mark| ledger.stop_requested.is_none_or(|asked| at < asked);
    match end {
        Some((at, how)) if unasked(at) => {
            let how = in_words(how);
            let connected = ledger.connections.values().any(|c| c.accepted.is_some());
            let (words, cause) = match (missing(plan, &ledger), handled) {
                _ if !connected => (format!("it ended before it connected: {how}"), None),
                (Some((cause, mark)), None) => (format!("{cause}; then it ended: {how}"), mark),
                (None, None) => (format!("it ended before it had handled a message: {how}"), None),
                (_, Some(_)) => (format!("it ended without being asked to: {how}"), None),
            };
            Decision::fail(words, cause.into_iter().chain([at]).map(|m| m.seq).collect())
        }
        _ if handled.is_none() => {
            let (words, cause) = missing(plan, &ledger)
                .unwrap_or_else(|| ("it consumes the queue, and handled no message".into(), None));
            let evidence = cause.into_iter().map(|m| m.seq).collect();
            Decision { evidence, ..Decision::unknown(words) }
        }
        Some((at, SubjectEnd::Overran)) => {
            let bound = humantime::format_duration(plan.scenario.expect.stops_within);
            let asked = ledger.stop_requested.into_iter().chain([at]);
            let evidence = asked.map(|m| m.seq).collect();
            Decision::fail(
                format!(
                    "it did not stop: {bound} after SIGTERM it was still there, and was killed"
                ),
                evidence,
            )
        }
        _ if !history.complete() => {
            Decision::unknown("the history stops before the end of the run")
        }
        _ => Decision::pass(passed(history, &ledger, handled)),
    }
}

/// What it lacked on the way to its first message, and the event that shows it. Nothing where it consumes the queue.
fn missing(plan: &Plan, l: &Ledger) -> Option<(String, Option<Mark>)> {
    if let Some((at, why)) = trouble(l, &plan.queue) {
        return Some((why, Some(at)));
    }
    let accepted = l.connections.values().filter_map(|c| c.accepted).min();
    let opened = l.connections.values().filter_map(|c| c.opened).min();
    let consumes = l.epochs.iter().flat_map(|e| &e.consumers).any(|c| c.ok.is_some());
    match (accepted, opened) {
        _ if consumes || l.delivered > 0 => None,
        (None, _) => Some(("it never connected to the broker".into(), None)),
        (at, None) => Some(("it connected, and opened no AMQP connection".into(), at)),
        (_, at) => Some(("it connected, and never asked for messages".into(), at)),
    }
}

/// What the broker first refused a subject that does not consume the queue, or what it consumes in its place. Nothing
/// of one that consumes it, or was delivered anything.
pub fn trouble(l: &Ledger, queue: &str) -> Option<(Mark, String)> {
    let consumers = || l.epochs.iter().flat_map(|e| &e.consumers);
    // An empty name is the queue declared last on the channel.
    let ours = |asked: &str| asked.is_empty() || asked == queue;
    if l.delivered > 0 || consumers().any(|c| ours(&c.queue) && c.ok.is_some()) {
        return None;
    }
    let refused = l.connections.values().filter_map(|c| match &c.close {
        Some((End::Broker, code, text, at)) if *code >= 300 => {
            Some((*at, format!("the broker refused its connection: {code} {text}")))
        }
        _ => None,
    });
    let closed = l.epochs.iter().filter_map(|e| {
        let (code, text, at) = e.refused.as_ref()?;
        Some((*at, format!("the broker closed its channel: {code} {text}")))
    });
    let elsewhere = consumers().filter(|c| !ours(&c.queue)).filter_map(|c| {
        Some((c.ok?, format!("it consumes the queue `{}`, and not `{queue}`", c.queue)))
    });
    refused.chain(closed).chain(elsewhere).min_by_key(|(at, _)| *at)
}

/// The end of the first successful handling; an ack, where none is reported.
fn first_handled(l: &Ledger) -> Option<Mark> {
    match l.reports {
        true => l.messages.values().filter_map(|m| m.handled()).min(),
        false if l.done() == 0 => None,
        false => {
            let settled = l.epochs.iter().flat_map(|e| &e.settlements).map(|s| s.at_client);
            let got = l.epochs.iter().flat_map(|e| e.deliveries.values());
            settled.chain(got.filter_map(|d| d.at_client)).min()
        }
    }
}

fn in_words(how: &SubjectEnd) -> String {
    match how {
        SubjectEnd::Clean => "exit code 0".into(),
        SubjectEnd::Failed(why) | SubjectEnd::Panicked(why) | SubjectEnd::Terminated(why) => {
            why.clone()
        }
        SubjectEnd::Overran => "it was killed".into(),
    }
}

fn passed(history: &History, l: &Ledger, handled: Option<Mark>) -> String {
    let began = history.events().iter().find_map(|e| match &e.what {
        What::SubjectStarted { .. } => Some(e.ns),
        _ => None,
    });
    let after = |mark: Option<Mark>, from: Option<u64>| {
        let ns = mark.map_or(0, |m| m.ns).saturating_sub(from.unwrap_or(0));
        format!("{} ms", ns / 1_000_000)
    };
    format!(
        "connected after {}, handled a message after {}, stopped in {}",
        after(l.connections.values().filter_map(|c| c.accepted).min(), began),
        after(handled, began),
        after(l.subject_ended, l.stop_requested.map(|m| m.ns))
    )
}

#[cfg(test)]
mod tests {
    use gauntlet_amqp::Args;
    use gauntlet_faults::Direction;

    use super::*;
    use crate::checkers::testing::HistoryBuilder;

    #[track_caller]
    fn check(tale: &mut HistoryBuilder, verdict: Verdict, words: &str) {
        let (plan, history) = tale.told();
        let judged = judge(&plan, &history);
        let said = &judged.findings[0].summary;
        assert_eq!(judged.verdict, verdict, "{said}");
        assert!(said.contains(words), "no `{words}` in: {said}");
    }

    fn ends(how: SubjectEnd) -> What {
        What::SubjectEnded { how }
    }

    #[test]
    fn the_cause_is_named_and_nothing_that_follows_from_it() {
        check(&mut HistoryBuilder::new(), Verdict::Unknown, "it never connected");
        check(HistoryBuilder::new().connect(1, 10), Verdict::Unknown, "never asked for messages");
        check(
            HistoryBuilder::new().connect(1, 10).consume(1, 1, 8),
            Verdict::Unknown,
            "handled no message",
        );
        let mut tale = HistoryBuilder::new();
        let consume = Args::Consume {
            queue: "orders".into(),
            consumer_tag: "c".into(),
            no_ack: false,
            exclusive: false,
        };
        tale.connect(1, 10).passes(1, Direction::ToBroker, 1, "channel.open", Args::None);
        tale.passes(1, Direction::ToBroker, 1, "basic.consume", consume);
        let ok = Args::ConsumeOk { consumer_tag: "c".into() };
        tale.passes(1, Direction::ToClient, 1, "basic.consume-ok", ok);
        check(&mut tale, Verdict::Unknown, "it consumes the queue `orders`, and not `work`");
        let mut tale = HistoryBuilder::new();
        let text = "PRECONDITION_FAILED - inequivalent arg";
        let refused = Args::Close { code: 406, text: text.into(), class: 50, method: 10 };
        tale.connect(1, 10).passes(1, Direction::ToBroker, 1, "channel.open", Args::None);
        tale.passes(1, Direction::ToClient, 1, "channel.close", refused);
        tale.what(ends(SubjectEnd::Failed("exit code 1".into())));
        check(&mut tale, Verdict::Fail, &format!("406 {text}; then it ended: exit code 1"));
    }

    #[test]
    fn it_must_stay_until_it_is_asked_to_stop_and_stop_then() {
        let failed = || ends(SubjectEnd::Failed("exit code 3".into()));
        check(
            HistoryBuilder::new().what(failed()),
            Verdict::Fail,
            "it ended before it connected: exit code 3",
        );
        let mut tale = HistoryBuilder::new();
        tale.connect(1, 10).consume(1, 1, 8).served(1, 1, 1, 0).what(ends(SubjectEnd::Clean));
        check(&mut tale, Verdict::Fail, "without being asked to: exit code 0");
        let mut tale = HistoryBuilder::new();
        tale.connect(1, 10).consume(1, 1, 8).served(1, 1, 1, 0).what(What::StopRequested);
        tale.at(9000.0).what(ends(SubjectEnd::Overran));
        check(&mut tale, Verdict::Fail, "it did not stop");
        let mut tale = HistoryBuilder::new();
        tale.connect(1, 10).consume(1, 1, 8).served(1, 1, 1, 0).what(What::StopRequested);
        // How well it stops is for the scenarios to say.
        tale.what(failed());
        check(&mut tale, Verdict::Pass, "handled a message");
    }
}
