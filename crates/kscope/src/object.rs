//! Objects of `kscope build`: scripts that are compiled already.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use kscope_bpf::spec::elf::Elf;
use kscope_bpf::spec::read::{self, ReadError};
use kscope_runtime::{LiveCatalogue, expand_again};
use kscope_script::Compiled;
use kscope_script::portable::{SECTION, Saved, SavedError, parameter};

use crate::commands::bpf::object::hint;
use crate::error::Failure;
use crate::place::Place;
use crate::tracing::Source;

/// How ELF files begin.
const MAGIC: [u8; 4] = *b"\x7fELF";

/// Largest object in bytes.
const LARGEST: u64 = 64 << 20;

/// A script that was compiled before.
pub(crate) struct Object {
    /// The script, for messages.
    pub(crate) source: Source,
    /// What became of it.
    pub(crate) compiled: Compiled,
}

impl Object {
    /// Opens an object; none where the file is of another kind, or cannot be read at all.
    ///
    /// # Errors
    ///
    /// Where it is an object that is damaged, or no script, or of a newer kscope.
    pub(crate) fn open(file: &str) -> Result<Option<Object>, Failure> {
        let Some(bytes) = bytes(Path::new(file)) else {
            return Ok(None);
        };
        let bytes = bytes.map_err(|error| Failure::new(format!("cannot read {file}: {error}")))?;
        if bytes.len() as u64 > LARGEST {
            let message = format!("{file} has more than {LARGEST} bytes, which no object has");
            return Err(Failure::new(message));
        }
        let failed = |why: String| Failure::new(format!("cannot run {file}: {why}"));
        let unreadable = |error: ReadError| {
            let failure = failed(error.to_string());
            match hint(&error) {
                Some(hint) => failure.hint(hint),
                None => failure,
            }
        };
        let elf = Elf::parse(&bytes).map_err(|error| unreadable(error.into()))?;
        let Some((_, section)) = elf.named(SECTION) else {
            let failure = failed("it is no script: it has no plan of what to print".to_owned());
            return Err(failure.hint("`kscope build` makes objects that can be run"));
        };
        let refused = |error: SavedError| failed(error.to_string()).hint(error.way_out());
        let saved = Saved::parse(section.data).map_err(refused)?;
        let spec = read::object(&bytes).map_err(unreadable)?;
        let source = Source::new(saved.name.clone(), saved.source.clone());
        let compiled = saved.join(spec).map_err(refused)?;
        Ok(Some(Object { source, compiled }))
    }

    /// Attaches what has wildcards to what matches them on this kernel.
    ///
    /// # Errors
    ///
    /// Where that is more than the script may attach to.
    pub(crate) fn expand(&mut self, place: &Place) -> Result<(), Failure> {
        let btf = place.btf.as_ref().ok();
        let catalogue = LiveCatalogue::new(&place.target, btf);
        expand_again(&mut self.compiled.plan, &catalogue)
            .map_err(|error| Failure::of_run(&error, &self.source.text, false))
    }

    /// Gives the parameters that were left out when the object was built their values.
    ///
    /// # Errors
    ///
    /// Where one is no number, or none is asked for.
    pub(crate) fn numbers(&self, given: &[String]) -> Result<Vec<(String, u64)>, Failure> {
        let mut numbers = Vec::new();
        for (place, text) in (1..).zip(given) {
            let name = parameter(place);
            if !self.compiled.spec.late.iter().any(|late| late.name == name) {
                let message = format!("the object takes no {name}");
                return Err(Failure::usage(message).hint(
                    "parameters that it was built with stay; it takes those that were left out then",
                ));
            }
            let value = text.parse::<i64>().map(|value| value as u64);
            let value = value.map_err(|_| {
                Failure::usage(format!("{name} is used as a number but given \"{text}\""))
            })?;
            numbers.push((name, value));
        }
        Ok(numbers)
    }
}

/// Says whether a file begins as ELF files do.
pub(crate) fn is_elf(file: &str) -> bool {
    matches!(bytes(Path::new(file)), Some(Ok(_)))
}

/// Says why an object's plan is not read here, where it has one.
pub(crate) fn unreadable_plan(bytes: &[u8]) -> Option<SavedError> {
    let elf = Elf::parse(bytes).ok()?;
    let (_, section) = elf.named(SECTION)?;
    Saved::parse(section.data).err()
}

/// Reads a file that begins as ELF files do.
fn bytes(path: &Path) -> Option<io::Result<Vec<u8>>> {
    // What is no regular file would be used up by looking at it.
    let file = path.metadata().ok().filter(std::fs::Metadata::is_file);
    let mut file = file.and_then(|_| File::open(path).ok())?;
    let mut magic = [0; MAGIC.len()];
    file.read_exact(&mut magic).ok()?;
    if magic != MAGIC {
        return None;
    }
    let mut bytes = magic.to_vec();
    let read = file.take(LARGEST).read_to_end(&mut bytes);
    Some(read.map(|_| bytes))
}
