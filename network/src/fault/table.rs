//! The faults of one link, in force and past, and the connections they concern.
//!
//! One lock guards it all. A connection holds it for reading through each decision and the write that
//! follows; an injection holds it for writing. So a byte is either written before an injection
//! returns, or subject to it.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{
            AtomicBool, AtomicU32, AtomicU64,
            Ordering::{Relaxed, SeqCst},
        },
    },
    task::Waker,
    time::{Duration, Instant},
};

use rand::RngExt;
use tokio::sync::mpsc;

use super::play::Play;
use super::{Active, FaultId, Injection, cut::Cut, effect::Effect, ignore::Ignore};
use crate::{
    amqp::FrameName,
    seed::Seed,
    wire::{CloseKind, Direction, Side},
};

/// What happens at an offset of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Act {
    /// The point is met: from here on the fault is in force on this connection.
    Meet,
    /// The bytes up to that offset vanish.
    Swallow { to: u64 },
    /// The stream waits.
    Hold(Duration),
    /// The byte is changed.
    Xor(u8),
}

/// What happens to a new connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AcceptAction {
    /// Nothing, ever.
    Ignore,
    /// It is closed.
    Close(CloseKind),
}

impl AcceptAction {
    /// What it is on each direction of the connection.
    pub(crate) fn effect(self) -> Box<dyn Effect> {
        match self {
            Self::Ignore => Box::new(Ignore),
            Self::Close(how) => Box::new(Cut { side: Side::Both, how }),
        }
    }
}

/// How often a fault fired and on how many bytes. Outlives the fault.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) fired: AtomicU64,
    pub(crate) bytes: AtomicU64,
}

/// One injected fault.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) id: FaultId,
    /// Itself, or the first of those it is the latest change of.
    pub(crate) lineage: FaultId,
    pub(crate) injection: Injection,
    /// The name its point looks for, if it has one and names one.
    pub(crate) frame: Option<FrameName>,
    pub(crate) counters: Arc<Counters>,
    /// Since when it is in force: from the injection, or from its point.
    pub(crate) since: OnceLock<Instant>,
    /// Its work is done: it is to be retired.
    pub(crate) spent: AtomicBool,
    /// Matches of its point so far.
    seen: AtomicU32,
    /// New connections it may still be given to.
    left: AtomicU32,
    /// The last connection accepted before it.
    born_before: u64,
}

impl Entry {
    /// Counts one more match of its point; whether it takes it.
    pub(crate) fn takes(&self, point_nth: u32) -> bool {
        let times = self.injection.times.unwrap_or(1);
        let seen = self.seen.fetch_add(1, Relaxed).saturating_add(1);
        seen >= point_nth && seen - point_nth < times
    }

    /// Whether a connection was born after it.
    pub(crate) fn is_older_than(&self, conn: u64) -> bool {
        conn > self.born_before
    }

    /// Whether it was in force when the connection was born. One with a point is in force from there on.
    pub(crate) fn was_there_before(&self, conn: u64) -> bool {
        self.injection.at.is_none() && self.is_older_than(conn)
    }

    /// Whether its point will not be met again.
    pub(crate) fn exhausted(&self) -> bool {
        let nth = self.injection.at.as_ref().map_or(1, |point| point.nth);
        let last = nth.saturating_add(self.injection.times.unwrap_or(1) - 1);
        self.seen.load(Relaxed) >= last
    }

    /// Its one hold is over: it has nothing left to do.
    pub(crate) fn held(&self) {
        if self.exhausted() && self.injection.times.unwrap_or(1) == 1 {
            self.spent.store(true, Relaxed);
        }
    }

    /// When it is to be lifted by itself.
    pub(crate) fn expires(&self) -> Option<Instant> {
        self.since.get()?.checked_add(self.injection.lasts?)
    }

    /// The seed for one connection's share of it.
    pub(crate) fn seed(&self, link: Seed, conn: u64) -> Seed {
        link.derive(&format!("fault-{}", self.id.0)).derive(&format!("conn-{conn}"))
    }

    fn drawn(&self, link: Seed, conn: u64) -> bool {
        let share = self.injection.share;
        share >= 1.0 || self.seed(link, conn).stream("share").random::<f64>() < share
    }

    /// Whether it concerns a connection.
    pub(crate) fn concerns(&self, link: Seed, conn: u64, grants: &[FaultId]) -> bool {
        let Injection { fault, at, lasts, connections, .. } = &self.injection;
        if connections.is_some() {
            return grants.contains(&self.id);
        }
        if fault.single() && at.is_none() && lasts.is_none() && self.is_older_than(conn) {
            return false;
        }
        self.drawn(link, conn)
    }
}

/// What the table keeps for a connection, and the connection reads.
#[derive(Debug, Default)]
pub(crate) struct Control {
    /// Faults for the next n connections that this one is among.
    pub(crate) grants: Vec<FaultId>,
    /// The faults are not meant for it: it takes no part in what they count.
    pub(crate) stranger: bool,
    /// It holds nothing back and waits for nothing but its sockets: what has changed is soon enough seen
    /// with the next byte. Taken back before it looks at the table.
    pub(crate) quiet: AtomicBool,
    /// Dropped by the connection when it has acted on that fault.
    confirm: Mutex<Vec<(FaultId, mpsc::Sender<Infallible>)>>,
    /// Wakes the connection.
    waker: Mutex<Option<Waker>>,
    /// The link stops: the connection is to end.
    ended: AtomicBool,
}

impl Control {
    pub(crate) fn expect(&self, id: FaultId, confirmed: mpsc::Sender<Infallible>) {
        self.confirm.lock().unwrap_or_else(PoisonError::into_inner).push((id, confirmed));
    }

    /// Says that every fault up to this one was acted upon.
    pub(crate) fn confirm(&self, upto: FaultId) {
        let mut expected = self.confirm.lock().unwrap_or_else(PoisonError::into_inner);
        expected.retain(|(id, _)| *id > upto);
    }

    /// Whom to wake from now on. What was changed before this is there to be seen after it.
    pub(crate) fn enlist(&self, waker: &Waker) {
        let mut enlisted = self.waker();
        if !enlisted.as_ref().is_some_and(|known| known.will_wake(waker)) {
            *enlisted = Some(waker.clone());
        }
    }

    /// Has the connection look at the table.
    pub(crate) fn wake(&self) {
        if let Some(waker) = &*self.waker() {
            waker.wake_by_ref();
        }
    }

    /// Has the connection end.
    pub(crate) fn end(&self) {
        self.ended.store(true, Relaxed);
        self.wake();
    }

    /// Whether it is to end.
    pub(crate) fn is_ended(&self) -> bool {
        self.ended.load(Relaxed)
    }

    fn waker(&self) -> MutexGuard<'_, Option<Waker>> {
        self.waker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A live connection.
#[derive(Debug)]
pub(crate) struct Live {
    pub(crate) peer: SocketAddr,
    pub(crate) since: Instant,
    pub(crate) orders: Arc<Control>,
}

/// A connection that was let in.
#[derive(Debug)]
pub(crate) struct Admitted {
    /// Its id.
    pub(crate) conn: u64,
    pub(crate) orders: Arc<Control>,
    /// The fault that met it at the door, if one did.
    pub(crate) greeting: Option<(Arc<Entry>, AcceptAction)>,
}

/// Everything about faults on a link. See the module.
#[derive(Debug, Default)]
pub(crate) struct Table {
    /// Moves with every change to the entries.
    pub(crate) version: u64,
    pub(crate) entries: Vec<Arc<Entry>>,
    pub(crate) live: BTreeMap<u64, Live>,
    pub(crate) stopped: bool,
    counters: BTreeMap<FaultId, Arc<Counters>>,
    last_id: u64,
    last_conn: u64,
}

/// Faults lifted that are still counted.
const REMEMBERED: usize = 4096;

impl Table {
    /// The id of the fault injected last.
    pub(crate) fn last_id(&self) -> FaultId {
        FaultId(self.last_id)
    }

    /// Puts a fault in force, or arms it. It was checked.
    pub(crate) fn add(&mut self, injection: Injection, frame: Option<FrameName>) -> Arc<Entry> {
        let entry = self.entry(injection, frame, None);
        self.entries.push(Arc::clone(&entry));
        entry
    }

    /// Puts a fault in the place of one in force; `None` if that is not.
    pub(crate) fn replace(
        &mut self,
        old: FaultId,
        injection: Injection,
        frame: Option<FrameName>,
    ) -> Option<(Arc<Entry>, Arc<Entry>)> {
        let at = self.entries.iter().position(|entry| entry.id == old)?;
        let entry = self.entry(injection, frame, Some(self.entries[at].lineage));
        let old = std::mem::replace(&mut self.entries[at], Arc::clone(&entry));
        Some((old, entry))
    }

    fn entry(
        &mut self,
        injection: Injection,
        frame: Option<FrameName>,
        lineage: Option<FaultId>,
    ) -> Arc<Entry> {
        self.last_id += 1;
        let (id, counters) = (self.last_id(), Arc::<Counters>::default());
        let since = OnceLock::new();
        if injection.at.is_none() {
            since.get_or_init(Instant::now);
        }
        let entry = Arc::new(Entry {
            id,
            lineage: lineage.unwrap_or(id),
            frame,
            since,
            counters: Arc::clone(&counters),
            spent: AtomicBool::new(false),
            seen: AtomicU32::new(0),
            left: AtomicU32::new(injection.connections.unwrap_or(0)),
            born_before: self.last_conn,
            injection,
        });
        self.counters.insert(id, counters);
        if self.counters.len() > REMEMBERED + self.entries.len() {
            let in_force = |id| self.entries.iter().any(|entry| entry.id == id);
            if let Some(past) = self.counters.keys().copied().find(|id| !in_force(*id)) {
                self.counters.remove(&past);
            }
        }
        self.version += 1;
        entry
    }

    /// What an entry was changed into, if it was.
    pub(crate) fn heir(&self, old: &Entry) -> Option<&Arc<Entry>> {
        self.entries.iter().find(|entry| entry.lineage == old.lineage && entry.id != old.id)
    }

    /// Whether a fault is in force or armed, and not over.
    pub(crate) fn has(&self, id: FaultId) -> bool {
        let now = Instant::now();
        let over = |entry: &Entry| {
            entry.spent.load(Relaxed) || entry.expires().is_some_and(|at| at <= now)
        };
        self.entries.iter().any(|entry| entry.id == id && !over(entry))
    }

    /// The place of a fault among those in force.
    pub(crate) fn place(&self, id: FaultId) -> usize {
        self.entries.iter().position(|entry| entry.id == id).unwrap_or(usize::MAX)
    }

    /// Whether a fault was ever injected.
    pub(crate) fn knows(&self, id: FaultId) -> bool {
        (1..=self.last_id).contains(&id.0)
    }

    /// Takes a fault out of force; `None` if it is not.
    pub(crate) fn remove(&mut self, id: FaultId) -> Option<Arc<Entry>> {
        let at = self.entries.iter().position(|entry| entry.id == id)?;
        self.version += 1;
        Some(self.entries.remove(at))
    }

    pub(crate) fn counters(&self, id: FaultId) -> Option<&Arc<Counters>> {
        self.counters.get(&id)
    }

    /// The entries in force: not those still waiting for their point.
    pub(crate) fn in_force(&self) -> impl Iterator<Item = &Arc<Entry>> {
        self.entries.iter().filter(|entry| entry.since.get().is_some())
    }

    pub(crate) fn active(&self) -> Vec<Active> {
        let active = |entry: &Arc<Entry>| Active {
            id: entry.id,
            injection: entry.injection.clone(),
            fired: entry.counters.fired.load(Relaxed),
            bytes: entry.counters.bytes.load(Relaxed),
        };
        self.entries.iter().map(active).collect()
    }

    /// Registers a new connection: its id, its orders, and the fault that greets it, if one does.
    pub(crate) fn admit(&mut self, seed: Seed, peer: SocketAddr, stranger: bool) -> Admitted {
        self.last_conn += 1;
        let conn = self.last_conn;
        let open = self.live.values().filter(|live| !live.orders.stranger).count();
        let granted = |entry: &&Arc<Entry>| {
            !stranger
                && entry.injection.connections.is_some()
                && entry.left.load(Relaxed) > 0
                && entry.drawn(seed, conn)
        };
        let mut grants = Vec::new();
        for entry in self.entries.iter().filter(granted) {
            entry.left.fetch_sub(1, Relaxed);
            grants.push(entry.id);
        }
        let greeting = self
            .in_force()
            .filter(|entry| entry.concerns(seed, conn, &grants))
            .find_map(|entry| Some((Arc::clone(entry), entry.injection.fault.greet(open)?)));
        let orders = Arc::new(Control { grants, stranger, ..Control::default() });
        let live = Live { peer, since: Instant::now(), orders: Arc::clone(&orders) };
        self.live.insert(conn, live);
        Admitted { conn, orders, greeting }
    }

    /// Has connections look at the table: every one, idle or not, or those that are not quiet.
    pub(crate) fn wake(&self, quiet_too: bool) {
        let woken = |live: &&Live| quiet_too || !live.orders.quiet.load(SeqCst);
        for live in self.live.values().filter(woken) {
            live.orders.wake();
        }
    }

    /// The armed entries looking at frames going this way.
    pub(crate) fn armed(&self, way: Direction) -> impl Iterator<Item = &Arc<Entry>> {
        self.entries
            .iter()
            .filter(move |entry| entry.injection.at.as_ref().is_some_and(|point| point.way == way))
    }
}
