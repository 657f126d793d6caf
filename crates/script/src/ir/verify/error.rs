//! Broken rules.

use std::fmt;

use crate::ir::{Block, SlotId, Value};

/// A broken rule and its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IrError {
    /// The block.
    pub block: Block,
    /// The instruction by position; none for parameters and the end of the block.
    pub inst: Option<usize>,
    /// The rule.
    pub kind: IrErrorKind,
}

/// Rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IrErrorKind {
    /// A function has a block.
    NoBlock,
    /// The entry has no parameters.
    EntryParams,
    /// A jump goes to a block that exists.
    NoSuchBlock(Block),
    /// A value exists.
    NoSuchValue(Value),
    /// A slot exists.
    NoSuchSlot(SlotId),
    /// A callback exists.
    NoSuchCallback(u32),
    /// A value is defined once.
    DefinedTwice(Value),
    /// The definition of a value dominates its uses.
    NotDefined(Value),
    /// Sizes are powers of two that the operation knows.
    Bytes(u32),
    /// Arithmetic is done on numbers.
    NotANumber(Value),
    /// The result has the type that the operation gives.
    ResultType,
    /// A jump gives each parameter a value; a call takes five at most.
    Arguments,
    /// A jump gives a parameter a value of its type.
    ArgumentType(Value),
    /// The operation cannot be done with this kind of value.
    Pointer(Value),
    /// A pointer that may be null is not used before it is checked.
    MaybeNull(Value),
    /// A pointer counts as not null only behind the check.
    Unchecked(Value),
    /// An access stays within its slot or record.
    OutOfBounds {
        /// First byte.
        start: i64,
        /// After the last byte.
        end: i64,
        /// Size of the slot or record.
        size: u32,
    },
}

impl fmt::Display for IrError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.inst {
            Some(inst) => write!(f, "{}, instruction {inst}: {}", self.block, self.kind),
            None => write!(f, "{}: {}", self.block, self.kind),
        }
    }
}

impl fmt::Display for IrErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            IrErrorKind::NoBlock => f.write_str("the function has no block"),
            IrErrorKind::EntryParams => f.write_str("the entry has parameters"),
            IrErrorKind::NoSuchBlock(block) => write!(f, "there is no {block}"),
            IrErrorKind::NoSuchValue(value) => write!(f, "there is no {value}"),
            IrErrorKind::NoSuchSlot(slot) => write!(f, "there is no {slot}"),
            IrErrorKind::NoSuchCallback(index) => write!(f, "there is no callback {index}"),
            IrErrorKind::DefinedTwice(value) => write!(f, "{value} is defined a second time"),
            IrErrorKind::NotDefined(value) => write!(f, "{value} is not defined on every way here"),
            IrErrorKind::Bytes(bytes) => write!(f, "{bytes} is no size here"),
            IrErrorKind::NotANumber(value) => write!(f, "{value} is no number"),
            IrErrorKind::ResultType => f.write_str("the result has another type"),
            IrErrorKind::Arguments => f.write_str("the number of arguments is wrong"),
            IrErrorKind::ArgumentType(value) => {
                write!(f, "{value} has another type than the parameter")
            }
            IrErrorKind::Pointer(value) => write!(f, "{value} cannot be used like this"),
            IrErrorKind::MaybeNull(value) => write!(f, "{value} may be null"),
            IrErrorKind::Unchecked(value) => {
                write!(f, "{value} is not known to be other than null")
            }
            IrErrorKind::OutOfBounds { start, end, size } => {
                write!(f, "bytes {start} to {end} of {size}")
            }
        }
    }
}

impl std::error::Error for IrError {}
