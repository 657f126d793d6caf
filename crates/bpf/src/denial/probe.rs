//! The cause of a refusal, looked for by trying what else is refused.

use std::path::Path;

use kscope_spec::{AttachKind, MapKind, ProgramType};
use kscope_sys::{Errno, Kernel, MapCreate, MapShape, ProgramLoad};

use super::{Denial, Lockdown, Needs};
use crate::link::ProbeSource;
use crate::search::around;

const NET_ADMIN: u64 = 1 << 12;
pub(super) const SYS_ADMIN: u64 = 1 << 21;
pub(super) const PERFMON: u64 = 1 << 38;
pub(super) const BPF: u64 = 1 << 39;

impl Needs {
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
fn smallest_program(kernel: &dyn Kernel) -> Result<(), Errno> {
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
    traces.then(|| Denial::Trampoline {
        kprobes: ProbeSource::find(kernel, "kprobe").is_ok(),
    })
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

/// Reads the lockdown mode in force. It is not known where securityfs is not mounted, and not for
/// this process to mount.
pub(crate) fn lockdown(kernel: &dyn Kernel) -> Lockdown {
    let read = |file: &str| {
        let mounted = kernel.read_file(&Path::new("/sys/kernel/security").join(file));
        mounted.or_else(|_| kernel.read_detached("securityfs", file))
    };
    let bytes = match read("lockdown") {
        Ok(bytes) => bytes,
        // Every kernel with security modules has this one; without lockdown it has not the other.
        Err(Errno::NOENT) if read("lsm").is_ok() => return Lockdown::Off,
        Err(_) => return Lockdown::Unknown,
    };
    let text = String::from_utf8_lossy(&bytes);
    let mode = around(&text, "[").and_then(|(_, rest)| around(rest, "]"));
    match mode {
        Some(("none", _)) => Lockdown::Off,
        Some((mode, _)) => Lockdown::Mode(mode.to_owned()),
        None => Lockdown::Unknown,
    }
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
    match lockdown(kernel) {
        Lockdown::Mode(mode) if mode == "confidentiality" => Some(Denial::Lockdown { mode }),
        _ => None,
    }
}

/// Gives lockdown as the cause where it forbids to write the memory of processes, in either mode.
pub(crate) fn no_writes(kernel: &dyn Kernel) -> Option<Denial> {
    match lockdown(kernel) {
        Lockdown::Mode(mode) => Some(Denial::Lockdown { mode }),
        Lockdown::Off | Lockdown::Unknown => None,
    }
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
