//! What can be read of a kernel: addresses, gaps, typed places, walks, and the kernel's symbol
//! table.
//!
//! Nothing here opens a file: bytes come from the caller, so that the same code serves the running
//! kernel and a dump of a dead one.

mod address;
mod kallsyms;
mod maple;
mod object;
mod per_cpu;
mod symbols;
mod walk;
mod xarray;

pub use address::{Gap, GapAt, Memory, Pfn, PhysAddr, PhysMemory, VirtAddr};
pub use kallsyms::{KallsymsError, KernelSymbolsBuilder};
pub use maple::MapleLayout;
pub use object::{FieldAt, Object, ObjectError};
pub use per_cpu::PerCpu;
pub use symbols::{Found, KernelSymbol, KernelSymbols};
pub use walk::{Walk, WalkError, hlist, list, rbtree};
pub use xarray::XarrayLayout;
