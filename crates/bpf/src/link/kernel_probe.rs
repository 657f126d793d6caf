//! Kprobes through perf's own source (Linux 4.17), which needs no tracefs.
//!
//! There is no fall-back to tracefs' `kprobe_events`: since 4.17 the same build option
//! (CONFIG_KPROBE_EVENTS) brings both, and a probe defined there would outlive a killed process.

use std::ffi::CString;
use std::path::Path;

use kscope_spec::ProgramType;
use kscope_sys::{Errno, Kernel, PerfKind};

use super::Link;
use crate::denial::Denial;
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

impl From<&str> for KprobeAt {
    /// The entry of a function.
    ///
    /// ```
    /// # use kscope_bpf::KprobeAt;
    /// let (name, offset) = ("vfs_read".to_owned(), 0);
    /// assert_eq!(KprobeAt::from("vfs_read"), KprobeAt::Function { name, offset });
    /// ```
    fn from(name: &str) -> KprobeAt {
        KprobeAt::from(name.to_owned())
    }
}

impl From<String> for KprobeAt {
    /// The entry of a function.
    fn from(name: String) -> KprobeAt {
        KprobeAt::Function { name, offset: 0 }
    }
}

/// One of perf's sources of probes.
pub(crate) struct ProbeSource {
    pub(crate) number: u32,
    pub(super) return_bit: u64,
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
        let number = kernel.read_file(&root.join("type"));
        let number = number.map_err(|errno| match errno {
            Errno::ACCES | Errno::PERM => Error::permission(
                "open",
                Denial::File {
                    path: root.display().to_string(),
                },
            ),
            _ => lacking(),
        })?;
        let number = String::from_utf8_lossy(&number).trim().parse();
        let number = number.map_err(|_| lacking())?;
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

    /// Attaches a [`ProgramType::Kprobe`] program to the kernel's function of a system call, named
    /// without prefix, for example `openat`.
    ///
    /// # Errors
    ///
    /// As [`Program::attach_kprobe`].
    pub fn attach_ksyscall(&self, name: &str, on_return: bool, cookie: u64) -> Result<Link, Error> {
        let mut outcome = Err(Error::not_found("system call", name));
        for function in syscall_functions(name) {
            let at = KprobeAt::Function {
                name: function,
                offset: 0,
            };
            match self.attach_kprobe(&at, on_return, cookie) {
                Err(Error::NotFound { .. }) => {}
                other => {
                    outcome = other;
                    break;
                }
            }
        }
        outcome
    }
}

/// Gives the names that a system call's function may have: with the wrapper of this architecture,
/// and as kernels without wrappers call it.
pub(super) fn syscall_functions(name: &str) -> [String; 3] {
    let arch = match std::env::consts::ARCH {
        "x86_64" => "x64",
        "aarch64" => "arm64",
        "riscv64" => "riscv",
        other => other,
    };
    [
        format!("__{arch}_sys_{name}"),
        format!("__se_sys_{name}"),
        format!("sys_{name}"),
    ]
}
