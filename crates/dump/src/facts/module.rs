//! The modules of a kernel: where they are, their symbols, their unwind tables.

use std::ops::Range;

use kscope_btf::Btf;
use kscope_memory::{FieldAt, KernelSymbols, KernelSymbolsBuilder, Memory, Object, VirtAddr};

use super::kernel::Kernel;
use crate::bytes::{u16_at, u32_at, u64_at};
use crate::walk::list;
use crate::{Error, Walked};

/// Most modules.
const MODULES: usize = 4096;
/// Most symbols of a module.
const SYMBOLS: u64 = 1 << 20;
/// Most bytes of names of all modules together, as they are in memory, and as they are kept.
const NAMES: u64 = 64 << 20;
/// Most symbols of all modules together.
const ALL_SYMBOLS: u64 = 1 << 21;
/// Longest name (`KSYM_NAME_LEN`).
const NAME: usize = 512;
/// Size of a symbol (`Elf64_Sym`).
const SYMBOL: usize = 24;
/// Most bytes of a module's types.
const TYPES: u64 = 64 << 20;
/// Most entries of an unwind table.
const ENTRIES: u64 = 1 << 22;

/// A module.
#[derive(Clone, Debug)]
pub struct Module {
    /// Its name.
    pub name: String,
    /// The address of its `struct module`.
    pub addr: VirtAddr,
    /// Where its code and data are.
    pub ranges: Vec<Range<VirtAddr>>,
    /// Where its per-CPU variables are, before a CPU's offset is added.
    pub per_cpu: Option<Range<VirtAddr>>,
    /// Bytes of code and data.
    pub size: u64,
    /// Taint flags that it set.
    pub taints: u64,
    /// Its own version, where it has one.
    pub version: Option<String>,
    pub(crate) orc: Option<OrcTable>,
    symbols: Option<SymbolTable>,
}

/// Where an unwind table is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OrcTable {
    pub(crate) addresses: VirtAddr,
    pub(crate) entries: VirtAddr,
    pub(crate) count: u64,
}

#[derive(Clone, Copy, Debug)]
struct SymbolTable {
    symbols: VirtAddr,
    count: u64,
    names: VirtAddr,
    kinds: Option<VirtAddr>,
}

/// Walks the list of modules. A kernel without modules has none, and no fault.
pub(crate) fn read(kernel: &Kernel) -> Walked<Module> {
    let Some(head) = kernel.global("modules") else {
        return Walked::default();
    };
    let walk = || -> Result<Walked<Module>, Error> {
        let btf = kernel.btf()?;
        let link = FieldAt::of(btf, "module", "list")?;
        let found = list(kernel, head, link.offset, MODULES);
        let mut modules = Walked {
            items: Vec::new(),
            fault: found.fault,
        };
        for addr in found.items {
            match one(kernel, addr) {
                Ok(module) => modules.items.push(module),
                Err(error) => modules.fault = modules.fault.or(Some(error)),
            }
        }
        Ok(modules)
    };
    walk().unwrap_or_else(|error| Walked {
        items: Vec::new(),
        fault: Some(error),
    })
}

fn one(kernel: &Kernel, addr: VirtAddr) -> Result<Module, Error> {
    let module = kernel.object("module", addr)?;
    let name = module.member("name")?.text(56)?;
    let ranges = ranges(&module);
    let sizes = ranges.iter().map(|r| r.end.0 - r.start.0);
    let size = sizes.fold(0, u64::saturating_add);
    let version = module.member("version").and_then(|v| v.text(64));
    let version = version.ok().filter(|v| !v.is_empty());
    Ok(Module {
        name: String::from_utf8_lossy(&name).into_owned(),
        addr,
        ranges,
        per_cpu: per_cpu(&module),
        size,
        taints: module.member("taints").and_then(|t| t.value()).unwrap_or(0),
        version: version.map(|v| String::from_utf8_lossy(&v).into_owned()),
        orc: orc(&module),
        symbols: symbol_table(&module),
    })
}

/// Gives where the module is: since 6.4 an array of pieces, before a core and an init part.
fn ranges(module: &Object<'_>) -> Vec<Range<VirtAddr>> {
    let mut ranges = Vec::new();
    let mut push = |piece: &Object<'_>| {
        let base = piece.member("base").and_then(|b| b.pointer());
        let size = piece.member("size").and_then(|s| s.value());
        if let (Ok(base), Ok(size)) = (base, size) {
            if let (true, Some(end)) = (base.0 != 0 && size > 0, base.checked_add(size)) {
                ranges.push(base..end);
            }
        }
    };
    if let Ok(pieces) = module.member("mem") {
        // The array ends where it says.
        for piece in (0..16).map_while(|i| pieces.index(i).ok()) {
            push(&piece);
        }
    }
    for part in ["core_layout", "init_layout"] {
        if let Ok(piece) = module.member(part) {
            push(&piece);
        }
    }
    ranges
}

/// Gives where its per-CPU variables are; none where it has none.
fn per_cpu(module: &Object<'_>) -> Option<Range<VirtAddr>> {
    let base = module.member("percpu").ok()?.pointer().ok()?;
    let size = module.member("percpu_size").ok()?.value().ok()?;
    let end = base.checked_add(size)?;
    (base.0 != 0 && size > 0).then_some(base..end)
}

fn orc(module: &Object<'_>) -> Option<OrcTable> {
    let number = |path: &str| module.member(path).ok()?.value().ok();
    let count = number("arch.num_orcs").filter(|&n| n > 0 && n <= ENTRIES)?;
    Some(OrcTable {
        addresses: VirtAddr(number("arch.orc_unwind_ip")?),
        entries: VirtAddr(number("arch.orc_unwind")?),
        count,
    })
}

fn symbol_table(module: &Object<'_>) -> Option<SymbolTable> {
    let table = module.member("kallsyms").ok()?.deref().ok()?;
    let number = |path: &str| table.member(path).ok()?.value().ok();
    Some(SymbolTable {
        symbols: VirtAddr(number("symtab")?),
        count: number("num_symtab").filter(|&n| n <= SYMBOLS)?,
        names: VirtAddr(number("strtab")?),
        kinds: number("typetab").map(VirtAddr),
    })
}

/// Reads a module's types, which stand on the kernel's.
pub(crate) fn btf(kernel: &Kernel, module: &Module) -> Result<Btf, Error> {
    let base = kernel.btf()?;
    let head = kernel.need("btf_modules")?;
    let link = FieldAt::of(base, "btf_module", "list")?;
    for entry in list(kernel, head, link.offset, MODULES).items {
        let entry = kernel.object("btf_module", entry)?;
        if entry.member("module")?.pointer()? != module.addr {
            continue;
        }
        let types = entry.member("btf")?.deref()?;
        let start = types.member("data")?.pointer()?;
        let len = types.member("data_size")?.value()?;
        if len > TYPES {
            return Err(Error::Malformed {
                what: "types of a module (BTF)",
                offset: start.0,
            });
        }
        let mut bytes = vec![0; len as usize];
        kernel.read(start, &mut bytes)?;
        return Ok(Btf::parse_split(bytes, base)?);
    }
    Err(Error::Missing("types of this module (BTF)"))
}

/// Reads the symbols of all modules; of one whose table cannot be read, none.
pub(crate) fn symbols(kernel: &Kernel, modules: &[Module]) -> KernelSymbols {
    let mut builder = KernelSymbolsBuilder::new();
    let mut left = ALL_SYMBOLS;
    let mut room = NAMES;
    for module in modules {
        if let Some(table) = module.symbols {
            left = match left.checked_sub(table.count) {
                Some(left) => left,
                None => break,
            };
            // What is missing is missing; the others are good.
            let _ = add_symbols(kernel, module, table, &mut room, &mut builder);
        }
    }
    builder.finish().unwrap_or_default()
}

fn add_symbols(
    kernel: &Kernel,
    module: &Module,
    table: SymbolTable,
    room: &mut u64,
    builder: &mut KernelSymbolsBuilder,
) -> Result<(), Error> {
    let mut raw = vec![0; table.count as usize * SYMBOL];
    kernel.read(table.symbols, &mut raw)?;
    let mut kinds = vec![b't'; table.count as usize];
    if let Some(at) = table.kinds {
        kernel.read(at, &mut kinds)?;
    }
    let names = names(kernel, table.names, &raw, *room)?;
    *room = room.saturating_sub(names.len() as u64);
    for (symbol, kind) in raw.chunks_exact(SYMBOL).zip(kinds) {
        let place = u32_at(symbol, 0) as usize;
        let value = VirtAddr(u64_at(symbol, 8));
        // Undefined symbols are other modules' and the kernel's.
        let mut places = module.ranges.iter().chain(&module.per_cpu);
        if u16_at(symbol, 6) == 0 || !places.any(|range| range.contains(&value)) {
            continue;
        }
        let rest = names.get(place..).unwrap_or_default();
        let name = rest.split(|&b| b == 0).next().unwrap_or_default();
        let name = &name[..name.len().min(NAME)];
        *room = room.saturating_sub(name.len() as u64);
        if *room == 0 {
            break;
        }
        let kind = if kind.is_ascii_graphic() { kind } else { b't' };
        let _ = builder.add(value, kind, name, Some(&module.name));
    }
    Ok(())
}

/// Reads the text of the names as far as symbols refer to it, of `most` bytes.
fn names(kernel: &Kernel, start: VirtAddr, symbols: &[u8], most: u64) -> Result<Vec<u8>, Error> {
    let places = symbols
        .chunks_exact(SYMBOL)
        .map(|s| u64::from(u32_at(s, 0)));
    let last = places.max().unwrap_or(0).min(most);
    let mut text = vec![0; last as usize];
    kernel.read(start, &mut text)?;
    if let Some(end) = start.checked_add(last) {
        text.extend_from_slice(&kernel.read_text(end, 512)?);
    }
    Ok(text)
}
