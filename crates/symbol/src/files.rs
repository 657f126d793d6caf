//! Files that others may have put there: looked up inside of a root, never waited for, read up to a
//! bound.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Component, Path, PathBuf};

/// Largest file that is read whole, in bytes: programs and libraries are smaller.
pub const LARGEST_FILE: u64 = 2 << 30;

/// Links at most that lead from one name to its file, as in the kernel (`MAXSYMLINKS`).
const LINKS: usize = 40;

/// `O_NONBLOCK` of open(2), the same number on x86_64 and aarch64.
const O_NONBLOCK: i32 = 0o4000;

/// Opens a file for reading. A pipe is not waited for: it is no file, nor is a device.
///
/// # Errors
///
/// What the system says, and `InvalidInput` for what is no regular file.
pub fn open_regular(path: impl AsRef<Path>) -> io::Result<File> {
    let no_file = || io::Error::new(ErrorKind::InvalidInput, "it is no regular file");
    let path = path.as_ref();
    // Opening a device may already do something.
    if !std::fs::metadata(path)?.is_file() {
        return Err(no_file());
    }
    let mut options = OpenOptions::new();
    let file = options.read(true).custom_flags(O_NONBLOCK).open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(no_file()),
    }
}

/// Reads a file of at most [`LARGEST_FILE`] bytes.
///
/// # Errors
///
/// As [`open_regular`], and `InvalidInput` for one that is larger.
pub fn read_regular(path: impl AsRef<Path>) -> io::Result<Vec<u8>> {
    read_open(open_regular(path)?)
}

/// Reads an open file as [`read_regular`] does.
pub(crate) fn read_open(file: File) -> io::Result<Vec<u8>> {
    let len = file.metadata()?.len();
    if len > LARGEST_FILE {
        let why = format!("it has {len} bytes, and at most {LARGEST_FILE} are read");
        return Err(io::Error::new(ErrorKind::InvalidInput, why));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(len).unwrap_or_default());
    file.take(LARGEST_FILE).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Follows the symbolic links of a path as a process does that has `root` for `/`, and gives the path
/// without links, as it is seen from here. None of them leads out of the root.
///
/// # Errors
///
/// What the system says of a part that is not there; `InvalidInput` for links in a circle.
pub fn inside_root(root: &Path, path: &Path) -> io::Result<PathBuf> {
    let parts = |path: &Path| -> Vec<OsString> {
        let parts = path.components().filter_map(|part| match part {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some("..".into()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
        });
        parts.collect()
    };
    let mut found = root.to_owned();
    let mut left = VecDeque::from(parts(path));
    let mut links = 0;
    while let Some(part) = left.pop_front() {
        if part == ".." {
            if found != root {
                found.pop();
            }
            continue;
        }
        let next = found.join(&part);
        if !std::fs::symlink_metadata(&next)?.is_symlink() {
            found = next;
            continue;
        }
        links += 1;
        if links > LINKS {
            let why = "too many levels of symbolic links";
            return Err(io::Error::new(ErrorKind::InvalidInput, why));
        }
        let target = std::fs::read_link(&next)?;
        if target.is_absolute() {
            found = root.to_owned();
        }
        for part in parts(&target).into_iter().rev() {
            left.push_front(part);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn links_stay_inside_of_the_root() {
        let name = format!("kscope-inside-{}", std::process::id());
        let root = std::env::temp_dir().join(name);
        std::fs::create_dir_all(root.join("usr/lib")).expect("a folder");
        std::fs::write(root.join("usr/lib/real"), "inside").expect("a file");
        let links = [
            ("lib", "usr/lib"),
            ("usr/lib/absolute", "/usr/lib/real"),
            ("usr/lib/up", "../../../../../usr/lib/real"),
            ("usr/lib/out", "/etc/passwd"),
            ("circle", "circle"),
        ];
        for (link, target) in links {
            symlink(target, root.join(link)).expect("a link");
        }
        let check = |path: &str, expected: Option<&str>| {
            let found = inside_root(&root, Path::new(path)).ok();
            assert_eq!(found, expected.map(|path| root.join(path)), "{path}");
        };
        let real = Some("usr/lib/real");
        check("/usr/lib/real", real);
        check("/lib/real", real);
        check("/lib/absolute", real);
        check("/lib/up", real);
        check("/../../lib/./real", real);
        check("/lib/out", None);
        check("/circle", None);
        check("/none", None);
        std::fs::remove_dir_all(&root).expect("ours");
    }

    #[test]
    fn only_files_are_read() {
        let name = format!("kscope-regular-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let made = std::process::Command::new("mkfifo").arg(&path).status();
        assert!(made.is_ok_and(|status| status.success()), "mkfifo");
        assert!(read_regular(&path).is_err(), "a pipe");
        std::fs::remove_file(&path).expect("ours");
        let large = File::create(&path).expect("writable");
        large.set_len(LARGEST_FILE + 1).expect("sparse");
        assert!(read_regular(&path).is_err(), "a large one");
        std::fs::write(&path, "text").expect("writable");
        assert_eq!(read_regular(&path).expect("readable"), b"text");
        std::fs::remove_file(&path).expect("ours");
        assert!(read_regular("/dev/zero").is_err(), "a device");
    }
}
