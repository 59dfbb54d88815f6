//! What can go wrong, at work: how a link plays the faults that `gauntlet-faults` describes.
//!
//! In reading order: what a fault may say about the bytes waiting at the head of a direction ([`mod@effect`]), one file for
//! each fault, what each becomes ([`mod@play`]), and the table a link's connections read ([`mod@table`]).
//!
//! A fault knows no socket: it answers questions, and the link acts on the answers.

pub(crate) mod effect;

mod accept_then_close;
mod bandwidth;
mod blackhole;
mod corrupt;
mod cut;
mod drop;
mod hold;
mod ignore;
mod latency;
mod limit;
mod limit_connections;
pub(crate) mod refuse;
mod reset_peer;
mod slice;
mod slow_close;
mod stall;
mod timeout;
mod toxic;
mod truncate;

pub(crate) mod play;
pub(crate) mod table;

pub use gauntlet_faults::catalogue::{self, About, CATALOGUE, Kind};
pub use gauntlet_faults::error::{self, FaultError};
pub use gauntlet_faults::fault::Fault;
pub use gauntlet_faults::injection::{self, Active, Edge, FaultId, Injection, Point};
pub use gauntlet_faults::toxic::Toxic;
