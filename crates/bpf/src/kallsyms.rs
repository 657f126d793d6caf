//! The kernel's symbols.

use std::path::Path;

use kscope_sys::Kernel;

/// Reads the kernel's symbols, a line each; nothing where they cannot be read.
pub(crate) fn read(kernel: &dyn Kernel) -> Vec<u8> {
    let read = kernel.read_file(Path::new("/proc/kallsyms"));
    read.unwrap_or_default()
}

/// A symbol, of the kernel or of a module.
pub(crate) struct Symbol<'a> {
    /// Address, in hexadecimal digits.
    pub(crate) address: &'a [u8],
    /// Letter of its type, as nm has it.
    #[cfg(feature = "explain")]
    kind: &'a [u8],
    /// Name, without the module.
    pub(crate) name: &'a [u8],
}

/// Gives the symbols of the list that [`read`] gives.
pub(crate) fn symbols(list: &[u8]) -> impl Iterator<Item = Symbol<'_>> {
    list.split(|&byte| byte == b'\n').filter_map(symbol)
}

/// Reads a line: `ffffffff81000000 T _text`, with a module behind a tab: `\t[nice]`.
fn symbol(line: &[u8]) -> Option<Symbol<'_>> {
    let mut words = line.split(|&byte| byte == b' ' || byte == b'\t');
    let (address, kind, name) = (words.next()?, words.next()?, words.next()?);
    #[cfg(not(feature = "explain"))]
    let _ = kind;
    Some(Symbol {
        address,
        #[cfg(feature = "explain")]
        kind,
        name,
    })
}

/// Tells whether the kernel has a symbol, which tells what it is made with; false where its symbols
/// cannot be read.
pub(crate) fn has(kernel: &dyn Kernel, name: &str) -> bool {
    symbols(&read(kernel)).any(|symbol| symbol.name == name.as_bytes())
}

/// Gives the names of functions out of the list that [`read`] gives.
#[cfg(feature = "explain")]
pub(crate) fn functions(list: &[u8]) -> impl Iterator<Item = &str> {
    let functions = symbols(list).filter(|symbol| matches!(symbol.kind, b"t" | b"T" | b"w" | b"W"));
    functions.filter_map(|symbol| std::str::from_utf8(symbol.name).ok())
}
