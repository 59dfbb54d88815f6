//! The Docker engine: whether it answers, what images it has, and where the ports it publishes are found.

use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::time::Duration;

use futures_util::StreamExt;
use testcontainers::bollard::Docker;
use testcontainers::bollard::models::NetworkInspect;
use testcontainers::bollard::query_parameters::{CreateImageOptionsBuilder, InspectNetworkOptions};
use testcontainers::core::client::docker_client_instance;
use tokio::time::timeout;

use super::BrokerError;

/// An engine that is there answers in milliseconds, a registry in a second or two.
const ENGINE: Duration = Duration::from_secs(5);
const REGISTRY: Duration = Duration::from_secs(15);
/// An image is 100 MB and more.
const PULL: Duration = Duration::from_secs(600);

/// Where ports of containers are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Host {
    /// On this machine: ports can be chosen, and need not be shown to others.
    Here,
    /// Somewhere else: the engine chooses ports, and all may see them.
    There(IpAddr),
}

impl Host {
    pub(crate) fn ip(self) -> IpAddr {
        match self {
            Host::Here => Ipv4Addr::LOCALHOST.into(),
            Host::There(ip) => ip,
        }
    }
}

/// The engine testcontainers would use, if it answers.
pub(crate) async fn reach() -> Result<Docker, BrokerError> {
    let attempt = timeout(ENGINE, async {
        let docker = docker_client_instance().await.map_err(|error| error.to_string())?;
        docker.ping().await.map_err(|error| error.to_string())?;
        Ok::<_, String>(docker)
    });
    match attempt.await {
        Ok(Ok(docker)) => Ok(docker),
        Ok(Err(why)) => Err(BrokerError::NoDocker { why }),
        Err(_late) => {
            Err(BrokerError::NoDocker { why: format!("no answer for {} s", ENGINE.as_secs()) })
        }
    }
}

/// Whether the image is here, or a registry says it has it.
pub(crate) async fn has_or_can_pull(docker: &Docker, image: &str) -> Result<(), BrokerError> {
    if docker.inspect_image(image).await.is_ok() {
        return Ok(());
    }
    match timeout(REGISTRY, docker.inspect_registry_image(image, None)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(no_image(image, &error.to_string())),
        Err(_late) => Err(no_image(image, &format!("no answer for {} s", REGISTRY.as_secs()))),
    }
}

/// Sees that the image is here, pulling it if need be.
pub(crate) async fn pull(docker: &Docker, image: &str, tag: &str) -> Result<(), BrokerError> {
    let full = format!("{image}:{tag}");
    if docker.inspect_image(&full).await.is_ok() {
        return Ok(());
    }
    tracing::info!(image = full, "pulling");
    let options = CreateImageOptionsBuilder::new().from_image(image).tag(tag).build();
    let mut steps = docker.create_image(Some(options), None, None);
    let pulled = timeout(PULL, async {
        while let Some(step) = steps.next().await {
            step.map_err(|error| no_image(&full, &error.to_string()))?;
        }
        Ok(())
    });
    pulled.await.unwrap_or_else(|_late| {
        Err(no_image(&full, &format!("it was not pulled within {} s", PULL.as_secs())))
    })
}

fn no_image(image: &str, why: &str) -> BrokerError {
    BrokerError::Image {
        image: image.to_owned(),
        why: format!("it is not here, and the registry: {why}"),
    }
}

/// Where the engine's published ports are.
pub(crate) async fn host(docker: &Docker) -> Result<Host, BrokerError> {
    let said = std::env::var("DOCKER_HOST").unwrap_or_default();
    let remote =
        reqwest::Url::parse(&said).ok().filter(|url| !matches!(url.scheme(), "unix" | "npipe"));
    if let Some(name) = remote.as_ref().and_then(|url| url.host_str()) {
        let why = |why: String| BrokerError::NoDocker { why: format!("DOCKER_HOST={said}: {why}") };
        let found = tokio::net::lookup_host((name.trim_matches(['[', ']']), 0)).await;
        let ip = found.map_err(|error| why(error.to_string()))?.next();
        let ip = ip.ok_or_else(|| why("it has no address".into()))?.ip();
        return Ok(if ip.is_loopback() { Host::Here } else { Host::There(ip) });
    }
    // In a container beside the others the engine is next door: its bridge is the way to it, unless that
    // bridge is this very machine's.
    let beside = tokio::fs::metadata("/.dockerenv").await.is_ok();
    let gateway = match docker.inspect_network("bridge", None::<InspectNetworkOptions>).await {
        Ok(bridge) if beside => gateway(&bridge),
        _ => None,
    };
    Ok(match gateway {
        Some(ip) if TcpListener::bind((ip, 0)).is_err() => Host::There(ip),
        _ => Host::Here,
    })
}

fn gateway(bridge: &NetworkInspect) -> Option<IpAddr> {
    let all = bridge.ipam.as_ref()?.config.as_ref()?;
    all.iter().find_map(|config| config.gateway.as_ref()?.parse().ok())
}
