//! `kscope kdump capture`: what an initial file system of ours does.

use std::ffi::OsString;
use std::path::Path;

use clap::Args;

use super::failure;
use crate::error::Failure;

/// Capture the dump in the kernel that was started by a crash
#[derive(Args, Debug)]
pub(crate) struct CaptureArgs {}

/// Runs the command: the second process of a capture.
pub(crate) fn run(_: &CaptureArgs) -> Result<u8, Failure> {
    kscope_kdump::capture::work().map_err(|error| failure(&error, None))?;
    Ok(0)
}

/// Tells whether this is the first program of a capture kernel.
pub(crate) fn is_first(name: Option<&OsString>) -> bool {
    std::process::id() == 1 && name.is_some_and(|name| Path::new(name) == Path::new("/init"))
}

/// Runs a capture to the end of the machine.
pub(crate) fn supervise() -> ! {
    kscope_kdump::capture::supervise()
}
