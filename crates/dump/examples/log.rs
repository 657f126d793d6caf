//! Prints the kernel's log out of a dump, as dmesg does: `cargo run --example log -- VMCORE`.

use std::error::Error;
use std::io::Write;

use kscope_dump::{Dump, Kernel};

fn main() -> Result<(), Box<dyn Error>> {
    let files: Vec<String> = std::env::args().skip(1).collect();
    let kernel = Kernel::open(Dump::open(&files)?)?;
    let log = kernel.log()?;
    let mut out = std::io::stdout().lock();
    for line in &log.items {
        let micros = line.nanoseconds / 1000;
        let (seconds, micros) = (micros / 1_000_000, micros % 1_000_000);
        writeln!(out, "[{seconds:5}.{micros:06}] {}", line.text)?;
    }
    if let Some(fault) = log.fault {
        writeln!(out, "there may be more: {fault}")?;
    }
    let coverage = kernel.dump().expect("opened from one").coverage();
    if coverage.lost > 0 {
        writeln!(
            out,
            "{} of {} bytes are lost",
            coverage.lost, coverage.dumped
        )?;
    }
    Ok(())
}
