//! Functions and USDT probes of programs and libraries.

use kscope_spec::UsdtArgument;

/// What a look-up in programs and libraries did not give.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Absent {
    /// It is not there.
    Missing {
        /// What is not there, and why not, where that is known.
        why: String,
        /// Names that may be meant.
        near: Vec<String>,
    },
    /// Nobody can say: the reason.
    Unavailable(String),
}

/// A language whose compilers give functions names of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Language {
    Cpp,
    Rust,
}

impl Language {
    /// Finds a language by what it is called in attach points.
    #[must_use]
    pub fn named(name: &str) -> Option<Language> {
        match name {
            "cpp" => Some(Language::Cpp),
            "rust" => Some(Language::Rust),
            _ => None,
        }
    }

    /// Gives what it is called in attach points.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Language::Cpp => "cpp",
            Language::Rust => "rust",
        }
    }
}

/// A function of a program or library.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserFunction {
    /// The file.
    pub path: String,
    /// Its name in the file's symbol table.
    pub symbol: String,
    /// Its name as people write it.
    pub shown: String,
}

/// One place of a USDT probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsdtProbe {
    /// The file.
    pub path: String,
    /// The provider.
    pub provider: String,
    /// The probe's name.
    pub name: String,
    /// Which of the probe's places, in the order of the file.
    pub index: u32,
    /// Its arguments, or one that is not understood.
    pub arguments: Result<Vec<UsdtArgument>, String>,
}
