//! One direction of a connection: what was read, what the faults on it say, and what is written.
//!
//! Nothing here waits. Each step decides about the bytes at the head, under the table's lock, and
//! does at most one write.

mod decide;

use std::{
    io,
    pin::Pin,
    sync::{Arc, atomic::Ordering::Relaxed},
    task::{Context, Poll},
    time::Instant,
};

use tokio::io::AsyncWrite;

use super::{
    notes::Notes,
    peer::Peer,
    plan::{NAMING, Plan},
    queue::{Front, Queue},
    shared::Shared,
};
use crate::{
    amqp::Scanner,
    fault::{
        FaultId,
        effect::{Effect, Gate, ROOM},
        table::Entry,
    },
    wire::{CloseKind, Direction, Side},
};

/// What the source of a direction has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Input {
    /// It may send more.
    Open,
    /// It ended, and the sink has not been told.
    Ended(CloseKind),
    /// It ended, and the sink knows.
    Told(CloseKind),
    /// It was cut away without a word to the sink.
    Silent,
}

/// A fault at work on a direction.
pub(super) struct Acting {
    pub(super) entry: Arc<Entry>,
    pub(super) effect: Box<dyn Effect>,
}

/// What a step came to.
pub(super) enum Step {
    /// Nothing to do until then, or until a socket is ready or the table changes.
    Idle(Option<Instant>),
    Moved,
    Cut(FaultId, Side, CloseKind),
    /// A point was met: its fault is now in force on this connection.
    Met(Arc<Entry>),
    /// The end of the stream is to be passed on.
    End(CloseKind),
    /// Bytes for an end that is gone or takes no more.
    Stray,
    /// The sink broke.
    Broken(io::Error),
}

pub(super) struct Pipe {
    pub(super) way: Direction,
    pub(super) queue: Queue,
    pub(super) plan: Plan,
    pub(super) acting: Vec<Acting>,
    pub(super) armed: Vec<Arc<Entry>>,
    pub(super) input: Input,
    /// When the end of the stream may pass.
    pub(super) end_due: Option<Instant>,
    /// Something was swallowed: nothing that follows can be delivered any more.
    pub(super) lost: bool,
    /// The same, the fault concerning both ways.
    pub(super) lost_both: bool,
    /// Which fault drops what waits, when the gate says that one does.
    dropper: usize,
    /// What the lifting of a fault does to the connection.
    pub(super) parting: Option<(Side, CloseKind)>,
    /// Holds in force, and until when.
    pub(super) held: Vec<(FaultId, Instant)>,
    pub(super) near: Option<Scanner>,
    far: Option<Scanner>,
    scan: bool,
}

impl Pipe {
    pub(super) fn new(way: Direction, shared: &Shared) -> Self {
        let scanner = || shared.tapped().then(Scanner::new);
        Self {
            way,
            queue: Queue::default(),
            plan: Plan::default(),
            acting: Vec::new(),
            armed: Vec::new(),
            input: Input::Open,
            end_due: None,
            lost: false,
            lost_both: false,
            dropper: 0,
            parting: None,
            held: Vec::new(),
            near: scanner(),
            far: scanner(),
            scan: shared.scan,
        }
    }

    /// Whether bytes may go straight from one socket to the other.
    pub(super) fn is_clear(&self) -> bool {
        self.input == Input::Open
            && self.acting.is_empty()
            && self.armed.is_empty()
            && self.queue.bytes() == 0
            && self.plan.is_clear()
            && self.held.is_empty()
            && !self.lost
    }

    /// Whether it holds nothing back and no fault on it waits for anything.
    pub(super) fn is_quiet(&self) -> bool {
        let quiet = |Acting { effect, .. }: &Acting| {
            effect.reads()
                && effect.alarm().is_none()
                && effect.parting().is_none()
                && effect.undialed().is_none()
        };
        self.queue.bytes() == 0
            && self.held.is_empty()
            && !self.lost
            && self.input == Input::Open
            && self.acting.iter().all(quiet)
    }

    /// Whether every fault lets the source be read from.
    pub(super) fn reads(&self) -> bool {
        self.acting.iter().all(|acting| acting.effect.reads())
    }

    /// Whether there is room for more.
    pub(super) fn has_room(&self) -> bool {
        let room = self.acting.iter().map(|acting| acting.effect.room()).max().unwrap_or(ROOM);
        self.queue.bytes() < room
    }

    /// Bytes came in, or the end did: when may they leave?
    fn due(&mut self, bytes: usize, notes: &mut Notes<'_>) -> Instant {
        let mut due = Instant::now();
        for Acting { entry, effect } in &mut self.acting {
            if effect.delays() && (bytes > 0 || effect.delays_end()) {
                due += effect.delay();
                entry.counters.bytes.fetch_add(bytes as u64, Relaxed);
                notes.fire_once(entry, Some(self.way));
            }
        }
        due
    }

    pub(super) fn arrived(&mut self, bytes: &[u8], notes: &mut Notes<'_>) {
        let due = self.due(bytes.len(), notes);
        self.queue.push(bytes, due);
    }

    pub(super) fn ended(&mut self, how: CloseKind, notes: &mut Notes<'_>) {
        self.input = Input::Ended(how);
        self.end_due = Some(self.due(0, notes));
    }

    /// Decides about the bytes at the head and does at most one write.
    pub(super) fn step(
        &mut self,
        sink: &mut Peer,
        cx: &mut Context<'_>,
        notes: &mut Notes<'_>,
    ) -> Step {
        let now = Instant::now();
        if let Some(due) = self.plan.due(self.queue.bytes() > 0) {
            return self.act(due, now, notes);
        }
        let front = self.queue.front(now);
        let waiting = if front == Front::Due { self.queue.bytes() } else { 0 };
        let gate = match self.gate(now, waiting, notes) {
            Ok(gate) => gate,
            Err(step) => return step,
        };
        self.held.retain(|(id, until)| {
            let over = *until <= now;
            if let (true, Some(entry)) = (over, self.armed.iter().find(|entry| entry.id == *id)) {
                entry.held();
                notes.shared.nudge.notify_one();
            }
            !over
        });
        if let Some(until) = self.held.iter().map(|(_, until)| *until).max() {
            return Step::Idle(Some(until));
        }
        match front {
            Front::Empty => return self.end(sink, now, notes),
            Front::Later(due) => return Step::Idle(Some(due)),
            Front::Due => {}
        }
        if let Gate::Wait(until) = gate {
            return Step::Idle(until);
        }
        let mut first = [0; NAMING];
        let peeked = if self.armed.is_empty() { 0 } else { self.queue.peek(&mut first) };
        if !self.plan.look(&self.armed, &first[..peeked], self.input != Input::Open) {
            return Step::Idle(None);
        }
        if let Some(due) = self.plan.due(true) {
            return self.act(due, now, notes);
        }
        self.pass(gate, sink, cx, notes)
    }

    /// Writes what may pass, or has it vanish.
    fn pass(
        &mut self,
        gate: Gate,
        sink: &mut Peer,
        cx: &mut Context<'_>,
        notes: &mut Notes<'_>,
    ) -> Step {
        let run = self.plan.run(!self.armed.is_empty()).min(self.queue.head().len());
        if gate == Gate::Swallow || self.plan.swallows() {
            self.passed(run);
            return Step::Moved;
        }
        let run = match gate {
            Gate::Drop(n) => return self.vanish(run.min(n), Instant::now()),
            Gate::Pass(n) => run.min(n),
            _ => run,
        };
        let Some(open) = sink.writable() else {
            return if sink.is_absent() { Step::Idle(None) } else { Step::Stray };
        };
        let before = Instant::now();
        let head = &self.queue.head()[..run];
        let written = match Pin::new(&mut open.stream).poll_write(cx, head) {
            // A reset waits for no reader: it destroys what is on its way.
            Poll::Pending if self.input == Input::Ended(CloseKind::Rst) => {
                let step = self.end(sink, before, notes);
                if matches!(step, Step::End(_)) {
                    self.queue.clear();
                }
                return step;
            }
            Poll::Pending => return Step::Idle(None),
            Poll::Ready(Ok(written)) => written,
            Poll::Ready(Err(error)) => return Step::Broken(error),
        };
        notes.heard(self.way.sink(), self.way, &mut self.far, &head[..written], before);
        notes.shared.traffic.sent(self.way, written);
        for Acting { entry, effect } in &mut self.acting {
            if effect.gate(before, usize::MAX).touches(usize::MAX) {
                entry.counters.bytes.fetch_add(written as u64, Relaxed);
            }
            effect.wrote(before, written);
        }
        self.passed(written);
        Step::Moved
    }

    /// The first `n` bytes of the queue's head have left.
    fn passed(&mut self, n: usize) {
        if self.scan {
            self.plan.passed(&self.queue.head()[..n]);
        }
        self.queue.take(n);
    }

    /// The short way: no fault, nothing queued. Writes straight from the reader's buffer and keeps
    /// what the sink does not take now.
    pub(super) fn relay(
        &mut self,
        bytes: &[u8],
        sink: &mut Peer,
        cx: &mut Context<'_>,
        notes: &mut Notes<'_>,
    ) -> Step {
        let Some(open) = sink.writable() else {
            self.queue.push(bytes, Instant::now());
            return Step::Moved;
        };
        let before = self.far.is_some().then(Instant::now);
        let written = match Pin::new(&mut open.stream).poll_write(cx, bytes) {
            Poll::Pending => 0,
            Poll::Ready(Ok(written)) => written,
            Poll::Ready(Err(error)) => return Step::Broken(error),
        };
        let (passed, rest) = bytes.split_at(written);
        if let Some(before) = before {
            notes.heard(self.way.sink(), self.way, &mut self.far, passed, before);
        }
        notes.shared.traffic.sent(self.way, written);
        if self.scan {
            self.plan.passed(passed);
        }
        if !rest.is_empty() {
            self.queue.push(rest, Instant::now());
        }
        Step::Moved
    }

    /// The near tap: bytes were read.
    pub(super) fn read(&mut self, bytes: &[u8], notes: &Notes<'_>) {
        if self.near.is_some() {
            notes.heard(self.way.source(), self.way, &mut self.near, bytes, Instant::now());
        }
    }

    /// The faults on it are those of the table again: what was planned or held by others is not.
    pub(super) fn forget(&mut self, in_force: impl Fn(FaultId) -> bool, now: Instant) {
        let mut delayed = false;
        self.acting.retain(|Acting { entry, effect }| {
            let stays = in_force(entry.id);
            if !stays {
                delayed |= effect.delays();
                self.parting = self.parting.or(effect.parting());
            }
            stays
        });
        if delayed {
            self.delay_anew(now);
        }
        self.held.retain(|(id, _)| in_force(*id));
        self.plan.forget(|entry| in_force(entry.id) || entry.spent.load(Relaxed));
    }

    /// Faults that were changed go on in their places: `heir` says what became of one, and its effect,
    /// if it concerns this connection.
    pub(super) fn succeed(
        &mut self,
        heir: impl Fn(&Entry) -> Option<(Arc<Entry>, Option<Box<dyn Effect>>)>,
        now: Instant,
    ) {
        let mut delayed = false;
        self.acting.retain_mut(|acting| {
            let Some((entry, effect)) = heir(&acting.entry) else { return true };
            delayed |= acting.effect.delays();
            let Some(mut effect) = effect else { return false };
            effect.resume(acting.effect.carry());
            *acting = Acting { entry, effect };
            true
        });
        if delayed {
            self.delay_anew(now);
        }
    }

    /// Whatever waits waits for the faults there are now, from now on.
    fn delay_anew(&mut self, now: Instant) {
        self.queue.release(now);
        self.end_due = None;
        for Acting { effect, .. } in self.acting.iter_mut().filter(|a| a.effect.delays()) {
            self.queue.delay(effect.delay());
        }
    }

    /// When it is to be looked at again though nothing happens.
    pub(super) fn alarm(&self) -> Option<Instant> {
        self.acting.iter().filter_map(|acting| acting.effect.alarm()).min()
    }

    /// One more fault is at work on it, also on what waits already.
    pub(super) fn add(&mut self, entry: Arc<Entry>, mut effect: Box<dyn Effect>) {
        if effect.delays() {
            self.queue.delay(effect.delay());
        }
        self.acting.push(Acting { entry, effect });
    }
}
