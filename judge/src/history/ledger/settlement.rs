//! An ack, nack, reject or recover: what it covers, and what became of it.

use gauntlet_amqp::Args;

use super::life::Mark;

/// An ack, nack or reject.
#[derive(Clone, Debug)]
pub struct Settlement {
    /// Which of the three, and whether the message goes back.
    pub kind: Settle,
    /// Delivery tag.
    pub tag: u64,
    /// Whether it covers every earlier outstanding tag too.
    pub multiple: bool,
    /// It is a basic.recover.
    pub(super) is_recover: bool,
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

/// The settlement that a method is: kind, tag, multiple.
pub(super) fn settlement(args: &Args) -> Option<(Settle, u64, bool)> {
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
