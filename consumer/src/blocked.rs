//! Recognises `connection.blocked` and `connection.unblocked`, which the filter takes out of the incoming bytes.
//!
//! They tell publishers to pause. lapin then stops writing altogether, acknowledgements and
//! heartbeats included (io_loop.rs, `can_write`), so the broker would take a blocked consumer for
//! dead. A consumer has nothing to pause.

use crate::filter::Notice;

/// The notice that a method's payload is, if it is one.
pub(crate) fn notice(channel: u16, payload: &[u8]) -> Option<Notice> {
    match (channel, payload) {
        (0, [0, 10, 0, 60, reason @ ..]) => {
            // The reason: a length byte, the text.
            let reason = reason.get(1..).unwrap_or_default();
            Some(Notice::Blocked(String::from_utf8_lossy(reason).into_owned()))
        }
        (0, [0, 10, 0, 61]) => Some(Notice::Unblocked),
        _ => None,
    }
}
