//! Histories of consumers that are odd and right, before every checker; beside each, what is guilty of nearly the same.

use gauntlet_amqp::Args;
use gauntlet_faults::{Direction, End};
use rstest::rstest;

use super::testing::HistoryBuilder;
use super::{CHECKERS, duplicate_after_ack, early_ack, health, loss};
use crate::history::{Ending, Moment, SubjectEnd, What};
use crate::promises::HealthPromise;
use crate::verdict::Outcome::{Fail, Pass, Unknown};

/// One consumer of the queue under test.
fn consuming() -> HistoryBuilder {
    let mut tale = HistoryBuilder::new();
    tale.connect(1, 10).consume(1, 1, 8);
    tale
}

/// The subject publishes a copy on channel 2.
fn copy(tale: &mut HistoryBuilder, id: Option<u32>, exchange: &str, key: &str) {
    let args =
        Args::Publish { exchange: exchange.into(), routing_key: key.into(), mandatory: false };
    let message_id = id.map(|id| format!("m{id}"));
    let header = Args::Header { body_size: 0, message_id, delivery_mode: Some(2) };
    tale.passes(1, Direction::ToBroker, 2, "basic.publish", args);
    tale.passes(1, Direction::ToBroker, 2, "header", header);
}

fn confirms(tale: &mut HistoryBuilder) {
    tale.passes(1, Direction::ToBroker, 2, "channel.open", Args::None);
    tale.passes(1, Direction::ToBroker, 2, "confirm.select", Args::None);
    tale.passes(1, Direction::ToClient, 2, "confirm.select-ok", Args::None);
}

fn confirmed(tale: &mut HistoryBuilder, tag: u64) {
    let ack = Args::Ack { delivery_tag: tag, multiple: false };
    tale.passes(1, Direction::ToClient, 2, "basic.ack", ack);
}

/// m0 failed on connection 1, was published again to `key` and acked, the publish confirmed before or not.
fn moved(key: &str, id: Option<u32>, confirms_first: bool) -> HistoryBuilder {
    let mut tale = consuming();
    confirms(&mut tale);
    tale.at(10.0).publish(0).deliver(1, 1, 1, 0).handle(0, false);
    copy(&mut tale, id, "", key);
    if confirms_first {
        confirmed(&mut tale, 1);
    }
    tale.at(20.0).ack(1, 1, 1);
    tale
}

fn counted(tale: &mut HistoryBuilder, queue: &str, left: &[u32]) {
    let queue = queue.to_owned();
    tale.what(What::QueueCounted { queue: queue.clone(), ready: left.len() as u32 });
    for id in left {
        tale.what(What::Remaining { id: *id, queue: queue.clone(), redelivered: false });
    }
}

/// It stops; the broker holds nothing, and this is left in these queues.
fn ends(tale: &mut HistoryBuilder, left: &[(&str, &[u32])]) {
    let at = Moment::After;
    let (connections, channels, consumers, unacked) = (0, 0, 0, Some(0));
    tale.at(500.0).stops(1);
    tale.what(What::BrokerHolds { connections, channels, consumers, unacked, at });
    if left.iter().all(|(queue, _)| *queue != "work") {
        counted(tale, "work", &[]);
    }
    left.iter().for_each(|(queue, ids)| counted(tale, queue, ids));
}

/// Nobody finds it guilty.
#[track_caller]
fn innocent(tale: &mut HistoryBuilder) {
    for checker in CHECKERS {
        let decision = tale.judge(checker);
        assert_ne!(decision.outcome, Fail, "{}: {}", checker.id, decision.summary);
    }
}

#[test]
fn a_confirmed_copy_is_another_publish_and_no_early_ack_or_loss() {
    let mut tale = moved("work", Some(0), true);
    tale.deliver(1, 1, 2, 0).handle(0, true).ack(1, 1, 2);
    ends(&mut tale, &[]);
    innocent(&mut tale);
    tale.expect(&early_ack::CHECKER, Pass);
    tale.expect(&duplicate_after_ack::CHECKER, Pass);
    tale.expect(&loss::CHECKER, Pass);
    // Delivered once more than it was published.
    let mut tale = moved("work", Some(0), true);
    tale.deliver(1, 1, 2, 0).handle(0, true).ack(1, 1, 2);
    let cancel = Args::Cancel { consumer_tag: "c1".into() };
    tale.passes(1, Direction::ToBroker, 1, "basic.cancel", cancel);
    tale.passes(1, Direction::ToClient, 1, "basic.cancel-ok", Args::None);
    tale.rst(1).connect(2, 10).consume(2, 1, 8).redeliver(2, 1, 1, 0);
    tale.expect(&duplicate_after_ack::CHECKER, Fail);
}

#[test]
fn a_copy_that_waits_in_a_queue_of_its_own_comes_back_or_is_found_there() {
    let mut tale = moved("work.later", Some(0), true);
    let mut back = moved("work.later", Some(0), true);
    ends(&mut tale, &[("work.later", &[0])]);
    innocent(&mut tale);
    tale.expect(&loss::CHECKER, Pass);
    back.at(120.0).deliver(1, 1, 2, 0).handle(0, true).ack(1, 1, 2);
    ends(&mut back, &[]);
    innocent(&mut back);
    back.expect(&loss::CHECKER, Pass);
}

#[test]
fn a_copy_that_nobody_finds_is_lost_or_unknown() {
    // It did not come back, and is not in the queue it was put into.
    let mut tale = moved("work", Some(0), true);
    ends(&mut tale, &[]);
    tale.expect(&loss::CHECKER, Fail);
    let mut tale = moved("work.own", Some(0), true);
    ends(&mut tale, &[]);
    tale.expect(&loss::CHECKER, Unknown);
    tale.what(What::QueueAbsent { queue: "work.own".into() });
    let decision = tale.expect(&loss::CHECKER, Fail);
    assert!(decision.summary.contains("had gone to the queue `work.own`"), "{}", decision.summary);
}

#[test]
fn an_ack_before_the_confirm_is_unknown_and_a_loss_when_the_copy_is_gone() {
    let mut tale = moved("work", Some(0), false);
    tale.deliver(1, 1, 2, 0).handle(0, true).ack(1, 1, 2);
    ends(&mut tale, &[]);
    innocent(&mut tale);
    tale.expect(&early_ack::CHECKER, Unknown);
    let mut tale = moved("work", Some(0), false);
    ends(&mut tale, &[]);
    let decision = tale.expect(&loss::CHECKER, Fail);
    assert!(decision.summary.contains("before the broker had confirmed"), "{}", decision.summary);
}

#[test]
fn a_copy_that_the_broker_refuses_excuses_nothing() {
    for returned in [false, true] {
        let mut tale = consuming();
        confirms(&mut tale);
        tale.at(10.0).publish(0).deliver(1, 1, 1, 0).handle(0, false);
        copy(&mut tale, Some(0), "", "work.own");
        if returned {
            let back = Args::Return {
                code: 312,
                text: "NO_ROUTE".into(),
                exchange: String::new(),
                routing_key: "work.own".into(),
            };
            tale.passes(1, Direction::ToClient, 2, "basic.return", back);
            confirmed(&mut tale, 1);
        } else {
            let nack = Args::Nack { delivery_tag: 1, multiple: false, requeue: false };
            tale.passes(1, Direction::ToClient, 2, "basic.nack", nack);
        }
        tale.ack(1, 1, 1).expect(&early_ack::CHECKER, Fail);
    }
}

#[test]
fn a_copy_without_the_id_is_unknown_and_only_after_a_failure() {
    moved("work", None, true).expect(&early_ack::CHECKER, Unknown);
    moved("work", None, false).expect(&early_ack::CHECKER, Fail);
    // One that publishes something for every message, and acks before it handles.
    let mut tale = consuming();
    confirms(&mut tale);
    tale.at(10.0).publish(0).deliver(1, 1, 1, 0);
    copy(&mut tale, None, "", "results");
    confirmed(&mut tale, 1);
    tale.ack(1, 1, 1).handle(0, true).expect(&early_ack::CHECKER, Fail);
}

#[test]
fn confirms_number_every_publish_of_the_channel_and_may_be_multiple() {
    let mut tale = consuming();
    confirms(&mut tale);
    for id in 0..3 {
        tale.publish(id).deliver(1, 1, u64::from(id) + 1, id).handle(id, false);
        copy(&mut tale, Some(id), "", "work.own");
        copy(&mut tale, None, "", "metrics");
    }
    let multiple = Args::Ack { delivery_tag: 4, multiple: true };
    tale.passes(1, Direction::ToClient, 2, "basic.ack", multiple).ack(1, 1, 1).ack(1, 1, 2);
    tale.expect(&early_ack::CHECKER, Pass);
    tale.ack(1, 1, 3).expect(&early_ack::CHECKER, Unknown);
    confirmed(&mut tale, 6);
    tale.expect(&early_ack::CHECKER, Unknown);
}

#[test]
fn a_rejected_message_in_the_dead_letter_queue_is_accounted_for() {
    let reject = || Args::Reject { delivery_tag: 1, requeue: false };
    for reports in [true, false] {
        let mut tale = consuming();
        tale.promises.reports_handling = reports;
        tale.publish(0).deliver(1, 1, 1, 0);
        if reports {
            tale.handle(0, false);
        }
        tale.passes(1, Direction::ToBroker, 1, "basic.reject", reject());
        ends(&mut tale, &[("work.dead", &[0])]);
        innocent(&mut tale);
        tale.expect(&loss::CHECKER, Pass);
    }
}

#[test]
fn what_is_rejected_or_moved_is_done_with_until_it_comes_back() {
    let ledger = |tale: &mut HistoryBuilder| {
        let (_, history) = tale.told();
        let ledger = crate::history::ledger::Ledger::of(history.events());
        (ledger.undone().len(), ledger.done(), ledger.outstanding(), ledger.unsettled.len())
    };
    assert_eq!(ledger(&mut moved("work.own", Some(0), true)), (0, 1, 0, 0));
    assert_eq!(ledger(&mut moved("work.own", Some(0), false)), (1, 0, 0, 0));
    let mut back = moved("work", Some(0), true);
    assert_eq!(ledger(back.deliver(1, 1, 2, 0)), (1, 0, 1, 1));
    let mut tale = consuming();
    tale.publish(0).deliver(1, 1, 1, 0).handle(0, false);
    let reject = Args::Reject { delivery_tag: 1, requeue: false };
    tale.passes(1, Direction::ToBroker, 1, "basic.reject", reject);
    assert_eq!(ledger(&mut tale), (0, 1, 0, 0));
}

/// Beside the work it listens to another queue, which it names or has the broker name.
fn control(queue: &str, no_ack: bool) -> HistoryBuilder {
    let mut tale = HistoryBuilder::new();
    let declare =
        Args::Declare { queue: queue.into(), passive: false, durable: false, exclusive: true };
    let named = if queue.is_empty() { "amq.gen-1" } else { queue };
    let there = Args::DeclareOk { queue: named.into(), messages: 0, consumers: 0 };
    let ask =
        Args::Consume { queue: String::new(), consumer_tag: "ctl".into(), no_ack, exclusive: true };
    let ok = Args::ConsumeOk { consumer_tag: "ctl".into() };
    tale.connect(1, 10).passes(1, Direction::ToBroker, 3, "channel.open", Args::None);
    tale.passes(1, Direction::ToBroker, 3, "queue.declare", declare);
    tale.passes(1, Direction::ToClient, 3, "queue.declare-ok", there);
    tale.passes(1, Direction::ToBroker, 3, "basic.consume", ask);
    tale.passes(1, Direction::ToClient, 3, "basic.consume-ok", ok);
    tale.consume(1, 1, 8);
    tale
}

#[rstest]
#[case("", true)]
#[case("pidbox", true)]
#[case("events", false)]
fn other_queues_are_its_own_business(#[case] queue: &str, #[case] no_ack: bool) {
    let mut tale = control(queue, no_ack);
    let came = |tag: u64| Args::Deliver {
        consumer_tag: "ctl".into(),
        delivery_tag: tag,
        redelivered: false,
        exchange: "control".into(),
        routing_key: String::new(),
    };
    let header = Args::Header { body_size: 0, message_id: None, delivery_mode: None };
    // More than any prefetch, held for long, settled twice and put back.
    for tag in 1..20 {
        tale.passes(1, Direction::ToClient, 3, "basic.deliver", came(tag));
        tale.passes(1, Direction::ToClient, 3, "header", header.clone());
    }
    tale.at(10.0).served(1, 1, 1, 0);
    if !no_ack {
        tale.ack(1, 3, 1).ack(1, 3, 1);
    }
    tale.at(4000.0);
    ends(&mut tale, &[]);
    innocent(&mut tale);
}

#[test]
fn the_queue_under_test_is_known_by_an_empty_name_too() {
    let mut tale = HistoryBuilder::new();
    let declare =
        Args::Declare { queue: "work".into(), passive: true, durable: true, exclusive: false };
    let ask = |no_ack| Args::Consume {
        queue: String::new(),
        consumer_tag: "c1".into(),
        no_ack,
        exclusive: false,
    };
    tale.connect(1, 10).passes(1, Direction::ToBroker, 1, "channel.open", Args::None);
    tale.passes(1, Direction::ToBroker, 1, "queue.declare", declare);
    tale.passes(1, Direction::ToBroker, 1, "basic.consume", ask(true));
    tale.expect(&early_ack::CHECKER, Fail);
}

/// It polls for m0, handles it and settles it.
fn polls(no_ack: bool) -> HistoryBuilder {
    let mut tale = HistoryBuilder::new();
    let got = Args::GetOk {
        delivery_tag: 1,
        redelivered: false,
        exchange: String::new(),
        routing_key: "work".into(),
        messages: 0,
    };
    let header = Args::Header { body_size: 0, message_id: Some("m0".into()), delivery_mode: None };
    let ask = |tale: &mut HistoryBuilder| {
        let get = Args::Get { queue: "work".into(), no_ack };
        tale.passes(1, Direction::ToBroker, 1, "basic.get", get);
    };
    tale.connect(1, 10).passes(1, Direction::ToBroker, 1, "channel.open", Args::None).publish(0);
    ask(tale.at(100.0));
    tale.passes(1, Direction::ToClient, 1, "basic.get-empty", Args::None);
    ask(tale.at(200.0));
    tale.passes(1, Direction::ToClient, 1, "basic.get-ok", got);
    tale.passes(1, Direction::ToClient, 1, "header", header);
    tale.handle(0, true);
    if !no_ack {
        tale.ack(1, 1, 1);
    }
    tale
}

#[test]
fn one_that_polls_consumes_for_as_long_as_it_asks() {
    let consuming = |tale: &mut HistoryBuilder| {
        let (_, history) = tale.told();
        let ledger = crate::history::ledger::Ledger::of(history.events());
        (ledger.consuming(), ledger.consuming_connections())
    };
    assert_eq!(consuming(&mut polls(false)), (true, 1));
    assert_eq!(consuming(polls(false).at(10_100.0).publish(1)), (true, 1));
    assert_eq!(consuming(polls(false).at(10_300.0).publish(1)), (false, 0));
    let mut tale = polls(false);
    ends(&mut tale, &[]);
    innocent(&mut tale);
    polls(true).expect(&early_ack::CHECKER, Fail);
}

#[test]
fn the_health_of_one_that_polls_is_true_while_it_polls() {
    for (until, outcome) in [(13_100.0, Pass), (13_300.0, Fail)] {
        let mut tale = polls(false);
        tale.promises.health = Some(HealthPromise::default());
        tale.at(150.0).what(What::Health { copy: 1, status: Some(200), why: None });
        tale.at(until).what(What::StopRequested).expect(&health::CHECKER, outcome);
    }
}

#[test]
fn an_ack_after_its_own_close_is_not_known_to_be_read() {
    let mut tale = consuming();
    tale.publish(0).deliver(1, 1, 1, 0).handle(0, true);
    let close = Args::Close { code: 200, text: "bye".into(), class: 0, method: 0 };
    tale.passes(1, Direction::ToBroker, 0, "connection.close", close).ack(1, 1, 1);
    tale.passes(1, Direction::ToClient, 0, "connection.close-ok", Args::None);
    tale.what(What::Ended { conn: 1, end: End::Client, how: Ending::Fin });
    tale.what(What::Closed { conn: 1 }).connect(2, 10).consume(2, 1, 8).redeliver(2, 1, 1, 0);
    innocent(&mut tale);
    // Before the close it is.
    let mut tale = consuming();
    tale.served(1, 1, 1, 0).close(1).connect(2, 10).consume(2, 1, 8).redeliver(2, 1, 1, 0);
    tale.expect(&duplicate_after_ack::CHECKER, Fail);
}

#[test]
fn one_message_handled_twice_at_once_is_two_handlings() {
    let begun = || What::HandlerStarted { id: 0, redelivered: false };
    let ended = || What::HandlerEnded { id: 0, ok: true };
    let mut tale = consuming();
    tale.promises.dedups = false;
    tale.publish(0).deliver(1, 1, 1, 0).what(begun()).at(10.0).rst(1);
    tale.connect(2, 10).consume(2, 1, 8).redeliver(2, 1, 1, 0).what(begun());
    tale.at(20.0).what(ended()).at(30.0).what(ended()).ack(2, 1, 1);
    tale.at(40.0).stops(2);
    counted(&mut tale, "work", &[]);
    innocent(&mut tale);
    tale.expect(&early_ack::CHECKER, Pass);
}

#[test]
fn a_consumer_with_one_thread_cancels_when_its_handler_is_done() {
    let told = |cancelled: f64, reports: bool| {
        let mut tale = consuming();
        tale.promises.reports_handling = reports;
        tale.scenario.expect.stops_within = std::time::Duration::from_secs(10);
        tale.publish(0)
            .deliver(1, 1, 1, 0)
            .what(What::HandlerStarted { id: 0, redelivered: false });
        tale.at(100.0).what(What::StopRequested);
        tale.at(3000.0).what(What::Effect { id: 0 }).what(What::HandlerEnded { id: 0, ok: true });
        tale.ack(1, 1, 1).at(cancelled);
        let cancel = Args::Cancel { consumer_tag: "c1".into() };
        tale.passes(1, Direction::ToBroker, 1, "basic.cancel", cancel).close(1);
        tale.what(What::SubjectEnded { how: SubjectEnd::Clean });
        tale
    };
    let drain = CHECKERS.iter().find(|c| c.id == "I19").expect("in the catalogue");
    for reports in [true, false] {
        told(3900.0, reports).expect(drain, Pass);
        told(4100.0, reports).expect(drain, Fail);
    }
}
