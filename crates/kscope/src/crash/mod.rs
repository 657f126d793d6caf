//! `kscope crash`: what a dump says of the kernel that died.
//!
//! Each analysis is a file. It says what it needs by failing with what is missing, alone: the others
//! go on.

mod bt;
mod cause;
mod log;
mod panic;
mod ps;
mod stack;
mod summary;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use kscope_dump::{Dump, Error as DumpError, Kernel};
use kscope_memory::Gap;

use crate::console::tell;
use crate::dump;
use crate::error::Failure;

/// Look into the memory of a dead kernel: a crash dump
///
/// Without a command, what happened on one screen. No debuginfo is needed: symbols, types and unwind
/// tables are in the dump.
#[derive(Args, Debug)]
pub(crate) struct CrashArgs {
    /// The dump: /proc/vmcore, a copy of it, a file of makedumpfile or of QEMU
    #[arg(value_name = "VMCORE")]
    file: PathBuf,
    /// Another file of a dump that was split
    #[arg(long, value_name = "FILE")]
    part: Vec<PathBuf>,
    /// Print objects in place of text
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    Log(log::LogArgs),
    Bt(bt::BtArgs),
    Ps(ps::PsArgs),
}

/// Runs the command.
pub(crate) fn run(args: &CrashArgs) -> Result<u8, Failure> {
    let mut files = vec![args.file.clone()];
    files.extend(args.part.iter().cloned());
    let kernel = dump::open(&files)?;
    let done = match &args.command {
        None => summary::run(&kernel, &args.file, args.json),
        Some(Command::Log(own)) => log::run(&kernel, own, args.json),
        Some(Command::Bt(own)) => bt::run(&kernel, own, args.json),
        Some(Command::Ps(_)) => ps::run(&kernel, args.json),
    };
    tell_missing(&kernel);
    done.map(|()| 0)
}

/// Makes a failure of what a dump does not say.
fn failed(what: &str, error: &DumpError) -> Failure {
    Failure::new(format!("{what}: {error}"))
}

/// Tells of a walk that did not come to its end.
fn tell_fault(what: &str, fault: Option<&DumpError>) {
    if let Some(fault) = fault {
        tell(format_args!("WARNING: there may be more {what}: {fault}"));
    }
}

/// Tells which reads failed for what the dump does not have but should.
fn tell_missing(kernel: &Kernel) {
    let Some(missing) = kernel.dump().map(Dump::missing) else {
        return;
    };
    let kinds = [(Gap::Lost, missing.lost), (Gap::Corrupt, missing.corrupt)];
    for (gap, count) in kinds.into_iter().filter(|(_, count)| *count > 0) {
        tell(format_args!(
            "WARNING: {count} reads failed: what they read is {gap}"
        ));
    }
}

/// Text of a dump without characters that move the cursor.
pub(crate) fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c.is_control() && c != '\t' {
            true => out.extend(c.escape_default()),
            false => out.push(c),
        }
    }
    out
}
