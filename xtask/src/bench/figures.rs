//! Figures that need no event: the size of the binary, the index of the kernel's types.

use std::path::Path;
use std::process::Command;

use super::table::{Aim, Figure, Table, Unit};
use super::{Pair, Settings};
use crate::cargo;

/// Megabytes of the file, beside those of the peer's file with all libraries it loads.
pub(crate) fn size(pair: &Pair, _: &Settings, table: &mut Table) -> Result<(), String> {
    let file = pair.kscope.file().ok_or("kscope is no file")?;
    table.add(&Figure {
        name: "the binary, with the libraries that it loads",
        unit: Unit::Megabytes,
        kscope: megabytes(file)?,
        peer: with_libraries(pair).ok(),
        aim: Aim::Within(8.0),
    });
    Ok(())
}

fn megabytes(file: &Path) -> Result<f64, String> {
    let data = std::fs::metadata(file).map_err(|error| format!("{}: {error}", file.display()))?;
    Ok(data.len() as f64 / f64::from(1 << 20))
}

fn with_libraries(pair: &Pair) -> Result<f64, String> {
    let peer = &pair.peer;
    let file = peer.file().ok_or("the peer is no file")?;
    let inside = |path: &Path| peer.root.join(path.strip_prefix("/").unwrap_or(path));
    let output = Command::new("chroot")
        .arg(&peer.root)
        .arg("ldd")
        .arg(file)
        .output();
    let output = output.map_err(|error| format!("ldd: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let libraries = text
        .lines()
        .filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')));
    let mut sum = megabytes(&inside(file))?;
    for library in libraries {
        sum += megabytes(&inside(Path::new(library)))?;
    }
    Ok(sum)
}

/// CPU time and memory of an index of vmlinux's types by name, as kscope-btf's own example measures them.
pub(crate) fn btf(_: &Pair, _: &Settings, table: &mut Table) -> Result<(), String> {
    let mut command = cargo::cargo(&[
        "run",
        "-q",
        "--release",
        "-p",
        "kscope-btf",
        "--example",
        "index",
    ]);
    let output = command
        .output()
        .map_err(|error| format!("cargo: {error}"))?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        return Err(text
            .lines()
            .last()
            .unwrap_or("the example failed")
            .to_string());
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let missing = || format!("the example printed something else: {text}");
    let field = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(name))?;
        line.split_whitespace().nth(1)
    };
    let milliseconds = |name: &str| field(name).and_then(milliseconds).ok_or_else(missing);
    let kilobytes: f64 = field("memory")
        .and_then(|text| text.parse().ok())
        .ok_or_else(missing)?;
    table.add(&Figure {
        name: "vmlinux BTF indexed by name, CPU time",
        unit: Unit::Milliseconds,
        kscope: milliseconds("layout")? + milliseconds("names")?,
        peer: None,
        aim: Aim::Within(10.0),
    });
    table.add(&Figure {
        name: "vmlinux BTF indexed by name, memory added",
        unit: Unit::Megabytes,
        kscope: kilobytes / 1024.0,
        peer: None,
        aim: Aim::Within(2.0),
    });
    Ok(())
}

/// Reads a duration as Rust prints it.
fn milliseconds(text: &str) -> Option<f64> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let number: f64 = text.get(..end)?.parse().ok()?;
    Some(match text.get(end..)? {
        "s" => number * 1e3,
        "ms" => number,
        "µs" => number / 1e3,
        "ns" => number / 1e6,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::milliseconds;

    #[test]
    fn durations() {
        for (text, expected) in [
            ("3.25ms", Some(3.25)),
            ("2s", Some(2000.0)),
            ("500µs", Some(0.5)),
            ("7 apples", None),
        ] {
            assert_eq!(milliseconds(text), expected, "{text}");
        }
    }
}
