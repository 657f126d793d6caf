//! Why the kernel said `EPERM`: found by probing, never guessed.

#[cfg_attr(not(feature = "explain"), path = "denial/unexplained.rs")]
mod probe;

use std::fmt;

use kscope_spec::ProgramType;
use kscope_sys::{Errno, Kernel};

pub(crate) use probe::cause;
#[cfg(feature = "explain")]
pub(crate) use probe::{lockdown, no_secrets, no_writes, trampolines, used_up};

use crate::error::Error;

/// The cause of an `EPERM` or `EACCES`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Denial {
    /// The process lacks these capabilities.
    Capability {
        /// For example `CAP_BPF`; one of `CAP_SYS_ADMIN` replaces all of them.
        missing: Vec<&'static str>,
    },
    /// The limit on locked memory is used up: by maps and programs (kernels before 5.11), or by
    /// perf buffers larger than `kernel.perf_event_mlock_kb`.
    Memlock {
        /// The limit in bytes.
        limit: u64,
    },
    /// The process has the capabilities, but even the smallest program is refused: it runs in a
    /// user namespace, or a seccomp filter or security module stands in between.
    Confined,
    /// The process has a BPF token, and the BPF file system that it is of does not delegate this.
    Delegation {
        /// Where the file system is mounted.
        path: String,
        /// What it would have to delegate, as a mount option: `delegate_progs=xdp`.
        option: String,
    },
    /// A BPF token must be made in the user namespace that the BPF file system belongs to.
    OtherNamespace {
        /// Where the file system is mounted.
        path: String,
    },
    /// The kernel is locked down in this mode, which forbids this.
    Lockdown {
        /// `integrity` or `confidentiality`.
        mode: String,
    },
    /// A file of the kernel may not be read or written by this user.
    File {
        /// The file or directory.
        path: String,
    },
    /// The kernel lets this process load programs at tracepoints, and refuses those that hook
    /// functions (fentry, fexit, fmod_ret, LSM, freplace).
    Trampoline {
        /// Whether it has kprobes, which could stand in for them.
        kprobes: bool,
    },
    /// Nothing is known: this build was made without the feature `explain`, which looks for causes.
    Unexplained,
    /// The kernel allows other programs but refuses this very thing.
    Kernel,
}

impl Denial {
    /// Says what can be done about it.
    pub fn way_out(&self) -> Option<&'static str> {
        Some(match self {
            Denial::Capability { .. } => "run as root, or grant the capabilities",
            Denial::Memlock { .. } => {
                "raise the limit (ulimit -l unlimited), which takes CAP_SYS_RESOURCE"
            }
            Denial::Confined => {
                "run it outside of the container, or let the container use bpf(2); a BPF token \
                 (Linux 6.9) lends it to a user namespace"
            }
            Denial::Delegation { .. } => {
                "mount it with that option: who made the namespace sets it with fsconfig(2), with \
                 CAP_SYS_ADMIN of the first user namespace"
            }
            Denial::OtherNamespace { .. } => {
                "open it (fsopen) inside of the namespace that is to have the token"
            }
            Denial::Lockdown { mode } if mode == "integrity" => {
                "boot without lockdown= on the kernel's command line, and without Secure Boot"
            }
            Denial::Lockdown { .. } => "boot with lockdown=integrity, or without Secure Boot",
            Denial::File { .. } => "run as root",
            Denial::Unexplained => {
                "build with the feature explain of kscope-bpf: it finds the cause"
            }
            Denial::Trampoline { kprobes: false } => {
                "a tracepoint or a typed tracepoint (tp_btf) in its place: this kernel has no kprobes either; \
                 one built or patched like this lets nobody hook functions"
            }
            Denial::Trampoline { kprobes: true } => {
                "a kprobe, a tracepoint or a typed tracepoint (tp_btf) in its place; a kernel built or \
                 patched like this lets nobody hook functions"
            }
            Denial::Kernel => {
                "nothing by this process: the kernel was built or patched to refuse it, or a \
                 sysctl does (kernel.unprivileged_bpf_disabled does not concern root)"
            }
        })
    }
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Denial::Capability { missing } => {
                f.write_str("the process lacks")?;
                let names = missing.iter().enumerate();
                for (place, name) in names {
                    f.write_str(if place == 0 { " " } else { " and " })?;
                    f.write_str(name)?;
                }
                Ok(())
            }
            Denial::Memlock { limit } => {
                write!(f, "the limit on locked memory ({limit} bytes) is used up")
            }
            Denial::Confined => f.write_str(
                "the capabilities are there, but even an empty program is refused (a user \
                 namespace, seccomp filter or security module confines the process)",
            ),
            Denial::Delegation { path, option } => {
                write!(
                    f,
                    "the BPF file system at {path} does not delegate it ({option})"
                )
            }
            Denial::OtherNamespace { path } => write!(
                f,
                "the BPF file system at {path} belongs to another user namespace"
            ),
            Denial::Lockdown { mode } => write!(f, "the kernel is locked down ({mode})"),
            Denial::File { path } => write!(f, "{path} is closed to this user"),
            Denial::Trampoline { .. } => f.write_str(
                "the kernel refuses programs that hook functions, although it lets this process load \
                 tracing programs of other types",
            ),
            Denial::Unexplained => f.write_str("the cause was not looked for"),
            Denial::Kernel => f.write_str(
                "the process has the capabilities and may load other programs, but the kernel, or a \
                 security module of it, refuses this to everyone, root included",
            ),
        }
    }
}

/// How far a kernel is locked down (`lockdown=`, Secure Boot).
#[cfg(feature = "explain")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lockdown {
    /// Not at all.
    Off,
    /// In this mode: `integrity` or `confidentiality`.
    Mode(String),
    /// It cannot be told: securityfs is not mounted, or closed to this process.
    Unknown,
}

/// What a refused call needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Needs {
    /// CAP_BPF: maps, and programs that read no kernel memory.
    Bpf,
    /// CAP_BPF and CAP_PERFMON: tracing programs and their links.
    Tracing,
    /// CAP_PERFMON: perf events.
    #[cfg(any(feature = "buffers", feature = "explain"))]
    Perf,
    /// CAP_SYS_ADMIN: mounts, program ids, statistics.
    Admin,
    /// CAP_BPF and CAP_NET_ADMIN: programs that see packets.
    Network,
}

impl Needs {
    /// Gives what programs of a type need to be loaded and attached.
    pub(crate) fn of(kind: ProgramType) -> Needs {
        match kind {
            ProgramType::Kprobe
            | ProgramType::Tracepoint
            | ProgramType::PerfEvent
            | ProgramType::RawTracepoint
            | ProgramType::RawTracepointWritable
            | ProgramType::Tracing
            | ProgramType::StructOps
            | ProgramType::Lsm
            | ProgramType::Ext => Needs::Tracing,
            ProgramType::Unspec
            | ProgramType::Syscall
            | ProgramType::SocketFilter
            | ProgramType::CgroupSkb
            | ProgramType::SkReuseport => Needs::Bpf,
            ProgramType::SchedCls
            | ProgramType::SchedAct
            | ProgramType::Xdp
            | ProgramType::CgroupSock
            | ProgramType::LwtIn
            | ProgramType::LwtOut
            | ProgramType::LwtXmit
            | ProgramType::LwtSeg6Local
            | ProgramType::SockOps
            | ProgramType::SkSkb
            | ProgramType::SkMsg
            | ProgramType::SkLookup
            | ProgramType::CgroupDevice
            | ProgramType::CgroupSockAddr
            | ProgramType::CgroupSysctl
            | ProgramType::CgroupSockopt
            | ProgramType::LircMode2
            | ProgramType::FlowDissector
            | ProgramType::Netfilter => Needs::Network,
        }
    }
}

/// Makes an error of an error number, looking for the cause where it is a refusal.
pub(crate) fn explain(
    kernel: &dyn Kernel,
    needs: Needs,
    call: &'static str,
    errno: Errno,
    about: impl Into<String>,
) -> Error {
    match errno {
        Errno::PERM | Errno::ACCES => Error::permission(call, cause(kernel, needs)),
        Errno::NOSYS => Error::Unsupported {
            feature: call.to_owned(),
            since: None,
        },
        _ => Error::os(call, errno, about),
    }
}

#[cfg(all(test, feature = "explain"))]
mod tests;
