//! Why a spec is not written as an object.

use std::fmt;

/// Why a spec is not written as an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WriteError {
    /// Its types cannot be read.
    Types(kscope_btf::Error),
    /// The types that describe maps and variables cannot be written.
    Unwritten(kscope_btf::Error),
    /// A program has no form in an object.
    Program {
        /// Its name.
        name: String,
        /// What objects cannot say.
        why: &'static str,
    },
    /// A symbol of the target is declared in no type.
    Extern {
        /// Its name.
        name: String,
    },
    /// A map has no form in an object.
    Map {
        /// Its name.
        name: String,
        /// What objects cannot say.
        why: &'static str,
    },
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WriteError::Types(_) => f.write_str("the types cannot be read"),
            WriteError::Unwritten(_) => {
                f.write_str("the types of maps and variables cannot be written")
            }
            WriteError::Program { name, why } => {
                write!(f, "program {name} cannot be written: {why}")
            }
            WriteError::Extern { name } => {
                write!(
                    f,
                    "symbol {name} of the target cannot be written: no type declares it"
                )
            }
            WriteError::Map { name, why } => write!(f, "map {name} cannot be written: {why}"),
        }
    }
}

impl std::error::Error for WriteError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            WriteError::Types(error) | WriteError::Unwritten(error) => Some(error),
            WriteError::Program { .. } | WriteError::Extern { .. } | WriteError::Map { .. } => None,
        }
    }
}
