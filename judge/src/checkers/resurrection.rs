//! I32, resurrection: fails when the subject connects, or tries to, after it came to an end.
//!
//! A connection that the subject had begun before its end may be accepted just after it, or when a fault
//! that kept the link from accepting is lifted: one that its client left without answering the broker
//! is such, and not counted.

use std::time::Duration;

use super::proof::{Violations, disturbed, ending, gap, last_ns};
use super::turns::{Kept, Timed};
use super::{Case, Checker, Decision};
use crate::history::ledger::Mark;
use crate::history::{Phase, SubjectEnd, What};

/// How long after the subject's end the link may accept what was begun before it.
const GRACE: Duration = Duration::from_millis(100);

/// The entry in the catalogue.
pub const CHECKER: Checker = Checker {
    id: "I32",
    name: "resurrection",
    fails_when: "a connection is opened after the stop completed",
    decide,
};

fn decide(case: &Case<'_>) -> Decision {
    let Some((ended, how)) = ending(case) else {
        return Decision::unknown("the history does not say that the subject ended");
    };
    if *how == SubjectEnd::Overran {
        return Decision::not_applicable("the subject did not end by itself: it was torn down");
    }
    let mut charges = Violations::default();
    for event in case.history.events().iter().filter(|e| Mark::from(*e) > ended) {
        let at = Mark::from(event);
        // What was on its way when it ended arrives late on a busy machine.
        let timed = Timed::mostly(case, ended.ns, at.ns);
        match event.what {
            What::Accepted { conn } if !begun_before(case, conn, ended, at) => {
                let words = format!(
                    "the subject opened connection {conn} {} after it had ended",
                    gap(ended, at)
                );
                charges.late(&timed, words, [Some(ended), Some(at)]);
            }
            What::Attempt { .. } => {
                let words =
                    format!("the subject tried to connect {} after it had ended", gap(ended, at));
                charges.late(&timed, words, [Some(ended), Some(at)]);
            }
            _ => {}
        }
    }
    let phase = |wanted| {
        let later = case.history.events().iter().filter(|e| Mark::from(*e) > ended);
        later.filter(|e| e.what == What::Phase { phase: wanted }).map(Mark::from).next()
    };
    let settled = phase(Phase::Settle).is_some()
        && (phase(Phase::Close).is_some() || case.history.complete());
    charges.or_else(|| {
        if !settled {
            return Decision::unknown(
                "the history does not go on past the settle phase after the subject's end",
            );
        }
        let watched = Duration::from_nanos(last_ns(case) - ended.ns);
        Decision::pass(format!(
            "no connection and no attempt in the {} ms watched after its end",
            watched.as_millis()
        ))
    })
}

fn begun_before(case: &Case<'_>, conn: u64, ended: Mark, at: Mark) -> bool {
    let Some(c) = case.ledger.connections.get(&conn) else { return false };
    // Its protocol header may lie in the socket; an answer takes someone alive.
    let mute = c.spoke.len() <= 1 && c.opened.is_none() && c.client_left.is_some();
    let grace = GRACE.as_nanos() as u64;
    // A busy link accepts late.
    let soon = Timed::of(case, ended.ns, at.ns, grace).kept != Kept::Late;
    mute && (soon || disturbed(case, ended.ns, at.ns))
}

#[cfg(test)]
mod tests {
    use gauntlet_amqp::Args;
    use gauntlet_faults::{Direction, End};

    use super::*;
    use crate::checkers::testing::HistoryBuilder;
    use crate::history::Ending;
    use crate::verdict::Outcome::{Fail, Pass, Unknown};

    fn ended() -> HistoryBuilder {
        let mut tale = HistoryBuilder::new();
        tale.connect(1, 10).at(100.0).stops(1).phase(Phase::Settle).at(200.0);
        tale
    }

    #[test]
    fn silence_after_the_end_passes_once_it_was_watched() {
        ended().at(800.0).phase(Phase::Close).expect(&CHECKER, Pass);
        HistoryBuilder::new().connect(1, 10).stops(1).expect(&CHECKER, Unknown);
        HistoryBuilder::new().connect(1, 10).phase(Phase::Settle).expect(&CHECKER, Unknown);
    }

    #[test]
    fn a_connection_or_an_attempt_after_the_end_fails() {
        let decision = ended().connect(2, 10).expect(&CHECKER, Fail);
        assert!(
            decision.summary.starts_with("the subject opened connection 2 "),
            "{}",
            decision.summary
        );
        assert_eq!(decision.evidence.len(), 2, "ended, accepted");
        assert_eq!(decision.evidence[1], decision.evidence[0] + 2);
        let decision = ended().what(What::Attempt { failures: 0 }).expect(&CHECKER, Fail);
        assert!(
            decision.summary.starts_with("the subject tried to connect"),
            "{}",
            decision.summary
        );
    }

    #[test]
    fn what_was_begun_before_and_left_mute_is_not_counted() {
        let late = |at: f64, answers: bool, faulty: bool| {
            let mut tale = HistoryBuilder::new();
            tale.connect(1, 10);
            if faulty {
                tale.what(What::Injected { step: 0, fault: "ignore".into() });
            }
            tale.at(100.0).what(What::StopRequested).close(1);
            tale.at(110.0).what(What::SubjectEnded { how: crate::history::SubjectEnd::Clean });
            tale.phase(Phase::Settle).at(at).what(What::Accepted { conn: 2 });
            tale.passes(2, Direction::ToBroker, 0, "protocol-header", Args::None);
            if answers {
                tale.passes(2, Direction::ToBroker, 0, "connection.start-ok", Args::None);
            }
            tale.what(What::Ended { conn: 2, end: End::Client, how: Ending::Fin });
            tale
        };
        late(209.0, false, false).expect(&CHECKER, Pass);
        late(211.0, false, false).expect(&CHECKER, Fail);
        late(209.0, true, false).expect(&CHECKER, Fail);
        late(900.0, false, true).expect(&CHECKER, Pass);
    }
}
