//! The fold of a history: which message was delivered where, and how each delivery was settled.
//!
//! Owns the pairing of frames at both ends of the wire (epochs, deliveries, settlements and their
//! fate). The same fold runs live, to know when a phase is over, and afterwards, for the checkers.
//! It judges nothing.

mod aside;
mod copies;
mod epoch;
mod life;
mod settlement;

use std::collections::{BTreeMap, BTreeSet};

use gauntlet_amqp::{Args, Frame};
use gauntlet_faults::{Direction, End};

use super::event::{Event, What};
use super::load::Load;
use super::peers::{Peers, Sifted};
pub use copies::Copy;
use copies::Publishes;
pub use epoch::{Consumer, Delivery, Epoch, POLLS_WITHIN, Poll};
pub use life::{Connection, Handling, Mark, Message, Step};
pub use settlement::{Fate, Settle, Settlement};

/// The fold.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// Messages by dense id.
    pub messages: BTreeMap<u32, Message>,
    /// Connections by number.
    pub connections: BTreeMap<u64, Connection>,
    /// Epochs in order of opening.
    pub epochs: Vec<Epoch>,
    /// What the subject published itself, in order.
    pub copies: Vec<Copy>,
    /// Steps by index.
    pub steps: BTreeMap<usize, Step>,
    /// The step whose condition did not come true: the schedule ended there.
    pub missed: Option<usize>,
    /// When the subject was asked to stop.
    pub stop_requested: Option<Mark>,
    /// When the subject came to an end.
    pub subject_ended: Option<Mark>,
    /// Distinct messages handled successfully.
    pub handled: u32,
    /// Deliveries seen at the subject's end.
    pub delivered: u32,
    /// Messages confirmed by the broker.
    pub confirmed: u32,
    /// Confirmed messages without a successful handling.
    pub unhandled: BTreeSet<u32>,
    /// Messages that left the broker and are to be acked, and whose last delivery has no settlement that
    /// reached the broker.
    pub unsettled: BTreeSet<u32>,
    /// Messages the subject is done with without having handled them: it rejected them for good, or acked them once
    /// the broker had confirmed a copy of its own. Those that come back are not among them.
    pub set_aside: BTreeSet<u32>,
    /// Whether the subject reported any handling; where it does not, the wire alone says what is done.
    pub reports: bool,
    /// Messages the subject acked, or got without having to.
    pub settled: BTreeSet<u32>,
    /// Confirmed messages that are not among those.
    pub unacked: BTreeSet<u32>,
    /// Handlers that run now.
    pub running: u32,
    /// Who waited for a CPU, and when.
    pub load: Load,
    /// It reported more than can have been.
    flooded: bool,
    /// The epoch in force for (connection, channel, at the broker's end): frames of the one before may
    /// still be on their way when the subject opens the next.
    current: BTreeMap<(u64, u16, bool), usize>,
    assembling: BTreeMap<(u64, u16, bool), Assembly>,
    /// Tells the subject's connections from those of strangers, which are not folded.
    peers: Peers,
    publishes: Publishes,
    /// Queues the subject declared by name, exclusive ones left out.
    declared: BTreeSet<String>,
    /// The queue under test, where it is not [`QUEUE`].
    queue: Option<String>,
    /// When the last event was.
    now: u64,
}

#[derive(Clone, Debug)]
struct Assembly {
    epoch: usize,
    tag: u64,
    left: Option<u64>,
}

/// The queue under test, where nothing else is said.
pub const QUEUE: &str = "work";

impl Ledger {
    /// The fold of a whole history, fates decided.
    pub fn of<'a>(events: impl IntoIterator<Item = &'a Event>) -> Ledger {
        Ledger::of_queue(QUEUE, events)
    }

    /// The fold of a whole history about this queue, fates decided.
    pub fn of_queue<'a>(queue: &str, events: impl IntoIterator<Item = &'a Event>) -> Ledger {
        let mut ledger = Ledger { queue: Some(queue.to_owned()), ..Ledger::default() };
        for event in events {
            ledger.apply(event);
        }
        ledger.decide_fates();
        ledger
    }

    /// Folds one more event, unless it is about a connection that is not the subject's. Fates stay undecided until
    /// [`Ledger::decide_fates`].
    pub fn apply(&mut self, event: &Event) {
        match self.peers.sift(event) {
            Sifted::Counts => self.fold(event),
            Sifted::Held => {}
            Sifted::Adopted(events) => events.iter().for_each(|event| self.fold(event)),
        }
    }

    fn fold(&mut self, event: &Event) {
        let at = Mark::from(event);
        self.now = self.now.max(at.ns);
        match &event.what {
            What::Published { id } => self.message(*id).published = Some(at),
            What::Confirmed { id } => {
                self.confirmed += 1;
                let message = self.message(*id);
                message.confirmed = Some(at);
                if message.handled().is_none() {
                    self.unhandled.insert(*id);
                }
                if !self.settled.contains(id) {
                    self.unacked.insert(*id);
                }
            }
            What::PublishUnknown { id, .. } => self.message(*id).publish_unknown = Some(at),
            What::Remaining { id, queue, .. } => {
                self.message(*id).remaining.push((queue.clone(), at));
            }
            What::Peer { conn, owner } => self.connection(*conn).owner = Some(owner.clone()),
            What::Accepted { conn } => self.connection(*conn).accepted = Some(at),
            What::Dialed { conn } => self.connection(*conn).dialed = Some(at),
            What::Ended { conn, end: End::Client, .. } => {
                self.connection(*conn).client_left.get_or_insert(at);
                self.client_over(*conn, at);
            }
            What::Cut { conn, end: End::Client, .. } => self.client_over(*conn, at),
            What::Ended { conn, end: End::Broker, .. }
            | What::Cut { conn, end: End::Broker, .. } => {
                self.broker_over(*conn, at);
            }
            What::Closed { conn } => {
                self.connection(*conn).closed = Some(at);
                self.client_over(*conn, at);
                self.broker_over(*conn, at);
            }
            What::Wire { conn, end, way, frame } => self.frame(*conn, *end, *way, frame, at),
            What::Injected { step, .. } => self.step(*step).injected = Some(at),
            What::Fired { step, conn, .. } => {
                let step = self.step(*step);
                step.fired.push(at);
                if let Some(conn) = conn {
                    step.hit.entry(*conn).or_insert(at);
                }
            }
            What::Lifted { step } => self.step(*step).lifted = Some(at),
            What::StepMissed { step, .. } => self.missed = self.missed.or(Some(*step)),
            What::PathUsable { step } => self.step(*step).usable.push(at),
            What::HandlerStarted { id, redelivered } => {
                let handling = Handling { start: at, redelivered: *redelivered, end: None };
                self.message(*id).handlings.push(handling);
                if !self.flooded {
                    self.running += 1;
                    self.reports = true;
                }
            }
            // What is not in the history may be the end of any handling: from here on the wire alone decides.
            What::Flood { .. } => {
                (self.flooded, self.reports, self.running) = (true, false, 0);
            }
            What::HandlerEnded { id, ok } => self.handler_ended(*id, *ok, at),
            What::Starved { who, over, waited } => self.load.add(*who, at.ns, *over, *waited),
            What::Effect { id } => self.message(*id).effects.push(at),
            What::StopRequested => {
                self.stop_requested.get_or_insert(at);
            }
            What::SubjectEnded { .. } => {
                self.subject_ended.get_or_insert(at);
            }
            _ => {}
        }
    }

    /// Epochs the subject may still use.
    pub fn open_epochs(&self) -> impl Iterator<Item = &Epoch> {
        self.epochs.iter().filter(|e| e.client_over.is_none())
    }

    /// Whether the subject consumes the queue under test: it is subscribed to it, or polls it.
    pub fn consuming(&self) -> bool {
        self.open_epochs().any(|e| e.consumes(self.now))
    }

    /// Deliveries of the queue under test on open epochs that reached the subject and that it is still to settle.
    pub fn outstanding(&self) -> usize {
        self.open_epochs()
            .flat_map(|e| e.deliveries.values())
            .filter(|d| !d.foreign && !d.automatic)
            .filter(|d| d.at_client.is_some() && d.settled.is_empty())
            .count()
    }

    /// Whether it polls the queue under test, and has no consumer of it.
    pub fn only_polls(&self) -> bool {
        let subscribed = |e: &Epoch| e.consumers.iter().any(|c| c.under_test && c.ok.is_some());
        self.consuming() && !self.open_epochs().any(subscribed)
    }

    /// This run is about another queue than [`QUEUE`].
    pub fn about(&mut self, queue: &str) {
        self.queue = Some(queue.to_owned());
    }

    fn message(&mut self, id: u32) -> &mut Message {
        self.messages.entry(id).or_default()
    }

    fn connection(&mut self, conn: u64) -> &mut Connection {
        self.connections.entry(conn).or_default()
    }

    fn step(&mut self, step: usize) -> &mut Step {
        self.steps.entry(step).or_default()
    }

    /// Connections that consume the queue under test.
    pub fn consuming_connections(&self) -> usize {
        let consuming = self.open_epochs().filter(|e| e.consumes(self.now));
        consuming.map(|e| e.conn).collect::<BTreeSet<u64>>().len()
    }

    fn handler_ended(&mut self, id: u32, ok: bool, at: Mark) {
        let message = self.message(id);
        let first = ok && message.handled().is_none();
        if let Some(open) = message.handlings.iter_mut().find(|h| h.end.is_none()) {
            open.end = Some((at, ok));
            self.running = self.running.saturating_sub(1);
            if first {
                self.handled += 1;
                self.unhandled.remove(&id);
            }
        }
    }

    fn client_over(&mut self, conn: u64, at: Mark) {
        self.connection(conn).client_over.get_or_insert(at);
        for epoch in self.epochs.iter_mut().filter(|e| e.conn == conn) {
            epoch.client_over.get_or_insert(at);
        }
    }

    fn broker_over(&mut self, conn: u64, at: Mark) {
        self.connection(conn).broker_over.get_or_insert(at);
        for epoch in self.epochs.iter_mut().filter(|e| e.conn == conn) {
            epoch.broker_over.get_or_insert(at);
        }
    }

    fn frame(&mut self, conn: u64, end: End, way: Direction, frame: &Frame, at: Mark) {
        let connection = self.connection(conn);
        match (end, way) {
            (End::Client, Direction::ToBroker) => connection.spoke.push(at),
            (End::Client, Direction::ToClient) => connection.heard = Some(at),
            (End::Broker, _) => connection.tapped_at_broker = true,
        }
        if frame.channel == 0 {
            return self.connection_frame(conn, end, way, frame, at);
        }
        let key = (conn, frame.channel, end == End::Broker);
        if way == Direction::ToBroker && &*frame.name == "channel.open" {
            self.assembling.remove(&key);
            if end == End::Client {
                self.current.insert(key, self.epochs.len());
                let queue = self.queue.as_deref().unwrap_or(QUEUE);
                self.epochs.push(Epoch::new(conn, frame.channel, at, queue));
            } else if let Some(&index) = self.current.get(&(conn, frame.channel, false)) {
                self.current.insert(key, index);
            }
        }
        let Some(&index) = self.current.get(&key) else { return };
        match (end, way) {
            (End::Client, Direction::ToBroker) => {
                if let Args::Declare { queue, exclusive: false, .. } = &frame.args
                    && !queue.is_empty()
                {
                    self.declared.insert(queue.clone());
                }
                for tag in self.epochs[index].sent(frame, at) {
                    self.let_go(index, tag);
                }
            }
            (End::Broker, Direction::ToBroker) => {
                if let Some(settlement) = self.epochs[index].reached_broker(frame, at) {
                    self.settled_at_broker(index, settlement);
                }
            }
            (End::Broker, Direction::ToClient) => {
                if let Some(settlement) = self.epochs[index].broker_said(frame, at) {
                    self.settled_at_broker(index, settlement);
                }
            }
            (End::Client, Direction::ToClient) => {
                self.epochs[index].reached_client(frame, at);
                for id in self.publishes.answered(&mut self.copies, index, &frame.args, at) {
                    self.copy_confirmed(id);
                }
            }
        }
        match way {
            Direction::ToClient => self.assemble(conn, end, index, frame, at),
            Direction::ToBroker => self.publish(conn, end, index, frame, at),
        }
    }

    /// Takes note of what the subject publishes.
    fn publish(&mut self, conn: u64, end: End, epoch: usize, frame: &Frame, at: Mark) {
        let whose = (conn, end, epoch);
        let Some(copy) = self.publishes.sent(&mut self.copies, whose, frame, at) else {
            return;
        };
        if let Some(id) = copy.id {
            let index = self.copies.len();
            self.message(id).copies.push(index);
        }
        self.copies.push(copy);
    }

    fn connection_frame(&mut self, conn: u64, end: End, way: Direction, frame: &Frame, at: Mark) {
        let connection = self.connection(conn);
        match (end, way, &frame.args) {
            (End::Client, Direction::ToBroker, Args::TuneOk { heartbeat, .. }) => {
                connection.heartbeat = Some(*heartbeat);
            }
            (End::Client, Direction::ToBroker, Args::Close { code, text, .. }) => {
                let close = (End::Client, *code, text.clone(), at);
                connection.close.get_or_insert(close);
                for epoch in self.epochs.iter_mut().filter(|e| e.conn == conn) {
                    epoch.client_over.get_or_insert(at);
                }
            }
            (End::Broker, Direction::ToBroker, Args::Close { .. }) => {
                connection.close_arrived.get_or_insert(at);
            }
            (End::Broker, Direction::ToClient, Args::Close { code, text, .. }) => {
                let close = (End::Broker, *code, text.clone(), at);
                connection.close.get_or_insert(close);
                for epoch in self.epochs.iter_mut().filter(|e| e.conn == conn) {
                    epoch.broker_over.get_or_insert(at);
                }
            }
            (End::Client, Direction::ToClient, Args::Close { .. }) => {
                for epoch in self.epochs.iter_mut().filter(|e| e.conn == conn) {
                    epoch.client_over.get_or_insert(at);
                }
            }
            (End::Broker, Direction::ToClient, _) if &*frame.name == "connection.close-ok" => {
                // What came after the request is not known to have been read.
                let asked = connection.close_arrived.unwrap_or(at);
                for epoch in self.epochs.iter_mut().filter(|e| e.conn == conn) {
                    // Sent when every channel had ended, which each does after all that it was sent;
                    // a channel that the broker had closed before ignored what it was sent since.
                    if epoch.broker_over.is_none() {
                        epoch.replies.push((asked, at));
                    }
                    epoch.broker_over.get_or_insert(at);
                }
            }
            (End::Client, Direction::ToClient, _) if &*frame.name == "connection.open-ok" => {
                connection.opened.get_or_insert(at);
            }
            _ => {}
        }
    }

    /// Pairs a basic.deliver (or get-ok) with its header and bodies; it counts when the last byte passed.
    fn assemble(&mut self, conn: u64, end: End, epoch: usize, frame: &Frame, at: Mark) {
        let key = (conn, frame.channel, end == End::Broker);
        match (&*frame.name, &frame.args) {
            (_, args @ (Args::Deliver { .. } | Args::GetOk { .. })) => {
                let Some((tag, delivery)) = self.epochs[epoch].begins(args, end) else { return };
                self.assembling.insert(key, Assembly { epoch, tag, left: None });
                self.epochs[epoch].deliveries.entry(tag).or_insert(delivery);
            }
            ("header", Args::Header { body_size, message_id, .. }) => {
                let Some(assembly) = self.assembling.get_mut(&key) else { return };
                assembly.left = Some(*body_size);
                let id = message_id.as_deref().and_then(parse_id);
                if let Some(d) = self.epochs[epoch].deliveries.get_mut(&assembly.tag) {
                    d.id = d.id.or(id);
                }
            }
            ("body", _) => {
                let Some(assembly) = self.assembling.get_mut(&key) else { return };
                assembly.left = assembly.left.map(|left| left.saturating_sub(frame.size.into()));
            }
            _ => return,
        }
        if self.assembling.get(&key).is_some_and(|a| a.left == Some(0))
            && let Some(done) = self.assembling.remove(&key)
        {
            self.delivered_whole(done.epoch, done.tag, end, at);
        }
    }

    fn delivered_whole(&mut self, epoch: usize, tag: u64, end: End, at: Mark) {
        let Some(delivery) = self.epochs[epoch].deliveries.get_mut(&tag) else { return };
        let first = delivery.at_broker.is_none() && delivery.at_client.is_none();
        let id = delivery.id.filter(|_| first);
        let (named, counts) = (delivery.id, !delivery.foreign);
        let automatic = delivery.automatic;
        match end {
            End::Client => delivery.at_client = Some(at),
            End::Broker => delivery.at_broker = Some(at),
        }
        if let Some(id) = named.filter(|_| counts && first) {
            self.set_aside.remove(&id);
        }
        match end {
            End::Client => {
                self.delivered += u32::from(counts);
                if automatic {
                    self.let_go(epoch, tag);
                }
            }
            End::Broker => {
                self.unsettled.extend(named.filter(|_| counts && !automatic));
            }
        }
        if let Some(id) = id {
            self.message(id).deliveries.push((epoch, tag));
        }
    }

    /// Decides the fate of every settlement from what the broker did afterwards.
    pub fn decide_fates(&mut self) {
        for epoch in &mut self.epochs {
            let tapped = self.connections.get(&epoch.conn).is_some_and(|c| c.tapped_at_broker);
            epoch.decide_fates(tapped);
        }
    }
}

/// The dense id in a message id of the harness's making ("m17").
pub fn parse_id(message_id: &str) -> Option<u32> {
    message_id.strip_prefix('m')?.parse().ok()
}

#[cfg(test)]
mod tests;
