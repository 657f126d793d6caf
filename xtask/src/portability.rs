//! `cargo xtask portability`: the workspace builds with the oldest Rust it promises, and for aarch64.
//!
//! Both compilers are Debian trixie's, in a folder of their own: its Rust is the oldest one that is promised, and its
//! archive has the standard library for other architectures.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::arguments::Arguments;
use crate::chroot::{Release, mount};
use crate::outcome::{Outcome, Sum, Verdict};
use crate::{cargo, deadline, setup};

/// Where the compilers come from.
const TRIXIE: Release = Release {
    suite: "trixie",
    packages: "rustc,cargo",
    foreign: Some(("arm64", "libstd-rust-dev:arm64")),
    proof: "usr/lib/rustlib/aarch64-unknown-linux-gnu/lib",
};

/// What is checked, and what cargo is told for it.
const CHECKS: [(&str, &str); 2] = [
    ("with the oldest Rust that is promised", "--all-targets"),
    (
        "for aarch64",
        "--all-targets --target aarch64-unknown-linux-gnu",
    ),
];

/// Time limit of one of them.
const LIMIT: Duration = Duration::from_secs(900);

/// Runs the checks in a process of their own, as the mounts are that process's.
pub(crate) fn outcomes(limit: Duration) -> Vec<Outcome> {
    if let Err(why) = ready() {
        return skip(&why);
    }
    let this = match std::env::current_exe() {
        Ok(this) => this,
        Err(error) => return skip(&error.to_string()),
    };
    let started = Instant::now();
    let ending = deadline::run_here(Command::new(this).arg("portability"), limit);
    let name = "oldest Rust and aarch64".to_string();
    let outcome = Outcome::judge(name, ending, started.elapsed(), String::new());
    outcome.print(false);
    vec![outcome]
}

/// Runs the command.
pub(crate) fn run(arguments: Arguments) -> Result<bool, String> {
    arguments.finish()?;
    ready()?;
    let promised = promised()?;
    // What is missing of the dependencies is fetched out here: inside, there may be no way to the registry.
    let mut fetch = cargo::cargo(&["fetch", "-q", "--locked"]);
    deadline::run_here(&mut fetch, LIMIT).map_err(|how| format!("cargo fetch: {how}"))?;
    let root = TRIXIE.enter()?;
    let home = cargo_home()?;
    for (from, to) in [
        (cargo::root(), "kscope"),
        (home.join("registry"), "root/.cargo/registry"),
    ] {
        let place = root.join(to);
        std::fs::create_dir_all(&place).map_err(|error| format!("{to}: {error}"))?;
        mount(&["--bind", from.to_str().ok_or("a path")?], &place)?;
    }
    let found = printed(inside(&root, "rustc --version"))?;
    println!("{found}");
    if !found.contains(&format!(" {promised}.")) {
        return Err(format!("Rust {promised} is promised, and here is {found}"));
    }
    let mut outcomes = Vec::new();
    for (name, words) in CHECKS {
        let script = format!("cargo check -q --offline --locked --workspace --keep-going {words}");
        let started = Instant::now();
        let ending = deadline::run_here(&mut inside(&root, &script), LIMIT);
        let outcome = Outcome::judge(name.to_string(), ending, started.elapsed(), String::new());
        outcome.print(false);
        outcomes.push(outcome);
    }
    let sum = Sum::of(&outcomes);
    println!("{sum}");
    Ok(sum.failed == 0)
}

/// Whether this machine can do it.
fn ready() -> Result<(), String> {
    if !setup::is_root() {
        return Err("needs root".to_string());
    }
    let debootstrap = Path::new("/usr/sbin/debootstrap").exists();
    if TRIXIE.is_made() || debootstrap {
        Ok(())
    } else {
        Err("debootstrap is missing".to_string())
    }
}

fn skip(why: &str) -> Vec<Outcome> {
    let outcome = Outcome::new("oldest Rust and aarch64", Verdict::Skipped(why.to_string()));
    outcome.print(false);
    vec![outcome]
}

/// A shell's command in the workspace, with the release's own programs.
fn inside(root: &Path, script: &str) -> Command {
    let mut command = Command::new("chroot");
    command.arg(root).args(["env", "-i", "HOME=/root"]);
    command.args(["PATH=/usr/sbin:/usr/bin", "CARGO_TARGET_DIR=/target"]);
    command.args(["sh", "-c", &format!("cd /kscope && {script}")]);
    command
}

fn printed(mut command: Command) -> Result<String, String> {
    let output = command.output().map_err(|error| error.to_string())?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_string())
}

/// Gives the version that Cargo.toml promises.
fn promised() -> Result<String, String> {
    let file = cargo::root().join("Cargo.toml");
    let text = std::fs::read_to_string(&file).map_err(|error| error.to_string())?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("rust-version = "));
    line.map(|version| version.trim_matches('"').to_string())
        .ok_or_else(|| format!("{} promises no rust-version", file.display()))
}

fn cargo_home() -> Result<PathBuf, String> {
    if let Some(home) = std::env::var_os("CARGO_HOME") {
        return Ok(home.into());
    }
    let home = std::env::var_os("HOME").ok_or("neither CARGO_HOME nor HOME is set")?;
    Ok(PathBuf::from(home).join(".cargo"))
}

#[cfg(test)]
mod tests {
    use super::promised;

    #[test]
    fn the_promised_rust_is_trixies() {
        // Another promise wants another release of Debian above.
        assert_eq!(promised().as_deref(), Ok("1.85"));
    }
}
