//! A cgroup for one test.

use std::fs::File;
use std::path::{Path, PathBuf};

/// A cgroup of this process alone, left and removed when dropped.
#[derive(Debug)]
pub struct Cgroup {
    path: PathBuf,
    before: PathBuf,
}

impl Cgroup {
    /// Makes a cgroup and moves this process into it.
    ///
    /// # Errors
    ///
    /// The reason to skip.
    pub fn join(name: &str) -> Result<Cgroup, String> {
        let mounts = std::fs::read_to_string("/proc/self/mounts").map_err(|e| e.to_string())?;
        let root = mounts
            .lines()
            .filter_map(|line| {
                let mut words = line.split(' ').skip(1);
                Some((words.next()?, words.next()?))
            })
            .find(|&(_, kind)| kind == "cgroup2")
            .map(|(path, _)| PathBuf::from(path))
            .ok_or("cgroup2 is not mounted")?;
        let own = std::fs::read_to_string("/proc/self/cgroup").map_err(|e| e.to_string())?;
        let own = own
            .lines()
            .find_map(|line| line.strip_prefix("0::/"))
            .ok_or("this process has no cgroup")?;
        let path = root.join(name);
        std::fs::create_dir_all(&path).map_err(|e| e.to_string())?;
        let cgroup = Cgroup {
            path,
            before: root.join(own),
        };
        cgroup.enter(&cgroup.path).map_err(|e| e.to_string())?;
        Ok(cgroup)
    }

    fn enter(&self, path: &Path) -> std::io::Result<()> {
        std::fs::write(path.join("cgroup.procs"), std::process::id().to_string())
    }

    /// Opens its directory.
    ///
    /// # Panics
    ///
    /// If somebody removed it.
    pub fn open(&self) -> File {
        File::open(&self.path).expect("there")
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let _ = self.enter(&self.before);
        let _ = std::fs::remove_dir(&self.path);
    }
}
