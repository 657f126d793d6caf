//! `kscope kdump unit`

use std::path::PathBuf;

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
    /// Have it start this program [default: this one, where it is]
    #[arg(long, value_name = "FILE", conflicts_with = "udev")]
    program: Option<PathBuf>,
}

/// What stands for the program.
const PROGRAM: &str = "@kscope@";

/// Runs the command.
pub(crate) fn run(args: &UnitArgs) -> Result<u8, Failure> {
    if args.udev {
        say(RULE)?;
        return Ok(0);
    }
    let own = || std::env::current_exe().map_err(Failure::from);
    let program = args.program.clone().map_or_else(own, Ok)?;
    // What systemd takes as it is.
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+".contains(c);
    let name = program.to_str();
    let name = name.filter(|name| name.starts_with('/') && name.chars().all(plain));
    let name = name.ok_or_else(|| {
        Failure::new(format!(
            "{} cannot stand in a unit of systemd",
            program.display()
        ))
        .hint("give a whole path of letters, digits and ./_-+ with --program")
    })?;
    say(UNIT.replace(PROGRAM, name))?;
    Ok(0)
}
