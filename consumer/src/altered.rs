//! Deliveries of one connection that are not as they were published, from the wire to the session.
//!
//! The wire learns of them before lapin does, the session after; between the two they are kept here, by channel and
//! delivery tag. At most as many as are on their way: a session takes each out, and clears its channel first.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::readable::Fields;

/// What is not as it was, of which delivery.
#[derive(Debug, Default)]
pub(crate) struct Altered(Mutex<HashMap<(u16, u64), Fields>>);

impl Altered {
    /// The wire saw it.
    pub(crate) fn note(&self, channel: u16, tag: u64, fields: Fields) {
        self.lock().insert((channel, tag), fields);
    }

    /// What is not as it was of this delivery: nearly always nothing.
    pub(crate) fn take(&self, channel: u16, tag: u64) -> Fields {
        self.lock().remove(&(channel, tag)).unwrap_or_default()
    }

    /// The channel is opened: delivery tags start over.
    pub(crate) fn forget(&self, channel: u16) {
        self.lock().retain(|(of, _), _| *of != channel);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(u16, u64), Fields>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_taken_once_and_a_new_channel_knows_none() {
        let altered = Altered::default();
        altered.note(1, 1, vec!["headers"]);
        altered.note(1, 2, vec!["message_id"]);
        altered.note(2, 1, vec!["app_id"]);
        assert_eq!(altered.take(1, 1), ["headers"]);
        assert!(altered.take(1, 1).is_empty());
        altered.forget(1);
        assert!(altered.take(1, 2).is_empty());
        assert_eq!(altered.take(2, 1), ["app_id"]);
    }
}
