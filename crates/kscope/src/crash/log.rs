//! `kscope crash VMCORE log`

use std::fmt::Write as _;

use clap::Args;
use kscope_dump::{Kernel, LogCaller, LogLine};
use kscope_rows::Value;

use super::analysis::{Analysis, Ask, Need};
use super::{failed, plain, tell_fault};
use crate::commands::bpf::listing::{Holds, Listing, number, text};
use crate::console::say;
use crate::error::Failure;

/// Print the kernel's log, as dmesg does
#[derive(Args, Debug)]
pub(super) struct LogArgs {
    /// Also print who wrote each line: a task or a CPU
    #[arg(short, long)]
    caller: bool,
    /// Leave out lines that matter less than this: 0 to 7, or emerg, alert, crit, err, warn, notice,
    /// info, debug
    #[arg(short, long, value_name = "LEVEL", value_parser = level)]
    level: Option<u8>,
    /// Print the last lines alone
    #[arg(short = 'n', long, value_name = "NUMBER")]
    last: Option<usize>,
}

/// Names of levels, as dmesg has them, from 0 on.
const LEVELS: [&str; 8] = [
    "emerg", "alert", "crit", "err", "warn", "notice", "info", "debug",
];

/// Reads a level: its number or its name.
fn level(word: &str) -> Result<u8, String> {
    let mut levels = (0..).zip(LEVELS);
    let found = levels.find(|(number, name)| word == *name || word == number.to_string());
    let all = || format!("levels are 0 to 7, or {}", LEVELS.join(", "));
    found.map(|(number, _)| number).ok_or_else(all)
}

impl Analysis for LogArgs {
    fn needs(&self) -> &'static [Need] {
        // The log is found without symbols and types where it can be.
        &[]
    }

    fn run(&self, ask: &Ask<'_>) -> Result<(), Failure> {
        run(ask.kernel, self, ask.json)
    }
}

fn run(kernel: &Kernel, args: &LogArgs, json: bool) -> Result<(), Failure> {
    let log = kernel
        .log()
        .map_err(|error| failed("cannot read the log", &error))?;
    let wanted = |line: &&LogLine| args.level.is_none_or(|most| line.level <= most);
    let lines: Vec<&LogLine> = log.items.iter().filter(wanted).collect();
    let skipped = args.last.map_or(0, |last| lines.len().saturating_sub(last));
    let lines = &lines[skipped..];
    match json {
        true => listed(lines).print(true)?,
        false => say(written(lines, args.caller))?,
    }
    tell_fault("lines", log.fault.as_ref());
    Ok(())
}

/// Gives the whole log as dmesg prints it; where it breaks off, the last line says why.
pub(crate) fn log_text(kernel: &Kernel) -> Result<String, Failure> {
    let log = kernel
        .log()
        .map_err(|error| failed("cannot read the log", &error))?;
    let lines: Vec<&LogLine> = log.items.iter().collect();
    let mut text = written(&lines, false);
    if let Some(fault) = &log.fault {
        let _ = writeln!(
            text,
            "(there may be more lines: {})",
            plain(&fault.to_string())
        );
    }
    Ok(text)
}

/// Writes lines as dmesg does.
fn written(lines: &[&LogLine], with_caller: bool) -> String {
    let mut out = String::new();
    for line in lines {
        let (seconds, micros) = time(line);
        let mut stamp = format!("[{seconds:5}.{micros:06}] ");
        if with_caller {
            let caller = line.caller.map(caller).unwrap_or_default();
            let _ = write!(stamp, "[{caller:>7}] ");
        }
        // Each line of a text of several, as the kernel itself has it.
        for part in line.text.split('\n') {
            out.push_str(&stamp);
            out.push_str(&plain(part));
            out.push('\n');
        }
    }
    out
}

fn time(line: &LogLine) -> (u64, u64) {
    let micros = line.nanoseconds / 1000;
    (micros / 1_000_000, micros % 1_000_000)
}

fn caller(caller: LogCaller) -> String {
    match caller {
        LogCaller::Task(pid) => format!("T{pid}"),
        LogCaller::Cpu(cpu) => format!("C{cpu}"),
    }
}

fn listed(lines: &[&LogLine]) -> Listing {
    let columns = [
        ("time_ns", Holds::Number),
        ("level", Holds::Number),
        ("facility", Holds::Number),
        ("caller", Holds::Text),
        ("text", Holds::Text),
    ];
    let mut listing = Listing::new("log", &columns);
    for line in lines {
        listing.push(vec![
            number(line.nanoseconds),
            number(line.level),
            number(line.facility),
            line.caller.map_or(Value::None, |by| text(caller(by))),
            text(line.text.clone()),
        ]);
    }
    listing
}
