//! The time a link's connections wait for: one alarm for all of them, to the microsecond.
//!
//! The runtime's own timers go by whole milliseconds, upwards. On Linux a timer of the kernel's
//! (`timerfd`) is a descriptor like a socket: it costs nothing until it is set, and its ringing comes with
//! the sockets' events. Elsewhere, or where no descriptor is left, the runtime's timers have to do.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    task::Waker,
    time::Instant,
};

use tokio::{sync::Notify, time::sleep_until};

use self::alarm::Alarm;

pub(super) struct Clock {
    /// By deadline; a connection has one at most.
    waiting: Mutex<BTreeMap<(Instant, u64), Waker>>,
    alarm: Option<Alarm>,
    /// Without an alarm: there is an earlier deadline.
    earlier: Notify,
}

impl Clock {
    /// Needs a runtime around it.
    pub(super) fn new() -> Self {
        Self {
            waiting: Mutex::new(BTreeMap::new()),
            alarm: Alarm::new().ok(),
            earlier: Notify::new(),
        }
    }

    /// Moves a connection's deadline: it is woken then, and no longer at the one it had.
    pub(super) fn set(&self, conn: u64, had: Option<Instant>, to: Option<(Instant, &Waker)>) {
        if had.is_none() && to.is_none() {
            return;
        }
        let mut waiting = self.waiting();
        if let Some(had) = had {
            waiting.remove(&(had, conn));
        }
        let Some((at, waker)) = to else { return };
        waiting.insert((at, conn), waker.clone());
        if waiting.first_key_value().is_some_and(|(first, _)| *first == (at, conn)) {
            self.ring_at(at);
        }
    }

    /// Wakes whoever's time has come, for ever.
    pub(super) async fn run(&self) {
        loop {
            match &self.alarm {
                Some(alarm) => alarm.rung().await,
                None => self.slept().await,
            }
            self.wake();
        }
    }

    fn wake(&self) {
        let mut waiting = self.waiting();
        let now = Instant::now();
        let mut due = Vec::new();
        while let Some(first) = waiting.first_entry() {
            let at = first.key().0;
            if at > now {
                self.ring_at(at);
                break;
            }
            due.push(first.remove());
        }
        drop(waiting);
        due.into_iter().for_each(Waker::wake);
    }

    fn ring_at(&self, at: Instant) {
        match &self.alarm {
            Some(alarm) => alarm.set(at),
            None => self.earlier.notify_one(),
        }
    }

    /// Until the first deadline, or another has become the first.
    async fn slept(&self) {
        let first = self.waiting().first_key_value().map(|((at, _), _)| *at);
        let deadline = async {
            match first {
                Some(at) => sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = deadline => {}
            () = self.earlier.notified() => {}
        }
    }

    fn waiting(&self) -> MutexGuard<'_, BTreeMap<(Instant, u64), Waker>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(target_os = "linux")]
mod alarm {
    use std::{
        io,
        os::fd::OwnedFd,
        time::{Duration, Instant},
    };

    use rustix::time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
        timerfd_settime,
    };
    use tokio::io::{Interest, unix::AsyncFd};

    /// A processor that has slept is late by about that much, and has forgotten much of what it was to do.
    /// So it is woken ahead of time, and the rest is waited for exactly.
    const LEAD: Duration = Duration::from_micros(150);

    pub(super) struct Alarm(AsyncFd<OwnedFd>);

    impl Alarm {
        #[expect(
            deprecated,
            reason = "unsound for types that change their descriptor; an `OwnedFd` cannot, and what replaces it is not safe to call"
        )]
        pub(super) fn new() -> io::Result<Self> {
            let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
            let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
            AsyncFd::with_interest(timer, Interest::READABLE).map(Self)
        }

        /// Rings once, then or [`LEAD`] before, if that is far off; not at what was set before.
        pub(super) fn set(&self, at: Instant) {
            let left = at.saturating_duration_since(Instant::now());
            let left = if left > 2 * LEAD { left - LEAD } else { left };
            // Zero would mean never.
            let left = left.as_nanos().max(1);
            let nanos = |n: u128| i64::try_from(n).unwrap_or(i64::MAX);
            let it_value = Timespec {
                tv_sec: nanos(left / 1_000_000_000),
                tv_nsec: nanos(left % 1_000_000_000),
            };
            let it_interval = Timespec { tv_sec: 0, tv_nsec: 0 };
            let set = Itimerspec { it_interval, it_value };
            // A timer of our own takes any time there is.
            let _ = timerfd_settime(self.0.get_ref(), TimerfdTimerFlags::empty(), &set);
        }

        /// Until it rings. Nothing is read: setting it again is what makes it ring again.
        pub(super) async fn rung(&self) {
            match self.0.readable().await {
                Ok(mut ready) => ready.clear_ready(),
                // The runtime goes down.
                Err(_) => std::future::pending().await,
            }
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod alarm {
    use std::{io, time::Instant};

    pub(super) enum Alarm {}

    impl Alarm {
        pub(super) fn new() -> io::Result<Self> {
            Err(io::ErrorKind::Unsupported.into())
        }

        pub(super) fn set(&self, _at: Instant) {
            match *self {}
        }

        #[expect(clippy::unused_async, reason = "the same as where it waits")]
        pub(super) async fn rung(&self) {
            match *self {}
        }
    }
}
