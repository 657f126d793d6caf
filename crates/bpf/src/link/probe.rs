//! Kprobes and uprobes through perf's own sources (Linux 4.17), which need no tracefs.
//!
//! There is no fall-back to tracefs' `kprobe_events`: since 4.17 the same build option
//! (CONFIG_KPROBE_EVENTS) brings both, and a probe defined there would outlive a killed process.

use std::ffi::CString;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use kscope_spec::{AttachKind, AttachType, ProgramType};
use kscope_sys::{Errno, Kernel, LinkCreate, LinkTarget, PerfKind};

use super::Link;
use crate::error::Error;
use crate::program::Program;

/// Where a kprobe sits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KprobeAt {
    /// At an offset in bytes into a function; 0 is its entry.
    Function {
        /// Name of the function.
        name: String,
        /// Offset in bytes.
        offset: u64,
    },
    /// At an address.
    Address(u64),
}

/// One of perf's sources of probes.
pub(crate) struct ProbeSource {
    number: u32,
    return_bit: u64,
}

impl ProbeSource {
    /// Looks the source up in sysfs.
    pub(crate) fn find(kernel: &dyn Kernel, name: &'static str) -> Result<ProbeSource, Error> {
        let root = Path::new("/sys/bus/event_source/devices").join(name);
        let read = |file: &str| {
            let bytes = kernel.read_file(&root.join(file)).ok()?;
            Some(String::from_utf8_lossy(&bytes).trim().to_owned())
        };
        let lacking = || {
            let option = match name {
                "kprobe" => "CONFIG_KPROBE_EVENTS",
                _ => "CONFIG_UPROBE_EVENTS",
            };
            Error::Unsupported {
                feature: format!("{name}s"),
                since: Some(option),
            }
        };
        let number = read("type")
            .and_then(|text| text.parse().ok())
            .ok_or_else(lacking)?;
        // `config:0`
        let bit = read("format/retprobe")
            .and_then(|text| text.strip_prefix("config:")?.parse::<u32>().ok())
            .filter(|&bit| bit < 64)
            .unwrap_or(0);
        Ok(ProbeSource {
            number,
            return_bit: 1 << bit,
        })
    }
}

impl Program {
    /// Attaches a [`ProgramType::Kprobe`] program to a kernel function, or to its return. A cookie
    /// that is not 0 needs Linux 5.15.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] for a kernel without kprobes, [`Error::NotFound`] for an unknown
    /// function, [`Error::Os`] with `EINVAL` for one that must not be probed.
    pub fn attach_kprobe(
        &self,
        at: &KprobeAt,
        on_return: bool,
        cookie: u64,
    ) -> Result<Link, Error> {
        if self.kind != ProgramType::Kprobe {
            return Err(self.wrong_kind("a kprobe"));
        }
        let source = ProbeSource::find(&*self.kernel, "kprobe")?;
        let config = if on_return { source.return_bit } else { 0 };
        let word = if on_return { "kretprobe" } else { "kprobe" };
        let (c_name, kind, target);
        match at {
            KprobeAt::Function { name, offset } => {
                let text = CString::new(name.as_str());
                c_name = text.map_err(|_| Error::not_found("kernel function", name))?;
                kind = PerfKind::Probe {
                    source: source.number,
                    config,
                    name: &c_name,
                    offset: *offset,
                };
                target = match offset {
                    0 => format!("{word}:{name}"),
                    offset => format!("{word}:{name}+{offset}"),
                };
            }
            KprobeAt::Address(address) => {
                kind = PerfKind::ProbeAddress {
                    source: source.number,
                    config,
                    address: *address,
                };
                target = format!("{word}:{address:#x}");
            }
        }
        self.attach_event(kind, None, cookie, &target)
    }

    /// Attaches a [`ProgramType::Kprobe`] program, loaded as [`AttachType::TraceKprobeMulti`], to many
    /// kernel functions at once. `cookies` is empty or as long as `names`.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] for a kernel without it, [`Error::NotFound`] if one name is
    /// unknown, [`Error::Invalid`] for no names.
    ///
    /// # Minimum kernel version
    ///
    /// Linux 5.18 with CONFIG_FPROBE.
    pub fn attach_kprobe_multi(
        &self,
        names: &[&str],
        on_return: bool,
        cookies: &[u64],
    ) -> Result<Link, Error> {
        let session = match &*self.attach {
            AttachKind::Expected(AttachType::TraceKprobeMulti) => false,
            AttachKind::Expected(AttachType::TraceKprobeSession) => true,
            _ => return Err(self.wrong_kind("many kprobes")),
        };
        if names.is_empty() {
            return Err(Error::invalid("no function to probe"));
        }
        if !cookies.is_empty() && cookies.len() != names.len() {
            return Err(Error::invalid(
                "there must be one cookie for each function, or none",
            ));
        }
        let c_names = names.iter().map(|&name| CString::new(name));
        let c_names: Vec<_> = c_names
            .collect::<Result<_, _>>()
            .map_err(|_| Error::invalid("a name with a NUL"))?;
        let target = format!("kprobe_multi of {} functions", names.len());
        let created = self.kernel.link_create(LinkCreate {
            program: self.as_fd(),
            attach_type: self.attach.attach_type(),
            target: LinkTarget::KprobeMulti {
                names: &c_names,
                cookies,
                returns: on_return,
            },
        });
        let fd = created.map_err(|errno| match errno {
            Errno::SRCH => Error::not_found("kernel function", "of those to probe"),
            Errno::OPNOTSUPP | Errno::NOTSUPP => {
                Error::unsupported("kprobe_multi", "CONFIG_FPROBE")
            }
            Errno::INVAL if session => {
                Error::unsupported("kprobe_session", "Linux 6.10 with CONFIG_FPROBE")
            }
            Errno::INVAL => Error::unsupported("kprobe_multi", "Linux 5.18 with CONFIG_FPROBE"),
            errno => self.failed("BPF_LINK_CREATE", errno, &target),
        })?;
        Ok(Link::new(vec![fd], target))
    }

    /// Attaches a [`ProgramType::Kprobe`] program to an offset in a file that processes execute,
    /// or to the return of the function there; in one process or in all. A cookie that is not 0
    /// needs Linux 5.15.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] for a kernel without uprobes, [`Error::NotFound`] for a path or
    /// process that is not there, [`Error::Os`] with `EINVAL` for an offset past the end.
    pub fn attach_uprobe(
        &self,
        path: &Path,
        offset: u64,
        on_return: bool,
        pid: Option<u32>,
        cookie: u64,
    ) -> Result<Link, Error> {
        if self.kind != ProgramType::Kprobe {
            return Err(self.wrong_kind("a uprobe"));
        }
        let source = ProbeSource::find(&*self.kernel, "uprobe")?;
        let config = if on_return { source.return_bit } else { 0 };
        let name = CString::new(path.as_os_str().as_bytes())
            .map_err(|_| Error::not_found("file", path.display().to_string()))?;
        let kind = PerfKind::Probe {
            source: source.number,
            config,
            name: &name,
            offset,
        };
        let word = if on_return { "uretprobe" } else { "uprobe" };
        let target = format!("{word}:{}:{offset:#x}", path.display());
        self.attach_event(kind, pid, cookie, &target)
    }
}
