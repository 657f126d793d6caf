//! The attempts by which features are found out.

#[cfg(feature = "uprobe")]
use std::os::fd::AsRawFd;
#[cfg(feature = "uprobe")]
use std::path::Path;

use kscope_btf::Btf;
use kscope_spec::{
    AttachKind, AttachType, HelperId, Insn, MapKind, MapSpec, ProgramId, ProgramSpec, ProgramType,
    Spec,
};
use kscope_sys::{Errno, PerfEvent, PerfKind, PerfTarget, ProgramLoad, SharedKernel};

use super::Support;
use crate::create::{since, surely_right};
use crate::denial::{Needs, cause, explain};
use crate::error::Error;
use crate::link::ProbeSource;
#[cfg(feature = "uprobe")]
use crate::link::UprobePlace;
use crate::loader::Loader;
use crate::map::Map;
use crate::patch::encoded;
use crate::program::Program;
use crate::search::has;

/// Name of a function that no kernel has.
const NO_FUNCTION: &str = "kscope_no_such_function";

/// Loads a program that returns 0.
pub(super) fn load(
    kernel: &SharedKernel,
    btf: Option<&Btf>,
    kind: ProgramType,
    attach: AttachKind,
) -> Result<Program, Error> {
    let insns = [
        Insn {
            code: 0xb7,
            imm: 0,
            ..Insn::default()
        },
        Insn {
            code: 0x95,
            ..Insn::default()
        },
    ];
    let program = ProgramSpec {
        name: "kscope_probe".to_owned(),
        kind,
        attach,
        insns: insns.to_vec(),
        relocs: Vec::new(),
        lines: Vec::new(),
        funcs: Vec::new(),
        flags: flags(kind),
        ..ProgramSpec::default()
    };
    let spec = Spec {
        programs: vec![program],
        license: "GPL".to_owned(),
        ..Spec::default()
    };
    let object = Loader::new(kernel.clone()).btf(btf).load(&spec)?;
    object.program(ProgramId(0)).cloned()
}

/// Gives `BPF_F_SLEEPABLE` to programs of type syscall, which must have it.
fn flags(kind: ProgramType) -> u32 {
    if kind == ProgramType::Syscall {
        1 << 4
    } else {
        0
    }
}

pub(super) fn map(kernel: &SharedKernel, kind: MapKind) -> Support {
    let Some((shape, flags)) = surely_right(kind) else {
        return Support::missing(
            format!("map type {kind:?} that needs no types"),
            since(kind),
        );
    };
    let spec = MapSpec {
        name: "kscope_probe".to_owned(),
        kind,
        key_size: shape.key_size,
        value_size: shape.value_size,
        max_entries: shape.max_entries,
        flags,
        ..MapSpec::default()
    };
    Support::of(
        Map::create(kernel, &spec),
        &format!("map type {kind:?}"),
        None,
    )
}

/// Gives what a program of a type is loaded to attach to where the kernel takes none without; a hook or
/// tracepoint that every kernel has.
fn usual_attach(kind: ProgramType) -> AttachKind {
    let expected = match kind {
        // The only tracing program that needs no function to attach to.
        ProgramType::Tracing => return AttachKind::RawTracepointBtf("sched_switch".to_owned()),
        ProgramType::Lsm => return AttachKind::Lsm("file_open".to_owned()),
        ProgramType::CgroupSockAddr => AttachType::CgroupInet4Connect,
        ProgramType::CgroupSockopt => AttachType::CgroupGetsockopt,
        ProgramType::CgroupSock => AttachType::CgroupInetSockCreate,
        ProgramType::SkLookup => AttachType::SkLookup,
        ProgramType::SkReuseport => AttachType::SkReuseportSelect,
        ProgramType::LircMode2 => AttachType::LircMode2,
        ProgramType::Netfilter => AttachType::Netfilter,
        _ => return AttachKind::None,
    };
    AttachKind::Expected(expected)
}

/// Loads a program of a type. Those that take the place of functions, and those of tables of functions,
/// cannot be loaded by themselves: a kernel that has them complains of that alone.
pub(super) fn program(kernel: &SharedKernel, btf: Option<&Btf>, kind: ProgramType) -> Support {
    let feature = format!("program type {kind:?}");
    if !matches!(kind, ProgramType::Ext | ProgramType::StructOps) {
        let loaded = load(kernel, btf, kind, usual_attach(kind));
        return Support::of(loaded, &feature, since_program(kind));
    }
    match bare(&**kernel, kind) {
        (Err(Errno::INVAL), log) if log.is_empty() => Support::missing(feature, None),
        (Err(Errno::PERM), _) => Support::Refused {
            why: cause(&**kernel, Needs::of(kind)),
        },
        _ => Support::Available,
    }
}

/// Loads a program of one instruction; gives what the verifier says of it.
fn bare(kernel: &dyn kscope_sys::Kernel, kind: ProgramType) -> (Result<(), Errno>, String) {
    let mut said = vec![0; 1 << 16];
    let load = ProgramLoad {
        kind: kind as u32,
        name: "kscope_probe",
        insns: &[0x95, 0, 0, 0, 0, 0, 0, 0],
        license: "GPL",
        flags: flags(kind),
        log_level: 1,
        log: Some(&mut said),
        ..ProgramLoad::default()
    };
    let outcome = kernel.program_load(load).map(drop);
    let end = said
        .iter()
        .position(|&byte| byte == 0)
        .unwrap_or(said.len());
    said.truncate(end);
    (outcome, String::from_utf8_lossy(&said).into_owned())
}

/// Loads a program that calls the helper without arguments: a kernel that has it complains about
/// the arguments, or about nothing; one that has not about the helper.
pub(super) fn helper(
    kernel: &SharedKernel,
    btf: Option<&Btf>,
    kind: ProgramType,
    helper: HelperId,
) -> Support {
    let call = Insn {
        code: 0x85,
        imm: helper.0 as i32,
        ..Insn::default()
    };
    let insns = [
        call,
        Insn {
            code: 0xb7,
            ..Insn::default()
        },
        Insn {
            code: 0x95,
            ..Insn::default()
        },
    ];
    let insns = encoded(&insns);
    let mut log = vec![0; 1 << 16];
    let attach = usual_attach(kind);
    let target = attach.target().zip(btf).and_then(|(target, btf)| {
        let name = format!("{}{}", target.prefix, target.name);
        btf.find(&name, target.kind)
    });
    let (attach_type, attach_btf_id) = (attach.attach_type(), target.map_or(0, |id| id.0));
    let load = ProgramLoad {
        kind: kind as u32,
        attach_type,
        attach_btf_id,
        flags: flags(kind),
        name: "kscope_probe",
        insns: &insns,
        license: "GPL",
        log_level: 1,
        log: Some(&mut log),
        ..ProgramLoad::default()
    };
    let outcome = kernel.program_load(load);
    let text = String::from_utf8_lossy(&log);
    let missing = || Support::missing(format!("helper {} for {kind:?}", helper.0), None);
    match outcome {
        Ok(_) => Support::Available,
        // The words before and since Linux 6.14.
        Err(_)
            if ["invalid func ", "unknown func ", "cannot use helper"]
                .iter()
                .any(|words| text.contains(words)) =>
        {
            missing()
        }
        Err(Errno::PERM) => Support::Refused {
            why: cause(&**kernel, Needs::of(kind)),
        },
        // The verifier came to the helper's arguments.
        Err(_) if text.starts_with("0: ") || has(&text, "\n0: ") || has(&text, "R1 ") => {
            Support::Available
        }
        Err(_) => missing(),
    }
}

/// Opens a probe on what cannot be probed, a function or a file that is none: a process that may
/// not open any is refused before the kernel looks for it. Loads the program for it as well.
pub(super) fn perf_probe(kernel: &SharedKernel, source: &'static str) -> Result<(), Error> {
    let found = ProbeSource::find(&**kernel, source)?;
    load(kernel, None, ProgramType::Kprobe, AttachKind::None)?;
    let name = match source {
        "uprobe" => c"/",
        _ => c"kscope_no_such_function",
    };
    let kind = PerfKind::Probe {
        source: found.number,
        config: 0,
        name,
        offset: 0,
    };
    match kernel.perf_event_open(PerfEvent::new(kind, PerfTarget::Cpu(0))) {
        Err(errno @ (Errno::PERM | Errno::ACCES)) => Err(explain(
            &**kernel,
            Needs::Perf,
            "perf_event_open",
            errno,
            source,
        )),
        _ => Ok(()),
    }
}

/// Attaches to a function that is not there: `ESRCH` means that it was looked for.
pub(super) fn kprobe_multi(
    kernel: &SharedKernel,
    attach: AttachKind,
    feature: &'static str,
) -> Support {
    let loaded = load(kernel, None, ProgramType::Kprobe, attach);
    let attached =
        loaded.and_then(|program| program.attach_kprobe_multi(&[NO_FUNCTION], false, &[]));
    match attached {
        Err(Error::NotFound { .. }) => Support::Available,
        other => Support::of(other, feature, Some("CONFIG_FPROBE")),
    }
}

/// Attaches to a folder: a kernel that knows such links says that it is no file.
#[cfg(feature = "uprobe")]
pub(super) fn uprobe_multi(kernel: &SharedKernel) -> Support {
    let kind = AttachType::TraceUprobeMulti;
    uprobes(kernel, kind, "uprobe_multi", "Linux 6.6")
}

/// Asks for uprobes on entry and return at many places.
#[cfg(feature = "uprobe")]
pub(super) fn uprobe_session(kernel: &SharedKernel) -> Support {
    let kind = AttachType::TraceUprobeSession;
    uprobes(kernel, kind, "uprobe_session", "Linux 6.13")
}

#[cfg(feature = "uprobe")]
fn uprobes(kernel: &SharedKernel, kind: AttachType, feature: &str, since: &'static str) -> Support {
    let loaded = load(
        kernel,
        None,
        ProgramType::Kprobe,
        AttachKind::Expected(kind),
    );
    let places = [UprobePlace::at(0)];
    let attached = loaded
        .and_then(|program| program.attach_uprobe_multi(Path::new("/"), &places, false, None));
    match attached {
        Err(Error::Os {
            errno: Errno::BADF, ..
        }) => Support::Available,
        other => Support::of(other, feature, Some(since)),
    }
}

/// Puts a uprobe into a file that nobody executes, and takes it away again.
///
/// When the first of some time is put anywhere, the kernel waits for all CPUs, ten milliseconds and
/// more, and others that come after that, or meanwhile, have less to wait for or nothing. So who is about
/// to attach uprobes does this first, in a thread of its own, and goes on with what comes before them.
///
/// # Errors
///
/// As [`Program::attach_uprobe_multi`], with its minimum kernel version.
#[cfg(feature = "uprobe")]
pub fn prepare_uprobes(kernel: &SharedKernel) -> Result<(), Error> {
    let attach = AttachKind::Expected(AttachType::TraceUprobeMulti);
    let program = load(kernel, None, ProgramType::Kprobe, attach)?;
    let file = kernel.memory_file(c"kscope");
    let file = file.map_err(|errno| Error::os("memfd_create", errno, "an empty file"))?;
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    let link = program.attach_uprobe_multi(Path::new(&path), &[UprobePlace::at(0)], false, None);
    link.map(drop)
}

/// Asks for links on perf events, which bring the cookies.
pub(crate) fn perf_cookie(kernel: &SharedKernel) -> Support {
    const SINCE: Option<&str> = Some("Linux 5.15");
    const FEATURE: &str = "attach cookies";
    match load(kernel, None, ProgramType::Tracepoint, AttachKind::None) {
        Ok(program) if program.takes_cookies() => Support::Available,
        Ok(_) => Support::missing(FEATURE, SINCE),
        Err(error) => Support::of::<()>(Err(error), FEATURE, SINCE),
    }
}

/// Tells whether the kernel has a type of program at all: others are `EINVAL` whatever is in them.
pub(crate) fn knows_program(kernel: &dyn kscope_sys::Kernel, kind: ProgramType) -> bool {
    // A kind that is not built in is refused before anything is looked at; of one that is, the
    // verifier says that r0 has no value.
    match bare(kernel, kind) {
        (Err(Errno::INVAL), log) => !log.is_empty() || needs_target(kind),
        _ => true,
    }
}

/// Tells whether a type is refused without a word where no attach point is given.
fn needs_target(kind: ProgramType) -> bool {
    matches!(
        kind,
        ProgramType::Tracing
            | ProgramType::Lsm
            | ProgramType::Ext
            | ProgramType::StructOps
            | ProgramType::CgroupSock
            | ProgramType::CgroupSockAddr
            | ProgramType::CgroupSockopt
            | ProgramType::CgroupSkb
            | ProgramType::SkLookup
            | ProgramType::SkReuseport
            | ProgramType::Netfilter
    )
}

/// The version that brought a type of program, of those younger than the oldest kernel supported.
pub(crate) fn since_program(kind: ProgramType) -> Option<&'static str> {
    match kind {
        ProgramType::Syscall => Some("Linux 5.14"),
        ProgramType::Netfilter => Some("Linux 6.4"),
        _ => None,
    }
}
