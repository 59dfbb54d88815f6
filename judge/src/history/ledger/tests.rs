//! Tests of the fold: epochs, assembly, what a settlement covers, and the fates.

use gauntlet_amqp::FrameName;

use super::*;
use crate::history::Ending;

const C: End = End::Client;
const B: End = End::Broker;

/// Events under construction, one microsecond apart.
#[derive(Default)]
struct Wire {
    events: Vec<Event>,
}

impl Wire {
    fn what(mut self, what: What) -> Wire {
        let seq = self.events.len() as u64;
        self.events.push(Event { seq, ns: seq * 1000, what });
        self
    }

    fn frame(self, end: End, way: Direction, name: &'static str, args: Args) -> Wire {
        let channel = u16::from(!name.starts_with("connection."));
        let frame =
            Frame { channel, name: FrameName::parse(name).expect("a known frame"), size: 4, args };
        self.what(What::Wire { conn: 1, end, way, frame })
    }

    /// From the subject through both taps.
    fn up(self, name: &'static str, args: Args) -> Wire {
        self.frame(C, Direction::ToBroker, name, args.clone()).frame(
            B,
            Direction::ToBroker,
            name,
            args,
        )
    }

    /// From the broker through both taps.
    fn down(self, name: &'static str, args: Args) -> Wire {
        self.frame(B, Direction::ToClient, name, args.clone()).frame(
            C,
            Direction::ToClient,
            name,
            args,
        )
    }

    /// An open channel that consumes with this prefetch.
    fn consuming(prefetch: u16) -> Wire {
        Wire::default()
            .up("channel.open", Args::None)
            .down("channel.open-ok", Args::None)
            .up("basic.qos", Args::Qos { prefetch_count: prefetch, global: false })
            .down("basic.qos-ok", Args::None)
            .up("basic.consume", consume())
            .down("basic.consume-ok", Args::ConsumeOk { consumer_tag: "c".into() })
    }

    fn delivered_at(self, end: End, tag: u64, id: u32) -> Wire {
        self.frame(end, Direction::ToClient, "basic.deliver", deliver(tag))
            .frame(end, Direction::ToClient, "header", header(id, 8))
            .frame(end, Direction::ToClient, "body", Args::None)
            .frame(end, Direction::ToClient, "body", Args::None)
    }

    fn delivered(self, tag: u64, id: u32) -> Wire {
        self.delivered_at(B, tag, id).delivered_at(C, tag, id)
    }

    fn ack(self, tag: u64) -> Wire {
        self.up("basic.ack", Args::Ack { delivery_tag: tag, multiple: false })
    }

    fn fold(&self) -> Ledger {
        Ledger::of(&self.events)
    }

    /// The fates of the first epoch's settlements.
    fn fates(&self) -> Vec<Fate> {
        self.fold().epochs[0].settlements.iter().map(|s| s.fate).collect()
    }
}

fn consume() -> Args {
    Args::Consume {
        queue: "work".into(),
        consumer_tag: "c".into(),
        no_ack: false,
        exclusive: false,
    }
}

fn deliver(tag: u64) -> Args {
    Args::Deliver {
        consumer_tag: "c".into(),
        delivery_tag: tag,
        redelivered: false,
        exchange: String::new(),
        routing_key: "work".into(),
    }
}

fn header(id: u32, body_size: u64) -> Args {
    Args::Header { body_size, message_id: Some(format!("m{id}")), delivery_mode: Some(2) }
}

fn close(code: u16) -> Args {
    Args::Close { code, text: String::new(), class: 0, method: 0 }
}

fn cancel() -> Args {
    Args::Cancel { consumer_tag: "c".into() }
}

#[test]
fn a_delivery_counts_at_each_end_when_its_last_body_frame_passed() {
    let wire = Wire::consuming(8).delivered_at(B, 1, 17);
    let half = wire
        .frame(C, Direction::ToClient, "basic.deliver", deliver(1))
        .frame(C, Direction::ToClient, "header", header(17, 8))
        .frame(C, Direction::ToClient, "body", Args::None);
    let ledger = half.fold();
    let d = &ledger.epochs[0].deliveries[&1];
    assert_eq!((d.id, d.at_client, ledger.delivered), (Some(17), None, 0));
    assert!(d.at_broker.is_some());
    let ledger = half.frame(C, Direction::ToClient, "body", Args::None).fold();
    assert_eq!(ledger.delivered, 1);
    assert_eq!(ledger.messages[&17].deliveries, [(0, 1)]);
}

#[test]
fn an_empty_body_has_no_body_frame() {
    let ledger =
        Wire::consuming(8).down("basic.deliver", deliver(1)).down("header", header(3, 0)).fold();
    assert!(ledger.epochs[0].deliveries[&1].at_client.is_some());
}

#[test]
fn a_polled_message_is_a_delivery_too() {
    let got = Args::GetOk {
        delivery_tag: 1,
        redelivered: false,
        exchange: String::new(),
        routing_key: "work".into(),
        messages: 0,
    };
    let ledger = Wire::default()
        .up("channel.open", Args::None)
        .up("basic.get", Args::Get { queue: "work".into(), no_ack: false })
        .down("basic.get-ok", got)
        .down("header", header(3, 0))
        .ack(1)
        .fold();
    assert_eq!(ledger.epochs[0].settlements[0].covers, [1]);
    assert_eq!(ledger.epochs[0].deliveries[&1].id, Some(3));
}

#[test]
fn without_a_tap_at_the_brokers_end_messages_are_still_named_and_fates_unknown() {
    let ack = Args::Ack { delivery_tag: 1, multiple: false };
    let ledger = Wire::default()
        .frame(C, Direction::ToBroker, "channel.open", Args::None)
        .delivered_at(C, 1, 17)
        .frame(C, Direction::ToBroker, "basic.ack", ack)
        .fold();
    assert_eq!(ledger.messages[&17].deliveries, [(0, 1)]);
    assert_eq!(ledger.epochs[0].settlements[0].fate, Fate::Unknown);
}

#[test]
fn an_ack_that_never_passed_the_brokers_tap_is_dropped() {
    let wire = Wire::consuming(8).delivered(1, 1).delivered(2, 2);
    let ack = Args::Ack { delivery_tag: 1, multiple: false };
    let wire = wire.frame(C, Direction::ToBroker, "basic.ack", ack).ack(2);
    let wire = wire.up("basic.cancel", cancel()).down("basic.cancel-ok", Args::None);
    assert_eq!(wire.fates(), [Fate::Dropped, Fate::Received]);
}

#[test]
fn an_ack_is_received_by_the_reply_to_a_later_request_only() {
    let wire = Wire::consuming(8).delivered(1, 1).up("basic.cancel", cancel()).ack(1);
    assert_eq!(wire.fates(), [Fate::Unknown]);
    // The reply to what was asked before the ack proves nothing.
    let wire = wire.down("basic.cancel-ok", Args::None);
    assert_eq!(wire.fates(), [Fate::Unknown]);
    let wire = wire.up("channel.close", close(200));
    assert_eq!(wire.fates(), [Fate::Unknown]);
    let proof = wire.events.len() as u64;
    let wire = wire.down("channel.close-ok", Args::None);
    assert_eq!(wire.fates(), [Fate::Received]);
    assert_eq!(wire.fold().epochs[0].settlements[0].proof.map(|p| p.seq), Some(proof));
}

#[test]
fn pipelined_requests_prove_one_by_one() {
    let wire = Wire::consuming(8)
        .delivered(1, 1)
        .up("basic.qos", Args::Qos { prefetch_count: 8, global: false });
    let wire = wire.ack(1).up("basic.cancel", cancel());
    let wire = wire.down("basic.qos-ok", Args::None);
    assert_eq!(wire.fates(), [Fate::Unknown]);
    assert_eq!(wire.down("basic.cancel-ok", Args::None).fates(), [Fate::Received]);
}

#[test]
fn an_orderly_close_proves_and_a_cut_does_not() {
    let wire = || Wire::consuming(8).delivered(1, 1).ack(1);
    let cut = wire().what(What::Cut { conn: 1, end: B, how: Ending::Rst });
    assert_eq!(cut.fates(), [Fate::Unknown]);
    let closed = wire().up("connection.close", close(200)).down("connection.close-ok", Args::None);
    assert_eq!(closed.fates(), [Fate::Received]);
    // A channel that the broker had closed ignores acks: the connection's close proves nothing.
    let late = Wire::consuming(8)
        .delivered(1, 1)
        .frame(B, Direction::ToClient, "channel.close", close(406))
        .ack(1)
        .up("connection.close", close(200))
        .down("connection.close-ok", Args::None);
    assert_eq!(late.fates(), [Fate::Unknown]);
    // Nor does the answer to a close of the subject's own that crossed it.
    let crossed = Wire::consuming(8)
        .delivered(1, 1)
        .frame(B, Direction::ToClient, "channel.close", close(406))
        .ack(1)
        .up("channel.close", close(200))
        .down("channel.close-ok", Args::None);
    assert_eq!(crossed.fates(), [Fate::Unknown]);
}

#[test]
fn credit_proves_as_many_acks_as_deliveries_beyond_the_prefetch() {
    let wire = Wire::consuming(2).delivered(1, 1).delivered(2, 2).ack(1).ack(2);
    assert_eq!(wire.fates(), [Fate::Unknown, Fate::Unknown]);
    let proof = wire.events.len() as u64 + 3;
    let wire = wire.delivered(3, 3);
    assert_eq!(wire.fates(), [Fate::Received, Fate::Unknown]);
    assert_eq!(wire.fold().epochs[0].settlements[0].proof.map(|p| p.seq), Some(proof));
    assert_eq!(wire.delivered(4, 4).fates(), [Fate::Received, Fate::Received]);
}

#[test]
fn credit_proves_nothing_where_it_does_not_bind() {
    let opened = || Wire::default().up("channel.open", Args::None);
    let qos = |n| Args::Qos { prefetch_count: n, global: false };
    let served = |w: Wire| w.delivered(1, 1).ack(1).delivered(2, 2).delivered(3, 3).fates();
    // A prefetch binds consumers started after it only.
    let after = opened().up("basic.consume", consume()).up("basic.qos", qos(1));
    assert_eq!(served(after), [Fate::Unknown]);
    // It never reached the broker.
    let lost =
        opened().frame(C, Direction::ToBroker, "basic.qos", qos(1)).up("basic.consume", consume());
    assert_eq!(served(lost), [Fate::Unknown]);
    let unlimited = opened().up("basic.qos", qos(0)).up("basic.consume", consume());
    assert_eq!(served(unlimited), [Fate::Unknown]);
    // It binds each consumer on its own.
    let two = || {
        let limited = opened().up("basic.qos", qos(1));
        limited.up("basic.consume", consume()).up("basic.consume", consume())
    };
    let twice = two().delivered(1, 1).ack(1).delivered(2, 2);
    assert_eq!(twice.fates(), [Fate::Unknown]);
    assert_eq!(served(two()), [Fate::Received]);
    // recover puts messages back without settlements of their own.
    let recover = Wire::consuming(1).up("basic.recover", Args::Recover { requeue: true });
    assert_eq!(served(recover)[1..], [Fate::Unknown]);
}

#[test]
fn a_delivery_proves_no_ack_that_came_after_it() {
    // The broker sends one more than its limit allows.
    let wire = Wire::consuming(2).delivered(1, 1).delivered(2, 2).delivered(3, 3).ack(1);
    assert_eq!(wire.fates(), [Fate::Unknown]);
}

#[test]
fn after_an_ack_of_nothing_or_a_second_one_credit_proves_nothing() {
    let wire = || Wire::consuming(2).delivered(1, 1);
    let received = wire().delivered(2, 2).ack(1).delivered(3, 3);
    assert_eq!(received.fates(), [Fate::Received]);
    // Tag 9 was never delivered: the channel is closed for it, and what comes after it is not read.
    let stale = wire().delivered_at(B, 2, 2).ack(2).delivered_at(B, 3, 3).ack(9).ack(1);
    assert_eq!(stale.fates(), [Fate::Received, Fate::Unknown, Fate::Unknown]);
    // The same tag twice closes the channel.
    let twice = wire().delivered(2, 2).ack(1).ack(1).ack(2).delivered(3, 3).delivered(4, 4);
    assert_eq!(twice.fates(), [Fate::Received, Fate::Unknown, Fate::Unknown]);
}

#[test]
fn multiple_covers_what_is_outstanding_at_the_subject() {
    let wire = Wire::consuming(8).delivered(1, 1).delivered(2, 2).delivered(3, 3).delivered(4, 4);
    let wire = wire.ack(2).up("basic.ack", Args::Ack { delivery_tag: 3, multiple: true });
    let epoch = &wire.fold().epochs[0];
    assert_eq!(epoch.settlements[1].covers, [1, 3]);
    assert_eq!(epoch.deliveries[&2].settled, [0]);
    assert!(epoch.deliveries[&4].settled.is_empty());
    // Tag 0 is everything that has arrived, not what is still on its way.
    let wire = wire.delivered_at(B, 5, 5);
    let wire = wire.up("basic.nack", Args::Nack { delivery_tag: 0, multiple: true, requeue: true });
    assert_eq!(wire.fold().epochs[0].settlements[2].covers, [4]);
}

#[test]
fn recover_puts_everything_outstanding_back() {
    let wire = Wire::consuming(8).delivered(1, 1).delivered(2, 2).ack(1);
    let wire = wire.up("basic.recover", Args::Recover { requeue: true });
    let ledger = wire.down("basic.recover-ok", Args::None).fold();
    let s = &ledger.epochs[0].settlements[1];
    assert_eq!((s.kind, &s.covers[..]), (Settle::Nack { requeue: true }, &[2][..]));
    assert_eq!(s.fate, Fate::Received, "recover-ok proves it");
    assert_eq!(ledger.outstanding(), 0);
}

#[test]
fn recover_puts_back_what_was_still_on_its_way_and_a_later_ack_does_not_cover_it() {
    let wire = Wire::consuming(8).delivered(1, 1);
    let wire = wire.up("basic.recover", Args::Recover { requeue: true }).delivered(2, 2);
    let wire = wire.down("basic.recover-ok", Args::None).delivered(3, 1).delivered(4, 2);
    let wire = wire.up("basic.ack", Args::Ack { delivery_tag: 4, multiple: true });
    let ledger = wire.fold();
    let settlements = &ledger.epochs[0].settlements;
    assert_eq!(settlements[0].covers, [1, 2]);
    assert_eq!(settlements[1].covers, [3, 4]);
}

#[test]
fn a_copy_s_confirm_may_be_recorded_after_the_ack_that_waited_for_it() {
    let header = |id: &str| Args::Header {
        body_size: 0,
        message_id: Some(id.into()),
        delivery_mode: Some(2),
    };
    let publish =
        Args::Publish { exchange: String::new(), routing_key: "aside".into(), mandatory: false };
    let wire = Wire::consuming(8).what(What::Published { id: 1 }).what(What::Confirmed { id: 1 });
    let wire = wire.up("confirm.select", Args::None).delivered(1, 1);
    let wire = wire.up("basic.publish", publish).up("header", header("m1")).ack(1);
    assert_eq!(wire.fold().done(), 1, "acked, and nothing is reported");
    let reports = wire.what(What::HandlerStarted { id: 1, redelivered: false });
    let reports = reports.what(What::HandlerEnded { id: 1, ok: false });
    assert_eq!(reports.fold().done(), 0, "it failed");
    let confirm = Args::Ack { delivery_tag: 1, multiple: false };
    assert_eq!(reports.down("basic.ack", confirm).fold().done(), 1, "and was set aside");
}

#[test]
fn a_channel_number_opened_anew_is_another_epoch_and_late_acks_stay_with_the_old() {
    let ack = Args::Ack { delivery_tag: 1, multiple: false };
    let wire = Wire::consuming(8)
        .delivered(1, 1)
        .frame(B, Direction::ToClient, "channel.close", close(406))
        .frame(C, Direction::ToBroker, "basic.ack", ack.clone())
        .frame(C, Direction::ToClient, "channel.close", close(406))
        .frame(C, Direction::ToBroker, "channel.close-ok", Args::None)
        .frame(C, Direction::ToBroker, "channel.open", Args::None)
        .frame(B, Direction::ToBroker, "basic.ack", ack)
        .frame(B, Direction::ToBroker, "channel.open", Args::None)
        .down("channel.open-ok", Args::None)
        .up("basic.consume", consume())
        .delivered(1, 1);
    let ledger = wire.fold();
    assert_eq!(ledger.epochs.len(), 2);
    assert!(ledger.epochs[0].client_over.is_some() && ledger.epochs[1].client_over.is_none());
    assert!(ledger.epochs[0].settlements[0].at_broker.is_some(), "late, but it arrived");
    assert_eq!(ledger.epochs[0].settlements[0].fate, Fate::Unknown);
    assert_eq!(ledger.messages[&1].deliveries, [(0, 1), (1, 1)]);
    assert_eq!(ledger.outstanding(), 1);
}

#[test]
fn the_end_of_a_connection_ends_its_epochs_at_each_side_for_itself() {
    let wire = Wire::consuming(8).what(What::Cut { conn: 1, end: C, how: Ending::Rst });
    let ledger = wire.fold();
    assert!(ledger.epochs[0].client_over.is_some() && ledger.epochs[0].broker_over.is_none());
    assert!(!ledger.consuming());
    let ledger = wire.what(What::Closed { conn: 1 }).fold();
    assert!(ledger.epochs[0].broker_over.is_some());
}

#[test]
fn a_message_counts_as_handled_once() {
    let started = || What::HandlerStarted { id: 1, redelivered: false };
    let ended = |ok| What::HandlerEnded { id: 1, ok };
    let wire = Wire::default().what(started()).what(ended(false)).what(started()).what(ended(true));
    let ledger = wire.what(started()).what(ended(true)).fold();
    assert_eq!(ledger.handled, 1);
    assert_eq!(ledger.messages[&1].handled().map(|m| m.seq), Some(3));
    assert_eq!(ledger.running, 0);
}
