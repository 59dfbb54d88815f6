//! The wire format of AMQP 0-9-1 as RabbitMQ reads and writes it: bytes to frames, methods, tables, properties,
//! and back. It keeps no state and knows nothing of connections.
//!
//! It is a codec of its own, small, because the broker must answer what is malformed with RabbitMQ's words, keep the
//! order of tables, never recurse deeper than it likes, and forward content it has not looked into.

pub mod error;

pub mod frame;

pub mod read;

pub mod table;

pub mod method;

pub mod name;

pub mod reply;

pub mod props;

pub mod erlang;

pub mod text;

mod write;

pub use erlang::pretty as erlang_binary;
pub use error::{AmqpError, Code};
pub use frame::{Kind, Split};
pub use method::Method;
pub use name::MethodId;
pub use props::Props;
pub use reply::Reply;
pub use table::{Table, Value};
