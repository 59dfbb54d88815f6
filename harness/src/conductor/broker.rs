//! Steps that happen to the broker: what goes wrong there, and when the path is usable again.
//!
//! A fault anchored to a frame is struck while the link holds the stream at that point: neither end is a single byte
//! further than the step says, whichever broker it is.

use std::time::Duration;

use gauntlet_broker::faults::{ReplyRule, Withheld};
use gauntlet_judge::history::What;
use gauntlet_judge::history::ledger::Ledger;
use gauntlet_judge::scenario::{Step, Trigger, describe};
use gauntlet_network::{Fault, FaultId, Injection, Point};
use tokio::time::Instant;

use super::{ConductError, Conductor, alive, fired_times, trigger_bound};
use crate::backstage::AdminSession;
use crate::broker::{Broker, BrokerError, BrokerFault, Restart};
use crate::recorder::Progress;

impl Conductor<'_> {
    pub(super) async fn on_broker(
        &mut self,
        index: usize,
        step: &Step,
        fault: &BrokerFault,
    ) -> Result<(), ConductError> {
        let held = match self.hold(index, step).await? {
            Held::Nothing => None,
            Held::At(id) => Some(id),
            Held::Missed => return Ok(()),
        };
        self.strike(index, fault).await?;
        if let Some(id) = held {
            self.link.lift(id).await.map_err(|source| fault_failed(index, source))?;
        }
        if step.resets {
            self.reset_all(index).await?;
        }
        self.follow_broker(index, step, fault).await
    }

    /// Has the link hold the stream where the step says, and waits until it does.
    async fn hold(&self, index: usize, step: &Step) -> Result<Held, ConductError> {
        let Trigger::Frame { way, name, nth, edge } = &step.when else {
            self.recorder.record(What::Injected { step: index, fault: describe(step) });
            return Ok(Held::Nothing);
        };
        let point = Point { way: *way, frame: name.clone(), nth: *nth, edge: *edge };
        let hold = Fault::Hold { delay: trigger_bound(self.plan) };
        self.tap.now_playing(index, describe(step));
        let id = self.link.inject(Injection::from(hold).at(point)).await;
        let id = id.map_err(|source| fault_failed(index, source))?;
        let held = self.until_met(|l| fired_times(l, index, 1)).await;
        let Err(missing) = held else { return Ok(Held::At(id)) };
        self.recorder.record(What::StepMissed { step: index, missing });
        self.link.lift(id).await.map_err(|source| fault_failed(index, source))?;
        Ok(Held::Missed)
    }

    /// What goes wrong goes wrong; what is to go right again later does not yet.
    async fn strike(&self, index: usize, fault: &BrokerFault) -> Result<(), ConductError> {
        let failed = |source| ConductError::Broker { step: index + 1, source };
        match fault {
            BrokerFault::RestartApp => {
                self.broker.down(Restart::App).await.map_err(failed)?;
                self.fired(index, "the broker's application stopped");
            }
            BrokerFault::Restart => {
                self.broker.down(Restart::Graceful).await.map_err(failed)?;
                self.fired(index, "the broker's node stopped");
            }
            BrokerFault::Kill => {
                self.broker.write_down_topology().await.map_err(failed)?;
                self.broker.down(Restart::Kill).await.map_err(failed)?;
                self.fired(index, "the broker's node was killed");
            }
            BrokerFault::CloseConnections => {
                let closed = self.probe.close_connections(self.vhost).await.map_err(failed)?;
                self.fired(index, &format!("the broker closed {closed} connections"));
            }
            BrokerFault::CancelConsumers => {
                let (model, queue) = (self.model(index, fault)?, &self.plan.queue);
                let cancelled = model.with(|core| core.cancel_consumers(self.vhost, queue));
                self.fired(index, &format!("the broker cancelled {cancelled} consumers"));
            }
            BrokerFault::RedeclareQueue => {
                self.backstage(index, async |session| {
                    session.redeclare(&self.plan.queue, &self.plan.scenario.queue).await
                })
                .await?;
                self.fired(index, "the queue was deleted and redeclared");
            }
            BrokerFault::DeleteQueue => {
                self.backstage(index, async |session| session.delete(&self.plan.queue).await)
                    .await?;
                self.fired(index, "the queue was deleted");
            }
            BrokerFault::MemoryAlarm => {
                self.broker.memory_alarm(true).await.map_err(failed)?;
                self.fired(index, "the memory alarm was raised");
            }
            BrokerFault::ConsumerTimeout(timeout) => {
                self.broker.consumer_timeout(*timeout).await.map_err(failed)?;
                self.fired(index, "the consumer timeout was set");
            }
            BrokerFault::Withhold { reply, skip, count } => {
                let rule = ReplyRule {
                    method: crate::broker::fault::method(reply),
                    skip: *skip,
                    count: *count,
                    withheld: Withheld::Forever,
                };
                self.model(index, fault)?.with(|core| core.withhold(rule));
            }
            BrokerFault::Silence => {
                self.model(index, fault)?.with(|core| core.set_silence(true));
            }
        }
        Ok(())
    }

    /// Waits for what the step waits for, and undoes what is to be over.
    async fn follow_broker(
        &mut self,
        index: usize,
        step: &Step,
        fault: &BrokerFault,
    ) -> Result<(), ConductError> {
        match fault {
            BrokerFault::RestartApp | BrokerFault::Restart | BrokerFault::Kill => {
                let answered = self.broker.up().await;
                let answered =
                    answered.map_err(|source| ConductError::Broker { step: index + 1, source })?;
                match &self.path {
                    None => self.link.set_upstream(self.broker.addr()),
                    Some(path) => path
                        .follow(self.broker)
                        .await
                        .map_err(|source| ConductError::Network { step: index + 1, source })?,
                }
                self.recorder.record_at(answered.into_std(), What::PathUsable { step: index });
            }
            BrokerFault::CloseConnections
            | BrokerFault::CancelConsumers
            | BrokerFault::RedeclareQueue => self.usable(index),
            BrokerFault::ConsumerTimeout(_) => self.ailing.push((index, fault.clone())),
            // It is spent then, and what it took never comes; the others of its kind get through.
            BrokerFault::Withhold { count: Some(count), .. } => {
                self.touched(index, fault, *count).await?;
                self.usable(index);
            }
            _ => match step.lasts {
                Some(lasts) => {
                    tokio::time::sleep_until(Instant::now() + lasts).await;
                    if *fault == BrokerFault::DeleteQueue {
                        // Whose next attempt comes later than that has not met it yet.
                        let met = |l: &Ledger| alive(l, refused_since(l, index));
                        let _told_by_fired = self.recorder.until(self.attempt_bound(), met).await;
                    }
                    self.end(index, fault).await?;
                }
                None => self.ailing.push((index, fault.clone())),
            },
        }
        Ok(())
    }

    /// Ends what lasts; who could not get through can again.
    async fn end(&self, index: usize, fault: &BrokerFault) -> Result<(), ConductError> {
        let failed = |source| ConductError::Broker { step: index + 1, source };
        match fault {
            BrokerFault::DeleteQueue => {
                self.backstage(index, async |session| {
                    session.declare(&self.plan.queue, &self.plan.scenario.queue).await
                })
                .await?;
                self.usable(index);
            }
            BrokerFault::MemoryAlarm => {
                self.broker.memory_alarm(false).await.map_err(failed)?;
            }
            BrokerFault::ConsumerTimeout(_) => {
                self.broker.reset_consumer_timeout().await.map_err(failed)?;
            }
            BrokerFault::Withhold { .. } => {
                self.touched(index, fault, 1).await?;
                self.model(index, fault)?.with(gauntlet_broker::Core::lift_withheld);
                self.usable(index);
            }
            BrokerFault::Silence => {
                self.touched(index, fault, 1).await?;
                self.model(index, fault)?.with(|core| core.set_silence(false));
                self.usable(index);
            }
            _ => {}
        }
        self.recorder.record(What::Lifted { step: index });
        Ok(())
    }

    /// Waits until the fault has touched so many replies or connections; that is its evidence.
    async fn touched(
        &self,
        index: usize,
        fault: &BrokerFault,
        wanted: u64,
    ) -> Result<(), ConductError> {
        let (held, what) = match fault {
            BrokerFault::Silence => (false, "connections were not answered"),
            _ => (true, "replies were held back"),
        };
        let count = |core: &gauntlet_broker::Core| {
            let (replies, connections) = core.touched();
            if held { replies } else { connections }
        };
        let model = self.model(index, fault)?;
        let bound =
            if wanted > 1 { trigger_bound(self.plan) } else { TOUCHED.max(self.attempt_bound()) };
        let enough = tokio::time::timeout(bound, model.until(|core| count(core) >= wanted)).await;
        let touched = model.with(|core| count(core));
        match enough {
            Ok(()) => self.fired(index, &format!("{touched} {what}")),
            Err(_late) => {
                let missing = format!("{touched} of {wanted} {what}");
                self.recorder.record(What::StepMissed { step: index, missing });
            }
        }
        Ok(())
    }

    /// Ends every fault of the broker that is still in force.
    pub(super) async fn heal_broker(&mut self) -> Result<(), String> {
        for (index, fault) in std::mem::take(&mut self.ailing) {
            self.end(index, &fault).await.map_err(|e| e.to_string())?;
        }
        Ok(())
    }

    /// A session of the harness's own, for as long as it takes.
    async fn backstage(
        &self,
        index: usize,
        act: impl AsyncFnOnce(&AdminSession) -> Result<(), crate::backstage::BackstageError>,
    ) -> Result<(), ConductError> {
        let failed = |source| ConductError::AdminSession { step: index + 1, source };
        let session = AdminSession::open(&self.broker.url(self.vhost)).await.map_err(failed)?;
        act(&session).await.map_err(failed)?;
        session.close().await;
        Ok(())
    }

    fn model(
        &self,
        index: usize,
        fault: &BrokerFault,
    ) -> Result<&gauntlet_broker::Broker, ConductError> {
        self.broker.model().ok_or_else(|| ConductError::Broker {
            step: index + 1,
            source: not_a_model(self.broker, fault),
        })
    }
}

/// Whether the broker has closed a channel since the step was played.
fn refused_since(l: &Ledger, step: usize) -> Progress {
    let since = l.steps.get(&step).and_then(|s| s.fired.first());
    let refused = since.is_some_and(|since| {
        l.epochs.iter().any(|e| e.broker_over.is_some_and(|over| over > *since))
    });
    Progress::when(refused, || "no attempt to consume was refused".to_owned())
}

/// Within this, what is in force must have been met by something.
const TOUCHED: Duration = Duration::from_secs(10);

/// Where the link holds the stream.
enum Held {
    /// The step is not anchored to a frame.
    Nothing,
    At(FaultId),
    /// The point was not met in time.
    Missed,
}

fn fault_failed(index: usize, source: gauntlet_network::FaultError) -> ConductError {
    ConductError::Fault { step: index + 1, source }
}

fn not_a_model(broker: &Broker, fault: &BrokerFault) -> BrokerError {
    BrokerError::Unsupported {
        what: format!("`{}`", fault.about().name),
        why: format!("the broker is {}; use --broker embedded", broker.kind()),
    }
}
