//! The record of a run: every event on one monotonic clock, append-only, on disk as it happens.
//!
//! Owns events, their reading, and the fold that pairs deliveries with
//! settlements. It judges nothing.

pub mod event;
pub mod ledger;
mod load;
mod peers;
mod reader;

pub use event::{Ending, Event, Moment, Owner, Phase, SubjectEnd, What};
pub use load::{Load, Waiter};
pub use peers::Peers;
pub(crate) use reader::read_file;
pub use reader::{History, HistoryError};
