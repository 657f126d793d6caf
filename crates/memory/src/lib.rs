//! What can be read of a kernel: addresses, gaps, and the kernel's symbol table.
//!
//! Nothing here opens a file: bytes come from the caller, so that the same code serves the running
//! kernel and a dump of a dead one.

mod address;
mod kallsyms;
mod symbols;

pub use address::{Gap, GapAt, Memory, VirtAddr};
pub use kallsyms::{KallsymsError, KernelSymbolsBuilder};
pub use symbols::{Found, KernelSymbol, KernelSymbols};
