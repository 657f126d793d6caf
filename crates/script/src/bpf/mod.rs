//! Code generation: a function of the intermediate representation becomes eBPF instructions.
//!
//! ```text
//! ir ─▶ select (lir, virtual registers) ─▶ live + color + spill ─▶ assemble + link (instructions)
//! ```
//!
//! Only instruction set v3 is emitted, in the shapes that the verifiers of Linux 5.10 to 7.x
//! accept: no signed division, no sign-extending moves or loads, null checks against an
//! immediate, naturally aligned stack and context accesses, no unreachable instruction, spills
//! of whole 8-byte slots after the checks that bound a value.

mod address;
mod arith;
mod assemble;
mod bulk;
mod callbacks;
mod color;
mod error;
mod facts;
mod frame;
mod link;
mod lir;
mod live;
mod moves;
mod select;
mod spill;

pub use error::EmitError;

use kscope_spec::{Insn, MapId, Reloc};

use crate::diagnostic::Span;
use crate::ir::{Function, LayoutId};

/// Size in bytes of the frame that the kernel gives a program.
pub const FRAME_SIZE: u32 = 512;

/// Largest value in bytes of a per-CPU array on every supported kernel.
pub const SCRATCH_LIMIT: u32 = 32 * 1024;

/// Where slots go that do not fit the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scratch {
    /// A per-CPU array; its value size is the largest [`Code::scratch_size`] of its programs.
    pub map: MapId,
    /// The entry of this program: programs that can interrupt each other need their own.
    pub entry: u32,
}

/// What the caller decides about the code.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Emit {
    /// Where slots go that do not fit the frame; without it they are an error.
    pub scratch: Option<Scratch>,
    /// The map whose value has the late values in their order, eight bytes each; without it they
    /// are written into the instructions.
    pub late: Option<MapId>,
    /// Where in its entry of the scratch map the function's part starts.
    pub scratch_start: u32,
}

/// The code of one program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Code {
    /// Instructions before relocation.
    pub insns: Vec<Insn>,
    /// What the loader patches, in ascending order of instruction.
    pub relocs: Vec<Reloc>,
    /// What the target's types tell, in ascending order of instruction.
    pub layouts: Vec<(u32, LayoutId)>,
    /// Where the source position changes: instruction and position, ascending; never on the
    /// second slot of `ld_imm64`.
    pub lines: Vec<(u32, Span)>,
    /// Bytes of [`Emit::scratch`] that the program uses; 0 if it does not touch the map.
    pub scratch_size: u32,
    /// Bytes of stack that the function itself uses.
    pub frame_size: u32,
    /// Where callbacks start, and their names.
    pub callbacks: Vec<(u32, String)>,
}

/// Emits the code of a function and of its callbacks, which stand behind it.
///
/// # Errors
/// [`EmitError`] says which limit of the target the function exceeds.
pub fn emit(function: &Function, request: &Emit) -> Result<Code, EmitError> {
    // Spills come first in the frame; where they take more than the slots leave, slots move out.
    // What a callback takes of the stack is lost to the functions around it.
    let mut last = None;
    for (own, of_callbacks) in [(320, 96), (256, 96), (128, 96), (0, 96), (320, 0), (0, 0)] {
        if function.callbacks.is_empty() && of_callbacks == 0 {
            break;
        }
        match callbacks::emit(function, request, (own, of_callbacks)) {
            Err(error @ EmitError::Frame { .. }) => last = Some(error),
            done => return done,
        }
    }
    Err(last.unwrap_or(EmitError::Frame {
        need: 0,
        room: FRAME_SIZE,
    }))
}

#[cfg(test)]
mod tests;
