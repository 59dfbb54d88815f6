//! The core behind a lock, and waking whoever has something to do after it was used.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::BytesMut;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::core::{Batch, ConnectionId, Core, How};

/// What the tasks of a broker share.
#[derive(Debug)]
pub(super) struct Shared {
    state: Mutex<State>,
    began: Instant,
    /// The next deadline has come nearer.
    sooner: Notify,
    /// The node went down or came up.
    pub(super) changed: Notify,
    /// Something has happened.
    pub(super) touched: Notify,
    /// Whether the door is open.
    open: watch::Sender<bool>,
    /// How many peers there are.
    peers: watch::Sender<usize>,
}

#[derive(Debug)]
struct State {
    core: Core,
    wakers: BTreeMap<ConnectionId, Arc<Notify>>,
    woken: Vec<ConnectionId>,
    /// When the clock rings next.
    rings: Option<Duration>,
    was_down: bool,
}

impl State {
    /// Wakes everybody who has something to do, but for `but`: whether it would have been woken.
    fn wake(&mut self, but: Option<ConnectionId>) -> bool {
        self.core.take_woken(&mut self.woken);
        let mut is_woken = false;
        for id in self.woken.drain(..) {
            if Some(id) == but {
                is_woken = true;
            } else if let Some(waker) = self.wakers.get(&id) {
                waker.notify_one();
            }
        }
        is_woken
    }
}

/// What a peer's task is to do next.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    /// Whether to read.
    pub read: bool,
    /// Whether there is more to do as soon as everything taken is sent: nobody will wake the peer's task for it.
    pub more: bool,
    /// Whether to end after what is to be sent.
    pub end: Option<How>,
}

impl Shared {
    pub fn new(core: Core) -> Shared {
        Shared {
            state: Mutex::new(State {
                core,
                wakers: BTreeMap::new(),
                woken: Vec::new(),
                rings: None,
                was_down: false,
            }),
            began: Instant::now(),
            sooner: Notify::new(),
            changed: Notify::new(),
            touched: Notify::new(),
            open: watch::Sender::new(true),
            peers: watch::Sender::new(0),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic is a bug of ours and has been told; the other connections go on.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// Wakes everybody who has something to do, but for `but`, who is awake: whether it would have been woken.
    fn settle(&self, state: &mut State, but: Option<ConnectionId>) -> bool {
        let is_woken = state.wake(but);
        let State { core, rings, was_down, .. } = state;
        let next = core.next_deadline();
        if next.is_some_and(|next| rings.is_none_or(|rings| next < rings)) {
            *rings = next;
            self.sooner.notify_one();
        }
        self.touched.notify_waiters();
        if core.is_down() != *was_down {
            *was_down = core.is_down();
            self.changed.notify_one();
        }
        is_woken
    }

    pub fn with<T>(&self, act: impl FnOnce(&mut Core) -> T) -> T {
        let now = self.now();
        let mut state = self.lock();
        state.core.tick(now);
        let result = act(&mut state.core);
        self.settle(&mut state, None);
        result
    }

    /// A look that changes nothing.
    pub fn peek<T>(&self, look: impl FnOnce(&Core) -> T) -> T {
        look(&self.lock().core)
    }

    pub fn is_down(&self) -> bool {
        self.lock().core.is_down()
    }

    /// A peer has connected; none if the node is down.
    pub fn opened(&self, peer: SocketAddr) -> Option<(ConnectionId, Arc<Notify>)> {
        let now = self.now();
        let mut state = self.lock();
        if state.core.is_down() {
            return None;
        }
        let id = state.core.opened(peer, now);
        let waker = Arc::new(Notify::new());
        state.wakers.insert(id, waker.clone());
        self.peers.send_modify(|count| *count += 1);
        self.settle(&mut state, None);
        Some((id, waker))
    }

    /// Passes on what a peer has sent, and takes what is to be sent to it once `batch` is empty.
    pub fn step(&self, id: ConnectionId, input: &mut BytesMut, batch: &mut Batch) -> Step {
        let now = self.now();
        let mut state = self.lock();
        if !input.is_empty() {
            state.core.received(id, input, now);
        }
        let mut end = None;
        // What is not taken now is to be taken when there is room.
        let mut more = true;
        if batch.is_empty() {
            // It takes what it has just been answered; what it makes room for comes later.
            state.wake(Some(id));
            end = state.core.take_output(id, batch);
            more = false;
        }
        more |= self.settle(&mut state, Some(id));
        Step { read: state.core.may_read(id), more, end }
    }

    pub fn gone(&self, id: ConnectionId) {
        let now = self.now();
        let mut state = self.lock();
        state.wakers.remove(&id);
        state.core.gone(id, now);
        self.settle(&mut state, None);
        self.peers.send_modify(|count| *count -= 1);
    }

    /// The door has opened or closed.
    pub fn door(&self, open: bool) {
        self.open.send_replace(open);
    }

    /// Waits for the door to be open or closed.
    pub async fn door_is(&self, open: bool) {
        let mut watched = self.open.subscribe();
        // The sender is ours: it does not go.
        let _ = watched.wait_for(|now| *now == open).await;
    }

    /// Waits until no peer is left.
    pub async fn peers_gone(&self) {
        let mut watched = self.peers.subscribe();
        let _ = watched.wait_for(|count| *count == 0).await;
    }

    pub fn stop(&self) {
        self.changed.notify_one();
    }

    /// Does what is due. When to do so again.
    fn ring(&self) -> Option<Instant> {
        let now = self.now();
        let mut state = self.lock();
        state.core.tick(now);
        let next = state.core.next_deadline();
        state.rings = next;
        self.settle(&mut state, None);
        next.map(|next| self.began + next)
    }
}

/// The clock of a broker.
pub(super) async fn keep_time(shared: Arc<Shared>, over: CancellationToken) {
    loop {
        let next = shared.ring();
        let ring = async {
            match next {
                Some(next) => tokio::time::sleep_until(next).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = ring => {}
            () = shared.sooner.notified() => {}
            () = over.cancelled() => return,
        }
    }
}
