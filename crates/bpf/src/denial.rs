//! Why the kernel said `EPERM`: found by probing, never guessed.

use std::fmt;
use std::path::Path;

use kscope_spec::{AttachKind, MapKind, ProgramType};
use kscope_sys::{Errno, Kernel, MapCreate, MapShape, ProgramLoad};

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
    Trampoline,
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
            Denial::Lockdown { .. } => "boot with lockdown=integrity, or without Secure Boot",
            Denial::File { .. } => "run as root",
            Denial::Trampoline => {
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
                write!(f, "the process lacks {}", missing.join(" and "))
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
            Denial::Trampoline => f.write_str(
                "the kernel refuses programs that hook functions, although it lets this process load \
                 tracing programs of other types",
            ),
            Denial::Kernel => f.write_str(
                "the process has the capabilities and may load other programs, but the kernel, or a \
                 security module of it, refuses this to everyone, root included",
            ),
        }
    }
}

/// What a refused call needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Needs {
    /// CAP_BPF: maps, and programs that read no kernel memory.
    Bpf,
    /// CAP_BPF and CAP_PERFMON: tracing programs and their links.
    Tracing,
    /// CAP_PERFMON: perf events.
    Perf,
    /// CAP_SYS_ADMIN: mounts, program ids, statistics.
    Admin,
    /// CAP_BPF and CAP_NET_ADMIN: programs that see packets.
    Network,
}

const NET_ADMIN: u64 = 1 << 12;
const SYS_ADMIN: u64 = 1 << 21;
const PERFMON: u64 = 1 << 38;
const BPF: u64 = 1 << 39;

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
            | ProgramType::CgroupSkb
            | ProgramType::SkReuseport => Needs::Bpf,
            ProgramType::SocketFilter
            | ProgramType::SchedCls
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

    fn missing(self, have: u64) -> Vec<&'static str> {
        let wanted: &[(u64, &'static str)] = match self {
            Needs::Bpf => &[(BPF | SYS_ADMIN, "CAP_BPF")],
            Needs::Tracing => &[
                (BPF | SYS_ADMIN, "CAP_BPF"),
                (PERFMON | SYS_ADMIN, "CAP_PERFMON"),
            ],
            Needs::Perf => &[(PERFMON | SYS_ADMIN, "CAP_PERFMON")],
            Needs::Admin => &[(SYS_ADMIN, "CAP_SYS_ADMIN")],
            Needs::Network => &[
                (BPF | SYS_ADMIN, "CAP_BPF"),
                (NET_ADMIN | SYS_ADMIN, "CAP_NET_ADMIN"),
            ],
        };
        wanted
            .iter()
            .filter(|(any, _)| have & any == 0)
            .map(|&(_, name)| name)
            .collect()
    }
}

/// Loads `r0 = 0; exit` as a socket filter: what every process with CAP_BPF may do.
pub(crate) fn smallest_program(kernel: &dyn Kernel) -> Result<(), Errno> {
    smallest(kernel, ProgramType::SocketFilter)
}

/// Tells whether the kernel refuses to hook functions alone: whether it takes a program at a raw
/// tracepoint, which needs the same capabilities.
pub(crate) fn trampolines(kernel: &dyn Kernel, attach: &AttachKind) -> Option<Denial> {
    let hooks = matches!(
        attach,
        AttachKind::FunctionEntry(_)
            | AttachKind::FunctionExit(_)
            | AttachKind::FunctionSession(_)
            | AttachKind::ModifyReturn(_)
            | AttachKind::Lsm(_)
            | AttachKind::LsmCgroup(_)
            | AttachKind::Extension(_)
    );
    let traces = hooks && smallest(kernel, ProgramType::RawTracepoint).is_ok();
    traces.then_some(Denial::Trampoline)
}

fn smallest(kernel: &dyn Kernel, kind: ProgramType) -> Result<(), Errno> {
    let insns = [0xb7, 0, 0, 0, 0, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0];
    let load = ProgramLoad {
        kind: kind as u32,
        name: "kscope_probe",
        insns: &insns,
        license: "GPL",
        ..ProgramLoad::default()
    };
    kernel.program_load(load).map(drop)
}

/// Reads the lockdown mode in force; `None` for none.
pub(crate) fn lockdown(kernel: &dyn Kernel) -> Option<String> {
    let bytes = kernel
        .read_file(Path::new("/sys/kernel/security/lockdown"))
        .ok()?;
    let text = std::str::from_utf8(&bytes).ok()?;
    let (_, rest) = text.split_once('[')?;
    let (mode, _) = rest.split_once(']')?;
    Some(mode.to_owned()).filter(|mode| mode != "none")
}

/// Finds out why a call that needs `needs` was refused.
pub(crate) fn cause(kernel: &dyn Kernel, needs: Needs) -> Denial {
    let have = kernel.capabilities().unwrap_or(u64::MAX);
    let missing = needs.missing(have);
    if !missing.is_empty() {
        return Denial::Capability { missing };
    }
    // CAP_PERFMON alone suffices for perf events, and then a refused program tells nothing.
    let may_load = Needs::Bpf.missing(have).is_empty();
    if may_load && smallest_program(kernel).is_err() {
        return match kernel.memlock() {
            // Where the limit counts, 64 KiB of it do not suffice for one program and one map.
            Ok(limit) if limit < 1 << 20 && kernel.raise_memlock().is_err() => {
                Denial::Memlock { limit }
            }
            _ => Denial::Confined,
        };
    }
    no_secrets(kernel)
        .or_else(|| paranoid(kernel, needs, have))
        .unwrap_or(Denial::Kernel)
}

/// Gives a missing `CAP_SYS_ADMIN` as the cause where `kernel.perf_event_paranoid` is above 2, as
/// Debian has it: some kernels take no `CAP_PERFMON` instead then.
fn paranoid(kernel: &dyn Kernel, needs: Needs, have: u64) -> Option<Denial> {
    if have & SYS_ADMIN != 0 || !matches!(needs, Needs::Tracing | Needs::Perf) {
        return None;
    }
    let bytes = kernel.read_file(Path::new("/proc/sys/kernel/perf_event_paranoid"));
    let text = String::from_utf8(bytes.ok()?).ok()?;
    let is_above = text.trim().parse::<i32>().ok()? > 2;
    let missing = "CAP_SYS_ADMIN (kernel.perf_event_paranoid is above 2)";
    is_above.then(|| Denial::Capability {
        missing: vec![missing],
    })
}

/// Gives lockdown as the cause where it forbids to look into the kernel. Integrity mode forbids
/// writing user memory only; tracing is what confidentiality forbids.
pub(crate) fn no_secrets(kernel: &dyn Kernel) -> Option<Denial> {
    lockdown(kernel)
        .filter(|mode| mode == "confidentiality")
        .map(|mode| Denial::Lockdown { mode })
}

/// Tells whether maps and programs count against a limit on locked memory that cannot be raised:
/// whether a map larger than the limit is refused. Asked where a map or program was, although the
/// smallest is not.
pub(crate) fn used_up(kernel: &dyn Kernel) -> Option<Denial> {
    const LARGEST: u64 = 64 << 20;
    const VALUE: u32 = 4096;
    let limit = kernel.memlock().ok().filter(|&limit| limit < LARGEST)?;
    if kernel.raise_memlock().is_ok() {
        return None;
    }
    let larger = MapCreate {
        shape: MapShape {
            kind: MapKind::Array as u32,
            key_size: 4,
            value_size: VALUE,
            max_entries: u32::try_from(limit / u64::from(VALUE)).ok()? + 1,
        },
        flags: 0,
        name: "kscope_probe",
        ..MapCreate::default()
    };
    let refused = matches!(kernel.map_create(larger), Err(Errno::PERM));
    refused.then_some(Denial::Memlock { limit })
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
        Errno::PERM | Errno::ACCES => Error::Permission {
            call,
            cause: cause(kernel, needs),
        },
        Errno::NOSYS => Error::Unsupported {
            feature: call.to_owned(),
            since: None,
        },
        _ => Error::os(call, errno, about),
    }
}

#[cfg(test)]
mod tests;
