//! Promises as a file says them: every key may be left out, and then says what a command is held to anyway.

use std::time::Duration;

use gauntlet_faults::duration;
use serde::Deserialize;

use crate::promises::{BackoffPromise, HealthPromise, Jitter, Promises, Refused};
use crate::scenario::nearest_hint;

/// Promises that cannot be read: what is wrong, with the nearest name.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct PromisesError(String);

/// What a file may say.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Promised {
    /// [`Promises::reconnects`]
    pub reconnects: Option<bool>,
    /// [`Promises::at_least_once`]
    pub at_least_once: Option<bool>,
    /// [`Promises::dedups`]
    pub dedups: Option<bool>,
    /// [`Promises::drains`]
    pub drains: Option<bool>,
    /// [`Promises::reports_handling`]
    pub reports: Option<bool>,
    /// [`Promises::prefetch`]
    pub prefetch: Option<bool>,
    /// [`Promises::heartbeats`]
    pub heartbeats: Option<bool>,
    /// [`Promises::refused`]
    pub refused: Option<Refused>,
    /// [`Promises::recovers_within`]
    #[serde(with = "duration::option")]
    pub recovers_within: Option<Duration>,
    /// [`Promises::notices_within`]
    #[serde(with = "duration::option")]
    pub notices_within: Option<Duration>,
    /// [`Promises::stops_within`]
    #[serde(with = "duration::option")]
    pub stops_within: Option<Duration>,
    /// [`Promises::health`]
    pub health: Option<HealthPromise>,
    /// [`Promises::backoff`]
    pub backoff: Option<Backoff>,
}

/// [`BackoffPromise`], as a file says it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Backoff {
    #[serde(default)]
    first_at_once: bool,
    #[serde(with = "duration")]
    base: Duration,
    #[serde(default = "twice")]
    factor: f64,
    #[serde(with = "duration")]
    cap: Duration,
    #[serde(default = "full")]
    jitter: Jitter,
    max_attempts: Option<u32>,
}

fn twice() -> f64 {
    2.0
}

fn full() -> Jitter {
    Jitter::Full
}

impl Promised {
    /// Reads a file's text.
    pub fn parse(text: &str) -> Result<Promised, PromisesError> {
        toml::from_str(text).map_err(|e| {
            PromisesError(format!("{}{}", e.to_string().trim_end(), nearest_hint(e.message())))
        })
    }

    /// What is said here instead of what is said there.
    pub fn over(self, base: Promises) -> Promises {
        let backoff = self.backoff.map(|b| BackoffPromise {
            first_at_once: b.first_at_once,
            base: b.base,
            factor: b.factor,
            cap: b.cap,
            jitter: b.jitter,
            max_attempts: b.max_attempts,
        });
        Promises {
            reconnects: self.reconnects.unwrap_or(base.reconnects),
            at_least_once: self.at_least_once.unwrap_or(base.at_least_once),
            dedups: self.dedups.unwrap_or(base.dedups),
            drains: self.drains.unwrap_or(base.drains),
            reports_handling: self.reports.unwrap_or(base.reports_handling),
            prefetch: self.prefetch.unwrap_or(base.prefetch),
            heartbeats: self.heartbeats.unwrap_or(base.heartbeats),
            refused: self.refused.unwrap_or(base.refused),
            recovers_within: self.recovers_within.or(base.recovers_within),
            notices_within: self.notices_within.or(base.notices_within),
            stops_within: self.stops_within.or(base.stops_within),
            health: self.health.or(base.health),
            backoff: backoff.or(base.backoff),
            ..base
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_is_what_a_command_is_held_to() {
        let empty = Promised::parse("").expect("valid").over(Promises::of_a_process());
        assert_eq!(empty, Promises::of_a_process());
        let text = "dedups = true\nreconnects = false\nrecovers_within = \"3s\"\n[health]\npath = \"/up\"\n[backoff]\nbase = \"1s\"\ncap = \"1m\"\n";
        let said = Promised::parse(text).expect("valid").over(Promises::of_a_process());
        assert!(said.dedups && !said.reconnects && said.drains);
        assert_eq!(said.recovers_within, Some(Duration::from_secs(3)));
        assert_eq!(said.health_path(), "/up");
        assert_eq!(said.backoff.map(|b| (b.factor, b.cap.as_secs())), Some((2.0, 60)));
    }

    #[test]
    fn what_is_wrong_is_quoted_with_the_nearest_name() {
        let error = |text| Promised::parse(text).expect_err("refused").to_string();
        assert!(error("dedup = true").contains("did you mean `dedups`?"));
        assert!(error("recovers_within = \"soon\"").contains("bad duration `soon`"));
    }
}
