//! A simulated flaky network for AMQP: TCP links that go wrong exactly where they are told to.
//!
//! A [`Link`] is one listener and one upstream. Each connection through it is one task that drives
//! both directions: `read -> near tap -> faults -> write -> far tap`. A [`Fault`] is injected while
//! traffic flows, at once or at a [`Point`] of the protocol ("3 bytes into the 17th
//! `basic.deliver`"); when [`Link::inject`] returns, the next byte is subject to it. A [`Tap`]
//! hears what crossed either end, frame by frame, and everything the link did.
//!
//! What the bytes say is `gauntlet-amqp`'s, what can go wrong is `gauntlet-faults`', as data. Here, in reading order: how
//! faults are played ([`mod@fault`]), the link that joins all ([`mod@link`]), and a Toxiproxy server over links (`toxiproxy`,
//! behind the feature of that name, which is on by default).
//!
//! It knows nothing of brokers, consumers, or verdicts.

mod address;

pub use gauntlet_amqp as amqp;
pub use gauntlet_faults::{event, seed, wire};

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
