//! The kernel's symbols.

use std::path::Path;

use kscope_sys::Kernel;

/// Reads the kernel's symbols, a line each; nothing where they cannot be read.
pub(crate) fn read(kernel: &dyn Kernel) -> Vec<u8> {
    let read = kernel.read_file(Path::new("/proc/kallsyms"));
    read.unwrap_or_default()
}

/// Gives the names out of the kernel's symbols, of data as well as of functions.
pub(crate) fn names(symbols: &[u8]) -> impl Iterator<Item = &[u8]> {
    let lines = symbols.split(|&byte| byte == b'\n');
    // Address, type, name, and module behind a tab.
    lines.filter_map(|line| {
        let mut words = line.splitn(3, |&byte| byte == b' ');
        let name = words.nth(2)?;
        name.split(|&byte| byte == b'\t').next()
    })
}

/// Tells whether the kernel has a symbol, which tells what it is made with; false where its symbols
/// cannot be read.
pub(crate) fn has(kernel: &dyn Kernel, name: &str) -> bool {
    names(&read(kernel)).any(|one| one == name.as_bytes())
}

/// Reads the name of a function out of a line of `/proc/kallsyms`: address, type, name, and module.
#[cfg(feature = "explain")]
pub(crate) fn function_of(line: &str) -> Option<&str> {
    let mut words = line.split_ascii_whitespace();
    let kind = words.nth(1)?;
    matches!(kind, "t" | "T" | "w" | "W").then(|| words.next())?
}
