//! What a recovery looks like on the wire: the instants that part it into legs, and all of it line by line.
//!
//! A tap of the link. The consumer's own account goes between its lines.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use gauntlet_network::{End, Event, Item, Tap, What};
use tokio::sync::Notify;

/// Legs of a recovery, in order, as columns of a table.
pub const LEGS: [&str; 4] = ["dialed", "handshake", "consuming", "handled"];

/// The last instant of each, on the connection that was accepted last.
#[derive(Debug, Default, Clone, Copy)]
pub struct Instants {
    accepted: Option<Instant>,
    opened: Option<Instant>,
    consuming: Option<Instant>,
    /// `connection.close`, on any connection.
    closed: Option<Instant>,
}

/// The tap.
#[derive(Debug, Default)]
pub struct Wire {
    seen: Mutex<Instants>,
    story: Mutex<Vec<(Instant, String)>>,
    close_seen: Notify,
}

impl Wire {
    /// Forgets what was.
    pub fn clear(&self) {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Instants::default();
        self.story.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Adds a line to the story.
    pub fn tell(&self, at: Instant, line: String) {
        self.story.lock().unwrap_or_else(PoisonError::into_inner).push((at, line));
    }

    /// What happened since it was cleared, in milliseconds from an instant.
    pub fn story(&self, from: Instant) -> String {
        let story = self.story.lock().unwrap_or_else(PoisonError::into_inner);
        let line = |(at, line): &(Instant, String)| {
            let after = at.saturating_duration_since(from).as_secs_f64() * 1e3;
            let before = from.saturating_duration_since(*at).as_secs_f64() * 1e3;
            format!("{:>10.3} {line}\n", after - before)
        };
        story.iter().map(line).collect()
    }

    pub fn instants(&self) -> Instants {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a `connection.close` on its way to the consumer, and says when it left.
    pub async fn closed(&self) -> Instant {
        loop {
            if let Some(at) = self.instants().closed {
                return at;
            }
            self.close_seen.notified().await;
        }
    }
}

impl Tap for Wire {
    fn record(&self, event: Event) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let at = Some(event.at);
        self.tell(event.at, line(&event));
        match event.what {
            What::Accepted { .. } => {
                *seen = Instants { accepted: at, closed: seen.closed, ..Instants::default() };
            }
            What::Wire { end: End::Client, item: Item::Frame(frame), .. } => match &*frame.name {
                "connection.open-ok" => seen.opened = at,
                "basic.consume-ok" => seen.consuming = at,
                "connection.close" => {
                    seen.closed = at;
                    self.close_seen.notify_one();
                }
                _ => {}
            },
            _ => {}
        }
    }
}

fn line(event: &Event) -> String {
    let conn = event.conn.map(|conn| format!("#{conn} ")).unwrap_or_default();
    match &event.what {
        What::Wire { end, way, item: Item::Frame(frame) } => format!("{conn}{end} {way} {frame}"),
        other => format!("{conn}{other:?}"),
    }
}

impl Instants {
    /// How long each of the [`LEGS`] took, from the end of the outage to the handler; `None` when the
    /// wire has not seen them all.
    pub fn legs(&self, usable: Instant, handled: Instant) -> Option<[Duration; LEGS.len()]> {
        let ends = [self.accepted?, self.opened?, self.consuming?, handled];
        let mut since = usable;
        Some(ends.map(|end| {
            let leg = end.saturating_duration_since(since);
            since = end.max(since);
            leg
        }))
    }
}
