//! A broker alone, with its management API where a second address is given, until it is interrupted:
//! `cargo run -p gauntlet-broker --example serve -- 127.0.0.1:5672 127.0.0.1:15672`.

use std::net::SocketAddr;
use std::sync::Arc;

use gauntlet_broker::{Broker, Config, Management};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut addrs = std::env::args().skip(1).map(|addr| addr.parse::<SocketAddr>());
    let mut config = Config::default();
    if let Some(addr) = addrs.next() {
        config.addr = addr?;
    }
    let broker = Arc::new(Broker::start(config)?);
    let management = match addrs.next() {
        Some(addr) => Some(Management::start(broker.clone(), addr?).await?),
        None => None,
    };
    #[expect(clippy::print_stderr, reason = "an example says where it listens")]
    {
        eprintln!("{}", broker.url("/"));
    }
    tokio::signal::ctrl_c().await?;
    if let Some(management) = management {
        management.stop().await;
    }
    broker.stop().await;
    Ok(())
}
