//! The methods and properties of AMQP 0-9-1 as one table. The codec of the broker under test is
//! another one, so that a mistake in either shows.

/// How a field travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Octet,
    Short,
    Long,
    LongLong,
    ShortStr,
    LongStr,
    Bit,
    Table,
}

/// One method: its name, its class and method ids, its fields, and whether a reply ends it.
#[derive(Debug)]
pub struct Method {
    pub name: &'static str,
    pub class: u16,
    pub id: u16,
    fields: &'static str,
    pub replies: &'static [&'static str],
}

impl Method {
    /// Fields in their order on the wire; the reserved ones begin with `_`.
    pub fn fields(&self) -> impl Iterator<Item = (&'static str, Kind)> {
        self.fields.split_whitespace().map(field)
    }

    /// Whether a content header and body follow.
    pub fn has_content(&self) -> bool {
        matches!(self.name, "basic.publish" | "basic.deliver" | "basic.return" | "basic.get-ok")
    }
}

fn field(text: &'static str) -> (&'static str, Kind) {
    let (name, kind) = text.split_once(':').expect("a field is name:kind");
    let kind = match kind {
        "o" => Kind::Octet,
        "s" => Kind::Short,
        "l" => Kind::Long,
        "L" => Kind::LongLong,
        "S" => Kind::ShortStr,
        "X" => Kind::LongStr,
        "b" => Kind::Bit,
        "T" => Kind::Table,
        other => panic!("no kind {other}"),
    };
    (name, kind)
}

/// The fourteen properties of the basic class, from the highest flag down.
pub fn properties() -> impl Iterator<Item = (&'static str, Kind)> {
    "content_type:S content_encoding:S headers:T delivery_mode:o priority:o correlation_id:S \
     reply_to:S expiration:S message_id:S timestamp:L type:S user_id:S app_id:S cluster_id:S"
        .split_whitespace()
        .map(field)
}

pub fn by_name(name: &str) -> Option<&'static Method> {
    METHODS.iter().find(|m| m.name == name)
}

pub fn by_id(class: u16, id: u16) -> Option<&'static Method> {
    METHODS.iter().find(|m| (m.class, m.id) == (class, id))
}

const fn m(
    name: &'static str,
    (class, id): (u16, u16),
    fields: &'static str,
    replies: &'static [&'static str],
) -> Method {
    Method { name, class, id, fields, replies }
}

#[rustfmt::skip]
const METHODS: &[Method] = &[
    m("connection.start", (10, 10), "version_major:o version_minor:o server_properties:T mechanisms:X locales:X", &[]),
    m("connection.start-ok", (10, 11), "client_properties:T mechanism:S response:X locale:S", &["connection.tune", "connection.secure"]),
    m("connection.secure", (10, 20), "challenge:X", &[]),
    m("connection.secure-ok", (10, 21), "response:X", &["connection.tune", "connection.secure"]),
    m("connection.tune", (10, 30), "channel_max:s frame_max:l heartbeat:s", &[]),
    m("connection.tune-ok", (10, 31), "channel_max:s frame_max:l heartbeat:s", &[]),
    m("connection.open", (10, 40), "virtual_host:S _capabilities:S _insist:b", &["connection.open-ok"]),
    m("connection.open-ok", (10, 41), "_known_hosts:S", &[]),
    m("connection.close", (10, 50), "reply_code:s reply_text:S class_id:s method_id:s", &["connection.close-ok"]),
    m("connection.close-ok", (10, 51), "", &[]),
    m("connection.blocked", (10, 60), "reason:S", &[]),
    m("connection.unblocked", (10, 61), "", &[]),
    m("connection.update-secret", (10, 70), "new_secret:X reason:S", &["connection.update-secret-ok"]),
    m("connection.update-secret-ok", (10, 71), "", &[]),
    m("channel.open", (20, 10), "_out_of_band:S", &["channel.open-ok"]),
    m("channel.open-ok", (20, 11), "_channel_id:X", &[]),
    m("channel.flow", (20, 20), "active:b", &["channel.flow-ok"]),
    m("channel.flow-ok", (20, 21), "active:b", &[]),
    m("channel.close", (20, 40), "reply_code:s reply_text:S class_id:s method_id:s", &["channel.close-ok"]),
    m("channel.close-ok", (20, 41), "", &[]),
    m("access.request", (30, 10), "realm:S exclusive:b passive:b active:b write:b read:b", &["access.request-ok"]),
    m("access.request-ok", (30, 11), "ticket:s", &[]),
    m("exchange.declare", (40, 10), "_ticket:s exchange:S type:S passive:b durable:b auto_delete:b internal:b nowait:b arguments:T", &["exchange.declare-ok"]),
    m("exchange.declare-ok", (40, 11), "", &[]),
    m("exchange.delete", (40, 20), "_ticket:s exchange:S if_unused:b nowait:b", &["exchange.delete-ok"]),
    m("exchange.delete-ok", (40, 21), "", &[]),
    m("exchange.bind", (40, 30), "_ticket:s destination:S source:S routing_key:S nowait:b arguments:T", &["exchange.bind-ok"]),
    m("exchange.bind-ok", (40, 31), "", &[]),
    m("exchange.unbind", (40, 40), "_ticket:s destination:S source:S routing_key:S nowait:b arguments:T", &["exchange.unbind-ok"]),
    m("exchange.unbind-ok", (40, 51), "", &[]),
    m("queue.declare", (50, 10), "_ticket:s queue:S passive:b durable:b exclusive:b auto_delete:b nowait:b arguments:T", &["queue.declare-ok"]),
    m("queue.declare-ok", (50, 11), "queue:S messages:l consumers:l", &[]),
    m("queue.bind", (50, 20), "_ticket:s queue:S exchange:S routing_key:S nowait:b arguments:T", &["queue.bind-ok"]),
    m("queue.bind-ok", (50, 21), "", &[]),
    m("queue.purge", (50, 30), "_ticket:s queue:S nowait:b", &["queue.purge-ok"]),
    m("queue.purge-ok", (50, 31), "messages:l", &[]),
    m("queue.delete", (50, 40), "_ticket:s queue:S if_unused:b if_empty:b nowait:b", &["queue.delete-ok"]),
    m("queue.delete-ok", (50, 41), "messages:l", &[]),
    m("queue.unbind", (50, 50), "_ticket:s queue:S exchange:S routing_key:S arguments:T", &["queue.unbind-ok"]),
    m("queue.unbind-ok", (50, 51), "", &[]),
    m("basic.qos", (60, 10), "prefetch_size:l prefetch_count:s global:b", &["basic.qos-ok"]),
    m("basic.qos-ok", (60, 11), "", &[]),
    m("basic.consume", (60, 20), "_ticket:s queue:S consumer_tag:S no_local:b no_ack:b exclusive:b nowait:b arguments:T", &["basic.consume-ok"]),
    m("basic.consume-ok", (60, 21), "consumer_tag:S", &[]),
    m("basic.cancel", (60, 30), "consumer_tag:S nowait:b", &["basic.cancel-ok"]),
    m("basic.cancel-ok", (60, 31), "consumer_tag:S", &[]),
    m("basic.publish", (60, 40), "_ticket:s exchange:S routing_key:S mandatory:b immediate:b", &[]),
    m("basic.return", (60, 50), "reply_code:s reply_text:S exchange:S routing_key:S", &[]),
    m("basic.deliver", (60, 60), "consumer_tag:S delivery_tag:L redelivered:b exchange:S routing_key:S", &[]),
    m("basic.get", (60, 70), "_ticket:s queue:S no_ack:b", &["basic.get-ok", "basic.get-empty"]),
    m("basic.get-ok", (60, 71), "delivery_tag:L redelivered:b exchange:S routing_key:S messages:l", &[]),
    m("basic.get-empty", (60, 72), "_cluster_id:S", &[]),
    m("basic.ack", (60, 80), "delivery_tag:L multiple:b", &[]),
    m("basic.reject", (60, 90), "delivery_tag:L requeue:b", &[]),
    m("basic.recover-async", (60, 100), "requeue:b", &[]),
    m("basic.recover", (60, 110), "requeue:b", &["basic.recover-ok"]),
    m("basic.recover-ok", (60, 111), "", &[]),
    m("basic.nack", (60, 120), "delivery_tag:L multiple:b requeue:b", &[]),
    m("confirm.select", (85, 10), "nowait:b", &["confirm.select-ok"]),
    m("confirm.select-ok", (85, 11), "", &[]),
    m("tx.select", (90, 10), "", &["tx.select-ok"]),
    m("tx.select-ok", (90, 11), "", &[]),
    m("tx.commit", (90, 20), "", &["tx.commit-ok"]),
    m("tx.commit-ok", (90, 21), "", &[]),
    m("tx.rollback", (90, 30), "", &["tx.rollback-ok"]),
    m("tx.rollback-ok", (90, 31), "", &[]),
];
