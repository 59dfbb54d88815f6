//! What a redelivery is recognised by: nothing, unless the user says what makes two deliveries the same message.
//!
//! Chooses the identity of one message. What was handled under it is `ledger.rs`.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use crate::message::Message;

type Of = dyn Fn(&Message) -> Option<String> + Send + Sync;

/// The user's choice of an identity; the default recognises nothing.
#[derive(Clone, Default)]
pub(crate) struct Identity(Option<Arc<Of>>);

impl Identity {
    pub(crate) fn by(of: impl Fn(&Message) -> Option<String> + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(of)))
    }

    /// Whether anything is recognised at all.
    pub(crate) fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// The identity of this message, if it can be trusted.
    pub(crate) fn of(&self, message: &Message) -> Option<String> {
        let of = self.0.as_ref()?;
        // With bytes replaced, two different messages can look the same.
        if !message.altered.is_empty() {
            return None;
        }
        // A panic here is the user's bug: handling the message again is the safe side of it.
        let identity = catch_unwind(AssertUnwindSafe(|| of(message)));
        identity.unwrap_or_else(|_| {
            tracing::error!(id = message.label(), "the identity function panicked");
            None
        })
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_on() { "Identity(chosen)" } else { "Identity(none)" })
    }
}
