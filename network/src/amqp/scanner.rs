//! Frames from octets, however they were cut up on the way.

use serde::{Deserialize, Serialize};

use super::{
    Args, Frame, FrameName,
    boundary::{Boundary, Head, Part},
    decode, name,
};

/// Octets of a method's or content header's payload that are kept to be decoded. Arguments beyond
/// it are [`Args::Unread`]: a table that large is nobody's ordinary business.
pub const KEPT: usize = 16 * 1024;

/// What a scanner finds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Item {
    /// A frame whose last octet passed.
    Frame(Frame),
    /// Octets that belong to no frame. Once a stream is garbage it stays so; each piece fed to the
    /// scanner is reported with its own count.
    Garbage {
        /// How many.
        bytes: u64,
        /// Why they are no frame.
        why: String,
    },
}

/// An incremental scanner of one direction of an AMQP connection. It keeps at most [`KEPT`] octets.
#[derive(Debug, Default)]
pub struct Scanner {
    boundary: Boundary,
    head: Option<Head>,
    kept: Vec<u8>,
}

impl Scanner {
    /// A scanner at the beginning of a stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads on, and calls `found` for each frame completed and each run of garbage.
    pub fn feed(&mut self, bytes: &[u8], mut found: impl FnMut(Item)) {
        let Self { boundary, head, kept } = self;
        boundary.feed(bytes, |part| match part {
            Part::Begin(begun) => {
                *head = Some(begun);
                kept.clear();
            }
            Part::Payload(payload) if wanted(*head) => {
                kept.extend_from_slice(&payload[..payload.len().min(KEPT - kept.len())]);
            }
            Part::Payload(_) => {}
            Part::End => found(Item::Frame(frame(head.take(), kept))),
            Part::Garbage(bytes, why) => found(Item::Garbage { bytes, why: why.to_owned() }),
        });
    }
}

/// Whether the payload is worth keeping: methods' and content headers' is.
fn wanted(head: Option<Head>) -> bool {
    matches!(head, Some(Head::Frame { kind: 1 | 2, .. }))
}

fn frame(head: Option<Head>, kept: &[u8]) -> Frame {
    let Some(Head::Frame { kind, channel, size }) = head else {
        return Frame {
            channel: 0,
            name: FrameName::known(name::PROTOCOL_HEADER),
            size: 8,
            args: Args::None,
        };
    };
    let (name, args) = match kind {
        1 => decode::method(kept),
        2 => (FrameName::known(name::HEADER), decode::header(kept)),
        3 => (FrameName::known(name::BODY), Args::None),
        _ => (FrameName::known(name::HEARTBEAT), Args::None),
    };
    let cut = args == Args::Malformed && size as usize > KEPT;
    Frame { channel, name, size, args: if cut { Args::Unread } else { args } }
}

/// What a frame is, told from its first octets (11 at most): its name and its octets in all.
pub(crate) fn identify(first: &[u8]) -> Result<Option<(FrameName, u16, u64)>, &'static str> {
    let Some(head) = Head::read(first)? else { return Ok(None) };
    let (name, channel) = match head {
        Head::Protocol => (FrameName::known(name::PROTOCOL_HEADER), 0),
        Head::Frame { kind: 1, channel, size } => match first.get(7..11) {
            _ if size < 4 => return Err("a method frame too short for a method"),
            Some([c0, c1, m0, m1]) => {
                let ids = (u16::from_be_bytes([*c0, *c1]), u16::from_be_bytes([*m0, *m1]));
                (FrameName::method(ids.0, ids.1), channel)
            }
            _ => return Ok(None),
        },
        Head::Frame { kind: 2, channel, .. } => (FrameName::known(name::HEADER), channel),
        Head::Frame { kind: 3, channel, .. } => (FrameName::known(name::BODY), channel),
        Head::Frame { channel, .. } => (FrameName::known(name::HEARTBEAT), channel),
    };
    Ok(Some((name, channel, head.total())))
}
