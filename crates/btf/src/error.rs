//! What can be wrong with a BTF blob.

use core::fmt;

use crate::TypeId;

/// What is wrong with a BTF blob, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// The bytes do not follow the format.
    Malformed {
        /// What was being read.
        what: &'static str,
        /// Byte offset in the blob.
        offset: usize,
    },
    /// The blob does not begin with BTF's magic number in either byte order.
    NotBtf,
    /// The format's version is one this library does not know.
    Version(u8),
    /// A type has a kind that neither this library nor the blob's layout section knows.
    UnknownKind {
        /// The kind's number.
        kind: u8,
        /// Byte offset of the type in the blob.
        offset: usize,
    },
    /// A type refers to a type that does not exist.
    DanglingType {
        /// The type that refers.
        from: TypeId,
        /// The type that does not exist.
        to: TypeId,
    },
    /// A type was given more elements than BTF has room for.
    TooManyElements {
        /// Byte offset of the type among the types.
        offset: usize,
        /// How many it was given.
        count: usize,
    },
    /// A chain of typedefs, qualifiers or arrays does not end.
    EndlessChain(TypeId),
    /// A blob continues another where one that stands on its own is needed.
    Split,
    /// A split blob's byte order differs from its base's.
    EndianOfBase,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Malformed { what, offset } => {
                write!(f, "malformed BTF: {what} at byte {offset}")
            }
            Error::NotBtf => f.write_str("not BTF: the magic number is missing"),
            Error::Version(v) => write!(f, "BTF of version {v}, only version 1 is known"),
            Error::UnknownKind { kind, offset } => {
                write!(f, "BTF type of unknown kind {kind} at byte {offset}")
            }
            Error::DanglingType { from, to } => {
                write!(
                    f,
                    "BTF type {from} refers to type {to}, which does not exist"
                )
            }
            Error::TooManyElements { offset, count } => write!(
                f,
                "the BTF type at byte {offset} would have {count} members, constants, parameters or \
                 variables: 65535 is the most, spread them over several types"
            ),
            Error::EndlessChain(id) => write!(f, "BTF type {id} begins a chain without end"),
            Error::Split => f.write_str(
                "split BTF, which continues another: only BTF that stands on its own is merged",
            ),
            Error::EndianOfBase => f.write_str("split BTF whose byte order is not its base's"),
        }
    }
}

impl std::error::Error for Error {}
