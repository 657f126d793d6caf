//! `kscope kdump test`

use clap::Args;
use kscope_kdump::{LastTest, Level, check, crash, estimate};
use kscope_sys::{Kernel, RealKernel};

use super::{Machine, failure, now};
use crate::console::{say, tell};
use crate::error::Failure;

/// Crash this machine on purpose, and look afterwards whether its dump is there
///
/// The test has an id, which the log of the kernel says before it crashes. After the machine has
/// started again, `kscope kdump test --verify` looks for a dump whose log has that id.
#[derive(Args, Debug)]
pub(crate) struct TestArgs {
    #[command(flatten)]
    machine: Machine,
    /// Crash now: all that is not saved is lost, and the machine starts again
    #[arg(long)]
    crash_now_and_reboot: bool,
    /// Look for the dump of the last test
    #[arg(long, conflicts_with = "crash_now_and_reboot")]
    verify: bool,
}

/// Runs the command.
pub(crate) fn run(args: &TestArgs) -> Result<u8, Failure> {
    let config = args.machine.config()?;
    let root = args.machine.root();
    let facts = args.machine.facts(&config)?;
    let failed = |error| failure(&error, None);
    if args.verify {
        let test = facts.last_test.clone();
        let mut test = test.ok_or_else(|| {
            Failure::new("there was no test")
                .hint("`kscope kdump test --crash-now-and-reboot` is one")
        })?;
        let place = test.verify(&root, &config, &facts).map_err(failed)?;
        say(format_args!("the test {} has its dump: {place}\n", test.id))?;
        return Ok(0);
    }
    if !args.crash_now_and_reboot {
        return Err(
            Failure::usage("a test crashes this machine: nothing was done")
                .hint("--crash-now-and-reboot does it, --verify looks for the dump afterwards"),
        );
    }
    let estimate = estimate(&root, &facts, config.cpus);
    let findings = check(&facts, &config, &estimate, now());
    let faults = findings
        .iter()
        .filter(|finding| finding.level == Level::Fault);
    let faults: Vec<&str> = faults.map(|finding| finding.what.as_str()).collect();
    if let [first, rest @ ..] = faults.as_slice() {
        let more = match rest.len() {
            0 => String::new(),
            count => format!(", and {count} more"),
        };
        return Err(
            Failure::new(format!("a crash would make no dump: {first}{more}"))
                .hint("`kscope kdump check` says what to do"),
        );
    }
    let number = u64::from(std::process::id()) << 16 ^ (now() << 8);
    let test = LastTest::new(now(), number & 0xffff_ffff, &facts.kernel.release);
    tell(format_args!("test {}: the machine crashes now", test.id));
    let kernel: &dyn Kernel = &RealKernel;
    let sync = || {
        let _ = kernel.sync();
    };
    crash(&root, &test, sync).map_err(failed)?;
    Ok(0)
}
