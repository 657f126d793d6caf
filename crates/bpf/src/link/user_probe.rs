//! Uprobes: one place of a file by perf's own source, or many by one link.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use kscope_spec::{AttachType, ProgramType};
use kscope_sys::{Errno, LinkCreate, LinkTarget, PerfKind, SharedKernel};

use super::Link;
use super::kernel_probe::ProbeSource;
use super::perf::open_event;
use crate::error::Error;
use crate::program::Program;

/// A place in a file that processes execute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UprobePlace {
    /// Offset of the instruction in the file.
    pub offset: u64,
    /// Offset in the file of the counter that the kernel raises while a probe is there (a USDT
    /// probe's semaphore); 0 for none.
    pub counter: u64,
    /// What `bpf_get_attach_cookie` gives the program; one that is not 0 needs Linux 5.15.
    pub cookie: u64,
}

impl UprobePlace {
    /// An instruction without more.
    pub fn at(offset: u64) -> UprobePlace {
        UprobePlace {
            offset,
            ..UprobePlace::default()
        }
    }
}

/// What a uprobe is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Uprobe<'a> {
    /// The file.
    pub path: &'a Path,
    /// Where in it.
    pub place: UprobePlace,
    /// Whether the program runs when the function there returns.
    pub on_return: bool,
    /// The one process whose executions count; `None` for all.
    pub pid: Option<u32>,
}

impl<'a> Uprobe<'a> {
    /// Runs at an offset into a file, in all processes.
    pub fn new(path: &'a Path, offset: u64) -> Uprobe<'a> {
        Uprobe {
            path,
            place: UprobePlace::at(offset),
            on_return: false,
            pid: None,
        }
    }
}

impl Uprobe<'_> {
    /// Gives the perf event that it is, with how people call it; `name` is its path.
    fn event<'n>(
        &self,
        kernel: &SharedKernel,
        name: &'n CStr,
    ) -> Result<(PerfKind<'n>, String), Error> {
        let source = ProbeSource::find(&**kernel, "uprobe")?;
        let UprobePlace {
            offset, counter, ..
        } = self.place;
        let (word, mut config) = match self.on_return {
            false => ("uprobe", 0),
            true => ("uretprobe", source.return_bit),
        };
        let target = format!("{word}:{}:{offset:#x}", self.path.display());
        // `ref_ctr_offset` is `config:32-63` of this source, since Linux 4.20.
        let counter = u32::try_from(counter).map_err(|_| {
            Error::invalid(format!(
                "{target}: a counter past the first 4 GiB of a file"
            ))
        })?;
        config |= u64::from(counter) << 32;
        let kind = PerfKind::Probe {
            source: source.number,
            config,
            name,
            offset,
        };
        Ok((kind, target))
    }
}

/// A uprobe that is there already, and at which no program runs yet.
///
/// The kernel waits for all CPUs when the first uprobe is put somewhere, some milliseconds. This is for who does something else
/// in the meantime, such as loading the program.
#[derive(Debug)]
pub struct OpenUprobe {
    event: OwnedFd,
    cookie: u64,
    target: String,
}

impl OpenUprobe {
    /// Puts a uprobe where processes execute it.
    ///
    /// # Errors
    ///
    /// As [`Program::attach_uprobe`], which tells more of what the kernel refuses.
    pub fn open(kernel: &SharedKernel, probe: &Uprobe<'_>) -> Result<OpenUprobe, Error> {
        let name = c_path(probe.path)?;
        let (kind, target) = probe.event(kernel, &name)?;
        match open_event(kernel, kind, probe.pid)? {
            Ok(event) => Ok(OpenUprobe {
                event,
                cookie: probe.place.cookie,
                target,
            }),
            Err(errno) => Err(Error::os("perf_event_open", errno, target)),
        }
    }
}

fn c_path(path: &Path) -> Result<CString, Error> {
    CString::new(path.as_os_str().as_bytes())
        .map_err(|_| Error::not_found("file", path.display().to_string()))
}

impl Program {
    /// Attaches a [`ProgramType::Kprobe`] program to an offset in a file that processes execute,
    /// or to the return of the function there; in one process or in all.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] for a kernel without uprobes, [`Error::NotFound`] for a path or
    /// process that is not there, [`Error::Os`] with `EINVAL` for an offset past the end.
    pub fn attach_uprobe(&self, probe: &Uprobe<'_>) -> Result<Link, Error> {
        if self.kind != ProgramType::Kprobe {
            return Err(self.wrong_kind("a uprobe"));
        }
        let name = c_path(probe.path)?;
        let (kind, target) = probe.event(&self.kernel, &name)?;
        self.attach_event(kind, probe.pid, probe.place.cookie, &target)
    }

    /// Attaches a [`ProgramType::Kprobe`] program to a uprobe that was put there before.
    ///
    /// # Errors
    ///
    /// As [`Program::attach_uprobe`].
    pub fn attach_open_uprobe(&self, probe: OpenUprobe) -> Result<Link, Error> {
        if self.kind != ProgramType::Kprobe {
            return Err(self.wrong_kind("a uprobe"));
        }
        self.attach_opened(probe.event, probe.cookie, &probe.target)
    }

    /// Attaches a [`ProgramType::Kprobe`] program, loaded as [`AttachType::TraceUprobeMulti`] or
    /// [`AttachType::TraceUprobeSession`], to many places of one file at once.
    ///
    /// # Errors
    ///
    /// As [`Program::attach_uprobe`]; [`Error::Invalid`] for no places.
    ///
    /// # Minimum kernel version
    ///
    /// Linux 6.6; sessions 6.13.
    pub fn attach_uprobe_multi(
        &self,
        path: &Path,
        places: &[UprobePlace],
        on_return: bool,
        pid: Option<u32>,
    ) -> Result<Link, Error> {
        let since = match self.expected() {
            Some(AttachType::TraceUprobeMulti) => "Linux 6.6",
            Some(AttachType::TraceUprobeSession) => "Linux 6.13",
            _ => return Err(self.wrong_kind("many uprobes")),
        };
        if places.is_empty() {
            return Err(Error::invalid("no place to probe"));
        }
        let offsets: Vec<u64> = places.iter().map(|place| place.offset).collect();
        let column = |of: fn(&UprobePlace) -> u64| -> Vec<u64> {
            let all: Vec<u64> = places.iter().map(of).collect();
            if all.iter().all(|&value| value == 0) {
                Vec::new()
            } else {
                all
            }
        };
        let counters = column(|place| place.counter);
        let cookies = column(|place| place.cookie);
        let name = c_path(path)?;
        let create = |path: &CString| {
            self.kernel.link_create(LinkCreate {
                program: self.as_fd(),
                attach_type: self.attach.attach_type(),
                target: LinkTarget::UprobeMulti {
                    path,
                    offsets: &offsets,
                    counters: &counters,
                    cookies: &cookies,
                    pid: pid.unwrap_or(0),
                    returns: on_return,
                },
            })
        };
        let target = format!("uprobe_multi:{}: {} places", path.display(), places.len());
        let fd = create(&name).map_err(|errno| match errno {
            Errno::NOENT => Error::not_found("file", path.display().to_string()),
            Errno::SRCH => Error::not_found("process", pid.unwrap_or(0).to_string()),
            // A kernel that knows such links says of a directory that it is no file.
            Errno::INVAL | Errno::TOO_BIG
                if create(&c"/".to_owned()).err() != Some(Errno::BADF) =>
            {
                Error::unsupported("links of many uprobes", since)
            }
            errno => self.failed("BPF_LINK_CREATE", errno, &target),
        })?;
        Ok(Link::of(&self.kernel, fd, target))
    }
}
