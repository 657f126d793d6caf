//! What all tasks are at, of 2,000 that sleep: beside reading /proc/*/task/*/stack.

use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Barrier, Condvar, Mutex, PoisonError};
use std::time::Instant;

use super::Settings;
use super::measure::cost;
use super::table::{Aim, Figure, Table, Unit, median};

/// Threads that sleep meanwhile.
const THREADS: usize = 2000;
/// Bytes of the stack of each.
const STACK: usize = 64 << 10;

/// What threads sleep on.
type Sleep = Arc<(Mutex<bool>, Condvar)>;

/// Measures the walk, and the command from its start to its end, in turns with /proc.
pub(crate) fn measure(kscope: &Path, settings: &Settings) -> Result<(), String> {
    let sleep: Sleep = Arc::default();
    let began = Arc::new(Barrier::new(THREADS + 1));
    let start = |_| {
        let (sleep, began) = (Arc::clone(&sleep), Arc::clone(&began));
        let thread = std::thread::Builder::new().stack_size(STACK);
        thread.spawn(move || {
            began.wait();
            let (awake, changed) = &*sleep;
            let mut awake = awake.lock().unwrap_or_else(PoisonError::into_inner);
            while !*awake {
                awake = changed.wait(awake).unwrap_or_else(PoisonError::into_inner);
            }
        })
    };
    let threads: Result<Vec<_>, _> = (0..THREADS).map(start).collect();
    let threads = threads.map_err(|error| format!("{THREADS} threads: {error}"))?;
    began.wait();
    // Until all of them sleep.
    std::thread::sleep(std::time::Duration::from_millis(300));
    let measured = in_turns(kscope, settings.runs);
    *sleep.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
    sleep.1.notify_all();
    for thread in threads {
        thread.join().map_err(|_| "a thread panicked".to_string())?;
    }
    measured
}

fn in_turns(kscope: &Path, runs: usize) -> Result<(), String> {
    let mut command = Command::new(kscope);
    command.arg("stacks");
    let (mut walks, mut files, mut walls, mut memory) = (vec![], vec![], vec![], vec![]);
    for _ in 0..runs {
        walks.push(walk(kscope)?);
        files.push(proc_files()?);
        let cost = cost(&command)?;
        walls.push(cost.wall);
        memory.push(cost.memory);
    }
    let of = |numbers: Vec<f64>| median(numbers).ok_or("no runs");
    let files = of(files)?;
    let mut table = Table::new("/proc");
    let mut row = |name: &str, unit, kscope, peer, aim| {
        table.add(&Figure {
            name,
            unit,
            kscope,
            peer,
            aim,
        });
    };
    let (walk, wall, memory) = (of(walks)?, of(walls)?, of(memory)?);
    row(
        "the walk over all tasks",
        Unit::Milliseconds,
        walk,
        Some(files),
        Aim::AtMost(1.0 / 4.0),
    );
    row(
        "kscope stacks, start to end",
        Unit::Milliseconds,
        wall,
        None,
        Aim::Within(200.0),
    );
    row(
        "kscope stacks, peak memory",
        Unit::Megabytes,
        memory,
        None,
        Aim::Within(40.0),
    );
    table.finish();
    Ok(())
}

/// Gives how long a walk took in milliseconds, as the command says it.
fn walk(kscope: &Path) -> Result<f64, String> {
    let output = Command::new(kscope).arg("stacks").output();
    let output = output.map_err(|error| format!("{}: {error}", kscope.display()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let last = text.lines().last().unwrap_or_default();
    let tasks = last
        .split(' ')
        .next()
        .and_then(|tasks| tasks.parse::<usize>().ok());
    if tasks.is_none_or(|tasks| tasks < THREADS) {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!(
            "kscope stacks shows fewer than {THREADS} tasks: {last}{said}"
        ));
    }
    let taken = last
        .split_once("looked at in ")
        .and_then(|(_, rest)| rest.split_once(" ms"));
    let taken = taken.and_then(|(taken, _)| taken.parse().ok());
    taken.ok_or_else(|| format!("kscope stacks does not say how long it took: {last}"))
}

/// Reads the stack of each task that /proc has, and gives the milliseconds.
fn proc_files() -> Result<f64, String> {
    let begin = Instant::now();
    let mut read = 0;
    let failed = |error: std::io::Error| format!("/proc: {error}");
    for process in std::fs::read_dir("/proc").map_err(failed)?.flatten() {
        let is_process = |name: &str| name.bytes().all(|byte| byte.is_ascii_digit());
        if !process.file_name().to_str().is_some_and(is_process) {
            continue;
        }
        // One that has ended meanwhile has none.
        let threads = std::fs::read_dir(process.path().join("task"))
            .into_iter()
            .flatten();
        for thread in threads.flatten() {
            let stack = std::fs::read(thread.path().join("stack"));
            read += usize::from(stack.is_ok());
        }
    }
    match read < THREADS {
        true => Err(format!("/proc gave {read} stacks, not {THREADS}")),
        false => Ok(begin.elapsed().as_secs_f64() * 1e3),
    }
}
