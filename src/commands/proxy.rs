//! `gauntlet proxy`: a Toxiproxy server over Gauntlet's own network.

use gauntlet_network::Seed;
use gauntlet_network::toxiproxy::{Options, Server, ServerError, VERSION};

use super::broker::instead;
use super::{Failure, announce, runtime, say};
use crate::args;
use crate::interrupt::Interrupt;

/// Serves until it is interrupted.
pub fn execute(args: &args::Proxy) -> Result<u8, Failure> {
    if args.version {
        say(format!("toxiproxy-server version {VERSION}"));
        return Ok(0);
    }
    runtime()?.block_on(serve(args))
}

async fn serve(args: &args::Proxy) -> Result<u8, Failure> {
    let options = Options {
        seed: args.seed.unwrap_or_else(Seed::random),
        proxy_metrics: args.proxy_metrics,
        runtime_metrics: args.runtime_metrics,
    };
    let seed = options.seed;
    let host = args.host.trim_start_matches('[').trim_end_matches(']');
    let addr = match host {
        ip if ip.contains(':') => format!("[{ip}]:{}", args.port),
        host => format!("{host}:{}", args.port),
    };
    // Before anybody can know that it is there.
    let interrupt = Interrupt::listen(false)?;
    let mut server = Server::bind(&addr, options).await.map_err(|e| {
        let next = match &e {
            ServerError::Listen { source, .. } => instead(source, "--port"),
            _ => "this is a defect of gauntlet".to_owned(),
        };
        Failure::environment(format!("{e}; {next}"))
    })?;
    if let Some(config) = &args.config {
        match server.populate_from(config).await {
            Ok(proxies) => tracing::info!(proxies, "populated proxies from file"),
            // As Toxiproxy does: what could be done is done, and the rest can be asked for.
            Err(e) => tracing::error!("{e}"),
        }
    }
    server.open();
    announce(&format!(
        "gauntlet proxy: as Toxiproxy {VERSION}, API at http://{}, seed {seed}; Ctrl-C ends it",
        server.addr()
    ))?;
    interrupt.halt().cancelled().await;
    server.stop().await;
    Ok(0)
}
