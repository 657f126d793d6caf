//! What time it was for the kernel when it stopped.

use kscope_memory::{FieldAt, Memory, Object};

use super::kernel::Kernel;
use crate::Error;

/// Nanoseconds of a second.
const SECOND: u64 = 1_000_000_000;
/// Where the timekeeper is in `tk_core` of kernels that give the structure around it no name:
/// behind a sequence counter and its lock's pointer.
const UNNAMED: u64 = 8;

/// What the kernel's clocks showed at its last tick.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KernelTime {
    /// Nanoseconds since it started, time asleep included.
    pub since_boot: u64,
    /// Nanoseconds since 1970.
    pub since_1970: u64,
}

impl KernelTime {
    /// Gives when it started, in nanoseconds since 1970.
    #[must_use]
    pub fn boot(self) -> u64 {
        self.since_1970.wrapping_sub(self.since_boot)
    }
}

/// Finds the timekeeper.
fn keeper(kernel: &Kernel) -> Result<Object<'_>, Error> {
    let btf = kernel.btf()?;
    let inside = match FieldAt::of(btf, "tk_data", "timekeeper") {
        Ok(field) => field.offset,
        Err(_) => UNNAMED,
    };
    // Since 6.17 that of the system is the first of several.
    let first = kernel.global("timekeeper_data");
    let data = first.map_or_else(|| kernel.need("tk_core"), Ok)?;
    let start = data.checked_add(inside);
    kernel.object("timekeeper", start.unwrap_or_default())
}

/// Reads the clock that stands still while the machine sleeps.
pub(crate) fn monotonic(kernel: &Kernel) -> Result<u64, Error> {
    let keeper = keeper(kernel)?;
    let number = |path: &str| keeper.member(path)?.value();
    let shift = number("tkr_mono.shift")?.min(63);
    let part = number("tkr_mono.xtime_nsec")? >> shift;
    Ok(number("tkr_mono.base")?.wrapping_add(part))
}

/// Reads the timekeeper.
pub(crate) fn read(kernel: &Kernel) -> Result<KernelTime, Error> {
    let keeper = keeper(kernel)?;
    let number = |path: &str| keeper.member(path)?.value();
    let shift = number("tkr_mono.shift")?.min(63);
    let part = number("tkr_mono.xtime_nsec")? >> shift;
    let since_boot = number("tkr_mono.base")?
        .wrapping_add(number("offs_boot")?)
        .wrapping_add(part);
    let seconds = number("xtime_sec")?;
    let since_1970 = seconds.checked_mul(SECOND).map(|n| n.wrapping_add(part));
    // What is no time is of another place.
    match since_1970 {
        Some(since_1970) if part < 2 * SECOND && since_boot <= since_1970 => Ok(KernelTime {
            since_boot,
            since_1970,
        }),
        _ => Err(Error::Malformed {
            what: "timekeeper",
            offset: keeper.addr().0,
        }),
    }
}

/// Reads a number of the machine's width at a symbol.
pub(crate) fn number(kernel: &Kernel, symbol: &str) -> Result<u64, Error> {
    Ok(kernel.read_u64(kernel.need(symbol)?)?)
}
