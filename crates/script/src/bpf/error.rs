//! Why code cannot be emitted.

use std::fmt;

use super::FRAME_SIZE;

/// Why code cannot be emitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EmitError {
    /// Slots and spilled values need more than the frame of 512 bytes.
    Frame {
        /// Bytes needed.
        need: u32,
        /// What the functions of its loops leave of 512.
        room: u32,
    },
    /// Slots do not fit the frame and the caller gave no scratch map.
    NoScratch {
        /// Bytes of slots.
        need: u32,
    },
    /// Slots need more than a per-CPU array's value can hold.
    Scratch {
        /// Bytes needed.
        need: u32,
    },
    /// A jump is longer than 32767 instructions.
    TooLong {
        /// Length of the program in instructions.
        insns: usize,
    },
    /// An access or address lies further from its base than an instruction can say.
    Offset(i64),
    /// Registers cannot be allocated; an internal error.
    Registers,
    /// The function breaks a rule of the intermediate representation; an internal error.
    Malformed(&'static str),
}

impl fmt::Display for EmitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EmitError::Frame { need, room } if *room < FRAME_SIZE => write!(
                f,
                "the program needs {need} bytes of stack where its loops leave {room} of the {FRAME_SIZE} that the kernel gives: nest fewer of them"
            ),
            EmitError::Frame { need, .. } => write!(
                f,
                "the program needs {need} bytes of stack, the kernel gives 512: use fewer or smaller values at once"
            ),
            EmitError::NoScratch { need } => {
                write!(f, "{need} bytes of temporary memory do not fit the stack")
            }
            EmitError::Scratch { need } => write!(
                f,
                "the program needs {need} bytes of temporary memory, a per-CPU map value holds 32768"
            ),
            EmitError::TooLong { insns } => {
                write!(
                    f,
                    "a jump in the program of {insns} instructions spans more than 32767"
                )
            }
            EmitError::Offset(offset) => write!(f, "offset {offset} does not fit an instruction"),
            EmitError::Registers => f.write_str("internal error: registers cannot be allocated"),
            EmitError::Malformed(what) => {
                write!(
                    f,
                    "internal error: malformed intermediate representation: {what}"
                )
            }
        }
    }
}

impl std::error::Error for EmitError {}
