//! Asks what the subject's process and the broker hold, at the moments that matter, and records it.

use std::net::SocketAddr;
use std::sync::OnceLock;
use std::time::Duration;

use gauntlet_judge::history::ledger::Ledger;
use gauntlet_judge::history::{Moment, What};
use tokio::time::Instant;

use crate::backstage::OWN_NAME;
use crate::broker::{Broker, BrokerError, ConnectionInfo};
use crate::recorder::Recorder;
use crate::subject::{Holder, Resources, count};

/// Between two questions to the broker about the same thing.
pub const ASK_AGAIN: Duration = Duration::from_millis(50);
/// The broker's figures lag by up to a second.
const LAG: Duration = Duration::from_millis(1300);
/// How long a broker may take to list a connection it has accepted.
const LISTED: Duration = Duration::from_secs(8);

/// What a subject is told when the broker closes its connections.
const REASON: &str = "closed by Gauntlet";

/// Counts resources for one run.
pub struct Probe<'a> {
    recorder: &'a Recorder,
    subject: OnceLock<Holder>,
    link: SocketAddr,
    broker: &'a Broker,
    runs: Runs,
}

/// Where a subject runs: what a sample counts, and whether anything else is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runs {
    /// In this process, `alone` or beside others.
    Here {
        /// Nothing else runs in this process.
        alone: bool,
    },
    /// In processes of its own.
    InItsOwn,
}

impl<'a> Probe<'a> {
    /// A probe of a subject that reaches `broker` through `link`.
    pub fn new(
        recorder: &'a Recorder,
        link: SocketAddr,
        broker: &'a Broker,
        runs: Runs,
    ) -> Probe<'a> {
        Probe { recorder, subject: OnceLock::new(), link, broker, runs }
    }

    /// The subject is counted by this from now on.
    pub fn attach(&self, subject: Holder) {
        // A run starts its subject once; a second call would be the same subject.
        let _ = self.subject.set(subject);
    }

    fn count(&self) -> (Resources, Option<u32>) {
        self.subject.get().map_or_else(|| (count(self.link), None), Holder::count)
    }

    /// Counts what the process holds.
    pub fn sample(&self, at: Moment) {
        let (r, tasks) = self.count();
        self.recorder.record(What::Sample {
            at,
            tasks,
            threads: r.threads,
            fds: r.fds,
            sockets: r.sockets,
            // The history grows in this process too, so its memory says nothing of a subject's in it.
            rss_kib: r.rss_kib.filter(|_| self.runs == Runs::InItsOwn),
            alone: self.runs != Runs::Here { alone: false },
        });
    }

    /// Counts what an ended subject holds, once it is nothing, or after `bound`.
    pub async fn sample_when_gone(&self, bound: Duration) {
        let deadline = Instant::now() + bound;
        let gone = || {
            let (holds, tasks) = self.count();
            tasks.unwrap_or(0) == 0 && holds.sockets.unwrap_or(0) == 0
        };
        while !gone() && Instant::now() < deadline {
            tokio::time::sleep_until(Instant::now() + ASK_AGAIN).await;
        }
        self.sample(Moment::After);
    }

    /// The subject's connections, as the broker lists them.
    pub async fn connections(&self, vhost: &str) -> Result<Vec<ConnectionInfo>, BrokerError> {
        let mut all = self.broker.connections(vhost).await?;
        all.retain(|c| c.client_name.as_deref() != Some(OWN_NAME));
        Ok(all)
    }

    /// Records what the broker holds for the subject once it is as `wanted`, or has stayed the same for
    /// longer than the broker's figures lag when `settles` allows that, or as it is after `bound`.
    pub async fn broker_holds(
        &self,
        (vhost, queue): (&str, &str),
        at: Moment,
        bound: Duration,
        settles: bool,
        wanted: impl Fn(&Holds) -> bool,
    ) -> Result<Holds, BrokerError> {
        let deadline = Instant::now() + bound;
        let mut last = (self.holds(vhost, queue).await?, Instant::now());
        loop {
            // A consumer without a connection or a channel is a figure that lags behind.
            let consumers = last.0.consumers > 0 || self.recorder.look(Ledger::only_polls);
            let whole = consumers && last.0.connections > 0 && last.0.channels > 0;
            let settled = settles && last.1.elapsed() > LAG && whole;
            if wanted(&last.0) || settled || Instant::now() >= deadline {
                break;
            }
            tokio::time::sleep_until(Instant::now() + ASK_AGAIN).await;
            let holds = self.holds(vhost, queue).await?;
            let since = if holds.same_but_unacked(&last.0) { last.1 } else { Instant::now() };
            last = (holds, since);
        }
        let Holds { connections, channels, consumers, unacked } = last.0;
        self.recorder.record(What::BrokerHolds { connections, channels, consumers, unacked, at });
        Ok(last.0)
    }

    async fn holds(&self, vhost: &str, queue: &str) -> Result<Holds, BrokerError> {
        let connections = self.connections(vhost).await?;
        let queue = self.broker.queue(vhost, queue).await?;
        Ok(Holds {
            connections: connections.len() as u32,
            channels: connections.iter().map(|c| c.channels as u32).sum(),
            consumers: queue.as_ref().map_or(0, |q| q.consumers as u32),
            unacked: queue.map(|q| q.unacked as u32),
        })
    }

    /// Has the broker close every connection of the subject; waits until it lists at least one.
    pub async fn close_connections(&self, vhost: &str) -> Result<usize, BrokerError> {
        let deadline = Instant::now() + LISTED;
        loop {
            let listed = self.connections(vhost).await?;
            if !listed.is_empty() || Instant::now() >= deadline {
                let mut closed = 0;
                for connection in &listed {
                    let done = self.broker.close_connection(&connection.name, REASON).await?;
                    closed += usize::from(done);
                }
                return Ok(closed);
            }
            tokio::time::sleep_until(Instant::now() + ASK_AGAIN).await;
        }
    }
}

/// What a broker holds for a subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holds {
    /// Connections.
    pub connections: u32,
    /// Channels.
    pub channels: u32,
    /// Consumers of the queue.
    pub consumers: u32,
    /// Deliveries the broker waits to be settled.
    pub unacked: Option<u32>,
}

impl Holds {
    /// What a consumer at work does not change.
    pub fn same_but_unacked(&self, other: &Holds) -> bool {
        Holds { unacked: other.unacked, ..*self } == *other
    }
}
