//! What a program is told: one table of environment variables, which feeds the processes, the docs and their test.

use std::net::SocketAddr;

use crate::subject::Job;

/// The version of the contract.
pub const VERSION: u32 = 1;

/// In the environment of every process of a subject, so that none is lost.
pub(crate) const MARK: &str = crate::broker::SUBJECT_VARIABLE;

/// A variable in the environment of the subject.
pub struct Variable {
    /// Its name.
    pub name: &'static str,
    /// What it says.
    pub means: &'static str,
    value: fn(&Told<'_>) -> String,
}

/// What a copy of a subject is told.
pub struct Told<'a> {
    /// Its orders.
    pub job: &'a Job,
    /// Where it may serve its health.
    pub health: SocketAddr,
}

/// All of it.
pub const CONTRACT: &[Variable] = &[
    Variable {
        name: "AMQP_URL",
        means: "where to connect: the faulty link, with user, password, virtual host and `?heartbeat=` in seconds",
        value: |told| told.job.url.clone(),
    },
    Variable { name: "RABBITMQ_URL", means: "the same", value: |told| told.job.url.clone() },
    Variable {
        name: "GAUNTLET_CONTRACT",
        means: "the version of this contract: `1`",
        value: |_| VERSION.to_string(),
    },
    Variable {
        name: "GAUNTLET_QUEUE",
        means: "the queue to consume; it exists, and need not be declared",
        value: |told| told.job.queue.clone(),
    },
    Variable {
        name: "GAUNTLET_PREFETCH",
        means: "unsettled deliveries each worker may hold (`basic.qos`)",
        value: |told| told.job.prefetch.to_string(),
    },
    Variable {
        name: "GAUNTLET_WORKERS",
        means: "workers to run, each with a channel of its own",
        value: |told| told.job.workers.to_string(),
    },
    Variable {
        name: "GAUNTLET_HEARTBEAT",
        means: "the heartbeat to ask for, like `2s`; the URL says it too",
        value: |told| format!("{}s", told.job.heartbeat),
    },
    Variable {
        name: "GAUNTLET_HEALTH",
        means: "`127.0.0.1:PORT`, where it may serve its health over HTTP",
        value: |told| told.health.to_string(),
    },
    Variable {
        name: "GAUNTLET_HANDLER_TIME_MS",
        means: "how long the scenario wants the handling of a message to take, in milliseconds; a subject may do as it likes",
        value: |told| told.job.handler_time().as_millis().to_string(),
    },
    Variable {
        name: "PYTHONUNBUFFERED",
        means: "`1`: what a Python program prints arrives when it is printed. Others have to flush after each line",
        value: |_| "1".into(),
    },
];

/// The environment of one copy.
pub fn environment<'a>(told: &'a Told<'a>) -> impl Iterator<Item = (&'static str, String)> + 'a {
    CONTRACT.iter().map(|variable| (variable.name, (variable.value)(told)))
}
