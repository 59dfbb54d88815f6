//! What can go wrong with a broker, in words that name the next step. Every message completes "failed to ...".

use std::time::Duration;

/// An error of [`Broker`](super::Broker) or [`BrokerSpec`](super::BrokerSpec).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BrokerError {
    /// The words given for a broker mean nothing.
    #[error("understand the broker '{input}': {why}")]
    Spec {
        /// What was given.
        input: String,
        /// What is wrong with it, and what would be right.
        why: String,
    },
    /// `auto` found nothing to run a broker with.
    #[error(
        "find a broker on this machine: {tried}; install Docker or RabbitMQ, or use --broker amqp://HOST"
    )]
    NoBroker {
        /// Each kind, and why it is not to be had.
        tried: String,
    },
    /// The Docker engine does not answer.
    #[error(
        "reach docker: {why}; install or start Docker (DOCKER_HOST says where it is), or use --broker local / --broker amqp://HOST"
    )]
    NoDocker {
        /// What the attempt said.
        why: String,
    },
    /// The image is neither here nor to be had.
    #[error(
        "get the image '{image}': {why}; check its name, or where no registry can be reached make it with images/build.sh"
    )]
    Image {
        /// The image and its tag.
        image: String,
        /// What the engine said.
        why: String,
    },
    /// No `rabbitmq-server` on this machine.
    #[error(
        "find rabbitmq-server (looked at {looked}); install the package rabbitmq-server, set GAUNTLET_RABBITMQ_SERVER to its path, or use --broker container"
    )]
    NoServer {
        /// Where it was sought.
        looked: String,
    },
    /// A condition did not come true in time, or cannot any more.
    #[error("{what}: after {} {missing}{log}", humantime::format_duration(*after))]
    NotReady {
        /// What was being done.
        what: String,
        /// How long it was waited for.
        after: Duration,
        /// What was still missing.
        missing: String,
        /// The last lines of the broker's log, with a heading, or nothing.
        log: String,
    },
    /// The management API refused, or was not there.
    #[error("{what} by the management API: {why}")]
    Management {
        /// What was asked for.
        what: String,
        /// What it answered.
        why: String,
    },
    /// This kind of broker cannot do that.
    #[error("{what}: {why}")]
    Unsupported {
        /// What was asked for.
        what: String,
        /// Why it is unavailable here.
        why: String,
    },
    /// The Docker engine refused.
    #[error("{what} (container {container}): {why}")]
    Docker {
        /// What was being done.
        what: String,
        /// The container's name.
        container: String,
        /// What the engine said.
        why: String,
    },
    /// A command of the broker's own tools failed.
    #[error("run '{command}': {why}")]
    Command {
        /// The command line.
        command: String,
        /// Its exit and output.
        why: String,
    },
    /// The operating system refused.
    #[error("{what}: {source}")]
    Io {
        /// What was being done, to which file or process.
        what: String,
        /// What it said.
        source: std::io::Error,
    },
}

/// For `map_err`: an [`BrokerError::Io`] that says what was being done.
pub(super) fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> BrokerError {
    let what = what.into();
    move |source| BrokerError::Io { what, source }
}

/// A log's last lines as the end of an error message.
pub(super) fn log_part(tail: &str) -> String {
    if tail.trim().is_empty() {
        String::new()
    } else {
        format!("\nthe last lines of the broker's log:\n{}", tail.trim_end())
    }
}
