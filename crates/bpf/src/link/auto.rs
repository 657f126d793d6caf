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
        let kind = section::lookup(name).map_or("", |known| known.pattern);
        if target.is_empty() {
            if let Some(needs) = without_target(kind) {
                return needs;
            }
        }
        let linked = match kind {
            "usdt+" | "usdt.s+" => self.attach_marked_place(program, target),
            _ => match program.attach_by_section(kind, target) {
                Some(linked) => linked,
                None => return elsewhere(kind),
            },
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
        let kind = section::lookup(self.section()).map_or("", |known| known.pattern);
        let bare = section::target(self.section()).is_empty();
        let needs = match bare.then(|| without_target(kind)).flatten() {
            Some(needs) => needs,
            // Its table is attached for it.
            None if self.kind() == ProgramType::StructOps => return None,
            None => elsewhere(kind),
        };
        match needs {
            AttachOutcome::NeedsTarget { to, method } => Some((to, method)),
            AttachOutcome::Attached(_) | AttachOutcome::Failed(_) => None,
        }
    }
}

/// Says by which method a program is attached whose section could name its target, and does not.
fn without_target(kind: &str) -> Option<AttachOutcome> {
    Some(match kind {
        "kprobe+" | "kretprobe+" => {
            AttachOutcome::needs("a kernel function", "Program::attach_kprobe")
        }
        "ksyscall+" | "kretsyscall+" => {
            AttachOutcome::needs("a system call", "Program::attach_ksyscall")
        }
        "kprobe.multi+" | "kretprobe.multi+" | "kprobe.session+" => {
            AttachOutcome::needs("kernel functions", "Program::attach_kprobe_multi")
        }
        "fentry.multi+" | "fentry.multi.s+" | "fexit.multi+" | "fexit.multi.s+"
        | "fsession.multi+" | "fsession.multi.s+" => {
            AttachOutcome::needs("functions", "Program::attach_functions")
        }
        "uprobe+" | "uprobe.s+" | "uretprobe+" | "uretprobe.s+" => {
            AttachOutcome::needs("a place in a file", "Program::attach_uprobe")
        }
        "uprobe.multi+" | "uprobe.multi.s+" | "uretprobe.multi+" | "uretprobe.multi.s+"
        | "uprobe.session+" | "uprobe.session.s+" => {
            AttachOutcome::needs("places in a file", "Program::attach_uprobe_multi")
        }
        "usdt+" | "usdt.s+" => AttachOutcome::NeedsTarget {
            to: "a USDT probe",
            method: "Object::attach_usdt",
        },
        "tracepoint+" | "tp+" | "tracepoint.s+" | "tp.s+" => {
            AttachOutcome::needs("a tracepoint", "Program::attach_tracepoint")
        }
        "raw_tracepoint+" | "raw_tp+" | "raw_tracepoint.s+" | "raw_tp.s+" | "raw_tracepoint.w+"
        | "raw_tp.w+" => AttachOutcome::needs("a raw tracepoint", "Program::attach_raw_tracepoint"),
        _ => return None,
    })
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

impl Program {
    /// Attaches to what the section names; none where it cannot name it.
    fn attach_by_section(&self, kind: &str, target: &str) -> Option<Result<Link, Error>> {
        let on_return = has(kind, "ret");
        Some(match kind {
            "kprobe+" | "kretprobe+" => self
                .function_and_offset(target)
                .and_then(|at| self.attach_kprobe(&at, on_return, 0)),
            "ksyscall+" | "kretsyscall+" => self.attach_ksyscall(target, on_return, 0),
            "kprobe.multi+" | "kretprobe.multi+" | "kprobe.session+" => {
                self.attach_kprobe_multi_matching(target, on_return)
            }
            "uprobe+" | "uprobe.s+" | "uretprobe+" | "uretprobe.s+" => {
                self.attach_user_function(target, on_return)
            }
            "uprobe.multi+" | "uprobe.multi.s+" | "uretprobe.multi+" | "uretprobe.multi.s+"
            | "uprobe.session+" | "uprobe.session.s+" => {
                self.attach_user_functions(target, on_return)
            }
            "tracepoint+" | "tp+" | "tracepoint.s+" | "tp.s+" => match target.split_once('/') {
                Some((category, name)) => self.attach_tracepoint(category, name, 0),
                None => Err(self.bad_target("tracepoint/category/name")),
            },
            "raw_tracepoint+" | "raw_tp+" | "raw_tracepoint.s+" | "raw_tp.s+"
            | "raw_tracepoint.w+" | "raw_tp.w+" => self.attach_raw_tracepoint(target, 0),
            "tp_btf+" | "tp_btf.s+" | "fentry+" | "fentry.s+" | "fexit+" | "fexit.s+"
            | "fmod_ret+" | "fmod_ret.s+" | "fsession+" | "fsession.s+" | "lsm+" | "lsm.s+" => {
                self.attach_typed(0)
            }
            "fentry.multi+" | "fentry.multi.s+" | "fexit.multi+" | "fexit.multi.s+"
            | "fsession.multi+" | "fsession.multi.s+" => self.attach_functions_matching(target),
            "iter+" | "iter.s+" => self.attach_iterator_over(kscope_sys::IterOver::All),
            "freplace+" => self.attach_extension(),
            _ => return None,
        })
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
