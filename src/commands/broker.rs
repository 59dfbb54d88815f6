//! `gauntlet broker`: the embedded broker alone, for whoever wants a RabbitMQ that is there at once.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use gauntlet_broker::{Broker, Config, Management, ServerError};
use gauntlet_network::Seed;

use super::{Failure, announce, runtime};
use crate::args;
use crate::interrupt::Interrupt;

/// Serves until it is interrupted.
pub fn execute(args: &args::Broker) -> Result<u8, Failure> {
    runtime()?.block_on(serve(args))
}

async fn serve(args: &args::Broker) -> Result<u8, Failure> {
    let addr = SocketAddr::new(args.host, args.port);
    // The model's own time starts at zero; timestamps in messages are to be of today.
    let epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let config = Config { addr, epoch, seed: Seed::random().0, ..Config::default() };
    let broker = Broker::start(config).map_err(|e| no_port(&e, "--port"))?;
    let broker = Arc::new(broker);
    let addr = SocketAddr::new(args.host, args.management_port);
    let management = match Management::start(broker.clone(), addr).await {
        Ok(management) => management,
        Err(e) => {
            broker.stop().await;
            return Err(no_port(&e, "--management-port"));
        }
    };
    // Before anybody can know that it is there.
    let interrupt = Interrupt::listen(false)?;
    announce(&format!(
        "gauntlet broker: {}, management API at http://{}/api, user guest, password guest; Ctrl-C ends it",
        broker.url("/"),
        management.addr()
    ))?;
    interrupt.halt().cancelled().await;
    management.stop().await;
    broker.stop().await;
    Ok(0)
}

fn no_port(error: &ServerError, option: &str) -> Failure {
    let ServerError::Listen { source, .. } = error;
    Failure::environment(format!("{error}; {}", instead(source, option)))
}

/// What to do where an address cannot be listened on.
pub(super) fn instead(error: &std::io::Error, option: &str) -> String {
    match error.kind() {
        std::io::ErrorKind::AddrNotAvailable => {
            "--host is to be an address of this machine".to_owned()
        }
        _ => format!("choose another port with {option} (0 is any free one)"),
    }
}
