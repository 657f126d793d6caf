//! Independent writers and engines for tests: BTF, an eBPF interpreter.

pub mod btf;
pub mod interpreter;
