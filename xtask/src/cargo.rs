//! What cargo builds for the suites: test executables and the kscope binary.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

/// One executable of tests.
#[derive(Clone, Debug)]
pub(crate) struct TestExecutable {
    pub(crate) package: String,
    /// The target's name: a file of tests/, or the crate's own name for its unit tests.
    pub(crate) target: String,
    pub(crate) path: PathBuf,
    /// The package's folder, in which cargo runs its tests.
    pub(crate) folder: PathBuf,
}

/// How the kscope binary is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Profile {
    Debug,
    Release,
}

/// The folder of the workspace.
pub(crate) fn root() -> PathBuf {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().unwrap_or(xtask).to_path_buf()
}

/// The folder cargo builds in.
pub(crate) fn target_dir() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(folder) => root().join(folder),
        None => root().join("target"),
    }
}

/// A folder for logs and other passing files, made when absent.
pub(crate) fn scratch_dir() -> Result<PathBuf, String> {
    let folder = target_dir().join("xtask");
    std::fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    Ok(folder)
}

/// A cargo command in the workspace.
pub(crate) fn cargo(words: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(words).current_dir(root());
    command
}

/// Builds test executables as `cargo test --no-run WORDS` chooses them, for this machine.
pub(crate) fn tests(words: &[&str]) -> Result<Vec<TestExecutable>, String> {
    executables(
        cargo(&[
            "test",
            "--no-run",
            "--message-format=json-render-diagnostics",
        ])
        .args(words),
    )
}

/// Builds test executables that run on any Linux of this architecture, without debug info.
///
/// They are optimised a little, for emulated processors are slow, and keep their symbols, which tests of user-space
/// probes look for. The flag is bound to a named target, so that proc-macros, which are dynamic libraries, are built
/// without it.
pub(crate) fn static_tests(words: &[&str]) -> Result<Vec<TestExecutable>, String> {
    let mut command = cargo(&[
        "test",
        "--no-run",
        "--message-format=json-render-diagnostics",
    ]);
    make_static(&mut command)?;
    // In a folder of its own: whoever else builds holds the lock of the usual one.
    let folder = target_dir().join("guests");
    executables(command.arg("--target-dir").arg(folder).args(words))
}

/// Builds the static kscope binary and gives its path.
pub(crate) fn kscope(profile: Profile) -> Result<PathBuf, String> {
    let mut command = cargo(&["rustc", "-q", "-p", "kscope", "--bin", "kscope"]);
    let folder = match profile {
        Profile::Release => {
            command.args(["--release", "--", "-C", "target-feature=+crt-static"]);
            target_dir().join("release")
        }
        Profile::Debug => {
            let triple = make_static(&mut command)?;
            target_dir().join(triple).join("debug")
        }
    };
    let status = command
        .status()
        .map_err(|error| format!("cargo: {error}"))?;
    if status.success() {
        Ok(folder.join("kscope"))
    } else {
        Err("kscope does not build".to_string())
    }
}

/// The programs of examples/ that tests run.
const EXAMPLES: [&str; 2] = ["execsnoop-skeleton", "script-in-process"];

/// Builds the programs of examples/ beside the tests, with the features that those have.
pub(crate) fn examples() -> Result<(), String> {
    let mut command = cargo(&["build", "-q"]);
    for package in EXAMPLES.iter().chain(&["kscope-tests"]) {
        command.args(["-p", package]);
    }
    let status = command.status();
    let status = status.map_err(|error| format!("cargo: {error}"))?;
    match status.success() {
        true => Ok(()),
        false => Err("the programs of examples/ do not build".to_string()),
    }
}

fn make_static(command: &mut Command) -> Result<String, String> {
    let triple = host_triple()?;
    let variable = format!(
        "CARGO_TARGET_{}_RUSTFLAGS",
        triple.to_uppercase().replace('-', "_")
    );
    command
        .args(["--target", &triple])
        // RUSTFLAGS would win over the target's own flags.
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env(variable, "-C target-feature=+crt-static")
        .env("CARGO_PROFILE_DEV_DEBUG", "0")
        .env("CARGO_PROFILE_DEV_STRIP", "symbols")
        .env("CARGO_PROFILE_DEV_OPT_LEVEL", "1")
        .env("CARGO_PROFILE_TEST_OPT_LEVEL", "1")
        .env("CARGO_PROFILE_TEST_DEBUG", "0")
        .env("CARGO_PROFILE_TEST_STRIP", "debuginfo");
    Ok(triple)
}

fn host_triple() -> Result<String, String> {
    let output = Command::new("rustc")
        .arg("-vV")
        .output()
        .map_err(|error| format!("rustc: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_string)
        .ok_or_else(|| "rustc -vV names no host".to_string())
}

fn executables(command: &mut Command) -> Result<Vec<TestExecutable>, String> {
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("cargo: {error}"))?;
    if !output.status.success() {
        return Err("the tests do not build".to_string());
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let messages = text
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok());
    let mut found: Vec<TestExecutable> = messages
        .filter_map(|message| executable(&message))
        .collect();
    // Cargo tells them in the order in which they were built.
    found.sort_by(|a, b| (&a.package, &a.target).cmp(&(&b.package, &b.target)));
    Ok(found)
}

/// Reads cargo's message about one compiled target, when that is an executable of tests.
fn executable(message: &Value) -> Option<TestExecutable> {
    let text = |value: &Value| value.as_str().map(str::to_string);
    if message["reason"] != "compiler-artifact" || message["profile"]["test"] != true {
        return None;
    }
    let folder = PathBuf::from(message["manifest_path"].as_str()?)
        .parent()?
        .to_path_buf();
    let manifest = std::fs::read_to_string(folder.join("Cargo.toml")).ok()?;
    let package = manifest
        .lines()
        .find_map(|line| line.strip_prefix("name = "))?
        .trim_matches('"')
        .to_string();
    Some(TestExecutable {
        package,
        target: text(&message["target"]["name"])?,
        path: text(&message["executable"])?.into(),
        folder,
    })
}
