//! The kernel's symbol table: addresses to names and back.

use core::fmt;

use crate::{KallsymsError, KernelSymbolsBuilder, VirtAddr};

/// Farthest a symbol without a successor nearby reaches, in bytes. Behind the last symbol of the
/// kernel's image, and of each module, lies memory that is not theirs.
const REACH: u64 = 16 << 20;

/// The symbols of a kernel, its modules and its BPF programs, by ascending address.
///
/// A symbol takes 16 bytes and its name; symbols of one address keep the order of the text.
#[derive(Default)]
pub struct KernelSymbols {
    pub(crate) entries: Vec<Entry>,
    /// Names, each after its length in two bytes.
    names: Vec<u8>,
    pub(crate) modules: Vec<String>,
}

#[derive(Clone, Copy)]
pub(crate) struct Entry {
    pub(crate) address: u64,
    /// Offset in `names`.
    pub(crate) name: u32,
    /// Number of the module from 1; 0 is the kernel itself.
    pub(crate) module: u16,
    pub(crate) kind: u8,
}

/// A symbol of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KernelSymbol<'a> {
    /// Its address; 0 where addresses are hidden.
    pub address: VirtAddr,
    /// Its name.
    pub name: &'a str,
    /// The module it belongs to; `bpf` for BPF programs, none for the kernel itself.
    pub module: Option<&'a str>,
    /// Its kind as `nm` writes it: `T` and `t` code, `D`, `d`, `B`, `b`, `R`, `r` data.
    pub kind: char,
}

impl KernelSymbol<'_> {
    /// Tells whether the symbol is code.
    #[must_use]
    pub fn is_code(&self) -> bool {
        matches!(self.kind, 'T' | 't' | 'W' | 'w')
    }
}

/// The symbol in which an address lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found<'a> {
    /// The symbol.
    pub symbol: KernelSymbol<'a>,
    /// Bytes from its begin to the address.
    pub offset: u64,
}

impl KernelSymbols {
    /// Reads the whole text of `/proc/kallsyms`.
    ///
    /// # Errors
    /// As [`KernelSymbolsBuilder::push`].
    pub fn parse(text: &[u8]) -> Result<KernelSymbols, KallsymsError> {
        let mut builder = KernelSymbolsBuilder::new();
        builder.push(text)?;
        builder.finish()
    }

    /// Gives the number of symbols.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Tells whether there is no symbol.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Tells whether the kernel hid the addresses (`kernel.kptr_restrict`, no CAP_SYSLOG): all
    /// are 0. Names are there all the same.
    #[must_use]
    pub fn is_restricted(&self) -> bool {
        // Ascending: the last is the largest.
        self.entries.last().is_some_and(|e| e.address == 0)
    }

    /// Gives all symbols by ascending address.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = KernelSymbol<'_>> + Clone {
        self.entries.iter().map(|e| self.symbol(e))
    }

    /// Gives the names of the modules in the table, pseudo-modules such as `bpf` included.
    pub fn modules(&self) -> impl ExactSizeIterator<Item = &str> {
        self.modules.iter().map(String::as_str)
    }

    /// Finds the symbol in which a kernel address lies: of several at one address the first, as
    /// the kernel prints it.
    #[must_use]
    pub fn lookup(&self, address: VirtAddr) -> Option<Found<'_>> {
        // Older kernels list offsets of per-CPU variables as addresses from 0.
        if !address.is_kernel() {
            return None;
        }
        let after = self.entries.partition_point(|e| e.address <= address.0);
        let nearest = self.entries.get(after.checked_sub(1)?)?.address;
        let first = self.entries.partition_point(|e| e.address < nearest);
        let entry = self.entries.get(first)?;
        let offset = address.0 - entry.address;
        let inside = VirtAddr(entry.address).is_kernel() && offset < REACH;
        inside.then(|| Found {
            symbol: self.symbol(entry),
            offset,
        })
    }

    /// Gives the lowest address above `address` at which a symbol is.
    #[must_use]
    pub fn next_after(&self, address: VirtAddr) -> Option<VirtAddr> {
        let after = self.entries.partition_point(|e| e.address <= address.0);
        self.entries.get(after).map(|e| VirtAddr(e.address))
    }

    /// Gives every symbol of this name: static functions of one name are several. Reads through
    /// the whole table; who asks for many names walks [`KernelSymbols::iter`] once instead.
    pub fn find<'a>(&'a self, name: &'a str) -> impl Iterator<Item = KernelSymbol<'a>> {
        let bytes = name.as_bytes();
        self.entries
            .iter()
            .filter(move |e| self.name_bytes(e.name) == bytes)
            .map(|e| self.symbol(e))
    }

    /// Gives the addresses of every symbol of this name.
    #[must_use]
    pub fn addresses(&self, name: &str) -> Vec<VirtAddr> {
        self.find(name).map(|s| s.address).collect()
    }

    /// Keeps a name and gives its place; none where four gigabytes are full.
    #[inline]
    pub(crate) fn add_name(&mut self, name: &[u8]) -> Option<u32> {
        let place = u32::try_from(self.names.len()).ok()?;
        let len = u16::try_from(name.len()).ok()?;
        self.names.extend_from_slice(&len.to_ne_bytes());
        self.names.extend_from_slice(name);
        Some(place)
    }

    /// Puts the entries in order and gives back unused memory.
    pub(crate) fn sort(&mut self) {
        // The kernel's own come sorted, each module's do not. Stable: order tells aliases apart.
        if !self.entries.is_sorted_by_key(|e| e.address) {
            self.entries.sort_by_key(|e| e.address);
        }
        self.entries.shrink_to_fit();
        self.names.shrink_to_fit();
    }

    #[inline]
    fn name_bytes(&self, place: u32) -> &[u8] {
        let rest = self.names.get(place as usize..).unwrap_or_default();
        let Some((len, rest)) = rest.split_first_chunk::<2>() else {
            return &[];
        };
        rest.get(..usize::from(u16::from_ne_bytes(*len)))
            .unwrap_or_default()
    }

    fn symbol(&self, entry: &Entry) -> KernelSymbol<'_> {
        let module = usize::from(entry.module).checked_sub(1);
        KernelSymbol {
            address: VirtAddr(entry.address),
            // Only ASCII was let in.
            name: std::str::from_utf8(self.name_bytes(entry.name)).unwrap_or_default(),
            module: module.and_then(|m| self.modules.get(m)).map(String::as_str),
            kind: char::from(entry.kind),
        }
    }
}

impl fmt::Debug for KernelSymbols {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KernelSymbols")
            .field("symbols", &self.len())
            .field("modules", &self.modules)
            .finish()
    }
}
