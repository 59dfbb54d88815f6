//! I17, broker-side leak: fails when settled connections, channels or consumers differ from the baseline.
//!
//! Compares what the broker says it holds with steady state, and what the link sees the subject
//! hold open. A connection the subject let go of and the broker does not yet know to be dead is the
//! network's doing, and no leak. Fewer than before is a consumer or a channel that did not come back.

use gauntlet_faults::{Direction, Fault};

use super::half_open::holes;
use super::turns::{Kept, Timed};
use super::{Case, Checker, Decision};
use crate::history::ledger::{Connection, Mark};
use crate::history::{Event, Moment, Phase, What};
use crate::verdict::Outcome;

/// The entry in the catalogue.
pub const CHECKER: Checker = Checker {
    id: "I17",
    name: "broker-side leak",
    fails_when: "settled connections, channels or consumers differ from the baseline",
    decide,
};

/// How long before a figure the machine must have had time for it to settle.
const SETTLES: u64 = 3_000_000_000;

/// What the broker held at one point of the run.
struct Held {
    at: Mark,
    moment: Moment,
    connections: u32,
    channels: u32,
    consumers: u32,
}

impl Held {
    fn words(&self) -> String {
        format!(
            "{} connections, {} channels, {} consumers",
            self.connections, self.channels, self.consumers
        )
    }

    fn over(&self, base: &Held) -> bool {
        self.connections > base.connections
            || self.channels > base.channels
            || self.consumers > base.consumers
    }
}

fn decide(case: &Case<'_>) -> Decision {
    let held = held(case);
    let find = |m: Moment| held.iter().find(|h| h.moment == m);
    let later: Vec<&Held> = held
        .iter()
        .filter(|h| matches!(h.moment, Moment::Recovered(_) | Moment::Drained))
        .collect();
    let mut judged = Vec::new();
    if let Some(base) = find(Moment::Steady) {
        judged.extend(later.iter().map(|h| compare(case, base, h)));
        judged.extend(wire(case, base.at, &later));
    } else if let Some(begun) =
        case.history.events().iter().find(|e| phase_of(e) == Some(Phase::Faults))
    {
        judged.extend(wire(case, Mark::from(begun), &later));
    }
    judged.extend(find(Moment::After).map(|h| after(case, h)));
    if let Some(fail) = judged.iter().position(|d| d.outcome == Outcome::Fail) {
        let fail = judged.swap_remove(fail);
        // Before the figure was taken there was time for it to settle, unless the machine was busy.
        let at = fail.evidence.last().and_then(|seq| case.history.get(*seq)).map_or(0, |e| e.ns);
        return match Timed::mostly(case, at.saturating_sub(SETTLES), at) {
            Timed { kept: Kept::Late, .. } => fail,
            timed => timed.decision(fail.summary, Vec::new()),
        };
    }
    if !case.history.complete() {
        return Decision::unknown("the history stops before the end of the run");
    }
    if !case.ledger.connections.values().any(|c| c.opened.is_some()) {
        return Decision::not_applicable("the subject never had an open connection");
    }
    let reached = |phase| case.history.events().iter().any(|e| phase_of(e) == Some(phase));
    for (missing, what) in [
        (find(Moment::Steady).is_none() && reached(Phase::Steady), "in steady state"),
        (later.is_empty() && reached(Phase::Drain), "after the faults"),
        (find(Moment::After).is_none(), "after the subject ended"),
    ] {
        if missing {
            return Decision::unknown(format!("nobody asked the broker what it holds {what}"));
        }
    }
    match judged.iter().position(|d| d.outcome == Outcome::Unknown) {
        Some(unsure) => judged.swap_remove(unsure),
        None => Decision::pass(match find(Moment::Steady) {
            Some(steady) => format!(
                "the broker held {} in steady state, the same at {} points after faults, and nothing after the end",
                steady.words(),
                later.len()
            ),
            None => {
                "the broker held nothing after the end; there was no steady state to compare with"
                    .to_owned()
            }
        }),
    }
}

/// What the broker held, in order of time; the last answer of each moment, by then it has settled.
fn held(case: &Case<'_>) -> Vec<Held> {
    let mut held: Vec<Held> = Vec::new();
    for event in case.history.events() {
        if let What::BrokerHolds { connections, channels, consumers, at: moment, .. } = event.what {
            held.retain(|h| h.moment != moment);
            held.push(Held { at: Mark::from(event), moment, connections, channels, consumers });
        }
    }
    held
}

fn compare(case: &Case<'_>, base: &Held, later: &Held) -> Decision {
    let when = match later.moment {
        Moment::Recovered(n) => format!("after recovery {n}"),
        _ => "after everything was handled".into(),
    };
    let said = format!(
        "{when} the broker holds {}; in steady state it held {}",
        later.words(),
        base.words()
    );
    let excused = excused(case, later.at);
    if later.over(base) && later.connections > base.connections + excused {
        let open = open(case, later.at).into_iter().map(|(_, at)| at.seq);
        return Decision::fail(
            said,
            [base.at.seq].into_iter().chain(open).take(11).chain([later.at.seq]).collect(),
        );
    }
    match (later.over(base), excused) {
        (true, 0) => Decision::fail(said, vec![base.at.seq, later.at.seq]),
        (true, _) => Decision::unknown(format!(
            "{said}, but it cannot know yet that {excused} of them are dead"
        )),
        // The broker was asked until its figures settled: what is missing now stays missing.
        _ if base.over(later) => Decision::fail(said, vec![base.at.seq, later.at.seq]),
        _ => Decision::pass(said),
    }
}

fn after(case: &Case<'_>, held: &Held) -> Decision {
    let excused = excused(case, held.at);
    let said = format!("after the subject ended the broker holds {}", held.words());
    match held.connections {
        0 => Decision::pass(said),
        n if n <= excused => {
            Decision::unknown(format!("{said}, but it cannot know yet that they are dead"))
        }
        _ => {
            let end = case.ledger.subject_ended.map(|m| m.seq);
            Decision::fail(said, end.into_iter().chain([held.at.seq]).collect())
        }
    }
}

/// More connections held open by the subject than in steady state, seen at its end of the wire.
fn wire(case: &Case<'_>, steady: Mark, later: &[&Held]) -> Vec<Decision> {
    let base = open(case, steady).len().max(1);
    let moments = later.iter().map(|h| h.at).chain(case.ledger.stop_requested);
    let judge = |at: Mark| {
        let open = open(case, at);
        // What is younger than the newest usable connection is still being made.
        let newest = open.iter().filter(|(c, _)| usable(c, at)).map(|(_, m)| *m).max()?;
        let held: Vec<Mark> = open.iter().map(|(_, m)| *m).filter(|m| *m <= newest).collect();
        let said = format!(
            "{} ms into the run the subject holds {} connections open; {base} in steady state",
            at.ns / 1_000_000,
            held.len()
        );
        let surplus = held.len().saturating_sub(base);
        if surplus == 0 {
            return None;
        }
        if surplus <= half_open(case, at) {
            return Some(Decision::unknown(format!(
                "{said}, but it need not have noticed yet that one is dead"
            )));
        }
        Some(Decision::fail(said, held.iter().take(11).map(|m| m.seq).chain([at.seq]).collect()))
    };
    moments.filter_map(judge).collect()
}

/// The connections known to be open at the subject's end at this time, with when they were accepted.
fn open<'a>(case: &Case<'a>, at: Mark) -> Vec<(&'a Connection, Mark)> {
    let read = case.ledger.connections.iter().filter(|(conn, _)| !unread(case, **conn, at));
    let accepted = read.filter_map(|(_, c)| Some((c, c.accepted?)));
    let mut open: Vec<_> =
        accepted.filter(|(c, m)| *m <= at && c.client_over.is_none_or(|over| over > at)).collect();
    open.sort_by_key(|(_, m)| *m);
    open
}

fn usable(connection: &Connection, at: Mark) -> bool {
    connection.opened.is_some_and(|m| m <= at)
}

/// Connections the broker may hold through no fault of the subject.
fn excused(case: &Case<'_>, at: Mark) -> u32 {
    let unknowing = case.ledger.connections.iter().filter(|(conn, c)| {
        let left = c.client_over.is_some_and(|m| m <= at) || unread(case, **conn, at);
        left && c.broker_over.is_none_or(|m| m > at)
    });
    unknowing.count() as u32 + half_open(case, at) as u32
}

/// Whether the link does not read from the subject now, and so cannot know that it let go.
fn unread(case: &Case<'_>, conn: u64, at: Mark) -> bool {
    case.ledger.steps.iter().any(|(i, step)| {
        let blind = match case.plan.steps.get(*i).and_then(|s| s.fault.as_ref()) {
            Some(Fault::Stall { way }) => *way != Some(Direction::ToClient),
            Some(Fault::Ignore) => true,
            _ => false,
        };
        let hit = step.hit.get(&conn).is_some_and(|m| *m <= at);
        blind && hit && step.lifted.is_none_or(|m| m > at)
    })
}

/// Blackholed connections that the subject need not have noticed by now.
fn half_open(case: &Case<'_>, at: Mark) -> usize {
    let excuses = |hole: &super::half_open::Hole| {
        case.ledger
            .connections
            .get(&hole.conn)
            .is_some_and(|c| c.client_over.is_none_or(|m| m > at) && hole.excuses(case, c, at))
    };
    holes(case).iter().filter(|h| excuses(h)).count()
}

fn phase_of(event: &Event) -> Option<Phase> {
    match event.what {
        What::Phase { phase } => Some(phase),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use gauntlet_faults::End;

    use super::super::fired::aid::{cited, steps, unfinished};
    use super::super::testing::HistoryBuilder;
    use super::*;
    use crate::history::Ending;
    use crate::verdict::Outcome::{Fail, NotApplicable, Pass, Unknown};

    fn holds(
        tale: &mut HistoryBuilder,
        at: Moment,
        (connections, channels, consumers): (u32, u32, u32),
    ) {
        tale.what(What::BrokerHolds { connections, channels, consumers, unacked: None, at });
    }

    /// Steady on connection 1, which is reset; then `recovered`, told by the broker, on connection 2.
    fn run(recovered: (u32, u32, u32), after: u32) -> HistoryBuilder {
        let mut tale = HistoryBuilder::new();
        tale.connect(1, 10).consume(1, 1, 8);
        holds(&mut tale, Moment::Steady, (1, 2, 2));
        tale.at(100.0).rst(1).at(200.0).connect(2, 10).consume(2, 1, 8);
        holds(&mut tale, Moment::Recovered(1), recovered);
        holds(&mut tale, Moment::Drained, (1, 2, 2));
        tale.stops(2);
        holds(&mut tale, Moment::After, (after, 0, 0));
        tale
    }

    #[test]
    fn the_same_as_in_steady_state_passes_and_one_more_or_less_of_anything_fails() {
        run((1, 2, 2), 0).expect(&CHECKER, Pass);
        for more in [(2, 2, 2), (1, 3, 2), (1, 2, 3)] {
            let mut tale = run(more, 0);
            let decision = tale.expect(&CHECKER, Fail);
            let (a, b, c) = more;
            assert_eq!(
                decision.summary,
                format!(
                    "after recovery 1 the broker holds {a} connections, {b} channels, {c} consumers; \
                         in steady state it held 1 connections, 2 channels, 2 consumers"
                )
            );
            let cited = cited(&mut tale, &decision);
            assert!(
                cited[0].ends_with("(steady)")
                    && cited.last().is_some_and(|l| l.ends_with("(recovery 1)")),
                "{cited:?}"
            );
        }
        run((1, 1, 1), 0).expect(&CHECKER, Fail);
    }

    #[test]
    fn only_the_settled_answer_counts() {
        let mut tale = run((9, 9, 9), 0);
        holds(&mut tale, Moment::Recovered(1), (1, 2, 2));
        tale.expect(&CHECKER, Pass);
    }

    #[test]
    fn held_after_the_end_fails() {
        let mut tale = run((1, 2, 2), 1);
        let decision = tale.expect(&CHECKER, Fail);
        assert_eq!(
            decision.summary,
            "after the subject ended the broker holds 1 connections, 0 channels, 0 consumers"
        );
        assert_eq!(cited(&mut tale, &decision)[0], "- subject ended");
    }

    #[test]
    fn what_the_broker_cannot_know_to_be_dead_is_no_leak() {
        for (told, expect) in [(false, Unknown), (true, Fail)] {
            let mut tale = HistoryBuilder::new();
            tale.connect(1, 10);
            holds(&mut tale, Moment::Steady, (1, 1, 1));
            tale.what(What::Ended { conn: 1, end: End::Client, how: Ending::Rst }).connect(2, 10);
            if told {
                tale.what(What::Cut { conn: 1, end: End::Broker, how: Ending::Rst });
            }
            holds(&mut tale, Moment::Drained, (2, 2, 2));
            tale.stops(2);
            holds(&mut tale, Moment::After, (0, 0, 0));
            tale.expect(&CHECKER, expect);
        }
    }

    #[test]
    fn an_old_connection_still_open_beside_the_one_in_use_is_seen_on_the_wire() {
        let mut tale = HistoryBuilder::new();
        tale.connect(1, 10)
            .phase(Phase::Faults)
            .at(500.0)
            .connect(2, 10)
            .at(900.0)
            .what(What::StopRequested);
        let decision = tale.expect(&CHECKER, Fail);
        assert_eq!(
            decision.summary,
            "900 ms into the run the subject holds 2 connections open; 1 in steady state"
        );
        assert_eq!(
            cited(&mut tale, &decision),
            ["- link c1 accepted", "- link c2 accepted", "- run asks the subject to stop"]
        );
        // Two from the start are its way of working; one being made is none held.
        HistoryBuilder::new()
            .connect(1, 10)
            .connect(2, 10)
            .phase(Phase::Faults)
            .what(What::StopRequested)
            .expect(&CHECKER, Unknown);
        let mut making = HistoryBuilder::new();
        making
            .connect(1, 10)
            .phase(Phase::Faults)
            .what(What::Accepted { conn: 2 })
            .what(What::StopRequested);
        making.expect(&CHECKER, Unknown);
    }

    #[test]
    fn a_blackholed_connection_may_be_held_until_its_bound() {
        for (ms, expect) in [(6000.0, Unknown), (7000.0, Fail)] {
            let mut tale = HistoryBuilder::new();
            steps(&mut tale, "[[step]]\nwhen = \"idle\"\nfault = { kind = \"blackhole\" }\n");
            tale.scenario.subject.heartbeat = 2;
            tale.connect(1, 2);
            holds(&mut tale, Moment::Steady, (1, 1, 1));
            tale.at(100.0).what(What::Fired { step: 0, conn: Some(1), note: "blackhole".into() });
            tale.at(200.0).connect(2, 2).at(ms);
            holds(&mut tale, Moment::Drained, (2, 2, 2));
            tale.at(8000.0).rst(1).stops(2);
            holds(&mut tale, Moment::After, (0, 0, 0));
            tale.expect(&CHECKER, expect);
        }
    }

    #[test]
    fn what_the_link_does_not_read_may_have_been_let_go() {
        for (fault, expect) in [("ignore", Unknown), ("refuse", Fail)] {
            let mut tale = HistoryBuilder::new();
            let fault = format!("fault = {{ kind = \"{fault}\" }}");
            steps(&mut tale, &format!("[[step]]\nwhen = \"idle\"\n{fault}\n"));
            tale.connect(1, 10);
            holds(&mut tale, Moment::Steady, (1, 1, 1));
            tale.rst(1).what(What::Accepted { conn: 2 });
            tale.what(What::Fired { step: 0, conn: Some(2), note: "accepted".into() });
            tale.at(500.0).connect(3, 10);
            holds(&mut tale, Moment::Drained, (1, 1, 1));
            tale.expect(&CHECKER, expect);
        }
    }

    #[test]
    fn not_asked_is_unknown() {
        HistoryBuilder::new().expect(&CHECKER, NotApplicable);
        for missing in [Moment::Steady, Moment::Drained, Moment::After] {
            let mut tale = HistoryBuilder::new();
            tale.phase(Phase::Steady).phase(Phase::Drain).connect(1, 10);
            for moment in [Moment::Steady, Moment::Drained, Moment::After] {
                let after = if moment == Moment::After { (0, 0, 0) } else { (1, 1, 1) };
                if moment != missing {
                    holds(&mut tale, moment, after);
                }
            }
            let said = tale.expect(&CHECKER, Unknown).summary;
            assert!(said.starts_with("nobody asked the broker"), "{said}");
        }
        assert_eq!(unfinished(&mut run((1, 2, 2), 0), &CHECKER).outcome, Unknown);
        assert_eq!(unfinished(&mut run((2, 2, 2), 0), &CHECKER).outcome, Fail);
    }
}
