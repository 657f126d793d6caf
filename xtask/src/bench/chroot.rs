//! A Debian sid with the newest bpftrace, in a folder that is kept between runs.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::deadline;
use crate::vm;

/// Set in the process that has mounts of its own.
const INSIDE: &str = "KSCOPE_BENCH_OWN_MOUNTS";

/// How long fetching and unpacking may take.
const LIMIT: Duration = Duration::from_secs(1800);

/// Gives the folder, made and filled when absent, with the kernel's file systems mounted in it.
///
/// The mounts belong to this process alone and go with it, however it ends: it starts itself again to get there.
pub(crate) fn enter() -> Result<PathBuf, String> {
    if std::env::var_os(INSIDE).is_none() {
        return Err(again());
    }
    let root = vm::cache_dir().join("sid");
    if !root.join("usr/bin/bpftrace").exists() {
        make(&root)?;
    }
    let root = root
        .canonicalize()
        .map_err(|error| format!("{}: {error}", root.display()))?;
    for (words, place) in [
        (["-t", "proc", "proc"].as_slice(), "proc"),
        (&["--rbind", "/sys"], "sys"),
        (&["--rbind", "/dev"], "dev"),
    ] {
        let mut command = Command::new("mount");
        command.args(words).arg(root.join(place));
        deadline::run_here(&mut command, Duration::from_secs(10))
            .map_err(|how| format!("mount {place} in {}: {how}", root.display()))?;
    }
    Ok(root)
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

fn make(root: &Path) -> Result<(), String> {
    let mirrors = vm::mirrors();
    if mirrors.is_empty() {
        return Err("apt's sources name no Debian mirror; KSCOPE_VM_MIRROR can".to_string());
    }
    let parent = root.parent().unwrap_or(root);
    std::fs::create_dir_all(parent).map_err(|error| format!("{}: {error}", parent.display()))?;
    // Another run may be at it; the one that is done first wins.
    let unfinished = root.with_extension(format!("{}", std::process::id()));
    remove_leftovers(parent);
    let mut why = Vec::new();
    for mirror in mirrors {
        println!(
            "fetching Debian sid with bpftrace into {} (some minutes)",
            root.display()
        );
        let log = super::scratch()?.join("debootstrap.log");
        let mut command = Command::new("debootstrap");
        command.args([
            "--variant=minbase",
            "--include=ca-certificates,bpftrace",
            "sid",
        ]);
        command.arg(&unfinished).arg(mirror.uri());
        let result = deadline::run_to_file(&mut command, &log, LIMIT).and_then(|()| {
            std::fs::rename(&unfinished, root)
                .map_err(|error| format!("{}: {error}", root.display()))
        });
        match result {
            Ok(()) => return Ok(()),
            Err(_) if root.join("usr/bin/bpftrace").exists() => return Ok(()),
            Err(how) => why.push(format!("{how} (see {})", log.display())),
        }
        let _ = std::fs::remove_dir_all(&unfinished);
    }
    Err(format!(
        "debootstrap (Debian's package of that name): {}",
        why.join("; ")
    ))
}

/// Removes what runs left behind that were killed while they unpacked.
fn remove_leftovers(folder: &Path) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let run = name
            .to_str()
            .and_then(|name| name.strip_prefix("sid.")?.parse::<u32>().ok());
        if run.is_some_and(|id| !Path::new("/proc").join(id.to_string()).exists()) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}
