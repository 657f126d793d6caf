//! `kscope link`

use std::path::{Path, PathBuf};

use clap::Args;
use kscope_spec::{link, read};

use crate::commands::bpf::object::read_file;
use crate::error::Failure;
use crate::object::unreadable_plan;

/// Link eBPF object files into one; needs no privilege
///
/// Sections of the same name are joined, symbols resolved, and types merged, each of them once.
/// What is declared and defined in none of the files stays declared.
#[derive(Args, Debug)]
pub(crate) struct LinkArgs {
    /// Write the object here, `-` for standard output
    #[arg(short = 'o', long, value_name = "FILE")]
    output: PathBuf,
    /// The object files
    #[arg(value_name = "OBJECT", required = true)]
    objects: Vec<PathBuf>,
}

/// Runs the command.
pub(crate) fn run(args: &LinkArgs) -> Result<u8, Failure> {
    let mut files = Vec::with_capacity(args.objects.len());
    for path in &args.objects {
        let (name, bytes) = (path.display().to_string(), read_file(path)?);
        if let Some(error) = unreadable_plan(&bytes) {
            let failure = Failure::new(format!("cannot link {name}: {error}"));
            return Err(failure.hint(error.way_out()));
        }
        files.push((name, bytes));
    }
    let inputs: Vec<(&str, &[u8])> = files
        .iter()
        .map(|(name, bytes)| (name.as_str(), bytes.as_slice()))
        .collect();
    let refused = |error: String| Failure::new(format!("cannot link: {error}"));
    let linked = link::objects(&inputs).map_err(|error| refused(error.to_string()))?;
    // Nobody is given what cannot be read again.
    read::object(&linked).map_err(|error| refused(error.to_string()))?;
    let inputs: Vec<&Path> = args.objects.iter().map(PathBuf::as_path).collect();
    crate::output::write(&args.output, &linked, &inputs)?;
    Ok(0)
}
