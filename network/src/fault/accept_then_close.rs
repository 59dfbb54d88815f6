//! Accept, then close: a client gets as far as a TCP connection.

use super::table::AcceptAction;
use crate::wire::CloseKind;

pub(super) fn greet(how: CloseKind) -> AcceptAction {
    AcceptAction::Close(how)
}
