//! One connection: a single task that drives both directions.
//!
//! Each time it is woken it looks at the table of faults, moves what can be moved either way without
//! waiting, and goes back to sleep until a socket is ready, a fault's time has come, or the table has
//! changed. It holds no buffer while nothing is held back.

use std::{
    cell::RefCell,
    future::{Future, poll_fn},
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, atomic::Ordering::Relaxed},
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use socket2::SockRef;
use tokio::{
    io::{AsyncRead, ReadBuf},
    net::{TcpSocket, TcpStream},
    sync::mpsc,
    time::Sleep,
};

use super::{
    lane::{Input, Lane, Notes, Step},
    peer::{Peer, is_reset},
    shared::Shared,
};
use crate::{
    event::{Ending, What},
    fault::{
        FaultId, Kind,
        effect::Undialed,
        table::{Entry, Greeting, Orders, Table},
    },
    wire::{CutHow, End, Side, Way},
};

/// Octets read at once. One buffer serves all connections of a thread: it is only used in between
/// two awaits.
const BUFFER: usize = 64 * 1024;

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; BUFFER]);
}

type Dial = Pin<Box<dyn Future<Output = (SocketAddr, io::Result<TcpStream>)> + Send>>;

pub(super) struct Connection {
    shared: Arc<Shared>,
    id: u64,
    client: Peer,
    broker: Peer,
    to_broker: Lane,
    to_client: Lane,
    dial: Option<Dial>,
    /// It was born where nothing may be dialed, and stays undialed.
    stillborn: bool,
    orders: Arc<Orders>,
    wake: mpsc::Receiver<()>,
    /// The table as last looked at.
    version: u64,
    latest: FaultId,
    /// The fault that met it at the door.
    greeted: Option<(FaultId, Greeting)>,
    /// Faults whose point was met on it.
    met: Vec<(FaultId, Way)>,
    /// Cuts that were done.
    done: Vec<FaultId>,
    fired: Vec<FaultId>,
    alarm: Option<Pin<Box<Sleep>>>,
    next: Option<Instant>,
}

impl Connection {
    pub(super) fn new(
        shared: Arc<Shared>,
        id: u64,
        client: TcpStream,
        orders: Arc<Orders>,
        wake: mpsc::Receiver<()>,
        greeted: Option<(Arc<Entry>, Greeting)>,
    ) -> Self {
        let lane = |way| {
            let mut lane = Lane::new(way, &shared);
            if let Some((entry, greeting)) = &greeted {
                lane.add(Arc::clone(entry), greeting.effect());
            }
            lane
        };
        Self {
            to_broker: lane(Way::ToBroker),
            to_client: lane(Way::ToClient),
            shared,
            id,
            client: Peer::new(client),
            broker: Peer::Absent,
            dial: None,
            stillborn: false,
            orders,
            wake,
            version: u64::MAX,
            latest: FaultId::default(),
            greeted: greeted.map(|(entry, greeting)| (entry.id, greeting)),
            met: Vec::new(),
            done: Vec::new(),
            fired: Vec::new(),
            alarm: None,
            next: None,
        }
    }

    /// Drives the connection to its end.
    pub(super) async fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        poll_fn(|cx| SCRATCH.with_borrow_mut(|scratch| self.poll(cx, &shared, scratch))).await;
        let (id, orders) = (self.id, Arc::clone(&self.orders));
        // Whoever hears that it is closed finds its sockets closed and the table without it.
        drop(self);
        shared.write().live.remove(&id);
        shared.record(Some(id), Instant::now(), What::Closed);
        orders.confirm(FaultId(u64::MAX));
    }

    fn poll(&mut self, cx: &mut Context<'_>, shared: &Shared, scratch: &mut [u8]) -> Poll<()> {
        while let Poll::Ready(woken) = self.wake.poll_recv(cx) {
            if woken.is_none() {
                self.cut(Side::Both, CutHow::Fin);
                return Poll::Ready(());
            }
        }
        loop {
            self.next = None;
            let mut moved = self.look(shared);
            for way in Way::BOTH {
                moved |= self.read(way, cx, shared, scratch);
                moved |= self.step(way, cx, shared);
            }
            if self.is_over() {
                return Poll::Ready(());
            }
            moved |= self.reach(cx);
            if !moved {
                self.orders.confirm(self.latest);
                ready!(self.until_next(cx));
            }
        }
    }

    /// Looks at the table; whether it had changed.
    fn look(&mut self, shared: &Shared) -> bool {
        let table = shared.read();
        let changed = table.version != self.version;
        if changed {
            self.obey(&table);
        }
        changed
    }

    /// Both ends are gone, or both have said and been told everything.
    fn is_over(&self) -> bool {
        let told = |lane: &Lane| matches!(lane.input, Input::Told(_));
        (self.client.is_gone() && self.broker.is_gone())
            || (told(&self.to_broker) && told(&self.to_client))
    }

    /// Ready when something timed is due.
    fn until_next(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(next) = self.next.map(tokio::time::Instant::from_std) else {
            return Poll::Pending;
        };
        let alarm = self.alarm.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(next)));
        if alarm.deadline() != next {
            alarm.as_mut().reset(next);
        }
        alarm.as_mut().poll(cx)
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
        way: Way,
        shared: &'a Shared,
    ) -> (&'a mut Peer, &'a mut Peer, &'a mut Lane, Notes<'a>) {
        let notes = Notes { shared, conn: self.id, fired: &mut self.fired };
        match way {
            Way::ToBroker => (&mut self.client, &mut self.broker, &mut self.to_broker, notes),
            Way::ToClient => (&mut self.broker, &mut self.client, &mut self.to_client, notes),
        }
    }

    fn lane(&mut self, way: Way) -> &mut Lane {
        match way {
            Way::ToBroker => &mut self.to_broker,
            Way::ToClient => &mut self.to_client,
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
        way: Way,
        cx: &mut Context<'_>,
        shared: &Shared,
        scratch: &mut [u8],
    ) -> bool {
        let (source, _, lane, mut notes) = self.parts(way, shared);
        let Some(open) = source.open() else { return false };
        let leaving = open.leaving;
        if leaving.is_none() && lane.input != Input::Open {
            return false;
        }
        if leaving.is_none() && !lane.reads() {
            let waits = matches!(
                open.stream.poll_peek(cx, &mut ReadBuf::new(&mut scratch[..1])),
                Poll::Ready(Ok(1..))
            );
            if let (true, Some(stall)) = (waits, lane.acting.iter().find(|a| !a.effect.reads())) {
                notes.fire_once(&stall.entry, Some(way));
            }
            return false;
        }
        if leaving.is_none() && !lane.has_room() {
            return false;
        }
        let mut buffer = ReadBuf::new(scratch);
        let read = Pin::new(&mut open.stream).poll_read(cx, &mut buffer);
        let at = Instant::now();
        let error = match read {
            Poll::Pending => {
                if leaving.is_some_and(|until| until <= at) {
                    source.reset();
                    return true;
                }
                self.by(leaving);
                return false;
            }
            Poll::Ready(Ok(())) => None,
            Poll::Ready(Err(error)) => Some(error),
        };
        let bytes = buffer.filled();
        if bytes.is_empty() {
            self.ended(way, at, error, shared);
            return true;
        }
        lane.read(bytes, at, &notes);
        if leaving.is_some() {
            return true;
        }
        let table = shared.read();
        if table.version != self.version {
            self.obey(&table);
        }
        let (_, sink, lane, mut notes) = self.parts(way, shared);
        let step = if lane.is_clear() {
            lane.relay(bytes, sink, cx, &mut notes)
        } else {
            lane.arrived(bytes, &mut notes);
            Step::Moved
        };
        drop(table);
        self.take(way, step, shared)
    }

    /// The source of a direction said its last word.
    fn ended(&mut self, way: Way, at: Instant, error: Option<io::Error>, shared: &Shared) {
        let (source, _, lane, mut notes) = self.parts(way, shared);
        let Some(open) = source.open() else { return };
        let told = open.broken;
        let (how, ending) = match error {
            None if told => (CutHow::Rst, Ending::Rst),
            None => (CutHow::Fin, Ending::Fin),
            Some(error) if is_reset(&error) => (CutHow::Rst, Ending::Rst),
            Some(error) => (CutHow::Rst, Ending::Error(error.to_string())),
        };
        if !told {
            notes.record(at, What::Ended { end: way.source(), how: ending });
        }
        if open.leaving.is_some() || how == CutHow::Rst {
            *source = Peer::Gone;
        }
        if lane.input == Input::Open {
            lane.ended(how, &mut notes);
        }
    }

    /// Looks at the table, then does one step of one direction.
    fn step(&mut self, way: Way, cx: &mut Context<'_>, shared: &Shared) -> bool {
        let table = shared.read();
        let changed = table.version != self.version;
        if changed {
            self.obey(&table);
        }
        let (_, sink, lane, mut notes) = self.parts(way, shared);
        let step = lane.step(sink, cx, &mut notes);
        drop(table);
        self.take(way, step, shared) | changed
    }

    /// Acts on what a step came to; whether anything moved.
    fn take(&mut self, way: Way, step: Step, shared: &Shared) -> bool {
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
            Step::Met(entry) => self.meet(way, &entry),
            Step::End(how) => self.end(way, how),
            Step::Stray => {
                self.lane(way).queue.clear();
                let back = self.lane(way.back());
                if back.input != Input::Told(CutHow::Rst) {
                    back.input = Input::Ended(CutHow::Rst);
                }
            }
            Step::Broken(error) => self.broken(way, &error, shared),
        }
        if self.to_broker.lost_both | self.to_client.lost_both {
            (self.to_broker.lost, self.to_client.lost) = (true, true);
        }
        true
    }

    /// Passes the end of a stream on.
    fn end(&mut self, way: Way, how: CutHow) {
        let end = way.sink();
        self.lane(way).input = Input::Told(how);
        if self.peer(end).is_absent() {
            self.dial = None;
            return self.cut(Side::Both, CutHow::Rst);
        }
        let sent = match how {
            CutHow::Fin => self.peer(end).finish(),
            CutHow::Rst => self.peer(end).reset(),
        };
        if sent {
            self.record(What::Cut { end, how });
        }
    }

    /// Writing failed: that end is gone, which the other end is told in its turn.
    fn broken(&mut self, way: Way, error: &io::Error, shared: &Shared) {
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
        if matches!(back.input, Input::Told(CutHow::Fin) | Input::Ended(_)) {
            back.input = Input::Ended(CutHow::Rst);
            *self.peer(way.sink()) = Peer::Gone;
        }
    }

    /// Cuts ends. What was on its way to or from them is gone.
    fn cut(&mut self, side: Side, how: CutHow) {
        let now = Instant::now();
        for end in [End::Client, End::Broker].into_iter().filter(|end| side.includes(*end)) {
            let sent = match how {
                CutHow::Rst => self.peer(end).reset(),
                CutHow::Fin => self.peer(end).leave(now),
            };
            if sent {
                self.record(What::Cut { end, how });
            }
            for way in Way::BOTH {
                let lane = self.lane(way);
                lane.queue.clear();
                if way.source() == end {
                    lane.input = Input::Silent;
                }
            }
        }
        if self.broker.is_absent() {
            self.broker = Peer::Gone;
        }
        self.dial = None;
    }

    /// A point was met here: its fault is in force, on this connection or at the door.
    fn meet(&mut self, way: Way, entry: &Arc<Entry>) {
        entry.since.get_or_init(Instant::now);
        let fault = &entry.injection.fault;
        match fault.kind() {
            Kind::Stream | Kind::Cut if !self.met.iter().any(|(id, _)| *id == entry.id) => {
                self.met.push((entry.id, way));
                self.install(entry, Some(way));
            }
            _ => {}
        }
        if fault.kind() == Kind::Cut && entry.exhausted() {
            entry.spent.store(true, Relaxed);
        }
        self.shared.nudge.notify_one();
    }

    /// Puts a fault to work on the directions it concerns. A cut is done where its point was met.
    fn install(&mut self, entry: &Arc<Entry>, met: Option<Way>) {
        let fault = &entry.injection.fault;
        let seed = entry.seed(self.shared.seed, self.id);
        for way in Way::BOTH {
            let here = match fault.kind() {
                Kind::Cut => way == met.unwrap_or(Way::ToBroker),
                _ => way.within(fault.way()),
            };
            if let (true, Some(effect)) = (here, fault.effect(seed.derive(&way.to_string()))) {
                self.lane(way).add(Arc::clone(entry), effect);
            }
        }
    }

    /// Takes the table's faults for its own.
    fn obey(&mut self, table: &Table) {
        (self.version, self.latest) = (table.version, table.last_id());
        let now = Instant::now();
        let in_force = |id: FaultId| table.entries.iter().any(|entry| entry.id == id);
        for lane in [&mut self.to_broker, &mut self.to_client] {
            lane.forget(in_force, now);
        }
        if let Some((id, Greeting::Ignore)) = self.greeted
            && !in_force(id)
        {
            self.greeted = None;
            self.cut(Side::Both, CutHow::Rst);
        }
        let (seed, id) = (self.shared.seed, self.id);
        let concerned = |entry: &&Arc<Entry>| entry.concerns(seed, id, &self.orders.grants);
        let fresh: Vec<_> = table.entries.iter().filter(concerned).cloned().collect();
        for entry in &fresh {
            let at_work = |lane: &Lane| lane.acting.iter().any(|a| a.entry.id == entry.id);
            let known = at_work(&self.to_broker) || at_work(&self.to_client);
            let armed = entry.injection.at.is_some();
            let door = entry.injection.fault.kind() == Kind::Door;
            if !armed && !door && !known && !self.done.contains(&entry.id) {
                self.install(entry, None);
            }
        }
        for lane in [&mut self.to_broker, &mut self.to_client] {
            let armed =
                table.armed(lane.way).filter(|entry| fresh.iter().any(|f| f.id == entry.id));
            lane.armed = armed.cloned().collect();
        }
    }

    /// Dials the upstream, unless a fault is in the way.
    fn reach(&mut self, cx: &mut Context<'_>) -> bool {
        if !self.broker.is_absent() || self.stillborn {
            return false;
        }
        if self.dial.is_none() {
            let acting = self.to_broker.acting.iter().chain(&self.to_client.acting);
            let blocks = acting.filter_map(|a| Some((Arc::clone(&a.entry), a.effect.undialed()?)));
            if let Some((entry, undialed)) = blocks.max_by_key(|(_, u)| *u == Undialed::Never) {
                self.stillborn = undialed == Undialed::Never;
                self.to_broker.lost |= self.stillborn;
                self.to_client.lost |= self.stillborn;
                let shared = Arc::clone(&self.shared);
                let mut notes = Notes { shared: &shared, conn: self.id, fired: &mut self.fired };
                notes.fire_once(&entry, None);
                return self.stillborn;
            }
            let (upstream, deadline) = (self.shared.upstream(), self.shared.dial_deadline);
            self.dial = Some(Box::pin(async move {
                let dialed = tokio::time::timeout(deadline, dial(upstream)).await;
                let late = || {
                    io::Error::new(io::ErrorKind::TimedOut, format!("no answer in {deadline:?}"))
                };
                (upstream, dialed.unwrap_or_else(|_| Err(late())))
            }));
        }
        let Some(dial) = &mut self.dial else { return false };
        let Poll::Ready((upstream, dialed)) = dial.as_mut().poll(cx) else { return false };
        self.dial = None;
        match dialed {
            Ok(stream) => {
                self.broker = Peer::new(stream);
                self.record(What::Dialed { upstream });
            }
            Err(error) => {
                self.record(What::DialFailed { upstream, error: error.to_string() });
                self.cut(Side::Both, CutHow::Rst);
            }
        }
        true
    }

    fn record(&self, what: What) {
        self.shared.record(Some(self.id), Instant::now(), what);
    }
}

/// Connects. If it is given up meanwhile, an upstream that has accepted already gets RST.
async fn dial(upstream: SocketAddr) -> io::Result<TcpStream> {
    let socket = match upstream {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }?;
    SockRef::from(&socket).set_linger(Some(Duration::ZERO))?;
    let stream = socket.connect(upstream).await?;
    SockRef::from(&stream).set_linger(None)?;
    Ok(stream)
}
