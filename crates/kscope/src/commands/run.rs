//! `kscope run`

use std::io::Read;
use std::path::{Path, PathBuf};

use clap::Args;
use kscope_dump::Kernel;
use kscope_script::interpret::Engine;
use kscope_script::types::Mode;

use crate::console::say;
use crate::dump::{self, DumpRun};
use crate::error::Failure;
use crate::object::{Object, is_elf};
use crate::place::Place;
use crate::sink::{Buffering, Form, Sink};
use crate::tool::help;
use crate::tracing::{self, Run, STDIN, Setup, Source, require_probes};
use crate::trial;

/// Run a script until it exits or Ctrl-C
#[derive(Args, Debug)]
#[command(
    override_usage = "kscope run [OPTIONS] [FILE] [ARGS]... [-- [--NAME=VALUE]... [ARGS]...]"
)]
pub(crate) struct RunArgs {
    /// Run over the memory of a dead kernel: a crash dump (each file of a split one)
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with_all = ["command", "pid", "buffer", "btf", "dry_run", "test", "bench", "json_schema", "check_reads"]
    )]
    pub(crate) dump: Vec<PathBuf>,
    /// Run in the kernel, or interpret over its memory; else what suits the script
    #[arg(long, value_name = "ENGINE", conflicts_with = "dump")]
    pub(crate) engine: Option<EngineName>,
    /// The script itself
    #[arg(short = 'e', value_name = "SCRIPT")]
    pub(crate) script: Option<String>,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
    /// Run the script's test: probes and tell which fail
    #[arg(long, conflicts_with_all = ["command", "dry_run"])]
    pub(crate) test: bool,
    /// Run the script's bench: probes and tell their time
    #[arg(long, conflicts_with_all = ["test", "command", "dry_run"])]
    pub(crate) bench: bool,
    /// Tell of reads of memory that fail, which else give zero
    #[arg(short = 'k', long)]
    pub(crate) check_reads: bool,
    /// A file with the script, or an object of `kscope build` (`-` reads standard input), unless -e is given, and the values of
    /// $1, $2, …
    #[arg(value_name = "FILE] [ARGS")]
    pub(crate) words: Vec<String>,
    /// Options of the script, and values of $1, $2, … that begin with `-`; `-- --help` says what the script takes. The
    /// options of a built-in tool need no `--`: `kscope opensnoop --failed`
    #[arg(value_name = "--NAME=VALUE", last = true, allow_hyphen_values = true)]
    pub(crate) options: Vec<String>,
}

/// Flags that decide what comes out and how.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct OutputArgs {
    /// Print bpftrace's text, or its JSON
    #[arg(
        short = 'f',
        long = "format",
        value_name = "FORMAT",
        default_value = "text"
    )]
    pub(crate) format: FormatName,
    /// Print records as one JSON object per row
    #[arg(long, conflicts_with = "format")]
    pub(crate) json: bool,
    /// Print the JSON schema of the records and exit
    #[arg(long)]
    pub(crate) json_schema: bool,
    /// Write to a file instead of standard output
    #[arg(short = 'o', long = "output", value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// When to hand on output
    #[arg(short = 'B', value_name = "MODE", default_value = "line")]
    pub(crate) buffering: Buffering,
    /// Run this command and trace until it ends
    #[arg(short = 'c', value_name = "COMMAND")]
    pub(crate) command: Option<String>,
    /// Trace this process alone, until it ends
    #[arg(short = 'p', long, value_name = "PID", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) pid: Option<u32>,
    /// Send events through a ring buffer or through perf buffers
    #[arg(long, value_name = "KIND")]
    pub(crate) buffer: Option<BufferKind>,
    /// Take the kernel's types from this BTF file
    #[arg(long, value_name = "FILE")]
    pub(crate) btf: Option<PathBuf>,
    /// Attach all probes, then leave
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Leave out "Attached N probes"
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Show programs and whole verifier logs
    #[arg(short, long)]
    pub(crate) verbose: bool,
    /// Leave out warnings about the script
    #[arg(long)]
    pub(crate) no_warnings: bool,
    /// Allow functions that change the system: system(), signal(), override()
    #[arg(long = "unsafe")]
    pub(crate) changes_allowed: bool,
}

/// Back ends that `--engine` names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum EngineName {
    /// eBPF programs
    Bpf,
    /// The interpreter, over memory
    Memory,
}

/// Forms that `-f` names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, clap::ValueEnum)]
pub(crate) enum FormatName {
    /// bpftrace's text
    #[default]
    Text,
    /// bpftrace's JSON, an object a line
    Json,
}

/// Kinds of event buffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum BufferKind {
    /// One ring buffer (Linux 5.8)
    Ring,
    /// A perf buffer per CPU
    Perf,
}

impl BufferKind {
    /// Gives the configuration that chooses it.
    pub(crate) fn config(self) -> (String, String) {
        let value = match self {
            BufferKind::Ring => "ring",
            BufferKind::Perf => "perf",
        };
        ("event_buffer".to_owned(), value.to_owned())
    }
}

impl OutputArgs {
    fn form(&self) -> Form {
        match (self.json, self.format) {
            (true, _) => Form::RowJson,
            (false, FormatName::Text) => Form::Text,
            (false, FormatName::Json) => Form::BpftraceJson,
        }
    }
}

/// Runs the command.
pub(crate) fn run(args: &RunArgs) -> Result<u8, Failure> {
    let (given, mut positional) = match (&args.script, args.words.split_first()) {
        (Some(script), _) => {
            let script = Source::of_command_line(script)?;
            (Given::Script(script), args.words.clone())
        }
        (None, Some((file, rest))) => {
            let given = match Object::open(file)? {
                Some(object) => Given::Object(Box::new(object)),
                None => Given::Script(read_source(file)?),
            };
            (given, rest.to_vec())
        }
        (None, None) => {
            return Err(Failure::usage(
                "there is no script: give a file, or -e SCRIPT",
            ));
        }
    };
    let output = &args.output;
    let options = script_options(&args.options, &mut positional)?;
    let setup = Setup {
        positional,
        config: output.buffer.map(BufferKind::config).into_iter().collect(),
        no_warnings: output.no_warnings,
        to_run: !output.json_schema,
        changes_allowed: output.changes_allowed,
        without_command: output.command.is_none(),
        reads_checked: args.check_reads,
        mode: mode(args.test, args.bench),
        ..Setup::default()
    };
    let asks = options.iter().any(|(name, _)| name == HELP);
    if let (Given::Script(source), true) = (&given, asks) {
        let declared = setup.declared(source);
        if declared.iter().all(|option| option.name != HELP) {
            say(help(&called(args), &source.text, &declared))?;
            return Ok(0);
        }
    }
    if !args.dump.is_empty() {
        let Given::Script(source) = given else {
            let failure = Failure::new("an object is made for the live kernel, not for a dump");
            return Err(failure.hint("give the script that it was built from"));
        };
        let kernel = dump::open(&args.dump)?;
        return over_memory(&kernel, args, &setup, &source, &options);
    }
    if let (Given::Script(source), true) = (&given, setup.to_run) {
        kscope_runtime::look_ahead(&source.text);
    }
    let place = Place::open(output.btf.as_deref())?.of_process(output.pid);
    if let Given::Script(source) = &given {
        let chosen = match args.engine {
            Some(EngineName::Bpf) => Engine::Bpf,
            Some(EngineName::Memory) => Engine::Memory,
            None => setup.engine(source).0,
        };
        if chosen == Engine::Memory {
            refuse_over_memory(args)?;
            let kernel = dump::running(&place)?;
            return over_memory(&kernel, args, &setup, source, &options);
        }
    }
    let mut numbers = Vec::new();
    let is_object = matches!(given, Given::Object(_));
    let (source, compiled) = match given {
        Given::Script(source) => {
            let compiled = setup.compile(&place, &source)?;
            (source, compiled)
        }
        Given::Object(mut object) => {
            object.expand(&place)?;
            numbers = object.numbers(&setup.positional)?;
            require_probes(&object.compiled, None)?;
            (object.source, object.compiled)
        }
    };
    let declared = &compiled.plan.options;
    if asks && is_object && declared.iter().all(|option| option.name != HELP) {
        say(help(&called(args), &source.text, declared))?;
        return Ok(0);
    }
    if output.json_schema {
        return super::tool::print_schema(SCRIPT, &compiled.plan);
    }
    let mut inputs = match (is_object, args.words.first()) {
        (true, Some(file)) => vec![Path::new(file)],
        _ => source.files(),
    };
    inputs.extend(output.btf.as_deref());
    let file = output.output.as_deref();
    let mut sink = Sink::new(output.form(), file, &inputs, output.buffering)?;
    let run = Run {
        name: SCRIPT.to_owned(),
        options,
        numbers,
        is_object,
        command: output.command.clone(),
        pid: output.pid,
        dry_run: output.dry_run,
        quiet: output.quiet,
        verbose: output.verbose,
        ..Run::default()
    };
    match setup.mode {
        Mode::Trace => tracing::run(&place, &source, compiled, &run, &mut sink),
        Mode::Test | Mode::Bench => trial::run(&place, &source, compiled, &run, &mut sink),
    }
}

/// Gives what stands for the script on the command line.
fn called(args: &RunArgs) -> String {
    match (&args.script, args.words.first()) {
        (None, Some(file)) => file.clone(),
        // The words are values of its parameters.
        _ => "-e SCRIPT".to_owned(),
    }
}

/// Runs a script over the memory of a kernel.
fn over_memory(
    kernel: &Kernel,
    args: &RunArgs,
    setup: &Setup,
    source: &Source,
    options: &[(String, Option<String>)],
) -> Result<u8, Failure> {
    let output = &args.output;
    let mut inputs = source.files();
    inputs.extend(args.dump.iter().map(PathBuf::as_path));
    let file = output.output.as_deref();
    let mut sink = Sink::new(output.form(), file, &inputs, output.buffering)?;
    let run = DumpRun {
        name: SCRIPT,
        options,
        quiet: output.quiet,
        columns: None,
    };
    dump::run(kernel, setup, source, &run, &mut sink)
}

/// Refuses flags that mean nothing to a script over memory.
fn refuse_over_memory(args: &RunArgs) -> Result<(), Failure> {
    let output = &args.output;
    let given = [
        ("-c", output.command.is_some()),
        ("-p", output.pid.is_some()),
        ("--buffer", output.buffer.is_some()),
        ("--dry-run", output.dry_run),
        ("--test", args.test),
        ("--bench", args.bench),
        ("--json-schema", output.json_schema),
        ("-k", args.check_reads),
    ];
    match given.into_iter().find(|(_, given)| *given) {
        Some((flag, _)) => Err(Failure::usage(format!(
            "{flag} is for scripts that run in the kernel, and this one is interpreted over its memory"
        ))
        .hint("--engine bpf runs it in the kernel, where the verifier allows it")),
        None => Ok(()),
    }
}

/// Gives which probes are run.
pub(crate) fn mode(test: bool, bench: bool) -> Mode {
    match (test, bench) {
        (true, _) => Mode::Test,
        (false, true) => Mode::Bench,
        (false, false) => Mode::Trace,
    }
}

/// What is run.
enum Given {
    Script(Source),
    Object(Box<Object>),
}

/// The option that asks for the options, which each script has.
const HELP: &str = "help";

/// What rows of a script carry in place of a tool's name.
const SCRIPT: &str = "script";

/// Largest script in bytes.
const MAX_SCRIPT: u64 = 1 << 20;

/// Reads a script from a file, or from standard input for `-`.
pub(crate) fn read_source(file: &str) -> Result<Source, Failure> {
    let failed = |error: std::io::Error| {
        let failure = Failure::new(format!("cannot read {file}: {error}"));
        match error.kind() {
            std::io::ErrorKind::NotFound if file.contains(['{', ':']) => {
                failure.hint("to run a script that is not in a file: -e SCRIPT")
            }
            std::io::ErrorKind::InvalidData if is_elf(file) => {
                let failure = Failure::new(format!("{file} is an object, no script"));
                failure.hint("`kscope run` runs it, `kscope bpf check` tells whether it would load")
            }
            std::io::ErrorKind::InvalidData => Failure::new(format!(
                "cannot read {file}: it is not text in UTF-8, so it is no script"
            )),
            _ => failure,
        }
    };
    let mut text = String::new();
    let name = if file == "-" {
        std::io::stdin()
            .take(MAX_SCRIPT + 1)
            .read_to_string(&mut text)
            .map_err(failed)?;
        STDIN
    } else {
        let opened = std::fs::File::open(file).map_err(failed)?;
        opened
            .take(MAX_SCRIPT + 1)
            .read_to_string(&mut text)
            .map_err(failed)?;
        file
    };
    if text.len() as u64 > MAX_SCRIPT {
        return Err(Failure::new(format!(
            "{file} has more than {MAX_SCRIPT} bytes, which no script has"
        )));
    }
    let mut source = Source::new(name, text);
    crate::import::resolve(&mut source, Path::new(file))?;
    Ok(source)
}

/// Reads what follows `--`: options of a script, `--name=value` or `--name` alone; all else is another positional
/// parameter, as in bpftrace, which so may begin with `-`.
pub(crate) fn script_options(
    words: &[String],
    positional: &mut Vec<String>,
) -> Result<Vec<(String, Option<String>)>, Failure> {
    let mut options = Vec::new();
    for word in words {
        let Some(option) = word.strip_prefix("--") else {
            positional.push(word.clone());
            continue;
        };
        if option.is_empty() {
            let message = format!("`{word}` after `--` is no option of the form --name=value");
            return Err(Failure::usage(message));
        }
        options.push(match option.split_once('=') {
            Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
            None => (option.to_owned(), None),
        });
    }
    Ok(options)
}
