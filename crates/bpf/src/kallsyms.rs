//! The kernel's symbols.

use std::path::Path;

use kscope_sys::Kernel;

/// Reads the kernel's symbols, a line each; nothing where they cannot be read.
pub(crate) fn read(kernel: &dyn Kernel) -> Vec<u8> {
    let read = kernel.read_file(Path::new("/proc/kallsyms"));
    read.unwrap_or_default()
}

/// Reads the name of a function out of a line of `/proc/kallsyms`: address, type, name, and module.
#[cfg(feature = "explain")]
pub(crate) fn function_of(line: &str) -> Option<&str> {
    let mut words = line.split_ascii_whitespace();
    let kind = words.nth(1)?;
    matches!(kind, "t" | "T" | "w" | "W").then(|| words.next())?
}
