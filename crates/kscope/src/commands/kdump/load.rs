//! `kscope kdump load` and `kscope kdump unload`

use clap::Args;
use kscope_kdump::{Load, Root};
use kscope_sys::RealKernel;

use super::{Machine, failure};
use crate::console::say;
use crate::error::Failure;

/// Load the capture kernel, in the place of what was loaded before
#[derive(Args, Debug)]
pub(crate) struct LoadArgs {
    #[command(flatten)]
    machine: Machine,
    /// Print what would be loaded, and load nothing
    #[arg(short = 'n', long)]
    dry_run: bool,
}

/// Unload the capture kernel: a crash makes no dump then
#[derive(Args, Debug)]
pub(crate) struct UnloadArgs {}

/// Runs `load`.
pub(crate) fn run(args: &LoadArgs) -> Result<u8, Failure> {
    let config = args.machine.config()?;
    let facts = args.machine.facts(&config)?;
    let failed = |error| failure(&error, None);
    let load = Load::plan(&config, &facts.kernel, &facts.target).map_err(failed)?;
    if args.dry_run {
        say(format_args!(
            "kernel = {}\ninitrd = {}\ncommand_line = {}\n",
            load.image.display(),
            load.initrd.display(),
            load.command_line
        ))?;
        return Ok(0);
    }
    load.load(&args.machine.root(), &RealKernel)
        .map_err(failed)?;
    Ok(0)
}

/// Runs `unload`.
pub(crate) fn unload(_: &UnloadArgs) -> Result<u8, Failure> {
    kscope_kdump::unload(&Root::default(), &RealKernel).map_err(|error| failure(&error, None))?;
    Ok(0)
}
