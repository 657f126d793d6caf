//! Loads the capture kernel into what is reserved for it, and unloads it.

use std::ffi::CString;
use std::fs::File;
use std::os::fd::AsFd as _;
use std::path::PathBuf;

use kscope_sys::{Errno, Kernel};

use crate::Error;
use crate::command_line::{Wishes, capture};
use crate::config::Config;
use crate::facts::target::TargetFacts;
use crate::facts::{KernelFacts, image};
use crate::manifest::LOADED;
use crate::root::Root;

/// The longest command line of x86_64 and aarch64 (`COMMAND_LINE_SIZE`), less what the kernel adds.
const LONGEST: usize = 2048 - 64;

/// What is loaded: two files and a command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Load {
    /// The kernel image.
    pub image: PathBuf,
    /// The initial file system.
    pub initrd: PathBuf,
    /// The command line.
    pub command_line: String,
}

impl Load {
    /// Decides what is to be loaded.
    ///
    /// # Errors
    /// Where the command line would be too long, or there is no way to the machine that takes dumps.
    pub fn plan(
        config: &Config,
        kernel: &KernelFacts,
        target: &TargetFacts,
    ) -> Result<Load, Error> {
        let ip = match target {
            TargetFacts::Ssh(ssh) => {
                let own = ssh.own.as_ref().ok_or_else(|| {
                    Error::missing(
                        format!(
                            "there is no way to {}: the capture would have no address",
                            ssh.to.host
                        ),
                        "bring the network up, or write `ip` into /etc/kscope/kdump.conf",
                    )
                })?;
                Some(own.text())
            }
            TargetFacts::Disk(_) => None,
        };
        let wishes = Wishes {
            cpus: config.cpus,
            boot_apic: kernel.boot_apic,
            ip,
            add: config.command_line_add.clone(),
            remove: config.command_line_remove.clone(),
        };
        let command_line = capture(&kernel.command_line, &wishes);
        if command_line.len() > LONGEST {
            return Err(Error::unsupported(
                format!(
                    "the command line has {} bytes, {LONGEST} are possible",
                    command_line.len()
                ),
                "take words out with `command_line_remove`",
            ));
        }
        Ok(Load {
            image: config.kernel_of(&kernel.release),
            initrd: config.initrd_of(&kernel.release),
            command_line,
        })
    }

    /// Loads it, in the place of what was loaded before.
    ///
    /// # Errors
    /// Where a file is not there, or the kernel refuses, with the reason.
    pub fn load(&self, root: &Root, system: &dyn Kernel) -> Result<(), Error> {
        let open = |path: &PathBuf| File::open(root.path(path)).map_err(Error::file("read", path));
        let image = open(&self.image)?;
        let initrd = match open(&self.initrd) {
            Ok(file) => file,
            Err(why) => {
                return Err(Error::missing(
                    why.to_string(),
                    "`kscope kdump initrd` makes it",
                ));
            }
        };
        let line = CString::new(self.command_line.as_str());
        let line = line.map_err(|_| Error::malformed("the command line has a NUL"))?;
        let seen = image::sources(root, &self.image, &self.initrd, &self.command_line)?;
        system
            .load_crash_kernel(image.as_fd(), initrd.as_fd(), &line)
            .map_err(|errno| refused(root, errno))?;
        image::remember(root, &seen)
    }
}

/// Unloads the capture kernel.
///
/// # Errors
/// Where the kernel refuses, with the reason.
pub fn unload(root: &Root, system: &dyn Kernel) -> Result<(), Error> {
    system
        .unload_crash_kernel()
        .map_err(|errno| refused(root, errno))?;
    let _ = std::fs::remove_file(root.path(LOADED));
    Ok(())
}

/// Says why the kernel does not load another, and what to do.
fn refused(root: &Root, errno: Errno) -> Error {
    let disabled = root.flag("/proc/sys/kernel/kexec_load_disabled") == Some(true);
    let none = root.number("/sys/kernel/kexec_crash_size") == Some(0);
    let (means, way_out) = match errno {
        Errno::PERM if disabled => (
            "kernel.kexec_load_disabled is 1, until the machine starts again",
            "take it out of /etc/sysctl.d and start the machine again, or load before it is set",
        ),
        Errno::PERM => (
            "this user may not, or the kernel is locked down and the image has no signature",
            "run as root; where Secure Boot is on, load the image that the distribution signed",
        ),
        Errno::ADDR_NOT_AVAIL if none => (
            "no memory is reserved",
            "add crashkernel=256M to the kernel's command line and start the machine again",
        ),
        Errno::ADDR_NOT_AVAIL | Errno::NOMEM => (
            "what is reserved is too small for the kernel and the initial file system",
            "reserve more with crashkernel=; `kscope kdump estimate` says how much",
        ),
        // ENOKEY, EKEYREJECTED, EKEYEXPIRED and EKEYREVOKED.
        Errno(126..=129) => (
            "the signature of the kernel image is not accepted",
            "load the image that the distribution signed, or add its key to the firmware's",
        ),
        Errno::BADMSG => (
            "the signature of the kernel image is broken",
            "install the kernel's package again",
        ),
        Errno::NOSYS => (
            "this kernel has no kexec_file_load (CONFIG_KEXEC_FILE), and kexec_load, which would do \
             without, is not supported",
            "use a kernel with CONFIG_KEXEC_FILE=y, or `kexec -p -c` of kexec-tools with the same \
             files: `kscope kdump load --dry-run` prints them",
        ),
        Errno::NOEXEC => (
            "the kernel image is of no format that the kernel loads",
            "give the bzImage as `kernel` in /etc/kscope/kdump.conf, not a vmlinux",
        ),
        Errno::BUSY => ("another load is under way", "try again"),
        _ => (
            "the capture kernel is not loaded",
            "`kscope kdump check` says what is wrong",
        ),
    };
    Error::Refused {
        call: "kexec_file_load",
        errno,
        means,
        way_out,
    }
}

#[cfg(test)]
mod tests;
