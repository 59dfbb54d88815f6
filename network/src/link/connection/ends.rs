//! How the ends of a connection end: by themselves, told by the other, or cut.

use std::{io, time::Instant};

use super::{
    super::{
        lane::Input,
        peer::{Peer, is_reset},
        shared::Shared,
    },
    Connection,
};
use crate::{
    event::{Ending, What},
    wire::{CloseKind, Direction, End, Side},
};

impl Connection {
    /// The source of a direction said its last word.
    pub(super) fn ended(
        &mut self,
        way: Direction,
        at: Instant,
        error: Option<io::Error>,
        shared: &Shared,
    ) {
        let (source, _, lane, mut notes) = self.parts(way, shared);
        let Some(open) = source.open() else { return };
        let told = open.broken;
        let (how, ending) = match error {
            None if told => (CloseKind::Rst, Ending::Rst),
            None => (CloseKind::Fin, Ending::Fin),
            Some(error) if is_reset(&error) => (CloseKind::Rst, Ending::Rst),
            Some(error) => (CloseKind::Rst, Ending::Error(error.to_string())),
        };
        if !told {
            notes.record(at, What::Ended { end: way.source(), how: ending });
        }
        if open.leaving.is_some() || how == CloseKind::Rst {
            *source = Peer::Gone;
        }
        if lane.input == Input::Open {
            lane.ended(how, &mut notes);
        }
    }

    /// Passes the end of a stream on. A source that has only sent FIN waits for the sink's: if there is
    /// none to come, it is answered with a reset, as by a peer that has forgotten the connection.
    pub(super) fn end(&mut self, way: Direction, how: CloseKind) {
        let end = way.sink();
        self.lane(way).input = Input::Told(how);
        if self.peer(end).is_absent() {
            self.dial = None;
            return self.cut(Side::Both, CloseKind::Rst);
        }
        if how == CloseKind::Fin && self.peer(end).writable().is_none() {
            // Nobody to tell; a sink that is still listened to is waited for.
            self.lane(way).input = Input::Silent;
            return self.stray(way);
        }
        let sent = match how {
            CloseKind::Fin => self.peer(end).finish(),
            CloseKind::Rst => self.peer(end).reset(),
        };
        if sent {
            self.record(What::Cut { end, how });
        }
        let waits = self.peer(way.source()).open().is_some_and(|open| open.leaving.is_none());
        let mute = matches!(self.lane(way.back()).input, Input::Open | Input::Silent);
        if how == CloseKind::Rst && waits && mute {
            self.stray(way);
        }
    }

    /// Writing failed: that end is gone, which the other end is told in its turn.
    pub(super) fn broken(&mut self, way: Direction, error: &io::Error, shared: &Shared) {
        let how = match is_reset(error) {
            true => Ending::Rst,
            false => Ending::Error(error.to_string()),
        };
        let (_, sink, lane, notes) = self.parts(way, shared);
        notes.record(Instant::now(), What::Ended { end: way.sink(), how });
        lane.queue.clear();
        if let Some(open) = sink.open() {
            open.broken = true;
        }
        let back = self.lane(way.back());
        if matches!(back.input, Input::Told(CloseKind::Fin) | Input::Ended(_)) {
            back.input = Input::Ended(CloseKind::Rst);
            *self.peer(way.sink()) = Peer::Gone;
        }
    }

    /// Bytes, or FIN, came for an end that is gone, or takes no more. As its TCP would, answer with a reset,
    /// which travels back like anything else; a broken end's last words are left to be read first.
    pub(super) fn stray(&mut self, way: Direction) {
        self.lane(way).queue.clear();
        let broken = self.peer(way.sink()).open().is_some_and(|open| open.broken);
        let back = self.lane(way.back());
        if !broken && back.input != Input::Told(CloseKind::Rst) {
            back.input = Input::Ended(CloseKind::Rst);
        }
    }

    /// Cuts ends. What was on its way to or from them is gone.
    pub(super) fn cut(&mut self, side: Side, how: CloseKind) {
        let now = Instant::now();
        for end in [End::Client, End::Broker].into_iter().filter(|end| side.includes(*end)) {
            let sent = match how {
                CloseKind::Rst => self.peer(end).reset(),
                CloseKind::Fin => self.peer(end).leave(now),
            };
            if sent {
                self.record(What::Cut { end, how });
            }
            for way in Direction::BOTH {
                let lane = self.lane(way);
                lane.queue.clear();
                if way.source() == end {
                    lane.input = Input::Silent;
                } else if lane.input == Input::Told(CloseKind::Fin) {
                    // The other end sends no byte more to learn by: its FIN finds nobody, now.
                    lane.input = Input::Ended(CloseKind::Fin);
                }
            }
        }
        if self.broker.is_absent() {
            self.broker = Peer::Gone;
        }
        self.dial = None;
    }
}
