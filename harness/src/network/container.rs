//! A Toxiproxy in a container on the engine's bridge, beside the broker's, by testcontainers.
//!
//! The ports its proxies listen on are published when it is made, so there is a fixed number of them, lent to one
//! scenario at a time.

use std::collections::HashMap;
use std::mem::ManuallyDrop;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Mutex, PoisonError};

use testcontainers::bollard::Docker;
use testcontainers::bollard::models::{HostConfig, PortBinding};
use testcontainers::core::{ContainerPort, IntoContainerPort};
use testcontainers::runners::AsyncRunner;
use testcontainers::{ContainerAsync, ContainerRequest, GenericImage, ImageExt};
use tokio::time::timeout;

use super::NetworkError;
use crate::broker::container::{ENGINE, LABEL_OWNER, LABEL_RUN, chain, remove};
use crate::broker::docker::{self, Host};
use crate::broker::place::Mark;
use crate::broker::reaper::Reaper;
use crate::broker::wait::{Not, until};
use crate::broker::{BrokerError, RunId};

const API: u16 = 8474;
/// The first port of a proxy, inside.
const FIRST: u16 = 20_000;

/// A running Toxiproxy.
pub struct Container {
    docker: Docker,
    handle: ManuallyDrop<ContainerAsync<GenericImage>>,
    name: String,
    api: SocketAddr,
    /// From inside to outside.
    outside: HashMap<u16, SocketAddr>,
    free: Mutex<Vec<u16>>,
    reaper: tokio::sync::Mutex<Option<Reaper>>,
}

impl Container {
    /// Starts it, for so many proxies at a time, and waits until it answers.
    pub async fn start(
        image: &str,
        tag: &str,
        run: &RunId,
        proxies: usize,
    ) -> Result<Container, BrokerError> {
        let docker = docker::reach().await?;
        docker::pull(&docker, image, tag).await?;
        let host = docker::host(&docker).await?;
        let mark = Mark::new(run);
        let name = format!("gauntlet-{}", mark.name);
        let reaper = Reaper::start(&mark, &name, &[])?;
        let inside: Vec<u16> =
            (FIRST..).take(proxies.clamp(1, usize::from(u16::MAX - FIRST))).collect();
        let request = request((image, tag), &name, run, &mark, host, &inside);
        let started = timeout(ENGINE, request.start()).await;
        let started = started.map_err(|_late| format!("not done within {} s", ENGINE.as_secs()));
        let handle = match started.and_then(|started| started.map_err(|error| chain(&error))) {
            Ok(handle) => ManuallyDrop::new(handle),
            Err(why) => {
                remove(&docker, &name).await?;
                reaper.dismiss().await?;
                let what = format!("start {image}:{tag}");
                return Err(BrokerError::Docker { what, container: name, why });
            }
        };
        let mut container = Container {
            docker,
            handle,
            name,
            api: SocketAddr::new(host.ip(), 0),
            outside: HashMap::new(),
            free: Mutex::new(inside.iter().rev().copied().collect()),
            reaper: tokio::sync::Mutex::new(Some(reaper)),
        };
        match container.settle(host, &inside).await {
            Ok(()) => Ok(container),
            Err(error) => {
                container.stop().await?;
                Err(error)
            }
        }
    }

    async fn settle(&mut self, host: Host, inside: &[u16]) -> Result<(), BrokerError> {
        for port in inside.iter().copied().chain([API]) {
            let outside = self.handle.get_host_port_ipv4(port.tcp()).await;
            let outside = outside.map_err(|error| BrokerError::Docker {
                what: "read its ports".into(),
                container: self.name.clone(),
                why: chain(&error),
            })?;
            self.outside.insert(port, SocketAddr::new(host.ip(), outside));
        }
        self.api = self.outside(API);
        until("get an answer of Toxiproxy", ENGINE, || async {
            let asked = reqwest::get(format!("http://{}/version", self.api)).await;
            asked
                .and_then(reqwest::Response::error_for_status)
                .map(drop)
                .map_err(|error| Not::Yet(format!("asked for its version: {error}")))
        })
        .await
    }

    /// Its API, seen from this machine.
    pub fn api(&self) -> SocketAddr {
        self.api
    }

    /// A port of its own for a proxy, inside.
    pub fn lend(&self) -> Result<SocketAddr, NetworkError> {
        let port = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let port = port.ok_or_else(|| NetworkError::Unreachable {
            network: "one more proxy of Toxiproxy".into(),
            why: "every published port is in use; use fewer --jobs".into(),
        })?;
        Ok(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port))
    }

    /// The port is free again.
    pub fn give_back(&self, port: u16) {
        self.free.lock().unwrap_or_else(PoisonError::into_inner).push(port);
    }

    /// Where a port inside is found from this machine.
    pub fn outside(&self, inside: u16) -> SocketAddr {
        let nowhere = SocketAddr::new(self.api.ip(), 0);
        self.outside.get(&inside).copied().unwrap_or(nowhere)
    }

    /// Removes it.
    pub async fn stop(&self) -> Result<(), BrokerError> {
        remove(&self.docker, &self.name).await?;
        match self.reaper.lock().await.take() {
            Some(reaper) => reaper.dismiss().await,
            None => Ok(()),
        }
    }
}

fn request(
    (image, tag): (&str, &str),
    name: &str,
    run: &RunId,
    mark: &Mark,
    host: Host,
    inside: &[u16],
) -> ContainerRequest<GenericImage> {
    let ports = || inside.iter().copied().chain([API]);
    let mut request = GenericImage::new(image, tag).with_exposed_port(API.tcp());
    for port in inside {
        request = request.with_exposed_port(port.tcp());
    }
    let mut request = request
        .with_container_name(name)
        .with_label(LABEL_RUN, run.as_str())
        .with_label(LABEL_OWNER, mark.owner.to_string())
        .with_cmd(["-host=0.0.0.0"]);
    if host == Host::Here {
        // The engine chooses the ports; nobody but this machine sees them.
        let bindings: HashMap<String, Option<Vec<PortBinding>>> = ports()
            .map(|port| {
                let here =
                    PortBinding { host_ip: Some("127.0.0.1".into()), host_port: Some("0".into()) };
                (ContainerPort::Tcp(port).to_string(), Some(vec![here]))
            })
            .collect();
        request = request.with_host_config_modifier(move |host: &mut HostConfig| {
            host.publish_all_ports = Some(false);
            host.port_bindings = Some(bindings.clone());
        });
    }
    request
}
