//! What a link tells: events, and the taps that hear them.
//!
//! Instants are monotonic and of this process; whoever stores events makes them relative.

use std::{net::SocketAddr, sync::Arc, time::Instant};

use gauntlet_amqp::Item;
use serde::{Deserialize, Serialize};

use crate::injection::{FaultId, Injection};
use crate::wire::{CloseKind, Direction, End};

/// A passive recorder of a link. Closures `Fn(Event)` are taps.
///
/// `record` is called in causal order for each connection, from the connection's own task and
/// partly while the link's fault table is held, so that the order of the record is the order of
/// things: nothing recorded after [`What::Injected`] escaped that fault. It must therefore be quick,
/// and must not call the link.
pub trait Tap: Send + Sync {
    /// Takes note of one event.
    fn record(&self, event: Event);
}

impl<F: Fn(Event) + Send + Sync> Tap for F {
    fn record(&self, event: Event) {
        self(event);
    }
}

/// Something that happened on a link.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// When: just after the read for the near end, just before the write for the far end.
    pub at: Instant,
    /// The link's name.
    pub link: Arc<str>,
    /// The connection, counted from 1 on its link; `None` where the whole link is meant.
    pub conn: Option<u64>,
    /// What.
    pub what: What,
}

/// The kinds of [`Event`].
#[derive(Debug, Clone, PartialEq)]
pub enum What {
    /// A client connected.
    Accepted {
        /// The client's address.
        peer: SocketAddr,
    },
    /// Accepting failed; the link goes on after a pause.
    AcceptFailed {
        /// What the operating system said.
        error: String,
    },
    /// The upstream was reached.
    Dialed {
        /// Its address.
        upstream: SocketAddr,
    },
    /// The upstream could not be reached; the client's end is reset.
    DialFailed {
        /// Its address.
        upstream: SocketAddr,
        /// What the operating system said.
        error: String,
    },
    /// A frame, or bytes that are none, crossed one end completely.
    Wire {
        /// Which end. Going [`Direction::ToBroker`] the client's end is the near one, read from.
        end: End,
        /// Which way.
        way: Direction,
        /// The frame.
        item: Item,
    },
    /// The peer at this end stopped: its last word was read, or an I/O error came in its place.
    Ended {
        /// Which end.
        end: End,
        /// How it ended.
        how: Ending,
    },
    /// What this link did to that end, on a fault's account or because the other end ended so.
    Cut {
        /// Which end.
        end: End,
        /// How.
        how: CloseKind,
    },
    /// The connection is over and its task done.
    Closed,
    /// A fault is in force, or armed: everything after this is subject to it.
    Injected {
        /// Its id on this link.
        fault: FaultId,
        /// The fault's name, as in the catalogue.
        name: &'static str,
        /// The fault in full.
        injection: Box<Injection>,
    },
    /// A fault did something: once a connection for lasting faults, each time for single ones.
    Fired {
        /// Its id on this link.
        fault: FaultId,
        /// In which direction, where it has one.
        way: Option<Direction>,
        /// On what.
        note: String,
    },
    /// A fault is no longer in force.
    Lifted {
        /// Its id on this link.
        fault: FaultId,
    },
}

/// How a peer ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// End of file: it will send no more, and may still read.
    Fin,
    /// Connection reset.
    Rst,
    /// Any other I/O error, treated as a reset.
    Error(String),
}
