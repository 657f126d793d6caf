//! `kscope kdump save`

use std::path::PathBuf;

use clap::Args;

use crate::error::Failure;
use crate::{dump, output};

/// Save the dump of a kernel, filtered and compressed, its log first
#[derive(Args, Debug)]
pub(crate) struct SaveArgs {
    /// Save the log alone, as text
    #[arg(long, required = true)]
    log_only: bool,
    /// Write to this file, `-` for standard output
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// What is saved: /proc/vmcore in a kernel that was started by a crash, or another dump; of a
    /// split one, all its files
    #[arg(value_name = "SOURCE", default_value = "/proc/vmcore")]
    source: Vec<PathBuf>,
}

/// Runs the command.
pub(crate) fn run(args: &SaveArgs) -> Result<u8, Failure> {
    let kernel = dump::open(&args.source)?;
    let text = crate::crash::log_text(&kernel)?;
    let sources: Vec<_> = args.source.iter().map(PathBuf::as_path).collect();
    output::write(&args.output, text.as_bytes(), &sources)?;
    Ok(0)
}
