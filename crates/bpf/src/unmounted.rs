//! File systems that are asked along with a system call, told where they are not mounted.

use std::path::Path;

use kscope_sys::{Errno, Kernel};

use crate::error::Error;

/// Where the kernel says what a descriptor is of, without which no description is asked for: each
/// type of object has another.
const DESCRIPTORS: &str = "/proc/self/fd";
/// Where it says of how many CPUs a map has values.
const CPUS: &str = "/sys/devices/system/cpu/possible";

/// Says which file system is missing, where that is why there is `ENOENT`.
pub(crate) fn unmounted(kernel: &dyn Kernel, errno: Errno) -> Option<Error> {
    let lacks = |path| kernel.identity(Path::new(path)).err() == Some(Errno::NOENT);
    let (kind, way_out) = match errno {
        Errno::NOENT if lacks(DESCRIPTORS) => ("/proc", "mount -t proc proc /proc"),
        Errno::NOENT if lacks(CPUS) => ("/sys", "mount -t sysfs sysfs /sys"),
        _ => return None,
    };
    Some(Error::NotMounted { kind, way_out })
}

/// Says why there is no description of an object.
pub(crate) fn undescribed(kernel: &dyn Kernel, errno: Errno, about: impl Into<String>) -> Error {
    let os = || Error::os("BPF_OBJ_GET_INFO_BY_FD", errno, about);
    unmounted(kernel, errno).unwrap_or_else(os)
}

#[cfg(test)]
mod tests {
    use kscope_sys::{Call, FakeKernel, FileIdentity, Reply};

    use super::*;

    #[test]
    fn what_is_not_mounted_is_named() {
        let check = |present: &'static [&str], errno, expected: &str| {
            let fake = FakeKernel::new(move |call| match call {
                Call::Identity(path) if present.iter().any(|one| path.starts_with(one)) => {
                    Ok(Reply::Identity(FileIdentity {
                        major: 0,
                        minor: 1,
                        inode: 2,
                    }))
                }
                _ => Err(Errno::NOENT),
            });
            let error = undescribed(&fake, errno, "map 7").to_string();
            assert_eq!(error, expected);
        };
        let proc = "/proc is not mounted (mount it: mount -t proc proc /proc)";
        check(&[], Errno::NOENT, proc);
        let sys = "/sys is not mounted (mount it: mount -t sysfs sysfs /sys)";
        check(&["/proc"], Errno::NOENT, sys);
        let other = "BPF_OBJ_GET_INFO_BY_FD of map 7: ENOENT (No such file or directory)";
        check(&["/proc", "/sys"], Errno::NOENT, other);
        let other = "BPF_OBJ_GET_INFO_BY_FD of map 7: EINVAL (Invalid argument)";
        check(&[], Errno::INVAL, other);
    }
}
