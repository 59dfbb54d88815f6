//! I16, half-open: fails when a blackhole is not noticed within the negotiated bound.
//!
//! Judges the connections a blackhole fired on: the subject must let go of them itself, in three
//! heartbeats and slack after the last byte it heard, or as soon as it promises. Where only the way to
//! the broker is cut, the subject is not judged before the broker has given up. A cable that is back before
//! that has nothing left to be noticed: a connection that is still held then simply goes on.

use std::time::Duration;

use gauntlet_faults::{Direction, End, Fault};

use super::heartbeat::{ms, slack};
use super::turns::{Kept, Timed};
use super::{Case, Checker, Decision};
use crate::history::ledger::{Connection, Mark};
use crate::history::{Event, What};
use crate::scenario::Trigger;

/// The entry in the catalogue.
pub const CHECKER: Checker = Checker {
    id: "I16",
    name: "half-open",
    fails_when: "a blackhole (both ways or one) is not noticed within the negotiated bound",
    decide,
};

/// A connection into which nothing passes any more, one way or both.
pub(super) struct Hole {
    step: usize,
    /// The connection.
    pub(super) conn: u64,
    fired: Mark,
    way: Option<Direction>,
    /// The connection was made in it.
    made_in_it: bool,
    /// When it was over for this connection, and what was sent meanwhile arrived. Never, where the flow is forgotten.
    healed: Option<Mark>,
}

/// The connections that blackholes fired on, in order of steps.
pub(super) fn holes(case: &Case<'_>) -> Vec<Hole> {
    let mut holes = Vec::new();
    for (step, planned) in case.plan.steps.iter().enumerate() {
        let Some(Fault::Blackhole { way, resume }) = planned.fault else { continue };
        let Some(played) = case.ledger.steps.get(&step) else { continue };
        let at_a_point = matches!(planned.when, Trigger::Frame { .. });
        holes.extend(played.hit.iter().map(|(conn, fired)| {
            // One that was made in the hole is asked for again and again, and completes when it is over.
            let accepted = case.ledger.connections.get(conn).and_then(|c| c.accepted);
            let made_in_it = !at_a_point && played.injected.is_some_and(|m| accepted > Some(m));
            let healed = played.lifted.filter(|_| resume || made_in_it);
            Hole { step, conn: *conn, fired: *fired, way, made_in_it, healed }
        }));
    }
    holes
}

impl Hole {
    /// From when on the subject hears nothing; `None` while it still hears the broker.
    fn deaf(&self, case: &Case<'_>, connection: &Connection) -> Option<Mark> {
        let told = match self.way {
            Some(Direction::ToBroker) => {
                let closing = connection.close.as_ref().map(|(_, _, _, at)| *at);
                Some([connection.broker_over, closing].into_iter().flatten().min()?)
            }
            _ => None,
        };
        let heard = match self.healed {
            // What it has heard since it heard because the hole was over.
            Some(healed) => self.heard_before(case, healed),
            None => connection.heard,
        };
        [Some(self.fired), heard, told].into_iter().flatten().max()
    }

    fn heard_before(&self, case: &Case<'_>, healed: Mark) -> Option<Mark> {
        let heard = |e: &&Event| matches!(&e.what, What::Wire { conn, end: End::Client, way: Direction::ToClient, .. } if *conn == self.conn);
        let before = case.history.events().iter().take_while(|e| Mark::from(*e) < healed);
        before.filter(heard).last().map(Mark::from)
    }

    /// How long after that it may take the subject to notice, in nanoseconds.
    fn bound(&self, case: &Case<'_>, connection: &Connection) -> u64 {
        match (connection.heartbeat, case.plan.promises.notices_within) {
            (Some(_), Some(promised)) => promised.as_nanos() as u64,
            // Nothing was negotiated yet: what is left is its deadline for connecting.
            (None, _) => case.plan.scenario.expect.recovers_within.as_nanos() as u64,
            (Some(0), None) => three_heartbeats(case.plan.scenario.subject.heartbeat),
            // Whoever settles on a longer heartbeat than it was told is held to what it was told.
            (Some(heartbeat), None) => {
                three_heartbeats(heartbeat.min(case.plan.scenario.subject.heartbeat))
            }
        }
    }

    /// Whether the subject may still not have noticed at this time.
    pub(super) fn excuses(&self, case: &Case<'_>, connection: &Connection, at: Mark) -> bool {
        let deaf = self.deaf(case, connection).map(|m| m.ns + self.bound(case, connection));
        self.fired <= at && deaf.is_none_or(|deadline| at.ns <= deadline)
    }
}

/// Within this a silent peer is noticed by the missing heartbeats, in nanoseconds.
pub(crate) fn three_heartbeats(heartbeat: u16) -> u64 {
    3_000_000_000 * u64::from(heartbeat) + slack(heartbeat)
}

enum Judged {
    Noticed {
        after: u64,
        bound: u64,
    },
    Missed(Decision),
    Unsure(Decision),
    Gone,
    /// Asked to stop before it had to notice.
    Stopped,
    /// Over before it had to be noticed.
    Healed,
}

fn decide(case: &Case<'_>) -> Decision {
    let planned = case.plan.steps.iter().any(|s| matches!(s.fault, Some(Fault::Blackhole { .. })));
    if !planned {
        return Decision::not_applicable("no blackhole was planned");
    }
    if !case.plan.promises.heartbeats || case.plan.scenario.subject.heartbeat == 0 {
        return Decision::not_applicable(
            "the subject does not promise heartbeats, which alone can notice a silent peer",
        );
    }
    let (mut noticed, mut stopped, mut healed) = (0, 0, 0);
    let (mut worst, mut unsure) = ((0, 0), None);
    for hole in holes(case) {
        match judge(case, &hole) {
            Judged::Missed(decision) => return decision,
            Judged::Unsure(why) => unsure = Some(why),
            Judged::Noticed { after, bound } => {
                noticed += 1;
                worst = worst.max((after, bound));
            }
            Judged::Gone => {}
            Judged::Stopped => stopped += 1,
            Judged::Healed => healed += 1,
        }
    }
    match unsure {
        _ if !case.history.complete() => {
            Decision::unknown("the history stops before the end of the run")
        }
        Some(unsure) => unsure,
        None if noticed == 0 && stopped > 0 => Decision::not_applicable(format!(
            "the subject was asked to stop before it had to notice {stopped} half-open connections"
        )),
        None if noticed == 0 && healed > 0 => Decision::not_applicable(format!(
            "the blackhole was over before the subject had to notice {healed} half-open connections"
        )),
        None if noticed == 0 => Decision::unknown("no blackhole fired on a connection in use"),
        None => Decision::pass(format!(
            "{noticed} half-open connections noticed, the slowest after {} of {} allowed",
            ms(worst.0),
            ms(worst.1)
        )),
    }
}

fn judge(case: &Case<'_>, hole: &Hole) -> Judged {
    let name = format!("connection {} (step {})", hole.conn, hole.step + 1);
    let Some(connection) = case.ledger.connections.get(&hole.conn) else {
        return unsure(format!("{name} is not in the history"));
    };
    if connection.client_over.is_some_and(|m| m < hole.fired) {
        return Judged::Gone;
    }
    let Some(deaf) = hole.deaf(case, connection) else {
        return unsure(format!(
            "{name}: only the way to the broker was cut, and the broker did not give up"
        ));
    };
    let bound = hole.bound(case, connection);
    let deadline = deaf.ns + bound;
    let before = |m: Option<Mark>| m.filter(|m| m.ns <= deadline);
    // The link passes on the end of a broker that gave up; otherwise only the subject's own counts.
    let left = match hole.way {
        Some(Direction::ToBroker) => connection.client_left.or(connection.client_over),
        _ => connection.client_left,
    };
    // One that was not yet open had negotiated nothing: it may wait for its answer until it comes.
    let open = !hole.made_in_it && connection.heartbeat.is_some();
    let in_time = |at: &Mark| at.ns <= deadline || !open;
    if hole.healed.filter(in_time).is_some_and(|at| left.is_none_or(|l| l > at)) {
        return Judged::Healed;
    }
    if let Some(left) = before(left) {
        return match case.ledger.stop_requested.filter(|stop| *stop < left) {
            Some(_) => Judged::Stopped,
            None => Judged::Noticed { after: left.ns.saturating_sub(deaf.ns), bound },
        };
    }
    if before(connection.client_over).is_some() && hole.way != Some(Direction::ToBroker) {
        return unsure(format!("{name}: the link closed it within the bound of {}", ms(bound)));
    }
    let last = case.history.events().last().map(Mark::from);
    let over = [case.ledger.subject_ended, last].into_iter().flatten().min();
    if let Some(over) = before(over) {
        return unsure(format!(
            "{name}: the run ended {} after the last byte, before the bound of {}",
            ms(over.ns.saturating_sub(deaf.ns)),
            ms(bound)
        ));
    }
    let held = Held { deaf, end: left.or(over), bound, left: left.is_some() };
    let missed = missed(&name, hole, connection, &held, case.plan.promises.notices_within);
    let timed = Timed::of(case, deaf.ns, held.end.map_or(deadline + 1, |m| m.ns), bound);
    match timed.kept {
        Kept::TooBusy => Judged::Unsure(timed.decision(missed.summary, Vec::new())),
        _ => Judged::Missed(missed),
    }
}

fn unsure(why: String) -> Judged {
    Judged::Unsure(Decision::unknown(why))
}

/// A connection kept for too long: since when, until when, and whether it was left then.
struct Held {
    deaf: Mark,
    end: Option<Mark>,
    bound: u64,
    left: bool,
}

fn missed(
    name: &str,
    hole: &Hole,
    c: &Connection,
    held: &Held,
    promised: Option<Duration>,
) -> Decision {
    let Held { deaf, end, bound, left } = *held;
    let held = end.map_or(bound, |m| m.ns.saturating_sub(deaf.ns));
    let until = if left { "and left only then" } else { "and never left it" };
    let summary = format!(
        "the subject held {name} for {} after the last byte it heard, {until}; {} allowed ({})",
        ms(held),
        ms(bound),
        match promised {
            Some(_) => "as it promises",
            None => "three heartbeats, and slack",
        }
    );
    let mut evidence: Vec<Mark> =
        [Some(hole.fired), c.heard, Some(deaf), end].into_iter().flatten().collect();
    evidence.sort();
    evidence.dedup();
    Decision::fail(summary, evidence.into_iter().map(|m| m.seq).collect())
}

#[cfg(test)]
mod tests {
    use gauntlet_amqp::Args;

    use super::super::fired::aid::{cited, steps, unfinished};
    use super::super::testing::HistoryBuilder;
    use super::*;
    use crate::history::{Ending, SubjectEnd};
    use crate::verdict::Outcome::{Fail, NotApplicable, Pass, Unknown};

    /// H = 2 s: 6000 ms and 500 ms of slack. The blackhole fires at 1000 ms.
    fn hole(fault: &str) -> HistoryBuilder {
        let mut tale = HistoryBuilder::new();
        tale.scenario.subject.heartbeat = 2;
        steps(
            &mut tale,
            &format!("[[step]]\nwhen = \"idle\"\nfault = {{ kind = \"blackhole\"{fault} }}\n"),
        );
        tale.connect(1, 2).at(1000.0);
        tale.what(What::Fired { step: 0, conn: Some(1), note: "blackhole".into() });
        tale
    }

    fn leaves(tale: &mut HistoryBuilder, ms: f64) -> &mut HistoryBuilder {
        tale.at(ms).what(What::Ended { conn: 1, end: End::Client, how: Ending::Fin });
        tale.what(What::Closed { conn: 1 }).at(60_000.0)
    }

    #[test]
    fn both_sides_of_the_bound() {
        leaves(&mut hole(""), 7500.0).expect(&CHECKER, Pass);
        let mut tale = hole("");
        let decision = leaves(&mut tale, 7501.0).expect(&CHECKER, Fail);
        assert_eq!(
            decision.summary,
            "the subject held connection 1 (step 1) for 6501 ms after the last byte it heard, and left only then; \
             6500 ms allowed (three heartbeats, and slack)"
        );
        let cited = cited(&mut tale, &decision);
        assert_eq!(
            cited[1..],
            ["- fault c1 step 1 fired: blackhole", "- link c1 the subject closed: FIN"]
        );
        assert!(cited[0].starts_with("< subject c1 ch0 connection.open-ok"), "{cited:?}");
    }

    #[test]
    fn what_it_promises_is_its_bound() {
        let promises =
            |tale: &mut HistoryBuilder| tale.promises.notices_within = Some(Duration::from_secs(8));
        let mut tale = hole("");
        promises(&mut tale);
        leaves(&mut tale, 9000.0).expect(&CHECKER, Pass);
        let mut tale = hole("");
        promises(&mut tale);
        let decision = leaves(&mut tale, 9001.0).expect(&CHECKER, Fail);
        assert!(decision.summary.ends_with("8000 ms allowed (as it promises)"));
    }

    #[test]
    fn what_it_heard_after_the_fault_moves_the_bound() {
        let mut tale = hole(", way = \"to_client\"");
        tale.at(2000.0).frame(1, End::Client, Direction::ToClient, 0, "heartbeat", Args::None);
        leaves(&mut tale, 8499.0).expect(&CHECKER, Pass);
        leaves(&mut hole(", way = \"to_client\""), 8499.0).expect(&CHECKER, Fail);
    }

    #[test]
    fn never_left_fails_when_the_run_went_on_long_enough() {
        let decision = hole("").at(60_000.0).expect(&CHECKER, Fail);
        assert!(decision.summary.contains("and never left it"), "{}", decision.summary);
        let said = hole("").at(5000.0).expect(&CHECKER, Unknown).summary;
        assert_eq!(
            said,
            "connection 1 (step 1): the run ended 4000 ms after the last byte, before the bound of 6500 ms"
        );
        let mut tale = hole("");
        tale.at(5000.0).what(What::SubjectEnded { how: SubjectEnd::Clean }).at(60_000.0);
        tale.expect(&CHECKER, Unknown);
    }

    #[test]
    fn to_the_broker_only_waits_for_the_broker() {
        let one_way = ", way = \"to_broker\"";
        hole(one_way).at(60_000.0).expect(&CHECKER, Unknown);
        for (ms, expect) in [(26_500.0, Pass), (26_502.0, Fail)] {
            let mut tale = hole(one_way);
            tale.at(20_000.0).what(What::Ended { conn: 1, end: End::Broker, how: Ending::Rst });
            leaves(&mut tale, ms).expect(&CHECKER, expect);
        }
    }

    #[test]
    fn before_tune_the_bound_is_the_recovery_bound() {
        for (ms, expect) in [(3000.0, Pass), (3001.0, Fail)] {
            let mut tale = hole("");
            tale.what(What::Accepted { conn: 2 });
            tale.at(1000.0).what(What::Fired { step: 0, conn: Some(2), note: "blackhole".into() });
            leaves(&mut tale, 2000.0);
            tale.at(ms).what(What::Ended { conn: 2, end: End::Client, how: Ending::Fin });
            tale.at(60_000.0).expect(&CHECKER, expect);
        }
    }

    #[test]
    fn not_noticed_by_itself_is_unknown() {
        // One that is asked to stop before it had to notice has nothing to show.
        let mut tale = hole("");
        leaves(tale.at(2000.0).what(What::StopRequested), 3000.0).expect(&CHECKER, NotApplicable);
        hole("").at(2000.0).rst(1).at(60_000.0).expect(&CHECKER, Unknown);
        let forgotten = &mut hole(", resume = false");
        forgotten.at(2000.0).what(What::Lifted { step: 0 }).at(60_000.0).expect(&CHECKER, Fail);
    }

    /// The bytes it hears once the cable is back say nothing of what it noticed.
    #[test]
    fn a_cable_that_is_back_before_the_bound_need_not_be_noticed_and_after_it_must_have_been() {
        for (back, expect) in [(7500.0, NotApplicable), (7501.0, Fail)] {
            let mut tale = hole("");
            tale.at(back).what(What::Lifted { step: 0 });
            tale.at(back + 1.0).frame(
                1,
                End::Client,
                Direction::ToClient,
                0,
                "heartbeat",
                Args::None,
            );
            tale.at(60_000.0).expect(&CHECKER, expect);
        }
        // Left after that, for whatever reason, is left too late.
        let mut tale = hole("");
        tale.at(8000.0).what(What::Lifted { step: 0 });
        leaves(&mut tale, 8500.0).expect(&CHECKER, Fail);
        // Noticed, with the cable still pulled.
        let mut tale = hole("");
        tale.at(7000.0).what(What::Ended { conn: 1, end: End::Client, how: Ending::Fin });
        tale.at(9000.0).what(What::Lifted { step: 0 }).at(60_000.0).expect(&CHECKER, Pass);
    }

    #[test]
    fn one_that_is_made_in_the_hole_may_wait_until_it_is_over() {
        for resume in ["", ", resume = false"] {
            let mut tale = hole(resume);
            tale.what(What::Injected { step: 0, fault: "blackhole".into() });
            tale.at(1100.0).what(What::Accepted { conn: 2 });
            tale.what(What::Fired { step: 0, conn: Some(2), note: "blackhole".into() });
            tale.at(7000.0).what(What::Ended { conn: 1, end: End::Client, how: Ending::Fin });
            tale.at(9000.0).what(What::Lifted { step: 0 }).at(60_000.0).expect(&CHECKER, Pass);
        }
    }

    #[test]
    fn nothing_at_stake_or_nothing_touched() {
        HistoryBuilder::new().expect(&CHECKER, NotApplicable);
        let mut tale = hole("");
        tale.promises.heartbeats = false;
        tale.expect(&CHECKER, NotApplicable);
        let mut tale = HistoryBuilder::new();
        steps(&mut tale, "[[step]]\nwhen = \"idle\"\nfault = { kind = \"blackhole\" }\n");
        assert_eq!(
            tale.expect(&CHECKER, Unknown).summary,
            "no blackhole fired on a connection in use"
        );
    }

    #[test]
    fn a_history_cut_short_proves_the_miss_but_no_notice() {
        assert_eq!(unfinished(leaves(&mut hole(""), 2000.0), &CHECKER).outcome, Unknown);
        let late = &mut hole("");
        leaves(late, 9000.0);
        assert_eq!(unfinished(late, &CHECKER).outcome, Fail);
    }
}
