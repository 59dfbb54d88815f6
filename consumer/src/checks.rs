//! What makes a setting usable: both sides of every bound, before any I/O.

use std::time::Duration;

use crate::{
    backoff::Backoff,
    builder::ConfigError,
    endpoint::Endpoint,
    settings::{Deadlines, OnMissingQueue, Settings},
};

pub(crate) fn refuse<T>(
    setting: &'static str,
    input: impl ToString,
    why: impl Into<String>,
) -> Result<T, ConfigError> {
    Err(ConfigError { setting, input: input.to_string(), why: why.into() })
}

/// The heartbeat to ask for: the setting, else the URL's, else 10 s.
pub(crate) fn heartbeat(
    asked: Option<Duration>,
    off: bool,
    endpoints: &[Endpoint],
) -> Result<u16, ConfigError> {
    if off {
        return Ok(0);
    }
    let from_url = endpoints.iter().find_map(|endpoint| endpoint.uri.query.heartbeat);
    let seconds = match (asked, from_url) {
        (Some(asked), _) if asked.subsec_nanos() != 0 => {
            return refuse("heartbeat", format!("{asked:?}"), "must be whole seconds");
        }
        (Some(asked), _) => asked.as_secs(),
        (None, Some(seconds)) => u64::from(seconds),
        (None, None) => 10,
    };
    match u16::try_from(seconds) {
        Ok(0) => refuse(
            "heartbeat",
            "0",
            "would leave dead connections unnoticed; no_heartbeat() insists",
        ),
        Ok(seconds) => Ok(seconds),
        Err(_) => refuse("heartbeat", seconds, "at most 65535 s"),
    }
}

/// Frames the connection has room for, in lapin's buffers; at the largest frame they take 64 MiB.
const FRAMES: std::ops::RangeInclusive<u32> = 8 * 1024..=1024 * 1024;
/// About 1 GB with identities of usual length.
const LONGEST_WINDOW: usize = 10_000_000;

/// A frame size, from the setting or the URL.
pub(crate) fn check_frame_max(frame_max: u32) -> Result<(), ConfigError> {
    if FRAMES.contains(&frame_max) {
        return Ok(());
    }
    let (least, most) = (FRAMES.start(), FRAMES.end());
    let why = format!(
        "must be {least} to {most}: a connection holds buffers of 64 frames. Messages may be larger than a frame"
    );
    refuse("frame_max", frame_max, why)
}

/// The URL's limit on channels; 0 is the broker's.
pub(crate) fn check_channel_max(
    channel_max: Option<u16>,
    workers: usize,
) -> Result<(), ConfigError> {
    match channel_max {
        Some(max) if max > 0 && usize::from(max) < workers => {
            let why = format!("is less than the {workers} workers, and each has a channel");
            refuse("channel_max", max, why)
        }
        _ => Ok(()),
    }
}

/// Check everything that is no URL.
pub(crate) fn check(settings: &Settings) -> Result<(), ConfigError> {
    let short = |text: &str| text.len() <= 255 && !text.is_empty();
    if !short(&settings.queue) {
        return refuse("queue", &settings.queue, "must be 1 to 255 bytes long");
    }
    if !short(&settings.name) || settings.name.len() > 200 {
        return refuse("name", &settings.name, "must be 1 to 200 bytes long");
    }
    if !(1..=2047).contains(&settings.workers) {
        return refuse("workers", settings.workers, "must be 1 to 2047: each has a channel");
    }
    if settings.prefetch == 0 {
        return refuse("prefetch", 0, "0 is unlimited: a slow worker would take the whole queue");
    }
    if !(1..=usize::from(settings.prefetch)).contains(&settings.concurrency) {
        let why = format!("must be 1 to the prefetch, {}", settings.prefetch);
        return refuse("concurrency", settings.concurrency, why);
    }
    if settings.exclusive && settings.workers > 1 {
        return refuse("workers", settings.workers, "an exclusive consumer has one worker");
    }
    if settings.dedup_window > LONGEST_WINDOW {
        let why = format!("must be at most {LONGEST_WINDOW}: each identity takes memory");
        return refuse("dedup_window", settings.dedup_window, why);
    }
    check_frame_max(settings.frame_max)?;
    if settings.start_attempts == Some(0) {
        return refuse("start_attempts", 0, "must be at least 1");
    }
    if settings.on_missing_queue == OnMissingQueue::GiveUpAfter(0) {
        return refuse("on_missing_queue", 0, "must allow at least 1 attempt");
    }
    if settings.retry.attempts == 0 {
        return refuse("retry", 0, "must allow at least 1 run of the handler");
    }
    check_backoff("backoff", &settings.backoff)?;
    check_backoff("channel_backoff", &settings.channel_backoff)?;
    check_backoff("retry", &settings.retry.backoff)?;
    check_deadlines(settings)
}

fn check_backoff(setting: &'static str, backoff: &Backoff) -> Result<(), ConfigError> {
    if !(0.0..=1.0).contains(&backoff.jitter) {
        return refuse(setting, backoff.jitter, "jitter must be 0 to 1");
    }
    if !(1.0..=100.0).contains(&backoff.factor) {
        return refuse(setting, backoff.factor, "factor must be 1 to 100");
    }
    if backoff.base.is_zero() || backoff.base > backoff.cap {
        let input = format!("{:?}..{:?}", backoff.base, backoff.cap);
        return refuse(setting, input, "base must be above 0 and at most the cap");
    }
    if backoff.max_attempts == Some(0) {
        return refuse(setting, 0, "max_attempts must be at least 1");
    }
    Ok(())
}

fn check_deadlines(settings: &Settings) -> Result<(), ConfigError> {
    let Deadlines { tcp, tls, handshake, channel, qos, consume, ack, close, drain: _ } =
        settings.deadlines;
    let all = [
        ("deadline tcp", tcp),
        ("deadline tls", tls),
        ("deadline handshake", handshake),
        ("deadline channel", channel),
        ("deadline qos", qos),
        ("deadline consume", consume),
        ("deadline ack", ack),
        ("deadline close", close),
        ("handler_deadline", settings.handler_deadline.unwrap_or(Duration::MAX)),
    ];
    let handler = settings.handler_deadline.unwrap_or_default();
    match settings.stuck_after {
        Some(limit) if limit.is_zero() || limit < handler => {
            let why = "must be above 0 and at least the handler's deadline";
            return refuse("stuck_after", format!("{limit:?}"), why);
        }
        _ => {}
    }
    match all.into_iter().find(|(_, deadline)| deadline.is_zero()) {
        Some((setting, zero)) => refuse(setting, format!("{zero:?}"), "must be above 0"),
        None => Ok(()),
    }
}
