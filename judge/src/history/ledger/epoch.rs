//! One opening of one channel: its deliveries, how each was settled, and the fate of each settlement.

use std::collections::{BTreeMap, VecDeque};

use gauntlet_amqp::{Args, Frame};
use gauntlet_faults::End;

use super::life::Mark;
use super::settlement::{Fate, Settle, Settlement, settlement};

/// One that polls asks again within this, in nanoseconds; one that does not is no longer consuming.
pub const POLLS_WITHIN: u64 = 10_000_000_000;

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
    /// Each basic.get, in order.
    pub polls: Vec<Poll>,
    /// Settlements and publishes take effect together, at tx.commit.
    pub transacted: bool,
    /// The last tx.commit at the subject's end.
    committed: Option<Mark>,
    /// Deliveries by tag.
    pub deliveries: BTreeMap<u64, Delivery>,
    /// Acks, nacks and rejects in the order the subject sent them.
    pub settlements: Vec<Settlement>,
    /// The subject knew, or should have known, that the epoch was over: its own close, the broker's
    /// close at its end, or the end of the socket at its side.
    pub client_over: Option<Mark>,
    /// The broker knew that the epoch was over.
    pub broker_over: Option<Mark>,
    /// The broker's own channel.close, as (code, text, when at the subject's end).
    pub refused: Option<(u16, String, Mark)>,
    /// The broker's replies, as (the request whole at the broker's end, the reply): everything that
    /// reached the broker's end before the request is proven to have been read.
    pub(super) replies: Vec<(Mark, Mark)>,
    /// Requests at the broker's end without a reply so far, by method.
    asked: VecDeque<(String, Mark)>,
    /// So many settlements, from the first, are known to have reached the broker's end.
    arrived: usize,
    /// What limits the broker's credit, as it reached the broker's end.
    credit: Credit,
    /// The queue under test.
    under_test: String,
    /// The queue declared last on the channel, which an empty name means (AMQP 0-9-1, queue.name).
    declared: String,
    /// So many of the polls were answered, at the subject's end and at the broker's.
    answered: (usize, usize),
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
    /// Whether that is the queue under test; any other is the subject's own business.
    pub under_test: bool,
    /// Whether it asked for no acknowledgements.
    pub no_ack: bool,
    /// basic.consume-ok at the subject's end.
    pub ok: Option<Mark>,
    /// Its tag, once known.
    pub tag: String,
    /// basic.cancel, as (who sent it, when at the subject's end).
    pub cancelled: Option<(End, Mark)>,
}

/// A basic.get on an epoch.
#[derive(Clone, Debug)]
pub struct Poll {
    /// At the subject's end.
    pub asked: Mark,
    /// Whether it asked the queue under test.
    pub under_test: bool,
    /// Whether it asked for no acknowledgement.
    pub no_ack: bool,
    /// get-ok or get-empty at the subject's end.
    pub answered: Option<Mark>,
}

/// One delivery on an epoch.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// The message, if it carries one of the harness's ids.
    pub id: Option<u32>,
    /// The redelivered flag on the wire.
    pub redelivered: bool,
    /// Consumer tag; empty for one that was polled.
    pub consumer: String,
    /// It came from another queue than the one under test: the subject's own business.
    pub foreign: bool,
    /// The broker waits for no settlement of it.
    pub automatic: bool,
    /// Complete (method, header, body) at the broker's end.
    pub at_broker: Option<Mark>,
    /// Complete at the subject's end.
    pub at_client: Option<Mark>,
    /// The settlements that cover it, as indexes into [`Epoch::settlements`].
    pub settled: Vec<usize>,
}

impl Epoch {
    pub(super) fn new(conn: u64, channel: u16, opened: Mark, under_test: &str) -> Epoch {
        Epoch {
            conn,
            channel,
            opened,
            qos: Vec::new(),
            consumers: Vec::new(),
            polls: Vec::new(),
            transacted: false,
            committed: None,
            deliveries: BTreeMap::new(),
            settlements: Vec::new(),
            client_over: None,
            broker_over: None,
            refused: None,
            replies: Vec::new(),
            asked: VecDeque::new(),
            arrived: 0,
            credit: Credit::default(),
            under_test: under_test.to_owned(),
            declared: String::new(),
            answered: (0, 0),
        }
    }

    /// The consumer that a delivery with this tag came by.
    pub fn consumer(&self, tag: &str) -> Option<&Consumer> {
        self.consumers.iter().rfind(|c| c.tag == tag)
    }

    /// The queue that a name means on this channel.
    fn named(&self, queue: &str) -> String {
        if queue.is_empty() { self.declared.clone() } else { queue.to_owned() }
    }

    /// A delivery that begins to arrive at one end: by which consumer or which poll it comes.
    pub(super) fn begins(&self, args: &Args, end: End) -> Option<(u64, Delivery)> {
        let (tag, redelivered, consumer, foreign, automatic) = match args {
            Args::Deliver { delivery_tag, redelivered, consumer_tag, .. } => {
                let by = self.consumer(consumer_tag);
                let foreign = by.is_some_and(|c| !c.under_test);
                let automatic = by.is_some_and(|c| c.no_ack);
                (*delivery_tag, *redelivered, consumer_tag.clone(), foreign, automatic)
            }
            Args::GetOk { delivery_tag, redelivered, .. } => {
                let (at_client, at_broker) = self.answered;
                // The answer has been counted.
                let index = if end == End::Client { at_client } else { at_broker };
                let by = index.checked_sub(1).and_then(|i| self.polls.get(i));
                let foreign = by.is_some_and(|p| !p.under_test);
                let automatic = by.is_some_and(|p| p.no_ack);
                (*delivery_tag, *redelivered, String::new(), foreign, automatic)
            }
            _ => return None,
        };
        let (id, at_broker, at_client, settled) = (None, None, None, Vec::new());
        let delivery = Delivery {
            id,
            redelivered,
            consumer,
            foreign,
            automatic,
            at_broker,
            at_client,
            settled,
        };
        Some((tag, delivery))
    }

    /// Whether it is consuming the queue under test now: subscribed, polling, or at work on what it polled.
    pub(super) fn consumes(&self, now: u64) -> bool {
        let subscribed = |c: &Consumer| c.under_test && c.ok.is_some() && c.cancelled.is_none();
        let polled = self.polls.iter().rfind(|p| p.under_test && p.answered.is_some());
        let lately = |p: &Poll| now.saturating_sub(p.asked.ns) <= POLLS_WITHIN;
        let held = |d: &Delivery| {
            d.consumer.is_empty() && !d.foreign && d.at_client.is_some() && d.settled.is_empty()
        };
        self.consumers.iter().any(subscribed)
            || polled.is_some_and(lately)
            || (polled.is_some() && self.deliveries.values().any(held))
    }

    /// Whether the subject has not settled a delivery, or did so in a transaction that it never committed.
    pub fn is_open(&self, delivery: &Delivery) -> bool {
        let commits = |i: &usize| Some(self.settlements[*i].at_client) < self.committed;
        !delivery.settled.iter().any(|i| !self.transacted || commits(i))
    }

    /// The prefetch in force for its consumers; `None` when it never was limited.
    pub fn prefetch(&self) -> Option<u16> {
        self.qos.last().map(|(_, n)| *n).filter(|n| *n > 0)
    }

    /// The tags that a settlement covers.
    pub(super) fn sent(&mut self, frame: &Frame, at: Mark) -> Vec<u64> {
        match &frame.args {
            Args::Qos { prefetch_count, .. } => self.qos.push((at, *prefetch_count)),
            // One that the broker is to name is known by the answer.
            Args::Declare { queue, .. } => self.declared.clone_from(queue),
            Args::Consume { queue, no_ack, consumer_tag, .. } => {
                let queue = self.named(queue);
                let under_test = queue == self.under_test;
                self.consumers.push(Consumer {
                    asked: at,
                    queue,
                    under_test,
                    no_ack: *no_ack,
                    ok: None,
                    tag: consumer_tag.clone(),
                    cancelled: None,
                });
            }
            Args::Get { queue, no_ack } => {
                let under_test = self.named(queue) == self.under_test;
                let (no_ack, answered) = (*no_ack, None);
                self.polls.push(Poll { asked: at, under_test, no_ack, answered });
            }
            Args::Cancel { consumer_tag } => self.cancelled(consumer_tag, End::Client, at),
            Args::Close { .. } => {
                self.client_over.get_or_insert(at);
            }
            args => {
                if let Some((kind, tag, multiple)) = settlement(args) {
                    self.settle(kind, tag, multiple, at);
                    if let (Args::Recover { .. }, Some(last)) = (args, self.settlements.last_mut())
                    {
                        last.is_recover = true;
                    }
                    let covers = self.settlements.last().map(|s| s.covers.clone());
                    return covers.unwrap_or_default();
                }
                match &*frame.name {
                    "tx.select" => self.transacted = true,
                    "tx.commit" => self.committed = Some(at),
                    _ => {}
                }
            }
        }
        Vec::new()
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
        let settlement = Settlement {
            kind,
            tag,
            multiple,
            is_recover: false,
            at_client: at,
            at_broker,
            fate,
            proof,
            covers,
        };
        self.settlements.push(settlement);
    }

    /// A settlement that is whole at the broker's end now, as an index.
    pub(super) fn reached_broker(&mut self, frame: &Frame, at: Mark) -> Option<usize> {
        let mut settled = None;
        if let Some((kind, tag, multiple)) = settlement(&frame.args) {
            let same = |s: &Settlement| {
                s.at_broker.is_none() && (s.kind, s.tag, s.multiple) == (kind, tag, multiple)
            };
            // They arrive as they were sent, so all before the first that has not arrived need not be looked at.
            let (sent, arrived) = (&mut self.settlements, &mut self.arrived);
            *arrived += sent[*arrived..].iter().take_while(|s| s.at_broker.is_some()).count();
            let from = *arrived;
            if let Some((i, s)) = sent[from..].iter_mut().enumerate().find(|(_, s)| same(s)) {
                s.at_broker = Some(at);
                settled = Some(from + i);
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
        settled
    }

    /// What the broker says. The settlement that covers more than was known when it was sent, as an index.
    pub(super) fn broker_said(&mut self, frame: &Frame, at: Mark) -> Option<usize> {
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
        match &frame.args {
            Args::ConsumeOk { consumer_tag } => _ = self.confirmed(consumer_tag),
            _ if is_poll_s_answer(&frame.name) => self.answered.1 += 1,
            _ => {}
        }
        if &*frame.name == "basic.recover-ok" { self.recovered() } else { None }
    }

    /// The broker put back all that it had delivered on the channel before this answer, whether or not the subject had it
    /// when it asked. The settlement that says so.
    fn recovered(&mut self) -> Option<usize> {
        let index = self.settlements.iter().rposition(|s| s.is_recover && s.at_broker.is_some())?;
        let unsettled = |d: &Delivery| d.settled.is_empty() && d.at_broker.is_some();
        for (tag, delivery) in self.deliveries.iter_mut().filter(|(_, d)| unsettled(d)) {
            delivery.settled.push(index);
            self.settlements[index].covers.push(*tag);
        }
        Some(index)
    }

    /// The consumer that a consume-ok is about; from now on it has its tag.
    fn confirmed(&mut self, tag: &str) -> Option<&mut Consumer> {
        let waiting = |c: &Consumer, tag: &str| c.ok.is_none() && c.tag == tag;
        let i = self.consumers.iter().position(|c| waiting(c, tag));
        let i = i.or_else(|| self.consumers.iter().position(|c| waiting(c, "")))?;
        let consumer = &mut self.consumers[i];
        tag.clone_into(&mut consumer.tag);
        Some(consumer)
    }

    pub(super) fn reached_client(&mut self, frame: &Frame, at: Mark) {
        match &frame.args {
            Args::ConsumeOk { consumer_tag } => {
                if let Some(c) = self.confirmed(consumer_tag) {
                    c.ok = Some(at);
                }
            }
            Args::DeclareOk { queue, .. } if self.declared.is_empty() => {
                self.declared.clone_from(queue);
            }
            _ if is_poll_s_answer(&frame.name) => {
                if let Some(poll) = self.polls.get_mut(self.answered.0) {
                    poll.answered = Some(at);
                }
                self.answered.0 += 1;
            }
            Args::Cancel { consumer_tag } => self.cancelled(consumer_tag, End::Broker, at),
            Args::Close { code, text, .. } => {
                self.refused.get_or_insert_with(|| (*code, text.clone(), at));
                self.client_over.get_or_insert(at);
            }
            _ => {}
        }
    }

    fn cancelled(&mut self, tag: &str, by: End, at: Mark) {
        // A tag may serve again; the broker cancels none that it has not confirmed.
        let meant = |c: &&mut Consumer| c.tag == tag && (by == End::Client || c.ok.is_some());
        if let Some(c) = self.consumers.iter_mut().rfind(meant) {
            c.cancelled.get_or_insert((by, at));
        }
    }

    pub(super) fn decide_fates(&mut self, tapped: bool) {
        let by_credit = self.proofs_by_credit();
        let (mut reached, mut counts) = (0, true);
        let deliveries = &self.deliveries;
        for (index, s) in self.settlements.iter_mut().enumerate() {
            let Some(at_broker) = s.at_broker else {
                s.fate = if tapped { Fate::Dropped } else { Fate::Unknown };
                continue;
            };
            // One that settles nothing, or something again, may have given credit back for another delivery, or closed the
            // channel: what comes after it cannot be counted.
            let first =
                |tag: &u64| deliveries.get(tag).and_then(|d| d.settled.first()) == Some(&index);
            counts &= !s.covers.is_empty() && s.covers.iter().all(first);
            let reply =
                self.replies.iter().find(|(asked, _)| at_broker <= *asked).map(|(_, reply)| *reply);
            let credit =
                by_credit.get(reached).copied().filter(|proof| counts && *proof > at_broker);
            s.proof = reply.or(credit);
            s.fate = if s.proof.is_some() { Fate::Received } else { Fate::Unknown };
            reached += s.covers.len();
        }
    }

    /// The deliveries that prove the first, second... settled delivery to have been read: with a prefetch of P for each of C
    /// consumers the broker has sent C * P + n deliveries only if n of them were settled.
    fn proofs_by_credit(&self) -> Vec<Mark> {
        let Credit { limits, consumes, muddled } = &self.credit;
        let Some((consumed, _)) = consumes.first() else { return Vec::new() };
        let before = limits.first().is_some_and(|(at, _)| at < consumed);
        let unlimited =
            limits.iter().any(|(_, n)| *n == 0) || consumes.iter().any(|(_, no_ack)| *no_ack);
        if *muddled || !before || unlimited {
            return Vec::new();
        }
        let most = limits.iter().map(|(_, n)| usize::from(*n)).max().unwrap_or(0);
        let prefetch = most * consumes.len();
        let mut sent: Vec<Mark> = self.deliveries.values().filter_map(|d| d.at_broker).collect();
        sent.sort();
        sent.split_off(prefetch.min(sent.len()))
    }
}

fn is_poll_s_answer(name: &str) -> bool {
    matches!(name, "basic.get-ok" | "basic.get-empty")
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
