//! Prints what reading a symbol table costs: `kallsyms [FILE]`.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    reason = "a program, not the pure library"
)]

use std::time::{Duration, Instant};

use kscope_memory::{KernelSymbols, VirtAddr};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    const RUNS: u32 = 20;
    let path = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "/proc/kallsyms".into());
    let text = std::fs::read(&path)?;
    let mut times = Vec::new();
    let mut symbols = KernelSymbols::default();
    for _ in 0..RUNS {
        let start = Instant::now();
        symbols = KernelSymbols::parse(&text)?;
        times.push(start.elapsed());
    }
    times.sort();
    let least = times.first().copied().unwrap_or_default();
    println!(
        "{} symbols, least wall time of {RUNS} {least:.2?}",
        symbols.len()
    );

    let start = Instant::now();
    let found = symbols
        .iter()
        .filter(|s| symbols.lookup(s.address).is_some())
        .count();
    let each = |t: Duration| t / symbols.len().max(1) as u32;
    println!(
        "lookup by address {:?} each, {found} found",
        each(start.elapsed())
    );
    let start = Instant::now();
    let found = symbols.addresses("vfs_open");
    let text = found.first().and_then(|a: &VirtAddr| symbols.lookup(*a));
    println!("lookup by name {:?}: {text:?}", start.elapsed());
    Ok(())
}
