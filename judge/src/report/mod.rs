//! What people read: the trace of a run, and the summary of many.

mod busy;
pub mod groups;
pub mod hints;
pub mod league;
pub mod strangers;
pub mod summary;
pub mod trace;
