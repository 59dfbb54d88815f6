//! Where a direction is in its stream of frames, and what is to happen to the frame at its head.
//!
//! It follows the bytes as they leave (or vanish), from the first of a connection on, so that a
//! point injected into a live connection finds it in step. While points are armed the bytes of a
//! frame wait until it can be named: 11 of them at most.

use std::sync::Arc;

use crate::fault::play::Play;
use crate::{
    amqp::{FrameName, boundary::Boundary, scanner::identify},
    fault::{
        FaultId,
        table::{Act, Entry},
    },
};

/// Bytes that name any frame: its header, class and method.
pub(super) const NAMING: usize = 11;

#[derive(Debug)]
struct Planned {
    name: FrameName,
    channel: u16,
    total: u64,
    /// Bytes of it that have left.
    gone: u64,
}

/// Something to do now. See [`Act`].
#[derive(Debug)]
pub(super) struct Due {
    pub(super) act: Act,
    pub(super) entry: Arc<Entry>,
    /// On what, for the record.
    pub(super) note: String,
}

#[derive(Debug, Default)]
pub(super) struct Plan {
    boundary: Boundary,
    frame: Option<Planned>,
    /// The last fault this frame was matched with.
    matched: FaultId,
    /// By offset.
    acts: Vec<(u64, Act, Arc<Entry>)>,
    /// Up to which offset of the frame bytes vanish.
    swallow: u64,
}

impl Plan {
    /// Whether nothing is planned.
    pub(super) fn is_clear(&self) -> bool {
        self.frame.is_none()
    }

    /// What the bytes that have left so far have led up to; to be asked until it has no more. An
    /// byte can be changed only once it is `here`, at the head.
    pub(super) fn due(&mut self, here: bool) -> Option<Due> {
        let frame = self.frame.as_ref()?;
        let ripe = |act: &Act| here || !matches!(act, Act::Xor(_));
        if let Some(n) = self.acts.iter().position(|(at, act, _)| *at <= frame.gone && ripe(act)) {
            let (at, act, entry) = self.acts.remove(n);
            let place = match at {
                0 => "before".to_owned(),
                at if at == frame.total => "after".to_owned(),
                at => format!("{at} bytes into"),
            };
            let note = format!("{place} ch{} {}", frame.channel, frame.name);
            if let Act::Swallow { to } = act {
                self.swallow = to;
            }
            return Some(Due { act, entry, note });
        }
        if frame.gone >= frame.total {
            self.frame = None;
            self.swallow = 0;
        }
        None
    }

    /// Names the frame that begins with `first` and matches it with the points; false while more of
    /// it is needed.
    pub(super) fn look(&mut self, armed: &[Arc<Entry>], first: &[u8], ended: bool) -> bool {
        if armed.is_empty() {
            return true;
        }
        if self.frame.is_none() && self.boundary.at_start() {
            match identify(first) {
                Ok(Some((name, channel, total))) => {
                    self.frame = Some(Planned { name, channel, total, gone: 0 });
                    self.matched = FaultId(0);
                }
                Ok(None) => return ended,
                Err(_) => return true,
            }
        }
        let Some(frame) = self.frame.as_ref().filter(|frame| frame.gone == 0) else { return true };
        for entry in armed.iter().filter(|entry| entry.id > self.matched) {
            let Some(point) = &entry.injection.at else { continue };
            let named = entry.frame.as_ref().is_none_or(|name| *name == frame.name);
            if named && entry.takes(point.nth) {
                let acts = entry.injection.fault.acts(point.edge, frame.total);
                self.acts.extend(acts.into_iter().map(|(at, act)| (at, act, Arc::clone(entry))));
            }
        }
        self.matched =
            armed.iter().map(|entry| entry.id).max().unwrap_or_default().max(self.matched);
        self.acts.sort_by_key(|(at, ..)| *at);
        true
    }

    /// How many bytes may leave before something is due or another frame begins.
    pub(super) fn run(&self, armed: bool) -> usize {
        let run = match &self.frame {
            Some(frame) => {
                let next = self.acts.first().map_or(frame.total, |(at, ..)| *at);
                let next = if self.swallow > frame.gone { next.min(self.swallow) } else { next };
                next - frame.gone
            }
            None if armed && !self.boundary.is_lost() => self.boundary.left().unwrap_or(1),
            None => u64::MAX,
        };
        usize::try_from(run).unwrap_or(usize::MAX)
    }

    /// Whether the next bytes are to vanish.
    pub(super) fn swallows(&self) -> bool {
        self.frame.as_ref().is_some_and(|frame| frame.gone < self.swallow)
    }

    /// Bytes left, or vanished.
    pub(super) fn passed(&mut self, bytes: &[u8]) {
        self.boundary.feed(bytes, |_| {});
        if let Some(frame) = &mut self.frame {
            frame.gone += bytes.len() as u64;
        }
    }

    /// Forgets what lifted faults had planned, but for what they have begun.
    pub(super) fn forget(&mut self, in_force: impl Fn(&Entry) -> bool) {
        let begun = self.frame.as_ref().is_some_and(|frame| frame.gone > 0);
        self.acts.retain(|(_, act, entry)| {
            in_force(entry) || (begun && matches!(act, Act::Swallow { .. } | Act::Xor(_)))
        });
    }
}
