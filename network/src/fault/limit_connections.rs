//! Limit connections: one more than so many open ones is reset as soon as it is accepted.

use super::table::Greeting;
use crate::wire::CutHow;

pub(super) fn greet(max: u32, open: usize) -> Option<Greeting> {
    (open >= max as usize).then_some(Greeting::Close(CutHow::Rst))
}
