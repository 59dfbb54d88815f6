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
    /// It calls `Job::handle` for every message, so that handlings and effects are known.
    pub reports_handling: bool,
    /// It reports every attempt to connect.
    pub reports_attempts: bool,
    /// Its prefetch is the one it was told. Without this it is held to its own.
    pub prefetch: bool,
    /// It keeps to the heartbeat it was told.
    pub heartbeats: bool,
    /// How it spaces its attempts to connect.
    pub backoff: Option<BackoffPromise>,
    /// What it does when it is refused.
    pub refused: Refused,
    /// Its handlings are known as soon as it reports one, whatever `reports_handling` says.
    #[serde(default)]
    pub reports_when_seen: bool,
    /// It recovers within this, where that is longer than the scenario's bound.
    #[serde(default)]
    pub recovers_within: Option<Duration>,
    /// It notices a broker that fell silent within this, instead of three heartbeats and slack; a blackhole lasts
    /// long enough to tell.
    #[serde(default)]
    pub notices_within: Option<Duration>,
    /// It stops within this, where that is longer than the scenario's bound.
    #[serde(default)]
    pub stops_within: Option<Duration>,
    /// It serves its health truthfully.
    #[serde(default)]
    pub health: Option<HealthPromise>,
}

/// What a subject's health endpoint promises.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HealthPromise {
    /// The path to ask for.
    pub path: String,
    /// The statuses that say it is ready; none means 200 to 299.
    pub ready: Vec<u16>,
}

impl Default for HealthPromise {
    fn default() -> Self {
        HealthPromise { path: "/health".into(), ready: Vec::new() }
    }
}

impl HealthPromise {
    /// Whether this status says that it is ready.
    pub fn says_ready(&self, status: u16) -> bool {
        match self.ready.is_empty() {
            true => (200..300).contains(&status),
            false => self.ready.contains(&status),
        }
    }
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
    /// One of the two: it has not said.
    Either,
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
            reports_when_seen: false,
            recovers_within: None,
            notices_within: None,
            stops_within: None,
            health: None,
        }
    }

    /// What a command is held to when nothing else is said: what any service's consumer has to do. Libraries wait
    /// seconds between their attempts, so it is given time.
    pub fn of_a_process() -> Promises {
        Promises {
            dedups: false,
            reports_handling: false,
            prefetch: false,
            heartbeats: false,
            refused: Refused::Either,
            reports_when_seen: true,
            recovers_within: Some(Duration::from_secs(15)),
            stops_within: Some(Duration::from_secs(10)),
            ..Promises::all()
        }
    }

    /// The path of its health endpoint.
    pub fn health_path(&self) -> &str {
        self.health.as_ref().map_or("/health", |health| &health.path)
    }

    /// Whether what this checker decides is promised at all, and can be seen.
    pub fn cover(&self, checker: &str) -> bool {
        match checker {
            "I1" => self.at_least_once,
            "I5" | "I6" => self.at_least_once && self.reports_handling,
            "I8" => self.prefetch,
            "I11" => self.dedups && self.reports_handling,
            "I12" => self.reconnects,
            "I13" => self.backoff.is_some(),
            "I15" | "I16" => self.heartbeats,
            "I19" => self.drains,
            "I21" => self.health.is_some(),
            _ => true,
        }
    }
}
