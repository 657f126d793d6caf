//! What the tests need of this machine, installed through apt where that is allowed.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::deadline;

/// What guests are made with, and the Debian packages that bring it.
const GUESTS: &[(&str, &str)] = &[
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("busybox", "busybox-static"),
    ("xz", "xz-utils"),
    ("depmod", "kmod"),
    ("mkfs.ext4", "e2fsprogs"),
    ("ssh", "openssh-client"),
    ("sshd", "openssh-server"),
];

/// What tests of objects compile and compare with; they are skipped where it is missing.
const OBJECTS: &[(&str, &str)] = &[
    ("clang", "clang"),
    ("bpftool", "bpftool"),
    ("/usr/include/bpf/bpf_helpers.h", "libbpf-dev"),
    ("/usr/sbin/opensnoop", "libbpf-tools"),
];

/// What makes other forms of the dumps of guests.
const DUMPS: &[(&str, &str)] = &[("makedumpfile", "makedumpfile")];

/// The kernel's own tests of eBPF; not every release of Debian has this one.
const SOURCES: &[(&str, &str)] = &[("/usr/src/linux-source-6.1.tar.xz", "linux-source-6.1")];

/// How long apt may take each time.
const LIMIT: Duration = Duration::from_secs(240);

/// Installs what is missing when this is root on a machine with apt; what cannot be installed is skipped for later on.
pub(crate) fn install() {
    for needed in [GUESTS, OBJECTS, DUMPS, SOURCES] {
        install_all(needed);
    }
}

fn install_all(needed: &[(&str, &'static str)]) {
    let is_missing = |file: &str| {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let sbin = ["/usr/sbin".into(), "/sbin".into()];
        !std::env::split_paths(&path)
            .chain(sbin)
            .any(|folder| folder.join(file).exists())
    };
    let packages = needed.iter().filter(|(file, _)| is_missing(file));
    let packages: Vec<&str> = packages.map(|(_, package)| *package).collect();
    if packages.is_empty() {
        return;
    }
    if !is_root() || !Path::new("/usr/bin/apt-get").exists() {
        println!("missing, and tests need it: {}", packages.join(" "));
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
