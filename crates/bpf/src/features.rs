//! What a kernel can do: tried out, never read off a version number.

mod probe;

#[cfg(feature = "uprobe")]
pub use probe::prepare_uprobes;
pub(crate) use probe::{knows_program, perf_cookie, since_program};

use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::sync::Mutex;

use kscope_btf::Btf;
use kscope_spec::{AttachKind, AttachType, HelperId, MapKind, ProgramType};
use kscope_sys::SharedKernel;

use crate::denial::{Denial, Lockdown, lockdown, no_secrets};
use crate::error::Error;
use crate::tracefs::{Tracefs, WAY_OUT};

/// Whether a kernel has something, and lets this process use it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Support {
    /// It is there and may be used.
    Available,
    /// It is not there.
    Missing {
        /// What is missing.
        feature: String,
        /// The kernel version or build option that brings it.
        since: Option<&'static str>,
    },
    /// The kernel refuses it.
    Refused {
        /// Why.
        why: Denial,
    },
}

impl Support {
    /// Tells whether it is there and may be used.
    pub fn is_available(&self) -> bool {
        *self == Support::Available
    }

    fn missing(feature: impl Into<String>, since: Option<&'static str>) -> Support {
        Support::Missing {
            feature: feature.into(),
            since,
        }
    }

    /// Turns the outcome of an attempt into an answer about `feature`.
    fn of<T>(outcome: Result<T, Error>, feature: &str, since: Option<&'static str>) -> Support {
        match outcome {
            Ok(_) => Support::Available,
            Err(Error::Permission { cause, .. }) => Support::Refused { why: cause },
            Err(Error::Unsupported { since: known, .. }) => {
                Support::missing(feature, known.or(since))
            }
            Err(_) => Support::missing(feature, since),
        }
    }
}

impl fmt::Display for Support {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Support::Available => f.write_str("available"),
            Support::Missing { since: None, .. } => f.write_str("missing"),
            Support::Missing {
                since: Some(since), ..
            } => {
                write!(f, "missing (comes with {since})")
            }
            Support::Refused { why } => write!(f, "refused: {why}"),
        }
    }
}

/// What was asked, as key of the answers that are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Question {
    Helper(ProgramType, u32),
    Map(MapKind),
    Program(ProgramType),
    Named(&'static str),
}

/// Answers questions about a kernel, each tried out once, when first asked.
#[derive(Debug)]
pub struct Features {
    kernel: SharedKernel,
    btf: Option<Btf>,
    known: Mutex<HashMap<Question, Support>>,
}

impl Features {
    /// Asks a kernel; `btf` are its types, if it has any.
    pub fn new(kernel: SharedKernel, btf: Option<&Btf>) -> Features {
        Features {
            kernel,
            btf: btf.cloned(),
            known: Mutex::new(HashMap::new()),
        }
    }

    fn answer(&self, question: Question, find_out: impl FnOnce() -> Support) -> Support {
        let known = self.known(question);
        known.unwrap_or_else(|| self.keep(question, find_out()))
    }

    fn known(&self, question: Question) -> Option<Support> {
        self.known.lock().ok()?.get(&question).cloned()
    }

    fn keep(&self, question: Question, support: Support) -> Support {
        if let Ok(mut found) = self.known.lock() {
            found.insert(question, support.clone());
        }
        support
    }

    /// Asks whether programs of a type may call a helper. Of programs that take the place of functions,
    /// and of those of tables of functions, that depends on the function: these may call none here.
    pub fn helper(&self, program: ProgramType, helper: HelperId) -> Support {
        let question = Question::Helper(program, helper.0);
        self.answer(question, || {
            probe::helper(&self.kernel, self.btf.as_ref(), program, helper)
        })
    }

    /// Asks for a kind of map.
    pub fn map(&self, kind: MapKind) -> Support {
        self.answer(Question::Map(kind), || probe::map(&self.kernel, kind))
    }

    /// Asks for a type of program.
    pub fn program(&self, kind: ProgramType) -> Support {
        self.answer(Question::Program(kind), || {
            probe::program(&self.kernel, self.btf.as_ref(), kind)
        })
    }

    /// Asks for ring buffers.
    pub fn ring_buffer(&self) -> Support {
        self.map(MapKind::RingBuf)
    }

    /// Asks for the kernel's own types.
    pub fn btf(&self) -> Support {
        self.answer(Question::Named("btf"), || {
            let there = self
                .kernel
                .identity(Path::new("/sys/kernel/btf/vmlinux"))
                .is_ok();
            if there || self.btf.is_some() {
                Support::Available
            } else {
                Support::missing("BTF", Some("CONFIG_DEBUG_INFO_BTF"))
            }
        })
    }

    /// Asks whether tracefs can be read.
    pub fn tracefs(&self) -> Support {
        self.answer(Question::Named("tracefs"), || {
            let found = Tracefs::find(&*self.kernel);
            Support::of(found, "tracefs", Some(WAY_OUT))
        })
    }

    /// Asks for kprobes.
    pub fn kprobe(&self) -> Support {
        self.answer(Question::Named("kprobe"), || {
            let found = probe::perf_probe(&self.kernel, "kprobe");
            match (found, no_secrets(&*self.kernel)) {
                (Ok(_), Some(why)) => Support::Refused { why },
                (found, _) => Support::of(found, "kprobes", None),
            }
        })
    }

    /// Asks for uprobes.
    pub fn uprobe(&self) -> Support {
        self.answer(Question::Named("uprobe"), || {
            Support::of(probe::perf_probe(&self.kernel, "uprobe"), "uprobes", None)
        })
    }

    /// Asks for kprobes on many functions at once.
    pub fn kprobe_multi(&self) -> Support {
        self.answer(Question::Named("kprobe_multi"), || {
            probe::kprobe_multi(
                &self.kernel,
                AttachKind::Expected(AttachType::TraceKprobeMulti),
                "kprobe_multi",
            )
        })
    }

    /// Asks for entry and return of many functions by one program.
    pub fn kprobe_session(&self) -> Support {
        self.answer(Question::Named("kprobe_session"), || {
            probe::kprobe_multi(
                &self.kernel,
                AttachKind::Expected(AttachType::TraceKprobeSession),
                "kprobe_session",
            )
        })
    }

    /// Asks for uprobes at many places at once.
    #[cfg(feature = "uprobe")]
    pub fn uprobe_multi(&self) -> Support {
        self.answer(Question::Named("uprobe_multi"), || {
            probe::uprobe_multi(&self.kernel)
        })
    }

    /// Asks for entry and return of functions by one program, at many places at once. Kernels that have
    /// it (Linux 6.13) see all threads of the one process that places are for.
    #[cfg(feature = "uprobe")]
    pub fn uprobe_session(&self) -> Support {
        self.answer(Question::Named("uprobe_session"), || {
            probe::uprobe_session(&self.kernel)
        })
    }

    /// Asks for fentry and fexit, by attaching to a function of the kernel's that only tests call.
    pub fn function_entry(&self) -> Support {
        self.answer(Question::Named("fentry"), || {
            let attach = AttachKind::FunctionEntry("bpf_fentry_test1".to_owned());
            let loaded = probe::load(
                &self.kernel,
                self.btf.as_ref(),
                ProgramType::Tracing,
                attach,
            );
            let attached = loaded.and_then(|program| program.attach_typed(0));
            Support::of(attached, "fentry and fexit", Some("CONFIG_FUNCTION_TRACER"))
        })
    }

    /// Asks for tracepoints with typed arguments.
    pub fn typed_tracepoint(&self) -> Support {
        self.program(ProgramType::Tracing)
    }

    /// Asks for iterators over tasks.
    pub fn iterator(&self) -> Support {
        self.answer(Question::Named("iterator"), || {
            let attach = AttachKind::Iterator("task".to_owned());
            let loaded = probe::load(
                &self.kernel,
                self.btf.as_ref(),
                ProgramType::Tracing,
                attach,
            );
            let opened = loaded.and_then(|program| program.attach_iterator());
            Support::of(opened, "BPF iterators", Some("Linux 5.8"))
        })
    }

    /// Asks for cookies of tracepoints, kprobes and uprobes, which let one program serve many.
    pub fn perf_cookie(&self) -> Support {
        self.answer(Question::Named("perf_cookie"), || perf_cookie(&self.kernel))
    }

    /// Tells whether the kernel is locked down, and in which mode.
    pub fn lockdown(&self) -> Lockdown {
        lockdown(&*self.kernel)
    }

    /// Asks everything that does not depend on a script; the names are for people.
    pub fn all(&self) -> Vec<(&'static str, Support)> {
        vec![
            ("kernel types (BTF)", self.btf()),
            ("tracefs", self.tracefs()),
            ("tracepoint programs", self.program(ProgramType::Tracepoint)),
            (
                "raw tracepoint programs",
                self.program(ProgramType::RawTracepoint),
            ),
            ("typed tracepoints", self.typed_tracepoint()),
            ("kprobes", self.kprobe()),
            ("kprobes in mass", self.kprobe_multi()),
            ("kprobe sessions", self.kprobe_session()),
            ("uprobes", self.uprobe()),
            #[cfg(feature = "uprobe")]
            ("uprobes in mass", self.uprobe_multi()),
            ("fentry and fexit", self.function_entry()),
            ("perf event programs", self.program(ProgramType::PerfEvent)),
            ("iterators", self.iterator()),
            ("ring buffer", self.ring_buffer()),
            ("perf buffer", self.map(MapKind::PerfEventArray)),
            ("attach cookies", self.perf_cookie()),
        ]
    }
}

#[cfg(test)]
mod tests;
