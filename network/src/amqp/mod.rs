//! What the bytes say: an incremental scanner of AMQP 0-9-1 frames that never sees a socket.
//!
//! In reading order: where frames begin and end ([`mod@boundary`]), what they are called
//! ([`mod@name`]), what their arguments say ([`mod@args`], [`mod@decode`]), one frame with all of it
//! ([`mod@frame`]), and the scanner that makes them from any fragmentation ([`mod@scanner`]).
//!
//! It decides no protocol: a frame out of place is a frame. It never keeps a body, nor a password.

pub(crate) mod boundary;

pub mod name;

pub mod args;

pub(crate) mod decode;

pub mod frame;

pub mod scanner;

pub use args::Args;
pub use frame::Frame;
pub use name::FrameName;
pub use scanner::{Item, Scanner};
