//! `kscope bindgen`

use std::path::{Path, PathBuf};

use clap::Args;
use kscope_bindgen::{Options, generate};

use crate::commands::bpf::object::read_object;
use crate::error::Failure;
use crate::output::{self, is_stream};

/// Write a typed Rust skeleton of an object: its maps, programs, global variables and events
///
/// The file is a module for a program that uses the crate kscope-bpf. Build scripts have the same in
/// the crate kscope-bindgen.
#[derive(Args, Debug)]
pub(crate) struct BindgenArgs {
    /// Write the skeleton here, instead of to standard output
    #[arg(short = 'o', long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Write this type as well, although no map and no variable has it
    #[arg(long = "event", value_name = "TYPE")]
    events: Vec<String>,
    /// Leave the object out of the skeleton, which is then opened out of bytes
    #[arg(long)]
    no_object: bool,
    /// The object file
    #[arg(value_name = "FILE.bpf.o")]
    file: PathBuf,
}

/// Runs the command.
pub(crate) fn run(args: &BindgenArgs) -> Result<u8, Failure> {
    let spec = read_object(&args.file)?;
    let name = args.file.file_name().unwrap_or_default().to_string_lossy();
    let name = name.split('.').next().unwrap_or_default();
    let file = args.output.as_deref().filter(|path| !is_stream(path));
    let object = match args.no_object {
        true => None,
        false => Some(path_from(file, &args.file)?),
    };
    let options = Options {
        name: name.to_owned(),
        events: args.events.clone(),
        object,
        module: None,
    };
    let text = generate(&spec, &options)
        .map_err(|error| Failure::new(format!("{}: {error}", args.file.display())))?;
    let output = file.unwrap_or(Path::new("-"));
    output::write(output, text.as_bytes(), &[&args.file])?;
    Ok(0)
}

/// Gives the path of a file from the folder of another: what `include_bytes!` takes.
fn path_from(output: Option<&Path>, file: &Path) -> Result<String, Failure> {
    let real = |path: &Path| {
        let path = if path.as_os_str().is_empty() {
            Path::new(".")
        } else {
            path
        };
        std::fs::canonicalize(path)
            .map_err(|error| Failure::new(format!("cannot find {}: {error}", path.display())))
    };
    let Some(folder) = output.map(|output| output.parent().unwrap_or(Path::new(""))) else {
        return Ok(file.display().to_string());
    };
    Ok(relative(&real(folder)?, &real(file)?).display().to_string())
}

/// Gives the way from a folder to a file, both from the root.
fn relative(folder: &Path, file: &Path) -> PathBuf {
    let same = folder.components().zip(file.components());
    let same = same.take_while(|(left, right)| left == right).count();
    let up = folder.components().skip(same).map(|_| Path::new(".."));
    up.chain(
        file.components()
            .skip(same)
            .map(|part| Path::new(part.as_os_str())),
    )
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_to_a_file_is_found() {
        let check = |folder: &str, file: &str, expected: &str| {
            let found = relative(Path::new(folder), Path::new(file));
            assert_eq!(found, Path::new(expected));
        };
        check("/a/src", "/a/src/x.bpf.o", "x.bpf.o");
        check("/a/src", "/a/x.bpf.o", "../x.bpf.o");
        check("/a/src", "/a/target/x.bpf.o", "../target/x.bpf.o");
        check("/", "/x.bpf.o", "x.bpf.o");
    }
}
