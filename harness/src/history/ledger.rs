//! The fold of a history: which message was delivered where, and how each delivery was settled.
//!
//! Owns the pairing of frames at both ends of the wire (epochs, deliveries, settlements and their
//! fate). The same fold runs live, to know when a phase is over, and afterwards, for the checkers.
//! It judges nothing.

use std::collections::{BTreeMap, VecDeque};

use gauntlet_network::{Args, End, Frame, Way};

use super::event::{Event, What};

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
    /// Its deliveries, as (index into [`Ledger::epochs`], delivery tag), in order of arrival at the
    /// broker's tap (at the subject's, where the broker's end has none).
    pub deliveries: Vec<(usize, u64)>,
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

/// One opening of one channel of one connection: what a delivery tag is scoped to.
#[derive(Clone, Debug)]
pub struct Epoch {
    /// Connection.
    pub conn: u64,
    /// Channel number.
    pub channel: u16,
    /// channel.open at the subject's end.
    pub opened: Mark,
    /// Prefetch counts set by basic.qos at the subject's end, in order.
    pub qos: Vec<(Mark, u16)>,
    /// Consumers, in order.
    pub consumers: Vec<Consumer>,
    /// Deliveries by tag.
    pub deliveries: BTreeMap<u64, Delivery>,
    /// Acks, nacks and rejects in the order the subject sent them.
    pub settlements: Vec<Settlement>,
    /// The subject knew, or should have known, that the epoch was over: its own close, the broker's
    /// close at its end, or the end of the socket at its side.
    pub client_over: Option<Mark>,
    /// The broker knew that the epoch was over.
    pub broker_over: Option<Mark>,
    /// The broker's replies, as (the request whole at the broker's end, the reply): everything that
    /// reached the broker's end before the request is proven to have been read.
    replies: Vec<(Mark, Mark)>,
    /// Requests at the broker's end without a reply so far, by method.
    asked: VecDeque<(String, Mark)>,
    /// What limits the broker's credit, as it reached the broker's end.
    credit: Credit,
}

/// What reached the broker's end that decides how much it may send.
#[derive(Clone, Debug, Default)]
struct Credit {
    limits: Vec<(Mark, u16)>,
    consumes: Vec<(Mark, bool)>,
    /// Something gave credit back, or took a message, outside of settlements: no proof by credit.
    muddled: bool,
}

/// A consumer on an epoch.
#[derive(Clone, Debug)]
pub struct Consumer {
    /// basic.consume at the subject's end.
    pub asked: Mark,
    /// The queue it asked for.
    pub queue: String,
    /// Whether it asked for no acknowledgements.
    pub no_ack: bool,
    /// basic.consume-ok at the subject's end.
    pub ok: Option<Mark>,
    /// Its tag, once known.
    pub tag: String,
    /// basic.cancel, as (who sent it, when at the subject's end).
    pub cancelled: Option<(End, Mark)>,
}

/// One delivery on an epoch.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// The message, if it carries one of the harness's ids.
    pub id: Option<u32>,
    /// The redelivered flag on the wire.
    pub redelivered: bool,
    /// Consumer tag.
    pub consumer: String,
    /// Complete (method, header, body) at the broker's end.
    pub at_broker: Option<Mark>,
    /// Complete at the subject's end.
    pub at_client: Option<Mark>,
    /// The settlements that cover it, as indexes into [`Epoch::settlements`].
    pub settled: Vec<usize>,
}

/// An ack, nack or reject.
#[derive(Clone, Debug)]
pub struct Settlement {
    /// Which of the three, and whether the message goes back.
    pub kind: Settle,
    /// Delivery tag.
    pub tag: u64,
    /// Whether it covers every earlier outstanding tag too.
    pub multiple: bool,
    /// At the subject's end.
    pub at_client: Mark,
    /// At the broker's end, whole.
    pub at_broker: Option<Mark>,
    /// What became of it.
    pub fate: Fate,
    /// What proves that it was received: the reply, or the delivery that needed its credit.
    pub proof: Option<Mark>,
    /// The tags it covered that were outstanding when the subject sent it.
    pub covers: Vec<u64>,
}

/// The kind of a settlement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settle {
    /// basic.ack
    Ack,
    /// basic.nack
    Nack {
        /// Put back into the queue.
        requeue: bool,
    },
    /// basic.reject
    Reject {
        /// Put back into the queue.
        requeue: bool,
    },
}

impl Settle {
    /// Whether the message leaves the queue (for good, or for a dead-letter queue).
    pub fn consumes(self) -> bool {
        matches!(
            self,
            Settle::Ack | Settle::Nack { requeue: false } | Settle::Reject { requeue: false }
        )
    }

    /// In words: the subject ... it.
    pub fn verb(self) -> &'static str {
        match self {
            Settle::Ack => "acked",
            Settle::Nack { requeue: true } | Settle::Reject { requeue: true } => "put back",
            Settle::Nack { .. } | Settle::Reject { .. } => "rejected",
        }
    }
}

/// The three fates of a settlement (DESIGN, rule 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The broker's end forwarded it, and something the broker did later proves that it was read: a
    /// reply to a later request on that channel, an orderly close, or a delivery that the prefetch
    /// limit would not have allowed without it.
    Received,
    /// It never reached the broker's end whole.
    Dropped,
    /// Written to the broker, and nothing proves it read; or nobody listened at the broker's end.
    Unknown,
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

/// The fold.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// Messages by dense id.
    pub messages: BTreeMap<u32, Message>,
    /// Connections by number.
    pub connections: BTreeMap<u64, Connection>,
    /// Epochs in order of opening.
    pub epochs: Vec<Epoch>,
    /// Steps by index.
    pub steps: BTreeMap<usize, Step>,
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
    /// The epoch in force for (connection, channel, at the broker's end): frames of the one before may
    /// still be on their way when the subject opens the next.
    current: BTreeMap<(u64, u16, bool), usize>,
    assembling: BTreeMap<(u64, u16, bool), Assembly>,
}

#[derive(Clone, Debug)]
struct Assembly {
    epoch: usize,
    tag: u64,
    left: Option<u64>,
}

impl Ledger {
    /// The fold of a whole history, fates decided.
    pub fn of<'a>(events: impl IntoIterator<Item = &'a Event>) -> Ledger {
        let mut ledger = Ledger::default();
        for event in events {
            ledger.apply(event);
        }
        ledger.decide_fates();
        ledger
    }

    /// Folds one more event. Fates stay undecided until [`Ledger::decide_fates`].
    pub fn apply(&mut self, event: &Event) {
        let at = Mark::from(event);
        match &event.what {
            What::Published { id } => self.message(*id).published = Some(at),
            What::Confirmed { id } => {
                self.confirmed += 1;
                self.message(*id).confirmed = Some(at);
            }
            What::PublishUnknown { id, .. } => self.message(*id).publish_unknown = Some(at),
            What::Remaining { id, queue, .. } => {
                self.message(*id).remaining.push((queue.clone(), at));
            }
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
            What::PathUsable { step } => self.step(*step).usable.push(at),
            What::HandlerStarted { id, redelivered } => {
                let handling = Handling { start: at, redelivered: *redelivered, end: None };
                self.message(*id).handlings.push(handling);
            }
            What::HandlerEnded { id, ok } => self.handler_ended(*id, *ok, at),
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

    /// Whether the subject consumes: an open epoch with a consume-ok and no cancel.
    pub fn consuming(&self) -> bool {
        self.open_epochs()
            .any(|e| e.consumers.iter().any(|c| c.ok.is_some() && c.cancelled.is_none()))
    }

    /// Deliveries on open epochs that reached the subject and were not settled by it.
    pub fn outstanding(&self) -> usize {
        self.open_epochs()
            .filter(|e| e.consumers.iter().any(|c| !c.no_ack))
            .flat_map(|e| e.deliveries.values())
            .filter(|d| d.at_client.is_some() && d.settled.is_empty())
            .count()
    }

    /// Confirmed messages without a successful handling.
    pub fn unhandled(&self) -> impl Iterator<Item = u32> + '_ {
        self.messages
            .iter()
            .filter(|(_, m)| m.confirmed.is_some() && m.handled().is_none())
            .map(|(id, _)| *id)
    }

    /// Handlers that run now.
    pub fn running(&self) -> usize {
        self.messages.values().flat_map(|m| &m.handlings).filter(|h| h.end.is_none()).count()
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

    fn handler_ended(&mut self, id: u32, ok: bool, at: Mark) {
        let message = self.message(id);
        let first = ok && message.handled().is_none();
        if let Some(open) = message.handlings.iter_mut().find(|h| h.end.is_none()) {
            open.end = Some((at, ok));
            self.handled += u32::from(first);
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

    fn frame(&mut self, conn: u64, end: End, way: Way, frame: &Frame, at: Mark) {
        let connection = self.connection(conn);
        match (end, way) {
            (End::Client, Way::ToBroker) => connection.spoke.push(at),
            (End::Client, Way::ToClient) => connection.heard = Some(at),
            (End::Broker, _) => connection.tapped_at_broker = true,
        }
        if frame.channel == 0 {
            return self.connection_frame(conn, end, way, frame, at);
        }
        let key = (conn, frame.channel, end == End::Broker);
        if way == Way::ToBroker && &*frame.name == "channel.open" {
            self.assembling.remove(&key);
            if end == End::Client {
                self.current.insert(key, self.epochs.len());
                self.epochs.push(Epoch::new(conn, frame.channel, at));
            } else if let Some(&index) = self.current.get(&(conn, frame.channel, false)) {
                self.current.insert(key, index);
            }
        }
        let Some(&index) = self.current.get(&key) else { return };
        match (end, way) {
            (End::Client, Way::ToBroker) => self.epochs[index].sent(frame, at),
            (End::Broker, Way::ToBroker) => self.epochs[index].reached_broker(frame, at),
            (End::Broker, Way::ToClient) => self.epochs[index].broker_said(frame, at),
            (End::Client, Way::ToClient) => self.epochs[index].reached_client(frame, at),
        }
        if way == Way::ToClient {
            self.assemble(conn, end, index, frame, at);
        }
    }

    fn connection_frame(&mut self, conn: u64, end: End, way: Way, frame: &Frame, at: Mark) {
        let connection = self.connection(conn);
        match (end, way, &frame.args) {
            (End::Client, Way::ToBroker, Args::TuneOk { heartbeat, .. }) => {
                connection.heartbeat = Some(*heartbeat);
            }
            (End::Client, Way::ToBroker, Args::Close { code, text, .. }) => {
                let close = (End::Client, *code, text.clone(), at);
                connection.close.get_or_insert(close);
                for epoch in self.epochs.iter_mut().filter(|e| e.conn == conn) {
                    epoch.client_over.get_or_insert(at);
                }
            }
            (End::Broker, Way::ToClient, Args::Close { code, text, .. }) => {
                let close = (End::Broker, *code, text.clone(), at);
                connection.close.get_or_insert(close);
                for epoch in self.epochs.iter_mut().filter(|e| e.conn == conn) {
                    epoch.broker_over.get_or_insert(at);
                }
            }
            (End::Client, Way::ToClient, Args::Close { .. }) => {
                for epoch in self.epochs.iter_mut().filter(|e| e.conn == conn) {
                    epoch.client_over.get_or_insert(at);
                }
            }
            (End::Broker, Way::ToClient, _) if &*frame.name == "connection.close-ok" => {
                for epoch in self.epochs.iter_mut().filter(|e| e.conn == conn) {
                    // Sent when every channel had ended, which each does after all that it was sent;
                    // a channel that the broker had closed before ignored what it was sent since.
                    if epoch.broker_over.is_none() {
                        epoch.replies.push((at, at));
                    }
                    epoch.broker_over.get_or_insert(at);
                }
            }
            (End::Client, Way::ToClient, _) if &*frame.name == "connection.open-ok" => {
                connection.opened.get_or_insert(at);
            }
            _ => {}
        }
    }

    /// Pairs a basic.deliver (or get-ok) with its header and bodies; it counts when the last octet passed.
    fn assemble(&mut self, conn: u64, end: End, epoch: usize, frame: &Frame, at: Mark) {
        let key = (conn, frame.channel, end == End::Broker);
        match (&*frame.name, &frame.args) {
            (_, Args::Deliver { delivery_tag: tag, redelivered, .. })
            | (_, Args::GetOk { delivery_tag: tag, redelivered, .. }) => {
                self.assembling.insert(key, Assembly { epoch, tag: *tag, left: None });
                let consumer = match &frame.args {
                    Args::Deliver { consumer_tag, .. } => consumer_tag.clone(),
                    _ => String::new(),
                };
                self.epochs[epoch].deliveries.entry(*tag).or_insert_with(|| Delivery {
                    id: None,
                    redelivered: *redelivered,
                    consumer,
                    at_broker: None,
                    at_client: None,
                    settled: Vec::new(),
                });
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
        match end {
            End::Client => {
                delivery.at_client = Some(at);
                self.delivered += 1;
            }
            End::Broker => delivery.at_broker = Some(at),
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

impl Epoch {
    fn new(conn: u64, channel: u16, opened: Mark) -> Epoch {
        Epoch {
            conn,
            channel,
            opened,
            qos: Vec::new(),
            consumers: Vec::new(),
            deliveries: BTreeMap::new(),
            settlements: Vec::new(),
            client_over: None,
            broker_over: None,
            replies: Vec::new(),
            asked: VecDeque::new(),
            credit: Credit::default(),
        }
    }

    /// The prefetch in force for its consumers; `None` when it never was limited.
    pub fn prefetch(&self) -> Option<u16> {
        self.qos.last().map(|(_, n)| *n).filter(|n| *n > 0)
    }

    fn sent(&mut self, frame: &Frame, at: Mark) {
        match &frame.args {
            Args::Qos { prefetch_count, .. } => self.qos.push((at, *prefetch_count)),
            Args::Consume { queue, no_ack, consumer_tag, .. } => self.consumers.push(Consumer {
                asked: at,
                queue: queue.clone(),
                no_ack: *no_ack,
                ok: None,
                tag: consumer_tag.clone(),
                cancelled: None,
            }),
            Args::Cancel { consumer_tag } => self.cancelled(consumer_tag, End::Client, at),
            Args::Close { .. } => {
                self.client_over.get_or_insert(at);
            }
            args => {
                if let Some((kind, tag, multiple)) = settlement(args) {
                    self.settle(kind, tag, multiple, at);
                }
            }
        }
    }

    fn settle(&mut self, kind: Settle, tag: u64, multiple: bool, at: Mark) {
        let index = self.settlements.len();
        let mut covers = Vec::new();
        let range = if multiple { 0..=if tag == 0 { u64::MAX } else { tag } } else { tag..=tag };
        for (tag, delivery) in self.deliveries.range_mut(range) {
            // A `multiple` covers what the subject has outstanding; a single one names its tag in any case.
            if !multiple || (delivery.settled.is_empty() && delivery.at_client.is_some()) {
                delivery.settled.push(index);
                covers.push(*tag);
            }
        }
        let (at_broker, proof, fate) = (None, None, Fate::Unknown);
        let settlement =
            Settlement { kind, tag, multiple, at_client: at, at_broker, fate, proof, covers };
        self.settlements.push(settlement);
    }

    fn reached_broker(&mut self, frame: &Frame, at: Mark) {
        if let Some((kind, tag, multiple)) = settlement(&frame.args) {
            let same = |s: &&mut Settlement| {
                s.at_broker.is_none() && (s.kind, s.tag, s.multiple) == (kind, tag, multiple)
            };
            if let Some(s) = self.settlements.iter_mut().find(same) {
                s.at_broker = Some(at);
            }
        }
        match &frame.args {
            Args::Qos { prefetch_count, .. } => self.credit.limits.push((at, *prefetch_count)),
            Args::Consume { no_ack, .. } => self.credit.consumes.push((at, *no_ack)),
            Args::Recover { .. } | Args::Get { .. } => self.credit.muddled = true,
            _ => {}
        }
        if is_request(&frame.name) {
            self.asked.push_back((frame.name.to_string(), at));
        }
    }

    fn broker_said(&mut self, frame: &Frame, at: Mark) {
        // Replies come in the order of their requests; one that was not wanted (no-wait) has none.
        let replied = |asked: &(String, Mark)| {
            let rest = frame.name.strip_prefix(asked.0.as_str());
            rest == Some("-ok") || rest == Some("-empty")
        };
        if let Some(i) = self.asked.iter().position(replied).filter(|_| self.broker_over.is_none())
        {
            let asked = self.asked.drain(..=i).next_back();
            self.replies.extend(asked.map(|(_, asked)| (asked, at)));
        }
        if matches!(frame.args, Args::Close { .. }) || &*frame.name == "channel.close-ok" {
            self.broker_over.get_or_insert(at);
        }
    }

    fn reached_client(&mut self, frame: &Frame, at: Mark) {
        match &frame.args {
            Args::ConsumeOk { consumer_tag } => {
                if let Some(c) = self.consumers.iter_mut().find(|c| c.ok.is_none()) {
                    c.ok = Some(at);
                    c.tag.clone_from(consumer_tag);
                }
            }
            Args::Cancel { consumer_tag } => self.cancelled(consumer_tag, End::Broker, at),
            Args::Close { .. } => {
                self.client_over.get_or_insert(at);
            }
            _ => {}
        }
    }

    fn cancelled(&mut self, tag: &str, by: End, at: Mark) {
        if let Some(c) = self.consumers.iter_mut().find(|c| c.tag == tag) {
            c.cancelled.get_or_insert((by, at));
        }
    }

    fn decide_fates(&mut self, tapped: bool) {
        let by_credit = self.proofs_by_credit();
        let mut reached = 0;
        for s in &mut self.settlements {
            let Some(at_broker) = s.at_broker else {
                s.fate = if tapped { Fate::Dropped } else { Fate::Unknown };
                continue;
            };
            let reply =
                self.replies.iter().find(|(asked, _)| at_broker <= *asked).map(|(_, reply)| *reply);
            let credit = by_credit.get(reached).copied().filter(|_| !s.covers.is_empty());
            s.proof = reply.or(credit);
            s.fate = if s.proof.is_some() { Fate::Received } else { Fate::Unknown };
            reached += s.covers.len();
        }
    }

    /// The deliveries that prove the first, second... settled delivery to have been read: with a
    /// prefetch of P the broker has sent P + n deliveries only if n of them were settled.
    fn proofs_by_credit(&self) -> Vec<Mark> {
        let Credit { limits, consumes, muddled } = &self.credit;
        let [(consumed, false)] = consumes[..] else { return Vec::new() };
        let before = limits.first().is_some_and(|(at, _)| *at < consumed);
        if *muddled || !before || limits.iter().any(|(_, n)| *n == 0) {
            return Vec::new();
        }
        let prefetch = limits.iter().map(|(_, n)| usize::from(*n)).max().unwrap_or(0);
        let mut sent: Vec<Mark> = self.deliveries.values().filter_map(|d| d.at_broker).collect();
        sent.sort();
        sent.split_off(prefetch.min(sent.len()))
    }
}

/// The dense id in a message id of the harness's making ("m17").
pub fn parse_id(message_id: &str) -> Option<u32> {
    message_id.strip_prefix('m')?.parse().ok()
}

fn settlement(args: &Args) -> Option<(Settle, u64, bool)> {
    match args {
        Args::Ack { delivery_tag, multiple } => Some((Settle::Ack, *delivery_tag, *multiple)),
        Args::Nack { delivery_tag, multiple, requeue } => {
            Some((Settle::Nack { requeue: *requeue }, *delivery_tag, *multiple))
        }
        Args::Reject { delivery_tag, requeue } => {
            Some((Settle::Reject { requeue: *requeue }, *delivery_tag, false))
        }
        // basic.recover puts back everything outstanding on the channel.
        Args::Recover { .. } => Some((Settle::Nack { requeue: true }, 0, true)),
        _ => None,
    }
}

/// Methods that the broker answers, on the channel, after all that came before them.
fn is_request(name: &str) -> bool {
    matches!(
        name,
        "basic.qos"
            | "basic.consume"
            | "basic.cancel"
            | "basic.recover"
            | "basic.get"
            | "channel.close"
            | "queue.declare"
            | "queue.bind"
    )
}

#[cfg(test)]
mod tests;
