//! Plays a schedule: waits for each step's trigger, makes it happen, records when the path is usable again.
//!
//! Owns the order of steps and their translation into faults of the network, the broker and the
//! subject. It decides nothing about the outcome. Steps are played one after the other; a fault without
//! `lasts` stays in force until [`Conductor::heal`].

mod broker;
mod overdue;
mod toxiproxy;

use std::sync::Arc;
use std::time::Duration;

use gauntlet_judge::history::ledger::{Ledger, Settle};
use gauntlet_judge::history::{Moment, Phase, What};
use gauntlet_judge::plan::Plan;
use gauntlet_judge::scenario::{Step, Trigger, describe};
use gauntlet_network::{Edge, Fault, FaultId, Injection, Link, Point, Side};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::backstage::BackstageError;
use crate::broker::{Broker, BrokerError, BrokerFault};
use crate::network::{NetworkError, Path, toxic};
use crate::probe::Probe;
use crate::recorder::{Progress, Recorder};
use crate::subject::process::Fleet;
use crate::tap::StepTap;
use crate::workload::Publisher;

pub use overdue::{patience, trigger_bound};
pub use toxiproxy::Toxics;

/// How long a step's trigger may take to be met; longer only for a subject that promises a slower recovery.
pub const TRIGGER_BOUND: Duration = Duration::from_secs(30);

/// What an attempt to recover may come later than the recovery that is promised.
pub const ATTEMPT_GRACE: Duration = Duration::from_secs(1);

/// What the schedule acts on.
pub struct Conductor<'a> {
    /// What is to be played.
    pub plan: &'a Plan,
    /// Where it is recorded.
    pub recorder: &'a Recorder,
    /// The link between the subject and the broker.
    pub link: &'a Link,
    /// The tap on the link, which maps faults to steps.
    pub tap: &'a StepTap,
    /// The broker.
    pub broker: &'a Arc<Broker>,
    /// The subject's virtual host.
    pub vhost: &'a str,
    /// Counts resources.
    pub probe: &'a Probe<'a>,
    /// Tells the subject to stop.
    pub stop: CancellationToken,
    /// Tells the subject to stop at once.
    pub abort: CancellationToken,
    /// The subject's processes, once started, where it has some of its own.
    pub fleet: Option<Fleet>,
    /// Steps armed before the start, not yet followed.
    pub armed: Vec<(usize, InForce)>,
    /// Steps in force until healing, whose lifting makes the path usable.
    pub in_force: Vec<usize>,
    /// The way through a Toxiproxy behind the link, where there is one.
    pub path: Option<Path>,
    /// Toxics in force until healing.
    pub poisoned: Vec<Toxics>,
    /// Faults of the broker in force until healing, and their steps.
    pub ailing: Vec<(usize, BrokerFault)>,
}

/// A fault of the network in force.
pub enum InForce {
    /// On the link.
    Link(FaultId),
    /// On the Toxiproxy behind it.
    Toxics(Toxics),
}

/// The environment failed while the schedule played.
#[derive(Debug, thiserror::Error)]
pub enum ConductError {
    /// The broker did not do what the step asked.
    #[error("step {step}: {source}")]
    Broker {
        /// Step, from 1.
        step: usize,
        /// Why.
        source: BrokerError,
    },
    /// The harness's session did not do what the step asked.
    #[error("step {step}: {source}")]
    AdminSession {
        /// Step, from 1.
        step: usize,
        /// Why.
        source: BackstageError,
    },
    /// The network refused the fault.
    #[error("step {step}: {source}")]
    Fault {
        /// Step, from 1.
        step: usize,
        /// Why.
        source: gauntlet_network::FaultError,
    },
    /// What is behind the link did not do what the step asked.
    #[error("step {step}: failed to {source}")]
    Network {
        /// Step, from 1.
        step: usize,
        /// Why.
        source: NetworkError,
    },
}

impl Conductor<'_> {
    /// Puts in force what is to go wrong before the subject starts.
    pub async fn arm_start_steps(&mut self) -> Result<(), ConductError> {
        for (index, step) in self.plan.steps.iter().enumerate() {
            match (&step.when, &step.fault, &step.broker) {
                (Trigger::Start, Some(fault), _) => {
                    let in_force = self.put_in_force(index, step, fault).await?;
                    self.armed.push((index, in_force));
                }
                (Trigger::Start, None, Some(fault)) => self.on_broker(index, step, fault).await?,
                _ => {}
            }
        }
        Ok(())
    }

    /// Plays the steps, those armed before the start first. A step whose condition is not met in time is recorded as
    /// missed and ends the schedule: a run that lacks a step is not a pass, whatever comes after it.
    pub async fn play(&mut self, publisher: &mut Publisher) -> Result<(), ConductError> {
        for (index, in_force) in std::mem::take(&mut self.armed) {
            self.follow(index, &self.plan.steps[index], in_force).await?;
        }
        for (index, step) in self.plan.steps.iter().enumerate() {
            if self.over() {
                return Ok(());
            }
            if step.when == Trigger::Start {
                continue;
            }
            if let Err(missing) = self.await_trigger(index, step, publisher).await {
                self.recorder.record(What::StepMissed { step: index, missing });
                return Ok(());
            }
            self.perform(index, step).await?;
            publisher.go();
        }
        if !self.over() {
            self.work_under_what_shapes(publisher).await;
        }
        Ok(())
    }

    /// A fault that slows or shapes and stays in force has work to be done under it.
    async fn work_under_what_shapes(&self, publisher: &mut Publisher) {
        let shapes = |s: &Step| {
            let broker = matches!(s.broker, Some(BrokerFault::ConsumerTimeout(_)));
            let network = s.fault.as_ref().is_some_and(|f| outage(f) == Outage::None);
            broker || (network && s.lasts.is_none())
        };
        if !self.plan.steps.iter().any(shapes) {
            return;
        }
        let bound = self.plan.scenario.expect.drains_within;
        let worked = match publisher.finished(bound).await {
            true => self.until(bound, caught_up).await,
            false => Err("the publisher was not done".to_owned()),
        };
        if let Err(missing) = worked {
            self.recorder.record(What::PhaseOverran { phase: Phase::Faults, missing });
        }
    }

    async fn await_trigger(
        &self,
        index: usize,
        step: &Step,
        publisher: &mut Publisher,
    ) -> Result<(), String> {
        match step.when {
            Trigger::Start | Trigger::Frame { .. } => Ok(()),
            Trigger::After(pause) => {
                tokio::time::sleep_until(Instant::now() + pause).await;
                Ok(())
            }
            Trigger::Handled(n) => {
                let enough = |l: &Ledger| {
                    let missing = || format!("{} of {n} messages handled", l.done());
                    // What is in flight is handled while the last fault is still being recovered from: a fault
                    // that finds no connection would touch nothing.
                    let connected = || "no consumer is subscribed".to_owned();
                    match l.done() >= n {
                        true => Progress::when(l.consuming(), connected),
                        false => Progress::when(false, missing),
                    }
                };
                self.until_met(enough).await
            }
            Trigger::HandledBetween { .. } => Err("an unresolved random moment".into()),
            Trigger::Idle => self.await_idle(index, publisher).await,
        }
    }

    /// Recovered from what came before, publisher paused, everything handled and settled, and still consuming.
    async fn await_idle(&self, index: usize, publisher: &mut Publisher) -> Result<(), String> {
        self.until_met(recovered).await?;
        if !publisher.pause(TRIGGER_BOUND).await {
            return Err("the publisher's confirms did not come".into());
        }
        self.until_met(caught_up).await?;
        let recoveries =
            (0..index).filter(|i| self.plan.steps[*i].when == Trigger::Idle).count() as u32;
        if recoveries > 0 {
            self.probe.sample(Moment::Recovered(recoveries));
        }
        Ok(())
    }

    async fn perform(&mut self, index: usize, step: &Step) -> Result<(), ConductError> {
        if let Some(fault) = &step.fault {
            let in_force = self.put_in_force(index, step, fault).await?;
            return self.follow(index, step, in_force).await;
        }
        if let Some(fault) = &step.broker {
            return self.on_broker(index, step, fault).await;
        }
        if let Some(request) = step.subject {
            return self.on_subject(index, step, request).await;
        }
        Ok(())
    }

    pub(crate) fn usable(&self, step: usize) {
        self.recorder.record(What::PathUsable { step });
    }

    pub(crate) fn fired(&self, step: usize, note: &str) {
        self.recorder.record(What::Fired { step, conn: None, note: note.to_owned() });
    }

    /// Has Toxiproxy play the fault where there is one that can, and the link otherwise.
    async fn put_in_force(
        &self,
        index: usize,
        step: &Step,
        fault: &Fault,
    ) -> Result<InForce, ConductError> {
        match (&self.path, toxic::of_step(step)) {
            (Some(path), Some(toxics)) => self.poison(index, step, path, &toxics).await,
            _ => self.arm(index, step, fault).await.map(InForce::Link),
        }
    }

    /// Injects the step's fault on the link; when this returns, the next byte, or the armed point, feels it.
    pub(crate) async fn arm(
        &self,
        index: usize,
        step: &Step,
        fault: &Fault,
    ) -> Result<FaultId, ConductError> {
        let failed = |source| ConductError::Fault { step: index + 1, source };
        let mut injection = Injection::from(fault.clone());
        if let Trigger::Frame { way, name, nth, edge } = &step.when {
            injection.at = Some(Point { way: *way, frame: name.clone(), nth: *nth, edge: *edge });
        }
        injection.connections = step.connections;
        self.tap.now_playing(index, describe(step));
        let id = self.link.inject(injection).await.map_err(failed)?;
        if step.resets {
            self.reset_all(index).await?;
        }
        Ok(id)
    }

    /// Resets what is connected.
    async fn reset_all(&self, index: usize) -> Result<(), ConductError> {
        let failed = |source| ConductError::Fault { step: index + 1, source };
        let cut = self.link.inject(Fault::Rst { side: Side::Both }).await.map_err(failed)?;
        self.link.lift(cut).await.map_err(failed)
    }

    /// Waits until the fault has fired as often as the step says, or has lasted; the path is usable when it is over.
    async fn follow(
        &mut self,
        index: usize,
        step: &Step,
        in_force: InForce,
    ) -> Result<(), ConductError> {
        let outage = step.fault.as_ref().map_or(Outage::None, outage);
        // Of an ended schedule, what was armed before is only put out of force again.
        if let Some(wanted) = fires_by_itself(step).filter(|_| !self.over()) {
            let fired = self.until_met(|l| fired_times(l, index, wanted)).await;
            if let Err(missing) = fired {
                self.recorder.record(What::StepMissed { step: index, missing });
            }
        }
        // Others get through while it lasts, so there is nothing to wait for.
        let own = of_its_own_connection(step);
        if outage == Outage::Momentary || (outage == Outage::WhileInForce && own) {
            self.usable(index);
        }
        if let Some(lasts) = step.lasts {
            if !self.over() {
                self.endure(index, step, lasts).await;
            }
            match in_force {
                InForce::Link(id) => {
                    let lifted = self.link.lift(id).await;
                    lifted.map_err(|source| ConductError::Fault { step: index + 1, source })?;
                }
                InForce::Toxics(toxics) => self.cure(toxics).await?,
            }
        } else if let InForce::Toxics(toxics) = in_force {
            self.poisoned.push(toxics);
        }
        if outage == Outage::WhileInForce && !own {
            match step.lasts {
                Some(_) => self.usable(index),
                None => self.in_force.push(index),
            }
        }
        Ok(())
    }

    /// Waits for as long as the step lasts. A consumer that waits for long between its attempts has until its promised
    /// recovery to meet what it is there to meet; and the silence that a few connections meet has shown what it can
    /// when the subject works on another one.
    async fn endure(&self, index: usize, step: &Step, lasts: Duration) {
        if step.fault == Some(Fault::Ignore) && of_its_own_connection(step) {
            let _decided_later = self.recorder.until(lasts, |l| alive(l, recovered(l))).await;
            return;
        }
        tokio::time::sleep_until(Instant::now() + lasts).await;
        let met = |l: &Ledger| alive(l, fired_times(l, index, 1));
        let _told_by_fired = self.recorder.until(self.attempt_bound(), met).await;
    }

    /// Within this the subject makes an attempt to recover.
    pub(crate) fn attempt_bound(&self) -> Duration {
        self.plan.scenario.expect.recovers_within + ATTEMPT_GRACE
    }

    /// Lifts every fault, verified by read-back; the path is usable from here on.
    pub async fn heal(&mut self) -> Result<(), String> {
        self.heal_broker().await?;
        for toxics in std::mem::take(&mut self.poisoned) {
            self.cure(toxics).await.map_err(|e| e.to_string())?;
        }
        self.link.lift_all().await.map_err(|e| e.to_string())?;
        let left = self.link.active();
        if !left.is_empty() {
            return Err(format!("{} faults still in force after lifting them all", left.len()));
        }
        for step in std::mem::take(&mut self.in_force) {
            self.usable(step);
        }
        Ok(())
    }
}

/// Whether new connections can get through while a fault is in force.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outage {
    /// It slows or shapes; nothing has to recover.
    None,
    /// It breaks what is there; new connections get through at once.
    Momentary,
    /// Nothing gets through until it is lifted.
    WhileInForce,
}

fn outage(fault: &Fault) -> Outage {
    match fault {
        Fault::Rst { .. }
        | Fault::Fin { .. }
        | Fault::Limit { .. }
        | Fault::Drop
        | Fault::Corrupt { .. } => Outage::Momentary,
        Fault::Blackhole { .. }
        | Fault::Stall { .. }
        | Fault::Refuse
        | Fault::Ignore
        | Fault::AcceptThenClose { .. } => Outage::WhileInForce,
        _ => Outage::None,
    }
}

/// A fault anchored to a frame, or to the next so many connections, touches these alone.
fn of_its_own_connection(step: &Step) -> bool {
    matches!(step.when, Trigger::Frame { .. }) || step.connections.is_some()
}

/// How many times the step must have fired before the schedule goes on; `None` when it is simply in force.
fn fires_by_itself(step: &Step) -> Option<usize> {
    match (&step.when, step.connections) {
        (Trigger::Start, None) => None,
        (_, Some(n)) => Some(n as usize),
        (Trigger::Frame { edge: Edge::Before | Edge::Inside(_) | Edge::After, .. }, None) => {
            Some(1)
        }
        _ => None,
    }
}

/// Whether the step has fired so often.
pub fn fired_times(l: &Ledger, step: usize, wanted: usize) -> Progress {
    let fired = l.steps.get(&step).map_or(0, |s| s.fired.len());
    Progress::when(fired >= wanted, || format!("the fault fired {fired} of {wanted} times"))
}

/// Nothing more comes from a subject that has ended.
pub fn alive(l: &Ledger, progress: Progress) -> Progress {
    match progress {
        Progress::Missing(what) if l.subject_ended.is_some() => {
            Progress::Hopeless(format!("{what}, and the subject has ended"))
        }
        progress => progress,
    }
}

/// Since the path was last usable, a handler began and succeeded.
fn recovered(l: &Ledger) -> Progress {
    let Some(usable) = l.steps.values().flat_map(|s| &s.usable).max() else {
        return Progress::Done;
    };
    let since = |h: &gauntlet_judge::history::ledger::Handling| {
        h.start >= *usable && h.end.is_some_and(|(_, ok)| ok)
    };
    let acked = |e: &gauntlet_judge::history::ledger::Epoch| {
        e.settlements.iter().any(|s| s.at_client >= *usable && s.kind == Settle::Ack)
    };
    let handled = match l.reports {
        true => l.messages.values().rev().flat_map(|m| &m.handlings).any(since),
        false => l.epochs.iter().rev().any(acked),
    };
    Progress::when(handled, || "nothing was handled since the path was usable again".into())
}

/// Everything confirmed is handled and settled, nothing runs, and the subject consumes.
pub fn caught_up(l: &Ledger) -> Progress {
    let undone = l.undone();
    if !undone.is_empty() {
        return Progress::Missing(format!(
            "{} messages not handled ({}...)",
            undone.len(),
            first(&undone)
        ));
    }
    let unsettled = l.unsettled.len();
    if unsettled > 0 {
        return Progress::Missing(format!(
            "{unsettled} deliveries without an ack at the broker ({}...)",
            first(&l.unsettled)
        ));
    }
    quiet(l)
}

fn first(ids: &std::collections::BTreeSet<u32>) -> String {
    ids.iter().take(3).map(|id| format!("m{id}")).collect::<Vec<_>>().join(", ")
}

/// What was delivered is settled, nothing runs, and the subject consumes.
pub fn quiet(l: &Ledger) -> Progress {
    let (running, outstanding) = (l.running as usize, l.outstanding());
    if running + outstanding > 0 {
        return Progress::Missing(format!(
            "{running} handlers running, {outstanding} deliveries unsettled"
        ));
    }
    Progress::when(l.consuming(), || "no consumer is subscribed".into())
}
