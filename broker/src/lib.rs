//! A RabbitMQ that lives inside the process: AMQP 0-9-1 with the behaviour of RabbitMQ 4.0 as its clients see it.
//!
//! A [`Broker`] is a socket around a [`Core`], which is the whole of the broker without socket or clock: bytes and
//! time in; bytes, closes and deadlines out. It starts within a millisecond and keeps what is durable over a restart.
//!
//! The modules, in reading order: what is on the wire ([`wire`]), what the broker knows ([`model`]), a connection's
//! life ([`connection`]) and a channel's methods ([`channel`]), the node that joins them ([`core`]), what goes wrong on
//! purpose ([`faults`]), a look inside ([`look`]), the server ([`server`]), and RabbitMQ's management API over HTTP ([`management`]).
//!
//! It knows nothing of networks that fail, consumers under test, or verdicts.
//!
//! # Where it differs from RabbitMQ 4.0
//!
//! - No clustering, no TLS, no AMQP 1.0, no stream protocol, no plugins, no topic permissions.
//! - A stream is kept in memory, and a chunk of it is one message: an offset of `last` or of a time is exact to the message,
//!   and a filter lets nothing through that is not wanted. How many messages it has is known at once.
//! - A publish is confirmed when it is in its queues, which takes no time, so confirms come in order and early;
//!   RabbitMQ may tell them later and in other groups.
//! - What happens on one connection happens at once and in order: a message is delivered to another channel before
//!   the next method of the publisher is read.
//! - A quorum queue is one node's: it dead-letters at most once, and keeps everything over a crash.
//! - The management API has no user interface, counts no rates, and leaves out what this broker does not have.
//! - Tables nested deeper than 64 levels are malformed.

pub use gauntlet_amqp::codec as wire;

mod refuse;

pub mod model;

pub mod connection;

pub mod channel;

pub mod core;

pub mod faults;

pub mod look;

pub mod server;

pub mod management;

pub use crate::core::{Batch, ChannelId, Config, ConnectionId, Core, How};
pub use faults::{Action, Direction, Edge, ReplyRule, Trigger, Withheld};
pub use look::Look;
pub use look::events::Event;
pub use management::Management;
pub use server::{Broker, ServerError};
pub use wire::{MethodId, Table, Value};
