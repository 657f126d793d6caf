//! `kscope kdump`

mod progress;
mod save;

use clap::{Args, Subcommand};

use crate::error::Failure;

/// Take the dump of a kernel that crashed
#[derive(Args, Debug)]
pub(crate) struct KdumpArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    Save(save::SaveArgs),
}

/// Runs the command.
pub(crate) fn run(args: &KdumpArgs) -> Result<u8, Failure> {
    match &args.what {
        What::Save(args) => save::run(args),
    }
}
