//! One direction of a connection: what was read, what the faults on it say, and what is written.
//!
//! Nothing here waits. Each step decides about the octets at the head, under the table's lock, and
//! does at most one write.

use std::{
    io,
    pin::Pin,
    sync::{Arc, atomic::Ordering::Relaxed},
    task::{Context, Poll},
    time::Instant,
};

use tokio::io::AsyncWrite;

use super::{
    peer::Peer,
    plan::{Due, NAMING, Plan},
    queue::{Front, Queue},
    shared::Shared,
};
use crate::{
    amqp::Scanner,
    event::What,
    fault::{
        FaultId, Kind,
        effect::{Effect, Gate, OPEN, ROOM},
        table::{Act, Entry},
    },
    wire::{CutHow, Side, Way},
};

/// What the source of a direction has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Input {
    /// It may send more.
    Open,
    /// It ended, and the sink has not been told.
    Ended(CutHow),
    /// It ended, and the sink knows.
    Told(CutHow),
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
    Cut(FaultId, Side, CutHow),
    /// A point was met: its fault is now in force on this connection.
    Met(Arc<Entry>),
    /// The end of the stream is to be passed on.
    End(CutHow),
    /// Octets for an end that is gone or takes no more.
    Stray,
    /// The sink broke.
    Broken(io::Error),
}

/// Who keeps the record of one connection.
pub(super) struct Notes<'a> {
    pub(super) shared: &'a Shared,
    pub(super) conn: u64,
    /// Lasting faults that have fired on it.
    pub(super) fired: &'a mut Vec<FaultId>,
}

impl Notes<'_> {
    pub(super) fn record(&self, at: Instant, what: What) {
        self.shared.record(Some(self.conn), at, what);
    }

    /// Each time.
    pub(super) fn fire(&self, entry: &Entry, way: Option<Way>, note: String) {
        self.shared.fire(Some(self.conn), entry, way, note);
    }

    /// Once a connection.
    pub(super) fn fire_once(&mut self, entry: &Entry, way: Option<Way>) {
        if !self.fired.contains(&entry.id) {
            self.fired.push(entry.id);
            self.fire(entry, way, entry.injection.fault.name().to_owned());
        }
    }
}

pub(super) struct Lane {
    pub(super) way: Way,
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
    pub(super) held: Option<(FaultId, Instant)>,
    pub(super) near: Option<Scanner>,
    far: Option<Scanner>,
    scan: bool,
}

impl Lane {
    pub(super) fn new(way: Way, shared: &Shared) -> Self {
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
            held: None,
            near: scanner(),
            far: scanner(),
            scan: shared.scan,
        }
    }

    /// Whether octets may go straight from one socket to the other.
    pub(super) fn is_clear(&self) -> bool {
        self.acting.is_empty()
            && self.armed.is_empty()
            && self.queue.octets() == 0
            && self.plan.is_clear()
            && self.held.is_none()
            && !self.lost
    }

    /// Whether every fault lets the source be read from.
    pub(super) fn reads(&self) -> bool {
        self.acting.iter().all(|acting| acting.effect.reads())
    }

    /// Whether there is room for more.
    pub(super) fn has_room(&self) -> bool {
        let room = self.acting.iter().map(|acting| acting.effect.room()).max().unwrap_or(ROOM);
        self.queue.octets() < room
    }

    /// Octets came in, or the end did: when may they leave?
    fn due(&mut self, octets: usize, notes: &mut Notes<'_>) -> Instant {
        let mut due = Instant::now();
        for Acting { entry, effect } in &mut self.acting {
            if let Some(delay) = effect.delay() {
                due += delay;
                entry.counters.bytes.fetch_add(octets as u64, Relaxed);
                notes.fire_once(entry, Some(self.way));
            }
        }
        due
    }

    pub(super) fn arrived(&mut self, bytes: &[u8], notes: &mut Notes<'_>) {
        let due = self.due(bytes.len(), notes);
        self.queue.push(bytes, due);
    }

    pub(super) fn ended(&mut self, how: CutHow, notes: &mut Notes<'_>) {
        self.input = Input::Ended(how);
        self.end_due = Some(self.due(0, notes));
    }

    /// Decides about the octets at the head and does at most one write.
    pub(super) fn step(
        &mut self,
        sink: &mut Peer,
        cx: &mut Context<'_>,
        notes: &mut Notes<'_>,
    ) -> Step {
        let now = Instant::now();
        if let Some(due) = self.plan.due() {
            return self.act(due, now, notes);
        }
        let front = self.queue.front(now);
        let waiting = if front == Front::Due { self.queue.octets() } else { 0 };
        let gate = match self.gate(now, waiting, notes) {
            Ok(gate) => gate,
            Err(step) => return step,
        };
        match front {
            Front::Empty => return self.end(sink, now, notes),
            Front::Later(due) => return Step::Idle(Some(due)),
            Front::Due => {}
        }
        if let Gate::Wait(until) = gate {
            return Step::Idle(until);
        }
        match self.held {
            Some((_, until)) if until > now => return Step::Idle(Some(until)),
            _ => self.held = None,
        }
        let mut first = [0; NAMING];
        let peeked = if self.armed.is_empty() { 0 } else { self.queue.peek(&mut first) };
        if !self.plan.look(&self.armed, &first[..peeked], self.input != Input::Open) {
            return Step::Idle(None);
        }
        if let Some(due) = self.plan.due() {
            return self.act(due, now, notes);
        }
        self.pass(gate, sink, cx, notes)
    }

    /// Does what the plan says is due.
    fn act(&mut self, due: Due, now: Instant, notes: &mut Notes<'_>) -> Step {
        let Due { act, entry, note } = due;
        if act == Act::Meet && entry.injection.fault.kind() == Kind::Stream {
            return Step::Met(entry);
        }
        if !notes.fired.contains(&entry.id) {
            notes.fired.push(entry.id);
        }
        notes.fire(&entry, Some(self.way), note);
        match act {
            Act::Meet => return Step::Met(entry),
            Act::Swallow { .. } => {}
            Act::Hold(delay) => self.held = Some((entry.id, now + delay)),
            Act::Xor(mask) => {
                if let Some(octet) = self.queue.head().first_mut() {
                    *octet ^= mask;
                    entry.counters.bytes.fetch_add(1, Relaxed);
                }
            }
        }
        if entry.exhausted() && !matches!(act, Act::Hold(_)) {
            entry.spent.store(true, Relaxed);
            notes.shared.nudge.notify_one();
        }
        Step::Moved
    }

    /// What the faults say about the head together; a cut at once.
    fn gate(&mut self, now: Instant, waiting: usize, notes: &mut Notes<'_>) -> Result<Gate, Step> {
        let mut all = if self.lost { Gate::Swallow } else { OPEN };
        for Acting { entry, effect } in &mut self.acting {
            let gate = effect.gate(now, waiting);
            if gate.touches(waiting) {
                notes.fire_once(entry, Some(self.way));
            }
            match gate {
                Gate::Cut(side, how) => return Err(Step::Cut(entry.id, side, how)),
                Gate::Swallow if waiting > 0 => {
                    self.lost = true;
                    self.lost_both |= entry.injection.fault.way().is_none();
                    entry.counters.bytes.fetch_add(waiting as u64, Relaxed);
                }
                _ => {}
            }
            all = all.and(gate);
        }
        Ok(all)
    }

    /// The queue is empty: may the end of the stream pass?
    fn end(&mut self, sink: &Peer, now: Instant, notes: &mut Notes<'_>) -> Step {
        let Input::Ended(how) = self.input else { return Step::Idle(None) };
        if let Some(due) = self.end_due
            && due > now
        {
            return Step::Idle(Some(due));
        }
        let mut all = OPEN;
        for Acting { entry, effect } in &mut self.acting {
            let gate = effect.ending(now);
            if gate != OPEN {
                notes.fire_once(entry, Some(self.way));
            }
            if gate == Gate::Swallow {
                self.lost = true;
                self.lost_both |= entry.injection.fault.way().is_none();
            }
            all = all.and(gate);
        }
        match all {
            Gate::Pass(_) if self.lost => Step::End(CutHow::Rst),
            Gate::Pass(_) if sink.is_absent() && how == CutHow::Fin => Step::Idle(None),
            Gate::Pass(_) => Step::End(how),
            Gate::Wait(until) => Step::Idle(until),
            Gate::Swallow | Gate::Cut(..) => Step::Idle(None),
        }
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
        let run = if let Gate::Pass(n) = gate { run.min(n) } else { run };
        let Some(open) = sink.writable() else {
            return if sink.is_absent() { Step::Idle(None) } else { Step::Stray };
        };
        let before = Instant::now();
        let head = &self.queue.head()[..run];
        let written = match Pin::new(&mut open.stream).poll_write(cx, head) {
            Poll::Pending => return Step::Idle(None),
            Poll::Ready(Ok(written)) => written,
            Poll::Ready(Err(error)) => return Step::Broken(error),
        };
        heard(self.way, self.far.as_mut(), &head[..written], before, notes);
        for Acting { entry, effect } in &mut self.acting {
            if effect.gate(before, usize::MAX).touches(usize::MAX) {
                entry.counters.bytes.fetch_add(written as u64, Relaxed);
            }
            effect.wrote(before, written);
        }
        self.passed(written);
        Step::Moved
    }

    /// The first `n` octets of the queue's head have left.
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
        let before = Instant::now();
        let written = match Pin::new(&mut open.stream).poll_write(cx, bytes) {
            Poll::Pending => 0,
            Poll::Ready(Ok(written)) => written,
            Poll::Ready(Err(error)) => return Step::Broken(error),
        };
        let (passed, rest) = bytes.split_at(written);
        heard(self.way, self.far.as_mut(), passed, before, notes);
        if self.scan {
            self.plan.passed(passed);
        }
        if !rest.is_empty() {
            self.queue.push(rest, before);
        }
        Step::Moved
    }

    /// The near tap: octets were read.
    pub(super) fn read(&mut self, bytes: &[u8], at: Instant, notes: &Notes<'_>) {
        let (end, way) = (self.way.source(), self.way);
        if let Some(scanner) = &mut self.near {
            scanner.feed(bytes, |item| notes.record(at, What::Wire { end, way, item }));
        }
    }

    /// The faults on it are those of the table again: what was planned or held by others is not.
    pub(super) fn forget(&mut self, in_force: impl Fn(FaultId) -> bool, now: Instant) {
        let before = self.acting.len();
        self.acting.retain(|acting| in_force(acting.entry.id));
        if self.acting.len() < before && !self.delays() {
            self.queue.release(now);
            self.end_due = None;
        }
        self.held = self.held.filter(|(id, _)| in_force(*id));
        self.plan.forget(|entry| in_force(entry.id) || entry.spent.load(Relaxed));
    }

    fn delays(&mut self) -> bool {
        self.acting.iter_mut().any(|acting| acting.effect.delay().is_some())
    }

    /// One more fault is at work on it, also on what waits already.
    pub(super) fn add(&mut self, entry: Arc<Entry>, mut effect: Box<dyn Effect>) {
        if let Some(delay) = effect.delay() {
            self.queue.delay(delay);
        }
        self.acting.push(Acting { entry, effect });
    }
}

/// The far tap: octets were written. A frame counts with its last octet.
fn heard(way: Way, far: Option<&mut Scanner>, bytes: &[u8], before: Instant, notes: &Notes<'_>) {
    let end = way.sink();
    if let Some(scanner) = far {
        scanner.feed(bytes, |item| notes.record(before, What::Wire { end, way, item }));
    }
}
