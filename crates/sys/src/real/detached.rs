//! Files of the kernel's file systems that are mounted nowhere.

use std::ffi::{CStr, CString, c_int, c_long};
use std::fs::File;
use std::io::Read as _;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr;

use crate::errno::Errno;

/// Files read here end here.
const LARGEST: u64 = 1 << 20;

/// Reads a file of a file system, by a mount of its own that nobody else sees and that is gone
/// with its descriptor (Linux 5.2).
pub(super) fn read(kind: &str, file: &str) -> Result<Vec<u8>, Errno> {
    /// `FSCONFIG_CMD_CREATE`.
    const CREATE: c_int = 6;
    let kind = CString::new(kind).map_err(|_| Errno::INVAL)?;
    let file = CString::new(file).map_err(|_| Errno::INVAL)?;
    let cloexec = 1 as c_int;
    // SAFETY: a C string that lives through the call, and a number.
    let system = owned(unsafe { libc::syscall(libc::SYS_fsopen, kind.as_ptr(), cloexec) })?;
    let nothing = ptr::null::<u8>();
    // SAFETY: this command takes neither key nor value.
    let created = unsafe {
        libc::syscall(
            libc::SYS_fsconfig,
            system.as_raw_fd(),
            CREATE,
            nothing,
            nothing,
            0 as c_int,
        )
    };
    if created < 0 {
        return Err(Errno::last());
    }
    let attributes = 0 as c_int;
    // SAFETY: numbers alone.
    let root = owned(unsafe {
        libc::syscall(libc::SYS_fsmount, system.as_raw_fd(), cloexec, attributes)
    })?;
    let file = opened(&root, &file)?;
    let mut bytes = Vec::new();
    let read = file.take(LARGEST).read_to_end(&mut bytes);
    read.map_err(|error| Errno::from_io(&error))?;
    Ok(bytes)
}

fn opened(root: &OwnedFd, path: &CStr) -> Result<File, Errno> {
    let flags = libc::O_RDONLY | libc::O_CLOEXEC;
    // SAFETY: a C string that lives through the call, and no file is made.
    let fd = unsafe { libc::openat(root.as_raw_fd(), path.as_ptr(), flags) };
    owned(c_long::from(fd)).map(File::from)
}

fn owned(outcome: c_long) -> Result<OwnedFd, Errno> {
    match c_int::try_from(outcome) {
        // SAFETY: the kernel just made it, and it belongs to nobody else.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(Errno::last()),
    }
}
