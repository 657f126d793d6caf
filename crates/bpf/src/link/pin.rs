//! Names in the BPF file system.

use std::ffi::CString;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use kscope_sys::{Errno, Kernel};

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
    match errno {
        Errno::PERM | Errno::NOENT if !bpffs(kernel) => Error::NotMounted {
            kind: "the BPF file system",
            way_out: "mount -t bpf bpf /sys/fs/bpf",
        },
        Errno::NOENT if call == "BPF_OBJ_GET" => Error::not_found("pinned object", shown),
        Errno::NOENT => Error::not_found("directory for the pin", shown),
        Errno::PERM => explain(kernel, Needs::Bpf, call, errno, shown),
        errno => Error::os(call, errno, shown),
    }
}

/// Looks whether the BPF file system is mounted anywhere; where that cannot be seen, it is.
fn bpffs(kernel: &dyn Kernel) -> bool {
    let Ok(text) = kernel.read_file(Path::new("/proc/self/mounts")) else {
        return true;
    };
    text.split(|&byte| byte == b'\n')
        .any(|line| line.split(|&byte| byte == b' ').nth(2) == Some(b"bpf"))
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
