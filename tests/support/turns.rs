//! Who of the tests plays when. Most runs wait most of the time, so several share the machine; what would starve them, or
//! must not be starved, waits for a better moment.
//!
//! Three kinds: a turn beside others; the whole machine, at once, before anyone else who waits; and what can wait until
//! nobody plays or wants to.

use std::sync::{Condvar, LazyLock, Mutex, MutexGuard, PoisonError};

static TURNS: LazyLock<Turns> = LazyLock::new(|| {
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    Turns { cores, state: Mutex::default(), changed: Condvar::new() }
});

/// Turns for each core. More, and the machine is what is tested.
const EACH: usize = 8;
/// And when nobody else plays: what was starved once has the machine nearly to itself.
const EACH_LAST: usize = 2;
/// As many as a command needs that plays a suite.
const SUITE: usize = 4;

struct Turns {
    cores: usize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Those that wait, by kind.
    waiting: [usize; 3],
    /// How many of them wait for the turns of a suite.
    wide: usize,
    /// Turns that are had, by kind.
    had: [usize; 3],
}

/// When its turn is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// Beside others: it measures time, and they do too.
    Beside,
    /// With the whole machine, before others that wait: it would starve them. Starting RabbitMQ, compiling.
    Alone,
    /// When nobody plays or waits to, a few at a time: it was starved once.
    Last,
}

impl State {
    fn may(&self, when: When, turns: usize, cores: usize) -> bool {
        let [beside, alone, last] = self.had;
        let [waits_beside, waits_alone, _] = self.waiting;
        match when {
            When::Beside => {
                let first = waits_alone == 0 && (self.wide == 0 || turns == SUITE);
                first && alone + last == 0 && beside + turns <= EACH * cores
            }
            When::Alone => beside + alone + last == 0,
            When::Last => {
                beside + alone + waits_beside + waits_alone == 0
                    && last + turns <= EACH_LAST * cores
            }
        }
    }
}

/// A turn, or several; they end when this is dropped.
pub struct Turn {
    when: When,
    turns: usize,
}

/// Waits for a turn.
pub fn turn(when: When) -> Turn {
    take(when, 1)
}

/// Waits for as many turns as a command takes that plays many scenarios at a time, and before others: it takes longest.
pub fn suite() -> Turn {
    take(When::Beside, SUITE)
}

fn take(when: When, turns: usize) -> Turn {
    // Once it waits for the machine, nothing begins until those that play are through.
    if when == When::Beside {
        super::start_brokers_first();
    }
    let all = &*TURNS;
    let mut state = all.lock();
    state.waiting[when as usize] += 1;
    state.wide += usize::from(turns == SUITE);
    while !state.may(when, turns, all.cores) {
        state = all.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
    }
    state.waiting[when as usize] -= 1;
    state.wide -= usize::from(turns == SUITE);
    state.had[when as usize] += turns;
    all.changed.notify_all();
    Turn { when, turns }
}

impl Drop for Turn {
    fn drop(&mut self) {
        TURNS.lock().had[self.when as usize] -= self.turns;
        TURNS.changed.notify_all();
    }
}

impl Turns {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[test]
fn what_measures_time_is_beside_nothing_that_starves_it() {
    let may = |waiting, wide, had, when, turns| State { waiting, wide, had }.may(when, turns, 2);
    // As many as there are turns, and no more.
    let (all, but_a_suite) = (EACH * 2, EACH * 2 - SUITE);
    assert!(may([0; 3], 0, [all - 1, 0, 0], When::Beside, 1));
    assert!(!may([0; 3], 0, [all, 0, 0], When::Beside, 1));
    assert!(!may([0; 3], 0, [but_a_suite + 1, 0, 0], When::Beside, SUITE));
    // A suite that waits goes before single runs; what needs the machine goes before both.
    assert!(!may([2, 0, 0], 1, [but_a_suite + 1, 0, 0], When::Beside, 1));
    assert!(may([2, 0, 0], 1, [but_a_suite, 0, 0], When::Beside, SUITE));
    assert!(!may([1, 1, 0], 0, [1, 0, 0], When::Beside, 1));
    assert!(!may([0, 1, 0], 0, [1, 0, 0], When::Alone, 1));
    assert!(may([1, 1, 0], 0, [0; 3], When::Alone, 1));
    // Nothing begins beside what has the machine, and the last wait for all others.
    assert!(!may([1, 0, 0], 0, [0, 1, 0], When::Beside, 1));
    assert!(!may([1, 0, 1], 0, [0; 3], When::Last, 1));
    assert!(!may([0, 0, 1], 0, [1, 0, 0], When::Last, 1));
    assert!(may([0, 0, 1], 0, [0, 0, EACH_LAST * 2 - 1], When::Last, 1));
    assert!(!may([0, 0, 1], 0, [0, 0, EACH_LAST * 2], When::Last, 1));
}
