//! `--test` and `--bench`: the probes of a script that run when they are asked for.

use std::fmt::Write as _;
use std::io;
use std::time::Duration;

use kscope_rows::{Output, Severity, Value};
use kscope_runtime::{Options, Request, Session, Sink as _, Trial};
use kscope_script::Compiled;
use kscope_script::plan::Attach;
use kscope_view::TextView;

use crate::console::tell;
use crate::error::Failure;
use crate::place::Place;
use crate::sink::Sink;
use crate::tracing::{Run, Source};

const GREEN: &str = "\x1b[32m";
const RED: &str = "\x1b[31m";
const RESET: &str = "\x1b[0m";

/// Most runs of a benchmark at once.
const RUNS: u64 = 1 << 28;

/// Width of the names of benchmarks, and of their times.
const NAMES: usize = 40;
const TIMES: usize = 15;

/// Keeps what a test prints, and counts what it says of errors.
#[derive(Default)]
struct Capture {
    view: TextView,
    text: Vec<u8>,
    errors: u64,
}

impl kscope_runtime::Sink for Capture {
    fn output(&mut self, output: Output) -> io::Result<()> {
        let error = Severity::Error;
        self.errors += match &output {
            Output::Message { severity, .. } => u64::from(*severity == error),
            Output::Failure(_) | Output::Problem(_) => 1,
            _ => 0,
        };
        let (mut out, mut err) = (Vec::new(), Vec::new());
        self.view.write(&output, &mut out, &mut err)?;
        self.text.append(&mut out);
        self.text.append(&mut err);
        Ok(())
    }

    fn pause(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Runs all tests or benchmarks of a script, and gives the exit code: 1 where one fails.
pub(crate) fn run(
    place: &Place,
    source: &Source,
    mut compiled: Compiled,
    run: &Run,
    sink: &mut Sink,
) -> Result<u8, Failure> {
    let failed = |error| Failure::of_run(&error, &source.text, run.verbose);
    // What is left in maps is no result.
    compiled.plan.config.print_maps_on_exit = false;
    let points = compiled.plan.probes.iter().flat_map(|probe| &probe.attach);
    let trials = points.filter(|at| matches!(at, Attach::Test { .. } | Attach::Bench { .. }));
    let trials: Vec<Attach> = trials.cloned().collect();
    let options = Options::parse(&compiled.plan, &run.options).map_err(failed)?;
    let request = Request {
        numbers: run.numbers.clone(),
        name: run.name.clone(),
        imported: source.imported_files(),
        render: Some(kscope_view::render),
        pid: run.pid,
        ..Request::new(compiled, options, &*source.text)
    };
    let btf = place.btf.as_ref().ok();
    let interrupts = sink.interrupts();
    let stop = move || interrupts.count() > 0;
    let mut session = Session::load(&place.target, btf, request, &stop).map_err(failed)?;
    session.begin_trials().map_err(failed)?;
    let (tests, benches): (Vec<_>, Vec<_>) =
        (trials.iter()).partition(|at| matches!(at, Attach::Test { .. }));
    let mut good = test(&mut session, &tests, sink, &stop).map_err(failed)?;
    good &= bench(&mut session, &benches, sink, &stop).map_err(failed)?;
    session.finish(sink, &stop).map_err(failed)?;
    sink.finish()?;
    Ok(u8::from(!good))
}

fn name(at: &Attach) -> &str {
    match at {
        Attach::Test { name } | Attach::Bench { name } => name,
        _ => "",
    }
}

fn result(kind: &'static str, name: &str, fields: Vec<(&str, Value)>) -> Output {
    let fields = fields.into_iter().map(|(name, value)| (name.into(), value));
    Output::Result {
        kind,
        name: name.to_owned(),
        value: Value::Record(fields.collect()),
    }
}

fn tests(count: usize) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} test{plural}")
}

type Outcome<T> = Result<T, kscope_runtime::Error>;

/// Runs a probe; none where somebody asked for the end, which the kernel heeds as well.
fn try_unless(
    stop: &dyn Fn() -> bool,
    session: &mut Session,
    (at, runs): (&Attach, u32),
    seen: &mut Capture,
) -> Outcome<Option<Trial>> {
    let tried = match stop() {
        true => Ok(None),
        false => session.try_once(at, runs, seen).map(Some),
    };
    if stop() {
        let name = name(at);
        tell(format_args!("ERROR: interrupted before the end of {name}"));
        return Ok(None);
    }
    tried
}

fn put(sink: &mut Sink, output: Output) -> Outcome<()> {
    sink.output(output).map_err(kscope_runtime::Error::Output)
}

/// Runs the tests; says whether all passed.
fn test(
    session: &mut Session,
    all: &[&Attach],
    sink: &mut Sink,
    stop: &dyn Fn() -> bool,
) -> Outcome<bool> {
    if all.is_empty() {
        return Ok(true);
    }
    let is_json = sink.is_json();
    let mut bad = Vec::new();
    for (index, at) in all.iter().enumerate() {
        let name = name(at);
        let mut seen = Capture::default();
        let Some(trial) = try_unless(stop, session, (*at, 1), &mut seen)? else {
            return Ok(false);
        };
        let passed = trial.result == 0 && trial.exit == 0 && seen.errors == 0;
        if !passed {
            bad.push(name);
        }
        if is_json {
            let fields = vec![
                ("duration", Value::Uint(trial.duration.as_nanos() as u64)),
                ("passed", Value::Bool(passed)),
                ("output", Value::Str(seen.text)),
            ];
            put(sink, result("test_result", name, fields))?;
            continue;
        }
        let mut text = String::new();
        if index == 0 {
            let count = all.len();
            let _ = writeln!(text, "{GREEN}[==========]{RESET} Running {count} tests.");
        }
        let _ = writeln!(text, "{GREEN}[ RUN      ]{RESET} {name}");
        let took = time(trial.duration);
        if passed {
            let _ = writeln!(text, "{GREEN}[       OK ]{RESET} {name} ({took})");
        } else {
            let said = String::from_utf8_lossy(&seen.text);
            for line in said.lines().filter(|line| !line.is_empty()) {
                let _ = writeln!(text, "{line}");
            }
            let _ = writeln!(text, "{RED}[  FAILED  ]{RESET} {name} ({took})");
        }
        put(sink, Output::Cat(text.into_bytes()))?;
    }
    if !is_json {
        let mut text = String::new();
        let (count, passed) = (tests(all.len()), tests(all.len() - bad.len()));
        let _ = writeln!(text, "{GREEN}[==========]{RESET} {count} ran.");
        let _ = writeln!(text, "{GREEN}[  PASSED  ]{RESET} {passed}.");
        if !bad.is_empty() {
            let count = tests(bad.len());
            let _ = writeln!(text, "{RED}[  FAILED  ]{RESET} {count}, listed below:");
        }
        for name in &bad {
            let _ = writeln!(text, "{RED}[  FAILED  ]{RESET} {name}");
        }
        put(sink, Output::Cat(text.into_bytes()))?;
    }
    Ok(bad.is_empty())
}

/// Writes a duration in its largest unit, cut.
fn time(duration: Duration) -> String {
    let count = duration.as_nanos();
    match count {
        0..1_000 => format!("{count} ns"),
        1_000..1_000_000 => format!("{} μs", count / 1_000),
        1_000_000..1_000_000_000 => format!("{} ms", count / 1_000_000),
        _ => format!("{} s", count / 1_000_000_000),
    }
}

/// Runs the benchmarks, each at least a millisecond; says whether none failed.
fn bench(
    session: &mut Session,
    all: &[&Attach],
    sink: &mut Sink,
    stop: &dyn Fn() -> bool,
) -> Outcome<bool> {
    let is_json = sink.is_json();
    let mut good = true;
    for (index, at) in all.iter().enumerate() {
        let name = name(at);
        if index == 0 && !is_json {
            let mut text = format!("{:<NAMES$} {:<TIMES$}Iterations\n", "Benchmark", "Time(ns)");
            let _ = writeln!(
                text,
                "{}",
                "-".repeat(NAMES + 1 + TIMES + "Iterations".len())
            );
            put(sink, Output::Cat(text.into_bytes()))?;
        }
        let mut runs = 1u64;
        let (trial, errors) = loop {
            let mut seen = Capture::default();
            let tried = try_unless(stop, session, (*at, runs as u32), &mut seen)?;
            let Some(trial) = tried else {
                return Ok(false);
            };
            let total = trial.duration.as_nanos().saturating_mul(u128::from(runs));
            let more = match total {
                _ if trial.exit != 0 || trial.result != 0 || runs >= RUNS => 1,
                0..1_000 => 1_000,
                1_000..10_000 => 100,
                10_000..100_000 => 10,
                100_000..1_000_000 => 2,
                _ => 1,
            };
            if more == 1 {
                break (trial, seen.errors);
            }
            runs = runs.saturating_mul(more).min(RUNS);
        };
        if trial.exit != 0 || errors > 0 {
            tell(format_args!("ERROR: Benchmark '{name}' failed."));
            good = false;
        } else if trial.result != 0 {
            // It leaves itself out.
        } else if is_json {
            let fields = vec![
                ("average", Value::Uint(trial.duration.as_nanos() as u64)),
                ("iters", Value::Uint(runs)),
            ];
            put(sink, result("benchmark_result", name, fields))?;
        } else {
            let average = trial.duration.as_nanos();
            let text = format!("{name:<NAMES$} {average:<TIMES$}{runs}\n");
            put(sink, Output::Cat(text.into_bytes()))?;
        }
    }
    Ok(good)
}
