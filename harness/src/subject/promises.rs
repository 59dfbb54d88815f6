//! What a subject promises. What it does not promise is not held against it, and shows as such.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What a subject promises.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Promises {
    /// It comes back after trouble on its own.
    pub reconnects: bool,
    /// It settles a message only after handling it.
    pub at_least_once: bool,
    /// It does not repeat the effect of a message whose handling succeeded in this process.
    pub dedups: bool,
    /// When asked to stop it finishes what it began, settles it, and closes in order.
    pub drains: bool,
    /// It calls [`Job::handle`](super::Job::handle) for every message, so that handlings and effects are known.
    pub reports_handling: bool,
    /// It reports every attempt to connect.
    pub reports_attempts: bool,
    /// Its prefetch is the one it was told.
    pub prefetch: bool,
    /// It keeps to the heartbeat it was told.
    pub heartbeats: bool,
    /// How it spaces its attempts to connect.
    pub backoff: Option<BackoffPromise>,
    /// What it does when it is refused.
    pub refused: Refused,
}

/// How a subject spaces its attempts: the first retry at once when `first_at_once`, then
/// `min(cap, base * factor^k)` with jitter, k from 0.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackoffPromise {
    /// Whether the first retry after a connection that worked comes without delay.
    pub first_at_once: bool,
    /// First delay.
    pub base: Duration,
    /// Growth.
    pub factor: f64,
    /// Longest delay.
    pub cap: Duration,
    /// What is drawn at random.
    pub jitter: Jitter,
    /// Attempts without success after which it gives up.
    pub max_attempts: Option<u32>,
}

/// What of a delay is drawn at random.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Jitter {
    /// Nothing: always the whole delay.
    None,
    /// Anything from nothing to the whole delay.
    Full,
}

/// What a subject does when the broker refuses it (wrong password, unknown virtual host, no permission).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refused {
    /// It ends with an error that says so.
    GivesUp,
    /// It keeps trying, no faster than its backoff's cap allows.
    KeepsTrying,
}

impl Promises {
    /// What a good consumer promises; the default a subject is held to.
    pub fn all() -> Promises {
        Promises {
            reconnects: true,
            at_least_once: true,
            dedups: true,
            drains: true,
            reports_handling: true,
            reports_attempts: false,
            prefetch: true,
            heartbeats: true,
            backoff: None,
            refused: Refused::GivesUp,
        }
    }
}
