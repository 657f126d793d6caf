//! What the kernel tells of a map's descriptor: whether it is frozen, or closed to system calls.

use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;

use super::Map;
#[cfg(feature = "explain")]
use crate::search::has;

impl Map {
    /// Reads what the kernel tells of the map's descriptor, which the structure does not hold.
    pub(super) fn descriptor_info(&self) -> String {
        let path = format!("/proc/self/fdinfo/{}", self.as_fd().as_raw_fd());
        let lines = self.kernel.read_file(Path::new(&path)).unwrap_or_default();
        String::from_utf8_lossy(&lines).into_owned()
    }

    /// Says why system calls may not read or write the map's entries, whoever makes them.
    #[cfg(feature = "explain")]
    pub(super) fn closed_to(&self, call: &str) -> Option<&'static str> {
        const READ_ONLY: u64 = 0;
        const WRITE_ONLY: u64 = 1;
        let writes = ["UPDATE", "DELETE"].iter().any(|word| has(call, word));
        let reads = ["LOOKUP", "NEXT_KEY"].iter().any(|word| has(call, word));
        let info = self.descriptor_info();
        // How the descriptor was opened, in octal digits.
        let mode = value_of(&info, "flags").and_then(|flags| u64::from_str_radix(flags, 8).ok());
        match mode.map(|mode| mode & 3) {
            Some(READ_ONLY) if writes => Some("which system calls may only read (BPF_F_RDONLY)"),
            Some(WRITE_ONLY) if reads => Some("which system calls may only write (BPF_F_WRONLY)"),
            _ if writes && number_of(&info, "frozen") == Some(1) => Some("which is frozen"),
            _ => None,
        }
    }
}

/// Reads a value of `/proc/self/fdinfo/FD`, `name:` and a tab before it.
fn value_of<'l>(lines: &'l str, name: &str) -> Option<&'l str> {
    let mut values = lines.lines().filter_map(|line| line.split_once(':'));
    let value = values.find(|(key, _)| *key == name)?.1;
    Some(value.trim())
}

pub(super) fn number_of(lines: &str, name: &str) -> Option<u64> {
    value_of(lines, name)?.parse().ok()
}
