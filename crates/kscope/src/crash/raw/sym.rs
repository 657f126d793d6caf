//! `kscope crash VMCORE sym`

use clap::Args;
use kscope_dump::Kernel;
use kscope_memory::{KernelSymbol, VirtAddr};
use kscope_rows::Value;

use super::address;
use crate::commands::bpf::listing::{Holds, Listing, number, text};
use crate::crash::analysis::{Analysis, Ask, Need};
use crate::crash::plain;
use crate::error::Failure;

/// Farthest that a symbol reaches: what is behind the last of an image is not its own.
const REACH: u64 = 1 << 20;

/// Find symbols by their names or by addresses in them
///
/// Each with its address, its kind as nm writes it (T and t code, D, d, B, b, R, r data), its size up
/// to the next symbol, and its module.
#[derive(Args, Debug)]
pub(in crate::crash) struct SymArgs {
    /// Names, where `*` stands for any letters, or addresses
    #[arg(value_name = "NAME|ADDRESS", required = true)]
    words: Vec<String>,
}

impl Analysis for SymArgs {
    fn needs(&self) -> &'static [Need] {
        &[Need::Symbols]
    }

    fn run(&self, ask: &Ask<'_>) -> Result<(), Failure> {
        let columns = [
            ("address", Holds::Text),
            ("kind", Holds::Text),
            ("size", Holds::Number),
            ("module", Holds::Text),
            ("offset", Holds::Text),
            ("name", Holds::Text),
        ];
        let mut listing = Listing::new("sym", &columns);
        for word in &self.words {
            for (symbol, offset) in find(ask.kernel, word)? {
                let offset = offset.map_or(Value::None, |offset| text(format!("{offset:#x}")));
                listing.push(vec![
                    text(format!("{:#018x}", symbol.address.0)),
                    text(symbol.kind),
                    size(ask.kernel, &symbol).map_or(Value::None, number),
                    symbol.module.map_or(Value::None, text),
                    offset,
                    text(plain(symbol.name)),
                ]);
            }
        }
        listing.print(ask.json)
    }
}

/// Gives the symbols that a word stands for; with an address in one how far it is from the begin.
fn find<'k>(
    kernel: &'k Kernel,
    word: &'k str,
) -> Result<Vec<(KernelSymbol<'k>, Option<u64>)>, Failure> {
    if word.contains('*') {
        let all = kernel
            .symbols()
            .into_iter()
            .flat_map(kscope_memory::KernelSymbols::iter);
        let all = all.chain(kernel.module_symbols().iter());
        let found: Vec<_> = all
            .filter(|symbol| matches(word, symbol.name))
            .map(|symbol| (symbol, None))
            .collect();
        return match found.is_empty() {
            true => Err(Failure::new(format!("no symbol is like `{word}`"))),
            false => Ok(found),
        };
    }
    let named = address::symbols(kernel, word)?;
    if !named.is_empty() {
        return Ok(named.into_iter().map(|symbol| (symbol, None)).collect());
    }
    let is_place = word.contains(['+', '-', '@']) || address::hexadecimal(word).is_some();
    if !is_place {
        return Err(address::unknown(kernel, word));
    }
    let at = address::parse(kernel, word)?;
    match kernel.symbolize(at) {
        Some(found) => Ok(vec![(found.symbol, Some(found.offset))]),
        None => {
            let failure = Failure::new(format!("there is no symbol at {at}"));
            Err(failure.hint("symbols are of the kernel's image and of its modules"))
        }
    }
}

/// Gives the bytes up to the next symbol.
pub(super) fn size(kernel: &Kernel, symbol: &KernelSymbol<'_>) -> Option<u64> {
    let next = match symbol.module {
        None => kernel.symbols().ok()?.next_after(symbol.address),
        Some(_) => kernel.module_symbols().next_after(symbol.address),
    };
    let mut end = next?;
    if symbol.module.is_some() {
        // The next may be another module's.
        let module = kernel.module_at(symbol.address)?;
        let mut ranges = module.ranges.iter();
        let own = ranges.find(|range| range.contains(&symbol.address))?;
        end = end.min(own.end);
    }
    let size = end.offset_from(VirtAddr(symbol.address.0))?;
    Some(size).filter(|size| *size <= REACH)
}

/// Tells whether a name is like a pattern, in which `*` stands for any letters.
fn matches(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else {
        return false;
    };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else {
        return rest.is_empty();
    };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns() {
        let check = |pattern, name, expected| {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        };
        check("vfs_*", "vfs_read", true);
        check("vfs_*", "vfs_", true);
        check("vfs_*", "xvfs_read", false);
        check("*_read", "vfs_read", true);
        check("*_read", "vfs_readv", false);
        check("*sched*clock*", "native_sched_clock", true);
        check("a*a", "a", false);
        check("a*a", "aa", true);
        check("*", "x", true);
        check("vfs_read", "vfs_read", true);
    }
}
