//! Accept, then close: a client gets as far as a TCP connection.

use super::table::Greeting;
use crate::wire::CutHow;

pub(super) fn greet(how: CutHow) -> Greeting {
    Greeting::Close(how)
}
