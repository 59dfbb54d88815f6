//! What each fault becomes on a link: an effect on connections, an answer to a new one, or an act on a frame. The only
//! file here that knows them all.

use gauntlet_faults::{Edge, Fault, Seed};

use super::toxic::PlayToxic;
use super::{
    accept_then_close,
    bandwidth::Bandwidth,
    blackhole::Blackhole,
    corrupt,
    cut::Cut,
    drop,
    effect::Effect,
    hold,
    latency::Latency,
    limit::Limit,
    limit_connections,
    slice::Slice,
    slow_close::SlowClose,
    stall::Stall,
    table::{AcceptAction, Act},
    truncate,
};
use crate::wire::CloseKind;

/// How a link plays a fault.
pub(crate) trait Play {
    /// What it is on one direction of one connection; `seed` is for that alone. `fresh` if the connection
    /// was born under it.
    fn effect(&self, seed: Seed, fresh: bool) -> Option<Box<dyn Effect>>;

    /// What it does to a new connection while `open` others are.
    fn greet(&self, open: usize) -> Option<AcceptAction>;

    /// What it does to a frame of `total` bytes, by offset.
    fn acts(&self, edge: Edge, total: u64) -> Vec<(u64, Act)>;

    /// Whether it does something to connections on which nothing happens, or keeps them from reading.
    fn stirs(&self) -> bool;
}

impl Play for Fault {
    fn effect(&self, seed: Seed, fresh: bool) -> Option<Box<dyn Effect>> {
        let chance = || seed.stream("effect");
        Some(match *self {
            Self::Latency { delay, jitter, .. } => {
                Box::new(Latency { delay, jitter, ends: true, chance: chance() })
            }
            Self::Bandwidth { bytes_per_second, .. } => Box::new(Bandwidth::new(bytes_per_second)),
            Self::Slice { size, variation, pause, .. } => {
                let chance = chance();
                Box::new(Slice { size, variation, pause, chance, left: 0, paused: None })
            }
            Self::Limit { bytes, how, .. } => Box::new(Limit::new(bytes, how)),
            Self::SlowClose { delay } => Box::new(SlowClose { delay, until: None }),
            Self::Rst { side } => Box::new(Cut { side, how: CloseKind::Rst }),
            Self::Fin { side } => Box::new(Cut { side, how: CloseKind::Fin }),
            Self::Blackhole { resume, .. } => Box::new(Blackhole { resume, fresh }),
            Self::Stall { .. } => Box::new(Stall),
            Self::Toxic { toxic, .. } => return toxic.effect(seed, fresh),
            _ => return None,
        })
    }

    fn greet(&self, open: usize) -> Option<AcceptAction> {
        match *self {
            Self::Ignore => Some(AcceptAction::Ignore),
            Self::AcceptThenClose { how } => Some(accept_then_close::greet(how)),
            Self::LimitConnections { max } => limit_connections::greet(max, open),
            _ => None,
        }
    }

    fn acts(&self, edge: Edge, total: u64) -> Vec<(u64, Act)> {
        match *self {
            Self::Drop => drop::acts(total),
            Self::Truncate { keep } => truncate::acts(keep, total),
            Self::Corrupt { byte, xor } => corrupt::acts(byte, xor, total),
            Self::Hold { delay } => hold::acts(delay, edge.offset(total)),
            _ => vec![(edge.offset(total), Act::Meet)],
        }
    }

    fn stirs(&self) -> bool {
        match self {
            Self::Stall { .. } => true,
            Self::Toxic { toxic, .. } => toxic.stirs(),
            fault => fault.single(),
        }
    }
}
