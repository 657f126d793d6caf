//! Statistics of run time, which cost about 57 ns for each run of each program.

use std::os::fd::OwnedFd;

use kscope_sys::SharedKernel;

use crate::denial::{Needs, explain};
use crate::error::Error;

/// Keeps run-time statistics of all programs on while it lives.
///
/// # Minimum kernel version
///
/// Linux 5.8.
#[derive(Debug)]
pub struct RunStats {
    #[allow(dead_code, reason = "held: statistics stop when it is closed")]
    fd: OwnedFd,
}

impl RunStats {
    /// Turns statistics on.
    ///
    /// # Errors
    ///
    /// [`Error::Permission`] without CAP_SYS_ADMIN.
    pub fn enable(kernel: &SharedKernel) -> Result<RunStats, Error> {
        let fd = kernel.enable_stats().map_err(|errno| {
            explain(
                &**kernel,
                Needs::Admin,
                "BPF_ENABLE_STATS",
                errno,
                "run time",
            )
        })?;
        Ok(RunStats { fd })
    }
}
