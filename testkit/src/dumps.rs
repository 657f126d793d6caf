//! Real dumps, which are too large for the tree: in the folder `vmcore` of the one that the
//! environment variable `KSCOPE_FIXTURES` names.

use std::path::PathBuf;

use crate::skipped;

/// A kdump of Linux 6.1 without any page that makedumpfile can leave out.
pub const KDUMP: &str = "6.1.192-kdump-lzo-d31.vmcore";
/// A dump of Linux 5.10 that QEMU wrote of a running guest.
pub const QEMU: &str = "5.10.223-qemu-live.zlib.vmcore";

/// Gives the folder of dumps; where there is none, the running test is skipped.
///
/// # Panics
///
/// As [`skipped`] does.
#[must_use]
pub fn folder() -> Option<PathBuf> {
    let folder = std::env::var_os("KSCOPE_FIXTURES").map(|f| PathBuf::from(f).join("vmcore"));
    let found = folder.filter(|folder| folder.is_dir());
    if found.is_none() {
        skipped("fixtures", "KSCOPE_FIXTURES names no folder with dumps");
    }
    found
}
