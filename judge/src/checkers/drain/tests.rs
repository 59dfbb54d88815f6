//! Tests of the drain: both sides of every bound.

use gauntlet_amqp::Args;
use gauntlet_faults::{Direction, End};

use super::*;
use crate::checkers::testing::HistoryBuilder;
use crate::history::{Ending, Waiter};
use crate::verdict::Outcome::{Fail, NotApplicable, Pass, Unknown};

/// m0 is done, m1 in hand, m2 delivered; at 100 ms the subject is asked to stop.
fn asked() -> HistoryBuilder {
    let mut tale = HistoryBuilder::new();
    tale.connect(1, 10).consume(1, 1, 8).served(1, 1, 1, 0);
    tale.publish(1).deliver(1, 1, 2, 1).publish(2).deliver(1, 1, 3, 2);
    tale.what(What::HandlerStarted { id: 1, redelivered: false })
        .at(100.0)
        .what(What::StopRequested);
    tale
}

fn cancel(tale: &mut HistoryBuilder) -> &mut HistoryBuilder {
    tale.passes(
        1,
        Direction::ToBroker,
        1,
        "basic.cancel",
        Args::Cancel { consumer_tag: "c1".into() },
    )
    .passes(1, Direction::ToClient, 1, "basic.cancel-ok", Args::None)
}

fn finish(tale: &mut HistoryBuilder) -> &mut HistoryBuilder {
    tale.what(What::Effect { id: 1 }).what(What::HandlerEnded { id: 1, ok: true }).ack(1, 1, 2)
}

fn ended(tale: &mut HistoryBuilder) -> &mut HistoryBuilder {
    tale.close(1).what(What::SubjectEnded { how: SubjectEnd::Clean })
}

#[test]
fn a_good_stop_passes_and_a_late_one_fails() {
    for (end, outcome) in [(5099.0, Pass), (5101.0, Fail)] {
        let mut tale = asked();
        finish(cancel(&mut tale)).close(1).at(end);
        tale.what(What::SubjectEnded { how: SubjectEnd::Clean });
        let decision = tale.expect(&CHECKER, outcome);
        let said = &decision.summary;
        if outcome == Fail {
            assert!(said.starts_with("it ended 5001.0 ms after the request"), "{said}");
            assert_eq!(decision.evidence.len(), 2, "asked, ended");
        }
    }
}

#[test]
fn new_work_fails_after_the_grace() {
    for (begun, outcome) in [(199.0, Pass), (201.0, Fail)] {
        let mut tale = asked();
        finish(cancel(&mut tale)).at(begun).handle(2, true).ack(1, 1, 3);
        let decision = ended(&mut tale).expect(&CHECKER, outcome);
        if outcome == Fail {
            assert_eq!(decision.summary, "m2 was begun 101.0 ms after the request to stop");
            assert_eq!(decision.evidence.len(), 2, "asked, begun");
        }
    }
}

#[test]
fn another_try_of_a_message_in_hand_is_not_new_work() {
    let mut tale = asked();
    cancel(&mut tale).what(What::HandlerEnded { id: 1, ok: false }).at(400.0);
    tale.handle(1, true).ack(1, 1, 2);
    ended(&mut tale).expect(&CHECKER, Pass);
}

#[test]
fn consuming_on_fails_unless_a_fault_is_in_force() {
    let told = |cancelled: f64, faulty: bool| {
        let mut tale = asked();
        if faulty {
            tale.what(What::Injected { step: 0, fault: "stall".into() });
        }
        finish(&mut tale).at(cancelled);
        ended(cancel(&mut tale));
        tale
    };
    told(1099.0, false).expect(&CHECKER, Pass);
    // Nobody can tell what waits for a CPU from what is slow.
    let mut busy = told(1499.0, false);
    let (over, waited) = (1_200_000_000, 900_000_000);
    busy.at(1400.0).what(What::Starved { who: Waiter::Subject, over, waited });
    let said = busy.expect(&CHECKER, Unknown).summary;
    assert!(said.contains("too busy: waited 9"), "{said}");
    let decision = told(1101.0, false).expect(&CHECKER, Fail);
    let said = &decision.summary;
    assert!(said.contains("neither cancelled its consumer nor closed within 1000 ms"), "{said}");
    assert_eq!(decision.evidence.len(), 3, "asked, cancelled, over");
    told(1101.0, true).expect(&CHECKER, Pass);
}

#[test]
fn consuming_again_fails() {
    let mut tale = asked();
    finish(cancel(&mut tale)).at(300.0).consume(1, 2, 8);
    let decision = ended(&mut tale).expect(&CHECKER, Fail);
    assert!(
        decision.summary.starts_with("on connection 1, channel 2 it began to consume 200.0 ms"),
        "{}",
        decision.summary
    );
}

#[test]
fn work_in_flight_is_finished_and_settled() {
    let mut tale = asked();
    cancel(&mut tale).at(150.0).what(What::HandlerEnded { id: 1, ok: true });
    let decision = ended(&mut tale).expect(&CHECKER, Fail);
    assert!(
        decision
            .summary
            .starts_with("m1 was in flight at the request to stop, finished 50.0 ms after it"),
        "{}",
        decision.summary
    );
    assert_eq!(decision.evidence.len(), 5, "delivered, begun, asked, finished, closed");
    let decision = ended(cancel(&mut asked())).expect(&CHECKER, Fail);
    assert!(
        decision.summary.starts_with("m1, in flight at the request to stop, was abandoned"),
        "{}",
        decision.summary
    );
}

#[test]
fn a_handler_broken_off_is_abandoned_work_and_one_that_failed_is_not() {
    for (takes, outcome) in [(200, Fail), (1, Pass)] {
        let mut tale = asked();
        tale.scenario.subject.handler_time = Duration::from_millis(takes);
        cancel(&mut tale).what(What::HandlerEnded { id: 1, ok: false });
        let decision = ended(&mut tale).expect(&CHECKER, outcome);
        assert!(outcome == Pass || decision.summary.contains("was abandoned"));
    }
}

#[test]
fn what_needs_no_acknowledgement_needs_no_settling() {
    let mut tale = asked();
    let (queue, consumer_tag) = ("work".into(), "c2".into());
    let ask = Args::Consume { queue, consumer_tag, no_ack: true, exclusive: false };
    finish(&mut tale);
    tale.at(10.0).passes(1, Direction::ToBroker, 2, "channel.open", Args::None);
    tale.passes(1, Direction::ToBroker, 2, "basic.consume", ask).deliver(1, 2, 1, 3);
    tale.what(What::HandlerStarted { id: 3, redelivered: false }).at(110.0);
    tale.what(What::HandlerEnded { id: 3, ok: true });
    ended(cancel(&mut tale)).expect(&CHECKER, Pass);
}

#[test]
fn work_may_be_returned_or_abandoned_when_there_is_no_time() {
    let mut tale = asked();
    let back = Args::Nack { delivery_tag: 2, multiple: false, requeue: true };
    ended(cancel(&mut tale).passes(1, Direction::ToBroker, 1, "basic.nack", back))
        .expect(&CHECKER, Pass);
    for (takes, outcome) in [(4500, Fail), (4700, Pass)] {
        let mut tale = asked();
        tale.scenario.subject.handler_time = Duration::from_millis(takes);
        ended(cancel(&mut tale)).expect(&CHECKER, outcome);
    }
    let mut tale = asked();
    tale.rst(1).what(What::SubjectEnded { how: SubjectEnd::Clean }).expect(&CHECKER, Pass);
}

#[test]
fn leaving_without_a_close_fails_unless_aborted() {
    let told = |abort: bool| {
        let mut tale = asked();
        finish(cancel(&mut tale));
        if abort {
            tale.what(What::AbortRequested);
        }
        tale.what(What::Ended { conn: 1, end: End::Client, how: Ending::Fin });
        tale.what(What::SubjectEnded { how: SubjectEnd::Clean });
        tale
    };
    let decision = told(false).expect(&CHECKER, Fail);
    assert!(decision.summary.contains("left without connection.close"), "{}", decision.summary);
    assert_eq!(decision.evidence.len(), 3, "asked, over, ended");
    told(true).expect(&CHECKER, Pass);
}

#[test]
fn leaving_without_a_close_is_fine_once_everything_is_given_back_and_that_was_read() {
    for (read, outcome) in [(true, Pass), (false, Fail)] {
        let mut tale = asked();
        let rest = Args::Nack { delivery_tag: 0, multiple: true, requeue: true };
        finish(cancel(&mut tale)).passes(1, Direction::ToBroker, 1, "basic.nack", rest);
        if read {
            let passive = Args::Declare {
                queue: "work".into(),
                passive: true,
                durable: false,
                exclusive: false,
            };
            tale.passes(1, Direction::ToBroker, 1, "queue.declare", passive);
            tale.passes(1, Direction::ToClient, 1, "queue.declare-ok", Args::None);
        }
        tale.what(What::Ended { conn: 1, end: End::Client, how: Ending::Fin });
        tale.what(What::SubjectEnded { how: SubjectEnd::Clean }).expect(&CHECKER, outcome);
    }
}

#[test]
fn leaving_a_connection_that_never_consumed_without_a_close_fails() {
    let mut tale = HistoryBuilder::new();
    tale.connect(1, 10).consume(1, 1, 8).served(1, 1, 1, 0).connect(2, 10);
    tale.at(100.0).what(What::StopRequested);
    cancel(&mut tale).close(1);
    tale.what(What::Ended { conn: 2, end: End::Client, how: Ending::Fin });
    tale.what(What::SubjectEnded { how: SubjectEnd::Clean }).expect(&CHECKER, Fail);
}

#[test]
fn torn_down_or_never_ended() {
    let mut tale = asked();
    finish(cancel(&mut tale))
        .close(1)
        .at(900.0)
        .what(What::SubjectEnded { how: SubjectEnd::Overran });
    assert!(tale.expect(&CHECKER, Fail).summary.contains("torn down"));
    for (end, outcome) in [(5000.0, Unknown), (5200.0, Fail)] {
        let mut tale = asked();
        finish(cancel(&mut tale)).close(1).at(end).expect(&CHECKER, outcome);
    }
}

#[test]
fn not_at_stake_or_not_decidable() {
    HistoryBuilder::new().expect(&CHECKER, Unknown);
    let mut tale = HistoryBuilder::new();
    tale.what(What::SubjectEnded { how: SubjectEnd::Failed("refused".into()) })
        .expect(&CHECKER, NotApplicable);
    let mut tale = asked();
    tale.promises.drains = false;
    tale.expect(&CHECKER, NotApplicable);
}
