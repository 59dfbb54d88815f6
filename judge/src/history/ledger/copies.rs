//! What the subject publishes itself: a copy of a message for another try, or one it sets aside.
//!
//! Owns the pairing of a publish with its header, its confirm and its arrival at the broker's end. A publish without
//! a harness id counts too, for confirms number all publishes of a channel.

use std::collections::BTreeMap;

use gauntlet_amqp::{Args, Frame};
use gauntlet_faults::End;

use super::life::Mark;
use super::parse_id;

/// One publish by the subject.
#[derive(Clone, Debug)]
pub struct Copy {
    /// Index into [`Ledger::epochs`](super::Ledger::epochs): the channel it was published on.
    pub epoch: usize,
    /// The message it is a copy of, by its message_id.
    pub id: Option<u32>,
    /// Where it was published to; empty is the default exchange.
    pub exchange: String,
    /// With the default exchange, the name of the queue.
    pub routing_key: String,
    /// Complete at the subject's end.
    pub sent: Mark,
    /// Complete at the broker's end.
    pub at_broker: Option<Mark>,
    /// The broker's confirm, at the subject's end.
    pub confirmed: Option<Mark>,
    /// The broker refused it (basic.nack), or returned it as unroutable.
    pub refused: Option<Mark>,
}

impl Copy {
    /// Whether it goes into this queue, by the default exchange.
    pub fn goes_to(&self, queue: &str) -> bool {
        self.exchange.is_empty() && self.routing_key == queue
    }
}

/// All publishes by the subject, and those under way.
#[derive(Clone, Debug, Default)]
pub(super) struct Publishes {
    under_way: BTreeMap<(u64, u16, bool), UnderWay>,
    /// By epoch, what was published since confirm.select, in order: the n-th has the delivery tag n.
    numbered: BTreeMap<usize, Vec<usize>>,
    /// By epoch, so many of these, from the first, have their answer.
    answered: BTreeMap<usize, usize>,
}

#[derive(Clone, Debug)]
struct UnderWay {
    epoch: usize,
    exchange: String,
    routing_key: String,
    id: Option<u32>,
    left: Option<u64>,
}

impl Publishes {
    /// A frame from the subject to the broker, at either end; a copy that the subject has just sent whole.
    pub(super) fn sent(
        &mut self,
        copies: &mut [Copy],
        (conn, end, epoch): (u64, End, usize),
        frame: &Frame,
        at: Mark,
    ) -> Option<Copy> {
        let key = (conn, frame.channel, end == End::Broker);
        match (&*frame.name, &frame.args) {
            ("confirm.select", _) if end == End::Client => {
                self.numbered.entry(epoch).or_default();
            }
            (_, Args::Publish { exchange, routing_key, .. }) => {
                let (exchange, routing_key) = (exchange.clone(), routing_key.clone());
                let begun = UnderWay { epoch, exchange, routing_key, id: None, left: None };
                self.under_way.insert(key, begun);
                return None;
            }
            ("header", Args::Header { body_size, message_id, .. }) => {
                let begun = self.under_way.get_mut(&key)?;
                begun.left = Some(*body_size);
                begun.id = message_id.as_deref().and_then(parse_id);
            }
            ("body", _) => {
                let begun = self.under_way.get_mut(&key)?;
                begun.left = begun.left.map(|left| left.saturating_sub(frame.size.into()));
            }
            _ => return None,
        }
        if self.under_way.get(&key).is_none_or(|begun| begun.left != Some(0)) {
            return None;
        }
        let done = self.under_way.remove(&key)?;
        if end == End::Broker {
            let same = |c: &&mut Copy| {
                c.at_broker.is_none()
                    && (c.epoch, c.id) == (done.epoch, done.id)
                    && (&c.exchange, &c.routing_key) == (&done.exchange, &done.routing_key)
            };
            if let Some(copy) = copies.iter_mut().find(same) {
                copy.at_broker = Some(at);
            }
            return None;
        }
        if let Some(numbered) = self.numbered.get_mut(&done.epoch) {
            numbered.push(copies.len());
        }
        let UnderWay { epoch, exchange, routing_key, id, .. } = done;
        let (at_broker, confirmed, refused) = (None, None, None);
        Some(Copy { epoch, id, exchange, routing_key, sent: at, at_broker, confirmed, refused })
    }

    /// What the broker answers at the subject's end: a confirm, a refusal, or a return. The messages whose copies are
    /// confirmed by it.
    pub(super) fn answered(
        &mut self,
        copies: &mut [Copy],
        epoch: usize,
        args: &Args,
        at: Mark,
    ) -> Vec<u32> {
        let (tag, multiple, kept) = match args {
            Args::Ack { delivery_tag, multiple } => (*delivery_tag, *multiple, true),
            Args::Nack { delivery_tag, multiple, .. } => (*delivery_tag, *multiple, false),
            Args::Return { exchange, routing_key, .. } => {
                let same = |c: &&mut Copy| {
                    c.epoch == epoch
                        && c.confirmed.or(c.refused).is_none()
                        && (&c.exchange, &c.routing_key) == (exchange, routing_key)
                };
                if let Some(copy) = copies.iter_mut().find(same) {
                    copy.refused = Some(at);
                }
                return Vec::new();
            }
            _ => return Vec::new(),
        };
        let mut confirmed = Vec::new();
        let Some(numbered) = self.numbered.get(&epoch) else { return confirmed };
        let last = match tag {
            0 => numbered.len(),
            tag => usize::try_from(tag).unwrap_or(usize::MAX).min(numbered.len()),
        };
        let answered = self.answered.entry(epoch).or_default();
        let first = if multiple { *answered } else { last.saturating_sub(1) };
        for index in numbered.get(first..last).unwrap_or_default() {
            let copy = &mut copies[*index];
            // An unroutable one is returned, and confirmed then.
            if copy.confirmed.or(copy.refused).is_none() {
                *(if kept { &mut copy.confirmed } else { &mut copy.refused }) = Some(at);
                confirmed.extend(copy.id.filter(|_| kept));
            }
        }
        if multiple {
            *answered = last.max(*answered);
        }
        confirmed
    }
}
