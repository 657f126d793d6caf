//! Why there are no names.

use core::fmt;
use std::io;
use std::path::PathBuf;

use kscope_memory::KallsymsError;

/// Why names could not be loaded.
#[derive(Debug)]
pub enum Error {
    /// A file could not be read.
    Os {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// A symbol table is not one.
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong and where.
        cause: KallsymsError,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Os { path, cause } => write!(f, "{}: {cause}", path.display()),
            Error::Malformed { path, cause } => write!(f, "{}: {cause}", path.display()),
        }
    }
}

impl std::error::Error for Error {}
