//! Where programs and libraries are that attach points name.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use kscope_script::catalogue::{is_pattern, matches};

use super::linker_cache;

/// Where libraries are where there is no cache of the linker.
const LIBRARY_FOLDERS: [&str; 8] = [
    "/lib/x86_64-linux-gnu",
    "/usr/lib/x86_64-linux-gnu",
    "/lib/aarch64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/usr/lib64",
    "/lib64",
    "/usr/lib",
    "/lib",
];
/// Where programs are where the environment says nothing.
const PROGRAM_FOLDERS: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Files at most that a pattern for paths stands for.
pub(super) const MOST_FILES: usize = 512;

/// The view of files that names are looked up in: this process's, or that of the traced one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Root {
    /// Put in front of absolute paths; empty for this process's view.
    prefix: String,
    /// The traced process.
    pid: Option<u32>,
}

impl Root {
    /// Takes the view of a process, of this one where there is none.
    pub(crate) fn of(pid: Option<u32>) -> Root {
        let prefix = pid.filter(|pid| is_elsewhere(*pid));
        Root {
            prefix: prefix.map_or(String::new(), |pid| format!("/proc/{pid}/root")),
            pid,
        }
    }

    /// Finds the files that an attach point names, sorted; none where there is none.
    pub(crate) fn find(&self, name: &str) -> Vec<String> {
        if name == "*" {
            return self.mapped("*");
        }
        if name.contains('/') {
            let path = match name.starts_with('/') && !name.starts_with("/proc/") {
                true => format!("{}{name}", self.prefix),
                false => name.to_owned(),
            };
            return match is_pattern(&path) {
                true => expand(&path),
                false if is_file(Path::new(&path)) => vec![path],
                false => Vec::new(),
            };
        }
        if is_pattern(name) {
            return self.by_pattern(name);
        }
        let library = self.library(name);
        // `libc` is no program, and `bash` no library.
        let found = match name.starts_with("lib") {
            true => library.or_else(|| self.program(name)),
            false => self.program(name).or(library),
        };
        found.into_iter().collect()
    }

    /// Lists names that a short name may be meant to be.
    pub(crate) fn short_names(&self) -> Vec<String> {
        let cache = self.cache();
        let mut names: BTreeSet<String> = cache.into_iter().map(|(name, _)| stem(&name)).collect();
        for folder in self.program_folders() {
            let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
            names.extend(entries.filter_map(|entry| entry.file_name().into_string().ok()));
        }
        names.into_iter().collect()
    }

    fn by_pattern(&self, pattern: &str) -> Vec<String> {
        let mut found = BTreeSet::new();
        for (name, path) in self.cache() {
            if matches(pattern, &stem(&name)) || matches(pattern, &name) {
                found.insert(format!("{}{path}", self.prefix));
            }
        }
        for folder in self.program_folders() {
            found.extend(expand(&format!("{folder}/{pattern}")));
        }
        found.into_iter().take(MOST_FILES).collect()
    }

    fn cache(&self) -> Vec<(String, String)> {
        let bytes = std::fs::read(format!("{}/etc/ld.so.cache", self.prefix));
        linker_cache::libraries(&bytes.unwrap_or_default())
    }

    /// Finds a library: what the process has mapped, what the linker's cache says, what the
    /// usual folders have.
    fn library(&self, name: &str) -> Option<String> {
        if let Some(mapped) = self.mapped(name).into_iter().next() {
            return Some(mapped);
        }
        let is_it = |file: &str| is_library(name, file);
        let cached = self.cache().into_iter();
        let cached = cached.filter(|(file, _)| is_it(file));
        let mut cached = cached.map(|(_, path)| format!("{}{path}", self.prefix));
        if let Some(found) = cached.find(|path| is_file(Path::new(path))) {
            return Some(found);
        }
        LIBRARY_FOLDERS.iter().find_map(|folder| {
            let folder = format!("{}{folder}", self.prefix);
            let entries = std::fs::read_dir(&folder).ok()?.flatten();
            let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
            let best = names.filter(|file| is_it(file)).max()?;
            Some(format!("{folder}/{best}"))
        })
    }

    fn program_folders(&self) -> Vec<String> {
        let path = std::env::var("PATH").ok().filter(|path| !path.is_empty());
        let path = path.unwrap_or_else(|| PROGRAM_FOLDERS.to_owned());
        let folders = path.split(':').filter(|folder| folder.starts_with('/'));
        folders
            .map(|folder| format!("{}{folder}", self.prefix))
            .collect()
    }

    fn program(&self, name: &str) -> Option<String> {
        let folders = self.program_folders().into_iter();
        let mut paths = folders.map(|folder| format!("{folder}/{name}"));
        paths.find(|path| is_file(Path::new(path)))
    }

    /// Lists the files that the traced process executes, with a library's name or all.
    fn mapped(&self, name: &str) -> Vec<String> {
        let Some(pid) = self.pid else {
            return Vec::new();
        };
        let text = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default();
        let mut found = BTreeSet::new();
        for line in text.lines() {
            let mut words = line.split_whitespace();
            let executable = words.nth(1).is_some_and(|access| access.contains('x'));
            let path = line.find('/').map(|at| &line[at..]);
            let Some(path) = path.filter(|path| executable && !path.ends_with(" (deleted)")) else {
                continue;
            };
            let file = Path::new(path).file_name().and_then(OsStr::to_str);
            if name == "*" || file.is_some_and(|file| is_library(name, file)) {
                let path = format!("{}{path}", self.prefix);
                if is_file(Path::new(&path)) {
                    found.insert(path);
                }
            }
        }
        found.into_iter().collect()
    }
}

/// Says whether a process sees other files under the same paths.
fn is_elsewhere(pid: u32) -> bool {
    let of = |who: &str| {
        let space = std::fs::read_link(format!("/proc/{who}/ns/mnt")).ok()?;
        let root = std::fs::metadata(format!("/proc/{who}/root/")).ok()?;
        Some((space, root.dev(), root.ino()))
    };
    of(&pid.to_string()) != of("self")
}

fn is_file(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|metadata| metadata.is_file())
}

/// Says whether a file is the library of this name: `libc`, `libc.so`, `libc.so.6`, and `c`.
fn is_library(name: &str, file: &str) -> bool {
    if file == name {
        return true;
    }
    let with_lib = format!("lib{name}");
    let names = [name, with_lib.as_str()];
    names.iter().any(|name| {
        let rest = file.strip_prefix(name);
        rest.is_some_and(|rest| {
            let is_version = name.contains(".so") && rest.starts_with('.');
            rest.starts_with(".so") || is_version
        })
    })
}

/// Gives the short name of a library's file.
fn stem(file: &str) -> String {
    file.split(".so").next().unwrap_or(file).to_owned()
}

/// Gives the files that match a pattern, part by part; a wildcard is for one part.
fn expand(pattern: &str) -> Vec<String> {
    let absolute = pattern.starts_with('/');
    let mut found: Vec<PathBuf> = vec![PathBuf::from(if absolute { "/" } else { "" })];
    for part in pattern.split('/').filter(|part| !part.is_empty()) {
        if !is_pattern(part) {
            for path in &mut found {
                path.push(part);
            }
            continue;
        }
        let mut next = BTreeSet::new();
        for folder in &found {
            let listed = match folder.as_os_str().is_empty() {
                true => std::fs::read_dir("."),
                false => std::fs::read_dir(folder),
            };
            for entry in listed.into_iter().flatten().flatten() {
                let name = entry.file_name();
                if name.to_str().is_some_and(|name| matches(part, name)) {
                    next.insert(folder.join(name));
                }
                if next.len() >= MOST_FILES {
                    break;
                }
            }
        }
        found = next.into_iter().collect();
    }
    let files = found.into_iter().filter(|path| is_file(path));
    let mut files: Vec<String> = files
        .filter_map(|path| path.into_os_string().into_string().ok())
        .collect();
    files.sort_unstable();
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_have_short_names() {
        let check = |name, file, expected| {
            assert_eq!(is_library(name, file), expected, "{name} {file}");
        };
        check("libc", "libc.so.6", true);
        check("c", "libc.so.6", true);
        check("libc.so", "libc.so.6", true);
        check("libc.so.6", "libc.so.6", true);
        check("libc", "libcap.so.2", false);
        check("libc", "libc-2.31.so", false);
        check("libssl", "libssl.so.3", true);
        check("libssl.so.1", "libssl.so.3", false);
        check("bash", "bash", true);
    }

    #[test]
    fn names_become_paths() {
        let root = Root::of(None);
        let libc = root.find("libc");
        assert!(libc.len() == 1 && libc[0].contains("libc.so"), "{libc:?}");
        let sh = root.find("sh");
        assert!(sh.len() == 1 && sh[0].ends_with("/sh"), "{sh:?}");
        assert_eq!(root.find("/bin/sh"), ["/bin/sh"]);
        assert!(root.find("/no/such/file").is_empty());
        assert!(root.find("no-such-program").is_empty());
        assert!(root.find("/bin/s?").contains(&"/bin/sh".to_owned()));
        assert!(root.find("/bi?/sh").contains(&"/bin/sh".to_owned()));
        let own = Root::of(Some(std::process::id()));
        assert_eq!(own.find("/bin/sh"), ["/bin/sh"]);
        let mapped = own.find("*");
        let program = std::env::current_exe().expect("this program");
        assert!(mapped.iter().any(|path| Path::new(path) == program));
    }
}
