//! What cargo knows of this workspace.

use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    cargo
}

/// Builds a program of this workspace beside the running test, as cargo does for a user, and gives it.
///
/// # Panics
///
/// If it does not build.
#[must_use]
pub fn built(package: &str) -> PathBuf {
    let test = std::env::current_exe().expect("this test");
    // target/debug/deps/test
    let profile = test.ancestors().nth(2).expect("a folder of a profile");
    let name = profile.file_name().unwrap_or_default().to_string_lossy();
    let name = if name == "debug" { "dev" } else { &*name };
    // With the features that the libraries were built with for these tests: they are not built again.
    let packages = ["-p", package, "-p", "kscope-tests"];
    let status = cargo()
        .args(["build", "--quiet", "--offline", "--profile", name])
        .args(packages)
        .arg("--target-dir")
        .arg(profile.parent().expect("cargo's folder"))
        .status()
        .expect("cargo");
    assert!(status.success(), "{package}: {status}");
    profile.join(package)
}

/// Gives `cargo metadata` of the workspace's own packages.
///
/// # Panics
///
/// If cargo cannot be run.
#[must_use]
pub fn metadata() -> Value {
    let output = cargo()
        .args([
            "metadata",
            "--no-deps",
            "--offline",
            "--format-version",
            "1",
        ])
        .output()
        .expect("cargo");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}
