//! The core alone, without sockets or clock. This file is the table of contents.

mod driver;

/// Random octets, frames and requests.
mod random;

/// Peers that take and do not give.
mod hostile;

/// Faults at exact points, and what is left after them.
mod faults;

/// Streams over time.
mod streams;

/// Time: heartbeats, timeouts, what is delayed.
mod time;
