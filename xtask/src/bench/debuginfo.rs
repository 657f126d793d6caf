//! What others need to read the dump of a kernel: its image with debuginfo, and drgn.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::vm::{self, Archive};
use crate::{cargo, deadline};

/// Debian's package with the debuginfo of the dump's kernel: 283 MB, of which 590 MB are unpacked.
const PACKAGE: &str = "linux-image-6.1.0-56-cloud-amd64-dbg";

/// The image in it.
const IMAGE: &str = "usr/lib/debug/boot/vmlinux-6.1.0-56-cloud-amd64";

/// The release that has it, and that of its updates.
const SUITES: [&str; 2] = ["bookworm-security", "bookworm"];

/// The version of drgn that is measured.
const DRGN: &str = "drgn==0.3.0";

/// How long installing it may take.
const LIMIT: Duration = Duration::from_secs(300);

/// Gives the image of the dump's kernel with debuginfo, fetched where it is absent.
pub(super) fn vmlinux() -> Result<PathBuf, String> {
    let folder = vm::cache_dir().join("debuginfo");
    let image = folder.join("vmlinux-6.1.0-56-cloud-amd64");
    if image.exists() {
        return absolute(&image);
    }
    println!(
        "fetching {PACKAGE} into {} (some minutes)",
        folder.display()
    );
    let mut why = vec!["no mirror is known".to_string()];
    for mirror in vm::mirrors() {
        for suite in SUITES {
            let archive = match suite.ends_with("-security") {
                true => mirror.security(),
                false => mirror.clone(),
            };
            let passing = folder.join(format!("fetch-{}", std::process::id()));
            let fetched = Archive::open(&archive, suite, &passing).and_then(|archive| {
                let whole = passing.join("vmlinux");
                archive.unpack_file(PACKAGE, IMAGE, &whole)?;
                std::fs::rename(&whole, &image)
                    .map_err(|error| format!("{}: {error}", image.display()))
            });
            let _ = std::fs::remove_dir_all(&passing);
            match fetched {
                Ok(()) => return absolute(&image),
                Err(how) => why.push(format!("{suite}: {how}")),
            }
        }
    }
    Err(format!("{PACKAGE}: {}", why.join("; ")))
}

/// Gives a drgn of its own, installed from Python's index where it is absent.
pub(super) fn drgn() -> Result<PathBuf, String> {
    let folder = vm::cache_dir().join("drgn");
    let program = folder.join("bin/drgn");
    if !program.exists() {
        println!("installing {DRGN} into {}", folder.display());
        let log = cargo::scratch_dir()?.join("install-drgn.log");
        let mut make = Command::new("python3");
        make.args(["-m", "venv"]).arg(&folder);
        let mut install = Command::new(folder.join("bin/pip"));
        install.args(["install", "-q", "--only-binary=:all:", DRGN]);
        for command in [&mut make, &mut install] {
            deadline::run_to_file(command, &log, LIMIT)
                .map_err(|how| format!("{DRGN}: {how} (see {})", log.display()))?;
        }
    }
    absolute(&program)
}

fn absolute(path: &Path) -> Result<PathBuf, String> {
    std::path::absolute(path).map_err(|error| format!("{}: {error}", path.display()))
}
