//! `kscope kdump unit`

use clap::Args;

use crate::console::say;
use crate::error::Failure;

/// The unit of systemd that loads the capture kernel when the machine starts.
const UNIT: &str = include_str!("kscope-kdump.service");
/// The rule of udev that loads it again when CPUs or memory come and go.
const RULE: &str = include_str!("98-kscope-kdump.rules");

/// Print the unit of systemd that loads the capture kernel when the machine starts
#[derive(Args, Debug)]
pub(crate) struct UnitArgs {
    /// Print the rule of udev that loads it again when CPUs or memory come and go
    #[arg(long)]
    udev: bool,
}

/// Runs the command.
pub(crate) fn run(args: &UnitArgs) -> Result<u8, Failure> {
    say(if args.udev { RULE } else { UNIT })?;
    Ok(0)
}
