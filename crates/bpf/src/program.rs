//! A loaded program.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use kscope_spec::{AttachKind, LineInfo, ProgramId, ProgramType};
use kscope_sys::{Errno, ProgramInfo, SharedKernel, TestRun};

use crate::denial::{Needs, explain};
use crate::error::Error;
use crate::log::VerifierLog;
use crate::search::has;

/// A program that the verifier accepted. Clones are the same program.
#[derive(Clone, Debug)]
pub struct Program {
    pub(crate) kernel: SharedKernel,
    pub(crate) fd: Arc<OwnedFd>,
    pub(crate) name: Arc<str>,
    pub(crate) kind: ProgramType,
    pub(crate) attach: Arc<AttachKind>,
    /// Section of the object it came from; empty for compiled scripts.
    pub(crate) section: Arc<str>,
    /// What the verifier said, where it was asked.
    pub(crate) log: Option<Arc<VerifierLog>>,
}

/// A program that could not be loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramError {
    /// Which program of the spec.
    pub id: ProgramId,
    /// Its name.
    pub name: String,
    /// Why.
    pub error: Error,
    /// The place in the source that the verifier complains about.
    pub place: Option<LineInfo>,
    /// Name of the source file of that place; empty where it is not known.
    pub file: String,
}

impl ProgramError {
    /// Gives the error for whoever does not have this program's name.
    pub(crate) fn named(&self) -> Error {
        self.error.copied().of_program(&self.name)
    }

    /// Says where in the source and at which instruction it failed, as `x.bpf.c:12, instruction 3`,
    /// where that is known and the error does not say it itself.
    pub fn position(&self) -> Option<String> {
        let Error::Rejected { log, .. } = &self.error else {
            return None;
        };
        let insn = log.insn?;
        Some(match (&self.place, self.file.as_str()) {
            (Some(place), "") => format!("line {}, instruction {insn}", place.line),
            (Some(place), file) => format!("{file}:{}, instruction {insn}", place.line),
            (None, _) => format!("instruction {insn}"),
        })
    }
}

impl fmt::Display for ProgramError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let message = self.error.to_string();
        if !has(&message, &format!("program {}", self.name)) {
            write!(f, "program {}: ", self.name)?;
        }
        f.write_str(&message)?;
        match self.position() {
            Some(position) => write!(f, " ({position})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for ProgramError {}

/// What a program is given in a trial run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TestInput<'a> {
    /// The context; for raw tracepoints an array of 64-bit arguments.
    pub context: &'a [u8],
    /// The packet, for types that see one (at least 14 bytes).
    pub data: &'a [u8],
    /// Runs; 0 and 1 are one run.
    pub repeat: u32,
    /// CPU to run on, raw tracepoints only.
    pub cpu: Option<u32>,
}

/// What a trial run gave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TestOutput {
    /// The program's return value.
    pub result: u32,
    /// Mean nanoseconds of a run, where the type measures it.
    pub duration: u32,
    /// The packet afterwards.
    pub data: Vec<u8>,
}

/// What the kernel knows of a loaded program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProgramStats {
    /// Id, unique while the program lives.
    pub id: u32,
    /// Nanoseconds spent in it while statistics were on (see [`crate::RunStats`]).
    pub run_time: u64,
    /// Runs while statistics were on.
    pub runs: u64,
    /// Runs left out because the program already ran on that CPU.
    pub recursion_misses: u64,
    /// Size in bytes of the code after verification.
    pub translated_bytes: u32,
    /// Size in bytes of the machine code.
    pub jited_bytes: u32,
    /// Instructions the verifier walked through; 0 before Linux 5.16.
    pub verified_insns: u32,
}

impl From<ProgramInfo> for ProgramStats {
    fn from(info: ProgramInfo) -> ProgramStats {
        ProgramStats {
            id: info.id,
            run_time: info.run_time,
            runs: info.runs,
            recursion_misses: info.recursion_misses,
            translated_bytes: info.translated_bytes,
            jited_bytes: info.jited_bytes,
            verified_insns: info.verified_insns,
        }
    }
}

#[cfg(test)]
impl Program {
    /// Makes a program called `p` of a kernel that a test plays.
    pub(crate) fn fake(
        kernel: kscope_sys::FakeKernel,
        kind: ProgramType,
        attach: AttachKind,
        section: &str,
    ) -> Program {
        let Ok(kscope_sys::Reply::Fd(fd)) = kscope_sys::FakeKernel::object() else {
            panic!("/dev/null")
        };
        Program {
            kernel: Arc::new(kernel),
            fd: Arc::new(fd),
            name: "p".into(),
            kind,
            attach: Arc::new(attach),
            section: section.into(),
            log: None,
        }
    }
}

/// Bytes by which a packet may grow in a trial run: more than what bpf_xdp_adjust_head, bpf_xdp_adjust_tail
/// and the like allow.
const GROWTH: usize = 8192;

impl Program {
    /// Gives the name of the spec.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Gives the type.
    pub fn kind(&self) -> ProgramType {
        self.kind
    }

    /// Gives the section of the object it came from, for example `tracepoint/sched/sched_switch`;
    /// empty for compiled scripts.
    pub fn section(&self) -> &str {
        &self.section
    }

    /// Gives what it was loaded to attach to.
    pub fn attach_kind(&self) -> &AttachKind {
        &self.attach
    }

    /// Gives what the verifier said of it, where [`crate::Loader::log_level`] asked for it.
    pub fn log(&self) -> Option<&VerifierLog> {
        self.log.as_deref()
    }

    pub(crate) fn failed(&self, call: &'static str, errno: Errno, about: &str) -> Error {
        explain(&*self.kernel, Needs::of(self.kind), call, errno, about)
    }

    /// Runs the program once, or `repeat` times, without its attach point.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] for types that cannot be run so (kprobe, tracepoint, perf event);
    /// [`Error::Os`] with `ENOSPC` for a packet that grows by more than 8 KiB.
    pub fn test_run(&self, input: &TestInput<'_>) -> Result<TestOutput, Error> {
        let room = match input.data.len() {
            0 => 0,
            size => size.saturating_add(GROWTH),
        };
        let mut data = vec![0; room];
        let run = TestRun {
            program: Some(self.fd.as_fd()),
            data_in: input.data,
            data_out: &mut data,
            context_in: input.context,
            context_out: &mut [],
            repeat: input.repeat,
            cpu: input.cpu,
        };
        let outcome = self.kernel.test_run(run).map_err(|errno| match errno {
            Errno::NOTSUPP | Errno::OPNOTSUPP => Error::Unsupported {
                feature: format!("trial run of {:?} programs", self.kind),
                since: None,
            },
            errno => self.failed("BPF_PROG_TEST_RUN", errno, &self.name),
        })?;
        data.truncate(outcome.data_size as usize);
        Ok(TestOutput {
            result: outcome.result,
            duration: outcome.duration,
            data,
        })
    }

    /// Gives run counts and sizes.
    ///
    /// # Errors
    ///
    /// What the kernel says.
    pub fn info(&self) -> Result<ProgramStats, Error> {
        let info = self.kernel.program_info(self.fd.as_fd());
        info.map(ProgramStats::from)
            .map_err(|errno| self.failed("BPF_OBJ_GET_INFO_BY_FD", errno, &self.name))
    }

    #[cfg(any(feature = "extend", feature = "network"))]
    pub(crate) fn must_be(&self, kind: ProgramType, place: &str) -> Result<(), Error> {
        if self.kind == kind {
            Ok(())
        } else {
            Err(self.wrong_kind(place))
        }
    }

    /// Gives the attach type that was given at load, if there was one.
    #[cfg(any(feature = "multi", feature = "network", feature = "uprobe"))]
    pub(crate) fn expected(&self) -> Option<kscope_spec::AttachType> {
        match &*self.attach {
            AttachKind::Expected(attach_type) => Some(*attach_type),
            _ => None,
        }
    }
}

impl AsFd for Program {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
