//! Refuse: the operating system answers new connections with RST, as if nobody listened. Those that
//! waited to be accepted are reset too; open ones are left alone. How the port stays ours is the
//! listener's business: see `link/door.rs`.

use std::sync::Arc;

use super::{
    Fault,
    table::{Entry, Table},
};

/// The fault that has the port refuse, if one does.
pub(crate) fn refusing(table: &Table) -> Option<Arc<Entry>> {
    table.in_force().find(|entry| entry.injection.fault == Fault::Refuse).cloned()
}
