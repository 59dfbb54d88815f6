//! Limit connections: one more than so many open ones is reset as soon as it is accepted.

use super::table::AcceptAction;
use crate::wire::CloseKind;

pub(super) fn greet(max: u32, open: usize) -> Option<AcceptAction> {
    (open >= max as usize).then_some(AcceptAction::Close(CloseKind::Rst))
}
