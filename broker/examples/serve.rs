//! A broker alone, until it is interrupted: `cargo run -p gauntlet-broker --example serve -- 127.0.0.1:5672`.

use std::net::SocketAddr;

use gauntlet_broker::{Broker, Config};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let addr: Option<String> = std::env::args().nth(1);
    let mut config = Config::default();
    if let Some(addr) = addr {
        config.addr = addr.parse::<SocketAddr>()?;
    }
    let broker = Broker::start(config)?;
    #[expect(clippy::print_stderr, reason = "an example says where it listens")]
    {
        eprintln!("{}", broker.url("/"));
    }
    tokio::signal::ctrl_c().await?;
    broker.stop().await;
    Ok(())
}
