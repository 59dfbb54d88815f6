//! The plan of one run: a scenario with every choice made, saved beside the history.
//!
//! Owns the resolution (random moments drawn from the seed, repeated steps unrolled) and the
//! plan's file format. A plan and a history are all a checker needs.

use std::time::Duration;

use gauntlet_network::Seed;
use rand::RngExt;
use serde::{Deserialize, Serialize};

use crate::scenario::{Scenario, Step, SubjectFault, Trigger};
use crate::subject::Promises;

/// The version of the plan's and the history's file format.
pub const FORMAT: u32 = 1;

/// Everything decided before the run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// [`FORMAT`] when written.
    pub format: u32,
    /// The scenario; its steps as the file says them.
    pub scenario: Scenario,
    /// The steps to play, in order: repeats unrolled, random moments drawn. Step numbers in the history are indexes into it.
    pub steps: Vec<Step>,
    /// The seed; decimal.
    pub seed: u64,
    /// The subject's name.
    pub subject: String,
    /// What the subject promises.
    pub promises: Promises,
    /// The broker, in words: `container rabbitmq:4.0-management (RabbitMQ 4.0.5)`.
    pub broker: String,
    /// The queue.
    pub queue: String,
}

impl Plan {
    /// Resolves a scenario. The seed fixes the schedule, not how real processes interleave.
    pub fn resolve(
        scenario: &Scenario,
        seed: Seed,
        subject: &str,
        promises: &Promises,
        broker: &str,
    ) -> Plan {
        let mut rng = seed.stream(&format!("schedule/{}", scenario.name));
        let mut steps = Vec::new();
        for step in &scenario.steps {
            let mut unrolled: Vec<Step> = Vec::new();
            for _ in 0..step.repeat {
                let mut one = Step { repeat: 1, ..step.clone() };
                if let Trigger::HandledBetween { from, to } = step.when {
                    one.when = Trigger::Handled(rng.random_range(from..to));
                }
                unrolled.push(one);
            }
            unrolled.sort_by_key(|s| match s.when {
                Trigger::Handled(n) => n,
                _ => 0,
            });
            steps.extend(unrolled);
        }
        Plan {
            format: FORMAT,
            scenario: scenario.clone(),
            steps,
            seed: seed.0,
            subject: subject.to_owned(),
            promises: promises.clone(),
            broker: broker.to_owned(),
            queue: "work".to_owned(),
        }
    }

    /// Whether the schedule itself asks the subject to stop, so that work is left over on purpose.
    pub fn stops_early(&self) -> bool {
        self.steps.iter().any(|s| s.subject == Some(SubjectFault::Stop))
    }

    /// Whether the schedule asks the subject to stop at once.
    pub fn aborts(&self) -> bool {
        self.steps.iter().any(|s| s.subject == Some(SubjectFault::Abort))
    }

    /// The heartbeat the subject was told to ask for.
    pub fn heartbeat(&self) -> Duration {
        Duration::from_secs(self.scenario.subject.heartbeat.into())
    }
}
