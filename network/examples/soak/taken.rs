//! A tap that knows which connections a fault took bytes or ends from.

use std::{
    collections::{HashMap, HashSet},
    fmt::Write,
    net::SocketAddr,
    sync::{Mutex, MutexGuard, PoisonError},
};

use gauntlet_network::{Event, Tap, What};

/// Faults after which a connection need not come to its end.
const TAKING: &[&str] = &["rst", "fin", "limit", "blackhole", "ignore", "accept_then_close"];

#[derive(Default)]
pub struct Taken(Mutex<State>);

#[derive(Default)]
struct State {
    taking: HashSet<u64>,
    conns: HashMap<SocketAddr, u64>,
    taken: HashSet<u64>,
    /// What happened to each, frames aside.
    stories: HashMap<u64, String>,
    fired: u64,
}

impl Taken {
    /// Whether a fault took the connection from there, or had it reset before it was accepted.
    pub fn took(&self, client: SocketAddr) -> bool {
        let state = self.state();
        state.conns.get(&client).is_none_or(|conn| state.taken.contains(conn))
    }

    /// Whether a fault took the connection from there, which may be waiting to be accepted.
    pub fn surely_took(&self, client: SocketAddr) -> bool {
        let state = self.state();
        state.conns.get(&client).is_some_and(|conn| state.taken.contains(conn))
    }

    /// Forgets the connection from there.
    pub fn forget(&self, client: SocketAddr) {
        let mut state = self.state();
        if let Some(conn) = state.conns.remove(&client) {
            state.taken.remove(&conn);
            state.stories.remove(&conn);
        }
    }

    /// What happened to the connection from there.
    pub fn story(&self, client: SocketAddr) -> String {
        let state = self.state();
        let conn = state.conns.get(&client);
        conn.and_then(|conn| state.stories.get(conn)).cloned().unwrap_or_default()
    }

    /// How often faults fired.
    pub fn fired(&self) -> u64 {
        self.state().fired
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tap for Taken {
    fn record(&self, event: Event) {
        if matches!(event.what, What::Wire { .. }) {
            return;
        }
        let mut state = self.state();
        if let Some(conn) = event.conn {
            let _ = write!(state.stories.entry(conn).or_default(), "; {:?}", event.what);
        }
        match (event.what, event.conn) {
            (What::Accepted { peer }, Some(conn)) => {
                state.conns.insert(peer, conn);
            }
            (What::Injected { fault, name, injection }, _) => {
                let kept = matches!(
                    injection.fault,
                    gauntlet_network::Fault::Blackhole { resume: true, .. }
                );
                if TAKING.contains(&name) && !kept {
                    state.taking.insert(fault.0);
                }
            }
            (What::Fired { fault, .. }, conn) => {
                state.fired += 1;
                if let (Some(conn), true) = (conn, state.taking.contains(&fault.0)) {
                    state.taken.insert(conn);
                }
            }
            _ => {}
        }
    }
}
