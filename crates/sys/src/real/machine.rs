//! Kexec, modules, mounts and restart.

use std::ffi::{CString, c_int, c_long};
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr;

use super::done;
use crate::call::Reply;
use crate::errno::Errno;
use crate::machine::{Machine, Restart, Space};

/// `KEXEC_FILE_UNLOAD` and `KEXEC_FILE_ON_CRASH` of linux/kexec.h.
const UNLOAD: c_long = 1;
const ON_CRASH: c_long = 2;

pub(super) fn run(call: &Machine<'_>) -> Result<Reply, Errno> {
    match *call {
        Machine::LoadCrashKernel {
            image,
            initrd,
            command_line,
        } => {
            let line = command_line.to_bytes_with_nul();
            // SAFETY: two descriptors that are open through the call, and a C string that lives
            // through it, with its length, NUL included, as the call wants it.
            done_long(unsafe {
                libc::syscall(
                    libc::SYS_kexec_file_load,
                    image.as_raw_fd(),
                    initrd.as_raw_fd(),
                    line.len(),
                    line.as_ptr(),
                    ON_CRASH,
                )
            })
        }
        Machine::UnloadCrashKernel => {
            let none: c_int = -1;
            let nothing = ptr::null::<u8>();
            // SAFETY: with this flag the kernel reads neither files nor the command line.
            done_long(unsafe {
                libc::syscall(
                    libc::SYS_kexec_file_load,
                    none,
                    none,
                    0usize,
                    nothing,
                    UNLOAD | ON_CRASH,
                )
            })
        }
        Machine::LoadModule { file, parameters } => {
            let flags: c_int = 0;
            // SAFETY: a descriptor that is open and a C string that lives through the call.
            done_long(unsafe {
                libc::syscall(
                    libc::SYS_finit_module,
                    file.as_raw_fd(),
                    parameters.as_ptr(),
                    flags,
                )
            })
        }
        Machine::Mount {
            source,
            target,
            kind,
            devices,
        } => {
            let (source, target) = (text(source)?, text(target)?);
            let kind = CString::new(kind).map_err(|_| Errno::INVAL)?;
            let mut flags = libc::MS_NOSUID;
            if !devices {
                flags |= libc::MS_NODEV | libc::MS_NOEXEC;
            }
            // SAFETY: three C strings that live through the call, and no data.
            done(unsafe {
                libc::mount(
                    source.as_ptr(),
                    target.as_ptr(),
                    kind.as_ptr(),
                    flags,
                    ptr::null(),
                )
            })
        }
        Machine::Unmount(target) => {
            let target = text(target)?;
            // SAFETY: a C string that lives through the call.
            done(unsafe { libc::umount2(target.as_ptr(), 0) })
        }
        Machine::Space(path) => space(path).map(Reply::Space),
        Machine::Sync => {
            // SAFETY: takes nothing.
            unsafe { libc::sync() };
            Ok(Reply::Done)
        }
        Machine::KillGroup(group) => {
            // 0 would be the caller's own group, and 1 every process there is.
            let group = c_int::try_from(group).ok().filter(|group| *group > 1);
            let group = group.ok_or(Errno::INVAL)?;
            // SAFETY: takes numbers.
            done(unsafe { libc::kill(-group, libc::SIGKILL) })
        }
        Machine::Kill(process) => {
            // 0 would be the caller's own group.
            let process = c_int::try_from(process).ok().filter(|id| *id > 1);
            let process = process.ok_or(Errno::INVAL)?;
            // SAFETY: takes numbers.
            done(unsafe { libc::kill(process, libc::SIGKILL) })
        }
        Machine::Restart(how) => {
            let how = match how {
                Restart::Reboot => libc::RB_AUTOBOOT,
                Restart::Halt => libc::RB_HALT_SYSTEM,
                Restart::PowerOff => libc::RB_POWER_OFF,
            };
            // SAFETY: takes a number. That nothing is lost by it is the caller's business.
            done(unsafe { libc::reboot(how) })
        }
    }
}

fn text(path: &Path) -> Result<CString, Errno> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| Errno::INVAL)
}

fn done_long(value: c_long) -> Result<Reply, Errno> {
    done(c_int::try_from(value).unwrap_or(0))
}

fn space(path: &Path) -> Result<Space, Errno> {
    let path = text(path)?;
    let mut room = MaybeUninit::<libc::statvfs>::zeroed();
    // SAFETY: a C string that lives through the call; one statvfs is written to memory of that size.
    done(unsafe { libc::statvfs(path.as_ptr(), room.as_mut_ptr()) })?;
    // SAFETY: plain numbers, zeroed before and written since.
    let room = unsafe { room.assume_init() };
    Ok(Space {
        total: room.f_frsize.saturating_mul(room.f_blocks),
        free: room.f_frsize.saturating_mul(room.f_bavail),
        read_only: room.f_flag & libc::ST_RDONLY != 0,
    })
}
