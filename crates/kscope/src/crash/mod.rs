//! `kscope crash`: what a dump says of the kernel that died.
//!
//! Each analysis is a file. It says what it needs by failing with what is missing, alone: the others
//! go on.

mod analysis;
mod block;
mod bt;
mod cause;
mod line;
mod locks;
mod log;
pub(crate) use locks::lock_kind;
pub(crate) use log::log_text;
pub(crate) use stack::why;
mod memory;
mod panic;
mod raw;
mod report;
mod script;
mod shell;
mod slabs;
mod stack;
mod summary;
mod table;
mod tool;
mod workqueues;

use std::collections::HashMap;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use kscope_dump::{Dump, Error as DumpError, Kernel, MissingReads, OnCpu, Task, Unread, Walked};
use kscope_memory::{Gap, KernelSymbol, VirtAddr};
use kscope_rows::Value;

use self::analysis::{Analysis, Ask};
use crate::commands::bpf::listing::number;
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
    Summary(summary::SummaryArgs),
    Log(log::LogArgs),
    Bt(bt::BtArgs),
    Memory(memory::MemoryArgs),
    Slabs(slabs::SlabsArgs),
    Locks(locks::LocksArgs),
    Workqueues(workqueues::WorkqueuesArgs),
    Block(block::BlockArgs),
    #[command(flatten)]
    Tool(tool::ToolCommand),
    Struct(raw::StructArgs),
    Sym(raw::SymArgs),
    Read(raw::ReadArgs),
    Dis(raw::DisArgs),
    List(raw::ListArgs),
    Tree(raw::TreeArgs),
    Run(script::ScriptArgs),
    Report(report::ReportArgs),
    Shell(shell::ShellArgs),
}

impl Command {
    /// Gives the analysis that it is; none where it is something else that is done with a kernel.
    fn analysis(&self) -> Option<&dyn Analysis> {
        Some(match self {
            Command::Summary(args) => args,
            Command::Log(args) => args,
            Command::Bt(args) => args,
            Command::Tool(tool) => tool,
            Command::Memory(args) => args,
            Command::Slabs(args) => args,
            Command::Locks(args) => args,
            Command::Workqueues(args) => args,
            Command::Block(args) => args,
            Command::Struct(args) => args,
            Command::Sym(args) => args,
            Command::Read(args) => args,
            Command::Dis(args) => args,
            Command::List(args) => args,
            Command::Tree(args) => args,
            Command::Run(_) | Command::Report(_) | Command::Shell(_) => return None,
        })
    }
}

/// A kernel that is looked at, opened once for all that is asked.
struct Session {
    kernel: Kernel,
    /// The first file of the dump.
    file: PathBuf,
}

impl Session {
    /// Runs a sub-command and gives the exit code.
    fn run(&self, command: &Command, json: bool) -> Result<u8, Failure> {
        match (command.analysis(), command) {
            (Some(analysis), _) => self.look(analysis, json)?,
            (None, Command::Run(args)) => return script::run(self, args, json),
            (None, Command::Report(args)) => report::run(self, args)?,
            (None, _) => return shell::run(self, json),
        }
        Ok(0)
    }

    /// Runs an analysis, and tells what of the dump it could not read.
    fn look(&self, analysis: &dyn Analysis, json: bool) -> Result<(), Failure> {
        let before = missing(&self.kernel);
        let done = analysis::check(&self.kernel, analysis.needs()).and_then(|()| {
            analysis.run(&Ask {
                kernel: &self.kernel,
                file: &self.file,
                json,
            })
        });
        tell_missing(&self.kernel, before);
        // What it was at may have taken the end for memory that cannot be read.
        proceed(&self.kernel).and(done)
    }
}

/// Runs the command.
pub(crate) fn run(args: &CrashArgs) -> Result<u8, Failure> {
    let mut files = vec![args.file.clone()];
    files.extend(args.part.iter().cloned());
    let session = Session {
        kernel: dump::open(&files)?,
        file: args.file.clone(),
    };
    let summary = Command::Summary(summary::SummaryArgs {});
    session.run(args.command.as_ref().unwrap_or(&summary), args.json)
}

/// Fails where Ctrl-C came at the prompt, so that what takes long ends.
fn proceed(kernel: &Kernel) -> Result<(), Failure> {
    let stopped = |_| Failure::new("stopped by Ctrl-C: what is printed may not be whole");
    kernel.proceed().map_err(stopped)
}

/// Makes a failure of what a dump does not say.
pub(crate) fn failed(what: &str, error: &DumpError) -> Failure {
    Failure::new(plain(&format!("{what}: {error}")))
}

/// Tells of a walk that did not come to its end.
pub(crate) fn tell_fault(what: &str, fault: Option<&DumpError>) {
    if let Some(fault) = fault {
        let fault = plain(&fault.to_string());
        tell(format_args!("WARNING: there may be more {what}: {fault}"));
    }
}

/// Tells of what an analysis could not read.
pub(crate) fn tell_unread(what: &str, unread: &Unread) {
    if let Some(first) = &unread.first {
        let (count, first) = (unread.count, plain(&first.to_string()));
        tell(format_args!(
            "WARNING: {count} {what} could not be read: {first}"
        ));
    }
}

/// Tells of a part of an analysis that cannot be there.
fn tell_error(what: &str, error: &DumpError) {
    let error = plain(&error.to_string());
    tell(format_args!("WARNING: {what}: {error}"));
}

/// Gives all threads, or tells why there are none.
fn tasks(kernel: &Kernel) -> Walked<Task> {
    kernel.tasks().unwrap_or_else(|error| {
        tell_error("there are no tasks", &error);
        Walked::default()
    })
}

/// Gives what ran on each CPU, or tells why that is not known.
pub(crate) fn on_cpus(kernel: &Kernel) -> Vec<OnCpu> {
    match kernel.on_cpu() {
        Ok(on_cpu) => on_cpu.items,
        Err(error) => {
            tell_error("what ran on CPUs is not known", &error);
            Vec::new()
        }
    }
}

/// Finds what ran on CPUs by its task. Of a task that two CPUs had, as they may while it is switched, it is the first.
pub(crate) fn by_task(on_cpu: &[OnCpu]) -> HashMap<VirtAddr, &OnCpu> {
    let of_tasks = on_cpu.iter().rev();
    of_tasks.filter_map(|on| Some((on.task?, on))).collect()
}

/// Names a function, with its module behind it.
fn function(kernel: &Kernel, addr: VirtAddr) -> String {
    let Some(found) = kernel.symbolize(addr) else {
        return addr.to_string();
    };
    let offset = (found.offset > 0).then_some(found.offset);
    in_symbol(&found.symbol, offset)
}

/// Writes a place in a symbol: `name+0x10 [module]`.
fn in_symbol(symbol: &KernelSymbol<'_>, offset: Option<u64>) -> String {
    let mut out = plain(symbol.name);
    if let Some(offset) = offset {
        out.push_str(&format!("+{offset:#x}"));
    }
    if let Some(module) = symbol.module {
        out.push_str(&format!(" [{}]", plain(module)));
    }
    out
}

/// Writes a time as people do: the two largest units.
pub(crate) fn duration(nanoseconds: u64) -> String {
    let seconds = nanoseconds / 1_000_000_000;
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {} s", seconds % 60),
        (0, _, _) => format!("{hours} h {minutes} min"),
        (_, _, _) => format!("{days} d {hours} h"),
    }
}

/// Gives a time for a column of milliseconds.
fn milliseconds(nanoseconds: Option<u64>) -> Value {
    nanoseconds.map_or(Value::None, |ns| number(ns / 1_000_000))
}

/// Counts the reads that failed for what the dump does not have but should.
fn missing(kernel: &Kernel) -> MissingReads {
    kernel.dump().map(Dump::missing).unwrap_or_default()
}

/// Tells which reads failed since.
fn tell_missing(kernel: &Kernel, before: MissingReads) {
    let now = missing(kernel);
    let kinds = [
        (Gap::Lost, now.lost.saturating_sub(before.lost)),
        (Gap::Corrupt, now.corrupt.saturating_sub(before.corrupt)),
    ];
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
