//! Turns what the link reports into history, and the link's faults into steps of the schedule.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use gauntlet_judge::history::{Ending, Owner, What};
use gauntlet_network::{self as network, Args, CloseKind, Direction, End, FaultId, Item, Tap};

use crate::recorder::Recorder;
use crate::whose::Whose;

/// The tap on the link between the subject and the broker.
pub struct StepTap {
    recorder: Recorder,
    steps: Mutex<Steps>,
    poison: Mutex<Vec<Poison>>,
    reports: OnceLock<Reports>,
    whose: Arc<Whose>,
    /// The virtual host the subject is told.
    vhost: String,
    /// Connections of processes that are not known to be the subject's.
    others: Mutex<BTreeMap<u64, u32>>,
}

/// Records what the subject has reported by now on another way than the wire; the time of the last of it.
pub type Reports = Arc<dyn Fn() -> Option<Instant> + Send + Sync>;

/// A step's toxics behind the link.
struct Poison {
    step: usize,
    ways: Vec<Direction>,
    by: String,
    /// Connections known to be touched.
    hit: BTreeSet<u64>,
}

#[derive(Default)]
struct Steps {
    /// The step that is being played; faults injected now are its.
    playing: Option<(usize, String)>,
    of_fault: BTreeMap<FaultId, usize>,
    /// The step played last, whose fault may come with a reset of what is connected.
    last: Option<usize>,
}

impl StepTap {
    /// A tap that records into `recorder`; `whose` knows who connects, and the subject alone is told `vhost`.
    pub fn new(recorder: Recorder, whose: Arc<Whose>, vhost: &str) -> StepTap {
        recorder.record(What::VhostTold { vhost: vhost.to_owned() });
        StepTap {
            recorder,
            steps: Mutex::default(),
            poison: Mutex::default(),
            reports: OnceLock::new(),
            whose,
            vhost: vhost.to_owned(),
            others: Mutex::default(),
        }
    }

    /// Whose a new connection is.
    fn met(&self, conn: u64, peer: SocketAddr) -> What {
        let owner = self.whose.taken(peer);
        if let Owner::Other { pid, .. } = owner {
            self.others().insert(conn, pid);
        }
        What::Peer { conn, owner }
    }

    /// A process that opens the subject's virtual host is the subject's.
    fn look_for_proof(&self, what: &What) {
        let mut others = self.others();
        match what {
            What::Closed { conn } => _ = others.remove(conn),
            What::Wire { conn, end: End::Client, way: Direction::ToBroker, frame } => {
                let opens = matches!(&frame.args, Args::Open { vhost } if *vhost == self.vhost);
                if let Some(pid) = others.get(conn).filter(|_| opens) {
                    self.whose.proved(*pid);
                }
            }
            _ => {}
        }
    }

    fn others(&self) -> MutexGuard<'_, BTreeMap<u64, u32>> {
        self.others.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the subject reports elsewhere is looked at before anything it sends is recorded: a report that was
    /// written before an ack was sent then comes before it in the history too.
    pub fn look_first(&self, reports: Reports) {
        // A run has one subject.
        let _ = self.reports.set(reports);
    }

    /// Toxics of `step` are in force beyond the link's far end: what crosses that end one of these ways is touched.
    pub fn poisoned(&self, step: usize, ways: Vec<Direction>, by: String) {
        self.poison().push(Poison { step, ways, by, hit: BTreeSet::new() });
    }

    /// They are not any more.
    pub fn cured(&self, step: usize) {
        self.poison().retain(|p| p.step != step);
    }

    fn poison(&self) -> MutexGuard<'_, Vec<Poison>> {
        self.poison.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a frame at the far end was touched by, each connection once.
    fn touched(&self, conn: u64, way: Direction) -> Vec<What> {
        let mut poison = self.poison();
        let its = poison.iter_mut().filter(|p| p.ways.contains(&way));
        its.filter_map(|p| {
            let first = p.hit.insert(conn);
            first.then(|| What::Fired { step: p.step, conn: Some(conn), note: p.by.clone() })
        })
        .collect()
    }

    /// Faults injected from here on belong to `step`.
    pub fn now_playing(&self, step: usize, words: String) {
        self.steps.lock().unwrap_or_else(PoisonError::into_inner).playing = Some((step, words));
    }

    fn injected(&self, fault: FaultId) -> Option<What> {
        let mut steps = self.steps.lock().unwrap_or_else(PoisonError::into_inner);
        // The first injection of a step is its fault. A reset that goes with it is not recorded as another, but what
        // it touches the step has touched.
        let Some((step, fault_words)) = steps.playing.take() else {
            let step = steps.last?;
            steps.of_fault.insert(fault, step);
            return None;
        };
        steps.last = Some(step);
        steps.of_fault.insert(fault, step);
        Some(What::Injected { step, fault: fault_words })
    }

    /// The step whose fault is lifted, unless it is the reset that came with it.
    fn lifted(&self, fault: FaultId) -> Option<usize> {
        let steps = self.steps.lock().unwrap_or_else(PoisonError::into_inner);
        let step = steps.of_fault.get(&fault).copied()?;
        let first = steps.of_fault.iter().find(|(_, of)| **of == step).map(|(id, _)| *id);
        (first == Some(fault)).then_some(step)
    }

    fn step(&self, fault: FaultId) -> Option<usize> {
        self.steps.lock().unwrap_or_else(PoisonError::into_inner).of_fault.get(&fault).copied()
    }

    fn translate(&self, conn: Option<u64>, what: network::What) -> Option<What> {
        use network::What as N;
        Some(match what {
            N::Accepted { .. } => What::Accepted { conn: conn? },
            N::Dialed { .. } => What::Dialed { conn: conn? },
            N::DialFailed { error, .. } => What::DialFailed { conn: conn?, error },
            N::Wire { end, way, item: Item::Frame(frame) } => {
                What::Wire { conn: conn?, end, way, frame }
            }
            N::Wire { end, way, item: Item::Garbage { bytes, why } } => {
                What::Garbage { conn: conn?, end, way, bytes, why: why.to_string() }
            }
            N::Ended { end, how } => What::Ended { conn: conn?, end, how: ending(how) },
            N::Cut { end, how: CloseKind::Fin } => What::Cut { conn: conn?, end, how: Ending::Fin },
            N::Cut { end, how: CloseKind::Rst } => What::Cut { conn: conn?, end, how: Ending::Rst },
            N::Closed => What::Closed { conn: conn? },
            N::Injected { fault, .. } => self.injected(fault)?,
            N::Fired { fault, note, .. } => What::Fired { step: self.step(fault)?, conn, note },
            N::Lifted { fault } => What::Lifted { step: self.lifted(fault)? },
            _ => return None,
        })
    }
}

fn ending(how: network::Ending) -> Ending {
    match how {
        network::Ending::Fin => Ending::Fin,
        network::Ending::Rst => Ending::Rst,
        network::Ending::Error(e) => Ending::Error(e),
    }
}

impl Tap for StepTap {
    fn record(&self, event: network::Event) {
        if let (Some(conn), network::What::Accepted { peer }) = (event.conn, &event.what) {
            self.recorder.record_at(event.at, self.met(conn, *peer));
        }
        let Some(what) = self.translate(event.conn, event.what) else { return };
        let of_subject = matches!(
            what,
            What::Wire { end: End::Client, way: Direction::ToBroker, .. }
                | What::Ended { end: End::Client, .. }
        );
        let touched = match what {
            What::Wire { conn, end: End::Broker, way, .. } => self.touched(conn, way),
            _ => Vec::new(),
        };
        self.look_for_proof(&what);
        let reported = self.reports.get().filter(|_| of_subject).and_then(|reports| reports());
        self.recorder.record_at(reported.map_or(event.at, |at| at.max(event.at)), what);
        for what in touched {
            self.recorder.record_at(event.at, what);
        }
    }
}
