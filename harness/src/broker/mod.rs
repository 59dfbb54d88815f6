//! The broker a run consumes from: starting one, taking it down and up again, and looking inside.
//!
//! ```text
//! BrokerSpec --start--> Broker --create_vhost, url--> a scenario --down, up, close_connections--> ... --stop--> nothing left
//! ```
//!
//! One [`Broker`] serves many scenarios at once, each in a virtual host of its own. Everything a broker leaves on
//! the machine carries the id of its run and of the process that drives it ([`owner`]); it is removed by
//! [`Broker::stop`], else by its [`reaper`] as soon as that process is gone, else by the next run's [`sweep`].
//!
//! What a broker is told is in [`conf`]. Links between subject and broker are not made here.

mod available;
mod conf;
pub(crate) mod container;
pub(crate) mod docker;
mod embedded;
mod error;
mod external;
pub mod fault;
mod hello;
mod local;
mod look;
mod management;
mod owner;
pub(crate) mod place;
mod ports;
pub(crate) mod reaper;
mod server;
mod spec;
mod sweep;
mod url;
pub(crate) mod wait;

use std::net::SocketAddr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::time::Instant;

pub use available::{available, choose};
pub use error::BrokerError;
pub use gauntlet_judge::broker_fault::BrokerFault;
pub use look::{ChannelInfo, ConnectionInfo, ConsumerInfo, Look, QueueInfo};
pub use owner::RunId;
pub(crate) use owner::{is_of_the_dead, owned};
pub(crate) use place::{Mark, SUBJECT_VARIABLE, make_root, remove_root_if_empty};
pub(crate) use ports::Lease;
pub(crate) use reaper::Reaper;
pub use spec::BrokerSpec;
pub use sweep::{Swept, sweep};

use container::Container;
use embedded::Embedded;
use external::External;
use local::Local;
use management::Management;
use wait::{Not, until, with_log};

/// From nothing to an answer. A node was seen to take 10 s on a busy machine with two cores.
const BOOT: Duration = Duration::from_secs(120);
/// From an answer to AMQP until the management API answers too.
const MANAGEMENT: Duration = Duration::from_secs(30);
/// Of the log, in errors.
const LINES: usize = 15;
/// A port can be taken between being found free and being used.
const TRIES: usize = 3;
/// While it does not answer, whether it is there at all is looked at with every so many tries.
const LOOK_EVERY: u32 = 25;

/// How a broker goes down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restart {
    /// The application stops, the node stays (`rabbitmqctl stop_app`).
    App,
    /// The node is asked to stop (SIGTERM).
    Graceful,
    /// The node is killed (SIGKILL).
    Kill,
}

/// A broker that answers.
///
/// Dropping it without [`Broker::stop`] removes it too, but nobody hears of an error.
pub struct Broker {
    node: Node,
    user: String,
    password: String,
    /// Or why there is none.
    management: Result<Management, String>,
    version: OnceLock<String>,
}

enum Node {
    Embedded(Embedded),
    Container(Box<Container>),
    Local(Box<Local>),
    External(SocketAddr),
}

impl Broker {
    /// Starts one and waits until it answers, to AMQP and to the management API. First sweeps ([`sweep`]).
    pub async fn start(spec: &BrokerSpec, run: &RunId) -> Result<Broker, BrokerError> {
        if *spec != BrokerSpec::Embedded {
            sweep().await;
        }
        let chosen;
        let spec = match spec {
            BrokerSpec::Auto => {
                chosen = choose().await?;
                &chosen
            }
            named => named,
        };
        match spec {
            BrokerSpec::Embedded => {
                let broker = Broker {
                    node: Node::Embedded(Embedded::start()?),
                    user: embedded::USER.to_owned(),
                    password: embedded::USER.to_owned(),
                    management: Err("the embedded broker is asked itself".to_owned()),
                    version: OnceLock::new(),
                };
                broker.ready(BOOT).await?;
                Ok(broker)
            }
            BrokerSpec::External { url, management } => {
                let found = Box::pin(External::find(url, management.as_deref())).await?;
                let broker = Broker {
                    node: Node::External(found.addr),
                    user: found.url.user,
                    password: found.url.password,
                    management: found.management,
                    version: OnceLock::new(),
                };
                broker.ready(BOOT).await?;
                if let Ok(management) = &broker.management {
                    external::sweep(management).await;
                }
                Ok(broker)
            }
            BrokerSpec::Container { image, tag } => {
                let container = Box::pin(Container::start(image, tag, run)).await?;
                Broker::answering(Node::Container(Box::new(container))).await
            }
            BrokerSpec::Local { server } => {
                let programs = server::find(server.as_deref())?;
                let mut tries = 1;
                loop {
                    let answering = match Local::start(programs.clone(), run).await {
                        Ok(local) => Broker::answering(Node::Local(Box::new(local))).await,
                        Err(error) => Err(error),
                    };
                    match answering {
                        Err(error) if tries < TRIES && local::port_taken(&error) => tries += 1,
                        other => return other,
                    }
                }
            }
            BrokerSpec::Auto => unreachable!("a choice names a kind"),
        }
    }

    /// Waits for a broker of our own; one that does not answer is removed.
    async fn answering(node: Node) -> Result<Broker, BrokerError> {
        let (user, password) = ("guest", "guest");
        let management = Management::new(&node.management(), (user, password))?;
        let broker = Broker {
            node,
            user: user.to_owned(),
            password: password.to_owned(),
            management: Ok(management),
            version: OnceLock::new(),
        };
        match broker.answers_all().await {
            Ok(_) => Ok(broker),
            Err(error) => {
                let tail = broker.logs_tail(LINES).await;
                if let Err(error) = broker.stop().await {
                    tracing::warn!(%error, "a broker that did not start cannot be removed");
                }
                Err(with_log(error, &tail))
            }
        }
    }

    /// `embedded`, `container`, `local` or `external`.
    pub fn kind(&self) -> &'static str {
        match self.node {
            Node::Embedded(_) => "embedded",
            Node::Container(_) => "container",
            Node::Local(_) => "local",
            Node::External(_) => "external",
        }
    }

    /// What it is, in words: `RabbitMQ 4.0.5 (container)`.
    pub async fn in_words(&self) -> String {
        let version = self.version().await;
        match self.node {
            Node::Embedded(_) => format!("embedded broker (as RabbitMQ {version})"),
            _ => format!("RabbitMQ {version} ({})", self.kind()),
        }
    }

    /// What the broker calls its version, or `unknown`.
    pub async fn version(&self) -> String {
        self.version.get().cloned().unwrap_or_else(|| "unknown".to_owned())
    }

    /// Where it speaks AMQP. The same after a restart, but for a container of a Docker engine elsewhere.
    pub fn addr(&self) -> SocketAddr {
        match &self.node {
            Node::Embedded(embedded) => embedded.amqp(),
            Node::Container(container) => container.amqp(),
            Node::Local(local) => local.amqp(),
            Node::External(addr) => *addr,
        }
    }

    /// Where another container on the engine's bridge finds it, if it is one.
    pub fn inside(&self) -> Option<SocketAddr> {
        match &self.node {
            Node::Container(container) => container.inside(),
            Node::Embedded(_) | Node::Local(_) | Node::External(_) => None,
        }
    }

    /// Whether it can be taken down and up.
    pub fn controllable(&self) -> bool {
        !matches!(self.node, Node::External(_))
    }

    /// The user and the password.
    pub fn credentials(&self) -> (String, String) {
        (self.user.clone(), self.password.clone())
    }

    /// An AMQP URL straight to the broker.
    pub fn url(&self, vhost: &str) -> String {
        url::amqp_url(self.addr(), (&self.user, &self.password), vhost)
    }

    /// How another process names this broker: as an external one; of an embedded one it has its own.
    pub fn as_external(&self) -> BrokerSpec {
        if let Node::Embedded(_) = self.node {
            return BrokerSpec::Embedded;
        }
        let management = self.management.as_ref().ok().map(Management::url);
        BrokerSpec::External { url: self.url("/"), management }
    }

    /// Creates a virtual host in which [`Broker::credentials`] may do everything. Safe to do many at once.
    pub async fn create_vhost(&self, name: &str) -> Result<(), BrokerError> {
        if let Node::Embedded(embedded) = &self.node {
            return embedded.create_vhost(name);
        }
        self.management("create a virtual host")?.create_vhost(name, &self.user).await
    }

    /// Deletes a virtual host and all in it; its connections are closed. One that is not there is no error.
    pub async fn delete_vhost(&self, name: &str) -> Result<(), BrokerError> {
        if let Node::Embedded(embedded) = &self.node {
            embedded.delete_vhost(name);
            return Ok(());
        }
        self.management("delete a virtual host")?.delete_vhost(name).await
    }

    /// A name for a virtual host of this run. Where the broker outlives this process it says whose it is, so that a later
    /// run can remove what this one could not.
    pub fn vhost_named(&self, name: &str) -> String {
        match self.node {
            Node::External(_) => owner::owned(name),
            _ => name.to_owned(),
        }
    }

    /// [`Broker::down`] and [`Broker::up`].
    pub async fn restart(&self, how: Restart) -> Result<(), BrokerError> {
        self.down(how).await?;
        self.up().await.map(|_instant| ())
    }

    /// Takes it down. When this returns nothing answers any more, and messages on disk are as they were left. By
    /// [`Restart::Graceful`] connections end at once, the process only seconds later (3.10: 6 s, 4.0: 2 s).
    pub async fn down(&self, how: Restart) -> Result<(), BrokerError> {
        match &self.node {
            Node::Embedded(embedded) => {
                embedded.down(how).await;
                Ok(())
            }
            Node::Container(container) => Box::pin(container.down(how)).await,
            Node::Local(local) => local.down(how).await,
            Node::External(_) => Err(self.not_ours("take the broker down")),
        }
    }

    /// Brings it up again, and says when it answered AMQP. One that is up is left as it is.
    pub async fn up(&self) -> Result<Instant, BrokerError> {
        let bring = async {
            match &self.node {
                Node::Embedded(embedded) => {
                    embedded.up().await;
                    Ok(())
                }
                Node::Container(container) => Box::pin(container.up()).await,
                Node::Local(local) => local.up().await,
                Node::External(_) => Err(self.not_ours("bring the broker up")),
            }
        };
        // What starts it may return only some time after the port answers: `rabbitmqctl start_app` does.
        let meanwhile = until("see it answer", BOOT, || async {
            let hello = hello::hello(self.addr()).await;
            hello.map(|_| Instant::now()).map_err(Not::Yet)
        });
        tokio::pin!(bring, meanwhile);
        let mut seen = None;
        loop {
            tokio::select! {
                brought = &mut bring => break brought?,
                answer = &mut meanwhile, if seen.is_none() => seen = Some(answer),
            }
        }
        let seen = seen.and_then(Result::ok);
        if let Ok(management) = &self.management {
            management.set_base(&self.node.management());
        }
        match self.answers_all().await {
            Ok(answered) => Ok(seen.unwrap_or(answered)),
            Err(error) => Err(with_log(error, &self.logs_tail(LINES).await)),
        }
    }

    /// Waits until AMQP answers, and says how long that took.
    pub async fn ready(&self, deadline: Duration) -> Result<Duration, BrokerError> {
        let started = Instant::now();
        let tries = AtomicU32::new(0);
        let hello =
            until(&format!("get an answer of {} to AMQP", self.kind()), deadline, || async {
                let why = match hello::hello(self.addr()).await {
                    Ok(hello) => return Ok(hello),
                    Err(why) => why,
                };
                // Asking the container engine costs it more than a try costs the broker.
                match tries.fetch_add(1, Ordering::Relaxed).is_multiple_of(LOOK_EVERY) {
                    true => Err(self.node.gone().await.map_or(Not::Yet(why), Not::Ever)),
                    false => Err(Not::Yet(why)),
                }
            })
            .await?;
        if let Some(version) = hello.version {
            self.version.get_or_init(|| version);
        }
        Ok(started.elapsed())
    }

    async fn answers_all(&self) -> Result<Instant, BrokerError> {
        self.ready(BOOT).await?;
        let answered = Instant::now();
        if let Node::Embedded(_) = self.node {
            return Ok(answered);
        }
        let management = self.management("wait")?;
        let what =
            "get an answer of the management API (is the plugin rabbitmq_management in the image?)";
        until(what, MANAGEMENT, || async { management.answers().await.map_err(Not::Yet) }).await?;
        Ok(answered)
    }

    /// Closes the connections of a virtual host that the broker lists ([`Look::connections`]), giving a reason,
    /// and says how many. The clients get `connection.close` 320. One that is younger than the list is missed.
    pub async fn close_connections(&self, vhost: &str, reason: &str) -> Result<usize, BrokerError> {
        let mut closed = 0;
        for connection in self.connections(vhost).await? {
            closed += usize::from(self.close_connection(&connection.name, reason).await?);
        }
        Ok(closed)
    }

    /// Closes one connection by the broker's name for it; false if it is not there (any more).
    pub async fn close_connection(&self, name: &str, reason: &str) -> Result<bool, BrokerError> {
        match &self.node {
            Node::Embedded(embedded) => Ok(embedded.close_connection(name, reason)),
            _ => self.management("close a connection")?.close(name, reason).await,
        }
    }

    /// [`Look::connections`].
    pub async fn connections(&self, vhost: &str) -> Result<Vec<ConnectionInfo>, BrokerError> {
        match &self.node {
            Node::Embedded(embedded) => embedded.connections(vhost).await,
            _ => self.management("list connections")?.connections(vhost).await,
        }
    }

    /// [`Look::channels`].
    pub async fn channels(&self, vhost: &str) -> Result<Vec<ChannelInfo>, BrokerError> {
        match &self.node {
            Node::Embedded(embedded) => embedded.channels(vhost).await,
            _ => self.management("list channels")?.channels(vhost).await,
        }
    }

    /// [`Look::consumers`].
    pub async fn consumers(&self, vhost: &str) -> Result<Vec<ConsumerInfo>, BrokerError> {
        match &self.node {
            Node::Embedded(embedded) => embedded.consumers(vhost).await,
            _ => self.management("list consumers")?.consumers(vhost).await,
        }
    }

    /// [`Look::queue`].
    pub async fn queue(&self, vhost: &str, queue: &str) -> Result<Option<QueueInfo>, BrokerError> {
        match &self.node {
            Node::Embedded(embedded) => embedded.queue(vhost, queue).await,
            _ => self.management("look at a queue")?.queue(vhost, queue).await,
        }
    }

    /// Removes it; nothing is left. An external one is left as it is. May be called more than once.
    pub async fn stop(&self) -> Result<(), BrokerError> {
        match &self.node {
            Node::Embedded(embedded) => {
                embedded.stop().await;
                Ok(())
            }
            Node::Container(container) => container.stop().await,
            Node::Local(local) => local.stop().await,
            Node::External(_) => Ok(()),
        }
    }

    /// The last lines of its log; nothing of an external one.
    pub async fn logs_tail(&self, lines: usize) -> String {
        match &self.node {
            Node::Container(container) => container.log(lines).await,
            Node::Local(local) => last_lines(&local.log().await, lines),
            Node::Embedded(_) | Node::External(_) => String::new(),
        }
    }

    /// The model, where the broker is one.
    pub(crate) fn model(&self) -> Option<&gauntlet_broker::Broker> {
        match &self.node {
            Node::Embedded(embedded) => Some(embedded.model()),
            _ => None,
        }
    }

    /// Has RabbitMQ's node evaluate an expression (`rabbitmqctl eval`).
    async fn eval(&self, expression: &str) -> Result<(), BrokerError> {
        match &self.node {
            Node::Container(container) => container.ctl(&["eval", expression]).await,
            Node::Local(local) => local.ctl(&["eval", expression]).await,
            Node::Embedded(_) | Node::External(_) => Err(self.not_ours("evaluate an expression")),
        }
    }

    fn management(&self, what: &str) -> Result<&Management, BrokerError> {
        self.management
            .as_ref()
            .map_err(|why| BrokerError::Unsupported { what: what.to_owned(), why: why.clone() })
    }

    fn not_ours(&self, what: &str) -> BrokerError {
        let why =
            format!("it is external ({}); use --broker container or --broker local", self.addr());
        BrokerError::Unsupported { what: what.to_owned(), why }
    }
}

impl Node {
    fn management(&self) -> String {
        match self {
            Node::Container(container) => container.management(),
            Node::Local(local) => local.management(),
            Node::Embedded(_) | Node::External(_) => String::new(),
        }
    }

    /// Why it will not answer any more, if that is so.
    async fn gone(&self) -> Option<String> {
        match self {
            Node::Container(container) => container.gone().await,
            Node::Local(local) => local.gone().await,
            Node::Embedded(_) | Node::External(_) => None,
        }
    }
}

fn last_lines(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}
