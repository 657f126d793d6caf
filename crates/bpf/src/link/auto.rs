//! Programs attached where their sections say.

use kscope_spec::{ProgramType, section};

use super::{KprobeAt, Link};
use crate::error::Error;
use crate::loader::Object;
use crate::program::Program;
use crate::search::has;

/// What came of attaching a program by its section.
#[derive(Debug)]
pub struct Attachment {
    /// The program's name, or the name of a table of functions.
    pub program: String,
    /// Its section.
    pub section: String,
    /// What came of it.
    pub outcome: AttachOutcome,
}

/// What came of attaching a program by its section.
#[derive(Debug)]
pub enum AttachOutcome {
    /// It is attached.
    Attached(Link),
    /// The section does not say where; the caller must, by this method.
    NeedsTarget {
        /// What it attaches to, for example `a network interface`.
        to: &'static str,
        /// The method of [`Program`] or [`Object`] that attaches it.
        method: &'static str,
    },
    /// It could not be attached.
    Failed(Error),
}

impl AttachOutcome {
    /// Gives the link; none where the program is not attached.
    pub fn link(self) -> Option<Link> {
        match self {
            AttachOutcome::Attached(link) => Some(link),
            AttachOutcome::NeedsTarget { .. } | AttachOutcome::Failed(_) => None,
        }
    }

    fn needs(to: &'static str, method: &'static str) -> AttachOutcome {
        AttachOutcome::NeedsTarget { to, method }
    }
}

impl std::fmt::Display for AttachOutcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            AttachOutcome::Attached(link) => write!(f, "attached to {}", link.target()),
            AttachOutcome::NeedsTarget { to, method } => {
                write!(f, "its section does not name {to}: {method} does")
            }
            AttachOutcome::Failed(error) => error.fmt(f),
        }
    }
}

impl Object {
    /// Attaches every loaded program to what its section names, and every table of functions,
    /// which stands for its programs. One that cannot be attached keeps no other from it; dropping
    /// a link detaches its program.
    pub fn attach(&self) -> Vec<Attachment> {
        let own = self
            .programs()
            .filter(|program| program.kind() != ProgramType::StructOps);
        let own = own.map(|program| Attachment {
            program: program.name().to_owned(),
            section: program.section().to_owned(),
            outcome: self.attach_program(program),
        });
        own.chain(self.attach_tables()).collect()
    }

    /// Attaches one program of this object to what its section names.
    ///
    /// [`Program::needs_target`] says beforehand whether the section names anything.
    pub fn attach_program(&self, program: &Program) -> AttachOutcome {
        let name = program.section();
        let target = section::target(name);
        let pattern = section::lookup(name).map_or("", |known| known.pattern);
        let Some(named) = Named::of(pattern) else {
            return elsewhere(pattern);
        };
        if target.is_empty() {
            if let Some(needs) = named.without_target() {
                return needs;
            }
        }
        let linked = match named {
            Named::Usdt => self.attach_marked_place(program, target),
            _ => program.attach_named(named, target, has(pattern, "ret")),
        };
        match linked {
            Ok(link) => AttachOutcome::Attached(link),
            Err(error) => AttachOutcome::Failed(error),
        }
    }
}

impl Program {
    /// Says what the program attaches to and which method attaches it, for a section that does not
    /// name it: what [`AttachOutcome::NeedsTarget`] says. None for what [`Object::attach`] attaches.
    #[must_use]
    pub fn needs_target(&self) -> Option<(&'static str, &'static str)> {
        let pattern = section::lookup(self.section()).map_or("", |known| known.pattern);
        let bare = section::target(self.section()).is_empty();
        let needs = match Named::of(pattern) {
            Some(named) if bare => named.without_target()?,
            Some(_) => return None,
            // Its table is attached for it.
            None if self.kind() == ProgramType::StructOps => return None,
            None => elsewhere(pattern),
        };
        match needs {
            AttachOutcome::NeedsTarget { to, method } => Some((to, method)),
            AttachOutcome::Attached(_) | AttachOutcome::Failed(_) => None,
        }
    }
}

/// How programs are attached whose section may name their target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Named {
    Kprobe,
    Ksyscall,
    KprobeMulti,
    /// Many functions by their types.
    Functions,
    Uprobe,
    UprobeMulti,
    Usdt,
    Tracepoint,
    RawTracepoint,
    /// By what was looked up when the program was loaded.
    Typed,
    Iterator,
    Extension,
}

impl Named {
    /// Reads the pattern of a section; none where it takes no target that can be attached to.
    pub(super) fn of(pattern: &str) -> Option<Named> {
        let head = pattern.strip_suffix('+')?;
        // Programs that may sleep, or write.
        let plain = head.strip_suffix(".s").or_else(|| head.strip_suffix(".w"));
        Some(match plain.unwrap_or(head) {
            "kprobe" | "kretprobe" => Named::Kprobe,
            "ksyscall" | "kretsyscall" => Named::Ksyscall,
            "kprobe.multi" | "kretprobe.multi" | "kprobe.session" => Named::KprobeMulti,
            "fentry.multi" | "fexit.multi" | "fsession.multi" => Named::Functions,
            "uprobe" | "uretprobe" => Named::Uprobe,
            "uprobe.multi" | "uretprobe.multi" | "uprobe.session" => Named::UprobeMulti,
            "usdt" => Named::Usdt,
            "tracepoint" | "tp" => Named::Tracepoint,
            "raw_tracepoint" | "raw_tp" => Named::RawTracepoint,
            "tp_btf" | "fentry" | "fexit" | "fmod_ret" | "fsession" | "lsm" => Named::Typed,
            "iter" => Named::Iterator,
            "freplace" => Named::Extension,
            _ => return None,
        })
    }

    /// Says what a section without a target leaves open, and which method attaches to it; none where
    /// the program was loaded for its target.
    fn without_target(self) -> Option<AttachOutcome> {
        let (to, method) = match self {
            Named::Kprobe => ("a kernel function", "Program::attach_kprobe"),
            Named::Ksyscall => ("a system call", "Program::attach_ksyscall"),
            Named::KprobeMulti => ("kernel functions", "Program::attach_kprobe_multi"),
            Named::Functions => ("functions", "Program::attach_functions"),
            Named::Uprobe => ("a place in a file", "Program::attach_uprobe"),
            Named::UprobeMulti => ("places in a file", "Program::attach_uprobe_multi"),
            Named::Usdt => ("a USDT probe", "Object::attach_usdt"),
            Named::Tracepoint => ("a tracepoint", "Program::attach_tracepoint"),
            Named::RawTracepoint => ("a raw tracepoint", "Program::attach_raw_tracepoint"),
            Named::Typed | Named::Iterator | Named::Extension => return None,
        };
        Some(AttachOutcome::needs(to, method))
    }
}

/// Says by which method a program is attached whose section cannot name its target.
fn elsewhere(kind: &str) -> AttachOutcome {
    let head = kind.trim_end_matches('+');
    let head = head.split(['/', '.']).next().unwrap_or_default();
    match head {
        "xdp" => AttachOutcome::needs("a network interface", "Program::attach_xdp"),
        "tcx" => AttachOutcome::needs("a network interface", "Program::attach_tcx"),
        "tc" | "classifier" => AttachOutcome::needs("a network interface", "Program::attach_tc"),
        "netkit" => AttachOutcome::needs("a netkit device", "Program::attach_netkit"),
        "cgroup" | "cgroup_skb" | "sockops" | "lsm_cgroup" => {
            AttachOutcome::needs("a cgroup", "Program::attach_cgroup")
        }
        "sk_skb" | "sk_msg" => {
            AttachOutcome::needs("a map of sockets", "Program::attach_socket_map")
        }
        "sk_lookup" | "flow_dissector" => {
            AttachOutcome::needs("a network namespace", "Program::attach_namespace")
        }
        "socket" => AttachOutcome::needs("a socket", "Program::attach_socket"),
        "sk_reuseport" => AttachOutcome::needs("a socket", "Program::attach_reuseport"),
        "netfilter" => AttachOutcome::needs("a netfilter hook", "Program::attach_netfilter"),
        "perf_event" => AttachOutcome::needs("a perf event", "Program::attach_perf"),
        "syscall" => AttachOutcome::needs("a caller", "Program::test_run"),
        "lwt_in" | "lwt_out" | "lwt_xmit" | "lwt_seg6local" => {
            AttachOutcome::needs("a route", "Program::attach_route")
        }
        "action" => AttachOutcome::needs("a network interface", "Program::attach_tc_action"),
        "lirc_mode2" => AttachOutcome::needs("an infrared receiver", "Program::attach_lirc"),
        "struct_ops" => AttachOutcome::needs("its table of functions", "Object::attach_table"),
        "" => AttachOutcome::needs("anything", "Program::attach_…"),
        _ => AttachOutcome::Failed(Error::Unsupported {
            feature: format!("attaching of section {head} by its name"),
            since: None,
        }),
    }
}

#[cfg(not(feature = "uprobe"))]
impl Object {
    fn attach_marked_place(&self, _: &Program, _: &str) -> Result<Link, Error> {
        Err(Error::left_out("USDT probes", "uprobe"))
    }
}

#[cfg(not(feature = "uprobe"))]
impl Program {
    fn attach_user_function(&self, _: &str, _: bool) -> Result<Link, Error> {
        Err(Error::left_out("uprobes", "uprobe"))
    }

    fn attach_user_functions(&self, target: &str, on_return: bool) -> Result<Link, Error> {
        self.attach_user_function(target, on_return)
    }
}

#[cfg(not(feature = "multi"))]
impl Program {
    fn attach_kprobe_multi_matching(&self, _: &str, _: bool) -> Result<Link, Error> {
        Err(Error::left_out("many functions at once", "multi"))
    }

    fn attach_functions_matching(&self, pattern: &str) -> Result<Link, Error> {
        self.attach_kprobe_multi_matching(pattern, false)
    }
}

#[cfg(not(feature = "iter"))]
impl Program {
    fn attach_whole_iterator(&self) -> Result<Link, Error> {
        Err(Error::left_out("iterators", "iter"))
    }
}

#[cfg(feature = "iter")]
impl Program {
    fn attach_whole_iterator(&self) -> Result<Link, Error> {
        self.attach_iterator_over(kscope_sys::IterOver::All)
    }
}

#[cfg(not(feature = "extend"))]
impl Program {
    fn attach_extension(&self) -> Result<Link, Error> {
        Err(Error::left_out("functions in others' place", "extend"))
    }
}

impl Program {
    /// Attaches to what the section names.
    fn attach_named(&self, named: Named, target: &str, on_return: bool) -> Result<Link, Error> {
        match named {
            Named::Kprobe => self
                .function_and_offset(target)
                .and_then(|at| self.attach_kprobe(&at, on_return, 0)),
            Named::Ksyscall => self.attach_ksyscall(target, on_return, 0),
            Named::KprobeMulti => self.attach_kprobe_multi_matching(target, on_return),
            Named::Functions => self.attach_functions_matching(target),
            Named::Uprobe => self.attach_user_function(target, on_return),
            Named::UprobeMulti => self.attach_user_functions(target, on_return),
            // These may have to write to maps of their object.
            Named::Usdt => Err(self.wrong_kind("a USDT probe by itself")),
            Named::Tracepoint => match target.split_once('/') {
                Some((category, name)) => self.attach_tracepoint(category, name, 0),
                None => Err(self.bad_target("tracepoint/category/name")),
            },
            Named::RawTracepoint => self.attach_raw_tracepoint(target, 0),
            Named::Typed => self.attach_typed(0),
            Named::Iterator => self.attach_whole_iterator(),
            Named::Extension => self.attach_extension(),
        }
    }

    pub(super) fn bad_target(&self, wanted: &str) -> Error {
        Error::invalid(format!(
            "section {} of program {} is not {wanted}",
            self.section, self.name
        ))
    }

    /// Reads `function+offset`.
    pub(super) fn function_and_offset(&self, target: &str) -> Result<KprobeAt, Error> {
        let (name, offset) = match target.split_once('+') {
            None => (target, Some(0)),
            Some((name, offset)) => (name, number(offset)),
        };
        let offset = offset.ok_or_else(|| self.bad_target("kprobe/function+offset"))?;
        let name = name.to_owned();
        Ok(KprobeAt::Function { name, offset })
    }
}

/// Reads a number, decimal or hexadecimal with `0x`.
pub(super) fn number(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}
