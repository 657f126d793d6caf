//! Independent writers and engines for tests: BTF, an eBPF interpreter. Real dumps, where there are
//! some, and how a test is skipped where there are none.

pub mod btf;
pub mod dumps;
pub mod interpreter;
mod skip;

pub use skip::skipped;
