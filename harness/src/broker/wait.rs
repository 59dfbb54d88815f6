//! Waiting on a condition, with a deadline whose error says what was still missing.

use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval, timeout_at};

use super::BrokerError;
use super::error::log_part;

/// How often a condition is looked at. Small beside a boot (seconds), large beside one attempt (a syscall or two).
const EVERY: Duration = Duration::from_millis(20);

/// Why an attempt did not succeed.
#[derive(Debug)]
pub(crate) enum Not {
    /// It may yet.
    Yet(String),
    /// It cannot any more.
    Ever(String),
}

/// Tries until it succeeds, cannot, or the deadline passes. `what` completes "failed to ...".
pub(crate) async fn until<T, F>(
    what: &str,
    deadline: Duration,
    mut attempt: impl FnMut() -> F,
) -> Result<T, BrokerError>
where
    F: Future<Output = Result<T, Not>>,
{
    let started = Instant::now();
    let mut missing = String::from("it was never tried");
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let tried = timeout_at(started + deadline, async {
        loop {
            ticks.tick().await;
            match attempt().await {
                Ok(it) => return Ok(it),
                Err(Not::Yet(why)) => missing = why,
                Err(Not::Ever(why)) => return Err(why),
            }
        }
    })
    .await;
    let missing = match tried {
        Ok(Ok(it)) => return Ok(it),
        Ok(Err(why)) => why,
        Err(_late) => missing,
    };
    let after = Duration::from_millis(started.elapsed().as_millis() as u64);
    Err(BrokerError::NotReady { what: what.to_owned(), after, missing, log: String::new() })
}

/// Adds the log's tail to an error of [`until`].
pub(crate) fn with_log(error: BrokerError, tail: &str) -> BrokerError {
    match error {
        BrokerError::NotReady { what, after, missing, .. } => {
            BrokerError::NotReady { what, after, missing, log: log_part(tail) }
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn check(fail: fn(u32) -> Option<Not>, expect: &str) {
        let mut tries = 0;
        let result = until("see it", Duration::from_millis(1990), || {
            tries += 1;
            std::future::ready(fail(tries).map_or(Ok(tries), Err))
        })
        .await;
        let said = result.map_or_else(|error| error.to_string(), |tries| format!("ok {tries}"));
        assert_eq!(said, expect);
    }

    #[tokio::test(start_paused = true)]
    async fn says_what_was_missing() {
        check(|_| None, "ok 1").await;
        check(|n| (n < 3).then(|| Not::Yet("soon".into())), "ok 3").await;
        check(
            |n| Some(Not::Yet(format!("try {n} failed"))),
            "see it: after 1s 990ms try 100 failed",
        )
        .await;
        check(|_| Some(Not::Ever("it is gone".into())), "see it: after 0s it is gone").await;
    }
}
