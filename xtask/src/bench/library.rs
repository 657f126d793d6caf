//! The library beside other libraries: libbpf through libbpf-rs, and the aya that this Rust can build.
//!
//! They live in benches/peers, a workspace of its own, in programs that do the same with each library.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::Settings;
use super::measure::cost;
use super::table::{Aim, Unit, Versus, median};
use crate::{cargo, deadline};

/// The libraries: the programs that measure them, and the packages whose build is measured.
const LIBRARIES: [(&str, &str); 3] = [
    ("bench-kscope", KSCOPE),
    ("bench-libbpf", "libbpf-rs"),
    ("bench-aya", "aya"),
];

/// The library whose features are chosen.
const KSCOPE: &str = "kscope-bpf";

/// Names of the columns.
const NAMES: [&str; 3] = ["kscope-bpf", "libbpf-rs", "aya"];

/// What building the peers and the object needs, with Debian's packages.
const NEEDED: [(&str, &str); 7] = [
    ("clang", "clang"),
    ("cc", "gcc"),
    ("make", "make"),
    ("pkg-config", "pkg-config"),
    ("/usr/include/libelf.h", "libelf-dev"),
    ("/usr/include/zlib.h", "zlib1g-dev"),
    ("/usr/include/bpf/bpf_helpers.h", "libbpf-dev"),
];

/// How long building may take.
const LIMIT: Duration = Duration::from_secs(1200);

/// Measures everything that concerns the library.
pub(crate) fn measure(settings: &Settings) -> Result<(), String> {
    let missing: Vec<&str> = NEEDED
        .iter()
        .filter(|(file, _)| !is_there(file))
        .map(|(_, package)| *package)
        .collect();
    if !missing.is_empty() {
        return Err(format!(
            "the libraries to compare with cannot be built; Debian's packages {} are missing",
            missing.join(", ")
        ));
    }
    let folder = super::scratch()?.join("peers");
    build(&folder)?;
    let object = compile(&folder)?;
    let object = object.to_str().ok_or("the target folder's name")?;
    let mut table = Versus::new(NAMES);
    let programs = LIBRARIES.map(|(name, _)| folder.join("release").join(name));
    let mut measured = |words: &[&str], lines: &[Line]| -> Result<(), String> {
        let runs = interleave(&programs, words, settings.runs)?;
        for line in lines {
            let values = [0, 1, 2].map(|library| {
                let values = runs[library].iter();
                median(values.filter_map(|run| field(run, line.field)).collect())
            });
            let values = values.map(|value| value.map(|value| value * line.scale));
            table.add(line.name, line.unit, values, line.aim);
        }
        Ok(())
    };
    measured(
        &["btf"],
        &[
            Line::cpu("vmlinux BTF indexed, CPU time", Aim::Within(10.0)),
            Line::memory(
                "vmlinux BTF indexed, memory added",
                "added",
                Aim::Within(2.0),
            ),
        ],
    )?;
    measured(
        &["load", object],
        &[
            Line::cpu(
                "7 CO-RE programs opened and loaded, CPU time",
                Aim::AtMost(1.0),
            ),
            Line::memory("7 CO-RE programs, memory kept", "kept", Aim::Within(0.5)),
            Line::memory("7 CO-RE programs, peak of memory", "peak", Aim::None),
        ],
    )?;
    measured(
        &["ring", object],
        &[Line {
            name: "ring buffer, CPU time per event read",
            unit: Unit::Nanoseconds,
            field: "event",
            scale: 1.0,
            aim: Aim::AtMost(1.1),
        }],
    )?;
    // The other two are measured once, as they come; kscope-bpf without its families, and with them.
    let none = ["--no-default-features"];
    let (name, unit) = ("third-party crates below it, without features", Unit::Count);
    let mut crates = LIBRARIES.map(|(_, package)| third_party(package, &none).ok());
    table.add(name, unit, crates, Aim::Within(6.0));
    crates[0] = third_party(KSCOPE, &[]).ok();
    table.add(
        "the same with its default features",
        unit,
        crates,
        Aim::None,
    );
    let (name, unit) = ("clean release build without features", Unit::Seconds);
    let mut builds = [None; 3];
    for (value, (_, package)) in builds.iter_mut().zip(LIBRARIES) {
        *value = Some(clean_build(package, &none)?);
    }
    table.add(name, unit, builds, Aim::Within(15.0));
    builds[0] = Some(clean_build(KSCOPE, &[])?);
    table.add(
        "the same with its default features",
        unit,
        builds,
        Aim::None,
    );
    table.finish();
    Ok(())
}

/// A figure that the programs print.
struct Line {
    name: &'static str,
    unit: Unit,
    field: &'static str,
    /// From the program's unit to the table's.
    scale: f64,
    aim: Aim,
}

impl Line {
    fn cpu(name: &'static str, aim: Aim) -> Line {
        let (unit, scale) = (Unit::Milliseconds, 1e-6);
        Line {
            name,
            unit,
            field: "cpu",
            scale,
            aim,
        }
    }

    fn memory(name: &'static str, field: &'static str, aim: Aim) -> Line {
        let (unit, scale) = (Unit::Megabytes, 1.0 / 1024.0);
        Line {
            name,
            unit,
            field,
            scale,
            aim,
        }
    }
}

/// Whether a file, or a program on the path, is there.
fn is_there(file: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(file).exists())
}

/// Cargo in the workspace of the peers.
fn peers(words: &[&str]) -> Command {
    let mut command = cargo::cargo(words);
    command.current_dir(cargo::root().join("benches/peers"));
    command
}

fn build(folder: &Path) -> Result<(), String> {
    let mut command = peers(&["build", "-q", "--release", "--locked", "--target-dir"]);
    command.arg(folder);
    deadline::run_here(&mut command, LIMIT)
        .map_err(|how| format!("the libraries to compare with do not build: {how}"))
}

/// Compiles the object that all of them load.
fn compile(folder: &Path) -> Result<PathBuf, String> {
    let object = folder.join("seven.bpf.o");
    let source = cargo::root().join("benches/peers/seven.bpf.c");
    let arch = std::env::consts::ARCH;
    let target = if arch == "aarch64" { "arm64" } else { "x86" };
    let mut command = Command::new("clang");
    command
        .args(["-g", "-O2", "-target", "bpf", "-mcpu=v3"])
        .arg(format!("-D__TARGET_ARCH_{target}"))
        .arg(format!("-I/usr/include/{arch}-linux-gnu"))
        .arg("-c")
        .arg(&source)
        .arg("-o")
        .arg(&object);
    deadline::run_here(&mut command, LIMIT)
        .map_err(|how| format!("clang {}: {how}", source.display()))?;
    Ok(object)
}

/// Runs the programs in turns and gives what each printed; the first turn warms caches and is not counted.
fn interleave(
    programs: &[PathBuf; 3],
    words: &[&str],
    runs: usize,
) -> Result<[Vec<String>; 3], String> {
    let mut printed = [const { Vec::new() }; 3];
    for run in 0..=runs {
        for (program, printed) in programs.iter().zip(&mut printed) {
            let shown = program.display();
            let output = Command::new(program).args(words).output();
            let output = output.map_err(|error| format!("{shown}: {error}"))?;
            if !output.status.success() {
                let why = String::from_utf8_lossy(&output.stderr);
                return Err(format!("{shown} {}: {}", words.join(" "), why.trim()));
            }
            if run > 0 {
                printed.push(String::from_utf8_lossy(&output.stdout).into_owned());
            }
        }
    }
    Ok(printed)
}

/// Reads one of the `name=value` words that a program printed.
fn field(printed: &str, name: &str) -> Option<f64> {
    let mut words = printed.split_whitespace();
    words.find_map(|word| word.strip_prefix(name)?.strip_prefix('=')?.parse().ok())
}

/// Counts the third-party crates that a user of the package builds; the features are those of kscope-bpf.
fn third_party(package: &str, features: &[&str]) -> Result<f64, String> {
    let words = [
        "tree",
        "-p",
        package,
        "-e",
        "normal,build",
        "--prefix",
        "none",
        "--no-dedupe",
        "--locked",
    ];
    let output = match package {
        KSCOPE => cargo::cargo(&words).args(features).output(),
        _ => peers(&words).output(),
    };
    let output = output.map_err(|error| format!("cargo tree: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    // The line of the package itself, and those with a path, are no third party's.
    let names: BTreeSet<&str> = text
        .lines()
        .filter(|line| !line.contains(" (/") && !line.is_empty())
        .filter_map(|line| line.split(' ').next())
        .filter(|name| *name != package)
        .collect();
    if text.is_empty() {
        return Err(format!("cargo tree knows nothing of {package}"));
    }
    Ok(names.len() as f64)
}

/// Gives the CPU seconds of a release build of a package and all below it, from nothing; the features are those of
/// kscope-bpf.
fn clean_build(package: &str, features: &[&str]) -> Result<f64, String> {
    let folder = super::scratch()?.join(format!("clean-{package}"));
    let clear = || match std::fs::remove_dir_all(&folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(format!("{}: {error}", folder.display()))
        }
        _ => Ok(()),
    };
    clear()?;
    let manifest = match package {
        KSCOPE => "Cargo.toml",
        _ => "benches/peers/Cargo.toml",
    };
    let mut command = cargo::cargo(&["build", "-q", "--release", "--locked", "-p", package]);
    command
        .arg("--manifest-path")
        .arg(cargo::root().join(manifest));
    if package == KSCOPE {
        // With the profile that Cargo has for everybody, not that of this workspace's binary.
        command.args(features);
        command.env("CARGO_PROFILE_RELEASE_LTO", "false");
        command.env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16");
        command.env("CARGO_PROFILE_RELEASE_PANIC", "unwind");
    }
    command.arg("--target-dir").arg(&folder);
    let cost = cost(&command);
    clear()?;
    Ok(cost?.cpu / 1e3)
}

#[cfg(test)]
mod tests {
    use super::{field, is_there};

    #[test]
    fn fields_are_found_by_their_names() {
        let line = "cpu=8274679 kept=116 added=784 event=6.4\n";
        for (name, expected) in [
            ("cpu", Some(8_274_679.0)),
            ("kept", Some(116.0)),
            ("event", Some(6.4)),
            ("ke", None),
            ("peak", None),
        ] {
            assert_eq!(field(line, name), expected, "{name}");
        }
    }

    #[test]
    fn files_and_programs_are_looked_for() {
        assert!(is_there("sh"));
        assert!(is_there("/proc/self/status"));
        assert!(!is_there("/proc/self/nothing"));
        assert!(!is_there("no-such-program-at-all"));
    }
}
