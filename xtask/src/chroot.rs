//! Other releases of Debian, each in a folder that is kept between runs.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::{cargo, deadline, vm};

/// Set in the process that has mounts of its own.
const INSIDE: &str = "KSCOPE_OWN_MOUNTS";

/// How long fetching and unpacking may take.
const LIMIT: Duration = Duration::from_secs(1800);

/// How long a mount may take.
const MOUNT_LIMIT: Duration = Duration::from_secs(10);

/// Takes the index of a mirror that has not been renewed for some days.
const UNDATED: &str = "-o Acquire::Check-Valid-Until=false";

/// A release with some packages.
pub(crate) struct Release {
    /// Debian's name of it, and the folder's.
    pub(crate) suite: &'static str,
    /// Packages beside the smallest system.
    pub(crate) packages: &'static str,
    /// Another architecture, and the packages that are taken of it.
    pub(crate) foreign: Option<(&'static str, &'static str)>,
    /// The last file that is there when all is there.
    pub(crate) proof: &'static str,
}

impl Release {
    /// Gives the folder, made and filled when absent, with the kernel's file systems mounted in it.
    ///
    /// The mounts belong to this process alone and go with it, however it ends: it starts itself again to get there.
    pub(crate) fn enter(&self) -> Result<PathBuf, String> {
        if std::env::var_os(INSIDE).is_none() {
            return Err(again());
        }
        let root = self.made()?;
        for (words, place) in [
            (["-t", "proc", "proc"].as_slice(), "proc"),
            (&["--rbind", "/sys"], "sys"),
            (&["--rbind", "/dev"], "dev"),
        ] {
            mount(words, &root.join(place))?;
        }
        Ok(root)
    }

    /// Gives the folder, made and filled when absent.
    fn made(&self) -> Result<PathBuf, String> {
        let root = vm::cache_dir().join(self.suite);
        if !self.is_made() {
            self.make(&root)?;
        }
        root.canonicalize()
            .map_err(|error| format!("{}: {error}", root.display()))
    }

    /// Whether the folder is there.
    pub(crate) fn is_made(&self) -> bool {
        vm::cache_dir().join(self.suite).join(self.proof).exists()
    }

    fn make(&self, root: &Path) -> Result<(), String> {
        let mirrors = vm::mirrors();
        if mirrors.is_empty() {
            return Err("apt's sources name no Debian mirror; KSCOPE_VM_MIRROR can".to_string());
        }
        let parent = root.parent().unwrap_or(root);
        std::fs::create_dir_all(parent)
            .map_err(|error| format!("{}: {error}", parent.display()))?;
        // Another run may be at it; the one that is done first wins.
        let unfinished = root.with_extension(format!("{}", std::process::id()));
        remove_leftovers(parent, self.suite);
        let mut why = Vec::new();
        for mirror in mirrors {
            println!(
                "fetching Debian {} with {} into {} (some minutes)",
                self.suite,
                self.packages,
                root.display()
            );
            let log = cargo::scratch_dir()?.join(format!("debootstrap-{}.log", self.suite));
            let mut command = Command::new("debootstrap");
            command.arg("--variant=minbase");
            command.arg(format!("--include=ca-certificates,{}", self.packages));
            command.arg(self.suite).arg(&unfinished).arg(mirror.uri());
            let result = deadline::run_to_file(&mut command, &log, LIMIT)
                .and_then(|()| self.add_foreign(&unfinished, &log))
                .and_then(|()| {
                    std::fs::rename(&unfinished, root)
                        .map_err(|error| format!("{}: {error}", root.display()))
                });
            match result {
                Ok(()) => return Ok(()),
                Err(_) if root.join(self.proof).exists() => return Ok(()),
                Err(how) => why.push(format!("{how} (see {})", log.display())),
            }
            let _ = std::fs::remove_dir_all(&unfinished);
        }
        Err(format!(
            "debootstrap (Debian's package of that name): {}",
            why.join("; ")
        ))
    }

    /// Installs one more package in a folder that is there, unless a file of it is there.
    pub(crate) fn add(&self, root: &Path, package: &str, proof: &str) -> Result<(), String> {
        if root.join(proof).exists() {
            return Ok(());
        }
        println!("installing {package} of Debian {}", self.suite);
        let log = cargo::scratch_dir()?.join(format!("install-{package}.log"));
        let install = format!(
            "apt-get -q {UNDATED} update && \
             apt-get install -q -y --no-install-recommends {package} && apt-get clean"
        );
        let mut command = Command::new("chroot");
        command.arg(root).args(["sh", "-c", &install]);
        command.env("DEBIAN_FRONTEND", "noninteractive");
        deadline::run_to_file(&mut command, &log, LIMIT)
            .map_err(|how| format!("{package}: {how} (see {})", log.display()))
    }

    /// Installs the packages of the other architecture, which debootstrap does not know.
    fn add_foreign(&self, root: &Path, log: &Path) -> Result<(), String> {
        let Some((architecture, packages)) = self.foreign else {
            return Ok(());
        };
        let install = format!(
            "dpkg --add-architecture {architecture} && apt-get -q {UNDATED} update && \
             apt-get install -q -y --no-install-recommends {packages} && apt-get clean"
        );
        let mut command = Command::new("chroot");
        command.arg(root).args(["sh", "-c", &install]);
        command.env("DEBIAN_FRONTEND", "noninteractive");
        deadline::run_to_file(&mut command, log, LIMIT)
    }
}

/// Mounts something for this process, which must have mounts of its own.
pub(crate) fn mount(words: &[&str], place: &Path) -> Result<(), String> {
    let mut command = Command::new("mount");
    command.args(words).arg(place);
    deadline::run_here(&mut command, MOUNT_LIMIT)
        .map_err(|how| format!("mount {}: {how}", place.display()))
}

/// Replaces this process by one with mounts of its own; returns only when that fails.
fn again() -> String {
    let this = match std::env::current_exe() {
        Ok(this) => this,
        Err(error) => return error.to_string(),
    };
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "--propagation", "private"])
        .arg(this);
    let error = command
        .args(std::env::args_os().skip(1))
        .env(INSIDE, "1")
        .exec();
    format!("unshare: {error}")
}

/// Removes what runs left behind that were killed while they unpacked.
fn remove_leftovers(folder: &Path, suite: &str) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let run = name.to_str().and_then(|name| {
            let run = name.strip_prefix(suite)?.strip_prefix('.')?;
            run.parse::<u32>().ok()
        });
        if run.is_some_and(|id| !Path::new("/proc").join(id.to_string()).exists()) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}
