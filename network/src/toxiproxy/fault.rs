//! What a toxic becomes on a link: a fault, for whom, where and for how long.

use std::time::Duration;

use super::{
    catalogue::{Streams, ToxicKind},
    toxic::{Attributes, Toxic},
};
use crate::{
    fault::{self, Edge, Fault, Injection, Point},
    wire::{CloseKind, Direction, Side},
};

/// The fault for a toxic, or what is wrong with it; `None` for one that does nothing.
pub(super) fn injection(toxic: &Toxic) -> Result<Option<Injection>, String> {
    let attributes = &toxic.attributes;
    let mut injection = match plain(toxic.kind, toxic.way, attributes)? {
        Some(fault) => Injection::from(fault),
        None if toxic.kind.name == "frame" => frame(toxic)?,
        None => return Ok(None),
    };
    injection.share = f64::from(toxic.toxicity.clamp(0.0, 1.0));
    injection.lasts = match toxic.duration {
        None => None,
        Some(ms) => Some(Duration::from_millis(within("duration", ms, 1, YEAR)?)),
    };
    if let Some(count) = toxic.count {
        let count = Some(number("count", count, 1)?);
        match injection.at {
            Some(_) => injection.times = count,
            None => injection.connections = count,
        }
    }
    injection.check().map_err(|error| error.to_string())?;
    Ok(Some(injection))
}

/// Milliseconds.
const YEAR: i64 = 365 * 24 * 3600 * 1000;

fn plain(
    kind: &ToxicKind,
    way: Option<Direction>,
    attributes: &Attributes,
) -> Result<Option<Fault>, String> {
    use fault::Toxic;
    let n = |name| attributes.integer(name);
    let toxic = |toxic| Fault::Toxic { way, toxic };
    Ok(Some(match kind.name {
        "latency" => toxic(Toxic::Latency { latency: n("latency"), jitter: n("jitter") }),
        "bandwidth" => toxic(Toxic::Bandwidth { rate: n("rate") }),
        "slow_close" => toxic(Toxic::SlowClose { delay: n("delay") }),
        "timeout" => toxic(Toxic::Timeout { timeout: n("timeout") }),
        "reset_peer" => toxic(Toxic::ResetPeer { timeout: n("timeout") }),
        "slicer" => toxic(Toxic::Slicer {
            average_size: n("average_size"),
            size_variation: n("size_variation"),
            delay: n("delay"),
        }),
        "limit_data" => toxic(Toxic::LimitData { bytes: n("bytes") }),
        "noop" => toxic(Toxic::Noop),
        "rst" => Fault::Rst { side: side(attributes) },
        "fin" => Fault::Fin { side: side(attributes) },
        "blackhole" => Fault::Blackhole { way, resume: attributes.truth("resume") },
        "stall" => Fault::Stall { way },
        "refuse" => Fault::Refuse,
        "ignore" => Fault::Ignore,
        "accept_close" => Fault::AcceptThenClose { how: how(attributes) },
        "limit_connections" => Fault::LimitConnections { max: number("max", n("max"), 0)? },
        _ => return Ok(None),
    }))
}

fn frame(toxic: &Toxic) -> Result<Injection, String> {
    let attributes = &toxic.attributes;
    let n = |name| attributes.integer(name);
    let fault = match attributes.word("action") {
        "drop" => Fault::Drop,
        "hold" => {
            let delay = within("delay", n("delay"), 0, 3_600_000)?;
            Fault::Hold { delay: Duration::from_millis(delay) }
        }
        "corrupt" => Fault::Corrupt {
            byte: number("byte", n("byte"), 0)?,
            xor: u8::try_from(within("xor", n("xor"), 1, 255)?).unwrap_or(u8::MAX),
        },
        "truncate" => Fault::Truncate { keep: number("keep", n("keep"), 0)? },
        _ => match how(attributes) {
            CloseKind::Rst => Fault::Rst { side: side(attributes) },
            CloseKind::Fin => Fault::Fin { side: side(attributes) },
        },
    };
    let edge = match attributes.word("edge") {
        "inside" => Edge::Inside(number("octets", n("octets"), 0)?),
        "after" => Edge::After,
        _ => Edge::Before,
    };
    let point = Point {
        way: toxic.way.unwrap_or(Direction::ToClient),
        frame: attributes.word("frame").to_owned(),
        nth: number("nth", n("nth"), 1)?,
        edge,
    };
    Ok(Injection::from(fault).at(point))
}

fn side(attributes: &Attributes) -> Side {
    match attributes.word("side") {
        "client" => Side::Client,
        "upstream" => Side::Broker,
        _ => Side::Both,
    }
}

fn how(attributes: &Attributes) -> CloseKind {
    if attributes.word("how") == "fin" { CloseKind::Fin } else { CloseKind::Rst }
}

fn within(name: &str, given: i64, low: i64, high: i64) -> Result<u64, String> {
    match u64::try_from(given) {
        Ok(number) if (low..=high).contains(&given) => Ok(number),
        _ => Err(format!("{name} is {given}, and has to be from {low} to {high}")),
    }
}

fn number(name: &str, given: i64, low: i64) -> Result<u32, String> {
    let number = within(name, given, low, i64::from(u32::MAX))?;
    Ok(u32::try_from(number).unwrap_or(u32::MAX))
}

/// The direction a `stream` names, in whatever case; `Some(None)` is both.
pub(super) fn way(stream: &str, streams: Streams) -> Option<Option<Direction>> {
    match stream.to_lowercase().as_str() {
        "upstream" => Some(Some(Direction::ToBroker)),
        "downstream" => Some(Some(Direction::ToClient)),
        "both" if streams != Streams::One => Some(None),
        _ => None,
    }
}
