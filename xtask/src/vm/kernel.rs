//! Kernels to boot: named ones from Debian's archive, kept in a cache, or an image given by path.

use std::path::{Path, PathBuf};

use super::apt::{self, Archive};
use crate::cargo;

/// Names, and the releases that carry such a kernel, the preferred one first.
const NAMED: [(&str, &[&str]); 5] = [
    ("5.10", &["bullseye"]),
    ("6.1", &["bookworm"]),
    ("6.12", &["trixie"]),
    ("7.x", &["sid", "experimental"]),
    ("next", &["experimental"]),
];

/// The kernels every test run boots.
pub(crate) const USUAL: [&str; 4] = ["5.10", "6.1", "6.12", "7.x"];

/// A kernel ready to boot.
#[derive(Clone, Debug)]
pub(crate) struct Kernel {
    pub(crate) name: String,
    pub(crate) image: PathBuf,
    /// `lib/modules/RELEASE`, where there is one.
    pub(crate) modules: Option<PathBuf>,
}

/// Finds a kernel by name or path, fetching it when it is not in the cache.
pub(crate) fn find(name: &str, refresh: bool) -> Result<Kernel, String> {
    let Some((_, suites)) = NAMED.iter().find(|(known, _)| *known == name) else {
        return by_path(name);
    };
    let folder = cache_dir().join("kernels").join(name);
    if refresh || !folder.exists() {
        fetch(suites, &folder)?;
    }
    let image = folder.join("vmlinuz");
    if !image.exists() {
        return Err(format!(
            "{} holds no kernel; --refresh fetches it again",
            folder.display()
        ));
    }
    let modules = only_entry(&folder.join("modules"));
    Ok(Kernel {
        name: name.to_string(),
        image,
        modules,
    })
}

/// The folder that keeps kernels between runs.
pub(crate) fn cache_dir() -> PathBuf {
    std::env::var_os("KSCOPE_VM_CACHE").map_or_else(|| cargo::root().join(".vm"), PathBuf::from)
}

/// Gives a static busybox: the installed one, or that of Debian's package.
pub(crate) fn busybox() -> Result<PathBuf, String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let installed = std::env::split_paths(&path).map(|folder| folder.join("busybox"));
    let cached = cache_dir().join("busybox");
    let is_static = |file: &PathBuf| crate::check::is_static(file);
    if let Some(file) = installed.chain([cached.clone()]).find(is_static) {
        return Ok(file);
    }
    with_archive("busybox", &["bookworm"], |archive, unpacked| {
        archive.unpack("busybox-static", unpacked)?;
        let file = ["usr/bin/busybox", "bin/busybox"]
            .into_iter()
            .map(|path| unpacked.join(path))
            .find(is_static);
        let file = file.ok_or("the package busybox-static holds no static busybox")?;
        std::fs::rename(&file, &cached).map_err(|error| format!("{}: {error}", cached.display()))
    })?;
    Ok(cached)
}

/// Refuses what is neither a known name nor a file.
pub(crate) fn check_name(name: &str) -> Result<(), String> {
    let mut known = NAMED.iter().map(|(known, _)| *known);
    if Path::new(name).is_file() || known.clone().any(|known| known == name) {
        return Ok(());
    }
    let first = known.next().unwrap_or_default();
    let names = known.fold(first.to_string(), |names, name| names + ", " + name);
    Err(format!("{name} is neither a file nor one of {names}"))
}

fn by_path(name: &str) -> Result<Kernel, String> {
    check_name(name)?;
    let image = PathBuf::from(name);
    Ok(Kernel {
        name: name.to_string(),
        image,
        modules: None,
    })
}

fn fetch(suites: &[&str], folder: &Path) -> Result<(), String> {
    let label = folder.file_name().unwrap_or_default().to_string_lossy();
    with_archive(&label, suites, |archive, unpacked| {
        for package in packages(archive)? {
            archive.unpack(&package, unpacked)?;
        }
        let kept = unpacked.join("kept");
        std::fs::create_dir_all(&kept).map_err(|error| format!("{}: {error}", kept.display()))?;
        let folders = ["usr/lib/modules", "lib/modules"].map(|path| unpacked.join(path));
        let modules = folders.into_iter().find(|path| path.exists());
        let modules = modules.ok_or("the packages hold no modules")?;
        // Newer packages keep the image beside the modules.
        let places = [Some(unpacked.join("boot")), only_entry(&modules)];
        let image = places.iter().flatten().find_map(|folder| image(folder));
        let image = image.ok_or("the packages hold no vmlinuz")?;
        let renamed = std::fs::rename(&image, kept.join("vmlinuz"))
            .and_then(|()| std::fs::rename(&modules, kept.join("modules")))
            .and_then(|()| std::fs::create_dir_all(folder.parent().unwrap_or(folder)));
        renamed.map_err(|error| format!("{}: {error}", kept.display()))?;
        replace(folder, &kept, &unpacked.join("old"))
    })
}

/// Puts a new kernel in the place of the one that is there, which goes to `old` and stays where it was
/// when that fails.
fn replace(folder: &Path, new: &Path, old: &Path) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
    let had_one = match std::fs::rename(folder, old) {
        Ok(()) => true,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => false,
        Err(error) => return Err(failed(error)),
    };
    match std::fs::rename(new, folder) {
        Ok(()) => Ok(()),
        // Another run of the harness was faster; its kernel serves as well.
        Err(_) if folder.join("vmlinuz").exists() => Ok(()),
        Err(error) => {
            if had_one {
                std::fs::rename(old, folder).map_err(failed)?;
            }
            Err(failed(error))
        }
    }
}

/// Calls `work` with an archive of the first release that can be reached and a folder to unpack into.
///
/// The folder is this process's and this label's own, so that several runs may fill one cache at a time.
pub(super) fn with_archive(
    label: &str,
    suites: &[&str],
    work: impl Fn(&Archive, &Path) -> Result<(), String>,
) -> Result<(), String> {
    let mirrors = apt::mirrors();
    if mirrors.is_empty() {
        return Err(
            "apt's sources name no Debian mirror; KSCOPE_VM_MIRROR can, or give a kernel by path"
                .to_string(),
        );
    }
    let mut why = Vec::new();
    for suite in suites {
        for mirror in &mirrors {
            let folder = cache_dir().join(format!("fetch-{}-{label}-{suite}", std::process::id()));
            let result = Archive::open(mirror, suite, &folder).and_then(|archive| {
                let unpacked = folder.join("unpacked");
                std::fs::create_dir_all(&unpacked)
                    .map_err(|error| format!("{}: {error}", unpacked.display()))?;
                work(&archive, &unpacked)
            });
            let _ = std::fs::remove_dir_all(&folder);
            match result {
                Ok(()) => return Ok(()),
                Err(error) => why.push(format!("{suite}: {error}")),
            }
        }
    }
    Err(why.join("; "))
}

/// Follows Debian's meta package to the packages with the image and the modules.
fn packages(archive: &Archive) -> Result<Vec<String>, String> {
    let is_kernel = |name: &String| {
        name.ends_with("-cloud-amd64") && name.bytes().any(|byte| byte.is_ascii_digit())
    };
    let mut images = archive.depends("linux-image-cloud-amd64")?;
    images.retain(|name| name.starts_with("linux-image-") && is_kernel(name));
    let image = images
        .pop()
        .ok_or("linux-image-cloud-amd64 depends on no kernel")?;
    // Newer packages keep image and modules apart and make the old name depend on both.
    let mut parts = archive.depends(&image)?;
    parts.retain(|name| name.starts_with("linux-binary-") || name.starts_with("linux-modules-"));
    Ok(if parts.is_empty() { vec![image] } else { parts })
}

fn image(boot: &Path) -> Option<PathBuf> {
    let mut files = std::fs::read_dir(boot)
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path()));
    files.find(|path| {
        path.file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with("vmlinuz"))
    })
}

fn only_entry(folder: &Path) -> Option<PathBuf> {
    Some(std::fs::read_dir(folder).ok()?.next()?.ok()?.path())
}

#[cfg(test)]
mod tests {
    use super::replace;

    #[test]
    fn a_kernel_is_kept_until_there_is_another() {
        let root = std::env::temp_dir().join(format!("kscope-kernel-{}", std::process::id()));
        let make = |name: &str, text: &str| {
            let folder = root.join(name);
            std::fs::create_dir_all(&folder).expect("a folder");
            std::fs::write(folder.join("vmlinuz"), text).expect("a file");
            folder
        };
        let place = root.join("place");
        let image = || std::fs::read_to_string(place.join("vmlinuz")).expect("an image");
        let first = make("first", "1");
        assert_eq!(replace(&place, &first, &root.join("old1")), Ok(()));
        assert_eq!(image(), "1");
        let second = make("second", "2");
        assert_eq!(replace(&place, &second, &root.join("old2")), Ok(()));
        assert_eq!(image(), "2");
        let missing = root.join("missing");
        assert!(replace(&place, &missing, &root.join("old3")).is_err());
        assert_eq!(image(), "2", "the old one");
        std::fs::remove_dir_all(&root).expect("ours");
    }
}
