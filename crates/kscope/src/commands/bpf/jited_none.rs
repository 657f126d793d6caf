//! Machine code where nothing here can read it.

use kscope_bpf::inspect::{LoadedProgram, Naming};

use crate::error::Failure;

/// Says that machine code cannot be read.
pub(super) fn disassemble(
    _program: &LoadedProgram,
    _naming: &Naming<'_>,
    _source: bool,
) -> Result<String, Failure> {
    let failure = Failure::new("machine code of this machine cannot be disassembled");
    Err(failure.hint("leave --jited out to see the verified code"))
}
