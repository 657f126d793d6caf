//! A script inside of another program, from its text to rows of that program's types.

use std::cell::Cell;
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::time::{Duration, Instant};

use kscope_btf::Btf;
use kscope_rows::{FromRow, MapOutput, Output};
use kscope_script::compile::{self, Compiled, LineTable};
use kscope_script::diagnostic::{Diagnostic, Severity};
use kscope_script::types::Inputs;

use crate::catalogue::LiveCatalogue;
use crate::error::Error;
use crate::options::Options;
use crate::session::{Request, Session, Sink, Stop, Summary};
use crate::target::Target;

/// A script, compiled for this kernel.
///
/// # Examples
///
/// ```no_run
/// use std::time::Duration;
///
/// kscope_rows::row! {
///     struct Open {
///         pid: u32,
///         path: String,
///     }
/// }
///
/// fn main() -> Result<(), kscope_runtime::Error> {
///     let script = kscope_runtime::Script::compile(
///         "tracepoint:syscalls:sys_enter_openat { print((pid=pid, path=str(args.filename))); }",
///         &[],
///     )?;
///     let mut running = script.start()?;
///     while let Some(open) = running.next::<Open>(Duration::from_secs(1))? {
///         println!("{} opens {}", open.pid, open.path);
///     }
///     Ok(())
/// }
/// ```
#[derive(Debug)]
pub struct Script {
    target: Target,
    btf: Option<Btf>,
    source: String,
    compiled: Compiled,
    warnings: Vec<Diagnostic>,
    options: Vec<(String, Option<String>)>,
}

/// What keeps a script from compiling, as data and as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Findings {
    /// All errors and warnings, in the order of the source.
    pub all: Vec<Diagnostic>,
    /// A line for each error: `line:column: message; hint`.
    text: String,
}

impl Findings {
    fn new(source: &str, all: Vec<Diagnostic>) -> Findings {
        let table = LineTable::new(source);
        let errors = all.iter().filter(|found| found.severity == Severity::Error);
        let lines: Vec<String> = errors
            .map(|found| {
                let (line, column) = table.position(found.span);
                let hint = found.hint.as_deref();
                let hint = hint.map_or(String::new(), |hint| format!("; {hint}"));
                format!("{line}:{column}: {}{hint}", found.message)
            })
            .collect();
        let text = lines.join("\n");
        Findings { all, text }
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Script {
    /// Compiles a script for the running kernel, with the values of `$1`, `$2` and so on.
    ///
    /// # Errors
    ///
    /// [`Error::Findings`] for a script that is wrong.
    pub fn compile(source: &str, parameters: &[&str]) -> Result<Script, Error> {
        Script::compile_for(&Target::live(), source, parameters)
    }

    /// Compiles a script for a target: one whose types are in a file, for example.
    ///
    /// # Errors
    ///
    /// As [`Script::compile`].
    pub fn compile_for(
        target: &Target,
        source: &str,
        parameters: &[&str],
    ) -> Result<Script, Error> {
        let btf = target.btf().ok();
        let catalogue = LiveCatalogue::new(target, btf.as_ref());
        let mut inputs = Inputs::new(&catalogue);
        inputs.btf = btf.as_ref();
        inputs.positional = parameters.iter().map(|&text| text.to_owned()).collect();
        let done = compile::compile(NAME, source, &inputs, compile::Options::default());
        let Some(compiled) = done.compiled else {
            return Err(Error::Findings(Findings::new(source, done.diagnostics)));
        };
        drop(inputs);
        drop(catalogue);
        Ok(Script {
            target: target.clone(),
            btf,
            source: source.to_owned(),
            compiled,
            warnings: done.diagnostics,
            options: Vec::new(),
        })
    }

    /// Gives what the compiler warns of.
    #[must_use]
    pub fn warnings(&self) -> &[Diagnostic] {
        &self.warnings
    }

    /// Sets an option that the script declares with `getopt`.
    #[must_use]
    pub fn option(mut self, name: &str, value: impl fmt::Display) -> Script {
        self.options
            .push((name.to_owned(), Some(value.to_string())));
        self
    }

    /// Loads the script, runs `begin` and attaches all other probes.
    ///
    /// # Errors
    ///
    /// [`Error::Program`] and [`Error::Attach`] for the first probe that the kernel refuses,
    /// [`Error::BadOption`].
    pub fn start(self) -> Result<Running, Error> {
        let options = Options::parse(&self.compiled.plan, &self.options)?;
        let request = Request::new(self.compiled, options, self.source);
        let go_on = || false;
        let session = Session::load(&self.target, self.btf.as_ref(), request, &go_on)?;
        let mut running = Running {
            session,
            outputs: VecDeque::new(),
            missing: Vec::new(),
            stopped: None,
            lost: 0,
        };
        let mut sink = Collector {
            outputs: &mut running.outputs,
            got: &Cell::new(false),
        };
        running.missing = running.session.start(&mut sink, true, &go_on)?;
        Ok(running)
    }
}

/// What rows carry in place of a tool's name.
const NAME: &str = "script";

/// A script that runs. Dropped, it is detached; [`Running::finish`] runs its `end` as well.
#[derive(Debug)]
pub struct Running {
    session: Session,
    outputs: VecDeque<Output>,
    missing: Vec<Error>,
    stopped: Option<Stop>,
    lost: u64,
}

/// What a script leaves at its end.
#[derive(Debug)]
pub struct Finished {
    /// What was not taken before, and what `end` printed.
    pub outputs: Vec<Output>,
    /// The script's maps.
    pub maps: Vec<MapOutput>,
    /// What was lost.
    pub summary: Summary,
}

impl Running {
    /// Waits for what the script puts out next; none when the time is over, or the script ended
    /// (see [`Running::stopped`]).
    ///
    /// # Errors
    ///
    /// Where the kernel's buffers cannot be read.
    pub fn next_output(&mut self, timeout: Duration) -> Result<Option<Output>, Error> {
        if self.outputs.is_empty() && self.stopped.is_none() {
            self.wait(timeout)?;
        }
        let next = self.outputs.pop_front();
        if let Some(Output::Lost(count)) = next {
            self.lost += count;
        }
        Ok(next)
    }

    /// Waits for the next row (`print` of a record), as a type of the caller's; what else the script
    /// puts out is left out. None when the time is over, or the script ended.
    ///
    /// # Errors
    ///
    /// [`Error::Row`] for a row of other columns; as [`Running::next_output`].
    pub fn next<T: FromRow>(&mut self, timeout: Duration) -> Result<Option<T>, Error> {
        let end = Instant::now().checked_add(timeout);
        loop {
            let left = end.map_or(timeout, |end| end.saturating_duration_since(Instant::now()));
            match self.next_output(left)? {
                Some(Output::Row { schema, row }) => {
                    return T::from_row(&schema, &row).map(Some).map_err(Error::Row);
                }
                Some(_) => {}
                None => return Ok(None),
            }
        }
    }

    /// Tells whether, and why, the script has ended.
    #[must_use]
    pub fn stopped(&self) -> Option<Stop> {
        self.stopped
    }

    /// Gives how many events found no room, of those that [`Running::next_output`] and
    /// [`Running::next`] came by.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// Gives why probes are missing that the script may do without.
    #[must_use]
    pub fn missing(&self) -> &[Error] {
        &self.missing
    }

    /// Detaches, runs `end`, and gives what is left, with the maps.
    ///
    /// # Errors
    ///
    /// As [`Running::next_output`].
    pub fn finish(mut self) -> Result<Finished, Error> {
        let mut sink = Collector {
            outputs: &mut self.outputs,
            got: &Cell::new(false),
        };
        let summary = self.session.finish(&mut sink, &|| false)?;
        let (mut outputs, mut maps) = (Vec::new(), Vec::new());
        let mut ended = false;
        for output in self.outputs {
            match output {
                Output::End => ended = true,
                Output::Map(map) if ended => maps.push(map),
                output => outputs.push(output),
            }
        }
        Ok(Finished {
            outputs,
            maps,
            summary,
        })
    }

    /// Runs until there is an output, or the time is over.
    fn wait(&mut self, timeout: Duration) -> Result<(), Error> {
        let end = Instant::now().checked_add(timeout);
        let got = Cell::new(false);
        let mut sink = Collector {
            outputs: &mut self.outputs,
            got: &got,
        };
        // Asked before each look at the buffers: there is one in any case.
        let looked = Cell::new(false);
        let stop = || {
            let over = end.is_some_and(|end| Instant::now() >= end);
            got.get() || (looked.replace(true) && over)
        };
        match self.session.run(&mut sink, &stop, None)? {
            Stop::Asked => {}
            stop => self.stopped = Some(stop),
        }
        Ok(())
    }
}

/// Keeps outputs until they are taken.
struct Collector<'a> {
    outputs: &'a mut VecDeque<Output>,
    got: &'a Cell<bool>,
}

impl Sink for Collector<'_> {
    fn output(&mut self, output: Output) -> io::Result<()> {
        self.got.set(true);
        self.outputs.push_back(output);
        Ok(())
    }

    fn pause(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_running_script_goes_between_threads() {
        fn moved<T: Send + 'static>() {}
        moved::<Script>();
        moved::<Running>();
    }

    #[test]
    fn findings_have_their_places() {
        let check = |source: &str, expected: &str| {
            let error = Script::compile(source, &[]).expect_err("a wrong script");
            assert!(error.to_string().contains(expected), "{error}");
        };
        check("begin {\n  prin(1);\n}", "2:3: ");
        check("begin { print(", "1:");
    }
}
