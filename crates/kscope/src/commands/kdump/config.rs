//! `kscope kdump config`

use clap::Args;
use kscope_kdump::TEMPLATE;

use super::Machine;
use crate::console::say;
use crate::error::Failure;

/// Print a configuration file with all keys and what each does
#[derive(Args, Debug)]
pub(crate) struct ConfigArgs {
    #[command(flatten)]
    machine: Machine,
    /// Say whether the configuration makes sense
    #[arg(long)]
    check: bool,
}

/// Runs the command.
pub(crate) fn run(args: &ConfigArgs) -> Result<u8, Failure> {
    match args.check {
        true => args.machine.config().map(drop)?,
        false => say(TEMPLATE)?,
    }
    Ok(0)
}
