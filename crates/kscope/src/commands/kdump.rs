//! `kscope kdump`

mod capture;
mod check;
mod config;
mod estimate;
mod initrd;
mod load;
mod progress;
mod save;
mod status;
mod test;
mod unit;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use kscope_kdump::{CONFIG, Config, Error, Facts, Root};

use crate::error::Failure;
pub(crate) use capture::{is_first, supervise};

/// Take the dump of a kernel that crashed
#[derive(Args, Debug)]
pub(crate) struct KdumpArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    Status(status::StatusArgs),
    Check(check::CheckArgs),
    Estimate(estimate::EstimateArgs),
    Initrd(initrd::InitrdArgs),
    Load(load::LoadArgs),
    Unload(load::UnloadArgs),
    Test(test::TestArgs),
    Save(save::SaveArgs),
    Config(config::ConfigArgs),
    Unit(unit::UnitArgs),
    #[command(hide = true)]
    Capture(capture::CaptureArgs),
}

/// Runs the command.
pub(crate) fn run(args: &KdumpArgs) -> Result<u8, Failure> {
    match &args.what {
        What::Status(args) => status::run(args),
        What::Check(args) => check::run(args),
        What::Estimate(args) => estimate::run(args),
        What::Initrd(args) => initrd::run(args),
        What::Load(args) => load::run(args),
        What::Unload(args) => load::unload(args),
        What::Test(args) => test::run(args),
        What::Save(args) => save::run(args),
        What::Config(args) => config::run(args),
        What::Unit(args) => unit::run(args),
        What::Capture(args) => capture::run(args),
    }
}

/// Whose capture it is.
#[derive(Args, Clone, Debug)]
struct Machine {
    /// Take the configuration from this file
    #[arg(long, value_name = "FILE", default_value = CONFIG)]
    config: PathBuf,
    /// Look at a tree of files as of a machine
    #[arg(long, value_name = "FOLDER", default_value = "/", hide = true)]
    root: PathBuf,
}

impl Machine {
    fn root(&self) -> Root {
        Root::at(&self.root)
    }

    fn config(&self) -> Result<Config, Failure> {
        Config::load(&self.root(), &self.config).map_err(|error| {
            let place = self.config.display();
            failure(&error, Some(format!("{place}: {error}")))
        })
    }

    fn facts(&self, config: &Config) -> Result<Facts, Failure> {
        Facts::gather(&self.root(), config).map_err(|error| failure(&error, None))
    }
}

/// Makes a failure of an error, with its way out.
fn failure(error: &Error, message: Option<String>) -> Failure {
    let failure = Failure::new(message.unwrap_or_else(|| error.to_string()));
    match error.way_out() {
        Some(way_out) => failure.hint(way_out),
        None => failure,
    }
}

/// Gives the time, in seconds since 1970.
fn now() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |now| now.as_secs())
}
