//! What the tests need of this machine, installed through apt where that is allowed.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::deadline;

/// Programs, and the Debian packages that bring them.
const NEEDED: [(&str, &str); 3] = [
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("busybox", "busybox-static"),
    ("xz", "xz-utils"),
];

/// How long apt may take.
const LIMIT: Duration = Duration::from_secs(240);

/// Installs what is missing when this is root on a machine with apt; what cannot be installed is skipped for later on.
pub(crate) fn install() {
    let is_missing = |program: &str| {
        let path = std::env::var_os("PATH").unwrap_or_default();
        !std::env::split_paths(&path).any(|folder| folder.join(program).exists())
    };
    let packages = NEEDED
        .into_iter()
        .filter(|(program, _)| is_missing(program));
    let packages: Vec<&str> = packages.map(|(_, package)| package).collect();
    if packages.is_empty() {
        return;
    }
    if !is_root() || !Path::new("/usr/bin/apt-get").exists() {
        println!("missing, and needed for guests: {}", packages.join(" "));
        return;
    }
    println!("installing {}", packages.join(" "));
    let apt = |words: &[&str]| {
        let mut command = Command::new("apt-get");
        command.args(words).env("DEBIAN_FRONTEND", "noninteractive");
        deadline::run_here(&mut command, LIMIT)
    };
    let mut words = vec!["install", "-q", "-y", "--no-install-recommends"];
    words.extend(&packages);
    // The package lists of a fresh machine are empty.
    let installed = apt(&words).or_else(|_| apt(&["update", "-q"]).and_then(|()| apt(&words)));
    if let Err(how) = installed {
        println!("apt-get install {}: {how}", packages.join(" "));
    }
}

/// Whether this process may do everything.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
