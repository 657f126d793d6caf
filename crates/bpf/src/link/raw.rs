//! Raw tracepoints, and what is attached by the BTF type given at load.

use std::ffi::CString;
use std::os::fd::AsFd;

#[cfg(feature = "explain")]
use kscope_btf::nearest;
use kscope_spec::{AttachKind, ProgramType};
use kscope_sys::{Errno, LinkCreate, LinkTarget};

use super::Link;
use crate::error::Error;
use crate::kallsyms;
use crate::program::Program;
use crate::search::has;

/// Gives the tracepoints of the kernel and its modules: each has a function that calls what is
/// attached (Linux 5.10).
#[cfg(feature = "explain")]
fn raw_tracepoints(symbols: &[u8]) -> impl Iterator<Item = &str> {
    kallsyms::functions(symbols).filter_map(|function| function.strip_prefix("__traceiter_"))
}

#[cfg(feature = "explain")]
fn no_raw_tracepoint(symbols: &[u8], name: &str) -> Error {
    // As `tracepoint/sched/sched_switch` has it, and this does not.
    let bare = name.rsplit(['/', ':']).next().unwrap_or(name);
    let near = match bare != name && raw_tracepoints(symbols).any(|one| one == bare) {
        true => vec![bare],
        false => nearest(bare, raw_tracepoints(symbols), 3),
    };
    Error::not_found_near("raw tracepoint", name, near)
}

impl Program {
    /// Says that there is no such raw tracepoint, and which are near.
    #[cfg(feature = "explain")]
    fn lacks_raw_tracepoint(&self, name: &str) -> Error {
        let symbols = kallsyms::read(&*self.kernel);
        no_raw_tracepoint(&symbols, name)
    }

    #[cfg(not(feature = "explain"))]
    fn lacks_raw_tracepoint(&self, name: &str) -> Error {
        Error::not_found("raw tracepoint", name)
    }
}

impl Program {
    /// Attaches a [`ProgramType::RawTracepoint`] program (or a writable one) to a tracepoint by its
    /// bare name.
    ///
    /// `cookie` is what `bpf_get_attach_cookie` gives the program; one that is not 0 needs
    /// Linux 6.10.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`] for an unknown tracepoint, [`Error::Unsupported`] for the cookie,
    /// [`Error::Invalid`] for a program that reads arguments which the tracepoint does not have.
    pub fn attach_raw_tracepoint(&self, name: &str, cookie: u64) -> Result<Link, Error> {
        if !matches!(
            self.kind,
            ProgramType::RawTracepoint | ProgramType::RawTracepointWritable
        ) {
            return Err(self.wrong_kind("a raw tracepoint"));
        }
        let c_name = CString::new(name).map_err(|_| Error::not_found("raw tracepoint", name))?;
        let opened = self
            .kernel
            .raw_tracepoint_open(self.as_fd(), Some(&c_name), cookie);
        let fd = opened.map_err(|errno| match errno {
            Errno::NOENT => self.lacks_raw_tracepoint(name),
            Errno::INVAL | Errno::TOO_BIG if cookie != 0 && !self.knows_raw_cookies(cookie) => {
                Error::unsupported("cookie of raw tracepoints", "Linux 6.10")
            }
            Errno::INVAL => self.too_much(name),
            errno => self.failed("BPF_RAW_TRACEPOINT_OPEN", errno, name),
        })?;
        Ok(Link::of(&self.kernel, fd, format!("rawtracepoint:{name}")))
    }

    /// Says why a raw tracepoint that is there does not take the program: bpf_probe_register
    /// (kernel/trace/bpf_trace.c) compares what the verifier saw.
    pub(super) fn too_much(&self, name: &str) -> Error {
        let mut why = format!("the program reads more arguments than raw tracepoint {name} has");
        if self.kind == ProgramType::RawTracepointWritable {
            why.push_str(", or writes more of the last one than programs may");
        }
        if has(&self.section, ".s/") {
            why.push_str(", or may not sleep there");
        }
        Error::invalid(why)
    }

    /// Looks for a tracepoint by its bare name among the kernel's symbols; where those do not tell, it
    /// is not known.
    #[cfg(feature = "uprobe")]
    pub(super) fn look_for_raw_tracepoint(&self, name: &str) -> Result<(), Error> {
        let symbols = kallsyms::read(&*self.kernel);
        let mut all = raw_tracepoints(&symbols).peekable();
        match all.peek().is_none() || all.any(|one| one == name) {
            true => Ok(()),
            false => Err(no_raw_tracepoint(&symbols, name)),
        }
    }

    /// Tells whether the kernel takes a cookie here: one that does looks for the tracepoint then.
    fn knows_raw_cookies(&self, cookie: u64) -> bool {
        let nowhere = Some(c"kscope_no_such_tracepoint");
        let opened = self
            .kernel
            .raw_tracepoint_open(self.as_fd(), nowhere, cookie);
        opened.err() == Some(Errno::NOENT)
    }

    /// Attaches a [`ProgramType::Tracing`] or [`ProgramType::Lsm`] program where it was loaded
    /// for: a BTF-typed tracepoint, a function's entry, exit, both, or return value, an LSM hook.
    /// A cookie that is not 0 needs Linux 5.19.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] where the kernel has no trampolines or no cookies here.
    pub fn attach_typed(&self, cookie: u64) -> Result<Link, Error> {
        let target = match &*self.attach {
            AttachKind::RawTracepointBtf(name) => format!("tp_btf:{name}"),
            AttachKind::FunctionEntry(name) => format!("fentry:{name}"),
            AttachKind::FunctionExit(name) => format!("fexit:{name}"),
            AttachKind::FunctionSession(name) => format!("fsession:{name}"),
            AttachKind::ModifyReturn(name) => format!("fmod_ret:{name}"),
            AttachKind::Lsm(name) => format!("lsm:{name}"),
            _ => return Err(self.wrong_kind("what it was loaded for")),
        };
        let opened = if cookie == 0 {
            self.kernel.raw_tracepoint_open(self.as_fd(), None, 0)
        } else {
            self.kernel.link_create(LinkCreate {
                program: self.as_fd(),
                attach_type: self.attach.attach_type(),
                target: LinkTarget::Loaded { cookie },
            })
        };
        let fd = opened.map_err(|errno| match errno {
            Errno::INVAL | Errno::TOO_BIG if cookie != 0 && !self.knows_typed_cookies() => {
                Error::unsupported("cookie of BTF-typed programs", "Linux 5.19")
            }
            Errno::NOTSUPP | Errno::OPNOTSUPP => no_trampolines(),
            errno if cookie != 0 => self.failed("BPF_LINK_CREATE", errno, &target),
            errno => self.failed("BPF_RAW_TRACEPOINT_OPEN", errno, &target),
        })?;
        Ok(Link::of(&self.kernel, fd, target))
    }

    /// Tells whether the kernel has cookies of trampolines, by the function with which programs ask for
    /// theirs (kernel/trace/bpf_trace.c, 2fcc82411e74): one without says `EINVAL` to all such links.
    fn knows_typed_cookies(&self) -> bool {
        kallsyms::has(&*self.kernel, "bpf_get_attach_cookie_tracing")
    }

    pub(crate) fn wrong_kind(&self, place: &str) -> Error {
        let (name, kind) = (&self.name, self.kind);
        Error::invalid(format!(
            "program {name} of type {kind:?} cannot be attached to {place}"
        ))
    }
}

pub(super) fn no_trampolines() -> Error {
    Error::Unsupported {
        feature: "BPF trampoline (fentry, fexit)".to_owned(),
        since: Some("CONFIG_DYNAMIC_FTRACE_WITH_DIRECT_CALLS"),
    }
}
