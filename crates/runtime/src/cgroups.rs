//! Cgroups by their ids: where they lie in each hierarchy.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Most folders that are looked at in one hierarchy.
const FOLDERS: usize = 100_000;

/// Most names that are kept.
const KNOWN: usize = 4 * FOLDERS;

/// The name that the hierarchy of version 2 goes by.
const UNIFIED: &str = "unified";

/// Names of cgroups. A cgroup keeps its id and its name as long as it is there, so that both are
/// looked up once.
#[derive(Debug, Default)]
pub(crate) struct Cgroups {
    known: RefCell<Known>,
    /// Counts what is printed.
    printed: Cell<u64>,
}

#[derive(Debug, Default)]
struct Known {
    /// Where the hierarchies are, as of the last look.
    hierarchies: Vec<(String, PathBuf)>,
    /// Below the root of each hierarchy, by its place among them.
    paths: HashMap<(usize, u64), Option<String>>,
    /// For what each hierarchy was walked last, by its place among them.
    walked: HashMap<usize, u64>,
}

impl Cgroups {
    /// Begins to print something else, be it a map or an event. Its ids have been read by now, so that one walk tells of all:
    /// those that it does not find are gone.
    pub(crate) fn begin(&self) {
        self.printed.set(self.printed.get() + 1);
    }

    /// Gives the paths of a cgroup in the hierarchies whose names match a pattern (empty for all), as
    /// `name:path` with commas between.
    pub(crate) fn paths(&self, id: u64, filter: &str) -> String {
        let mut known = self.known.borrow_mut();
        if known.hierarchies.is_empty() {
            let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
            known.hierarchies = hierarchies(&mounts);
        }
        let printed = self.printed.get();
        let hierarchies = std::mem::take(&mut known.hierarchies);
        let found = hierarchies
            .iter()
            .enumerate()
            .filter_map(|(index, (name, root))| {
                let wanted = filter.is_empty() || matches(filter, name);
                let path = wanted.then(|| known.look_up((index, id), root, printed))??;
                Some(format!("{name}:{path}"))
            });
        let found = found.collect::<Vec<_>>().join(",");
        known.hierarchies = hierarchies;
        found
    }
}

impl Known {
    /// Gives the path of a cgroup, from what is known or from a walk, which makes all known.
    fn look_up(&mut self, key: (usize, u64), root: &Path, printed: u64) -> Option<String> {
        let (index, id) = key;
        let is_walked = self.walked.get(&index) == Some(&printed);
        match self.paths.get(&key) {
            // One that is gone keeps its name: its id is not given again.
            Some(Some(path)) if is_walked || !is_renamed(root, path, id) => {
                return Some(path.clone());
            }
            // An id that the hierarchy does not have is of another one.
            Some(None) => return None,
            None if is_walked => {
                if self.paths.len() < KNOWN {
                    self.paths.insert(key, None);
                }
                return None;
            }
            _ => {}
        }
        let old = self.paths.get(&key).cloned().flatten();
        if self.paths.len() >= KNOWN {
            self.paths.clear();
            self.walked.clear();
        }
        let paths = &mut self.paths;
        walk(root, &mut |id, path| {
            paths.insert((index, id), Some(path));
        });
        self.walked.insert(index, printed);
        self.paths.entry(key).or_insert(old).clone()
    }
}

/// Says whether the name is another cgroup's by now.
fn is_renamed(root: &Path, path: &str, id: u64) -> bool {
    let there = std::fs::symlink_metadata(root.join(path.trim_start_matches('/')));
    there.is_ok_and(|metadata| metadata.ino() != id)
}

/// Lists mounted hierarchies with their names: version 2 first, then by name.
fn hierarchies(mounts: &str) -> Vec<(String, PathBuf)> {
    let mut second = Vec::new();
    let mut first = Vec::new();
    for line in mounts.lines() {
        let mut words = line.split(' ');
        let (Some(_), Some(point), Some(kind)) = (words.next(), words.next(), words.next()) else {
            continue;
        };
        let point = PathBuf::from(point);
        match kind {
            "cgroup2" => second.push((UNIFIED.to_owned(), point)),
            "cgroup" => {
                let name = point.file_name().unwrap_or_default();
                first.push((name.to_string_lossy().into_owned(), point));
            }
            _ => {}
        }
    }
    first.sort();
    second.extend(first);
    second
}

/// Visits all folders of a hierarchy with their ids, which are their inodes' numbers, and their paths
/// below the root.
fn walk(root: &Path, visit: &mut dyn FnMut(u64, String)) {
    let mut open = VecDeque::from([root.to_owned()]);
    let mut seen = 0;
    while let Some(folder) = open.pop_front() {
        seen += 1;
        if seen > FOLDERS {
            return;
        }
        // Others may be removed meanwhile.
        let Ok(metadata) = std::fs::symlink_metadata(&folder) else {
            continue;
        };
        if let Ok(below) = folder.strip_prefix(root) {
            visit(metadata.ino(), format!("/{}", below.display()));
        }
        let Ok(inside) = std::fs::read_dir(&folder) else {
            continue;
        };
        let folders = inside.filter_map(|entry| {
            let entry = entry.ok()?;
            entry.file_type().ok()?.is_dir().then(|| entry.path())
        });
        open.extend(folders);
    }
}

/// Says whether a name matches a pattern in which `*` stands for any text.
fn matches(pattern: &str, name: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else {
        return pattern == name;
    };
    let Some(mut name) = name.strip_prefix(start) else {
        return false;
    };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let last = parts.pop().unwrap_or_default();
    for part in parts {
        match name.find(part) {
            Some(at) => name = &name[at + part.len()..],
            None => return false,
        }
    }
    name.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hierarchies_are_in_order() {
        let mounts = "cgroup /sys/fs/cgroup/pids cgroup rw,pids 0 0\n\
                      cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n\
                      none /sys/fs/cgroup/unified cgroup2 rw 0 0\n\
                      proc /proc proc rw 0 0\nodd\n";
        let names: Vec<String> = (hierarchies(mounts).into_iter())
            .map(|(name, root)| format!("{name} {}", root.display()))
            .collect();
        let expected = [
            "unified /sys/fs/cgroup/unified",
            "cpu /sys/fs/cgroup/cpu",
            "pids /sys/fs/cgroup/pids",
        ];
        assert_eq!(names, expected);
    }

    #[test]
    fn cgroups_are_looked_up_once_and_keep_their_names() {
        let name = format!("kscope-cgroups-{}", std::process::id());
        let root = std::env::temp_dir().join(name);
        let folder = root.join("a/b");
        std::fs::create_dir_all(&folder).expect("a folder");
        let id = std::fs::metadata(&folder).expect("is there").ino();
        let cgroups = Cgroups::default();
        cgroups.known.borrow_mut().hierarchies = vec![("unified".to_owned(), root.clone())];
        let check = |id, expected: &str| assert_eq!(cgroups.paths(id, ""), expected);
        check(id, "unified:/a/b");
        assert_eq!(cgroups.known.borrow().paths.len(), 3, "one walk names all");
        check(u64::MAX, "");
        assert_eq!(
            cgroups.known.borrow().paths.len(),
            4,
            "an absent one as well"
        );
        // Where one of another id has the name, it is looked for again.
        std::fs::rename(&folder, root.join("c")).expect("renamed");
        std::fs::create_dir(&folder).expect("another");
        cgroups.begin();
        check(id, "unified:/c");
        std::fs::remove_dir(root.join("c")).expect("gone");
        check(id, "unified:/c");
        std::fs::remove_dir_all(&root).expect("ours");
    }

    #[test]
    fn what_is_printed_together_is_looked_up_in_one_walk() {
        let name = format!("kscope-cgroups-together-{}", std::process::id());
        let root = std::env::temp_dir().join(name);
        let make = |name: &str| {
            let folder = root.join(name);
            std::fs::create_dir_all(&folder).expect("a folder");
            std::fs::metadata(&folder).expect("is there").ino()
        };
        let first = make("first");
        let cgroups = Cgroups::default();
        cgroups.known.borrow_mut().hierarchies = vec![("unified".to_owned(), root.clone())];
        let check = |id, expected: &str| assert_eq!(cgroups.paths(id, ""), expected);
        cgroups.begin();
        check(first, "unified:/first");
        // Nothing that is printed now can be of a cgroup that came only after the walk.
        let (second, third) = (make("second"), make("third"));
        check(second, "");
        cgroups.begin();
        check(third, "unified:/third");
        check(second, "unified:/second");
        std::fs::remove_dir_all(&root).expect("ours");
    }

    #[test]
    fn names_match_patterns() {
        let check = |pattern, name, expected| {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        };
        check("unified", "unified", true);
        check("unified", "cpu", false);
        check("*", "cpu", true);
        check("cpu*", "cpuacct", true);
        check("*cpu*", "memory", false);
        check("c*u", "cpu", true);
        check("cp*pu", "cpu", false);
    }
}
