//! From a script's text to its output: what `run`, the tools and the `bpftrace` name share.

use std::io::IsTerminal;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kscope_rows::Schema;
use kscope_runtime::Sink as _;
use kscope_runtime::{
    Error as RuntimeError, LiveCatalogue, Options, Request, Session, Stop, Wishes,
};
use kscope_script::catalogue::TextCatalogue;
use kscope_script::compile::{self, Compilation, Compiled};
use kscope_script::diagnostic::{Diagnostic, Severity};
use kscope_script::hir::Program;
use kscope_script::interpret::{self, Engine};
use kscope_script::plan::{OptionDecl, Plan};
use kscope_script::syntax::{self, Positional};
use kscope_script::types::{self, Inputs, Mode};
use kscope_sys::{ExitKind, Interrupts};

use crate::child::Command;
use crate::console::tell;
use crate::diagnostics;
use crate::error::{DOCTOR, Failure, MOUNT, OPEN, PRIVILEGES};
use crate::losses::losses;
use crate::place::Place;
use crate::process::Process;
use crate::sink::Sink;

/// What findings call a script that is in no file.
pub(crate) const STDIN: &str = "stdin";

/// A script and where it comes from.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    /// What findings call it.
    pub(crate) name: String,
    /// Its text, behind it that of imported files.
    pub(crate) text: String,
    /// The imported files in the text.
    pub(crate) parts: Vec<Part>,
    /// The imports as written.
    pub(crate) imported: Vec<String>,
}

/// An imported file in a script's text, up to the next one.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    /// What findings call it.
    pub(crate) name: String,
    /// Where it begins.
    pub(crate) start: usize,
}

impl Source {
    /// Gives the files that it was read from; a script of the command line is in none.
    pub(crate) fn files(&self) -> Vec<&Path> {
        let parts = self.parts.iter().map(|part| Path::new(&part.name));
        let own = match self.name.as_str() {
            STDIN => Path::new("-"),
            name => Path::new(name),
        };
        std::iter::once(own).chain(parts).collect()
    }

    /// Gives a script of the command line the name that bpftrace gives it.
    ///
    /// # Errors
    ///
    /// Where a file that it imports is not there.
    pub(crate) fn of_command_line(text: impl Into<String>) -> Result<Source, Failure> {
        let mut source = Source::new(STDIN, text);
        crate::import::resolve(&mut source, Path::new(""))?;
        Ok(source)
    }

    /// Gives the names of the imported files with where they begin.
    pub(crate) fn imported_files(&self) -> Vec<(String, usize)> {
        let parts = self.parts.iter();
        parts.map(|part| (part.name.clone(), part.start)).collect()
    }

    /// Makes a source that imports nothing.
    pub(crate) fn new(name: impl Into<String>, text: impl Into<String>) -> Source {
        Source {
            name: name.into(),
            text: text.into(),
            parts: Vec::new(),
            imported: Vec::new(),
        }
    }
}

/// Which stages of a compilation are printed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Shown {
    /// The tree of the script.
    pub(crate) tree: bool,
    /// The checked program with its types.
    pub(crate) types: bool,
    /// The programs in assembler.
    pub(crate) code: bool,
}

/// What a compilation is for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Setup {
    /// Values of `$1`, `$2`, …
    pub(crate) positional: Vec<String>,
    /// Configuration over that of the environment.
    pub(crate) config: Vec<(String, String)>,
    /// Whether warnings are left out.
    pub(crate) no_warnings: bool,
    /// Options that the script may not declare.
    pub(crate) reserved: Vec<String>,
    /// Whether the script is then run, so that each of its probes must be known.
    pub(crate) to_run: bool,
    /// Whether the result is to run on other kernels as well.
    pub(crate) portable: bool,
    /// Whether functions that change the system may be called.
    pub(crate) changes_allowed: bool,
    /// Whether reads of memory that fail are told.
    pub(crate) reads_checked: bool,
    /// Whether it is run without a command.
    pub(crate) without_command: bool,
    /// Whether the script is one of kscope's own, whose parameters are the user's words.
    pub(crate) is_tool: bool,
    /// Which of the probes that run on request are run.
    pub(crate) mode: Mode,
    /// What is printed of the stages.
    pub(crate) shown: Shown,
}

impl Setup {
    /// Compiles and tells the findings.
    ///
    /// # Errors
    ///
    /// Where the script has errors, which are then told already.
    pub(crate) fn compile(&self, place: &Place, source: &Source) -> Result<Compiled, Failure> {
        self.compile_program(place, source)
            .map(|(compiled, _)| compiled)
    }

    /// Compiles, tells the findings, and gives the checked program as well.
    ///
    /// # Errors
    ///
    /// Where the script has errors, which are then told already.
    pub(crate) fn compile_program(
        &self,
        place: &Place,
        source: &Source,
    ) -> Result<(Compiled, Program), Failure> {
        if source.text.trim().is_empty() {
            let message = format!("{} is empty: there is no script in it", source.name);
            return Err(Failure::new(message).hint("for example: begin { print(\"hello\") }"));
        }
        let (program, mut compilation) = self.try_compile(place, source);
        let untyped = match (&place.btf, &compilation.compiled) {
            // What is missing because there are no types at all is one fact.
            (Err(error), None) => {
                let all = compilation.diagnostics.len();
                compilation
                    .diagnostics
                    .retain(|finding| !lacks_types(finding));
                (compilation.diagnostics.len() < all).then_some(error)
            }
            _ => None,
        };
        if let Some(error) = untyped {
            // The cause goes before what else there is to say.
            Failure::of_run(error, &source.text, false).report();
        }
        self.tell(source, &compilation.diagnostics);
        let compiled = compilation.compiled.ok_or_else(Failure::told)?;
        if self.to_run {
            let mut findings = compilation.diagnostics.iter();
            let unknown = findings.find(|finding| finding.id == UNCHECKED_ARGS);
            let unknown = unknown.map(why_unchecked);
            let mut findings = compilation.diagnostics.iter();
            if let Some(found) = findings.find(|finding| finding.id == ON_REQUEST) {
                if compiled.plan.probes.is_empty() {
                    return Err(Failure::new(found.message.clone()));
                }
            }
            require_probes(&compiled, unknown)?;
        }
        Ok((compiled, program))
    }

    /// Compiles and keeps the findings.
    fn try_compile(&self, place: &Place, source: &Source) -> (Program, Compilation) {
        let btf = place.btf.as_ref().ok();
        let catalogue = LiveCatalogue::new(&place.target, btf);
        let mut inputs = Inputs::new(&catalogue);
        inputs.btf = btf;
        self.fill(source, &mut inputs);
        let options = compile::Options::default();
        let (stages, compilation) =
            compile::compile_stages(&source.name, &source.text, &inputs, options);
        if self.shown.tree {
            tell(format_args!("AST after: parse\n{:#?}", stages.script));
        }
        if self.shown.types {
            tell(format_args!("Types\n{:#?}", stages.program));
        }
        if let Some(Compiled { spec, .. }) =
            compilation.compiled.as_ref().filter(|_| self.shown.code)
        {
            for program in &spec.programs {
                let options = kscope_spec::disasm::Options::default();
                tell(kscope_spec::disasm::program(spec, program, options));
            }
        }
        (stages.program, compilation)
    }

    /// Puts into the inputs of a compilation what is not of the kernel.
    pub(crate) fn fill(&self, source: &Source, inputs: &mut Inputs<'_>) {
        inputs.portable = self.portable;
        inputs.changes_allowed = self.changes_allowed;
        inputs.without_command = self.without_command;
        inputs.reads_checked = self.reads_checked;
        inputs.mode = self.mode.clone();
        inputs.imported.clone_from(&source.imported);
        inputs.imported_from = source.parts.first().map(|part| part.start as u32);
        inputs.positional.clone_from(&self.positional);
        inputs.reserved_options.clone_from(&self.reserved);
        inputs.environment = environment();
        inputs.environment.extend(self.config.iter().cloned());
    }

    /// Gives the options that a script declares; no kernel is needed, nor are its parameters.
    pub(crate) fn declared(&self, source: &Source) -> Vec<OptionDecl> {
        let catalogue = TextCatalogue::default();
        let mut inputs = Inputs::new(&catalogue);
        self.fill(source, &mut inputs);
        // This is a number, and may be a part of a name.
        let most = syntax::parameters(&source.text).min(64) as usize;
        let given = inputs.positional.len();
        inputs.positional.resize(given.max(most), "1".to_owned());
        let positional = Positional::new(inputs.positional.clone());
        let (script, _) =
            syntax::parse_with_imports(&source.text, &positional, inputs.imported_from);
        types::check(&script, &inputs).0.options
    }

    /// Gives the back end that suits a script, and why.
    pub(crate) fn engine(&self, source: &Source) -> (Engine, &'static str) {
        let catalogue = TextCatalogue::default();
        let mut inputs = Inputs::new(&catalogue);
        self.fill(source, &mut inputs);
        interpret::engine_of(&source.text, &inputs)
    }

    /// Compiles for the interpreter and tells the findings.
    ///
    /// # Errors
    ///
    /// Where the script has errors, which are then told already.
    pub(crate) fn compile_over_memory(
        &self,
        place: &Place,
        source: &Source,
    ) -> Result<Plan, Failure> {
        let catalogue = TextCatalogue::default();
        let mut inputs = Inputs::new(&catalogue);
        self.fill(source, &mut inputs);
        inputs.btf = Some(place.types()?);
        inputs.interpreted = true;
        inputs.portable = false;
        let options = compile::Options::default();
        let (code, findings) = interpret::compile(&source.text, &inputs, options);
        self.tell(source, &findings);
        code.map(|code| code.plan).ok_or_else(Failure::told)
    }

    /// Prints the findings.
    pub(crate) fn tell(&self, source: &Source, findings: &[Diagnostic]) {
        let mut findings = findings.to_vec();
        // Only where nothing else is there to run does it matter.
        findings.retain(|finding| finding.id != ON_REQUEST);
        if self.no_warnings {
            findings.retain(|finding| finding.severity == Severity::Error);
        }
        // Where it keeps the script from running, the failure says it.
        let fails = self.to_run && findings.iter().any(|finding| finding.id == UNCHECKED_ARGS);
        if let Some(why) = take_unchecked(&mut findings).filter(|_| !fails) {
            tell(format_args!("WARNING: {why}"));
        }
        if self.is_tool {
            tell_of_words(source, &mut findings);
        }
        if !findings.is_empty() {
            let color = wants_color();
            let text = diagnostics::render(source, &findings, color);
            tell(text.trim_end());
        }
    }
}

/// Tells what is wrong with a word of the command line, each thing once and without the place in a
/// script that its user did not write.
fn tell_of_words(source: &Source, findings: &mut Vec<Diagnostic>) {
    let is_of_word = |finding: &Diagnostic| {
        let (start, end) = (finding.span.start as usize, finding.span.end as usize);
        let text = source.text.get(start..end).unwrap_or_default();
        text.strip_prefix('$').is_some_and(|digits| {
            !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
        })
    };
    let mut told: Vec<&str> = Vec::new();
    for finding in findings.iter().filter(|finding| is_of_word(finding)) {
        if !told.contains(&finding.message.as_str()) {
            told.push(&finding.message);
            tell(format_args!("{}: {}", finding.severity, finding.message));
            if let Some(hint) = &finding.hint {
                tell(format_args!("HINT: {hint}"));
            }
        }
    }
    findings.retain(|finding| !is_of_word(finding));
}

/// Says whether a finding comes of there being no types.
fn lacks_types(finding: &Diagnostic) -> bool {
    let hint = finding.hint.as_deref();
    finding.id == "unknown-type" && hint.is_some_and(|hint| hint.contains("no BTF"))
}

/// Gives the reason out of a finding that a probe could not be checked.
fn why_unchecked(finding: &Diagnostic) -> &str {
    let reason = finding.message.split_once("checked: ");
    reason.map_or(finding.message.as_str(), |(_, why)| why)
}

/// Takes out the findings that probes could not be checked, and makes one sentence of them.
fn take_unchecked(findings: &mut Vec<Diagnostic>) -> Option<String> {
    let is_one = |finding: &Diagnostic| ["unchecked-probe", UNCHECKED_ARGS].contains(&finding.id);
    let first = findings.iter().find(|finding| is_one(finding))?;
    let probes = findings
        .iter()
        .filter(|finding| finding.id == "unchecked-probe");
    let sentence = match probes.count() {
        0 | 1 => first.message.clone(),
        several => format!(
            "{several} probes were not checked: {}",
            why_unchecked(first)
        ),
    };
    findings.retain(|finding| !is_one(finding));
    Some(sentence)
}

/// The finding that the fields of a probe cannot be looked up, for want of which it is left out.
const UNCHECKED_ARGS: &str = "unchecked-args";

/// The finding that a probe runs only when it is asked for.
const ON_REQUEST: &str = "on-request";

/// Fails where probes were left out, instead of waiting for what they never will tell.
pub(crate) fn require_probes(compiled: &Compiled, unknown: Option<&str>) -> Result<(), Failure> {
    let points = compiled.plan.probes.iter().map(|probe| probe.attach.len());
    if let Some(why) = unknown {
        let message = format!("what the script traces cannot be looked up: {why}");
        let failure = Failure::new(message);
        return Err(match why {
            why if why.contains("not mounted") => failure.hint(MOUNT),
            why if why.contains("closed to this user") => failure.hint(OPEN).hint(DOCTOR),
            _ => failure.hint(PRIVILEGES),
        });
    }
    if points.sum::<usize>() == 0 {
        return Err(Failure::new("the script has no probe that can be attached").hint(DOCTOR));
    }
    Ok(())
}

fn wants_color() -> bool {
    match std::env::var("BPFTRACE_COLOR").as_deref() {
        Ok("always") => true,
        Ok("never") => false,
        _ => std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none(),
    }
}

/// Gives bpftrace's configuration variables that are set.
fn environment() -> Vec<(String, String)> {
    // These are no configuration of a script.
    const OTHERS: [&str; 3] = ["BPFTRACE_BTF", "BPFTRACE_COLOR", "BPFTRACE_VMLINUX"];
    let text = |(key, value): (std::ffi::OsString, std::ffi::OsString)| {
        Some((key.into_string().ok()?, value.into_string().ok()?))
    };
    std::env::vars_os()
        .filter_map(text)
        .filter(|(key, _)| key.starts_with("BPFTRACE_") && !OTHERS.contains(&key.as_str()))
        .collect()
}

/// How a script is run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Run {
    /// Name that rows carry: the tool's, or `script`.
    pub(crate) name: String,
    /// Values of the script's options as given.
    pub(crate) options: Vec<(String, Option<String>)>,
    /// Values of $1, $2, … that were left out when it was built, by name.
    pub(crate) numbers: Vec<(String, u64)>,
    /// A command to run and trace.
    pub(crate) command: Option<String>,
    /// Whether the exit code is the script's alone, whatever the command's is.
    pub(crate) ignore_command: bool,
    /// The one process to trace.
    pub(crate) pid: Option<u32>,
    /// Attach and leave again.
    pub(crate) dry_run: bool,
    /// Whether "Attached N probes" is left out.
    pub(crate) quiet: bool,
    /// Whether whole logs are shown.
    pub(crate) verbose: bool,
    /// How long to trace, from when all probes are attached.
    pub(crate) duration: Option<Duration>,
    /// The columns of the rows to come, where they are known before.
    pub(crate) columns: Option<Arc<Schema>>,
    /// Whether it is a tool, which fails where it would show nothing.
    pub(crate) is_tool: bool,
    /// Whether it was compiled before, maybe for another kernel.
    pub(crate) is_object: bool,
    /// Whether probes of one kind stand in for those of another that the kernel has not.
    pub(crate) has_alternatives: bool,
}

/// What signals and the end of what is traced make the user's wishes.
struct User<F> {
    interrupts: Interrupts,
    /// Says whether the run is over by itself.
    is_over: F,
}

impl<F: Fn() -> bool> Wishes for User<F> {
    fn stop(&self) -> bool {
        (self.is_over)() || self.interrupts.count() > 0
    }

    fn take_question(&self) -> bool {
        self.interrupts.take_question()
    }

    fn insists(&self) -> bool {
        self.interrupts.count() > 1
    }
}

/// Runs a compiled script to its end and gives the exit code.
pub(crate) fn run(
    place: &Place,
    source: &Source,
    compiled: Compiled,
    run: &Run,
    sink: &mut Sink,
) -> Result<u8, Failure> {
    let failed = |error: RuntimeError| Failure::of_run(&error, &source.text, run.verbose);
    if run.command.is_some() && run.pid.is_some() {
        return Err(Failure::usage(
            "-c and -p name two processes to trace: give one of them",
        ));
    }
    let options = Options::parse(&compiled.plan, &run.options).map_err(failed)?;
    let process = run.pid.map(Process::find).transpose()?;
    let mut command = run.command.as_deref().map(Command::hold).transpose()?;
    let request = Request {
        numbers: run.numbers.clone(),
        name: run.name.clone(),
        imported: source.imported_files(),
        render: Some(kscope_view::render),
        pid: run.pid,
        child: command.as_ref().and_then(Command::pid),
        strict: run.is_tool && !run.has_alternatives,
        each_alone: run.is_object,
        needs_events: run.is_tool || run.is_object,
        ..Request::new(compiled, options, &*source.text)
    };
    let btf = place.btf.as_ref().ok();
    // Probes are attached all the same where the traced process has ended.
    let interrupts = sink.interrupts();
    let interrupted = move || interrupts.count() > 0;
    let mut session = Session::load(&place.target, btf, request, &interrupted).map_err(failed)?;
    if run.verbose {
        tell_programs(&session);
    }
    let missing = match run.dry_run {
        true => session.attach(&interrupted),
        false => session.start(sink, run.quiet, &interrupted),
    };
    for missing in missing.map_err(failed)? {
        tell(format_args!("WARNING: {missing}"));
    }
    if run.dry_run {
        return Ok(0);
    }
    if let Some(columns) = &run.columns {
        sink.begin(columns)?;
    }
    sink.pause()?;
    notify_attached()?;
    if let Some(command) = &mut command {
        command.release()?;
    }
    let full = sink.is_full();
    let end = run
        .duration
        .and_then(|time| Instant::now().checked_add(time));
    let is_over = || {
        let ended = process.as_ref().is_some_and(|process| !process.runs());
        ended || full.get() || end.is_some_and(|end| Instant::now() >= end)
    };
    let user = User {
        interrupts,
        is_over,
    };
    let child = command.as_mut().and_then(Command::running);
    let stop = session.run(sink, &user, child).map_err(failed)?;
    let summary = session.finish(sink, &user).map_err(failed)?;
    sink.finish()?;
    losses(&summary).iter().for_each(tell);
    Ok(match stop {
        // As bpftrace has it: the command's end is not the script's failure.
        Stop::Child(_) if run.ignore_command => 0,
        stop => exit_code(stop),
    })
}

/// Gives the exit code after a run: the script's, or the command's as a shell would give it.
fn exit_code(stop: Stop) -> u8 {
    match stop {
        Stop::Exit(code) | Stop::Child(ExitKind::Code(code)) => code as u8,
        Stop::Asked => 0,
        Stop::Child(ExitKind::Signal(signal)) => 128u8.wrapping_add(signal as u8),
    }
}

/// Tells test runners of bpftrace that all probes are attached.
fn notify_attached() -> std::io::Result<()> {
    const NOTIFY: &str = "__BPFTRACE_NOTIFY_PROBES_ATTACHED";
    match std::env::var_os(NOTIFY) {
        Some(_) => crate::console::say(format_args!("{NOTIFY}\n")),
        None => Ok(()),
    }
}

fn tell_programs(session: &Session) {
    for program in session.object().programs() {
        match program.info() {
            Ok(info) => tell(format_args!(
                "program {}: {} instructions verified, {} bytes translated, {} bytes JITed",
                program.name(),
                info.verified_insns,
                info.translated_bytes,
                info.jited_bytes
            )),
            Err(error) => tell(format_args!("program {}: {error}", program.name())),
        }
    }
}
