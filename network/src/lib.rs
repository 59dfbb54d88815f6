//! A simulated flaky network for AMQP: TCP links that go wrong exactly where they are told to.
//!
//! A [`Link`] is one listener and one upstream. Each connection through it is one task that drives
//! both directions: `read -> near tap -> faults -> write -> far tap`. A [`Fault`] is injected while
//! traffic flows, at once or at a [`Point`] of the protocol ("3 bytes into the 17th
//! `basic.deliver`"); when [`Link::inject`] returns, the next byte is subject to it. A [`Tap`]
//! hears what crossed either end, frame by frame, and everything the link did.
//!
//! The modules, in reading order: who is who on the wire ([`mod@wire`]), chance that replays
//! ([`mod@seed`]), what the bytes say ([`amqp`]), what is told about them ([`mod@event`]), what can
//! go wrong ([`mod@fault`]), the link that joins them ([`mod@link`]), and a Toxiproxy server over links
//! (`toxiproxy`, behind the feature of that name, which is on by default).
//!
//! It knows nothing of brokers, consumers, or verdicts.

pub mod wire;

pub mod seed;

mod address;

pub mod amqp;

mod serde_duration;

pub mod event;

pub mod fault;

pub mod link;

#[cfg(feature = "toxiproxy")]
pub mod toxiproxy;

pub use amqp::{Args, Frame, FrameName, Item, Scanner};
pub use event::{Ending, Event, Tap, What};
pub use fault::{Active, Edge, Fault, FaultError, FaultId, Injection, Point};
pub use link::{Builder, Connection, Link};
pub use seed::Seed;
pub use wire::{CloseKind, Direction, End, Side};
