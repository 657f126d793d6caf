//! Kernel modules a test names, with what they depend on.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A module to load: its file name in the guest and its uncompressed bytes.
#[derive(Clone, Debug)]
pub(crate) struct Module {
    pub(crate) file: String,
    /// Where it is, packed or not.
    pub(crate) path: PathBuf,
    pub(crate) bytes: Vec<u8>,
}

/// Gives the modules and all they depend on, each after its dependencies; built-in and unknown ones are left out.
///
/// Debian's packages hold no modules.dep (depmod makes it on installation), so the modules' own `.modinfo` is read.
pub(crate) fn in_order(folder: &Path, names: &[String]) -> Result<Vec<Module>, String> {
    let mut files = BTreeMap::new();
    index(&folder.join("kernel"), &mut files);
    let mut modules = Vec::new();
    let mut seen = Vec::new();
    for name in names {
        add(name, &files, &mut seen, &mut modules)?;
    }
    Ok(modules)
}

fn add(
    name: &str,
    files: &BTreeMap<String, PathBuf>,
    seen: &mut Vec<String>,
    modules: &mut Vec<Module>,
) -> Result<(), String> {
    let name = name.replace('-', "_");
    let Some(path) = files.get(&name) else {
        return Ok(());
    };
    if seen.contains(&name) {
        return Ok(());
    }
    seen.push(name.clone());
    let bytes = read(path)?;
    for needed in depends(&bytes) {
        add(&needed, files, seen, modules)?;
    }
    modules.push(Module {
        file: format!("{name}.ko"),
        path: path.clone(),
        bytes,
    });
    Ok(())
}

/// Finds every `NAME.ko`, `NAME.ko.xz`, … below a folder.
fn index(folder: &Path, files: &mut BTreeMap<String, PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return;
    };
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        if path.is_dir() {
            index(&path, files);
        } else if let Some((name, _)) = path
            .file_name()
            .and_then(|name| name.to_str()?.split_once(".ko"))
        {
            files.insert(name.replace('-', "_"), path.clone());
        }
    }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let program = match path.extension().and_then(|extension| extension.to_str()) {
        Some("xz") => "xz",
        Some("zst") => "zstd",
        Some("gz") => "gzip",
        _ => return std::fs::read(path).map_err(|error| format!("{}: {error}", path.display())),
    };
    let output = Command::new(program)
        .arg("-dc")
        .arg(path)
        .stdin(Stdio::null())
        .output();
    let output = output.map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        Ok(output.stdout)
    } else {
        Err(format!("{program} cannot unpack {}", path.display()))
    }
}

/// Reads the string `depends=a,b` of a module's `.modinfo`.
fn depends(bytes: &[u8]) -> Vec<String> {
    const KEY: &[u8] = b"\0depends=";
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b',');
    let lists = bytes
        .windows(KEY.len())
        .enumerate()
        .filter(|(_, window)| *window == KEY)
        .filter_map(|(at, _)| {
            let value = bytes.get(at + KEY.len()..)?;
            let value = value.get(..value.iter().position(|byte| *byte == 0)?)?;
            value
                .iter()
                .all(is_name)
                .then(|| String::from_utf8_lossy(value).into_owned())
        });
    let first = lists.take(1).next().unwrap_or_default();
    first
        .split(',')
        .filter(|name| !name.is_empty())
        .map(str::to_string)
        .collect()
}

/// Reads the modules that a test's source asks for: lines `//@ modules: NAME, NAME`.
pub(crate) fn named_in(source: &str) -> Vec<String> {
    let lists = source
        .lines()
        .filter_map(|line| line.trim().strip_prefix("//@ modules:"));
    let names = lists
        .flat_map(|list| list.split([',', ' ']))
        .filter(|name| !name.is_empty());
    names.map(str::to_string).collect()
}

#[cfg(test)]
mod tests {
    use super::{depends, named_in};

    #[test]
    fn dependencies_are_read_from_modinfo() {
        let check = |bytes: &[u8], expected: &[&str]| assert_eq!(depends(bytes), expected);
        check(
            b"\x7fELF\0license=GPL\0depends=nf_tables,nfnetlink\0name=x\0",
            &["nf_tables", "nfnetlink"],
        );
        check(b"license=GPL\0depends=\0name=x\0", &[]);
        check(b"no such thing", &[]);
        check(b"text %s depends=\0\0depends=a\0", &["a"]);
    }

    #[test]
    fn modules_are_named_in_comments() {
        let source = "//! A test.\n//@ modules: nf_tables, xt_mark\nfn a() {}\n//@ modules: tun\n";
        assert_eq!(named_in(source), ["nf_tables", "xt_mark", "tun"]);
    }
}
