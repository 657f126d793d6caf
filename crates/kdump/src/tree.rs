//! Trees of files as of a machine, for tests.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::root::Root;

/// A folder that is removed at the end.
pub(crate) struct Tree(PathBuf);

impl Tree {
    pub(crate) fn new(name: &str) -> Tree {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("kscope-kdump-{name}-{}-{count}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).expect("a folder of our own");
        Tree(folder)
    }

    pub(crate) fn root(&self) -> Root {
        Root::at(&self.0)
    }

    pub(crate) fn write(&self, path: &str, bytes: impl AsRef<[u8]>) {
        let path = self.0.join(path);
        std::fs::create_dir_all(path.parent().expect("below the root")).expect("a folder");
        std::fs::write(path, bytes).expect("a file");
    }

    pub(crate) fn folder(&self, path: &str) {
        std::fs::create_dir_all(self.0.join(path)).expect("a folder");
    }

    pub(crate) fn remove(&self, path: &str) {
        let path = self.0.join(path);
        match path.is_dir() && !path.is_symlink() {
            true => std::fs::remove_dir_all(path).expect("it was there"),
            false => std::fs::remove_file(path).expect("it was there"),
        }
    }

    /// Makes a link to another place in the tree, as sysfs does: relative.
    pub(crate) fn link(&self, path: &str, to: &str) {
        let ups = Path::new(path).components().count() - 1;
        let target = Path::new(&"../".repeat(ups)).join(to);
        let path = self.0.join(path);
        std::fs::create_dir_all(path.parent().expect("below the root")).expect("a folder");
        symlink(target, path).expect("a link");
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
