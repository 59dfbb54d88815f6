//! AMQP 0-9-1 on the wire, with RabbitMQ's extensions: bytes to frames and back, without a socket.
//!
//! Two readers of the same bytes, for two purposes:
//!
//! - [`Scanner`] makes [`Frame`]s with the arguments that matter from any fragmentation, and never refuses: a tap sees
//!   what is there. It decides no protocol: a frame out of place is a frame. It never keeps a body, nor a password.
//! - [`codec`] reads and writes whole methods, tables and properties, and refuses what is malformed, in RabbitMQ's words.
//!
//! In reading order: the methods by number and name ([`mod@methods`]), where frames begin and end ([`mod@boundary`]), what
//! they are called ([`mod@name`]), what their arguments say ([`mod@args`]), one frame with all of it ([`mod@frame`]), the
//! scanner ([`mod@scanner`]), and the codec ([`mod@codec`]).

pub mod methods;

pub mod boundary;

pub mod name;

pub mod args;

mod decode;

pub mod frame;

pub mod scanner;

pub mod codec;

pub use args::Args;
pub use frame::Frame;
pub use name::FrameName;
pub use scanner::{Item, Scanner};
