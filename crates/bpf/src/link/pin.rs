//! Names in the BPF file system.

use std::ffi::{CString, OsString};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use kscope_sys::{Errno, Kernel, mount_path};

use crate::denial::{Needs, explain};
use crate::error::Error;

fn c_path(path: &Path) -> Result<CString, Error> {
    CString::new(path.as_os_str().as_bytes())
        .map_err(|_| Error::invalid("a path with a NUL".to_owned()))
}

/// Says what went wrong with a pin.
pub(crate) fn pin_error(
    kernel: &dyn Kernel,
    call: &'static str,
    errno: Errno,
    path: &Path,
) -> Error {
    let shown = path.display().to_string();
    let mounts = Mounts::find(kernel);
    let is_refused = matches!(errno, Errno::PERM | Errno::ACCES);
    match errno {
        Errno::PERM | Errno::NOENT if mounts.are_none() => Error::NotMounted {
            kind: "the BPF file system",
            way_out: "mount -t bpf bpf /sys/fs/bpf",
        },
        _ if is_refused && mounts.lack(kernel, path) => Error::invalid(format!(
            "{shown} is in no BPF file system, and objects are pinned nowhere else: one is mounted at {}",
            mounts.first()
        )),
        Errno::PERM if has_dot(path) => Error::invalid(format!(
            "names in the BPF file system have no dots: {shown}"
        )),
        Errno::NOENT if call == "BPF_OBJ_GET" => Error::not_found("pinned object", shown),
        Errno::NOENT => Error::not_found("directory for the pin", shown),
        Errno::PERM => explain(kernel, Needs::Bpf, call, errno, shown),
        errno => Error::os(call, errno, shown),
    }
}

/// Tells whether the last part of a path has a dot (bpf_lookup, kernel/bpf/inode.c).
fn has_dot(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default();
    name.as_bytes().contains(&b'.')
}

/// Where BPF file systems are mounted; none where that cannot be seen.
struct Mounts(Option<Vec<PathBuf>>);

impl Mounts {
    fn find(kernel: &dyn Kernel) -> Mounts {
        let text = kernel.read_file(Path::new("/proc/self/mounts")).ok();
        Mounts(text.map(|text| {
            let lines = text.split(|&byte| byte == b'\n');
            let place = |line: &[u8]| {
                let mut words = line.split(|&byte| byte == b' ').skip(1);
                let place = words.next()?;
                let place = PathBuf::from(OsString::from_vec(mount_path(place)));
                (words.next() == Some(b"bpf")).then_some(place)
            };
            lines.filter_map(place).collect()
        }))
    }

    /// Tells whether there surely are none.
    fn are_none(&self) -> bool {
        self.0.as_ref().is_some_and(Vec::is_empty)
    }

    /// Tells whether a path surely lies in none of them.
    fn lack(&self, kernel: &dyn Kernel, path: &Path) -> bool {
        let device = |path: &Path| {
            let found = kernel.identity(path).ok()?;
            Some((found.major, found.minor))
        };
        let folder = path.parent().filter(|folder| *folder != Path::new(""));
        let of = device(folder.unwrap_or(Path::new(".")));
        let all = self.0.iter().flatten();
        let mut known = all.map(|place| device(place)).peekable();
        of.is_some() && known.peek().is_some() && known.all(|one| one.is_some() && one != of)
    }

    /// Gives the place of the first.
    fn first(&self) -> String {
        let first = self.0.iter().flatten().next();
        first.map_or_else(String::new, |place| place.display().to_string())
    }
}

/// Pins an object under a name.
pub(crate) fn pin(kernel: &dyn Kernel, path: &Path, object: BorrowedFd<'_>) -> Result<(), Error> {
    let name = c_path(path)?;
    kernel
        .pin(&name, object)
        .map_err(|errno| pin_error(kernel, "BPF_OBJ_PIN", errno, path))
}

/// Opens what is pinned under a name.
pub(crate) fn open_pin(kernel: &dyn Kernel, path: &Path) -> Result<OwnedFd, Error> {
    let name = c_path(path)?;
    kernel
        .pinned(&name)
        .map_err(|errno| pin_error(kernel, "BPF_OBJ_GET", errno, path))
}

#[cfg(test)]
mod tests {
    use kscope_sys::{Call, FakeKernel, FileIdentity, Reply};

    use super::*;

    #[test]
    fn what_is_wrong_with_a_path_is_told() {
        const MOUNTS: &str = "tmpfs /tmp tmpfs rw 0 0\nbpf /sys/fs/bpf bpf rw,mode=700 0 0\n";
        let check = |mounts: &'static str, call, errno, path: &str, expected: &str| {
            let fake = FakeKernel::new(move |call| match call {
                Call::ReadFile(path) if path == Path::new("/proc/self/mounts") => {
                    Ok(Reply::Bytes(mounts.into()))
                }
                // The file system of the path's begin.
                Call::Identity(path) => Ok(Reply::Identity(FileIdentity {
                    major: 0,
                    minor: path.starts_with("/sys/fs/bpf").into(),
                    inode: 1,
                })),
                Call::Capabilities => Ok(Reply::Number(0)),
                _ => Err(Errno::NOENT),
            });
            let error = pin_error(&fake, call, errno, Path::new(path)).to_string();
            assert_eq!(error, expected);
        };
        let (pin, get) = ("BPF_OBJ_PIN", "BPF_OBJ_GET");
        let nowhere = "/tmp/x is in no BPF file system, and objects are pinned nowhere else: one is \
                       mounted at /sys/fs/bpf";
        check(MOUNTS, pin, Errno::PERM, "/tmp/x", nowhere);
        check(MOUNTS, get, Errno::ACCES, "/tmp/x", nowhere);
        let dot = "names in the BPF file system have no dots: /sys/fs/bpf/a.bss";
        check(MOUNTS, pin, Errno::PERM, "/sys/fs/bpf/a.bss", dot);
        let blank = "bpf /sys/fs/bpf/my\\040own bpf rw 0 0\n";
        let nowhere = "/tmp/x is in no BPF file system, and objects are pinned nowhere else: one is \
                       mounted at /sys/fs/bpf/my own";
        check(blank, pin, Errno::PERM, "/tmp/x", nowhere);
        let lacks = "BPF_OBJ_PIN is not permitted: the process lacks CAP_BPF";
        check(MOUNTS, pin, Errno::PERM, "/sys/fs/bpf/x", lacks);
        let none = "the BPF file system is not mounted (mount it: mount -t bpf bpf /sys/fs/bpf)";
        check("", pin, Errno::PERM, "/tmp/x", none);
        let taken = "BPF_OBJ_PIN of /sys/fs/bpf/x: EEXIST (File exists)";
        check(MOUNTS, pin, Errno::EXIST, "/sys/fs/bpf/x", taken);
    }
}
