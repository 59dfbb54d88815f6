//! One connection: a single task that drives both directions.
//!
//! Each time it is woken it looks at the table of faults, moves what can be moved either way without
//! waiting, and goes back to sleep until a socket is ready, a fault's time has come, or the table has
//! changed. It holds no buffer while nothing is held back.

mod dial;

mod ends;

mod faults;

use std::{
    cell::RefCell,
    future::poll_fn,
    pin::Pin,
    sync::{Arc, atomic::Ordering::SeqCst},
    task::{Context, Poll, ready},
    time::Instant,
};

use tokio::{
    io::{AsyncRead, ReadBuf},
    net::TcpStream,
};

use self::dial::Dial;
use super::{
    descriptors::{self, Reserved},
    lane::{Input, Pipe, Step},
    notes::Notes,
    peer::Peer,
    shared::Shared,
};
use crate::{
    event::What,
    fault::{
        FaultId,
        table::{AcceptAction, Admitted, Control},
    },
    wire::{CloseKind, Direction, End, Side},
};

/// Bytes read at once. One buffer serves all connections of a thread: it is in use only between two
/// awaits.
const BUFFER: usize = 256 * 1024;

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; BUFFER]);
}

/// What came of reading.
#[derive(Debug, PartialEq, Eq)]
enum Came {
    /// Nothing; the task is woken when something does.
    Nothing,
    /// Bytes, and they have left.
    Passed,
    /// Anything else.
    Other,
}

pub(super) struct Connection {
    shared: Arc<Shared>,
    id: u64,
    client: Peer,
    broker: Peer,
    to_broker: Pipe,
    to_client: Pipe,
    dial: Option<Dial>,
    /// For the dial.
    reserved: Option<Reserved>,
    /// It was born where nothing may be dialed, and stays undialed.
    stillborn: bool,
    orders: Arc<Control>,
    /// The table as last looked at.
    version: u64,
    latest: FaultId,
    /// The fault that met it at the door.
    greeted: Option<(FaultId, AcceptAction)>,
    /// Faults whose point was met on it.
    met: Vec<(FaultId, Direction)>,
    /// Cuts that were done.
    done: Vec<FaultId>,
    fired: Vec<FaultId>,
    /// No fault concerns it and nothing waits: see [`Connection::pump`].
    plain: bool,
    /// When the clock wakes it.
    alarm: Option<Instant>,
    /// When it is to be woken, as found so far.
    next: Option<Instant>,
}

impl Connection {
    pub(super) fn new(
        shared: Arc<Shared>,
        client: TcpStream,
        admitted: Admitted,
        reserved: Option<Reserved>,
    ) -> Self {
        let Admitted { conn, orders, greeting } = admitted;
        let lane = |way| {
            let mut lane = Pipe::new(way, &shared);
            if let Some((entry, greeting)) = &greeting {
                lane.add(Arc::clone(entry), greeting.effect());
            }
            lane
        };
        Self {
            to_broker: lane(Direction::ToBroker),
            to_client: lane(Direction::ToClient),
            shared,
            id: conn,
            client: Peer::new(client),
            broker: Peer::Absent,
            dial: None,
            reserved,
            stillborn: false,
            orders,
            version: u64::MAX,
            latest: FaultId::default(),
            greeted: greeting.map(|(entry, greeting)| (entry.id, greeting)),
            met: Vec::new(),
            done: Vec::new(),
            fired: Vec::new(),
            plain: false,
            alarm: None,
            next: None,
        }
    }

    /// Drives the connection to its end.
    pub(super) async fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        poll_fn(|cx| SCRATCH.with_borrow_mut(|scratch| self.poll(cx, &shared, scratch))).await;
        let (id, orders) = (self.id, Arc::clone(&self.orders));
        shared.clock.set(id, self.alarm, None);
        // Whoever hears that it is closed finds its sockets closed and the table without it.
        drop(self);
        descriptors::freed();
        shared.write().live.remove(&id);
        shared.record(Some(id), Instant::now(), What::Closed);
        orders.confirm(FaultId(u64::MAX));
    }

    fn poll(&mut self, cx: &mut Context<'_>, shared: &Shared, scratch: &mut [u8]) -> Poll<()> {
        self.orders.enlist(cx.waker());
        if self.orders.is_ended() {
            self.cut(Side::Both, CloseKind::Fin);
            return Poll::Ready(());
        }
        if self.plain && self.pump(cx, shared, scratch) {
            return Poll::Pending;
        }
        self.plain = false;
        loop {
            // Before it looks at the table: whoever changes that from now on sees that it is not quiet.
            self.orders.quiet.store(false, SeqCst);
            self.next = None;
            let mut moved = self.look(shared);
            for way in Direction::BOTH {
                moved |= self.read(way, cx, shared, scratch) != Came::Nothing;
                moved |= self.step(way, cx, shared);
            }
            if self.is_over() {
                return Poll::Ready(());
            }
            moved |= self.reach(cx);
            if !moved {
                self.orders.confirm(self.latest);
                let quiet = self.to_broker.is_quiet() && self.to_client.is_quiet();
                self.orders.quiet.store(quiet && !self.broker.is_absent(), SeqCst);
                ready!(self.until_next(cx, shared));
            }
        }
    }

    /// Both ends are gone, or both have said and been told everything.
    fn is_over(&self) -> bool {
        let told = |lane: &Pipe| matches!(lane.input, Input::Told(_));
        (self.client.is_gone() && self.broker.is_gone())
            || (told(&self.to_broker) && told(&self.to_client))
    }

    /// The short way, while no fault concerns the connection: what is read is written at once, and
    /// there is nothing else to wait for. Whether that is all there is to do.
    fn pump(&mut self, cx: &mut Context<'_>, shared: &Shared, scratch: &mut [u8]) -> bool {
        let mut looked = false;
        let mut busy = [true; Direction::BOTH.len()];
        while busy != [false; Direction::BOTH.len()] {
            for way in Direction::BOTH {
                let busy = &mut busy[way as usize];
                if *busy {
                    match self.receive(way, cx, shared, scratch) {
                        // Read dry: the next byte wakes the task.
                        Came::Nothing => *busy = false,
                        Came::Passed => looked = true,
                        Came::Other => return false,
                    }
                }
            }
        }
        looked || shared.read().version == self.version
    }

    /// Whether both directions may go straight from one socket to the other.
    fn is_plain(&self) -> bool {
        self.next.is_none()
            && [&self.client, &self.broker].into_iter().all(Peer::is_whole)
            && [&self.to_broker, &self.to_client].into_iter().all(Pipe::is_clear)
    }

    /// Ready when something timed is due.
    fn until_next(&mut self, cx: &mut Context<'_>, shared: &Shared) -> Poll<()> {
        if self.next.is_some_and(|next| next <= Instant::now()) {
            return Poll::Ready(());
        }
        self.plain = self.is_plain();
        if self.alarm != self.next {
            let to = self.next.map(|next| (next, cx.waker()));
            shared.clock.set(self.id, self.alarm, to);
            self.alarm = self.next;
        }
        Poll::Pending
    }

    fn by(&mut self, at: Option<Instant>) {
        self.next = match (self.next, at) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
    }

    /// A direction with its two ends and the record.
    fn parts<'a>(
        &'a mut self,
        way: Direction,
        shared: &'a Shared,
    ) -> (&'a mut Peer, &'a mut Peer, &'a mut Pipe, Notes<'a>) {
        let notes = Notes { shared, conn: self.id, fired: &mut self.fired };
        match way {
            Direction::ToBroker => (&mut self.client, &mut self.broker, &mut self.to_broker, notes),
            Direction::ToClient => (&mut self.broker, &mut self.client, &mut self.to_client, notes),
        }
    }

    fn lane(&mut self, way: Direction) -> &mut Pipe {
        match way {
            Direction::ToBroker => &mut self.to_broker,
            Direction::ToClient => &mut self.to_client,
        }
    }

    fn peer(&mut self, end: End) -> &mut Peer {
        match end {
            End::Client => &mut self.client,
            End::Broker => &mut self.broker,
        }
    }

    /// Reads one chunk, if the faults let it and there is room; passes it straight on if it can.
    fn read(
        &mut self,
        way: Direction,
        cx: &mut Context<'_>,
        shared: &Shared,
        scratch: &mut [u8],
    ) -> Came {
        let (source, _, lane, mut notes) = self.parts(way, shared);
        let Some(open) = source.open() else { return Came::Nothing };
        let leaving = open.leaving;
        if leaving.is_some_and(|until| until <= Instant::now()) {
            return if source.reset() { Came::Other } else { Came::Nothing };
        }
        if leaving.is_none() && lane.input != Input::Open {
            return Came::Nothing;
        }
        if leaving.is_none() && !lane.reads() {
            let waits = matches!(
                open.stream.poll_peek(cx, &mut ReadBuf::new(&mut scratch[..1])),
                Poll::Ready(Ok(1..))
            );
            if let (true, Some(stall)) = (waits, lane.acting.iter().find(|a| !a.effect.reads())) {
                notes.fire_once(&stall.entry, Some(way));
            }
            return Came::Nothing;
        }
        if leaving.is_none() && !lane.has_room() {
            let Poll::Ready(error) = open.poll_gone(cx) else { return Came::Nothing };
            self.ended(way, Instant::now(), error, shared);
            return Came::Other;
        }
        self.by(leaving);
        self.receive(way, cx, shared, scratch)
    }

    /// Reads one chunk, and passes it straight on if it can.
    fn receive(
        &mut self,
        way: Direction,
        cx: &mut Context<'_>,
        shared: &Shared,
        scratch: &mut [u8],
    ) -> Came {
        let (source, _, lane, notes) = self.parts(way, shared);
        let Some(open) = source.open() else { return Came::Nothing };
        let mut buffer = ReadBuf::new(scratch);
        let error = match Pin::new(&mut open.stream).poll_read(cx, &mut buffer) {
            Poll::Pending => return Came::Nothing,
            Poll::Ready(Ok(())) => None,
            Poll::Ready(Err(error)) => Some(error),
        };
        let bytes = buffer.filled();
        if bytes.is_empty() {
            self.ended(way, Instant::now(), error, shared);
            return Came::Other;
        }
        lane.read(bytes, &notes);
        shared.traffic.received(way, bytes.len());
        if open.leaving.is_some() {
            return Came::Other;
        }
        let table = shared.read();
        let changed = table.version != self.version;
        if changed {
            self.obey(&table);
        }
        let (_, sink, lane, mut notes) = self.parts(way, shared);
        if lane.input != Input::Open {
            // The lifting of a fault has just cut it.
            return Came::Other;
        }
        let step = if lane.is_clear() {
            lane.relay(bytes, sink, cx, &mut notes)
        } else {
            lane.arrived(bytes, &mut notes);
            Step::Moved
        };
        drop(table);
        if !changed && matches!(step, Step::Moved) && lane.queue.bytes() == 0 {
            return Came::Passed;
        }
        self.take(way, step, shared);
        Came::Other
    }

    /// Looks at the table, then does one step of one direction.
    fn step(&mut self, way: Direction, cx: &mut Context<'_>, shared: &Shared) -> bool {
        let table = shared.read();
        let changed = table.version != self.version;
        if changed {
            self.obey(&table);
        }
        let before = Instant::now();
        let (_, sink, lane, mut notes) = self.parts(way, shared);
        let step = lane.step(sink, cx, &mut notes);
        drop(table);
        if matches!(step, Step::Idle(_)) {
            // What was due by then has had its say.
            let alarm = self.lane(way).alarm().filter(|at| *at > before);
            self.by(alarm);
        }
        self.take(way, step, shared) | changed
    }

    /// Acts on what a step came to; whether anything moved.
    fn take(&mut self, way: Direction, step: Step, shared: &Shared) -> bool {
        match step {
            Step::Idle(until) => {
                self.by(until);
                return false;
            }
            Step::Moved => {}
            Step::Cut(id, side, how) => {
                self.done.push(id);
                for lane in [&mut self.to_broker, &mut self.to_client] {
                    lane.acting.retain(|acting| acting.entry.id != id);
                }
                self.cut(side, how);
            }
            // A cut is done where its point was met, before anything can lift it: it has fired.
            Step::Met(entry) => match entry.injection.fault.cut() {
                Some((side, how)) => {
                    self.spend(&entry);
                    self.done.push(entry.id);
                    self.cut(side, how);
                }
                None => self.meet(way, &entry),
            },
            Step::End(how) => self.end(way, how),
            Step::Stray => self.stray(way),
            Step::Broken(error) => self.broken(way, &error, shared),
        }
        if self.to_broker.lost_both | self.to_client.lost_both {
            (self.to_broker.lost, self.to_client.lost) = (true, true);
        }
        true
    }

    fn record(&self, what: What) {
        self.shared.record(Some(self.id), Instant::now(), what);
    }
}
