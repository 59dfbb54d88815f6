//! Whose turn it was, and whether a bound was kept.
//!
//! At every moment somebody owes the next step: the subject, the broker, the network or the harness. A bound on the subject
//! counts the subject's turns only. The broker's and the network's turns are read off the wire: from a request at the
//! subject's end to its reply there, and from the accepting of a connection to its dialing. What is left may still be the
//! machine's doing: the subject, or the harness that reads what it says, waited for a CPU. Then nobody can tell.

use std::collections::BTreeMap;

use gauntlet_amqp::Args;
use gauntlet_faults::{Direction, End};

use super::proof::disturbed;
use super::{Case, Decision};
use crate::history::What;

/// What became of a bound on the subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    /// It was kept.
    InTime,
    /// It was not, and that may be the machine's doing.
    TooBusy,
    /// It was not.
    Late,
}

/// A time that is held to a bound, and what of it was not the subject's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Timed {
    /// Whether the bound was kept.
    pub(super) kept: Kept,
    /// Nanoseconds in all.
    pub(super) span: u64,
    /// Nanoseconds that were the broker's or the network's turn.
    pub(super) others: u64,
    /// Nanoseconds that somebody waited for a CPU.
    pub(super) waited: u64,
}

impl Timed {
    /// Holds all of a time to a bound: it was the subject's turn throughout.
    pub(super) fn of(case: &Case<'_>, from: u64, to: u64, bound: u64) -> Timed {
        Timed::without(case, (from, to), bound, &[])
    }

    /// Holds what of a time was the subject's turn to a bound.
    pub(super) fn own(case: &Case<'_>, from: u64, to: u64, bound: u64) -> Timed {
        // Only a time beyond the bound is worth the search.
        let others = if to.saturating_sub(from) > bound { others(case, from, to) } else { vec![] };
        Timed::without(case, (from, to), bound, &others)
    }

    fn without(case: &Case<'_>, (from, to): (u64, u64), bound: u64, left: &[(u64, u64)]) -> Timed {
        let span = to.saturating_sub(from);
        let others: u64 = left.iter().map(|(a, b)| b - a).sum();
        if span.saturating_sub(others) <= bound {
            return Timed { kept: Kept::InTime, span, others, waited: 0 };
        }
        let load = &case.ledger.load;
        let kept = match load.unexplained(from, to, left) > bound {
            true => Kept::Late,
            false => Kept::TooBusy,
        };
        Timed { kept, span, others, waited: load.waited(from, to) }
    }

    /// Holds nothing to a bound: something went wrong that running out of time would explain, when the machine was busy for
    /// at least half of the time before it.
    pub(super) fn mostly(case: &Case<'_>, from: u64, to: u64) -> Timed {
        let (span, waited) = (to.saturating_sub(from), case.ledger.load.waited(from, to));
        let kept = if 2 * waited >= span.max(1) { Kept::TooBusy } else { Kept::Late };
        Timed { kept, span, others: 0, waited }
    }

    /// The same for a subject that gave up with an error: a deadline of its own that passed while it waited for a CPU would
    /// explain that. None is shorter than a second.
    pub(super) fn gave_up(case: &Case<'_>, from: u64, to: u64) -> Timed {
        let timed = Timed::mostly(case, from, to);
        let kept = if timed.waited < SHORTEST_DEADLINE { Kept::Late } else { timed.kept };
        Timed { kept, ..timed }
    }

    /// What was not the subject's, in words that follow a time; nothing where all was.
    pub(super) fn breakdown(&self) -> String {
        let mut parts = Vec::new();
        if self.others >= WORTH_SAYING {
            parts.push(format!("{} the broker's or the network's turn", ms(self.others)));
        }
        if self.waited >= WORTH_SAYING {
            parts.push(format!("{} spent waiting for a CPU", ms(self.waited)));
        }
        match parts.is_empty() {
            true => String::new(),
            false => format!(" (of that, {})", parts.join(", ")),
        }
    }

    /// Holds a time to a least: attempts that came too soon. A busy link has the first of them on record late, and they seem
    /// closer than they were; what was waited within `before` of the first counts towards the time.
    pub(super) fn at_least(
        case: &Case<'_>,
        (from, to): (u64, u64),
        before: u64,
        least: u64,
    ) -> Timed {
        let span = to.saturating_sub(from);
        let waited = case.ledger.load.waited(from.saturating_sub(before), to);
        let kept = match (span < least, span + waited < least) {
            (false, _) => Kept::InTime,
            (true, true) => Kept::Late,
            (true, false) => Kept::TooBusy,
        };
        Timed { kept, span, others: 0, waited }
    }

    /// The same for a subject that was torn down because it did not end: it missed its bound, unless it could not help it.
    pub(super) fn torn_down(case: &Case<'_>, from: u64, to: u64, bound: u64) -> Timed {
        let timed = Timed::own(case, from, to, bound);
        let late = timed.kept == Kept::InTime && timed.others < WORTH_SAYING;
        Timed { kept: if late { Kept::Late } else { timed.kept }, ..timed }
    }

    /// Why nobody can tell.
    pub(super) fn busy(&self) -> String {
        format!("the machine was too busy: waited {} of {}", ms(self.waited), ms(self.span))
    }

    /// The decision where the bound was not kept: a failure with its evidence, or nobody can tell.
    pub(super) fn decision(&self, words: String, evidence: Vec<u64>) -> Decision {
        match self.kept {
            Kept::Late => Decision::fail(words, evidence),
            Kept::TooBusy => Decision::too_busy(format!("{words}, but {}", self.busy())),
            Kept::InTime => Decision::unknown(format!("{words}{}", self.breakdown())),
        }
    }
}

/// Consumers have no shorter deadlines than this, in nanoseconds: those of their libraries are 1 to 60 s.
const SHORTEST_DEADLINE: u64 = 1_000_000_000;

/// Less than so many nanoseconds is not worth a word.
const WORTH_SAYING: u64 = 1_000_000;

fn ms(ns: u64) -> String {
    format!("{:.0} ms", ns as f64 / 1e6)
}

/// The times between two moments that were the broker's or the network's turn, in order, none overlapping.
pub(super) fn others(case: &Case<'_>, from: u64, to: u64) -> Vec<(u64, u64)> {
    let mut turns = Turns::default();
    for event in case.history.events().iter().take_while(|e| e.ns <= to) {
        turns.note(event.ns, &event.what);
    }
    let mut spans = turns.over;
    let undisturbed = |at: u64, until: u64| until > at && !disturbed(case, at, until);
    for ((conn, _, reply), at) in turns.open {
        if reply == DIALED {
            continue;
        }
        let c = case.ledger.connections.get(&conn);
        let until = c.and_then(|c| c.client_over).map_or(to, |m| m.ns);
        // One that was never answered: the broker owes it, unless a fault kept it from answering.
        if undisturbed(at, until) {
            spans.push((at, until));
        }
    }
    spans.extend(waits_for_deliveries(case));
    merged(spans.into_iter().map(|(a, b)| (a.max(from), b.min(to))))
}

/// From a consume-ok to the first delivery.
fn waits_for_deliveries(case: &Case<'_>) -> Vec<(u64, u64)> {
    let mut spans = Vec::new();
    for epoch in &case.ledger.epochs {
        let Some(ok) = epoch.consumers.iter().filter_map(|c| c.ok).min() else { continue };
        let arrived = epoch.deliveries.values().filter_map(|d| d.at_client);
        spans.extend(arrived.min().filter(|first| *first > ok).map(|first| (ok.ns, first.ns)));
    }
    spans
}

fn merged(spans: impl Iterator<Item = (u64, u64)>) -> Vec<(u64, u64)> {
    let mut spans: Vec<(u64, u64)> = spans.filter(|(a, b)| a < b).collect();
    spans.sort_unstable();
    let mut merged: Vec<(u64, u64)> = Vec::new();
    for (a, b) in spans {
        match merged.last_mut() {
            Some(last) if a <= last.1 => last.1 = last.1.max(b),
            _ => merged.push((a, b)),
        }
    }
    merged
}

/// What the network owes to a connection that is accepted. No frame has this name.
const DIALED: &str = "dialed";

/// Requests, by connection, channel and the name of the reply.
#[derive(Default)]
struct Turns {
    open: BTreeMap<(u64, u16, String), u64>,
    over: Vec<(u64, u64)>,
}

impl Turns {
    fn note(&mut self, ns: u64, what: &What) {
        match what {
            What::Accepted { conn, .. } => _ = self.open.insert((*conn, 0, DIALED.into()), ns),
            What::Dialed { conn } | What::DialFailed { conn, .. } => {
                self.answered(ns, *conn, 0, DIALED);
            }
            What::Wire { conn, end: End::Client, way: Direction::ToBroker, frame } => {
                if let Some(reply) = reply_to(&frame.name) {
                    self.open.insert((*conn, frame.channel, reply), ns);
                }
            }
            What::Wire { conn, end: End::Client, way: Direction::ToClient, frame } => {
                let closes = matches!(frame.args, Args::Close { .. });
                let channel = frame.channel;
                let name: &str =
                    if &*frame.name == "basic.get-empty" { "basic.get-ok" } else { &frame.name };
                self.answered(ns, *conn, channel, name);
                if closes {
                    // Nothing that was asked before is answered any more.
                    let gone = |key: &(u64, u16, String)| {
                        key.0 == *conn && (channel == 0 || key.1 == channel)
                    };
                    self.open.retain(|key, _| !gone(key));
                }
            }
            _ => {}
        }
    }

    fn answered(&mut self, ns: u64, conn: u64, channel: u16, name: &str) {
        if let Some(at) = self.open.remove(&(conn, channel, name.to_owned())) {
            self.over.push((at, ns));
        }
    }
}

/// The reply that the broker owes, where it owes one (AMQP 0-9-1, the synchronous methods).
fn reply_to(name: &str) -> Option<String> {
    let reply = match name {
        "protocol-header" => "connection.start".to_owned(),
        "connection.start-ok" => "connection.tune".to_owned(),
        _ if name.ends_with("-ok") => return None,
        "basic.publish" | "basic.ack" | "basic.nack" | "basic.reject" | "header" | "body"
        | "heartbeat" => return None,
        _ => format!("{name}-ok"),
    };
    Some(reply)
}

#[cfg(test)]
mod tests {
    use super::super::Checker;
    use super::super::testing::HistoryBuilder;
    use super::*;
    use crate::history::Waiter;

    fn turns(tale: &mut HistoryBuilder) -> Vec<(u64, u64)> {
        let (plan, history) = tale.told();
        let ledger = crate::history::ledger::Ledger::of(history.events());
        let case = Case { plan: &plan, history: &history, ledger: &ledger };
        let ms = |ns: u64| ns / 1_000_000;
        let all = others(&case, 0, 10_000_000_000);
        all.into_iter().map(|(a, b)| (ms(a), ms(b))).filter(|(a, b)| a < b).collect()
    }

    fn cancel(tale: &mut HistoryBuilder) -> &mut HistoryBuilder {
        let args = Args::Cancel { consumer_tag: "c1".into() };
        tale.passes(1, Direction::ToBroker, 1, "basic.cancel", args)
    }

    #[test]
    fn from_a_request_to_its_reply_it_is_the_brokers_turn() {
        let mut tale = HistoryBuilder::new();
        tale.connect(1, 10).consume(1, 1, 8).served(1, 1, 1, 0).at(100.0);
        cancel(&mut tale).at(5800.0);
        tale.passes(1, Direction::ToClient, 1, "basic.cancel-ok", Args::None);
        assert_eq!(turns(&mut tale), [(100, 5800)]);
    }

    #[test]
    fn a_request_that_is_never_answered_is_the_brokers_unless_it_had_closed() {
        let mut tale = HistoryBuilder::new();
        tale.connect(1, 10).consume(1, 1, 8).served(1, 1, 1, 0).at(100.0);
        cancel(&mut tale).at(900.0).close(1);
        assert_eq!(turns(&mut tale), [(100, 900)]);
        let mut tale = HistoryBuilder::new();
        tale.connect(1, 10).consume(1, 1, 8).served(1, 1, 1, 0).at(100.0);
        cancel(&mut tale).at(200.0);
        let close = Args::Close { code: 406, text: "no".into(), class: 60, method: 80 };
        tale.passes(1, Direction::ToClient, 1, "channel.close", close).at(900.0).close(1);
        assert_eq!(turns(&mut tale), []);
    }

    #[test]
    fn a_connection_that_is_accepted_waits_for_the_network_and_a_consumer_for_its_first_message() {
        let mut tale = HistoryBuilder::new();
        tale.what(What::Accepted { conn: 1 }).at(300.0).what(What::Dialed { conn: 1 });
        assert_eq!(turns(&mut tale), [(0, 300)]);
        let mut tale = HistoryBuilder::new();
        tale.connect(1, 10).consume(1, 1, 8).at(400.0).served(1, 1, 1, 0).at(700.0).close(1);
        assert_eq!(turns(&mut tale), [(0, 400)]);
    }

    #[test]
    fn a_bound_is_kept_missed_or_nobody_can_tell() {
        fn decide(case: &Case<'_>) -> Decision {
            let timed = Timed::own(case, 0, 3_000_000_000, 1_000_000_000);
            Decision::pass(format!("{:?}{}", timed.kept, timed.breakdown()))
        }
        let checker = Checker { id: "I0", name: "any", fails_when: "never", decide };
        let said = |tale: &mut HistoryBuilder| tale.judge(&checker).summary;
        let mut tale = HistoryBuilder::new();
        tale.connect(1, 10).consume(1, 1, 8).served(1, 1, 1, 0).at(3000.0).close(1);
        assert_eq!(said(&mut tale), "Late");
        let mut tale = HistoryBuilder::new();
        tale.connect(1, 10).consume(1, 1, 8).served(1, 1, 1, 0).at(100.0);
        cancel(&mut tale).at(2800.0);
        tale.passes(1, Direction::ToClient, 1, "basic.cancel-ok", Args::None).at(3000.0).close(1);
        assert_eq!(said(&mut tale), "InTime (of that, 2700 ms the broker's or the network's turn)");
        let mut tale = HistoryBuilder::new();
        tale.at(2200.0).what(What::Starved {
            who: Waiter::Subject,
            over: 1_300_000_000,
            waited: 1_100_000_000,
        });
        assert_eq!(said(tale.at(3000.0)), "TooBusy (of that, 1100 ms spent waiting for a CPU)");
    }
}
