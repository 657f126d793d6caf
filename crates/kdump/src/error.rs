//! Why something about the kernel of a crash cannot be done.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use kscope_sys::Errno;

/// Why something cannot be done, with the way out where there is one.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be read or written.
    File {
        /// What was to be done with it, as "read" or "write".
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        why: io::Error,
    },
    /// A system call was refused.
    Refused {
        /// The call.
        call: &'static str,
        /// What the kernel said.
        errno: Errno,
        /// What it means here.
        means: &'static str,
        /// What to do.
        way_out: &'static str,
    },
    /// A line of the configuration makes no sense.
    Config {
        /// Its number, from 1.
        line: usize,
        /// What is wrong.
        what: String,
        /// What to write.
        way_out: String,
    },
    /// Something is not as its format says.
    Malformed {
        /// What.
        what: String,
    },
    /// Something that is needed is not there.
    Missing {
        /// What.
        what: String,
        /// What to do.
        way_out: String,
    },
    /// Something does not work with this program.
    Unsupported {
        /// What.
        what: String,
        /// What to do instead.
        way_out: String,
    },
}

impl Error {
    pub(crate) fn file<'a>(
        doing: &'static str,
        path: &'a Path,
    ) -> impl FnOnce(io::Error) -> Error + use<'a> {
        move |why| Error::File {
            doing,
            path: path.to_path_buf(),
            why,
        }
    }

    pub(crate) fn missing(what: impl Into<String>, way_out: impl Into<String>) -> Error {
        Error::Missing {
            what: what.into(),
            way_out: way_out.into(),
        }
    }

    pub(crate) fn unsupported(what: impl Into<String>, way_out: impl Into<String>) -> Error {
        Error::Unsupported {
            what: what.into(),
            way_out: way_out.into(),
        }
    }

    pub(crate) fn malformed(what: impl Into<String>) -> Error {
        Error::Malformed { what: what.into() }
    }

    /// Gives what a person can do about it.
    #[must_use]
    pub fn way_out(&self) -> Option<&str> {
        match self {
            Error::Refused { way_out, .. } => Some(way_out),
            Error::Config { way_out, .. }
            | Error::Missing { way_out, .. }
            | Error::Unsupported { way_out, .. } => Some(way_out),
            Error::File { .. } | Error::Malformed { .. } => None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::File { doing, path, why } => {
                write!(f, "cannot {doing} {}: {why}", path.display())
            }
            Error::Refused {
                call, errno, means, ..
            } => write!(f, "{call} says {errno}: {means}"),
            Error::Config { line, what, .. } => write!(f, "line {line}: {what}"),
            Error::Malformed { what }
            | Error::Missing { what, .. }
            | Error::Unsupported { what, .. } => f.write_str(what),
        }
    }
}

impl std::error::Error for Error {}
