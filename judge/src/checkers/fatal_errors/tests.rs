//! Tests of the checker of fatal errors: refused, and in passing trouble.

use gauntlet_amqp::Args;
use rstest::rstest;

use super::*;
use crate::checkers::testing::HistoryBuilder;
use crate::history::Ending;
use crate::promises::BackoffPromise;
use crate::verdict::Outcome::{self, Fail, NotApplicable, Pass, Unknown};

fn refused(tale: &mut HistoryBuilder, conn: u64, frame: bool) {
    tale.what(What::Accepted { conn }).passes(
        conn,
        Direction::ToBroker,
        0,
        "connection.start-ok",
        Args::None,
    );
    if frame {
        let close = Args::Close { code: 403, text: "ACCESS_REFUSED".into(), class: 10, method: 11 };
        tale.passes(conn, Direction::ToClient, 0, "connection.close", close);
    }
    tale.what(What::Ended { conn, end: End::Broker, how: Ending::Rst });
}

fn refusing(policy: Refused) -> HistoryBuilder {
    let mut tale = HistoryBuilder::new();
    tale.scenario.expect.outcome = Ends::Refused;
    tale.promises.refused = policy;
    tale
}

fn failed(why: &str) -> What {
    What::SubjectEnded { how: SubjectEnd::Failed(why.into()) }
}

#[rstest]
#[case::at_once(1, "login refused", Pass)]
#[case::enough(3, "login refused", Pass)]
#[case::too_often(4, "login refused", Fail)]
#[case::without_a_word(1, " ", Fail)]
fn giving_up(#[case] times: u64, #[case] why: &str, #[case] outcome: Outcome) {
    for frame in [true, false] {
        let mut tale = refusing(Refused::GivesUp);
        tale.scenario.subject.workers = 1;
        for conn in 0..times {
            tale.at(conn as f64 * 100.0);
            refused(&mut tale, conn, frame);
        }
        let decision = tale.what(failed(why)).expect(&CHECKER, outcome);
        if times == 4 {
            assert!(decision.summary.starts_with("it was refused 4 times"), "{}", decision.summary);
            assert_eq!(decision.evidence.len(), 4, "the refusals");
        }
    }
}

#[rstest]
#[case::leaves_before_the_bare_close(true, false, true, Pass)]
#[case::would_have_been_told(true, true, true, Unknown)]
#[case::had_the_right_password(false, false, true, Unknown)]
#[case::was_never_heard(true, false, false, Unknown)]
fn a_client_that_leaves_while_the_broker_is_silent(
    #[case] wrong: bool,
    #[case] asks: bool,
    #[case] heard: bool,
    #[case] outcome: Outcome,
) {
    let mut tale = refusing(Refused::GivesUp);
    tale.scenario.subject.password = wrong.then(|| "wrong".to_owned());
    let start_ok = Args::StartOk { mechanism: "PLAIN".into(), authentication_failure_close: asks };
    tale.what(What::Accepted { conn: 1 });
    let end = if heard { End::Broker } else { End::Client };
    tale.frame(1, end, Direction::ToBroker, 0, "connection.start-ok", start_ok);
    tale.at(3000.0).what(What::Ended { conn: 1, end: End::Client, how: Ending::Fin });
    tale.what(What::Ended { conn: 1, end: End::Broker, how: Ending::Fin });
    tale.what(failed("username or password not allowed")).expect(&CHECKER, outcome);
}

/// Four workers, each with a connection; `begun` says at which ms each attempt is begun, 10 ms before its refusal.
fn of_four(begun: &[f64], failures: Option<u32>) -> HistoryBuilder {
    let mut tale = refusing(Refused::GivesUp);
    tale.scenario.subject.workers = 4;
    tale.promises.reports_attempts = failures.is_some();
    let mut told: Vec<(f64, u64, bool)> = Vec::new();
    for (conn, at) in (0..).zip(begun) {
        told.extend([(*at, conn, false), (*at + 10.0, conn, true)]);
    }
    told.sort_by(|a, b| a.0.total_cmp(&b.0));
    for (at, conn, over) in told {
        tale.at(at);
        match over {
            false => tale.what(What::Accepted { conn }),
            true => {
                let close = Args::Close { code: 403, text: "no".into(), class: 10, method: 11 };
                tale.passes(conn, Direction::ToClient, 0, "connection.close", close)
            }
        };
    }
    if let Some(failures) = failures {
        tale.what(What::Attempt { failures });
    }
    tale.what(failed("login refused"));
    tale
}

#[test]
fn each_worker_may_have_a_connection_of_its_own_refused() {
    let at_once = [0.0, 1.0, 2.0, 3.0];
    of_four(&at_once, None).expect(&CHECKER, Pass);
    let three_times: Vec<f64> =
        (0..3).flat_map(|i| at_once.map(|at| at + f64::from(i) * 50.0)).collect();
    of_four(&three_times, None).expect(&CHECKER, Pass);
    let more: Vec<f64> = three_times.iter().copied().chain([200.0]).collect();
    of_four(&more, None).expect(&CHECKER, Fail);
}

#[test]
fn one_after_the_other_may_be_one_that_retries_or_several_that_do_not() {
    let in_turn = [0.0, 20.0, 40.0, 60.0];
    of_four(&in_turn, Some(0)).expect(&CHECKER, Pass);
    of_four(&in_turn, Some(2)).expect(&CHECKER, Pass);
    of_four(&in_turn, Some(3)).expect(&CHECKER, Fail);
    of_four(&in_turn, None).expect(&CHECKER, Unknown);
    of_four(&in_turn[..3], None).expect(&CHECKER, Pass);
}

#[rstest]
#[case::too_early_to_say(14_900.0, Unknown)]
#[case::endless(15_100.0, Fail)]
fn not_giving_up(#[case] stop: f64, #[case] outcome: Outcome) {
    let mut tale = refusing(Refused::GivesUp);
    refused(&mut tale, 0, true);
    tale.at(stop).what(What::StopRequested).what(What::SubjectEnded { how: SubjectEnd::Clean });
    tale.expect(&CHECKER, outcome);
}

fn backoff(jitter: Jitter) -> Option<BackoffPromise> {
    let (base, cap) = (Duration::from_millis(100), Duration::from_millis(1000));
    Some(BackoffPromise { first_at_once: true, base, factor: 2.0, cap, jitter, max_attempts: None })
}

#[rstest]
#[case::at_half_the_cap(Jitter::None, 501.0, Pass)]
#[case::faster(Jitter::None, 499.0, Fail)]
#[case::drawn(Jitter::Full, 251.0, Pass)]
#[case::drawn_too_short(Jitter::Full, 249.0, Fail)]
fn keeping_on(#[case] jitter: Jitter, #[case] gap: f64, #[case] outcome: Outcome) {
    let mut tale = refusing(Refused::KeepsTrying);
    tale.promises.backoff = backoff(jitter);
    for conn in 0..7 {
        // The first three come fast: the backoff has yet to grow.
        tale.at(if conn < 3 { conn as f64 * 20.0 } else { 40.0 + (conn - 2) as f64 * gap });
        refused(&mut tale, conn, true);
    }
    tale.what(What::StopRequested).what(What::SubjectEnded { how: SubjectEnd::Clean });
    tale.expect(&CHECKER, outcome);
}

#[test]
fn keeping_on_means_neither_ending_nor_falling_silent() {
    let mut tale = refusing(Refused::KeepsTrying);
    refused(&mut tale, 0, true);
    assert_eq!(tale.what(failed("no")).expect(&CHECKER, Fail).evidence.len(), 2);
    for (stop, outcome) in [(3900.0, Unknown), (4100.0, Fail)] {
        let mut tale = refusing(Refused::KeepsTrying);
        tale.promises.backoff = backoff(Jitter::None);
        refused(&mut tale, 0, true);
        tale.at(stop).what(What::StopRequested).expect(&CHECKER, outcome);
    }
}

#[test]
fn a_refusal_that_never_came_is_unknown() {
    refusing(Refused::GivesUp).connect(1, 10).what(failed("no")).expect(&CHECKER, Unknown);
}

#[test]
fn without_a_promise_only_a_hot_loop_fails() {
    for (gap, outcome) in [(111.0, Fail), (112.0, Pass)] {
        let mut tale = refusing(Refused::Either);
        for n in 0..10_u32 {
            tale.at(100.0 + gap * f64::from(n));
            refused(&mut tale, u64::from(n), true);
        }
        tale.at(5000.0).what(What::StopRequested);
        let decision = tale.expect(&CHECKER, outcome);
        assert!(outcome == Pass || decision.evidence.len() == 10, "the attempts");
    }
}

#[test]
fn one_that_has_not_said_may_give_up() {
    let mut tale = refusing(Refused::Either);
    refused(&mut tale, 1, true);
    tale.what(failed("refused")).expect(&CHECKER, Pass);
}

#[test]
fn a_passing_error_is_not_fatal() {
    let troubled = || {
        let mut tale = HistoryBuilder::new();
        tale.connect(1, 10)
            .what(What::Fired { step: 0, conn: Some(1), note: "reset".into() })
            .rst(1);
        tale
    };
    let mut tale = troubled();
    tale.connect(2, 10).stops(2).expect(&CHECKER, Pass);
    let decision = troubled().at(70.0).what(failed("connection reset")).expect(&CHECKER, Fail);
    assert_eq!(
        decision.summary,
        "a passing error was taken for a fatal one at 70.0 ms: connection reset"
    );
    assert_eq!(decision.evidence.len(), 2, "the trouble, the end");
    let mut tale = troubled();
    tale.promises.reconnects = false;
    tale.what(failed("connection reset")).expect(&CHECKER, NotApplicable);
    let mut tale = troubled();
    tale.promises.backoff =
        backoff(Jitter::None).map(|b| BackoffPromise { max_attempts: Some(2), ..b });
    tale.what(What::Attempt { failures: 1 })
        .what(failed("gave up"))
        .expect(&CHECKER, NotApplicable);
    HistoryBuilder::new().connect(1, 10).stops(1).expect(&CHECKER, NotApplicable);
    troubled().expect(&CHECKER, Unknown);
}
