//! A delivered message as the handler sees it, and the epoch it belongs to.
//!
//! Holds no means of acknowledging: settling is the session's business, on the channel that delivered it.

use std::{fmt, sync::Arc};

use lapin::{message::Delivery, types::FieldTable};
use serde::Serialize;

/// One connection and channel: an acknowledgement is valid only in the epoch of its delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub struct Epoch {
    /// Number of the connection, from 1, counted over the consumer's life.
    pub connection: u64,
    /// Number of the channel-open, from 1, counted over the consumer's life.
    pub channel: u64,
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.connection, self.channel)
    }
}

/// A delivered message.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Message {
    /// The `message_id` property.
    pub id: Option<Arc<str>>,
    /// The payload.
    pub body: Vec<u8>,
    /// Headers, empty if there are none.
    pub headers: FieldTable,
    /// All properties as received.
    pub properties: lapin::BasicProperties,
    /// The broker says it may have been delivered before.
    pub redelivered: bool,
    /// Exchange it was published to.
    pub exchange: String,
    /// Routing key it was published with.
    pub routing_key: String,
    /// Delivery tag, meaningful in [`Message::epoch`] only.
    pub delivery_tag: u64,
    /// Connection and channel that delivered it.
    pub epoch: Epoch,
    /// Which worker received it.
    pub worker: usize,
    /// Which run of the handler this is, from 1.
    pub attempt: u32,
    /// What is not as it was published; empty for nearly every message.
    ///
    /// AMQP allows any bytes in its strings, this crate's types only UTF-8, and the headers of a message can be
    /// larger than a frame. Names of properties (`message_id`, `headers`, ...), `exchange` or `routing_key`:
    /// in those named here, bytes that are not UTF-8 are replaced by `?`, header values that cannot be read are
    /// byte arrays or left out, and `headers` larger than the frame are left out as a whole. The body is never
    /// altered, and neither is what the broker keeps: a message that is rejected is dead-lettered as it was.
    pub altered: Vec<&'static str>,
}

impl Message {
    pub(crate) fn from_delivery(delivery: &mut Delivery, epoch: Epoch, worker: usize) -> Self {
        let properties = std::mem::take(&mut delivery.properties);
        Self {
            id: properties.message_id().as_ref().map(|id| Arc::from(id.as_str())),
            body: std::mem::take(&mut delivery.data),
            headers: properties.headers().clone().unwrap_or_default(),
            properties,
            redelivered: delivery.redelivered,
            exchange: delivery.exchange.to_string(),
            routing_key: delivery.routing_key.to_string(),
            delivery_tag: delivery.delivery_tag,
            epoch,
            worker,
            attempt: 1,
            altered: Vec::new(),
        }
    }

    /// The id, or one made of epoch and delivery tag where the publisher set none.
    pub fn label(&self) -> String {
        match &self.id {
            Some(id) => id.to_string(),
            None => format!("{}#{}", self.epoch, self.delivery_tag),
        }
    }
}
