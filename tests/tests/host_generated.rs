//! Whatever type-checks loads: generated scripts of the whole language, for as long as there is time.
//!
//! `KSCOPE_SEED` is the first script's number, so that one can be had again; `KSCOPE_SECONDS` changes
//! how long they are made. Scripts that do not type-check are no matter, as long as they are few.

#[path = "host_generated/probe.rs"]
mod probe;
#[path = "host_generated/script.rs"]
mod script;
#[path = "host_generated/value.rs"]
mod value;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

use kscope_bpf::sys::Errno;
use kscope_btf::Btf;
use kscope_runtime::{Error, LiveCatalogue, Options, Request, Session, Target};
use kscope_script::compile::{self, compile};
use kscope_script::diagnostic::Severity;
use kscope_script::types::Inputs;
use kscope_tests::kernel_or_skip;

/// Failures that are collected before the test ends.
const ENOUGH: usize = 10;
/// Of a hundred scripts, how many must type-check.
const WELL_TYPED: u64 = 80;
/// Of a thousand scripts, how many may be too much for the verifier's patience.
const COMPLEX: u64 = 20;

/// Scripts that take longer are told.
const SLOW: Duration = Duration::from_secs(2);

/// What became of a script.
enum Fate {
    Loaded,
    /// It does not type-check.
    IllTyped(String),
    /// It is too much for a limit of the kernel that is told, or for the verifier, which gave up.
    TooLarge,
    Failed(String),
}

fn try_script(target: &Target, btf: Option<&Btf>, source: &str) -> Fate {
    let catalogue = LiveCatalogue::new(target, btf);
    let mut inputs = Inputs::new(&catalogue);
    inputs.btf = btf;
    inputs.positional = vec!["text".to_owned()];
    // Writing a log of sixteen megabytes takes longer than all else.
    inputs.environment = vec![("BPFTRACE_LOG_SIZE".to_owned(), "100000".to_owned())];
    let done = compile("generated", source, &inputs, compile::Options::default());
    let Some(compiled) = done.compiled else {
        let mut errors = done.diagnostics.iter();
        let error = errors.find(|finding| finding.severity == Severity::Error);
        return match error {
            // What only the code generator finds: the script did type-check.
            Some(error) if error.id == "too-large" => Fate::TooLarge,
            Some(error) if error.id == "unsupported" => {
                Fate::Failed(format!("{}: {}", error.id, error.message))
            }
            Some(error) => Fate::IllTyped(format!("{}: {}", error.id, error.message)),
            None => Fate::Failed("nothing was said".to_owned()),
        };
    };
    let options = match Options::parse(&compiled.plan, &[]) {
        Ok(options) => options,
        Err(error) => return Fate::Failed(error.to_string()),
    };
    let mut request = Request::new(compiled, options, source);
    request.render = Some(|_, _| Vec::new());
    match Session::load(target, btf, request, &|| false) {
        Ok(session) => {
            let failures = session.object().failures();
            let mut failures = failures.filter(|failure| !lacks(&failure.error));
            match failures.next() {
                Some(failure) => judge(&failure.error),
                None => Fate::Loaded,
            }
        }
        Err(Error::Program { error, .. } | Error::Kernel(error)) => judge(&error),
        Err(error) => Fate::Failed(error.to_string()),
    }
}

/// Says whether this machine has not what a probe needs.
fn lacks(error: &kscope_bpf::Error) -> bool {
    matches!(
        error,
        kscope_bpf::Error::Unsupported { .. } | kscope_bpf::Error::Permission { .. }
    )
}

fn judge(error: &kscope_bpf::Error) -> Fate {
    match error {
        error if lacks(error) => Fate::Loaded,
        kscope_bpf::Error::Rejected { errno, log, .. }
            if *errno == Errno::TOO_BIG || log.text.contains("jumps is too complex") =>
        {
            Fate::TooLarge
        }
        kscope_bpf::Error::Rejected { log, .. } => {
            let lines: Vec<&str> = log.text.lines().collect();
            let last = lines.len().saturating_sub(12);
            Fate::Failed(format!("{error}\n{}", lines[last..].join("\n")))
        }
        error => Fate::Failed(error.to_string()),
    }
}

/// Tries scripts for so long.
fn try_scripts(first: u64, time: Duration) {
    let target = Target::live();
    let btf = target.btf().ok();
    let number = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
    let first = number("KSCOPE_SEED").unwrap_or(first);
    let time = number("KSCOPE_SECONDS").map_or(time, Duration::from_secs);
    let start = Instant::now();
    let (mut tried, mut complex, mut typed) = (0u64, 0, 0);
    let mut failures = Vec::new();
    let mut ill: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    while start.elapsed() < time && failures.len() < ENOUGH {
        let seed = first + tried;
        tried += 1;
        let source = script::script(seed);
        let begun = Instant::now();
        let fate = catch_unwind(AssertUnwindSafe(|| {
            try_script(&target, btf.as_ref(), &source)
        }));
        match fate {
            Ok(Fate::IllTyped(why)) => ill.entry(why).or_insert((seed, 0)).1 += 1,
            Ok(Fate::Loaded) => typed += 1,
            Ok(Fate::TooLarge) => {
                typed += 1;
                complex += 1;
            }
            Ok(Fate::Failed(why)) => failures.push(format!("seed {seed}: {why}\n{source}")),
            Err(_) => failures.push(format!("seed {seed}: a panic\n{source}")),
        }
        if begun.elapsed() > SLOW {
            println!("seed {seed} took {:.1} s", begun.elapsed().as_secs_f64());
        }
    }
    println!("{tried} scripts, {typed} well-typed, {complex} too complex");
    for (why, (seed, count)) in &ill {
        println!("{count} ill-typed, such as {seed}: {why}");
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(typed * 100 >= tried * WELL_TYPED, "few are well-typed");
    assert!(complex * 1000 <= tried * COMPLEX, "many are too complex");
}

#[test]
fn generated_scripts_load() {
    let _kernel = kernel_or_skip!();
    try_scripts(1, Duration::from_secs(50));
}

/// Generated scripts that a verifier refused once.
#[test]
fn what_failed_once_loads() {
    let _kernel = kernel_or_skip!();
    let target = Target::live();
    let btf = target.btf().ok();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/generated");
    let entries = std::fs::read_dir(&folder).expect("readable");
    let files: Vec<_> = entries
        .map(|entry| entry.expect("readable").path())
        .collect();
    assert!(!files.is_empty(), "{} is empty", folder.display());
    for file in files {
        let source = std::fs::read_to_string(&file).expect("readable");
        let why = match try_script(&target, btf.as_ref(), &source) {
            Fate::Loaded => continue,
            Fate::TooLarge => "too large".to_owned(),
            Fate::IllTyped(why) | Fate::Failed(why) => why,
        };
        panic!("{}: {why}", file.display());
    }
}

#[test]
#[ignore = "takes 30 minutes"]
fn generated_scripts_load_for_long() {
    let _kernel = kernel_or_skip!();
    try_scripts(1 << 32, Duration::from_secs(30 * 60));
}

/// Prints the script of `KSCOPE_SEED`.
#[test]
#[ignore = "shows one script"]
fn show_generated_script() {
    let seed = std::env::var("KSCOPE_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    println!("{}", script::script(seed.unwrap_or(1)));
}
