//! Why an object cannot be read.

use core::fmt;

use crate::elf::ElfError;

/// Why an object cannot be read at all. What concerns one program or map alone is in its
/// `refused`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReadError {
    /// The file is no ELF object for eBPF.
    Elf(ElfError),
    /// The section `.BTF` is malformed.
    Types(kscope_btf::Error),
    /// The section `.BTF.ext` is malformed.
    Ext(kscope_btf::Error),
    /// The section `version` holds no number of 4 bytes.
    Version {
        /// Its size in bytes.
        size: usize,
    },
    /// Parts of the file overlap so much that reading it would take many times its size.
    Overlapping {
        /// Which parts.
        what: &'static str,
    },
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReadError::Elf(error) => error.fmt(f),
            ReadError::Types(error) => write!(f, "section .BTF: {error}"),
            ReadError::Ext(error) => write!(f, "section .BTF.ext: {error}"),
            ReadError::Version { size } => write!(
                f,
                "section version has {size} bytes, and takes a kernel's version as a number of 4; no \
                 kernel since Linux 5.0 looks at it, so it may be left out"
            ),
            ReadError::Overlapping { what } => write!(
                f,
                "malformed object: its {what} overlap and would take many times the file's size"
            ),
        }
    }
}

impl std::error::Error for ReadError {}

impl From<ElfError> for ReadError {
    fn from(error: ElfError) -> ReadError {
        ReadError::Elf(error)
    }
}
