//! Prints what indexing a BTF blob costs: `index [FILE [TYPE…]]`, and the types named as C.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    reason = "a program, not the pure library"
)]

use std::time::{Duration, Instant};

use kscope_btf::{Btf, Kind};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let path = args
        .next()
        .unwrap_or_else(|| "/sys/kernel/btf/vmlinux".into());
    let blob = std::fs::read(&path)?;
    let names: Vec<String> = args.collect();
    if names.is_empty() {
        return measure(&blob);
    }
    let btf = Btf::parse(blob)?;
    if names == ["--all"] {
        for id in btf.ids().filter(|&id| {
            matches!(
                btf.kind(id),
                Some(Kind::Struct | Kind::Union | Kind::Enum | Kind::Enum64 | Kind::Typedef)
            )
        }) {
            println!("{}\n", btf.print_c(id));
        }
    }
    for name in names {
        for id in btf.find_all(&name) {
            println!("{}\n", btf.print_c(id));
        }
    }
    Ok(())
}

fn measure(blob: &[u8]) -> Result<(), Box<dyn std::error::Error>> {
    // The kernel counts CPU time by ticks: one figure is the mean of many runs.
    const RUNS: u32 = 100;
    let copies = vec![blob.to_vec(); RUNS as usize];
    let before = resident();
    let start = cpu();
    let parsed = copies
        .into_iter()
        .map(Btf::parse)
        .collect::<Result<Vec<_>, _>>()?;
    let layout = cpu() - start;
    let start = cpu();
    let found = parsed
        .iter()
        .filter(|b| b.find("task_struct", Kind::Struct).is_some())
        .count();
    let names = cpu() - start;
    let kept = resident().saturating_sub(before) / RUNS as usize;
    let start = cpu();
    let constants = parsed
        .iter()
        .filter(|b| b.enumerator("BPF_ANY").is_some())
        .count();
    let enumerators = cpu() - start;
    println!("{} types; CPU time, mean of {RUNS}", parsed[0].type_count());
    println!("memory       {kept} kB added by layout and names");
    println!("layout       {:.2?}", layout / RUNS);
    println!(
        "names        {:.2?} ({found} found task_struct)",
        names / RUNS
    );
    println!(
        "enumerators  {:.2?} ({constants} found BPF_ANY)",
        enumerators / RUNS
    );
    Ok(())
}

/// Gives the CPU time of this process; the wall clock where /proc does not tell.
fn cpu() -> Duration {
    thread_local!(static START: Instant = Instant::now());
    let nanoseconds = std::fs::read_to_string("/proc/self/schedstat")
        .ok()
        .and_then(|s| s.split(' ').next()?.parse().ok());
    nanoseconds.map_or_else(|| START.with(Instant::elapsed), Duration::from_nanos)
}

/// Gives the resident memory of this process in kB.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"));
    line.and_then(|l| l.split_whitespace().next()?.parse().ok())
        .unwrap_or(0)
}
