//! A look inside a broker: who is connected, what is consumed, what is queued.
//!
//! The seam between those who ask (the runner, the checkers' last look) and the brokers that answer: RabbitMQ
//! by its management API, a broker in this process by itself.

use super::BrokerError;

/// A connection, as the broker sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnectionInfo {
    /// The broker's name for it, by which it can be closed.
    pub name: String,
    /// The port the client (or the last proxy before the broker) connects from. Behind Docker's port
    /// forwarding this is the forwarder's port, not the client's.
    pub peer_port: u16,
    /// `running`, `blocked`, ...; `unknown` until the broker has said.
    pub state: String,
    /// Open channels; 0 until the broker has said.
    pub channels: u64,
    /// The client's `connection_name`, where it gives one.
    pub client_name: Option<String>,
}

/// A channel with what it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChannelInfo {
    /// The [`ConnectionInfo::name`] it belongs to.
    pub connection: String,
    /// Its number on that connection.
    pub number: u16,
    /// Deliveries without an ack.
    pub unacked: u64,
    /// Consumers on it.
    pub consumers: u64,
}

/// A consumer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConsumerInfo {
    /// The queue it reads.
    pub queue: String,
    /// Its tag.
    pub tag: String,
    /// The [`ConnectionInfo::name`] it belongs to.
    pub connection: String,
    /// Its prefetch; 0 is unlimited.
    pub prefetch: u64,
}

/// What a queue holds.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueueInfo {
    /// Messages to be delivered.
    pub ready: u64,
    /// Messages delivered and not acknowledged.
    pub unacked: u64,
    /// Consumers.
    pub consumers: u64,
}

/// What can be asked of a broker. How old an answer may be is said by who answers.
pub trait Look {
    /// The connections of a virtual host, by name.
    fn connections(
        &self,
        vhost: &str,
    ) -> impl Future<Output = Result<Vec<ConnectionInfo>, BrokerError>> + Send;

    /// The channels of a virtual host, by connection and number.
    fn channels(
        &self,
        vhost: &str,
    ) -> impl Future<Output = Result<Vec<ChannelInfo>, BrokerError>> + Send;

    /// The consumers of a virtual host, by queue and tag.
    fn consumers(
        &self,
        vhost: &str,
    ) -> impl Future<Output = Result<Vec<ConsumerInfo>, BrokerError>> + Send;

    /// A queue; nothing if there is none of that name.
    fn queue(
        &self,
        vhost: &str,
        queue: &str,
    ) -> impl Future<Output = Result<Option<QueueInfo>, BrokerError>> + Send;
}
