//! Cgroups by their ids: where they lie in each hierarchy.

use std::collections::VecDeque;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Most folders that are looked at in one hierarchy.
const FOLDERS: usize = 100_000;

/// The name that the hierarchy of version 2 goes by.
const UNIFIED: &str = "unified";

/// Gives the paths of a cgroup in the hierarchies whose names match a pattern (empty for all), as
/// `name:path` with commas between.
pub(crate) fn paths(id: u64, filter: &str) -> String {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let found = hierarchies(&mounts).into_iter().filter_map(|(name, root)| {
        let wanted = filter.is_empty() || matches(filter, &name);
        let path = wanted.then(|| find(id, &root))??;
        Some(format!("{name}:{path}"))
    });
    found.collect::<Vec<_>>().join(",")
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

/// Finds the folder whose inode has this number, and gives its path below the root.
fn find(id: u64, root: &Path) -> Option<String> {
    let mut open = VecDeque::from([root.to_owned()]);
    let mut seen = 0;
    while let Some(folder) = open.pop_front() {
        seen += 1;
        if seen > FOLDERS {
            return None;
        }
        // Others may be removed meanwhile.
        let Ok(metadata) = std::fs::symlink_metadata(&folder) else {
            continue;
        };
        if metadata.ino() == id {
            let below = folder.strip_prefix(root).ok()?;
            return Some(format!("/{}", below.display()));
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
    None
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
    use super::{hierarchies, matches};

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
