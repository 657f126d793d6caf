//! Where programs and libraries are that attach points name.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use kscope_script::catalogue::{is_pattern, matches};
use kscope_symbol::{inside_root, living_thread, open_regular};

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
/// Files at most that a pattern for paths stands for: more is refused.
pub(super) const MOST_FILES: usize = 1 << 16;
/// Most bytes that are read of what the linker, or the kernel, says of libraries.
const LONGEST_LIST: u64 = 64 << 20;

/// A pattern stands for more than [`MOST_FILES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooMany;

/// The view of files that names are looked up in: this process's, or that of the traced one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Root {
    /// Put in front of absolute paths; empty for this process's view.
    prefix: String,
    /// The traced process, or a thread of it that runs.
    pid: Option<u32>,
}

impl Root {
    /// Takes the view of a process, of this one where there is none.
    pub(crate) fn of(pid: Option<u32>) -> Root {
        let pid = pid.map(living_thread);
        let prefix = pid.filter(|pid| is_elsewhere(*pid));
        Root {
            prefix: prefix.map_or(String::new(), |pid| format!("/proc/{pid}/root")),
            pid,
        }
    }

    /// Finds the files that an attach point names, sorted; none where there is none.
    pub(super) fn find(&self, name: &str) -> Result<Vec<String>, TooMany> {
        if name == "*" {
            return Ok(self.mapped("*"));
        }
        if name.contains('/') {
            let here = !name.starts_with('/') || name.starts_with("/proc/");
            return match (is_pattern(name), here) {
                (true, true) => Root::of(None).expand(name),
                (true, false) => self.expand(name),
                (false, true) if is_file(Path::new(name)) => Ok(vec![name.to_owned()]),
                (false, true) => Ok(Vec::new()),
                (false, false) => Ok(self.inside(name).into_iter().collect()),
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
        Ok(found.into_iter().collect())
    }

    /// Gives the file of an absolute path in this view as it is seen from here: links in the traced
    /// process's view lead to that process's files.
    fn inside(&self, path: &str) -> Option<String> {
        if self.prefix.is_empty() {
            return is_file(Path::new(path)).then(|| path.to_owned());
        }
        let found = inside_root(Path::new(&self.prefix), Path::new(path)).ok()?;
        let found = found.into_os_string().into_string().ok()?;
        is_file(Path::new(&found)).then_some(found)
    }

    /// Lists names that a short name may be meant to be.
    pub(crate) fn short_names(&self) -> Vec<String> {
        let cache = self.cache();
        let mut names: BTreeSet<String> = cache.into_iter().map(|(name, _)| stem(&name)).collect();
        for folder in program_folders() {
            let entries = self
                .folder(&folder)
                .and_then(|folder| std::fs::read_dir(folder).ok());
            let entries = entries.into_iter().flatten().flatten();
            names.extend(entries.filter_map(|entry| entry.file_name().into_string().ok()));
        }
        names.into_iter().collect()
    }

    /// Gives the files that match a pattern, part by part; a wildcard is for one part.
    fn expand(&self, pattern: &str) -> Result<Vec<String>, TooMany> {
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
                let place = match folder.to_str() {
                    Some("") => Some(PathBuf::from(".")),
                    Some(folder) => self.folder(folder),
                    None => None,
                };
                let listed = place.and_then(|place| std::fs::read_dir(place).ok());
                for entry in listed.into_iter().flatten().flatten() {
                    let name = entry.file_name();
                    if name.to_str().is_some_and(|name| matches(part, name)) {
                        next.insert(folder.join(name));
                    }
                    if next.len() > MOST_FILES {
                        return Err(TooMany);
                    }
                }
            }
            found = next.into_iter().collect();
        }
        let files = found.iter().filter_map(|path| self.inside(path.to_str()?));
        let files: BTreeSet<String> = files.collect();
        Ok(files.into_iter().collect())
    }

    fn by_pattern(&self, pattern: &str) -> Result<Vec<String>, TooMany> {
        let mut found = BTreeSet::new();
        for (name, path) in self.cache() {
            if matches(pattern, &stem(&name)) || matches(pattern, &name) {
                found.extend(self.inside(&path));
            }
        }
        for folder in program_folders() {
            found.extend(self.expand(&format!("{folder}/{pattern}"))?);
        }
        match found.len() > MOST_FILES {
            true => Err(TooMany),
            false => Ok(found.into_iter().collect()),
        }
    }

    fn cache(&self) -> Vec<(String, String)> {
        let mut bytes = Vec::new();
        let file = self.inside("/etc/ld.so.cache").map(open_regular);
        if let Some(Ok(file)) = file {
            // What was read before an error is no cache, and there is no need of one.
            if file.take(LONGEST_LIST).read_to_end(&mut bytes).is_err() {
                bytes.clear();
            }
        }
        linker_cache::libraries(&bytes)
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
        if let Some(found) = cached.filter_map(|(_, path)| self.inside(&path)).next() {
            return Some(found);
        }
        LIBRARY_FOLDERS.iter().find_map(|folder| {
            let entries = std::fs::read_dir(self.folder(folder)?).ok()?.flatten();
            let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
            let best = names.filter(|file| is_it(file)).max()?;
            self.inside(&format!("{folder}/{best}"))
        })
    }

    /// Gives a folder of this view as it is seen from here.
    fn folder(&self, path: &str) -> Option<PathBuf> {
        match self.prefix.is_empty() {
            true => Some(PathBuf::from(path)),
            false => inside_root(Path::new(&self.prefix), Path::new(path)).ok(),
        }
    }

    fn program(&self, name: &str) -> Option<String> {
        let folders = program_folders().into_iter();
        folders
            .filter_map(|folder| self.inside(&format!("{folder}/{name}")))
            .next()
    }

    /// Lists the files that the traced process executes, with a library's name or all.
    fn mapped(&self, name: &str) -> Vec<String> {
        let Some(pid) = self.pid else {
            return Vec::new();
        };
        let mut text = Vec::new();
        let file = File::open(format!("/proc/{pid}/maps"));
        // The process may end meanwhile: what was read of it counts.
        let _ = file.and_then(|file| file.take(LONGEST_LIST).read_to_end(&mut text));
        let text = String::from_utf8_lossy(&text);
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
                found.extend(self.inside(path));
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

/// Gives the absolute folders that programs are looked for in.
fn program_folders() -> Vec<String> {
    let path = std::env::var("PATH").ok().filter(|path| !path.is_empty());
    let path = path.unwrap_or_else(|| PROGRAM_FOLDERS.to_owned());
    let folders = path.split(':').filter(|folder| folder.starts_with('/'));
    folders.map(str::to_owned).collect()
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
        let find = |name: &str| root.find(name).expect("not too many");
        let libc = find("libc");
        assert!(libc.len() == 1 && libc[0].contains("libc.so"), "{libc:?}");
        let sh = find("sh");
        assert!(sh.len() == 1 && sh[0].ends_with("/sh"), "{sh:?}");
        assert_eq!(find("/bin/sh"), ["/bin/sh"]);
        assert!(find("/no/such/file").is_empty());
        assert!(find("no-such-program").is_empty());
        assert!(find("/bin/s?").contains(&"/bin/sh".to_owned()));
        assert!(find("/bi?/sh").contains(&"/bin/sh".to_owned()));
        let own = Root::of(Some(std::process::id()));
        assert_eq!(own.find("/bin/sh"), Ok(vec!["/bin/sh".to_owned()]));
        let mapped = own.find("*").expect("not too many");
        let program = std::env::current_exe().expect("this program");
        assert!(mapped.iter().any(|path| Path::new(path) == program));
    }

    #[test]
    fn all_files_of_a_pattern_count() {
        let folder = std::env::temp_dir().join(format!("kscope-many-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        for number in 0..600 {
            std::fs::write(folder.join(number.to_string()), "").expect("a file");
        }
        let pattern = format!("{}/*", folder.display());
        let found = Root::of(None).find(&pattern).expect("not too many");
        std::fs::remove_dir_all(&folder).expect("ours");
        assert_eq!(found.len(), 600);
    }
}
