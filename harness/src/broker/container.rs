//! RabbitMQ in a container, by testcontainers.
//!
//! testcontainers makes and starts the container; from then on it is driven through the engine directly, and the
//! handle's own `Drop`, which would block the runtime, is never run.

use std::collections::HashMap;
use std::mem::ManuallyDrop;
use std::net::SocketAddr;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use futures_util::StreamExt;
use testcontainers::bollard::Docker;
use testcontainers::bollard::errors::Error;
use testcontainers::bollard::models::{HostConfig, PortBinding};
use testcontainers::bollard::query_parameters::{
    InspectContainerOptions, KillContainerOptionsBuilder, ListContainersOptionsBuilder,
    LogsOptionsBuilder, RemoveContainerOptionsBuilder, StartContainerOptions,
    StopContainerOptionsBuilder,
};
use testcontainers::core::{CmdWaitFor, ContainerPort, ExecCommand, IntoContainerPort};
use testcontainers::runners::AsyncRunner;
use testcontainers::{ContainerAsync, ContainerRequest, GenericImage, ImageExt};
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::docker::{self, Host};
use super::owner::{Fate, Owner, RunId};
use super::place::{self, Mark};
use super::ports::Port;
use super::reaper::Reaper;
use super::wait::{Not, until};
use super::{BrokerError, Restart, TRIES, conf};

const AMQP: ContainerPort = ContainerPort::Tcp(5672);
const MANAGEMENT: ContainerPort = ContainerPort::Tcp(15672);
pub(crate) const LABEL_RUN: &str = "gauntlet.run";
pub(crate) const LABEL_OWNER: &str = "gauntlet.owner";
/// The engine's own work: creating, killing. Seconds on a slow disk.
pub(crate) const ENGINE: Duration = Duration::from_secs(60);
/// How long the engine waits after SIGTERM before it kills.
const GRACE_SECONDS: i32 = 30;

/// One container, kept through its restarts.
pub(super) struct Container {
    docker: Docker,
    handle: ManuallyDrop<ContainerAsync<GenericImage>>,
    name: String,
    host: Host,
    ports: Vec<Port>,
    ends: RwLock<Ends>,
    state: Mutex<State>,
}

/// Where its ports are now.
#[derive(Clone, Copy)]
struct Ends {
    amqp: SocketAddr,
    management: SocketAddr,
    /// AMQP, for other containers.
    inside: Option<SocketAddr>,
}

struct State {
    reaper: Option<Reaper>,
    app_stopped: bool,
}

impl Container {
    /// Creates and starts it. Whether it answers is for the caller to wait for.
    pub(super) async fn start(
        image: &str,
        tag: &str,
        run: &RunId,
    ) -> Result<Container, BrokerError> {
        let docker = docker::reach().await?;
        docker::pull(&docker, image, tag).await?;
        let host = docker::host(&docker).await?;
        for _ in 1..TRIES {
            match Container::create(&docker, host, (image, tag), run).await {
                Err(BrokerError::Docker { why, .. }) if port_taken(&why) => {}
                other => return other,
            }
        }
        Container::create(&docker, host, (image, tag), run).await
    }

    async fn create(
        docker: &Docker,
        host: Host,
        (image, tag): (&str, &str),
        run: &RunId,
    ) -> Result<Container, BrokerError> {
        let mark = Mark::new(run);
        let name = format!("gauntlet-{}", mark.name);
        let ports = match host {
            Host::Here => {
                let root = place::make_root()?;
                vec![Port::reserve(&root, &mark.owner)?, Port::reserve(&root, &mark.owner)?]
            }
            Host::There(_) => Vec::new(),
        };
        let links: Vec<_> = ports.iter().map(Port::link).collect();
        // From here on an error leaves the reaper behind, who removes what was made.
        let reaper = Reaper::start(&mark, &name, &links)?;
        let request = request((image, tag), &name, run, &mark.owner, &ports);
        let started = timeout(ENGINE, request.start()).await;
        let started = started.map_err(|_late| format!("not done within {} s", ENGINE.as_secs()));
        let handle = match started.and_then(|started| started.map_err(|error| chain(&error))) {
            Ok(handle) => ManuallyDrop::new(handle),
            Err(why) => {
                remove(docker, &name).await?;
                ports.iter().for_each(Port::release);
                place::remove_root_if_empty();
                reaper.dismiss().await?;
                let what = format!("start {image}:{tag}");
                return Err(BrokerError::Docker { what, container: name, why });
            }
        };
        let nowhere = SocketAddr::new(host.ip(), 0);
        let container = Container {
            docker: docker.clone(),
            handle,
            name,
            host,
            ports,
            ends: RwLock::new(Ends { amqp: nowhere, management: nowhere, inside: None }),
            state: Mutex::new(State { reaper: Some(reaper), app_stopped: false }),
        };
        container.read_ports().await?;
        Ok(container)
    }

    pub(super) fn amqp(&self) -> SocketAddr {
        self.ends.read().unwrap_or_else(PoisonError::into_inner).amqp
    }

    pub(super) fn inside(&self) -> Option<SocketAddr> {
        self.ends.read().unwrap_or_else(PoisonError::into_inner).inside
    }

    pub(super) fn management(&self) -> String {
        format!("http://{}", self.ends.read().unwrap_or_else(PoisonError::into_inner).management)
    }

    /// Why it will not answer any more, if that is so.
    pub(super) async fn gone(&self) -> Option<String> {
        match self.running().await {
            Ok(true) => None,
            Ok(false) => Some(format!("the container {} has ended", self.name)),
            Err(error) => Some(error.to_string()),
        }
    }

    /// Takes it down; done when nothing listens any more.
    pub(super) async fn down(&self, how: Restart) -> Result<(), BrokerError> {
        let mut state = self.state.lock().await;
        let done = match how {
            Restart::App => {
                self.ctl(&["stop_app"]).await?;
                state.app_stopped = true;
                return Ok(());
            }
            Restart::Graceful => {
                let options = StopContainerOptionsBuilder::new().t(GRACE_SECONDS).build();
                self.docker.stop_container(self.handle.id(), Some(options)).await
            }
            Restart::Kill => {
                let options = KillContainerOptionsBuilder::new().signal("KILL").build();
                self.docker.kill_container(self.handle.id(), Some(options)).await
            }
        };
        match done {
            // It was not running.
            Ok(()) | Err(Error::DockerResponseServerError { status_code: 304 | 409, .. }) => {}
            Err(error) => return Err(self.failed("take it down", &error)),
        }
        state.app_stopped = false;
        until("see the container end", ENGINE, || async {
            match self.running().await {
                Ok(false) => Ok(()),
                Ok(true) => Err(Not::Yet(format!("the container {} is running", self.name))),
                Err(error) => Err(Not::Ever(error.to_string())),
            }
        })
        .await
    }

    /// Brings back what [`Container::down`] took.
    pub(super) async fn up(&self) -> Result<(), BrokerError> {
        let mut state = self.state.lock().await;
        if state.app_stopped {
            self.ctl(&["start_app"]).await?;
            state.app_stopped = false;
            return Ok(());
        }
        let started =
            self.docker.start_container(self.handle.id(), None::<StartContainerOptions>).await;
        match started {
            // It was running.
            Ok(()) | Err(Error::DockerResponseServerError { status_code: 304, .. }) => {}
            Err(error) => return Err(self.failed("start it again", &error)),
        }
        self.read_ports().await
    }

    /// Removes it with all it wrote.
    pub(super) async fn stop(&self) -> Result<(), BrokerError> {
        let mut state = self.state.lock().await;
        remove(&self.docker, &self.name).await?;
        self.ports.iter().for_each(Port::release);
        place::remove_root_if_empty();
        match state.reaper.take() {
            Some(reaper) => reaper.dismiss().await,
            None => Ok(()),
        }
    }

    /// The last lines of its log.
    pub(super) async fn log(&self, lines: usize) -> String {
        let tail = lines.to_string();
        let options = LogsOptionsBuilder::new().stdout(true).stderr(true).tail(&tail).build();
        let mut parts = self.docker.logs(self.handle.id(), Some(options));
        let mut text = String::new();
        while let Some(Ok(part)) = parts.next().await {
            text.push_str(&part.to_string());
        }
        text
    }

    async fn running(&self) -> Result<bool, BrokerError> {
        let inspected =
            self.docker.inspect_container(self.handle.id(), None::<InspectContainerOptions>).await;
        let state = inspected.map_err(|error| self.failed("look at it", &error))?.state;
        Ok(state.and_then(|state| state.running).unwrap_or(false))
    }

    /// The engine may choose other ports at each start.
    async fn read_ports(&self) -> Result<(), BrokerError> {
        let port = async |inside: ContainerPort| match self.handle.get_host_port_ipv4(inside).await
        {
            Ok(port) => Ok(SocketAddr::new(self.host.ip(), port)),
            Err(error) => Err(self.failed("read its ports", &error)),
        };
        let inside = self.bridged().await?;
        let ends = Ends { amqp: port(AMQP).await?, management: port(MANAGEMENT).await?, inside };
        *self.ends.write().unwrap_or_else(PoisonError::into_inner) = ends;
        Ok(())
    }

    /// Its address on the engine's default bridge, where other containers are its neighbours.
    async fn bridged(&self) -> Result<Option<SocketAddr>, BrokerError> {
        let inspected =
            self.docker.inspect_container(self.handle.id(), None::<InspectContainerOptions>).await;
        let settings = inspected.map_err(|error| self.failed("look at it", &error))?;
        let networks = settings.network_settings.and_then(|s| s.networks).unwrap_or_default();
        let ip = networks.get("bridge").and_then(|n| n.ip_address.as_deref()?.parse().ok());
        Ok(ip.map(|ip| SocketAddr::new(ip, AMQP.as_u16())))
    }

    pub(super) async fn ctl(&self, words: &[&str]) -> Result<(), BrokerError> {
        // The exit code as the condition to wait for: the future that asks for it afterwards is not `Send`.
        let command = ExecCommand::new(["rabbitmqctl"].iter().chain(words).copied())
            .with_cmd_ready_condition(CmdWaitFor::exit_code(0));
        let why = match timeout(ENGINE, self.handle.exec(command)).await {
            Ok(Ok(_)) => return Ok(()),
            Ok(Err(error)) => chain(&error),
            Err(_late) => format!("it did not end within {} s", ENGINE.as_secs()),
        };
        Err(BrokerError::Command {
            command: format!("docker exec {} rabbitmqctl {}", self.name, words.join(" ")),
            why,
        })
    }

    fn failed(&self, what: &str, error: &dyn std::error::Error) -> BrokerError {
        BrokerError::Docker {
            what: what.to_owned(),
            container: self.name.clone(),
            why: chain(error),
        }
    }
}

/// What testcontainers is asked for.
fn request(
    (image, tag): (&str, &str),
    name: &str,
    run: &RunId,
    owner: &Owner,
    ports: &[Port],
) -> ContainerRequest<GenericImage> {
    let mut request = GenericImage::new(image, tag)
        .with_exposed_port(5672.tcp())
        .with_exposed_port(15672.tcp())
        .with_container_name(name)
        // A part of the node's name, and so of the place of its data.
        .with_hostname("gauntlet")
        .with_label(LABEL_RUN, run.as_str())
        .with_label(LABEL_OWNER, owner.to_string())
        .with_env_var("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", conf::VM)
        .with_copy_to("/etc/rabbitmq/conf.d/90-gauntlet.conf", conf::common().into_bytes())
        .with_copy_to("/etc/rabbitmq/enabled_plugins", conf::PLUGINS.as_bytes().to_vec());
    if let [amqp, management] = ports {
        let bindings = HashMap::from([binding(AMQP, amqp), binding(MANAGEMENT, management)]);
        request = request.with_host_config_modifier(move |host: &mut HostConfig| {
            host.publish_all_ports = Some(false);
            host.port_bindings = Some(bindings.clone());
        });
    }
    request
}

fn binding(inside: ContainerPort, outside: &Port) -> (String, Option<Vec<PortBinding>>) {
    let host_port = Some(outside.number.to_string());
    let binding = PortBinding { host_ip: Some("127.0.0.1".into()), host_port };
    (inside.to_string(), Some(vec![binding]))
}

/// Whether the engine could not have the port we chose for it.
fn port_taken(why: &str) -> bool {
    why.contains("port is already allocated") || why.contains("address already in use")
}

pub(crate) async fn remove(docker: &Docker, name: &str) -> Result<(), BrokerError> {
    let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
    match docker.remove_container(name, Some(options)).await {
        // Gone, or going already.
        Ok(()) | Err(Error::DockerResponseServerError { status_code: 404 | 409, .. }) => {}
        Err(error) => {
            let (what, container) = ("remove it".to_owned(), name.to_owned());
            return Err(BrokerError::Docker { what, container, why: error.to_string() });
        }
    }
    until("see the container go", ENGINE, || async {
        match docker.inspect_container(name, None::<InspectContainerOptions>).await {
            Err(Error::DockerResponseServerError { status_code: 404, .. }) => Ok(()),
            Ok(_) => Err(Not::Yet(format!("the container {name} is still there"))),
            Err(error) => Err(Not::Ever(error.to_string())),
        }
    })
    .await
}

/// Whether a container of this image could be had.
pub(super) async fn available(image: &str, tag: &str) -> Result<(), BrokerError> {
    let docker = docker::reach().await?;
    docker::has_or_can_pull(&docker, &format!("{image}:{tag}")).await
}

/// Removes the containers of dead runs, and says how many.
pub(super) async fn sweep() -> usize {
    let Ok(docker) = docker::reach().await else { return 0 };
    let filters = HashMap::from([("label".to_owned(), vec![LABEL_OWNER.to_owned()])]);
    let options = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
    let mut swept = 0;
    for container in docker.list_containers(Some(options)).await.unwrap_or_default() {
        let owner =
            container.labels.as_ref().and_then(|labels| Owner::parse(labels.get(LABEL_OWNER)?));
        let (Some(id), Some(owner)) = (container.id, owner) else { continue };
        if owner.fate() != Fate::Dead {
            continue;
        }
        match remove(&docker, &id).await {
            Ok(()) => swept += 1,
            Err(error) => tracing::warn!(%error, "a container cannot be swept"),
        }
    }
    swept
}

/// An error with its causes.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.fold(error.to_string(), |said, cause| {
        let cause = cause.to_string();
        if said.contains(&cause) { said } else { format!("{said}: {cause}") }
    })
}
