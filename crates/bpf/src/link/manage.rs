//! What can be done with a link that is there: replace, detach, pin, describe, list.

use std::fmt;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use kscope_spec::AttachType;
use kscope_sys::{Errno, LinkInfo, SharedKernel};

use super::Link;
use super::pin::{open_pin, pin};
use crate::denial::{Needs, explain};
use crate::error::Error;
use crate::program::Program;
use crate::unmounted::undescribed;

/// What the kernel knows of a BPF link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkDetails {
    /// Id, unique while the link lives.
    pub id: u32,
    /// Id of the program; 0 for a table of functions.
    pub program: u32,
    /// What it is attached to.
    pub kind: LinkKind,
    /// Calls of kernel functions at which the program could not run, for kinds of links that count
    /// them: more calls were under way than the kernel follows to their return, or they came while
    /// another probe was handled.
    ///
    /// # Minimum kernel version
    /// 6.7; 0 before
    pub missed: u64,
}

/// Kinds of BPF links, with what the kernel tells of each.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the fields are named as the kernel names them")]
pub enum LinkKind {
    /// A raw tracepoint.
    RawTracepoint { name: String },
    /// A BTF-typed tracepoint, a function, a return value, an LSM hook.
    Tracing {
        attach_type: Option<AttachType>,
        target_object: u32,
        target_type: u32,
    },
    /// A cgroup, by its id.
    Cgroup {
        cgroup: u64,
        attach_type: Option<AttachType>,
    },
    /// An iterator.
    Iterator { target: String },
    /// A network namespace, by its inode.
    Namespace {
        inode: u32,
        attach_type: Option<AttachType>,
    },
    /// An interface's XDP hook.
    Xdp { interface: u32 },
    /// A perf event; kernels before 6.6 do not say which.
    PerfEvent(PerfDetails),
    /// Many kernel functions.
    KprobeMulti { count: u32, on_return: bool },
    /// A table of functions.
    StructOps { map: u32 },
    /// A netfilter hook.
    Netfilter {
        family: u32,
        hook: u32,
        priority: i32,
    },
    /// An interface's tcx hook.
    Tcx {
        interface: u32,
        attach_type: Option<AttachType>,
    },
    /// Many places of a file.
    UprobeMulti {
        path: String,
        count: u32,
        on_return: bool,
        pid: u32,
    },
    /// A netkit device.
    Netkit {
        interface: u32,
        attach_type: Option<AttachType>,
    },
    /// A map of sockets.
    SockMap {
        map: u32,
        attach_type: Option<AttachType>,
    },
    /// Many functions at their entry, exit or both; Linux 7.2 does not say how many and which.
    TracingMulti {
        attach_type: Option<AttachType>,
        count: u32,
    },
    /// A kind that came after this release, by the kernel's number.
    Other(u32),
}

/// What a link on a perf event sits on.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are named as the kernel names them")]
pub enum PerfDetails {
    /// The kernel does not say.
    Unknown,
    /// A place in a file.
    Uprobe {
        path: String,
        offset: u64,
        on_return: bool,
    },
    /// A kernel function; the address is 0 for those who may not see it.
    Kprobe {
        function: String,
        offset: u64,
        address: u64,
        on_return: bool,
    },
    /// A tracepoint.
    Tracepoint { name: String },
    /// Another event, by type and `config`.
    Event { kind: u32, config: u64 },
}

fn missed(info: &LinkInfo) -> u64 {
    match (info.kind, info.u32(16)) {
        // A function or its return, by a perf event.
        (7, 3 | 4) => info.u64(48),
        (8, _) => info.u64(32),
        _ => 0,
    }
}

impl LinkKind {
    fn of(info: &LinkInfo) -> LinkKind {
        let text = || String::from_utf8_lossy(&info.text).into_owned();
        let attach_type = |at| AttachType::from_number(info.u32(at));
        match info.kind {
            1 => LinkKind::RawTracepoint { name: text() },
            2 => LinkKind::Tracing {
                attach_type: attach_type(16),
                target_object: info.u32(20),
                target_type: info.u32(24),
            },
            3 => LinkKind::Cgroup {
                cgroup: info.u64(16),
                attach_type: attach_type(24),
            },
            4 => LinkKind::Iterator { target: text() },
            5 => LinkKind::Namespace {
                inode: info.u32(16),
                attach_type: attach_type(20),
            },
            6 => LinkKind::Xdp {
                interface: info.u32(16),
            },
            7 => LinkKind::PerfEvent(PerfDetails::of(info)),
            8 => LinkKind::KprobeMulti {
                count: info.u32(24),
                on_return: info.u32(28) & 1 == 1,
            },
            9 => LinkKind::StructOps { map: info.u32(16) },
            10 => LinkKind::Netfilter {
                family: info.u32(16),
                hook: info.u32(20),
                priority: info.u32(24) as i32,
            },
            11 => LinkKind::Tcx {
                interface: info.u32(16),
                attach_type: attach_type(20),
            },
            12 => LinkKind::UprobeMulti {
                path: text(),
                count: info.u32(52),
                on_return: info.u32(56) & 1 == 1,
                pid: info.u32(60),
            },
            13 => LinkKind::Netkit {
                interface: info.u32(16),
                attach_type: attach_type(20),
            },
            14 => LinkKind::SockMap {
                map: info.u32(16),
                attach_type: attach_type(20),
            },
            15 => LinkKind::TracingMulti {
                attach_type: attach_type(16).filter(|_| info.u32(20) != 0),
                count: info.u32(20),
            },
            other => LinkKind::Other(other),
        }
    }
}

impl PerfDetails {
    fn of(info: &LinkInfo) -> PerfDetails {
        let text = String::from_utf8_lossy(&info.text).into_owned();
        match info.u32(16) {
            kind @ (1 | 2) => PerfDetails::Uprobe {
                path: text,
                offset: info.u32(36).into(),
                on_return: kind == 2,
            },
            kind @ (3 | 4) => PerfDetails::Kprobe {
                function: text,
                offset: info.u32(36).into(),
                address: info.u64(40),
                on_return: kind == 4,
            },
            5 => PerfDetails::Tracepoint { name: text },
            6 => PerfDetails::Event {
                config: info.u64(24),
                kind: info.u32(32),
            },
            _ => PerfDetails::Unknown,
        }
    }
}

impl fmt::Display for LinkKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hook = |attach_type: &Option<AttachType>| match attach_type {
            Some(attach_type) => format!("{attach_type:?}"),
            None => "a hook unknown here".to_owned(),
        };
        match self {
            LinkKind::RawTracepoint { name } => write!(f, "raw tracepoint {name}"),
            LinkKind::Tracing { attach_type, .. } => write!(f, "tracing {}", hook(attach_type)),
            LinkKind::Cgroup {
                cgroup,
                attach_type,
            } => write!(f, "cgroup {cgroup} {}", hook(attach_type)),
            LinkKind::Iterator { target } => write!(f, "iterator {target}"),
            LinkKind::Namespace { inode, attach_type } => {
                write!(f, "network namespace {inode} {}", hook(attach_type))
            }
            LinkKind::Xdp { interface } => write!(f, "xdp of interface {interface}"),
            LinkKind::PerfEvent(PerfDetails::Unknown) => f.write_str("perf event"),
            LinkKind::PerfEvent(PerfDetails::Uprobe {
                path,
                offset,
                on_return,
            }) => {
                let word = if *on_return { "uretprobe" } else { "uprobe" };
                write!(f, "{word} {path}:{offset:#x}")
            }
            LinkKind::PerfEvent(PerfDetails::Kprobe {
                function,
                offset,
                on_return,
                ..
            }) => {
                let word = if *on_return { "kretprobe" } else { "kprobe" };
                write!(f, "{word} {function}+{offset:#x}")
            }
            LinkKind::PerfEvent(PerfDetails::Tracepoint { name }) => {
                write!(f, "tracepoint {name}")
            }
            LinkKind::PerfEvent(PerfDetails::Event { kind, config }) => {
                write!(f, "perf event of type {kind}, config {config:#x}")
            }
            LinkKind::KprobeMulti { count, .. } => write!(f, "{count} kernel functions"),
            LinkKind::StructOps { map } => write!(f, "table of functions in map {map}"),
            LinkKind::Netfilter {
                family,
                hook,
                priority,
            } => write!(
                f,
                "netfilter family {family} hook {hook} priority {priority}"
            ),
            LinkKind::Tcx {
                interface,
                attach_type,
            }
            | LinkKind::Netkit {
                interface,
                attach_type,
            } => write!(f, "{} of interface {interface}", hook(attach_type)),
            LinkKind::UprobeMulti { path, count, .. } => write!(f, "{count} places of {path}"),
            LinkKind::SockMap { map, attach_type } => {
                write!(f, "sockets of map {map} {}", hook(attach_type))
            }
            LinkKind::TracingMulti { count: 0, .. } => f.write_str("functions"),
            LinkKind::TracingMulti { attach_type, count } => {
                write!(f, "{count} functions {}", hook(attach_type))
            }
            LinkKind::Other(kind) => write!(f, "a link of kind {kind}, unknown here"),
        }
    }
}

impl Link {
    /// Puts another program in this one's place; no event is lost between the two.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] for a kind of link whose program cannot be replaced (what is
    /// attached by perf events, functions, tracepoints), [`Error::Invalid`] for a program of
    /// another type.
    pub fn update(&self, program: &Program) -> Result<(), Error> {
        self.exchange(program, None)
    }

    /// Puts another program in the place of `old`, if that is what the link holds.
    ///
    /// # Errors
    ///
    /// As [`Link::update`]; [`Error::Os`] with `EPERM` where it holds another.
    pub fn replace(&self, old: &Program, program: &Program) -> Result<(), Error> {
        self.exchange(program, Some(old))
    }

    fn exchange(&self, program: &Program, old: Option<&Program>) -> Result<(), Error> {
        let old_fd = old.map(AsFd::as_fd);
        let updated = self
            .kernel
            .link_update(self.bpf_link()?, program.as_fd(), old_fd);
        updated.map_err(|errno| match errno {
            Errno::INVAL | Errno::OPNOTSUPP | Errno::NOTSUPP => {
                let updatable = self.details().is_ok_and(|details| {
                    matches!(
                        details.kind,
                        LinkKind::Cgroup { .. }
                            | LinkKind::Namespace { .. }
                            | LinkKind::Xdp { .. }
                            | LinkKind::Tcx { .. }
                            | LinkKind::Netkit { .. }
                            | LinkKind::SockMap { .. }
                            | LinkKind::Iterator { .. }
                    )
                });
                if updatable {
                    Error::invalid(format!(
                        "program {} cannot take the place of the one at {}: it has another type or attach type",
                        program.name(),
                        self.target
                    ))
                } else {
                    Error::Unsupported {
                        feature: format!("another program for a link of {}", self.target),
                        since: None,
                    }
                }
            }
            // `old` is not there any more: not a matter of what this process may do.
            Errno::PERM if old.is_some() => Error::os("BPF_LINK_UPDATE", errno, &self.target),
            errno => program.failed("BPF_LINK_UPDATE", errno, &self.target),
        })
    }

    /// Gives the link a name in the BPF file system, by which it outlives the process.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for what is no BPF link, [`Error::NotMounted`], [`Error::Os`] with
    /// `EEXIST` for a name that is taken.
    pub fn pin(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        pin(&*self.kernel, path.as_ref(), self.bpf_link()?)
    }

    /// Opens a link that is pinned.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`], [`Error::Invalid`] for another pinned object.
    pub fn open_pinned(kernel: &SharedKernel, path: impl AsRef<Path>) -> Result<Link, Error> {
        let fd = open_pin(&**kernel, path.as_ref())?;
        Link::adopt(kernel, fd, &path.as_ref().display().to_string())
    }

    /// Opens a link by its id. Dropping it detaches nothing as long as somebody else holds it.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`], [`Error::Permission`].
    pub fn by_id(kernel: &SharedKernel, id: u32) -> Result<Link, Error> {
        let fd = kernel.link_by_id(id).map_err(|errno| match errno {
            Errno::NOENT => Error::not_found("link with id", id.to_string()),
            errno => explain(
                &**kernel,
                Needs::Admin,
                "BPF_LINK_GET_FD_BY_ID",
                errno,
                format!("link {id}"),
            ),
        })?;
        Link::adopt(kernel, fd, &format!("link {id}"))
    }

    fn adopt(kernel: &SharedKernel, fd: OwnedFd, about: &str) -> Result<Link, Error> {
        let mut link = Link::of(kernel, fd, about);
        // Programs and maps answer the same question with other fields.
        link.target = match link.details() {
            Ok(details) => details.kind.to_string(),
            Err(error @ Error::NotMounted { .. }) => return Err(error),
            Err(_) => return Err(Error::invalid(format!("{about} is no BPF link"))),
        };
        Ok(link)
    }

    /// Lists the ids of all links of the kernel, ascending. Those that come or go meanwhile may
    /// or may not be in it.
    ///
    /// # Errors
    ///
    /// [`Error::Permission`].
    pub fn ids(kernel: &SharedKernel) -> Result<Vec<u32>, Error> {
        let mut ids = Vec::new();
        let mut last = 0;
        loop {
            match kernel.link_next_id(last) {
                // Ascending, so that the walk ends.
                Ok(id) if id > last => {
                    ids.push(id);
                    last = id;
                }
                Ok(_) | Err(Errno::NOENT) => return Ok(ids),
                Err(errno) => {
                    return Err(explain(
                        &**kernel,
                        Needs::Admin,
                        "BPF_LINK_GET_NEXT_ID",
                        errno,
                        "",
                    ));
                }
            }
        }
    }

    /// Gives what the kernel knows of the link.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for what is no BPF link.
    pub fn details(&self) -> Result<LinkDetails, Error> {
        let info = self.kernel.link_info(self.bpf_link()?);
        let info = info.map_err(|errno| undescribed(&*self.kernel, errno, &self.target))?;
        Ok(LinkDetails {
            id: info.id,
            program: info.program,
            kind: LinkKind::of(&info),
            missed: missed(&info),
        })
    }
}
