//! The command line of bpftrace, for when the binary is called by that name.

use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::{Args, Parser};
use kscope_bpf::spec::{HelperId, ProgramType};
use kscope_bpf::{Features, Support};
use kscope_script::plan::Attach;
use kscope_script::types::Mode;

use crate::commands::list;
use crate::commands::run::{self, FormatName, mode, read_source, script_options};
use crate::console::say;
use crate::error::Failure;
use crate::pattern::Pattern;
use crate::place::Place;
use crate::sink::{Buffering, Form, Sink};
use crate::tracing::{self, Run, Setup, Shown, Source};
use crate::trial;

/// kscope under bpftrace's name: takes its command line and runs its scripts
#[derive(Debug, Parser)]
#[command(name = "bpftrace", disable_version_flag = true, max_term_width = 100)]
struct Bpftrace {
    /// Run this program
    #[arg(short = 'e', value_name = "PROGRAM")]
    program: Option<String>,
    /// List the probes of a pattern or a program, with -v their arguments; `struct NAME` prints a type
    #[arg(short = 'l')]
    list: bool,
    /// Show programs, verifier logs, arguments of listed probes
    #[arg(short = 'v')]
    verbose: bool,
    /// Leave out "Attached N probes"
    #[arg(short = 'q')]
    quiet: bool,
    /// Trace this process alone, until it ends
    #[arg(short = 'p', value_name = "PID", value_parser = clap::value_parser!(u32).range(1..))]
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
    /// Allow functions that change the system
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
    /// Take the functions that may be traced from this file
    #[arg(long, value_name = "FILE")]
    traceable_functions: Option<PathBuf>,
    /// Accepted and without effect: there is no LLVM here
    #[arg(long, hide = true)]
    verify_llvm_ir: bool,
    /// Print what stages of the compilation made: ast, types, codegen, verifier, all
    #[arg(short = 'd', long = "debug", value_name = "STAGE")]
    debug: Vec<DebugStage>,
    /// Tell of reads of memory that fail, which else give zero
    #[arg(short = 'k', long = "warnings")]
    check_reads: bool,
    /// Accepted and without effect: what a script prints does not depend on them
    #[arg(long, value_name = "FEATURES", value_delimiter = ',', hide = true)]
    no_feature: Vec<Feature>,
    /// Run test: probes (test), bench: probes (bench), or only compile (codegen)
    #[arg(long, value_name = "MODE", conflicts_with_all = ["test", "bench"])]
    mode: Option<String>,
    /// Run the program's test: probes and tell which fail
    #[arg(long, conflicts_with = "command")]
    test: bool,
    /// Run the program's bench: probes and tell their time
    #[arg(long, conflicts_with_all = ["test", "command"])]
    bench: bool,
    /// Run only probes whose name this matches: characters, `.`, `*`, `^` and `$`
    #[arg(long, value_name = "REGEX")]
    probe_filter: Option<String>,
    #[command(flatten)]
    missing: Missing,
    /// Program file and positional parameters; after `--` options of the program
    #[arg(value_name = "FILE] [ARGS")]
    words: Vec<String>,
    /// Options of the program
    #[arg(value_name = "--NAME=VALUE", last = true, allow_hyphen_values = true)]
    options: Vec<String>,
}

/// What `-d` shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum DebugStage {
    All,
    Ast,
    Parse,
    Types,
    Codegen,
    CodegenOpt,
    Dis,
    Libbpf,
    Verifier,
}

/// What `--no-feature` turns off in bpftrace.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
#[value(rename_all = "snake_case")]
enum Feature {
    KprobeMulti,
    KprobeSession,
    UprobeMulti,
}

/// What bpftrace has and kscope does not.
#[derive(Args, Debug)]
struct Missing {
    /// Accepted and without effect, as `--include` is: kernel types come from BTF
    #[arg(short = 'I', value_name = "DIRECTORY", hide = true)]
    include_directory: Vec<String>,
    #[arg(long, value_name = "FILE", hide = true)]
    include: Vec<String>,
    #[arg(long, value_name = "FILE", hide = true)]
    aot: Option<String>,
    #[arg(long, value_name = "FILE", hide = true)]
    emit_elf: Option<String>,
    #[arg(long, value_name = "FILE", hide = true)]
    emit_llvm: Option<String>,
    /// Accepted and without effect: semaphores of USDT probes are those of the file here
    #[arg(long, hide = true)]
    usdt_file_activation: bool,
    #[arg(long, value_name = "DIRECTORY", hide = true)]
    debuginfo: Option<String>,
    #[arg(long, value_name = "PID", hide = true)]
    dwarf_pid: Option<u32>,
    #[arg(long, hide = true)]
    fmt: bool,
}

impl Missing {
    /// Names the first of these options that is given, with what to do instead.
    fn refuse(&self) -> Result<(), Failure> {
        let given = [
            (
                self.aot.is_some(),
                "--aot",
                "`kscope build` makes objects that run elsewhere",
            ),
            (
                self.emit_elf.is_some(),
                "--emit-elf",
                "`kscope build -o FILE` writes an ELF object",
            ),
            (
                self.emit_llvm.is_some(),
                "--emit-llvm",
                "there is no LLVM here; -d codegen prints the programs",
            ),
            (
                self.debuginfo.is_some(),
                "--debuginfo",
                "types come from the kernel's BTF, names from the symbol tables of programs",
            ),
            (
                self.dwarf_pid.is_some(),
                "--dwarf-pid",
                "stacks of programs are walked by frame pointers: ustack",
            ),
            (self.fmt, "--fmt", "scripts are taken as they are written"),
        ];
        let Some((_, name, instead)) = given.iter().find(|(given, ..)| *given) else {
            return Ok(());
        };
        let failure = Failure::usage(format!("kscope does not have bpftrace's {name}"));
        Err(failure.hint(*instead))
    }
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
    args.missing.refuse()?;
    let mut mode = mode(args.test, args.bench);
    let only_compile = match args.mode.as_deref() {
        None => false,
        Some("codegen") => true,
        Some(which @ ("test" | "bench")) => {
            mode = run::mode(which == "test", true);
            false
        }
        Some(mode) => {
            let message = format!("kscope does not have bpftrace's --mode {mode}");
            return Err(Failure::usage(message)
                .hint("it has codegen, which compiles and does not run, test and bench"));
        }
    };
    if args.version {
        let version = env!("CARGO_PKG_VERSION");
        say(format_args!("bpftrace v0.27.1 (kscope {version})\n"))?;
        return Ok(0);
    }
    if args.info {
        return info();
    }
    let mut place = Place::open(None)?.of_process(args.pid);
    if let Some(file) = &args.traceable_functions {
        place = place.with_traceable(file)?;
    }
    let mut words = args.words;
    let first = words.first().map(String::as_str);
    if args.list && args.program.is_none() && !first.is_some_and(is_script) {
        return list::list(&place, first.unwrap_or("*"), args.verbose);
    }
    let source = match args.program {
        Some(text) => Source::of_command_line(text)?,
        None if words.is_empty() => {
            return Err(Failure::usage(
                "there is no program: give a file, or -e PROGRAM",
            ));
        }
        None => read_source(&words.remove(0))?,
    };
    let options = script_options(&args.options, &mut words)?;
    let setup = Setup {
        positional: words,
        no_warnings: args.no_warnings,
        to_run: !args.list,
        changes_allowed: args.unsafe_functions,
        without_command: args.command.is_none(),
        reads_checked: args.check_reads,
        shown: shown(&args.debug),
        mode,
        ..Setup::default()
    };
    if setup.to_run && !only_compile {
        kscope_runtime::look_ahead(&source.text);
    }
    let mut compiled = setup.compile(&place, &source)?;
    if let Some(pattern) = &args.probe_filter {
        let pattern = Pattern::new(pattern)?;
        let always = |at: &Attach| matches!(at, Attach::Begin | Attach::End);
        (compiled.plan.probes)
            .retain(|probe| pattern.fits(&probe.name) || probe.attach.iter().all(always));
    }
    if args.list {
        return list::list_script(&place, &compiled.plan, args.verbose);
    }
    if only_compile {
        return Ok(0);
    }
    let form = match args.format {
        FormatName::Text => Form::Text,
        FormatName::Json => Form::BpftraceJson,
    };
    let mut inputs = source.files();
    inputs.extend(args.traceable_functions.as_deref());
    let mut sink = Sink::new(form, args.output.as_deref(), &inputs, args.buffering)?;
    let run = Run {
        name: "script".to_owned(),
        options,
        command: args.command,
        ignore_command: true,
        pid: args.pid,
        dry_run: args.dry_run,
        quiet: args.quiet,
        verbose: args.verbose || has(&args.debug, DebugStage::Verifier),
        ..Run::default()
    };
    match setup.mode {
        Mode::Trace => tracing::run(&place, &source, compiled, &run, &mut sink),
        Mode::Test | Mode::Bench => trial::run(&place, &source, compiled, &run, &mut sink),
    }
}

/// Says whether a stage is to be shown.
fn has(stages: &[DebugStage], stage: DebugStage) -> bool {
    stages.contains(&stage) || stages.contains(&DebugStage::All)
}

/// Gives what the compilation is to print.
fn shown(stages: &[DebugStage]) -> Shown {
    use DebugStage::{Ast, Codegen, CodegenOpt, Dis, Parse, Types};
    Shown {
        tree: has(stages, Ast) || has(stages, Parse),
        types: has(stages, Types),
        code: [Codegen, CodegenOpt, Dis]
            .iter()
            .any(|one| has(stages, *one)),
    }
}

/// Says whether what `-l` lists is a script's probes.
fn is_script(word: &str) -> bool {
    word.ends_with(".bt") && Path::new(word).is_file()
}

/// Numbers of helpers: `bpf_d_path`, `bpf_get_func_ip`, `bpf_map_lookup_percpu_elem`.
const D_PATH: u32 = 147;
const GET_FUNC_IP: u32 = 173;
const MAP_LOOKUP_PERCPU_ELEM: u32 = 195;

/// Prints the lines of `bpftrace --info` that scripts look for.
fn info() -> Result<u8, Failure> {
    let place = Place::open(None)?;
    let features = Features::new(place.target.kernel().clone(), place.btf.as_ref().ok());
    let yes = |support: Support| {
        if support.is_available() { "yes" } else { "no" }
    };
    let mut text = format!("kscope: {}\n", env!("CARGO_PKG_VERSION"));
    let helper = |kind, number| features.helper(kind, HelperId(number));
    let known = [
        ("btf", yes(features.btf())),
        ("kprobe_multi", yes(features.kprobe_multi())),
        ("kprobe_session", yes(features.kprobe_session())),
        ("uprobe", yes(features.uprobe())),
        ("uprobe_multi", yes(features.uprobe_multi())),
        ("fentry", yes(features.function_entry())),
        ("iter", yes(features.iterator())),
        ("dpath", yes(helper(ProgramType::Tracing, D_PATH))),
        ("get_func_ip", yes(helper(ProgramType::Kprobe, GET_FUNC_IP))),
        (
            "lookup_percpu_elem",
            yes(helper(ProgramType::Kprobe, MAP_LOOKUP_PERCPU_ELEM)),
        ),
    ];
    // What bpftrace may be built with, and kscope is not.
    let missing = [
        "libdw (DWARF support)",
        "dwunwind (DWARF stack unwinding)",
        "blazesym (advanced symbolization)",
    ];
    for (name, answer) in known.into_iter().chain(missing.map(|name| (name, "no"))) {
        let _ = writeln!(text, "{name}: {answer}");
    }
    say(text)?;
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::Bpftrace;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Bpftrace::command().debug_assert();
    }
}
