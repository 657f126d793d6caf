//! From a script's text to its output: what `run`, the tools and the `bpftrace` name share.

use std::io::IsTerminal;
use std::path::PathBuf;

use kscope_bpf::btf::Btf;
use kscope_runtime::Sink as _;
use kscope_runtime::{Error as RuntimeError, LiveCatalogue, Options, Request, Session, Target};
use kscope_script::compile::{self, Compilation, Compiled};
use kscope_script::diagnostic::Severity;
use kscope_script::types::Inputs;
use kscope_sys::{Child, ExitKind, Interrupts, StoppedChild};

use crate::diagnostics;
use crate::error::Failure;
use crate::sink::Sink;

/// A script and where it comes from.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    /// What findings call it.
    pub(crate) name: String,
    /// Its text.
    pub(crate) text: String,
}

/// What a compilation is for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Setup {
    /// Values of `$1`, `$2`, …
    pub(crate) positional: Vec<String>,
    /// Configuration over that of the environment.
    pub(crate) config: Vec<(String, String)>,
    /// A BTF file instead of the kernel's own.
    pub(crate) btf: Option<PathBuf>,
    /// Whether warnings are left out.
    pub(crate) no_warnings: bool,
    /// Options that the script may not declare.
    pub(crate) reserved: Vec<String>,
}

/// A kernel with its types, where it has any.
pub(crate) struct Place {
    pub(crate) target: Target,
    pub(crate) btf: Result<Btf, RuntimeError>,
}

impl Setup {
    /// Opens the running kernel.
    pub(crate) fn place(&self) -> Place {
        let file = self
            .btf
            .clone()
            .or_else(|| std::env::var_os("BPFTRACE_BTF").map(PathBuf::from));
        let target = match file {
            Some(file) => Target::live().with_btf(file),
            None => Target::live(),
        };
        let btf = target.btf();
        Place { target, btf }
    }

    /// Compiles and tells the findings.
    ///
    /// # Errors
    ///
    /// Where the script has errors, which are then told already.
    pub(crate) fn compile(&self, place: &Place, source: &Source) -> Result<Compiled, Failure> {
        let compilation = self.try_compile(place, source);
        self.tell(source, &compilation);
        let failed = || match &place.btf {
            // Without types most scripts fail, and this is why.
            Err(error) => Failure::of_run(error, &source.text, false),
            Ok(_) => Failure::told(),
        };
        compilation.compiled.ok_or_else(failed)
    }

    /// Compiles and keeps the findings.
    pub(crate) fn try_compile(&self, place: &Place, source: &Source) -> Compilation {
        let btf = place.btf.as_ref().ok();
        let catalogue = LiveCatalogue::new(&place.target, btf);
        let mut inputs = Inputs::new(&catalogue);
        inputs.btf = btf;
        inputs.positional.clone_from(&self.positional);
        inputs.reserved_options.clone_from(&self.reserved);
        inputs.environment = environment();
        inputs.environment.extend(self.config.iter().cloned());
        compile::compile(
            &source.name,
            &source.text,
            &inputs,
            compile::Options::default(),
        )
    }

    /// Prints the findings.
    pub(crate) fn tell(&self, source: &Source, compilation: &Compilation) {
        let mut findings = compilation.diagnostics.clone();
        if self.no_warnings {
            findings.retain(|finding| finding.severity == Severity::Error);
        }
        if !findings.is_empty() {
            let color = wants_color();
            eprint!(
                "{}",
                diagnostics::render(&source.name, &source.text, &findings, color)
            );
        }
    }
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
    std::env::vars()
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
    /// A command to run and trace.
    pub(crate) command: Option<String>,
    /// Attach and leave again.
    pub(crate) dry_run: bool,
    /// Whether "Attached N probes" is left out.
    pub(crate) quiet: bool,
    /// Whether whole logs are shown.
    pub(crate) verbose: bool,
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
    let options = Options::parse(&compiled.plan, &run.options).map_err(failed)?;
    let interrupts = Interrupts::install()
        .map_err(|errno| Failure::new(format!("cannot catch signals: {errno}")))?;
    let child = run.command.as_deref().map(spawn).transpose()?;
    let request = Request {
        compiled,
        options,
        name: run.name.clone(),
        source: source.text.clone(),
    };
    let btf = place.btf.as_ref().ok();
    let mut session = Session::load(&place.target, btf, request).map_err(failed)?;
    if run.verbose {
        tell_programs(&session);
    }
    if !run.quiet {
        let attached = kscope_rows::Output::AttachedProbes(session.probes());
        sink.output(attached)?;
    }
    for missing in session.start(sink).map_err(failed)? {
        eprintln!("WARNING: {missing}");
    }
    sink.pause()?;
    notify_attached();
    let mut child = child.map(release).transpose()?;
    let mut code = 0;
    if !run.dry_run {
        let stop = || interrupts.count() > 0;
        code = match session.run(sink, &stop, child.as_mut()).map_err(failed)? {
            kscope_runtime::Stop::Exit(code) => code as u8,
            kscope_runtime::Stop::Asked => 0,
            kscope_runtime::Stop::Child(ExitKind::Code(code)) => code as u8,
            kscope_runtime::Stop::Child(ExitKind::Signal(signal)) => {
                128u8.wrapping_add(signal as u8)
            }
        };
    }
    let summary = session.finish(sink).map_err(failed)?;
    sink.finish()?;
    tell_summary(&summary);
    Ok(code)
}

fn spawn(command: &str) -> Result<StoppedChild, Failure> {
    let words: Vec<std::ffi::OsString> = split_words(command).into_iter().map(Into::into).collect();
    let Some((program, arguments)) = words.split_first() else {
        return Err(Failure::usage("the command of -c is empty"));
    };
    StoppedChild::spawn(program, arguments)
        .map_err(|errno| Failure::new(format!("cannot start `{command}`: {errno}")))
}

fn release(child: StoppedChild) -> Result<Child, Failure> {
    child
        .release()
        .map_err(|errno| Failure::new(format!("cannot run the command: {errno}")))
}

/// Splits a command at blanks outside of quotes.
fn split_words(command: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for c in command.chars() {
        match (c, quote) {
            (_, Some(q)) if c == q => quote = None,
            (_, Some(_)) => word.get_or_insert_default().push(c),
            ('\'' | '"', None) => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (c, None) if c.is_whitespace() => words.extend(word.take()),
            (c, None) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

/// Tells test runners of bpftrace that all probes are attached.
fn notify_attached() {
    if std::env::var_os("__BPFTRACE_NOTIFY_PROBES_ATTACHED").is_some() {
        println!("__BPFTRACE_NOTIFY_PROBES_ATTACHED");
    }
}

fn tell_programs(session: &Session) {
    for program in session.object().programs() {
        match program.info() {
            Ok(info) => eprintln!(
                "program {}: {} instructions verified, {} bytes translated, {} bytes JITed",
                program.name(),
                info.verified_insns,
                info.translated_bytes,
                info.jited_bytes
            ),
            Err(error) => eprintln!("program {}: {error}", program.name()),
        }
    }
}

fn tell_summary(summary: &kscope_runtime::Summary) {
    if summary.lost_stacks > 0 {
        eprintln!(
            "WARNING: {} stacks could not be stored",
            summary.lost_stacks
        );
    }
    for (map, refused) in &summary.full_maps {
        eprintln!(
            "WARNING: map {map} was full: {refused} updates were lost; raise max_map_keys in the config block"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::split_words;

    #[test]
    fn commands_are_split_as_a_shell_would() {
        let check = |text, expected: &[&str]| assert_eq!(split_words(text), expected, "{text}");
        check("", &[]);
        check("  ls  -l ", &["ls", "-l"]);
        check("sh -c 'sleep 1; ls'", &["sh", "-c", "sleep 1; ls"]);
        check(r#"a "b c"d '' e"#, &["a", "b cd", "", "e"]);
    }
}
