//! The command line of bpftrace, for when the binary is called by that name.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use clap::Parser;
use kscope_bpf::{Features, Support};

use crate::commands::list::{self, ListArgs};
use crate::commands::run::{FormatName, read_source, script_options};
use crate::error::Failure;
use crate::sink::{Buffering, Form, Sink};
use crate::tracing::{self, Run, Setup, Source};

/// kscope under bpftrace's name: takes its command line and runs its scripts
#[derive(Debug, Parser)]
#[command(name = "bpftrace", disable_version_flag = true, max_term_width = 100)]
struct Bpftrace {
    /// Run this program
    #[arg(short = 'e', value_name = "PROGRAM")]
    program: Option<String>,
    /// List probes (of the given pattern, `struct NAME` for types)
    #[arg(short = 'l', value_name = "PATTERN", num_args = 0..=1, default_missing_value = "*")]
    list: Option<String>,
    /// Show programs, verifier logs, arguments of listed probes
    #[arg(short = 'v')]
    verbose: bool,
    /// Leave out "Attached N probes"
    #[arg(short = 'q')]
    quiet: bool,
    /// Trace this process
    #[arg(short = 'p', value_name = "PID")]
    pid: Option<u32>,
    /// Run this command and trace until it ends
    #[arg(short = 'c', value_name = "COMMAND")]
    command: Option<String>,
    /// Write to a file
    #[arg(short = 'o', value_name = "FILE")]
    output: Option<PathBuf>,
    /// Output format
    #[arg(short = 'f', value_name = "FORMAT", default_value = "text")]
    format: FormatName,
    /// Output buffering
    #[arg(short = 'B', value_name = "MODE", default_value = "line")]
    buffering: Buffering,
    /// Print the version
    #[arg(short = 'V', long = "version")]
    version: bool,
    /// Allow functions that change the system (there are none yet)
    #[arg(long = "unsafe")]
    unsafe_functions: bool,
    /// Attach all probes, then leave
    #[arg(long)]
    dry_run: bool,
    /// Tell what the kernel can do
    #[arg(long)]
    info: bool,
    /// Leave out warnings about the program
    #[arg(long)]
    no_warnings: bool,
    /// Accepted and without effect: there is no LLVM here
    #[arg(long, hide = true)]
    verify_llvm_ir: bool,
    /// Warn about failed reads
    #[arg(short = 'k', hide = true)]
    check_reads: bool,
    /// Program file and positional parameters; after `--` options of the program
    #[arg(value_name = "FILE] [ARGS")]
    words: Vec<String>,
    /// Options of the program
    #[arg(value_name = "--NAME=VALUE", last = true, allow_hyphen_values = true)]
    options: Vec<String>,
}

/// Says whether the binary was called as `bpftrace`.
pub(crate) fn is_called(name: Option<&OsString>) -> bool {
    name.and_then(|name| Path::new(name).file_name()) == Some(OsStr::new("bpftrace"))
}

/// Runs what the command line says and gives the exit code.
pub(crate) fn run(arguments: Vec<OsString>) -> Result<u8, Failure> {
    let args = match Bpftrace::try_parse_from(arguments) {
        Ok(args) => args,
        Err(error) => return crate::cli::usage(&error),
    };
    if args.version {
        println!("bpftrace v0.27.1 (kscope {})", env!("CARGO_PKG_VERSION"));
        return Ok(0);
    }
    if args.info {
        info();
        return Ok(0);
    }
    if let Some(pattern) = args.list {
        return list::run(&ListArgs {
            verbose: args.verbose,
            btf: None,
            pattern,
        });
    }
    if args.check_reads {
        return Err(Failure::usage(
            "-k is not there yet: failed reads give zero without a warning",
        ));
    }
    if args.pid.is_some() {
        return Err(Failure::usage("-p is not there yet").hint("filter in the script: /pid == $1/"));
    }
    let mut words = args.words;
    let source = match args.program {
        Some(text) => Source {
            name: "stdin".to_owned(),
            text,
        },
        None if words.is_empty() => {
            return Err(Failure::usage(
                "there is no program: give a file, or -e PROGRAM",
            ));
        }
        None => read_source(&words.remove(0))?,
    };
    let options = script_options(&args.options)?;
    let setup = Setup {
        positional: words,
        no_warnings: args.no_warnings,
        ..Setup::default()
    };
    let place = setup.place();
    let compiled = setup.compile(&place, &source)?;
    let form = match args.format {
        FormatName::Text => Form::Text,
        FormatName::Json => Form::BpftraceJson,
    };
    let mut sink = Sink::new(form, args.output.as_deref(), args.buffering)?;
    let run = Run {
        name: "script".to_owned(),
        options,
        command: args.command,
        dry_run: args.dry_run,
        quiet: args.quiet,
        verbose: args.verbose,
    };
    tracing::run(&place, &source, compiled, &run, &mut sink)
}

/// Prints the lines of `bpftrace --info` that scripts look for.
fn info() {
    let place = Setup::default().place();
    let features = Features::new(place.target.kernel().clone(), place.btf.as_ref().ok());
    let yes = |support: Support| if support.is_available() { "yes" } else { "no" };
    println!("kscope: {}", env!("CARGO_PKG_VERSION"));
    println!("btf: {}", yes(features.btf()));
    println!("kprobe_multi: {}", yes(features.kprobe_multi()));
    println!("kprobe_session: {}", yes(features.kprobe_session()));
    println!("uprobe: {}", yes(features.uprobe()));
    println!("fentry: {}", yes(features.function_entry()));
    // What scripts here cannot use yet, whatever the kernel has.
    for name in [
        "iter",
        "dpath",
        "uprobe_multi",
        "get_func_ip",
        "lookup_percpu_elem",
    ] {
        println!("{name}: no");
    }
    for name in [
        "libdw (DWARF support)",
        "dwunwind (DWARF stack unwinding)",
        "blazesym (advanced symbolization)",
    ] {
        println!("{name}: no");
    }
}
