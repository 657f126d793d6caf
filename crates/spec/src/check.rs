//! A static check of finished programs: what every kernel refuses, found before load.
//!
//! It knows less than the kernel's verifier: a program without problems here may still be refused
//! there. It joins paths where they meet, so a register or stack byte counts as initialised only
//! when every path to it wrote it.

mod arithmetic;
mod calls;
mod constant;
mod context;
mod depth;
mod flow;
mod reached;
mod shape;
mod state;

pub use context::{context_of_raw_tracepoint, read_of_context};
pub use reached::reached;

use crate::helper::HelperId;
use crate::insn::{BadInsn, Insn, Reg};
use crate::object::{ProgramSpec, Spec};
use std::fmt;

/// One thing a kernel would refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Slot index of the instruction.
    pub insn: u32,
    /// What is wrong with it.
    pub kind: ProblemKind,
}

/// Kinds of [`Problem`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProblemKind {
    /// The program has no instruction.
    Empty,
    /// The slot is no instruction.
    Bad(BadInsn),
    /// The first slot of `ld_imm64` without a second.
    HalfWide,
    /// The second slot of `ld_imm64` has a field other than the immediate set.
    DirtyHighHalf,
    /// A jump, call or function reference leads outside the program or function, to this slot.
    Outside(i64),
    /// A jump, call or function reference leads into the middle of `ld_imm64`.
    IntoWide(i64),
    /// Control would run over the end of the program or function.
    FallsOff,
    /// No path leads here.
    Unreachable,
    /// A relocation, line or function stands on a slot that cannot have one.
    Misplaced(&'static str),
    /// A relocation or line refers to something the `Spec` does not have.
    Dangling(&'static str),
    /// Division or remainder by the constant zero.
    DivisionByZero,
    /// A constant shift by the width or more.
    Shift(i32),
    /// The frame pointer is written.
    FrameWritten,
    /// A register is read that some path leaves unwritten (by a call, if it is `r1` to `r5`).
    Unwritten(Reg),
    /// An access through a register that holds a number or a map.
    NotAPointer(Reg),
    /// An access through, or arithmetic on, the result of a helper not yet compared with null.
    MaybeNull(Reg),
    /// Arithmetic on a pointer that kernels refuse.
    PointerMath(Reg),
    /// A part of a pointer is stored to the stack or loaded from there.
    PartOfPointer,
    /// An access outside a map's value or a ring buffer record.
    ObjectRange {
        /// Offset into it.
        off: i64,
        /// Size of the access in bytes.
        size: i64,
        /// Size of the whole in bytes.
        of: i64,
    },
    /// The program can end with a ring buffer record neither submitted nor discarded.
    LeakedRecord,
    /// A stack access below -512 or above the frame.
    StackRange {
        /// Offset from the frame pointer.
        off: i64,
        /// Size in bytes.
        size: i64,
    },
    /// A stack access not aligned to its size.
    StackAlign {
        /// Offset from the frame pointer.
        off: i64,
        /// Size in bytes.
        size: i64,
    },
    /// A stack byte is read that some path leaves unwritten.
    StackUnwritten {
        /// Offset of the first such byte from the frame pointer.
        off: i64,
    },
    /// A helper's argument is of the wrong kind.
    Argument {
        /// The helper.
        helper: HelperId,
        /// The register.
        reg: Reg,
        /// What it should be.
        what: &'static str,
    },
    /// A chain of calls needs more than 512 bytes of stack.
    StackDepth(u32),
    /// A subprogram calls itself, perhaps through others.
    Recursion,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "instruction {}: {}", self.insn, self.kind)
    }
}

impl fmt::Display for ProblemKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProblemKind::Empty => write!(f, "the program is empty"),
            ProblemKind::Bad(bad) => write!(f, "{bad}"),
            ProblemKind::HalfWide => write!(f, "ld_imm64 lacks its second slot"),
            ProblemKind::DirtyHighHalf => {
                write!(f, "the second slot of ld_imm64 has more than an immediate")
            }
            ProblemKind::Outside(to) => write!(f, "leads outside, to slot {to}"),
            ProblemKind::IntoWide(to) => write!(f, "leads into ld_imm64, to slot {to}"),
            ProblemKind::FallsOff => write!(f, "control runs over the end"),
            ProblemKind::Unreachable => write!(f, "no path leads here"),
            ProblemKind::Misplaced(what) => write!(f, "cannot have a {what}"),
            ProblemKind::Dangling(what) => write!(f, "refers to a {what} that is not there"),
            ProblemKind::DivisionByZero => write!(f, "divides by zero"),
            ProblemKind::Shift(by) => write!(f, "shifts by {by}"),
            ProblemKind::FrameWritten => write!(f, "writes r10"),
            ProblemKind::Unwritten(reg) => write!(f, "reads r{}, which may be unwritten", reg.0),
            ProblemKind::NotAPointer(reg) => {
                write!(f, "accesses memory through the number in r{}", reg.0)
            }
            ProblemKind::MaybeNull(reg) => {
                write!(f, "uses r{} without a comparison with null", reg.0)
            }
            ProblemKind::PointerMath(reg) => {
                write!(f, "does arithmetic in r{} that pointers do not have", reg.0)
            }
            ProblemKind::PartOfPointer => write!(f, "moves a part of a pointer"),
            ProblemKind::ObjectRange { off, size, of } => {
                write!(f, "accesses {size} bytes at {off} of an object of {of}")
            }
            ProblemKind::LeakedRecord => {
                write!(
                    f,
                    "ends with a ring buffer record neither submitted nor discarded"
                )
            }
            ProblemKind::StackRange { off, size } => {
                write!(f, "accesses {size} bytes at r10{off:+}, outside the stack")
            }
            ProblemKind::StackAlign { off, size } => {
                write!(f, "accesses {size} bytes at r10{off:+}, misaligned")
            }
            ProblemKind::StackUnwritten { off } => {
                write!(f, "reads the stack at r10{off:+}, which may be unwritten")
            }
            ProblemKind::Argument { helper, reg, what } => {
                write!(
                    f,
                    "passes in r{} of {helper} something other than {what}",
                    reg.0
                )
            }
            ProblemKind::StackDepth(bytes) => {
                write!(f, "calls from here need {bytes} bytes of stack together")
            }
            ProblemKind::Recursion => write!(f, "calls a function that is running"),
        }
    }
}

impl std::error::Error for Problem {}

/// Checks a program; its relocations and functions count.
///
/// The list is empty when nothing is wrong. While the shape is wrong (bad slots, jumps that lead
/// nowhere), values are not followed.
#[must_use]
pub fn program(spec: &Spec, program: &ProgramSpec) -> Vec<Problem> {
    let (shape, mut problems) = shape::read(spec, program);
    if problems.is_empty() {
        flow::follow(spec, program, &shape, &mut problems);
    }
    problems.sort_by_key(|problem| problem.insn);
    problems
}

/// Checks instructions without relocations, as one program.
#[must_use]
pub fn insns(insns: &[Insn]) -> Vec<Problem> {
    let bare = ProgramSpec {
        kind: crate::ProgramType::RawTracepoint,
        insns: insns.to_vec(),
        ..ProgramSpec::default()
    };
    program(&Spec::default(), &bare)
}

#[cfg(test)]
mod tests;
