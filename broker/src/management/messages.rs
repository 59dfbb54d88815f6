//! Publishing a message and getting some, over HTTP.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use serde_json::{Value as Json, json};

use super::access::Need::Management;
use super::access::Thing;
use super::answer::Answer;
use super::exchanges::unnamed;
use super::json::{from_props, to_props};
use super::route::{Call, Reply, Resource};
use crate::look::messages::{Settle, Taken};
use crate::model::message::{Message, compact};
use crate::model::user::Access;
use crate::model::{exchange_in, queue_in};
use crate::wire::{AmqpError, Code, Props};

/// The encoding of a payload that is text.
pub(super) const STRING: &str = "string";
const BASE64: &str = "base64";

pub(super) const RESOURCES: &[Resource] = &[
    Resource {
        path: "exchanges/{vhost}/{exchange}/publish",
        methods: &[("POST", Management, publish)],
    },
    Resource { path: "queues/{vhost}/{queue}/get", methods: &[("POST", Management, get)] },
];

/// What a client would have been told on its channel, told by management with the code in front.
fn as_client(error: &AmqpError) -> Answer {
    Answer::bad(format!("{} {}", error.code.number(), error.text()))
}

/// A message as a client would have sent it.
pub(super) fn deliverable(
    exchange: &str,
    key: &str,
    props: &Props,
    payload: &str,
    encoding: &str,
) -> Result<Message, Answer> {
    let body: Bytes = match encoding {
        STRING => payload.to_owned().into(),
        BASE64 => match BASE64_STANDARD.decode(payload) {
            Ok(bytes) => bytes.into(),
            Err(_) => return Err(Answer::bad(json!(["not_base64", payload]))),
        },
        other => return Err(Answer::bad(json!(["unsupported_encoding", other]))),
    };
    let (props, body) = compact(&props.write(), &body);
    Message::published(exchange.into(), key.into(), props, body).map_err(|e| as_client(&e))
}

fn publish(call: &mut Call<'_>) -> Reply {
    let vhost = call.vhost();
    let exchange = unnamed(call.name(0));
    let known = call.core.model.vhosts.get(vhost).and_then(|it| it.exchanges.get(exchange));
    let is_internal = known.ok_or_else(|| Answer::missing("exchange_not_found"))?.internal;
    let object = call.object()?;
    object.needs(&["routing_key", "properties", "payload", "payload_encoding"])?;
    let key = object.text("routing_key")?.unwrap_or_default();
    if key.len() > 255 {
        return Err(Answer::bad(json!(["too_long", "routing_key"])));
    }
    let Some(Json::String(payload)) = object.get("payload") else {
        return Err(Answer::bad("payload_not_string"));
    };
    let encoding = object.text("payload_encoding")?.unwrap_or(STRING);
    let props = to_props(object.get("properties").unwrap_or(&Json::Null))?;
    let message = deliverable(exchange, key, &props, payload, encoding)?;
    call.permit(Access::Write, Thing::Exchange(exchange)).map_err(|e| as_client(&e))?;
    let refused = |code, text: String| Err(as_client(&AmqpError::new(code, text)));
    if is_internal {
        let shown = exchange_in(vhost, exchange);
        return refused(Code::AccessRefused, format!("cannot publish to internal {shown}"));
    }
    if let Some(claimed) = props.user_id.as_deref().filter(|claimed| **claimed != *call.user) {
        return refused(
            Code::PreconditionFailed,
            format!(
                "user_id property set to '{claimed}' but authenticated user was '{}'",
                call.user
            ),
        );
    }
    let routed = call.core.put_message(vhost, message)?;
    Ok(Answer::ok(json!({ "routed": routed })))
}

fn get(call: &mut Call<'_>) -> Reply {
    let (vhost, queue) = (call.vhost(), call.name(0));
    if call.core.model.queue_id(vhost, queue).is_none() {
        return Err(Answer::missing("queue_not_found"));
    }
    let object = call.object()?;
    object.needs(&["ackmode", "count", "encoding"])?;
    let settle = match object.text("ackmode")? {
        Some("ack_requeue_true" | "reject_requeue_true") => Settle::Requeue,
        Some("ack_requeue_false") => Settle::Ack,
        Some("reject_requeue_false") => Settle::Reject,
        other => return Err(Answer::bad(json!(["unsupported_ackmode", other]))),
    };
    let always_base64 = match object.text("encoding")? {
        Some("auto") => false,
        Some(BASE64) => true,
        _ => return Err(Answer::bad("Unsupported encoding. Please use auto or base64.")),
    };
    let size = |key: &str| -> Result<Option<usize>, Answer> {
        Ok(object.number(key)?.map(|n| usize::try_from(n).unwrap_or(0)))
    };
    let count = size("count")?.unwrap_or(0);
    let truncate = size("truncate")?.unwrap_or(usize::MAX);
    call.permit(Access::Read, Thing::Queue(queue)).map_err(|e| as_client(&e))?;
    super::queues::unlocked(call, queue)?;
    if call.core.model.queue(vhost, queue).is_some_and(|queue| queue.stream.is_some()) {
        let shown = queue_in(vhost, queue);
        return Err(Answer::bad(format!("540 basic.get not supported by stream queues {shown}")));
    }
    let taken = call.core.take_messages(vhost, queue, count, settle).unwrap_or_default();
    let shown = taken.iter().map(|taken| shown(taken, truncate, always_base64));
    Ok(Answer::ok(shown.collect()))
}

fn shown(taken: &Taken, truncate: usize, always_base64: bool) -> Json {
    let message = &taken.message;
    let part = &message.body[..message.body.len().min(truncate)];
    let (payload, encoding) = match std::str::from_utf8(part) {
        Ok(text) if !always_base64 => (text.to_owned(), STRING),
        _ => (BASE64_STANDARD.encode(part), BASE64),
    };
    json!({
        "payload_bytes": message.body.len(),
        "redelivered": taken.redelivered,
        "exchange": &*message.exchange,
        "routing_key": &*message.routing_key,
        "message_count": taken.left,
        "properties": from_props(&message.all_props()),
        "payload": payload,
        "payload_encoding": encoding,
    })
}
