//! Durations as people write them, in files and records: `"100ms"`, `"1m 30s"`.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serializer, de::Error};

/// Writes it.
pub fn serialize<S: Serializer>(duration: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(&humantime::format_duration(*duration))
}

/// Reads it, or quotes what it is not.
pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    let given = String::deserialize(from)?;
    humantime::parse_duration(&given).map_err(|why| {
        D::Error::custom(format!("bad duration `{given}`: {why}; write it like `200ms` or `3s`"))
    })
}

/// The same for a duration that may be absent.
pub mod option {
    use super::{Deserializer, Duration, Serializer};

    /// Writes it.
    pub fn serialize<S: Serializer>(to: &Option<Duration>, s: S) -> Result<S::Ok, S::Error> {
        match to {
            Some(duration) => super::serialize(duration, s),
            None => s.serialize_none(),
        }
    }

    /// Reads it.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
        super::deserialize(from).map(Some)
    }
}
