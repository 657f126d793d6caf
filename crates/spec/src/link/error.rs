//! Why objects are not linked.

use core::fmt;

use crate::read::ReadError;

/// Why objects are not linked.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LinkError {
    /// There is no object.
    Nothing,
    /// A file is no object of eBPF.
    Object {
        /// The file.
        file: String,
        /// What is wrong with it.
        error: ReadError,
    },
    /// Objects are of different byte orders.
    ByteOrder {
        /// The first object.
        first: String,
        /// One that differs.
        file: String,
    },
    /// A section cannot be linked.
    Section {
        /// The file that has it.
        file: String,
        /// The section.
        section: String,
        /// Why not.
        why: &'static str,
    },
    /// Sections of the same name do not go together.
    Sections {
        /// The section.
        section: String,
        /// The file that has it first.
        first: String,
        /// The one whose section differs.
        file: String,
        /// What differs.
        what: String,
    },
    /// A symbol cannot be linked.
    Symbol {
        /// The file.
        file: String,
        /// The symbol.
        symbol: String,
        /// Why not.
        why: &'static str,
    },
    /// Two objects define a symbol.
    Duplicate {
        /// The symbol.
        symbol: String,
        /// The file that defines it first, and in which section.
        first: (String, String),
        /// The one that defines it again, and in which section.
        second: (String, String),
    },
    /// Objects have different ideas of a symbol's type.
    Mismatch {
        /// The symbol.
        symbol: String,
        /// The file that defines it, or declares it first.
        first: String,
        /// The file that differs.
        file: String,
        /// What differs.
        what: String,
    },
    /// A relocation cannot be linked.
    Relocation {
        /// The file.
        file: String,
        /// The section that it applies to.
        section: String,
        /// Where, in bytes into the section.
        offset: u64,
        /// The symbol.
        symbol: String,
        /// Why not.
        why: &'static str,
    },
}

impl fmt::Display for LinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LinkError::Nothing => f.write_str("there is no object to link"),
            LinkError::Object { file, error } => write!(f, "{file}: {error}"),
            LinkError::ByteOrder { first, file } => write!(
                f,
                "{file} and {first} are of different byte orders: compile both with the same -target"
            ),
            LinkError::Section { file, section, why } => {
                write!(f, "{file}: section '{section}' {why}")
            }
            LinkError::Sections {
                section,
                first,
                file,
                what,
            } => write!(f, "section '{section}' of {file} and {first}: {what}"),
            LinkError::Symbol { file, symbol, why } => {
                write!(f, "{file}: symbol '{symbol}' {why}")
            }
            LinkError::Duplicate {
                symbol,
                first,
                second,
            } => write!(
                f,
                "'{symbol}' is defined twice: in {} (section '{}') and in {} (section '{}'); make one of them __weak, or static",
                first.0, first.1, second.0, second.1
            ),
            LinkError::Mismatch {
                symbol,
                first,
                file,
                what,
            } => write!(
                f,
                "'{symbol}' is declared differently in {file} than in {first}: {what}"
            ),
            LinkError::Relocation {
                file,
                section,
                offset,
                symbol,
                why,
            } => write!(
                f,
                "{file}: relocation against '{symbol}' at byte {offset} of section '{section}' {why}"
            ),
        }
    }
}

impl std::error::Error for LinkError {}
