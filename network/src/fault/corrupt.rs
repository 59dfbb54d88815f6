//! Corrupt: one byte of one frame is changed. A frame too short to have it is left alone.

use super::table::Act;

pub(super) fn acts(byte: u32, xor: u8, total: u64) -> Vec<(u64, Act)> {
    let byte = u64::from(byte);
    if byte < total { vec![(byte, Act::Xor(xor))] } else { Vec::new() }
}
