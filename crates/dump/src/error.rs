//! What can go wrong with a dump.

use core::fmt;
use std::sync::Arc;

use kscope_memory::{GapAt, KallsymsError, ObjectError, PhysAddr, WalkError};

/// Why a dump, or something in it, could not be read.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Error {
    /// The file cannot be read at all.
    Read {
        /// Byte offset in the file.
        offset: u64,
        /// Why.
        why: Arc<std::io::Error>,
    },
    /// The bytes are of none of the known formats.
    NotADump,
    /// The bytes do not follow their format.
    Malformed {
        /// What was being read.
        what: &'static str,
        /// Byte offset in the file, or address in memory.
        offset: u64,
    },
    /// The dump is of a kind that this library does not read.
    Unsupported(String),
    /// Something that the question needs is not in the dump.
    Missing(&'static str),
    /// The kernel has no symbol of this name.
    NoSymbol(String),
    /// The kernel's types have no constant of this name.
    NoConstant(&'static str),
    /// Files given together do not belong together.
    Mismatch(&'static str),
    /// Memory that is needed is missing.
    Gap(GapAt),
    /// Physical memory that is needed is missing.
    PhysGap(GapAt<PhysAddr>),
    /// Types do not answer the question.
    Object(ObjectError),
    /// The kernel's BTF is malformed.
    Btf(kscope_btf::Error),
    /// The symbol table is malformed.
    Symbols(KallsymsError),
    /// A walk over a list or tree did not come to its end.
    Walk(WalkError),
    /// A walk came back to where it had been.
    Cycle {
        /// What was walked.
        what: &'static str,
    },
    /// A walk did not end within its bound.
    TooMany {
        /// What was walked.
        what: &'static str,
    },
    /// It was asked to stop ([`Kernel::stop_when`](crate::Kernel::stop_when)).
    Stopped,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Read { offset, .. } => write!(f, "cannot read at byte {offset}"),
            Error::NotADump => f.write_str("not a crash dump of a known format"),
            Error::Malformed { what, offset } => {
                write!(f, "malformed dump: {what} at {offset:#x}")
            }
            Error::Unsupported(what) => write!(f, "dumps {what} are not supported"),
            Error::Missing(what) => write!(f, "the dump has no {what}"),
            Error::NoSymbol(name) => write!(f, "this kernel has no symbol {name}"),
            Error::NoConstant(name) => write!(f, "this kernel has no constant {name}"),
            Error::Mismatch(what) => {
                write!(f, "the files are not parts of one dump: {what} differs")
            }
            Error::Gap(gap) => gap.fmt(f),
            Error::PhysGap(gap) => gap.fmt(f),
            Error::Object(error) => error.fmt(f),
            Error::Btf(error) => error.fmt(f),
            Error::Symbols(error) => error.fmt(f),
            Error::Walk(error) => error.fmt(f),
            Error::Cycle { what } => write!(f, "{what} comes back to where it was"),
            Error::TooMany { what } => write!(f, "{what} does not end"),
            Error::Stopped => f.write_str("it was stopped"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Read { why, .. } => Some(&**why),
            _ => None,
        }
    }
}

impl From<GapAt> for Error {
    fn from(gap: GapAt) -> Error {
        Error::Gap(gap)
    }
}

impl From<GapAt<PhysAddr>> for Error {
    fn from(gap: GapAt<PhysAddr>) -> Error {
        Error::PhysGap(gap)
    }
}

impl From<ObjectError> for Error {
    fn from(error: ObjectError) -> Error {
        match error {
            ObjectError::Gap(gap) => Error::Gap(gap),
            error => Error::Object(error),
        }
    }
}

impl From<WalkError> for Error {
    fn from(error: WalkError) -> Error {
        match error {
            WalkError::Gap(gap) => Error::Gap(gap),
            error => Error::Walk(error),
        }
    }
}

impl From<kscope_btf::Error> for Error {
    fn from(error: kscope_btf::Error) -> Error {
        Error::Btf(error)
    }
}

impl From<KallsymsError> for Error {
    fn from(error: KallsymsError) -> Error {
        Error::Symbols(error)
    }
}
