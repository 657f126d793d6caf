//! `cargo xtask vm`: the kernel-facing tests inside guests, one boot per kernel for all suites.

mod apt;
mod boot;
mod dump;
mod guest;
mod initramfs;
pub(crate) mod kdump;
mod kernel;
mod modules;
mod objects;
mod qmp;
mod report;
mod shipped;

use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::arguments::Arguments;
use crate::cargo::{self, Profile};
use crate::kernels;
use crate::outcome::{Outcome, Sum, Verdict};
use crate::runner::{self, Case};

pub(crate) use apt::{Archive, mirrors};
pub(crate) use guest::SECOND_BOOT;
pub(crate) use kernel::{USUAL, cache_dir};
pub(crate) use shipped::folder as bpftrace_scripts;

/// Starts of the names of the test files that run in guests; `bpf_` and `run_` ones run on the host as well.
const IN_GUESTS: [&str; 3] = ["bpf_", "run_", "guest_"];

/// The static kscope binary that guests get.
#[derive(Clone, Debug)]
pub(crate) enum Kscope {
    Build(Profile),
    File(PathBuf),
    Absent,
}

/// What to run in guests, and how.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) kscope: Kscope,
    pub(crate) programs: Vec<PathBuf>,
    pub(crate) modules: Vec<String>,
    /// Time limit of a boot with all its tests.
    pub(crate) limit: Duration,
    pub(crate) test_limit: Duration,
    /// MiB.
    pub(crate) memory: u64,
    /// Boots at a time.
    pub(crate) jobs: usize,
    pub(crate) ignored: bool,
    /// Whether what passing tests printed is shown.
    pub(crate) output: bool,
    /// Whether passing tests are left out.
    pub(crate) brief: bool,
    pub(crate) refresh: bool,
    /// Whether dumps of guests stay where they are.
    pub(crate) keep: bool,
    /// Parts of the names of the tests to run; all when empty.
    pub(crate) filters: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            kscope: Kscope::Build(Profile::Release),
            programs: Vec::new(),
            modules: Vec::new(),
            limit: Duration::from_secs(900),
            test_limit: Duration::from_secs(180),
            memory: 1536,
            jobs: 2,
            ignored: false,
            output: false,
            brief: false,
            refresh: false,
            keep: false,
            filters: Vec::new(),
        }
    }
}

/// Everything a guest gets that does not depend on its kernel.
pub(crate) struct Payload {
    cases: Vec<Case>,
    /// Tests on this machine that compare dumps of guests.
    comparisons: Vec<Case>,
    /// Absent when it does not build: most kernel-facing tests of libraries do without.
    kscope: Option<PathBuf>,
    busybox: PathBuf,
    /// Modules that the suites name, and those asked for.
    modules: Vec<String>,
    /// Other files, by their names in the guest.
    files: Vec<(String, PathBuf)>,
}

/// One kernel's results.
pub(crate) struct Run {
    pub(crate) outcomes: Vec<Outcome>,
    pub(crate) time: Duration,
}

/// Runs the command.
pub(crate) fn run(mut arguments: Arguments) -> Result<bool, String> {
    let defaults = Options::default();
    let debug = arguments.flag("--debug");
    let kscope = match arguments.values("--kscope")?.pop() {
        Some(file) => Kscope::File(file.into()),
        None => Kscope::Build(if debug {
            Profile::Debug
        } else {
            Profile::Release
        }),
    };
    let mut options = Options {
        kscope,
        programs: arguments
            .values("--bin")?
            .into_iter()
            .map(PathBuf::from)
            .collect(),
        modules: arguments.values("--module")?,
        limit: Duration::from_secs(arguments.number("--seconds", defaults.limit.as_secs())?),
        test_limit: Duration::from_secs(
            arguments.number("--test-seconds", defaults.test_limit.as_secs())?,
        ),
        memory: arguments.number("--memory", defaults.memory)?,
        jobs: usize::try_from(arguments.number("--jobs", defaults.jobs as u64)?)
            .unwrap_or(defaults.jobs),
        ignored: arguments.flag("--ignored"),
        output: arguments.flag("--output"),
        refresh: arguments.flag("--refresh"),
        keep: arguments.flag("--keep-dumps"),
        ..defaults
    };
    let (kernels, filters) = arguments.finish()?;
    options.filters = filters;
    if kernels.is_empty() {
        return Err(format!(
            "vm needs a kernel: {}, next, or the path of a bzImage",
            USUAL.join(", ")
        ));
    }
    kernels
        .iter()
        .try_for_each(|name| kernel::check_name(name))?;
    boot::emulator()?;
    let payload = prepare(&options)?;
    let mut sum = Sum::default();
    for run in boot_all(&kernels, &payload, &options, &Gate::wide_open()) {
        sum += Sum::of(&run.outcomes);
    }
    println!("{sum}");
    Ok(sum.failed == 0)
}

/// Builds what the usual guests get, or says what becomes of them all.
fn prepare_usual(options: &Options) -> Result<Payload, Verdict> {
    boot::emulator().map_err(missing)?;
    prepare(options).map_err(Verdict::Failed)
}

/// Runs every test in the usual kernels and gives one result per kernel, in their order; one at a time while the gate is shut.
pub(crate) fn run_usual(options: &Options, gate: &Gate) -> Vec<Run> {
    let kernels = USUAL.map(str::to_string);
    let verdict = match prepare_usual(options) {
        Ok(payload) => return boot_all(&kernels, &payload, options, gate),
        Err(verdict) => verdict,
    };
    let run = |name: &String| {
        let outcomes = vec![Outcome::new(format!("guest {name}"), verdict.clone())];
        outcomes.iter().for_each(|outcome| outcome.print(false));
        Run {
            outcomes,
            time: Duration::ZERO,
        }
    };
    kernels.iter().map(run).collect()
}

/// What becomes of a guest that this machine cannot boot.
fn missing(why: String) -> Verdict {
    let required = std::env::var("KSCOPE_VM_REQUIRED").is_ok_and(|value| value == "1");
    if required {
        Verdict::Failed(why)
    } else {
        Verdict::Skipped(why)
    }
}

/// Builds what the guests get.
pub(crate) fn prepare(options: &Options) -> Result<Payload, String> {
    let suites: Vec<String> = suite_names()?
        .into_iter()
        .filter(|name| IN_GUESTS.iter().any(|start| name.starts_with(start)))
        .collect();
    let wanted = |name: &String| {
        // A filter may name a suite, a part of it, or a test: only a filter that names another suite rules one out.
        options.filters.is_empty()
            || options
                .filters
                .iter()
                .any(|filter| match filter.split_once("::") {
                    _ if filter.starts_with(dump::ON_HOST) => name == dump::IN_GUEST,
                    Some((suite, _)) => name.ends_with(suite),
                    None => {
                        !IN_GUESTS.iter().any(|start| filter.starts_with(start))
                            || name.contains(filter.as_str())
                    }
                })
    };
    let suites: Vec<String> = suites.into_iter().filter(wanted).collect();
    let mut words = vec!["-p", "kscope-tests"];
    let comparing: Vec<String> = match suites.iter().any(|name| name == dump::IN_GUEST) {
        true => suite_names()?,
        false => Vec::new(),
    };
    let comparing = comparing
        .iter()
        .filter(|name| name.starts_with(dump::ON_HOST));
    let built = suites.iter().chain(comparing);
    words.extend(built.flat_map(|name| ["--test", name.as_str()]));
    let executables = if suites.is_empty() {
        Vec::new()
    } else {
        cargo::static_tests(&words)?
    };
    let (mut cases, mut comparisons) = (Vec::new(), Vec::new());
    for executable in &executables {
        let listed = runner::list(executable, &executable.target)?;
        match executable.target.starts_with(dump::ON_HOST) {
            true => comparisons.extend(listed),
            false => cases.extend(listed),
        }
    }
    cases.retain(|case| options.ignored || !case.ignored);
    let named = |case: &Case, filter: &String| case.name().contains(filter.as_str());
    // A filter that names what compares dumps has one made.
    let mut of_dumps = options.filters.iter();
    let of_dumps = of_dumps.any(|filter| filter.starts_with(dump::ON_HOST));
    let matches = |case: &Case| {
        let mut filters = options.filters.iter();
        (of_dumps && case.suite == dump::IN_GUEST) || filters.any(|filter| named(case, filter))
    };
    comparisons.retain(|case| !of_dumps || matches(case));
    cases.retain(|case| options.filters.is_empty() || matches(case));
    if cases.is_empty() {
        return Err(format!("no test matches {}", options.filters.join(" ")));
    }
    let mut modules = options.modules.clone();
    let (mut first, mut last) = (Vec::new(), Vec::new());
    let mut scripts = Vec::new();
    let mut shipped = false;
    for suite in &suites {
        let source = std::fs::read_to_string(suite_source(suite)).unwrap_or_default();
        modules.extend(modules::named_in(&source));
        scripts.extend(objects::named_in(&source));
        shipped |= asks(&source, "bpftrace");
        if asks(&source, "first") {
            first.push(suite.as_str());
        }
        if asks(&source, "last") {
            last.push(suite.as_str());
        }
        if !asks(&source, "symbols") {
            strip(&mut cases, suite)?;
        }
    }
    cases.sort_by_key(|case| {
        let suite = case.suite.as_str();
        (!first.contains(&suite), last.contains(&suite))
    });
    let kscope = match &options.kscope {
        Kscope::File(file) => Some(file.clone()),
        Kscope::Build(profile) => cargo::kscope(*profile)
            .inspect_err(|why| println!("{why}; tests that need it will fail"))
            .ok(),
        Kscope::Absent => None,
    };
    let mut files = match &kscope {
        Some(kscope) if !scripts.is_empty() => objects::build(&scripts, kscope)
            .inspect_err(|why| println!("{why}; tests that need it will fail"))
            .unwrap_or_default(),
        _ => Vec::new(),
    };
    if shipped {
        // Without them the tests say what they lack.
        let more = shipped::files().inspect_err(|why| println!("bpftrace's scripts: {why}"));
        files.extend(more.unwrap_or_default());
    }
    Ok(Payload {
        files,
        cases,
        comparisons,
        kscope,
        busybox: kernel::busybox()?,
        modules,
    })
}

/// What all boots but the first at a time wait for.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    open: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    /// A gate that nobody waits at.
    fn wide_open() -> Gate {
        let gate = Gate::default();
        gate.open();
        gate
    }

    pub(crate) fn open(&self) {
        *self.open.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.opened.notify_all();
    }

    fn wait(&self) {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.opened.wait_while(open, |open| !*open));
    }
}

/// Boots the kernels, some at a time, and prints each one's results as it ends.
fn boot_all(kernels: &[String], payload: &Payload, options: &Options, gate: &Gate) -> Vec<Run> {
    let next = AtomicUsize::new(0);
    let printing = Mutex::new(());
    let mut runs: Vec<(usize, Run)> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..options.jobs.clamp(1, kernels.len().max(1)))
            .map(|worker| {
                let (next, printing) = (&next, &printing);
                scope.spawn(move || {
                    if worker > 0 {
                        gate.wait();
                    }
                    let mut runs = Vec::new();
                    while let Some((index, name)) = take(next, kernels) {
                        let started = Instant::now();
                        let (title, outcomes) = boot_one(name, payload, options);
                        let run = Run {
                            outcomes,
                            time: started.elapsed(),
                        };
                        let _turn = printing.lock();
                        println!(
                            "{title}; {:.1} s in all: {}",
                            run.time.as_secs_f64(),
                            Sum::of(&run.outcomes)
                        );
                        for outcome in &run.outcomes {
                            if !options.brief || outcome.verdict != Verdict::Passed {
                                outcome.print(options.output);
                            }
                        }
                        runs.push((index, run));
                    }
                    runs
                })
            })
            .collect();
        workers
            .into_iter()
            .flat_map(|worker| worker.join().unwrap_or_default())
            .collect()
    });
    runs.sort_by_key(|(index, _)| *index);
    runs.into_iter().map(|(_, run)| run).collect()
}

fn take<'a>(next: &AtomicUsize, kernels: &'a [String]) -> Option<(usize, &'a String)> {
    let index = next.fetch_add(1, Ordering::Relaxed);
    Some((index, kernels.get(index)?))
}

/// Gives a title line and the outcome of each test; what prevents a boot is an outcome as well.
fn boot_one(name: &str, payload: &Payload, options: &Options) -> (String, Vec<Outcome>) {
    let title = format!("guest {name}");
    let kernel = match kernel::find(name, options.refresh) {
        Ok(kernel) => kernel,
        Err(why) => {
            let verdict = missing(format!("cannot get the kernel: {why}"));
            return (title.clone(), vec![Outcome::new(title, verdict)]);
        }
    };
    match guest::run(&kernel, payload, options) {
        Ok((release, mut outcomes)) => {
            kernels::keep(name, &release, &outcomes, options.filters.is_empty());
            for outcome in &mut outcomes {
                outcome.name = format!("{name} {}", outcome.name);
            }
            (format!("{title} ({release})"), outcomes)
        }
        Err(why) => (
            title.clone(),
            vec![Outcome::new(title, Verdict::Failed(why))],
        ),
    }
}

/// The names of the files of tests/tests.
pub(crate) fn suite_names() -> Result<Vec<String>, String> {
    let folder = cargo::root().join("tests/tests");
    let entries =
        std::fs::read_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let name = |path: PathBuf| Some(path.file_name()?.to_str()?.strip_suffix(".rs")?.to_string());
    let mut names: Vec<String> = entries
        .filter_map(|entry| name(entry.ok()?.path()))
        .collect();
    names.sort();
    Ok(names)
}

/// Tells whether a test's source has a line `//@ WORD`: with `first` it runs before all others, with `last` after
/// them, for what it does to the kernel; with `symbols` its program keeps its symbols in the guest.
fn asks(source: &str, word: &str) -> bool {
    source
        .lines()
        .any(|line| line.trim().strip_prefix("//@ ") == Some(word))
}

/// Lets a suite's tests run from a copy without symbols: guests hold all programs in memory.
fn strip(cases: &mut [Case], suite: &str) -> Result<(), String> {
    let mut cases = cases.iter_mut().filter(|case| case.suite == suite);
    let Some(first) = cases.next() else {
        return Ok(());
    };
    let folder = cargo::scratch_dir()?.join("stripped");
    std::fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let copy = folder.join(suite);
    let status = Command::new("strip")
        .arg("-o")
        .arg(&copy)
        .arg(&first.path)
        .status();
    match status {
        Ok(status) if status.success() => {}
        Ok(status) => return Err(format!("strip of {}: {status}", first.path.display())),
        // Without binutils the programs are larger, and no more than that.
        Err(_) => return Ok(()),
    }
    first.path.clone_from(&copy);
    cases.for_each(|case| case.path.clone_from(&copy));
    Ok(())
}

fn suite_source(name: &str) -> PathBuf {
    cargo::root().join("tests/tests").join(format!("{name}.rs"))
}

#[cfg(test)]
mod tests {
    use super::asks;

    #[test]
    fn sources_ask_by_whole_lines() {
        let check = |source, expected| assert_eq!(asks(source, "last"), expected, "{source}");
        check("//! A test.\n//@ last\nfn a() {}\n", true);
        check("//! A test.\n//@ modules: last\n", false);
        check("// //@ last\n//@ lasting\n", false);
    }
}
