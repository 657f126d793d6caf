//! Machine code where nothing here can read it.

use super::dis::Insn;
use crate::error::Failure;

/// Longest instruction in bytes.
pub(super) const LONGEST: u64 = 16;

/// Says that machine code cannot be read.
pub(super) fn decode(_code: &[u8], _start: u64) -> Result<Vec<Insn>, Failure> {
    let failure = Failure::new("machine code cannot be disassembled by this build");
    Err(failure.hint("`read ADDRESS` shows it as numbers"))
}
