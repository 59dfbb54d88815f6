//! What a proxy logs of its connections: Toxiproxy's messages, at Toxiproxy's levels.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Mutex, PoisonError},
};

use crate::event::{Event, Tap, What};

/// The log of one proxy while it is enabled.
pub(super) struct Journal {
    name: String,
    /// As it was asked for: where it listens is known once it does.
    listen: String,
    upstream: String,
    /// The clients of connections that have not reached the upstream yet.
    clients: Mutex<HashMap<u64, SocketAddr>>,
}

impl Journal {
    pub(super) fn new(name: &str, listen: &str, upstream: &str) -> Self {
        let [name, listen, upstream] = [name, listen, upstream].map(str::to_owned);
        Self { name, listen, upstream, clients: Mutex::default() }
    }

    fn client(&self, conn: Option<u64>) -> String {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        conn.and_then(|conn| clients.remove(&conn)).map(|peer| peer.to_string()).unwrap_or_default()
    }
}

impl Tap for Journal {
    fn record(&self, event: Event) {
        let Self { name, listen, upstream, clients } = self;
        match event.what {
            What::Accepted { peer } => {
                tracing::info!(name, listen, upstream, client = %peer, "Accepted client");
                if let Some(conn) = event.conn {
                    clients.lock().unwrap_or_else(PoisonError::into_inner).insert(conn, peer);
                }
            }
            What::AcceptFailed { error } => {
                tracing::warn!(name, listen, upstream, error, "Error while accepting client");
            }
            What::DialFailed { upstream: addr, error } => {
                let client = self.client(event.conn);
                let error = dial_error(addr, &error);
                let what = "Unable to open connection to upstream";
                tracing::error!(name, listen, upstream, client, error, "{what}");
            }
            What::Dialed { .. } | What::Closed => _ = self.client(event.conn),
            _ => {}
        }
    }
}

/// As Go says it: `dial tcp 127.0.0.1:1: connect: connection refused`, `dial tcp: lookup x: no such host`.
fn dial_error(addr: SocketAddr, error: &str) -> String {
    let error = error.split(" (os error").next().unwrap_or(error);
    if ["lookup ", "address "].iter().any(|start| error.starts_with(start)) {
        return format!("dial tcp: {error}");
    }
    let mut letters = error.chars();
    let lower: String = letters
        .next()
        .map(|first| first.to_lowercase().chain(letters).collect())
        .unwrap_or_default();
    format!("dial tcp {addr}: connect: {lower}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_worded_as_go_words_them() {
        let addr = SocketAddr::from(([127, 0, 0, 1], 1));
        let check = |error: &str, expect: &str| assert_eq!(dial_error(addr, error), expect);
        check(
            "Connection refused (os error 111)",
            "dial tcp 127.0.0.1:1: connect: connection refused",
        );
        check("lookup nowhere: no such host", "dial tcp: lookup nowhere: no such host");
        check("address x: missing port in address", "dial tcp: address x: missing port in address");
    }
}
