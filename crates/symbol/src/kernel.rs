//! Names for addresses of the kernel, its modules and its BPF programs.

use core::fmt;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use kscope_memory::{KernelSymbols, KernelSymbolsBuilder, VirtAddr};

use crate::Error;

/// The name of an address: a symbol and the bytes from its begin.
///
/// Displayed as `vfs_open+0x34`, with ` [module]` where it is not the kernel's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Symbol<'a> {
    /// Name of the symbol.
    pub name: &'a str,
    /// Bytes from its begin to the address.
    pub offset: u64,
    /// What it belongs to: a module, `bpf`; none for the kernel itself.
    pub module: Option<&'a str>,
}

impl fmt::Display for Symbol<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{:#x}", self.name, self.offset)?;
        match self.module {
            Some(module) => write!(f, " [{module}]"),
            None => Ok(()),
        }
    }
}

/// Gives names to kernel addresses from a symbol table that is loaded at the first question.
#[derive(Debug)]
pub struct KernelSymbolizer {
    path: PathBuf,
    symbols: OnceLock<Result<KernelSymbols, Error>>,
}

impl Default for KernelSymbolizer {
    fn default() -> KernelSymbolizer {
        KernelSymbolizer::new()
    }
}

impl KernelSymbolizer {
    /// Prepares the running kernel's table, `/proc/kallsyms`. Nothing is read yet.
    #[must_use]
    pub fn new() -> KernelSymbolizer {
        KernelSymbolizer::from_file("/proc/kallsyms")
    }

    /// Prepares a table kept in a file. Nothing is read yet.
    #[must_use]
    pub fn from_file(path: impl Into<PathBuf>) -> KernelSymbolizer {
        KernelSymbolizer {
            path: path.into(),
            symbols: OnceLock::new(),
        }
    }

    /// Takes a table that is there already, as a dump's is.
    #[must_use]
    pub fn from_symbols(symbols: KernelSymbols) -> KernelSymbolizer {
        KernelSymbolizer {
            path: PathBuf::new(),
            symbols: OnceLock::from(Ok(symbols)),
        }
    }

    /// Gives the table, loading it at the first call.
    ///
    /// # Errors
    /// Where the file cannot be read or is no symbol table; the same at every call.
    pub fn symbols(&self) -> Result<&KernelSymbols, &Error> {
        self.symbols.get_or_init(|| load(&self.path)).as_ref()
    }

    /// Forgets the table, so that symbols of modules and BPF programs loaded since are found. A
    /// table that came without a file is kept.
    pub fn refresh(&mut self) {
        if !self.path.as_os_str().is_empty() {
            self.symbols = OnceLock::new();
        }
    }

    /// Names an address; none where no symbol is near, or where there is no table
    /// ([`KernelSymbolizer::symbols`] tells why).
    #[must_use]
    pub fn symbolize(&self, address: VirtAddr) -> Option<Symbol<'_>> {
        let found = self.symbols().ok()?.lookup(address)?;
        let (name, module) = (found.symbol.name, found.symbol.module);
        Some(Symbol {
            name,
            offset: found.offset,
            module,
        })
    }

    /// Gives the addresses of every symbol of this name; empty where there is no table or its
    /// addresses are hidden.
    #[must_use]
    pub fn addresses(&self, name: &str) -> Vec<VirtAddr> {
        match self.symbols() {
            Ok(symbols) if !symbols.is_restricted() => symbols.addresses(name),
            _ => Vec::new(),
        }
    }
}

/// Reads a table in pieces: its text is three times as large as what is kept of it.
fn load(path: &Path) -> Result<KernelSymbols, Error> {
    let os = |cause| Error::Os {
        path: path.to_owned(),
        cause,
    };
    let malformed = |cause| Error::Malformed {
        path: path.to_owned(),
        cause,
    };
    let mut file = File::open(path).map_err(os)?;
    let mut builder = KernelSymbolsBuilder::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return builder.finish().map_err(malformed),
            Ok(len) => builder.push(&buffer[..len]).map_err(malformed)?,
            Err(cause) if cause.kind() == ErrorKind::Interrupted => {}
            Err(cause) => return Err(os(cause)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &[u8] = b"ffffffff81000000 T vfs_open\nffffffffc0001000 t read\t[one]\n";

    fn table() -> KernelSymbolizer {
        KernelSymbolizer::from_symbols(KernelSymbols::parse(TEXT).unwrap())
    }

    #[test]
    fn names() {
        let check = |address, expected: Option<&str>| {
            let symbolizer = table();
            let shown = symbolizer
                .symbolize(VirtAddr(address))
                .map(|s| s.to_string());
            assert_eq!(shown.as_deref(), expected, "{address:#x}");
        };
        check(0xffffffff81000000, Some("vfs_open+0x0"));
        check(0xffffffff81000034, Some("vfs_open+0x34"));
        check(0xffffffffc0001001, Some("read+0x1 [one]"));
        check(0x1000, None);
        assert_eq!(table().addresses("read"), [VirtAddr(0xffffffffc0001000)]);
    }

    #[test]
    fn files_are_read_late_and_again_after_a_refresh() {
        let path = std::env::temp_dir().join(format!("kscope-symbol-{}", std::process::id()));
        let mut symbolizer = KernelSymbolizer::from_file(&path);
        let error = symbolizer.symbols().unwrap_err().to_string();
        assert!(error.starts_with(path.to_str().unwrap()), "{error}");

        std::fs::write(&path, TEXT).unwrap();
        assert!(symbolizer.symbols().is_err(), "the first answer stays");
        symbolizer.refresh();
        assert_eq!(symbolizer.symbols().map(KernelSymbols::len).ok(), Some(2));

        std::fs::write(&path, b"no table").unwrap();
        symbolizer.refresh();
        let error = symbolizer.symbols().unwrap_err().to_string();
        std::fs::remove_file(&path).unwrap();
        assert!(error.contains("malformed symbol table"), "{error}");
        assert!(symbolizer.symbolize(VirtAddr(0xffffffff81000000)).is_none());
    }

    #[test]
    fn a_table_without_file_survives_a_refresh() {
        let mut symbolizer = table();
        symbolizer.refresh();
        assert!(symbolizer.symbols().is_ok());
    }

    #[test]
    fn the_running_kernel() {
        let symbolizer = KernelSymbolizer::new();
        let symbols = symbolizer
            .symbols()
            .expect("every kernel with kallsyms shows names");
        assert!(symbols.len() > 1000);
        if symbols.is_restricted() {
            assert!(symbolizer.addresses("vfs_read").is_empty());
            return;
        }
        let address = symbolizer.addresses("vfs_read")[0];
        assert_eq!(symbolizer.symbolize(address).map(|s| s.offset), Some(0));
    }
}
