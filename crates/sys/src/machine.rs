//! What a machine's start and end need: another kernel, modules, file systems, restart.

use std::ffi::CStr;
use std::os::fd::BorrowedFd;
use std::path::Path;

use crate::call::{Call, Reply};
use crate::errno::Errno;
use crate::kernel::Kernel;

/// One request of the kind that only whoever owns the machine makes.
#[derive(Debug)]
pub enum Machine<'a> {
    /// kexec_file_load(2) of the kernel that runs after a crash. Answer: [`Reply::Done`].
    ///
    /// # Minimum kernel version
    /// 3.17 with `CONFIG_KEXEC_FILE`.
    LoadCrashKernel {
        /// A kernel image.
        image: BorrowedFd<'a>,
        /// Its initial file system.
        initrd: BorrowedFd<'a>,
        /// Its command line.
        command_line: &'a CStr,
    },
    /// kexec_file_load(2) that unloads the kernel of a crash. Answer: [`Reply::Done`].
    UnloadCrashKernel,
    /// finit_module(2). Answer: [`Reply::Done`]; `EEXIST` where it is loaded.
    LoadModule {
        /// The module's file, not compressed.
        file: BorrowedFd<'a>,
        /// Its parameters.
        parameters: &'a CStr,
    },
    /// mount(2) of a device or of a kernel file system, without the wish to run or own devices
    /// there. Answer: [`Reply::Done`].
    Mount {
        /// The device, or any name.
        source: &'a Path,
        /// Directory to mount on.
        target: &'a Path,
        /// File system type.
        kind: &'a str,
        /// Whether devices in it are to work.
        devices: bool,
    },
    /// umount2(2). Answer: [`Reply::Done`].
    Unmount(&'a Path),
    /// statvfs(3). Answer: [`Reply::Space`].
    Space(&'a Path),
    /// sync(2). Answer: [`Reply::Done`].
    Sync,
    /// kill(2) of all processes of a group, whose number is that of its first one. Answer:
    /// [`Reply::Done`]; `ESRCH` where none of them is left.
    KillGroup(u32),
    /// kill(2) of one process. Answer: [`Reply::Done`]; `ESRCH` where it has ended.
    Kill(u32),
    /// reboot(2). Answer: none where it goes well.
    Restart(Restart),
}

/// How the machine ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Restart {
    /// It starts again.
    Reboot,
    /// It stops.
    Halt,
    /// It is switched off.
    PowerOff,
}

/// Room in a file system, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Space {
    /// All there is.
    pub total: u64,
    /// What can still be written without what is set aside for root.
    pub free: u64,
    /// Whether nothing can be written.
    pub read_only: bool,
}

impl Machine<'_> {
    /// Names the system call as the manual does.
    pub fn name(&self) -> &'static str {
        match self {
            Machine::LoadCrashKernel { .. } | Machine::UnloadCrashKernel => "kexec_file_load",
            Machine::LoadModule { .. } => "finit_module",
            Machine::Mount { .. } => "mount",
            Machine::Unmount(_) => "umount2",
            Machine::Space(_) => "statvfs",
            Machine::Sync => "sync",
            Machine::KillGroup(_) | Machine::Kill(_) => "kill",
            Machine::Restart(_) => "reboot",
        }
    }
}

#[allow(
    clippy::missing_errors_doc,
    reason = "each gives the error number of the call it names"
)]
impl dyn Kernel + '_ {
    fn machine(&self, call: Machine<'_>) -> Result<(), Errno> {
        self.call(Call::Machine(call)).map(drop)
    }

    /// Loads the kernel that runs after a crash.
    pub fn load_crash_kernel(
        &self,
        image: BorrowedFd<'_>,
        initrd: BorrowedFd<'_>,
        command_line: &CStr,
    ) -> Result<(), Errno> {
        self.machine(Machine::LoadCrashKernel {
            image,
            initrd,
            command_line,
        })
    }

    /// Unloads the kernel that runs after a crash.
    pub fn unload_crash_kernel(&self) -> Result<(), Errno> {
        self.machine(Machine::UnloadCrashKernel)
    }

    /// Loads a module; `EEXIST` where it is loaded.
    pub fn load_module(&self, file: BorrowedFd<'_>, parameters: &CStr) -> Result<(), Errno> {
        self.machine(Machine::LoadModule { file, parameters })
    }

    /// Mounts a file system.
    pub fn mount_source(
        &self,
        source: &Path,
        target: &Path,
        kind: &str,
        devices: bool,
    ) -> Result<(), Errno> {
        self.machine(Machine::Mount {
            source,
            target,
            kind,
            devices,
        })
    }

    /// Unmounts a file system.
    pub fn unmount(&self, target: &Path) -> Result<(), Errno> {
        self.machine(Machine::Unmount(target))
    }

    /// Tells the room in the file system that holds a path.
    pub fn space(&self, path: &Path) -> Result<Space, Errno> {
        match self.call(Call::Machine(Machine::Space(path)))? {
            Reply::Space(space) => Ok(space),
            _ => Err(Errno::IO),
        }
    }

    /// Writes all that is not yet on disk.
    pub fn sync(&self) -> Result<(), Errno> {
        self.machine(Machine::Sync)
    }

    /// Kills all processes of a group; `ESRCH` where none of them is left.
    pub fn kill_group(&self, group: u32) -> Result<(), Errno> {
        self.machine(Machine::KillGroup(group))
    }

    /// Kills a process; `ESRCH` where it has ended.
    pub fn kill(&self, process: u32) -> Result<(), Errno> {
        self.machine(Machine::Kill(process))
    }

    /// Ends the machine; comes back only where the kernel refuses.
    pub fn restart(&self, how: Restart) -> Result<(), Errno> {
        self.machine(Machine::Restart(how))
    }
}
