//! Functions and USDT probes of programs and libraries.

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

/// Where an argument of a USDT probe is, and how large.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UsdtArgument {
    /// Size in bytes: 1, 2, 4 or 8.
    pub bytes: u8,
    /// Two's complement if set.
    pub signed: bool,
    /// Where it is.
    pub place: UsdtPlace,
}

/// Where an argument of a USDT probe is. Registers are offsets in bytes into `struct pt_regs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UsdtPlace {
    /// The number itself.
    Constant(i64),
    /// In a register.
    Register(u16),
    /// In memory, so many bytes from where a register points to.
    Memory {
        /// The register.
        base: u16,
        /// Bytes from there.
        offset: i64,
    },
    /// In memory at a register, plus another times a power of two, plus an offset.
    Indexed {
        /// The register that points to the begin.
        base: u16,
        /// The register that counts.
        index: u16,
        /// How far left that is shifted.
        shift: u8,
        /// Bytes from there.
        offset: i64,
    },
}
