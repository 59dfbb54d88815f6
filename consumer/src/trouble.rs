//! What went wrong, in the words an operator needs, and how to treat it.
//!
//! Pure classification of lapin's errors by the step that met them. It decides nothing about waiting
//! or giving up: the supervisor and the workers do, by [`ConsumeError::treatment`].

use std::{fmt, time::Duration};

use lapin::ErrorKind;
use serde::Serialize;

/// A step on the way to consuming; each has its deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Phase {
    /// Resolving the name.
    Resolve,
    /// TCP connect.
    Tcp,
    /// TLS handshake.
    Tls,
    /// AMQP start, tune, open.
    Handshake,
    /// channel.open.
    Channel,
    /// basic.qos.
    Qos,
    /// basic.consume.
    Consume,
    /// Consuming: the steady state.
    Steady,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Resolve => "resolving the host name",
            Self::Tcp => "the TCP connect",
            Self::Tls => "the TLS handshake",
            Self::Handshake => "the AMQP handshake",
            Self::Channel => "channel.open",
            Self::Qos => "basic.qos",
            Self::Consume => "basic.consume",
            Self::Steady => "consuming",
        })
    }
}

/// How a [`ConsumeError`] is to be treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryClass {
    /// Passes by itself: try again with backoff.
    Transient,
    /// A setting or a permission is wrong: slow and loud, by the refusal policy.
    Refusal,
    /// The queue is not there: it may come back; by the missing-queue policy.
    MissingQueue,
}

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
#[non_exhaustive]
pub enum ConsumeError {
    /// The network: refused, reset, unreachable, closed.
    #[error("network trouble during {phase}: {text}")]
    Network {
        /// The step that met it.
        phase: Phase,
        /// The error.
        text: String,
    },
    /// No answer within the step's deadline.
    #[error("no answer within {limit:?} during {phase}")]
    Timeout {
        /// The step that waited.
        phase: Phase,
        /// Its deadline.
        limit: Duration,
    },
    /// The peer went silent: half-open connection.
    #[error("nothing heard from the broker for {silence:?} (heartbeat {heartbeat:?})")]
    Silent {
        /// How long nothing came.
        silence: Duration,
        /// The negotiated heartbeat.
        heartbeat: Duration,
    },
    /// Wrong user or password.
    #[error("login refused by the broker (wrong user or password?): {text}")]
    Login {
        /// The broker's words.
        text: String,
    },
    /// The virtual host does not exist or the user may not enter it.
    #[error("no access to virtual host (does it exist, may the user enter it?): {text}")]
    VirtualHost {
        /// The broker's words.
        text: String,
    },
    /// A permission on the queue is missing.
    #[error("permission missing: {text}")]
    Permission {
        /// The broker's words.
        text: String,
    },
    /// The queue does not exist.
    #[error("queue missing: {text}")]
    MissingQueue {
        /// The broker's words.
        text: String,
    },
    /// The broker refuses the arguments of qos or consume.
    #[error("the broker refuses the request: {text}")]
    Arguments {
        /// The broker's words.
        text: String,
    },
    /// The queue is held by another connection, perhaps our own dead one.
    #[error("queue locked by another connection: {text}")]
    Locked {
        /// The broker's words.
        text: String,
    },
    /// An operator or the broker's shutdown closed the connection.
    #[error("connection closed by the broker: {text}")]
    Forced {
        /// The broker's words.
        text: String,
    },
    /// The server cancelled the consumer: queue deleted, its node gone, or a timeout.
    #[error("consumer cancelled by the broker")]
    Cancelled,
    /// The peer sends more than it was allowed: what it sends has no bound.
    #[error("the broker has more than the prefetch of {prefetch} unacknowledged on one channel")]
    Overrun {
        /// The prefetch that it had confirmed.
        prefetch: u16,
    },
    /// Any other error the broker or lapin reports.
    #[error("protocol error {code}: {text}")]
    Protocol {
        /// AMQP reply code, 0 when there is none.
        code: u16,
        /// The words.
        text: String,
    },
}

impl ConsumeError {
    /// Classify an error of lapin, met in `phase`.
    pub fn from_lapin(error: &lapin::Error, phase: Phase) -> Self {
        match error.kind() {
            ErrorKind::ProtocolError(error) => {
                Self::from_reply(error.get_id(), error.get_message().as_str(), phase)
            }
            ErrorKind::IOError(error) => Self::from_io(error, phase),
            ErrorKind::MissingHeartbeatError => {
                Self::Network { phase, text: "missed heartbeats".to_owned() }
            }
            ErrorKind::InvalidConnectionState(_)
            | ErrorKind::InvalidChannelState(..)
            | ErrorKind::InvalidChannel(_)
            | ErrorKind::RuntimeShutdownError(_) => {
                Self::Network { phase, text: error.to_string() }
            }
            _ => Self::Protocol { code: 0, text: error.to_string() },
        }
    }

    /// Classify an I/O error met in `phase`.
    pub fn from_io(error: &std::io::Error, phase: Phase) -> Self {
        Self::Network { phase, text: error.to_string() }
    }

    /// Classify an AMQP reply code and text, met in `phase`.
    pub fn from_reply(code: u16, text: &str, phase: Phase) -> Self {
        let starting = matches!(phase, Phase::Channel | Phase::Qos | Phase::Consume);
        let text = format!("{code} {text}");
        match (code, phase) {
            (403, Phase::Handshake) => Self::Login { text },
            (403, _) => Self::Permission { text },
            // A limit on connections or channels passes when others leave.
            (530, _) if text.contains("limit") => Self::Protocol { code, text },
            (530, Phase::Handshake) => Self::VirtualHost { text },
            (404, _) => Self::MissingQueue { text },
            (405, _) => Self::Locked { text },
            (406 | 530 | 540, _) if starting => Self::Arguments { text },
            (320, _) => Self::Forced { text },
            _ => Self::Protocol { code, text },
        }
    }

    /// How to treat it.
    pub fn treatment(&self) -> RetryClass {
        match self {
            Self::Login { .. }
            | Self::VirtualHost { .. }
            | Self::Permission { .. }
            | Self::Arguments { .. } => RetryClass::Refusal,
            Self::MissingQueue { .. } => RetryClass::MissingQueue,
            _ => RetryClass::Transient,
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(
        403,
        "ACCESS_REFUSED - Login was refused",
        Phase::Handshake,
        "login refused",
        RetryClass::Refusal
    )]
    #[case(
        530,
        "NOT_ALLOWED - vhost nope not found",
        Phase::Handshake,
        "no access to virtual host",
        RetryClass::Refusal
    )]
    #[case(
        530,
        "NOT_ALLOWED - access to vhost '/' refused: connection limit (5) is reached",
        Phase::Handshake,
        "protocol error 530",
        RetryClass::Transient
    )]
    #[case(
        541,
        "INTERNAL_ERROR - vhost '/' is down",
        Phase::Handshake,
        "protocol error 541",
        RetryClass::Transient
    )]
    #[case(
        403,
        "ACCESS_REFUSED - read access to queue",
        Phase::Consume,
        "permission missing",
        RetryClass::Refusal
    )]
    #[case(
        404,
        "NOT_FOUND - no queue 'q'",
        Phase::Consume,
        "queue missing",
        RetryClass::MissingQueue
    )]
    #[case(405, "RESOURCE_LOCKED", Phase::Consume, "queue locked", RetryClass::Transient)]
    #[case(
        406,
        "PRECONDITION_FAILED - invalid arg",
        Phase::Consume,
        "refuses the request",
        RetryClass::Refusal
    )]
    #[case(540, "NOT_IMPLEMENTED", Phase::Qos, "refuses the request", RetryClass::Refusal)]
    #[case(
        406,
        "PRECONDITION_FAILED - delivery acknowledgement timed out",
        Phase::Steady,
        "protocol error 406",
        RetryClass::Transient
    )]
    #[case(
        320,
        "CONNECTION_FORCED - broker forced connection closure",
        Phase::Steady,
        "closed by the broker",
        RetryClass::Transient
    )]
    #[case(504, "CHANNEL_ERROR", Phase::Steady, "protocol error 504", RetryClass::Transient)]
    fn replies(
        #[case] code: u16,
        #[case] text: &str,
        #[case] phase: Phase,
        #[case] words: &str,
        #[case] treatment: RetryClass,
    ) {
        let trouble = ConsumeError::from_reply(code, text, phase);
        assert!(trouble.to_string().contains(words), "{trouble}");
        assert!(trouble.to_string().contains(text), "{trouble}");
        assert_eq!(trouble.treatment(), treatment);
    }

    #[rstest]
    #[case(std::io::ErrorKind::ConnectionRefused, Phase::Tcp)]
    #[case(std::io::ErrorKind::ConnectionReset, Phase::Steady)]
    #[case(std::io::ErrorKind::ConnectionAborted, Phase::Handshake)]
    fn io_errors_are_network_trouble(#[case] kind: std::io::ErrorKind, #[case] phase: Phase) {
        let trouble = ConsumeError::from_lapin(&std::io::Error::from(kind).into(), phase);
        assert!(
            matches!(&trouble, ConsumeError::Network { phase: p, .. } if *p == phase),
            "{trouble}"
        );
        assert_eq!(trouble.treatment(), RetryClass::Transient);
    }

    #[test]
    fn missed_heartbeats_are_network_trouble() {
        let error = lapin::Error::from(ErrorKind::MissingHeartbeatError);
        assert_eq!(
            ConsumeError::from_lapin(&error, Phase::Steady).treatment(),
            RetryClass::Transient
        );
    }
}
