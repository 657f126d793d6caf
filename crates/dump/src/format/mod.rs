//! The formats of dumps: each gives physical memory at addresses.

pub(crate) mod decompress;
pub(crate) mod elf;
pub(crate) mod flat;
pub(crate) mod kdump;
