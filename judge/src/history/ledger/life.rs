//! The lives the ledger keeps: of a message, a handling, a connection, a step of the schedule.

use std::collections::BTreeMap;

use gauntlet_faults::End;

use crate::history::event::{Event, Owner};

/// When and where in the history something happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark {
    /// Nanoseconds since the run began; first, so that marks order by time.
    pub ns: u64,
    /// The event's sequence number; ties break by it.
    pub seq: u64,
}

impl From<&Event> for Mark {
    fn from(event: &Event) -> Mark {
        Mark { ns: event.ns, seq: event.seq }
    }
}

/// Everything known of one message.
#[derive(Clone, Debug, Default)]
pub struct Message {
    /// Handed to the publisher's connection.
    pub published: Option<Mark>,
    /// Confirmed by the broker.
    pub confirmed: Option<Mark>,
    /// The publisher does not know its fate.
    pub publish_unknown: Option<Mark>,
    /// Its deliveries, as (index into [`Ledger::epochs`](super::Ledger::epochs), delivery tag), in order of arrival at the
    /// broker's tap (at the subject's, where the broker's end has none).
    pub deliveries: Vec<(usize, u64)>,
    /// The subject's own publishes with its id, as indexes into [`Ledger::copies`](super::Ledger::copies), in order.
    pub copies: Vec<usize>,
    /// Its handlings, in order of their start.
    pub handlings: Vec<Handling>,
    /// Its effects.
    pub effects: Vec<Mark>,
    /// Where it was found after everything was over.
    pub remaining: Vec<(String, Mark)>,
}

impl Message {
    /// The end of its first successful handling.
    pub fn handled(&self) -> Option<Mark> {
        self.handlings.iter().filter_map(|h| h.end).filter(|(_, ok)| *ok).map(|(m, _)| m).min()
    }
}

/// One run of a handler.
#[derive(Clone, Copy, Debug)]
pub struct Handling {
    /// When it began.
    pub start: Mark,
    /// The redelivered flag it saw.
    pub redelivered: bool,
    /// When it ended, and whether it succeeded.
    pub end: Option<(Mark, bool)>,
}

/// Everything known of one connection of the subject.
#[derive(Clone, Debug, Default)]
pub struct Connection {
    /// Who holds the socket at the subject's end, where that was looked up.
    pub owner: Option<Owner>,
    /// Accepted by the link.
    pub accepted: Option<Mark>,
    /// The broker reached for it.
    pub dialed: Option<Mark>,
    /// connection.open-ok at the subject's end: it may be used.
    pub opened: Option<Mark>,
    /// The heartbeat the subject settled on in tune-ok, seconds.
    pub heartbeat: Option<u16>,
    /// The subject's own frames at its end (any frame counts as a sign of life), in order.
    pub spoke: Vec<Mark>,
    /// The last frame that reached the subject.
    pub heard: Option<Mark>,
    /// connection.close, as (who sent it, code, text, when at the tap nearest to its sender).
    pub close: Option<(End, u16, String, Mark)>,
    /// The subject's connection.close, at the broker's end.
    pub close_arrived: Option<Mark>,
    /// The subject closed its side of the socket, or the link closed towards it.
    pub client_over: Option<Mark>,
    /// The subject's own FIN or RST: it let go of the socket.
    pub client_left: Option<Mark>,
    /// The broker closed its side of the socket, or the link closed towards it.
    pub broker_over: Option<Mark>,
    /// The link is done with it.
    pub closed: Option<Mark>,
    /// Frames were seen at the broker's end too; without a tap there, no fate can be known.
    pub tapped_at_broker: bool,
}

impl Connection {
    /// Which copy of the subject made it, where that is known.
    pub fn copy(&self) -> Option<u32> {
        match &self.owner {
            Some(Owner::Subject { copy, .. }) => *copy,
            _ => None,
        }
    }
}

/// The life of one step of the schedule.
#[derive(Clone, Debug, Default)]
pub struct Step {
    /// Armed or played.
    pub injected: Option<Mark>,
    /// Each time it touched something.
    pub fired: Vec<Mark>,
    /// The first time it touched each connection.
    pub hit: BTreeMap<u64, Mark>,
    /// Lifted.
    pub lifted: Option<Mark>,
    /// The path was usable again.
    pub usable: Vec<Mark>,
}
