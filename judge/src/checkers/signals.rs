//! I20, signals: fails when the subject ends otherwise than declared, or ignores a second request to stop.

use std::time::Duration;

use super::fatal_errors::refusals;
use super::proof::{ending, first, gap, in_order, last_ns, ms};
use super::turns::{Kept, Timed};
use super::{Case, Checker, Decision};
use crate::history::ledger::Mark;
use crate::history::{SubjectEnd, What};
use crate::promises::Refused;
use crate::scenario::Ends;

/// How soon after the second request the subject must have ended.
const ABORTS_WITHIN: Duration = Duration::from_secs(1);

/// The entry in the catalogue.
pub const CHECKER: Checker = Checker {
    id: "I20",
    name: "signals",
    fails_when: "it ends otherwise than declared, or a second request to stop is ignored",
    decide,
};

fn decide(case: &Case<'_>) -> Decision {
    let asked = case.ledger.stop_requested;
    let aborted = first(case, |what| *what == What::AbortRequested);
    let ended = ending(case);
    let marks = |more: Option<Mark>| {
        let mut marks: Vec<Mark> = [asked, aborted, more].into_iter().flatten().collect();
        marks.sort();
        marks.into_iter().map(|m| m.seq).collect::<Vec<u64>>()
    };
    let bound = ABORTS_WITHIN.as_nanos() as u64;
    let Some((at, how)) = ended else {
        return match aborted {
            Some(second) if last_ns(case) > second.ns + bound => {
                let words =
                    format!("it never ended after the second request to stop at {}", ms(second));
                Timed::of(case, second.ns, last_ns(case), bound).decision(words, marks(None))
            }
            _ => Decision::unknown("the history does not say how the subject ended"),
        };
    };
    let fail = |words: String| Decision::fail(words, marks(Some(at)));
    if let SubjectEnd::Panicked(why) = how {
        return fail(format!("it panicked at {}: {why}", ms(at)));
    }
    if let Some(second) = aborted.filter(|second| *second < at) {
        let timed = match how {
            SubjectEnd::Overran => Timed::torn_down(case, second.ns, at.ns, bound),
            _ => Timed::of(case, second.ns, at.ns, bound),
        };
        if timed.kept != Kept::InTime {
            let took = gap(second, at);
            let words = format!(
                "it ignored the second request to stop: {} {took} after it",
                if *how == SubjectEnd::Overran { "torn down" } else { "ended" }
            );
            return timed.decision(words, marks(Some(at)));
        }
        return Decision::pass(format!("asked a second time, it ended {} later", gap(second, at)));
    }
    let before = asked.is_none_or(|asked| at < asked);
    let refused = case.plan.scenario.expect.outcome == Ends::Refused;
    let gives_up = refused
        && match case.plan.promises.refused {
            Refused::GivesUp => true,
            Refused::KeepsTrying => false,
            Refused::Either => before && matches!(how, SubjectEnd::Failed(_)),
        };
    let when = if before { "before it was asked to stop" } else { "after it was asked to stop" };
    let troubled = case.ledger.steps.values().any(|s| s.fired.first().is_some_and(|m| *m < at));
    if before && troubled && !refused && !case.plan.promises.reconnects {
        return Decision::not_applicable(
            "it does not promise to come back after trouble, and ended after a fault",
        );
    }
    match (how, before) {
        (SubjectEnd::Overran, _) => {
            let words = format!("asked to stop, it had not ended by {} and was torn down", ms(at));
            let within = case.plan.scenario.expect.stops_within.as_nanos() as u64;
            Timed::torn_down(case, asked.map_or(0, |asked| asked.ns), at.ns, within)
                .decision(words, marks(Some(at)))
        }
        (SubjectEnd::Failed(_), true) if gives_up => {
            Decision::pass("refused, it gave up on its own with an error")
        }
        (SubjectEnd::Terminated(how), false) if !gives_up && in_order(case) => Decision::pass(
            format!("asked to stop, it closed its connections in order and ended: {how}"),
        ),
        (SubjectEnd::Failed(why) | SubjectEnd::Terminated(why), _) => {
            let words = format!("it ended with an error {when}, at {}: {why}", ms(at));
            // Deadlines that pass while it waits for a CPU end a good subject too.
            let from = asked.filter(|_| !before).map_or(0, |asked| asked.ns);
            Timed::gave_up(case, from, at.ns).decision(words, marks(Some(at)))
        }
        (SubjectEnd::Clean, true) => {
            fail(format!("it ended without an error {when}, at {}", ms(at)))
        }
        (SubjectEnd::Clean, false) if !gives_up => {
            Decision::pass("it ended without an error after it was asked to stop")
        }
        (SubjectEnd::Clean, false) => match refusals(case).len() {
            0 => Decision::unknown(
                "it was to be refused and give up, but the broker never refused it",
            ),
            n => fail(format!(
                "refused {n} times, it was to give up on its own, and ended only when asked"
            )),
        },
        (SubjectEnd::Panicked(_), _) => Decision::unknown("decided above"),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::checkers::testing::HistoryBuilder;
    use crate::verdict::Outcome::{self, Fail, Pass, Unknown};

    fn refused(tale: &mut HistoryBuilder) {
        use gauntlet_amqp::Args;
        use gauntlet_faults::Direction;
        let close = Args::Close { code: 403, text: "ACCESS_REFUSED".into(), class: 10, method: 11 };
        tale.what(What::Accepted { conn: 1 }).passes(
            1,
            Direction::ToBroker,
            0,
            "connection.start-ok",
            Args::None,
        );
        tale.passes(1, Direction::ToClient, 0, "connection.close", close);
    }

    #[rstest]
    #[case::as_asked(Ends::Stopped, Refused::GivesUp, true, SubjectEnd::Clean, Pass)]
    #[case::early(Ends::Stopped, Refused::GivesUp, false, SubjectEnd::Clean, Fail)]
    #[case::gave_up(Ends::Stopped, Refused::GivesUp, false, SubjectEnd::Failed("x".into()), Fail)]
    #[case::error_at_stop(Ends::Stopped, Refused::GivesUp, true, SubjectEnd::Failed("x".into()), Fail)]
    #[case::overran(Ends::Stopped, Refused::GivesUp, true, SubjectEnd::Overran, Fail)]
    #[case::panicked(Ends::Refused, Refused::GivesUp, false, SubjectEnd::Panicked("x".into()), Fail)]
    #[case::refused_gave_up(Ends::Refused, Refused::GivesUp, false, SubjectEnd::Failed("x".into()), Pass)]
    #[case::refused_ended_silently(Ends::Refused, Refused::GivesUp, false, SubjectEnd::Clean, Fail)]
    #[case::refused_did_not_give_up(Ends::Refused, Refused::GivesUp, true, SubjectEnd::Clean, Fail)]
    #[case::kept_trying(Ends::Refused, Refused::KeepsTrying, true, SubjectEnd::Clean, Pass)]
    #[case::did_not_keep_trying(Ends::Refused, Refused::KeepsTrying, false, SubjectEnd::Failed("x".into()), Fail)]
    fn ends_as_declared(
        #[case] outcome: Ends,
        #[case] policy: Refused,
        #[case] asked: bool,
        #[case] how: SubjectEnd,
        #[case] verdict: Outcome,
    ) {
        let mut tale = HistoryBuilder::new();
        tale.scenario.expect.outcome = outcome;
        tale.promises.refused = policy;
        refused(&mut tale);
        if asked {
            tale.at(50.0).what(What::StopRequested);
        }
        let decision = tale.at(90.0).what(What::SubjectEnded { how }).expect(&CHECKER, verdict);
        if verdict == Fail {
            assert_eq!(decision.evidence.len(), 1 + usize::from(asked), "{}", decision.summary);
        }
    }

    #[rstest]
    #[case(1099.0, SubjectEnd::Failed("aborted".into()), Pass)]
    #[case(1101.0, SubjectEnd::Clean, Fail)]
    #[case(500.0, SubjectEnd::Overran, Fail)]
    fn a_second_request_ends_it_at_once(
        #[case] end: f64,
        #[case] how: SubjectEnd,
        #[case] verdict: Outcome,
    ) {
        let mut tale = HistoryBuilder::new();
        tale.at(50.0).what(What::StopRequested).at(100.0).what(What::AbortRequested);
        let decision = tale.at(end).what(What::SubjectEnded { how }).expect(&CHECKER, verdict);
        if verdict == Fail {
            assert!(
                decision.summary.starts_with("it ignored the second request"),
                "{}",
                decision.summary
            );
            assert_eq!(decision.evidence, [0, 1, 2]);
        }
    }

    #[rstest]
    #[case::jvm("exit code 143", true, Pass)]
    #[case::no_handler("killed by signal 15 (SIGTERM): it has no handler for it", false, Fail)]
    #[case::left_open("exit code 143", false, Fail)]
    #[case::signalled_in_order("killed by signal 15 (SIGTERM)", true, Pass)]
    fn an_end_by_the_request_is_one_in_order_after_an_orderly_close(
        #[case] how: &str,
        #[case] closes: bool,
        #[case] verdict: Outcome,
    ) {
        let end = || What::SubjectEnded { how: SubjectEnd::Terminated(how.into()) };
        let mut tale = HistoryBuilder::new();
        tale.connect(1, 10).consume(1, 1, 8).at(50.0).what(What::StopRequested);
        if closes {
            tale.close(1);
        } else {
            let fin = crate::history::Ending::Fin;
            tale.what(What::Ended { conn: 1, end: gauntlet_faults::End::Client, how: fin });
        }
        tale.what(end()).expect(&CHECKER, verdict);
        // Disconnected there is nothing to close; without any close nobody knows that it would.
        let mut tale = HistoryBuilder::new();
        tale.connect(1, 10).rst(1).at(50.0).what(What::StopRequested).what(end());
        tale.expect(&CHECKER, if how.starts_with("exit") { Pass } else { Fail });
    }

    #[test]
    fn no_end_in_the_history() {
        HistoryBuilder::new().expect(&CHECKER, Unknown);
        for (last, verdict) in [(1099.0, Unknown), (1101.0, Fail)] {
            let mut tale = HistoryBuilder::new();
            tale.at(100.0)
                .what(What::StopRequested)
                .what(What::AbortRequested)
                .at(last)
                .expect(&CHECKER, verdict);
        }
    }

    #[test]
    fn a_refusal_that_never_came_is_unknown() {
        let mut tale = HistoryBuilder::new();
        tale.scenario.expect.outcome = Ends::Refused;
        tale.what(What::StopRequested)
            .what(What::SubjectEnded { how: SubjectEnd::Clean })
            .expect(&CHECKER, Unknown);
    }
}
