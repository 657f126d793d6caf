//! Measures what an eBPF library does, the same way for each: `btf`, `load OBJECT`, `ring OBJECT`.
//!
//! A program of this workspace implements [`Library`] with one of them and calls [`main`]. It prints one line of
//! `name=value` words, which `cargo xtask bench` reads.

use std::hint::black_box;
use std::process::ExitCode;

/// What any error becomes here: text.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Events of one round; the ring holds more.
const BATCH: u64 = 1000;
/// Rounds of one run.
const ROUNDS: u64 = 200;

/// What is measured of a library.
pub trait Library {
    /// The kernel's types, as far as the library reads them ahead.
    type Types;
    /// An object that is loaded.
    type Object;
    /// The reader of the object's ring buffer, with its program attached.
    type Ring;

    /// Reads the kernel's types and finds `task_struct`, where the library lets its users look for it.
    fn types() -> Result<Self::Types>;
    /// Opens and loads every program of an object, and fails when one was refused.
    fn load(path: &str) -> Result<Self::Object>;
    /// Attaches `tp_getpgid` and opens the ring `events`.
    fn ring(object: &mut Self::Object) -> Result<Self::Ring>;
    /// Reads all events that are there, hands each to `each` and gives their number.
    fn read(ring: &mut Self::Ring, each: &mut dyn FnMut(&[u8])) -> Result<u64>;
}

/// Runs what the command line names.
pub fn main<L: Library>() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        ["btf"] => measure(L::types),
        ["load", path] => measure(|| L::load(path)),
        ["ring", path] => ring::<L>(path),
        _ => Err("btf, load OBJECT or ring OBJECT".into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Makes something once and prints its CPU time, the peak of memory, and what it keeps of memory while it lives.
fn measure<T>(make: impl FnOnce() -> Result<T>) -> Result<()> {
    let (anonymous, resident) = (anonymous(), resident());
    let start = cpu();
    let made = make()?;
    let nanoseconds = cpu() - start;
    let kept = self::anonymous().saturating_sub(anonymous);
    let added = self::resident().saturating_sub(resident);
    black_box(made);
    println!(
        "cpu={nanoseconds} kept={kept} added={added} peak={}",
        field("/proc/self/status", "VmHWM")
    );
    Ok(())
}

/// Reads events in rounds and prints the nanoseconds of CPU time that each one took, in the median round: what else runs on
/// the machine disturbs some of them.
fn ring<L: Library>(path: &str) -> Result<()> {
    let mut object = L::load(path)?;
    let mut ring = L::ring(&mut object)?;
    let (mut rounds, mut events, mut sum) = (Vec::new(), 0, 0);
    for _ in 0..ROUNDS {
        for _ in 0..BATCH {
            let _ = rustix::process::getpgid(None);
        }
        let start = cpu();
        let read = L::read(&mut ring, &mut |event| {
            sum += event.len() + usize::from(event.first().copied().unwrap_or_default());
        })?;
        rounds.push((cpu() - start) as f64 / read.max(1) as f64);
        events += read;
    }
    black_box(sum);
    if events < BATCH * ROUNDS {
        return Err(format!("{events} of {} events came", BATCH * ROUNDS).into());
    }
    rounds.sort_by(f64::total_cmp);
    println!("event={:.3}", rounds[rounds.len() / 2]);
    Ok(())
}

/// Gives the CPU time of this process in nanoseconds, user and system.
fn cpu() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    u64::try_from(time.tv_sec).unwrap_or_default() * 1_000_000_000
        + u64::try_from(time.tv_nsec).unwrap_or_default()
}

/// Gives the anonymous memory of this process in kilobytes: what is its own, and no file's.
fn anonymous() -> u64 {
    field("/proc/self/smaps_rollup", "Anonymous")
}

/// Gives the resident memory of this process in kilobytes.
fn resident() -> u64 {
    field("/proc/self/smaps_rollup", "Rss")
}

fn field(file: &str, name: &str) -> u64 {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok())
        .unwrap_or_default()
}
