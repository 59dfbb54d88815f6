//! What a node is told before it starts. The defaults are RabbitMQ's.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

/// The configuration of a node.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where it listens; port 0 is any.
    pub addr: SocketAddr,
    /// Everything random follows from it.
    pub seed: u64,
    /// The time since 1970 at which the node's own time is zero. A server given none takes the clock's.
    pub epoch: Duration,
    /// The node's name, `rabbit@host`; also the cluster's.
    pub node: String,
    /// Until `connection.open`.
    pub handshake_timeout: Duration,
    /// Before a peer that broke the rules of the handshake is cut off.
    pub silent_close: Duration,
    /// In seconds, as `connection.tune` proposes it.
    pub heartbeat: u16,
    /// As `connection.tune` proposes it.
    pub frame_max: u32,
    /// As `connection.tune` proposes it.
    pub channel_max: u16,
    /// Of one message's body, in bytes.
    pub max_message: u64,
    /// A delivery not acknowledged for so long closes its channel.
    pub consumer_timeout: Duration,
    /// How often that is looked at.
    pub consumer_timeout_tick: Duration,
    /// How long a closed connection waits for the peer.
    pub close_timeout: Duration,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            addr: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0),
            seed: 0,
            epoch: Duration::ZERO,
            node: "rabbit@gauntlet".to_owned(),
            handshake_timeout: Duration::from_secs(10),
            silent_close: Duration::from_secs(3),
            heartbeat: 60,
            frame_max: 131_072,
            channel_max: 2047,
            max_message: 16 << 20,
            consumer_timeout: Duration::from_secs(1800),
            consumer_timeout_tick: Duration::from_secs(60),
            close_timeout: Duration::from_secs(30),
        }
    }
}
