//! The scripts that bpftrace ships, out of Debian's packages, for tests that run them unchanged.
//!
//! A line `//@ bpftrace` in a test's file asks for them; guests have them in /bpftrace/RELEASE, and where they are here
//! stands in `KSCOPE_BPFTRACE`.

use std::path::{Path, PathBuf};

use super::kernel::{cache_dir, with_archive};

/// Releases of Debian whose bpftrace is taken: 0.17, and the newest.
pub(crate) const RELEASES: [&str; 2] = ["bookworm", "sid"];

/// Gives the folder with a folder of scripts for each release, fetched when absent.
pub(crate) fn folder() -> Result<PathBuf, String> {
    let folder = cache_dir().join("bpftrace");
    for release in RELEASES {
        let place = folder.join(release);
        if !place.exists() {
            fetch(release, &place)?;
        }
    }
    Ok(folder)
}

fn fetch(release: &str, place: &Path) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("{}: {error}", place.display());
    with_archive("bpftrace", &[release], |archive, unpacked| {
        archive.unpack("bpftrace", unpacked)?;
        let kept = unpacked.join("kept");
        std::fs::create_dir_all(&kept).map_err(failed)?;
        let mut count = 0;
        for script in scripts(&unpacked.join("usr/sbin"))? {
            let name = script.file_name().unwrap_or_default();
            std::fs::copy(&script, kept.join(name)).map_err(failed)?;
            count += 1;
        }
        if count == 0 {
            return Err("the package bpftrace holds no scripts".to_string());
        }
        std::fs::create_dir_all(place.parent().unwrap_or(place)).map_err(failed)?;
        match std::fs::rename(&kept, place) {
            // Another run of the harness was faster.
            Err(error) if !place.exists() => Err(failed(error)),
            _ => Ok(()),
        }
    })
}

/// Gives the scripts with their names in guests.
pub(super) fn files() -> Result<Vec<(String, PathBuf)>, String> {
    let folder = folder()?;
    let mut files = Vec::new();
    for release in RELEASES {
        for script in scripts(&folder.join(release))? {
            let name = script.file_name().unwrap_or_default().to_string_lossy();
            files.push((format!("bpftrace/{release}/{name}"), script.clone()));
        }
    }
    Ok(files)
}

fn scripts(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let entries =
        std::fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let files = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let mut scripts: Vec<PathBuf> = files
        .filter(|file| file.extension().is_some_and(|extension| extension == "bt"))
        .collect();
    scripts.sort();
    Ok(scripts)
}
