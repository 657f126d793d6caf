//! Files that commands write: `-` is standard output, and nothing that was read is written over.

use std::fs::{File, Metadata};
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use crate::error::Failure;

/// Writes what a command made of `inputs`.
///
/// # Errors
///
/// Where the output is one of the inputs, which nothing would bring back, or cannot be written.
pub(crate) fn write(output: &Path, bytes: &[u8], inputs: &[&Path]) -> Result<(), Failure> {
    let written = match is_stream(output) {
        true => {
            let mut out = io::stdout().lock();
            return Ok(out.write_all(bytes).and_then(|()| out.flush())?);
        }
        false => {
            keep(output, inputs)?;
            std::fs::write(output, bytes)
        }
    };
    written.map_err(|error| Failure::new(format!("cannot write {}: {error}", output.display())))
}

/// Opens a file to write what comes of `inputs`.
///
/// # Errors
///
/// As [`write()`].
pub(crate) fn create(output: &Path, inputs: &[&Path]) -> Result<File, Failure> {
    keep(output, inputs)?;
    File::create(output)
        .map_err(|error| Failure::new(format!("cannot write to {}: {error}", output.display())))
}

/// Says whether a path stands for a standard stream.
pub(crate) fn is_stream(path: &Path) -> bool {
    path == Path::new("-")
}

/// Refuses to write over what was read, whatever its paths are: links lead to the same file.
///
/// # Errors
///
/// Where the output is one of the inputs.
pub(crate) fn keep(output: &Path, inputs: &[&Path]) -> Result<(), Failure> {
    // Devices and pipes are not written over.
    let regular = |about: io::Result<Metadata>| about.ok().filter(Metadata::is_file);
    let Some(there) = regular(output.metadata()) else {
        return Ok(());
    };
    let is_output = |input: &&&Path| {
        let about = match is_stream(input) {
            true => stdin(),
            false => input.metadata(),
        };
        regular(about).is_some_and(|about| (about.dev(), about.ino()) == (there.dev(), there.ino()))
    };
    let Some(input) = inputs.iter().find(is_output) else {
        return Ok(());
    };
    let output = output.display();
    let message = match is_stream(input) || *input == Path::new(&output.to_string()) {
        true => format!("{output} is what is read, and would be written over"),
        false => format!(
            "{output} is the same file as {}, which is read, and would be written over",
            input.display()
        ),
    };
    Err(Failure::new(message).hint("give another file with -o"))
}

/// Gives what is known of the file that is standard input.
fn stdin() -> io::Result<Metadata> {
    File::from(io::stdin().as_fd().try_clone_to_owned()?).metadata()
}
