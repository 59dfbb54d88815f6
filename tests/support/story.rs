//! What is said on the wire in a scenario, less what chance decides: the same on every broker that is RabbitMQ 4.0
//! to its clients.
//!
//! Kept: the methods of each connection that was opened, with their arguments, channel by channel. Left out: contents,
//! settlements and heartbeats, whose number and order are the load's; how often a thing happened; what a client still
//! says when the broker has closed the connection; and what a cut left unfinished of something that is there whole on another connection.

use std::collections::{BTreeMap, BTreeSet};

use gauntlet_judge::history::{History, What};
use gauntlet_network::{Direction, End};

/// A connection: what was said on its channel 0, then on each other channel, alike channels once.
type Connection = Vec<Vec<String>>;

/// The stories of a run's connections, in a fixed order, the virtual host's name redacted.
pub fn story(history: &History) -> String {
    let mut connections: BTreeMap<u64, BTreeMap<u16, Vec<String>>> = BTreeMap::new();
    let mut closed = BTreeSet::new();
    for event in history.events() {
        let What::Wire { conn, end: End::Client, way, frame } = &event.what else { continue };
        let told = !matches!(
            &*frame.name,
            "header" | "body" | "heartbeat" | "basic.deliver" | "basic.ack" | "basic.nack"
        );
        if told && !closed.contains(conn) {
            if *way == Direction::ToClient && &*frame.name == "connection.close" {
                closed.insert(*conn);
            }
            let arrow = if *way == Direction::ToBroker { '>' } else { '<' };
            let frame_words = frame.to_string();
            let words = frame_words.split_once(' ').map_or("", |(_channel, words)| words);
            let line = format!("{arrow} {}", redacted(words));
            connections.entry(*conn).or_default().entry(frame.channel).or_default().push(line);
        }
    }
    let all: BTreeSet<Connection> = connections
        .into_values()
        .filter(|channels| channels.get(&0).is_some_and(|zero| zero.len() > 3))
        .map(|mut channels| {
            let zero = channels.remove(&0).unwrap_or_default();
            let others: BTreeSet<Vec<String>> = channels.into_values().collect();
            let whole = others.iter().filter(|c| !others.iter().any(|o| cut_short(c, o)));
            std::iter::once(zero).chain(whole.cloned()).collect()
        })
        .collect();
    let whole = all.iter().filter(|c| !all.iter().any(|other| is_part(c, other)));
    let told: Vec<String> = whole
        .map(|channels| channels.iter().map(|c| c.join("\n")).collect::<Vec<_>>().join("\n--\n"))
        .collect();
    told.join("\n====\n")
}

/// Without what is the run's own: the virtual host's name and the consumers' tags.
fn redacted(words: &str) -> String {
    let mut words = words.to_owned();
    for (field, quote, shown) in [
        ("ctag=\"", '"', "CTAG"),
        ("vhost=\"gauntlet", '"', "VHOST"),
        ("vhost=\"test", '"', "VHOST"),
        ("in vhost 'test", '\'', "VHOST"),
    ] {
        let Some(at) = words.find(field) else { continue };
        let from = at + field.find(quote).map_or(0, |n| n + 1);
        let to = words[from..].find(quote).map_or(words.len(), |n| from + n);
        words.replace_range(from..to, shown);
    }
    // Which of several channels it was is chance.
    if let Some((before, after)) = words.split_once("on channel ") {
        let after = after.trim_start_matches(|c: char| c.is_ascii_digit());
        words = format!("{before}on channel N{after}");
    }
    words
}

/// Whether `part` is a beginning of `whole`, and not all of it.
fn cut_short(part: &[String], whole: &[String]) -> bool {
    part.len() < whole.len() && whole.starts_with(part)
}

/// Whether everything said on `part` begins something said on `whole`, which is another connection.
fn is_part(part: &Connection, whole: &Connection) -> bool {
    let begins = |channel: &Vec<String>, at: usize| match at {
        0 => whole[0].starts_with(channel),
        _ => whole[1..].iter().any(|other| other.starts_with(channel)),
    };
    part != whole && part.iter().enumerate().all(|(at, channel)| begins(channel, at))
}
