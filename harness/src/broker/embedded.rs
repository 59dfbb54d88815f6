//! The model of RabbitMQ in this process (`gauntlet-broker`), as a node: nothing to install, nothing left behind,
//! and what it holds is known at once.

use std::sync::Arc;
use std::time::Duration;

use gauntlet_broker::look::{ChannelLook, ConnectionLook, ConsumerLook, QueueLook};
use gauntlet_broker::model::user::Permission;
use gauntlet_broker::{Broker, Config, ServerError, Value};

use tokio::time::{Instant, sleep_until};

use super::error::io;
use super::look::{ChannelInfo, ConnectionInfo, ConsumerInfo, Look, QueueInfo};
use super::{BrokerError, Restart};

/// One node, kept through its restarts.
#[derive(Clone)]
pub(super) struct Embedded(Arc<Broker>);

/// What it takes to come up again. RabbitMQ takes seconds, in which clients knock and are refused.
const AWAY: Duration = Duration::from_secs(1);

/// Which user a URL of ours names; it may do everything in every virtual host made here.
pub(super) const USER: &str = "guest";

impl Embedded {
    pub(super) fn start() -> Result<Embedded, BrokerError> {
        let broker = Broker::start(Config::default());
        let failed = |ServerError::Listen { addr, source }| io(format!("listen on {addr}"))(source);
        Ok(Embedded(Arc::new(broker.map_err(failed)?)))
    }

    pub(super) fn model(&self) -> &Broker {
        &self.0
    }

    pub(super) fn amqp(&self) -> std::net::SocketAddr {
        self.0.addr()
    }

    pub(super) fn create_vhost(&self, name: &str) -> Result<(), BrokerError> {
        let what = format!("create the virtual host '{name}'");
        let refused = |why: String| BrokerError::Unsupported { what: what.clone(), why };
        let all = Permission::new(".*", ".*", ".*").map_err(|e| refused(e.to_string()))?;
        self.0.with(|core| {
            core.add_vhost(name);
            core.set_permission(USER, name, Some(all)).map_err(|e| refused(e.to_string()))
        })
    }

    pub(super) fn delete_vhost(&self, name: &str) {
        self.0.with(|core| core.delete_vhost(name));
    }

    pub(super) async fn down(&self, how: Restart) {
        match how {
            Restart::App | Restart::Graceful => self.0.shutdown().await,
            Restart::Kill => self.0.crash().await,
        }
    }

    pub(super) async fn up(&self) {
        sleep_until(Instant::now() + AWAY).await;
        self.0.up().await;
    }

    /// Closes a connection; false if it is not there (any more).
    pub(super) fn close_connection(&self, name: &str, reason: &str) -> bool {
        self.0.with(|core| {
            let its = core.look().connections.into_iter().find(|c| c.name == name);
            its.is_some_and(|c| core.close_connection(c.id, reason))
        })
    }

    pub(super) async fn stop(&self) {
        self.0.stop().await;
    }

    fn look(&self) -> gauntlet_broker::Look {
        self.0.with(|core| core.look())
    }
}

/// Answers are of the moment.
impl Look for Embedded {
    async fn connections(&self, vhost: &str) -> Result<Vec<ConnectionInfo>, BrokerError> {
        let all = self.look().connections;
        Ok(all.iter().filter(|c| c.vhost == vhost).map(connection).collect())
    }

    async fn channels(&self, vhost: &str) -> Result<Vec<ChannelInfo>, BrokerError> {
        let all = self.look().channels;
        Ok(all.iter().filter(|c| c.vhost == vhost).map(channel).collect())
    }

    async fn consumers(&self, vhost: &str) -> Result<Vec<ConsumerInfo>, BrokerError> {
        let look = self.look();
        let name = |consumer: &ConsumerLook| {
            let its = look.connections.iter().find(|c| c.id == consumer.at.connection);
            its.map(|c| c.name.clone()).unwrap_or_default()
        };
        let here = look.consumers.iter().filter(|c| c.vhost == vhost);
        Ok(here.map(|c| consumer(c, name(c))).collect())
    }

    async fn queue(&self, vhost: &str, queue: &str) -> Result<Option<QueueInfo>, BrokerError> {
        let all = self.look().queues;
        Ok(all.iter().find(|q| q.vhost == vhost && q.name == queue).map(counts))
    }
}

fn connection(c: &ConnectionLook) -> ConnectionInfo {
    let client_name = match c.client_properties.get("connection_name") {
        Some(Value::Long(name)) => Some(String::from_utf8_lossy(name).into_owned()),
        _ => None,
    };
    ConnectionInfo {
        name: c.name.clone(),
        peer_port: c.peer.port(),
        state: c.state.to_owned(),
        channels: c.channels as u64,
        client_name,
    }
}

fn channel(c: &ChannelLook) -> ChannelInfo {
    ChannelInfo {
        connection: c.connection.clone(),
        number: c.at.channel,
        unacked: c.unacked as u64,
        consumers: c.consumers as u64,
    }
}

fn consumer(c: &ConsumerLook, connection: String) -> ConsumerInfo {
    ConsumerInfo {
        queue: c.queue.clone(),
        tag: c.tag.clone(),
        connection,
        prefetch: c.prefetch.into(),
    }
}

fn counts(q: &QueueLook) -> QueueInfo {
    QueueInfo { ready: q.ready as u64, unacked: q.unacked as u64, consumers: q.consumers as u64 }
}
