//! What a sub-command says of itself: what it cannot do without, and how it prints.

use std::path::Path;

use kscope_dump::{Error as DumpError, Kernel};
use kscope_memory::FieldAt;

use crate::error::Failure;

/// A sub-command that looks at a kernel and prints what it found.
///
/// The prompt runs each that `Command` names, and `report` each that can be asked for without words.
pub(super) trait Analysis {
    /// What it cannot do without: where some of it is missing that is said, and nothing is run. What
    /// only some of its lines need is no part of it.
    fn needs(&self) -> &'static [Need];

    /// Prints what it found: text, or an object a line where `ask.json` says so.
    fn run(&self, ask: &Ask<'_>) -> Result<(), Failure>;
}

/// What is asked, and of which kernel.
#[derive(Clone, Copy)]
pub(super) struct Ask<'a> {
    pub(super) kernel: &'a Kernel,
    /// The first file of the dump.
    pub(super) file: &'a Path,
    /// Whether objects are printed in place of text.
    pub(super) json: bool,
}

/// Something of a kernel that an analysis cannot do without.
#[derive(Clone, Copy, Debug)]
pub(super) enum Need {
    /// The types.
    Types,
    /// The symbols.
    Symbols,
    /// A symbol of the kernel's image.
    Symbol(&'static str),
    /// A structure with this member, which may be a path.
    Member(&'static str, &'static str),
    /// A structure with one of these members, whose name differs between kernels.
    OneOf(&'static str, &'static [&'static str]),
    /// What stacks are followed by.
    UnwindTables,
}

impl Need {
    /// Says what of it is missing.
    fn missing(self, kernel: &Kernel) -> Result<(), DumpError> {
        match self {
            Need::Types => kernel.btf().map(|_| ()),
            Need::Symbols => kernel.symbols().map(|_| ()),
            Need::Symbol(name) => {
                kernel.symbols()?;
                let found = kernel.global(name);
                let missing = || DumpError::NoSymbol(name.to_owned());
                found.map(|_| ()).ok_or_else(missing)
            }
            Need::Member(of, path) => Ok(FieldAt::of(kernel.btf()?, of, path).map(|_| ())?),
            Need::OneOf(of, paths) => {
                let btf = kernel.btf()?;
                let mut first = Ok(());
                for path in paths {
                    match FieldAt::of(btf, of, path) {
                        Ok(_) => return Ok(()),
                        Err(error) => first = first.and(Err(error.into())),
                    }
                }
                first
            }
            Need::UnwindTables => kernel.unwinder().map(|_| ()),
        }
    }
}

/// Fails where something is missing, and says all that is.
pub(super) fn check(kernel: &Kernel, needs: &[Need]) -> Result<(), Failure> {
    let mut missing: Vec<String> = Vec::new();
    for need in needs {
        if let Err(error) = need.missing(kernel) {
            let error = super::plain(&error.to_string());
            // Without types each member is missing for the same reason.
            if !missing.contains(&error) {
                missing.push(error);
            }
        }
    }
    match missing.is_empty() {
        true => Ok(()),
        false => Err(Failure::new(format!(
            "what this needs is missing: {}",
            missing.join("; ")
        ))),
    }
}
