//! `cargo xtask test` and `cargo xtask ci`: every suite within its budget, then a table and the sum.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::arguments::Arguments;
use crate::cargo::{self, Profile, TestExecutable};
use crate::outcome::{Outcome, Sum, Verdict};
use crate::runner::{self, Case, Rules};
use crate::vm::kdump::{Disk, Plan, Step, Way};
use crate::{check, deadline, features, kernels, portability, setup, vm};

/// Starts of the names of the files in tests/tests that need a kernel and root, or what a guest left.
const ON_KERNEL: [&str; 5] = ["bpf_", "run_", "host_", "guest_", "dump_"];

/// Those of them that run in guests only, or after them.
const WITH_GUESTS: [&str; 2] = ["guest_", "dump_"];

/// Suites and their budgets in seconds, 28 minutes in all; the guests' budget counts once for all kernels.
const SUITES: [(&str, u64); 8] = [
    ("format", 20),
    ("clippy", 160),
    ("docs", 120),
    ("pure", 250),
    ("release", 200),
    ("host", 250),
    ("guests", GUESTS.as_secs()),
    ("kdump", 200),
];

/// The budget of the tests in each guest.
const GUESTS: Duration = Duration::from_secs(480);

/// The suites that only `--ignored`, or their names, have run, with their budgets.
const LONG: [(&str, u64); 2] = [("features", 200), ("portability", 400)];

/// A suite is stopped when it takes this many times its budget.
const PATIENCE: u32 = 2;

/// Time limit of one test.
const TEST_LIMIT: Duration = Duration::from_secs(60);

/// Time limit of a test marked `#[ignore]`, which is how long ones are marked.
const LONG_TEST_LIMIT: Duration = Duration::from_secs(2400);

/// How many tests a suite names that took longer than its budget.
const SLOWEST: usize = 12;

/// One line of the table.
struct Line {
    name: String,
    budget: Duration,
    time: Duration,
    outcomes: Vec<Outcome>,
}

impl Line {
    fn is_late(&self) -> bool {
        self.time >= self.budget
    }
}

struct Session {
    ignored: bool,
    only: Vec<String>,
    lines: Vec<Line>,
    /// The outcome of the release build, which several suites need.
    kscope: Option<Result<PathBuf, String>>,
    /// That build, begun beside the tests before it: its last step runs on one CPU.
    release: Option<JoinHandle<Result<PathBuf, String>>>,
    /// The guests, of which the first runs beside the tests of this kernel: these run one at a time.
    guests: Option<(Arc<vm::Gate>, JoinHandle<Vec<vm::Run>>)>,
    /// The executables of all tests of the workspace, built once.
    tests: Option<Result<Vec<TestExecutable>, String>>,
}

/// Runs every suite, or those named.
pub(crate) fn run(mut arguments: Arguments) -> Result<bool, String> {
    let ignored = arguments.flag("--ignored");
    let only = arguments.values("--only")?;
    arguments.finish()?;
    let mut names = SUITES.map(|(suite, _)| suite).to_vec();
    names.extend(LONG.map(|(suite, _)| suite));
    if let Some(name) = only.iter().find(|name| !names.contains(&name.as_str())) {
        return Err(format!("no suite {name}; there are {}", names.join(", ")));
    }
    if only.is_empty() || only.iter().any(|name| name == "guests" || name == "kdump") {
        setup::install();
    }
    Ok(Session::new(ignored, only).run())
}

/// Runs the suites that need neither root nor guests.
pub(crate) fn run_unprivileged(arguments: Arguments) -> Result<bool, String> {
    arguments.finish()?;
    let only = ["format", "clippy", "docs", "pure"];
    Ok(Session::new(false, only.map(str::to_string).to_vec()).run())
}

impl Session {
    fn new(ignored: bool, only: Vec<String>) -> Self {
        Self {
            ignored,
            only,
            lines: Vec::new(),
            kscope: None,
            release: None,
            guests: None,
            tests: None,
        }
    }

    fn run(mut self) -> bool {
        let whole = Instant::now();
        for (name, seconds) in SUITES.into_iter().chain(LONG) {
            if !self.wants(name) {
                continue;
            }
            println!("== {name}");
            if name == "guests" {
                self.guests();
                continue;
            }
            let budget = Duration::from_secs(seconds);
            let started = Instant::now();
            let limit = self.limit(budget);
            let outcomes = match name {
                "format" => vec![command(
                    name,
                    cargo::cargo(&["fmt", "--all", "--", "--check", "-l"]),
                    limit,
                )],
                "clippy" => vec![clippy(limit)],
                "docs" => docs(limit),
                "pure" => self.pure(started + limit),
                "features" => features::outcomes(limit),
                "portability" => portability::outcomes(limit.max(LONG_TEST_LIMIT * 2)),
                "release" => vec![self.release()],
                "kdump" => self.kdump(),
                _ => self.host(started + limit),
            };
            self.lines.push(Line {
                name: name.to_string(),
                budget,
                time: started.elapsed(),
                outcomes,
            });
        }
        recap(&self.lines);
        let sum = table(&self.lines, whole.elapsed());
        println!("{sum}");
        sum.failed == 0
    }

    /// Tells whether a suite is to run.
    fn wants(&self, name: &str) -> bool {
        let named = self.only.iter().any(|wanted| wanted == name);
        let usual = self.ignored || LONG.iter().all(|(long, _)| *long != name);
        named || (self.only.is_empty() && usual)
    }

    /// Every test that needs no kernel: unit tests of all crates, golden files, tidy, layers, architecture.
    fn pure(&mut self, until: Instant) -> Vec<Outcome> {
        if ["release", "host", "guests", "kdump"]
            .iter()
            .any(|suite| self.wants(suite))
        {
            self.release = Some(std::thread::spawn(|| cargo::kscope(Profile::Release)));
        }
        let jobs = std::thread::available_parallelism().map_or(2, usize::from);
        let rules = Rules {
            jobs,
            limit: self.test_limit(),
            until,
            environment: Vec::new(),
        };
        self.run_tests("pure", &rules, |executable| {
            executable.package != "kscope-tests"
                || !ON_KERNEL
                    .iter()
                    .any(|start| executable.target.starts_with(start))
        })
    }

    /// The tests that meet this machine's kernel; without root most of them say what they lack and are skipped.
    fn host(&mut self, until: Instant) -> Vec<Outcome> {
        let on_host = |executable: &TestExecutable| {
            let starts = |start: &&str| executable.target.starts_with(*start);
            executable.package == "kscope-tests"
                && ON_KERNEL.iter().any(starts)
                && !WITH_GUESTS.iter().any(starts)
        };
        // Tests of one kernel count events, so they run one at a time. Those that need a kscope that does not build fail.
        let kscope = self.kscope().unwrap_or_default();
        if self.wants("guests") {
            self.guests = Some(self.begin_guests());
        }
        let mut environment = vec![("KSCOPE_BIN".to_string(), kscope.display().to_string())];
        match vm::bpftrace_scripts() {
            Ok(folder) => {
                environment.push(("KSCOPE_BPFTRACE".to_string(), folder.display().to_string()));
            }
            // The tests say what they lack.
            Err(why) => println!("bpftrace's scripts: {why}"),
        }
        // The tests of the examples build them as users do, and find them built: one that had to wait
        // for the compiler would be stopped.
        if let Err(why) = cargo::examples() {
            println!("examples: {why}");
        }
        let rules = Rules {
            jobs: 1,
            limit: self.test_limit(),
            until,
            environment,
        };
        self.run_tests("host", &rules, on_host)
    }

    /// Builds the static binary and checks what a release must be.
    fn release(&mut self) -> Outcome {
        match self.kscope().and_then(|kscope| check::release(&kscope)) {
            Ok(size) => {
                println!("    static, {size} bytes");
                Outcome::new("release", Verdict::Passed)
            }
            Err(why) => failed("release", why),
        }
    }

    /// When a suite of this budget is stopped.
    fn limit(&self, budget: Duration) -> Duration {
        if self.ignored {
            LONG_TEST_LIMIT * 4
        } else {
            budget * PATIENCE
        }
    }

    /// How the usual guests are booted.
    fn guest_options(&mut self) -> vm::Options {
        let mut options = vm::Options {
            limit: self.limit(GUESTS),
            ignored: self.ignored,
            brief: true,
            ..vm::Options::default()
        };
        if self.ignored {
            options.test_limit = LONG_TEST_LIMIT;
        }
        options.kscope = match self.kscope() {
            Ok(file) => vm::Kscope::File(file),
            Err(_) => vm::Kscope::Absent,
        };
        options
    }

    /// Builds what the guests get, and boots one kernel; the others follow when the gate opens.
    fn begin_guests(&mut self) -> (Arc<vm::Gate>, JoinHandle<Vec<vm::Run>>) {
        let options = self.guest_options();
        let gate = Arc::new(vm::Gate::default());
        let inner = Arc::clone(&gate);
        (
            gate,
            std::thread::spawn(move || vm::run_usual(&options, &inner)),
        )
    }

    /// Waits for the guests, and adds a line for each kernel.
    fn guests(&mut self) {
        let (gate, runs) = match self.guests.take() {
            Some(begun) => begun,
            None => self.begin_guests(),
        };
        gate.open();
        let lines: Vec<(String, vm::Run)> = match runs.join() {
            Ok(runs) => {
                let names = vm::USUAL.iter().map(|kernel| format!("guest {kernel}"));
                names.zip(runs).collect()
            }
            Err(_) => {
                let outcomes = vec![failed("guests", "the boots panicked".to_string())];
                let time = Duration::ZERO;
                vec![("guests".to_string(), vm::Run { outcomes, time })]
            }
        };
        kernels::tell();
        self.lines.extend(lines.into_iter().map(|(name, run)| Line {
            name,
            budget: GUESTS,
            time: run.time,
            outcomes: run.outcomes,
        }));
    }

    /// Crashes a guest whose capture writes to its disk; with the long tests another kernel, and over ssh.
    fn kdump(&mut self) -> Vec<Outcome> {
        let kscope = match self.kscope() {
            Ok(file) => file,
            Err(why) => return vec![failed("kdump", why)],
        };
        let disk = Plan::of(Way::Disk);
        let mut cycles = vec![("6.1", disk.clone())];
        if self.ignored {
            let with = |disk, xfs| Plan {
                disk,
                xfs,
                steps: vec![Step::Test],
                ..Plan::of(Way::Disk)
            };
            cycles.push(("6.12", disk));
            cycles.push(("6.12", Plan::of(Way::Ssh)));
            cycles.push(("6.1", with(Disk::Nvme, true)));
            cycles.push(("6.12", with(Disk::Ahci, false)));
        }
        let outcomes = cycles
            .into_iter()
            .flat_map(|(kernel, plan)| vm::kdump::cycle(kernel, &plan, &kscope));
        let outcomes: Vec<Outcome> = outcomes.collect();
        println!("    {}", Sum::of(&outcomes));
        outcomes
    }

    fn run_tests(
        &mut self,
        suite: &str,
        rules: &Rules,
        wanted: impl Fn(&TestExecutable) -> bool,
    ) -> Vec<Outcome> {
        let outcomes = self
            .cases(suite, wanted)
            .and_then(|cases| runner::run(&cases, rules));
        match outcomes {
            Ok(outcomes) => {
                println!("    {}", Sum::of(&outcomes));
                outcomes
            }
            Err(why) => vec![failed(suite, why)],
        }
    }

    fn cases(
        &mut self,
        suite: &str,
        wanted: impl Fn(&TestExecutable) -> bool,
    ) -> Result<Vec<Case>, String> {
        // The tests of this kernel need not wait for a crate that does not build.
        let tests = match (&self.tests, suite) {
            (None, "pure") => self.tests.insert(cargo::tests(&["--workspace"])).clone()?,
            (Some(tests), "pure") => tests.clone()?,
            (Some(Ok(tests)), _) => tests.clone(),
            _ => cargo::tests(&["-p", "kscope-tests"])?,
        };
        let mut cases = Vec::new();
        for executable in tests.iter().filter(|executable| wanted(executable)) {
            // A crate's unit tests bear its name, its integration tests their file's.
            let suite = match executable.package.as_str() {
                "kscope-tests" => executable.target.clone(),
                package if package.replace('-', "_") == executable.target => package.to_string(),
                package => format!("{package}::{}", executable.target),
            };
            cases.extend(runner::list(executable, &suite)?);
        }
        cases.retain(|case| self.ignored || !case.ignored);
        Ok(cases)
    }

    fn kscope(&mut self) -> Result<PathBuf, String> {
        let begun = self.release.take();
        let build = || match begun {
            Some(building) => building
                .join()
                .unwrap_or_else(|_| Err("the build panicked".to_string())),
            None => cargo::kscope(Profile::Release),
        };
        self.kscope.get_or_insert_with(build).clone()
    }

    fn test_limit(&self) -> Duration {
        if self.ignored {
            LONG_TEST_LIMIT
        } else {
            TEST_LIMIT
        }
    }
}

/// Says again what failed, how often tests were skipped for which reason, and what takes the time of suites that are late.
fn recap(lines: &[Line]) {
    println!();
    let mut skipped: BTreeMap<&str, usize> = BTreeMap::new();
    for outcome in lines.iter().flat_map(|line| &line.outcomes) {
        match &outcome.verdict {
            Verdict::Failed(how) => println!("FAILED {}: {how}", outcome.name),
            Verdict::Skipped(reason) => *skipped.entry(reason).or_default() += 1,
            Verdict::Passed => {}
        }
    }
    for (reason, count) in skipped {
        println!("skipped {count}: {reason}");
    }
    for line in lines.iter().filter(|line| line.is_late()) {
        let passed = |outcome: &&Outcome| outcome.verdict == Verdict::Passed;
        let mut slowest: Vec<&Outcome> = line.outcomes.iter().filter(passed).collect();
        slowest.sort_by_key(|outcome| std::cmp::Reverse(outcome.time));
        println!("slowest of {}:", line.name);
        for outcome in slowest.into_iter().take(SLOWEST) {
            outcome.print(false);
        }
    }
}

/// Prints the seconds, budget and sum of each suite and gives the sum of all.
fn table(lines: &[Line], whole: Duration) -> Sum {
    let row = |name: &str, time: Duration, budget: Duration, sum: Sum| {
        let Sum {
            passed,
            failed,
            skipped,
        } = sum;
        let late = if time >= budget {
            "  over its budget"
        } else {
            ""
        };
        let (seconds, budget) = (time.as_secs_f64(), budget.as_secs());
        println!("{name:12} {seconds:8.1} {budget:7} {passed:7} {failed:7} {skipped:8}{late}");
    };
    let mut all = Sum::default();
    println!("\nsuite         seconds  budget  passed  failed  skipped");
    for line in lines {
        let sum = Sum::of(&line.outcomes);
        row(&line.name, line.time, line.budget, sum);
        all += sum;
    }
    row(
        "all",
        whole,
        Duration::from_secs(SUITES.iter().map(|(_, budget)| budget).sum()),
        all,
    );
    all
}

fn clippy(limit: Duration) -> Outcome {
    let words = [
        "clippy",
        "-q",
        "--workspace",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ];
    command("clippy", cargo::cargo(&words), limit)
}

/// Builds the documentation with warnings denied and runs its examples.
fn docs(limit: Duration) -> Vec<Outcome> {
    let mut build = cargo::cargo(&["doc", "-q", "--workspace", "--no-deps"]);
    build.env("RUSTDOCFLAGS", "-D warnings");
    vec![
        command("documentation builds", build, limit),
        examples(limit),
    ]
}

fn examples(limit: Duration) -> Outcome {
    const NAME: &str = "documentation's examples";
    let log = match cargo::scratch_dir() {
        Ok(folder) => folder.join(format!("examples-{}.log", std::process::id())),
        Err(why) => return failed(NAME, why),
    };
    let started = Instant::now();
    let mut command = cargo::cargo(&["test", "-q", "--workspace", "--doc", "--no-fail-fast"]);
    let ending = deadline::run_to_file(&mut command, &log, limit);
    let output = std::fs::read_to_string(&log).unwrap_or_default();
    let _ = std::fs::remove_file(&log);
    let outcome = Outcome::judge(NAME.to_string(), ending, started.elapsed(), output);
    outcome.print(false);
    outcome
}

/// Runs a command as one test.
fn command(name: &str, mut command: Command, limit: Duration) -> Outcome {
    let started = Instant::now();
    let ending = deadline::run_here(&mut command, limit);
    let outcome = Outcome::judge(name.to_string(), ending, started.elapsed(), String::new());
    outcome.print(false);
    outcome
}

fn failed(name: &str, why: String) -> Outcome {
    let outcome = Outcome::new(name, Verdict::Failed(why));
    outcome.print(false);
    outcome
}
