//! What goes wrong on a network, as data: the network plays it, scenarios ask for it, checkers read about it.
//!
//! In reading order: who is who on a link ([`mod@wire`]), random numbers that replay ([`mod@seed`]), durations in files
//! ([`mod@duration`]), the faults as one enum ([`mod@fault`]) and one table ([`mod@catalogue`]), those of Toxiproxy
//! ([`mod@toxic`]), how one is asked for ([`mod@injection`]), why it may be refused ([`mod@error`]), and the events of a
//! link ([`mod@event`]).
//!
//! No socket, no clock of its own and no runtime is needed to read any of it.

pub mod wire;

pub mod seed;

pub mod duration;

pub mod fault;

pub mod catalogue;

pub mod toxic;

pub mod injection;

pub mod error;

pub mod event;

pub use catalogue::{About, CATALOGUE, Kind};
pub use error::FaultError;
pub use event::{Ending, Event, Tap, What};
pub use fault::Fault;
pub use injection::{Active, Edge, FaultId, Injection, Point};
pub use seed::Seed;
pub use toxic::Toxic;
pub use wire::{CloseKind, Direction, End, Side};
