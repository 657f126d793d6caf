//! Refusals explained, by loading again and by trying what else the kernel refuses.

use kscope_spec::{AttachKind, HelperId, ProgramType, RelocKind, helper};
use kscope_sys::Errno;

use super::{Attempt, Refused, told};
use crate::denial::{Denial, Needs, cause, no_secrets, no_writes, trampolines, used_up};
use crate::error::Error;
use crate::log::VerifierLog;
use crate::search::{around, has};
#[cfg(feature = "token")]
use crate::token::{Wanted, missing};

impl Refused<'_> {
    /// Finds out why the program was refused, by loading it again with the verifier's log.
    pub(crate) fn why(&self, load: &Attempt<'_>) -> Error {
        let needs = Needs::of(self.program.kind);
        // The verifier says EACCES, and seldom EPERM, of programs as well.
        let denial = (self.errno == Errno::PERM).then(|| cause(self.kernel, needs));
        #[cfg(feature = "token")]
        let undelegated = || missing(self.kernel, Wanted::Program(self.program));
        #[cfg(not(feature = "token"))]
        let undelegated = || None;
        if let Some(cause) = denial.as_ref().and_then(|_| undelegated()) {
            return Error::permission("BPF_PROG_LOAD", cause);
        }
        if let Some(cause @ (Denial::Capability { .. } | Denial::Confined)) = denial {
            return Error::permission("BPF_PROG_LOAD", cause);
        }
        let log = VerifierLog::parse(&told(load, self));
        if let Some(absent) = self.absent(&log) {
            return Error::Unresolved {
                program: self.program.name.clone(),
                absent: Box::new(absent),
                log: Box::new(log),
            };
        }
        if let Some(helper) = unknown_helper(&log).or_else(|| self.calls_back()) {
            return Error::Unsupported {
                feature: format!("helper {helper}, which program {} calls", self.program.name),
                since: helper::since(helper),
            };
        }
        if overrides(&log) {
            return Error::Unsupported {
                feature: format!(
                    "helper bpf_override_return, which program {} calls",
                    self.program.name
                ),
                since: Some("CONFIG_BPF_KPROBE_OVERRIDE"),
            };
        }
        if let Some(locked) = self.locked_memory(&log) {
            return locked;
        }
        match denial {
            Some(cause @ Denial::Lockdown { .. }) => {
                Error::permission("reading kernel memory", cause)
            }
            _ if !log.telling_line.is_empty() => Error::Rejected {
                program: self.program.name.clone(),
                errno: self.errno,
                log: Box::new(log),
            },
            Some(cause) => Error::permission(
                "BPF_PROG_LOAD",
                used_up(self.kernel)
                    .or_else(|| trampolines(self.kernel, &self.program.attach))
                    .unwrap_or(cause),
            ),
            None => self.silent(),
        }
    }

    /// A refusal without a word of the verifier.
    fn silent(&self) -> Error {
        let program = self.program;
        let kind = program.kind;
        match self.errno {
            // The type is not built in, or came later.
            Errno::INVAL if !crate::features::knows_program(self.kernel, kind) => {
                Error::Unsupported {
                    feature: format!("program type {kind:?}"),
                    since: crate::features::since_program(kind),
                }
            }
            Errno::TOO_BIG if program.insns.len() > 1_000_000 => Error::invalid(format!(
                "program {} has {} instructions; the kernel takes at most 1,000,000",
                program.name,
                program.insns.len()
            )),
            Errno::TOO_BIG if program.insns.is_empty() => {
                Error::invalid(format!("program {} has no instructions", program.name))
            }
            Errno::NOTSUPP | Errno::OPNOTSUPP
                if kind == ProgramType::StructOps && program.attach == AttachKind::None =>
            {
                Error::invalid(format!(
                    "program {} (struct_ops) is in no table of functions: assign it to a member of \
                     a structure in SEC(\".struct_ops\") or SEC(\".struct_ops.link\")",
                    program.name
                ))
            }
            Errno::NOTSUPP | Errno::OPNOTSUPP => Error::Unsupported {
                feature: format!(
                    "way to attach program {}, {:?}",
                    program.name, program.attach
                ),
                since: None,
            },
            errno => Error::os("BPF_PROG_LOAD", errno, format!("program {}", program.name)),
        }
    }

    /// Gives the helper that takes a callback, where the kernel has no callbacks: such a kernel complains of the
    /// functions, not of the helper.
    fn calls_back(&self) -> Option<HelperId> {
        const CALL: u8 = 0x85;
        let relocs = &self.program.relocs;
        let mut callbacks = relocs
            .iter()
            .filter(|reloc| matches!(reloc.kind, RelocKind::Func(_)));
        callbacks.next()?;
        let insns = self
            .relocated
            .map_or(&self.program.insns, |done| &done.insns);
        let mut calls = insns
            .iter()
            .filter(|insn| insn.code == CALL && insn.src == 0);
        let lacks = |id: HelperId| {
            let name = helper::name(id)?;
            let constant = format!("BPF_FUNC_{name}");
            self.types.lacks("bpf_func_id", &constant).then_some(id)
        };
        // It came with them.
        lacks(helper::FOR_EACH_MAP_ELEM)?;
        calls.find_map(|insn| lacks(HelperId(u32::try_from(insn.imm).ok()?)))
    }

    /// Gives lockdown as the cause where a program lacks the helpers that lockdown takes away.
    fn locked_memory(&self, log: &VerifierLog) -> Option<Error> {
        // "unknown func bpf_probe_read_kernel#113", since Linux 6.9 "program of this type cannot use helper …".
        let lacks = |helper: &str| has(&log.telling_line, helper);
        let (call, cause) = match () {
            () if lacks(" bpf_probe_read") => ("reading kernel memory", no_secrets(self.kernel)),
            () if lacks(" bpf_probe_write_user") => {
                ("writing memory of processes", no_writes(self.kernel))
            }
            () => return None,
        };
        cause.map(|cause| Error::permission(call, cause))
    }
}

/// Finds the helper that the kernel has no number for: "invalid func unknown#195". Helpers that programs of this type
/// may not call have names there.
fn unknown_helper(log: &VerifierLog) -> Option<HelperId> {
    let (_, number) = around(&log.telling_line, "invalid func unknown#")?;
    let id = HelperId(number.trim().parse().ok()?);
    helper::name(id).map(|_| id)
}

/// Tells whether it is the helper that kernels have by a build option alone: without it, programs of the one type that
/// may call it are told what programs of other types are.
fn overrides(log: &VerifierLog) -> bool {
    has(&log.telling_line, " bpf_override_return")
}
