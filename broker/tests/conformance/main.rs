//! The conformance suite: what RabbitMQ 4.0 does, frame by frame, and the same asked of the
//! embedded broker. This file is its table of contents.

mod case;
mod http;
mod run;
mod spec;
mod target;
mod value;
mod wire;

/// From the protocol header to connection.open-ok.
mod handshake;

/// Methods and frames where they must not be.
mod frames;

/// Opening, closing and using channels.
mod channels;

/// Declaring and deleting exchanges, and what may not be.
mod exchanges;

/// Where each type of exchange sends a message.
mod routing;

/// Declaring, binding and deleting queues.
mod queues;

/// Arguments of queues that are refused.
mod arguments;

/// Publishing: returns, confirms, refusals, bodies and properties.
mod publish;

/// Consumers: starting, cancelling, sharing a queue.
mod consume;

/// How many deliveries may be outstanding.
mod qos;

/// Ack, nack, reject, recover, get.
mod acks;

/// Transactions.
mod tx;

/// Time to live, expiry, length, priorities.
mod limits;

/// Dead letters and what they carry.
mod dead_letters;

/// Quorum queues.
mod quorum;

/// Streams: declared and refused.
mod streams;

/// Streams: read.
mod stream_reading;

/// Direct reply-to.
mod reply_to;

/// Policies, users and virtual hosts that change under clients.
mod operator;
