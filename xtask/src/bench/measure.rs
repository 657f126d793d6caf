//! Wall time, CPU time and peak memory of one command.

use std::process::{Command, Stdio};
use std::time::Instant;

use nix::sys::resource::{UsageWho, getrusage};
use serde_json::{Value, json};

/// What a command cost from its start to its end.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cost {
    /// Milliseconds.
    pub(crate) wall: f64,
    /// Milliseconds, user and system together.
    pub(crate) cpu: f64,
    /// Megabytes.
    pub(crate) memory: f64,
    /// Milliseconds until the moment that it printed as nanoseconds since 1970, if it did.
    pub(crate) until_stamp: Option<f64>,
}

/// Runs the command, measures it, and prints the costs for [`cost`].
///
/// This happens in a process that does nothing else: the peak memory of a child counts what its parent had when it
/// was made, and children are counted together.
pub(crate) fn one(words: &[String]) -> Result<bool, String> {
    let (program, words) = words
        .split_first()
        .ok_or("bench-one needs a command after --")?;
    let epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let start = Instant::now();
    let output = Command::new(program)
        .args(words)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("{program}: {error}"))?;
    let wall = start.elapsed();
    if !output.status.success() {
        return Err(format!("{program} ended with {}", output.status));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let stamp = text
        .lines()
        .find_map(|line| line.trim().parse::<u64>().ok());
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).map_err(|error| error.to_string())?;
    let microseconds = [usage.user_time(), usage.system_time()]
        .map(|time| time.tv_sec() * 1_000_000 + time.tv_usec());
    println!(
        "{}",
        json!({
            "wall": wall.as_secs_f64() * 1e3,
            "cpu": (microseconds[0] + microseconds[1]) as f64 / 1e3,
            "kilobytes": usage.max_rss(),
            "stamp": stamp,
            "started": epoch.map_or(0, |epoch| epoch.as_nanos() as u64),
        })
    );
    Ok(true)
}

/// Measures a command.
pub(crate) fn cost(command: &Command) -> Result<Cost, String> {
    let this = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut outer = Command::new(this);
    outer
        .args(["bench-one", "--"])
        .arg(command.get_program())
        .args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => outer.env(name, value),
            None => outer.env_remove(name),
        };
    }
    let output = outer
        .stdin(Stdio::null())
        .output()
        .map_err(|error| error.to_string())?;
    let failed = || {
        let text = String::from_utf8_lossy(&output.stderr);
        let lines: Vec<&str> = text.lines().collect();
        format!(
            "{}: {}",
            command.get_program().to_string_lossy(),
            lines.join(" / ")
        )
    };
    if !output.status.success() {
        return Err(failed());
    }
    let value: Value = serde_json::from_slice(&output.stdout).map_err(|_| failed())?;
    let number = |name: &str| value[name].as_f64().unwrap_or_default();
    Ok(Cost {
        wall: number("wall"),
        cpu: number("cpu"),
        memory: number("kilobytes") / 1024.0,
        until_stamp: value["stamp"]
            .as_u64()
            .zip(value["started"].as_u64())
            .map(|(stamp, started)| stamp.saturating_sub(started) as f64 / 1e6),
    })
}
