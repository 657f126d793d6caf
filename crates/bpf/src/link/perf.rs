//! Programs on perf events.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use kscope_spec::ProgramType;
use kscope_sys::{
    CpuSet, Errno, LinkCreate, LinkTarget, PerfEvent, PerfIoctl, PerfKind, PerfTarget, Sampling,
    SharedKernel,
};

use super::{Hold, Link};
use crate::error::Error;
use crate::program::Program;

/// `BPF_PERF_EVENT`.
const PERF_EVENT: u32 = 41;
/// Where the kernel has the highest rate of samples.
const MAX_RATE: &str = "/proc/sys/kernel/perf_event_max_sample_rate";
/// `PERF_COUNT_SW_CPU_CLOCK`.
const CPU_CLOCK: u64 = 0;
/// What every processor with counters counts: `PERF_COUNT_HW_CPU_CYCLES`, `PERF_COUNT_HW_INSTRUCTIONS`.
const EVERYWHERE: [u64; 2] = [0, 1];

impl Program {
    /// Runs a [`ProgramType::PerfEvent`] program by the CPU clock, on one CPU or on all that are
    /// online.
    ///
    /// # Errors
    ///
    /// [`Error::Permission`], or [`Error::Invalid`] for a rate that the kernel forbids
    /// (`kernel.perf_event_max_sample_rate`).
    pub fn attach_clock(&self, rate: Sampling, cpu: Option<u32>) -> Result<Link, Error> {
        self.attach_perf(PerfKind::Software(CPU_CLOCK), rate, cpu, 0)
    }

    /// Runs a [`ProgramType::PerfEvent`] program by the CPU clock of one CPU, the first that is
    /// online: a timer of the whole machine.
    ///
    /// # Errors
    ///
    /// As [`Program::attach_clock`].
    pub fn attach_timer(&self, rate: Sampling) -> Result<Link, Error> {
        let first = self.online_cpus()?.first().copied();
        self.attach_clock(rate, Some(first.unwrap_or(0)))
    }

    /// Runs a [`ProgramType::PerfEvent`] program by a sampling event, on one CPU or on all that
    /// are online now; those that come later are not sampled. A cookie that is not 0 needs Linux 5.15.
    ///
    /// # Errors
    ///
    /// As [`Program::attach_clock`]; [`Error::Unsupported`] for an event that the hardware does not
    /// count, or where the machine has no counters at all.
    pub fn attach_perf(
        &self,
        kind: PerfKind<'_>,
        rate: Sampling,
        cpu: Option<u32>,
        cookie: u64,
    ) -> Result<Link, Error> {
        if self.kind != ProgramType::PerfEvent {
            return Err(self.wrong_kind("a sampling perf event"));
        }
        let cpus = match cpu {
            Some(cpu) => vec![cpu],
            None => self.online_cpus()?,
        };
        let mut held = Vec::new();
        for &on in &cpus {
            let mut event = PerfEvent::new(kind, PerfTarget::Cpu(on));
            event.sampling = rate;
            event.disabled = true;
            match self.kernel.perf_event_open(event) {
                // It went away since the list was read.
                Err(Errno::NODEV) if cpu.is_none() => {}
                Err(errno) => {
                    let about = format!("a sampling event on CPU {on}");
                    let too_often = (errno == Errno::INVAL).then(|| self.too_often(rate));
                    let lacks = || self.lacks_counter(kind, errno);
                    let failed = || self.failed("perf_event_open", errno, &about);
                    return Err(too_often.flatten().or_else(lacks).unwrap_or_else(failed));
                }
                Ok(event) => held.push(self.run_on(event, cookie, "a sampling event")?),
            }
        }
        if held.is_empty() {
            return Err(Error::not_found("online CPU", "to sample on"));
        }
        let target = format!("{kind:?} on {} CPUs", held.len());
        Ok(Link::new(&self.kernel, hold(held), target))
    }

    /// Says why a hardware event is not there: this one alone, or all of them.
    fn lacks_counter(&self, kind: PerfKind<'_>, errno: Errno) -> Option<Error> {
        let PerfKind::Hardware(_) = kind else {
            return None;
        };
        if !matches!(errno, Errno::NOENT | Errno::OPNOTSUPP) {
            return None;
        }
        let counts = |number: &u64| {
            let event = PerfEvent::new(PerfKind::Hardware(*number), PerfTarget::Task(0));
            self.kernel.perf_event_open(event).is_ok()
        };
        let feature = match EVERYWHERE.iter().any(counts) {
            true => "such hardware event: its processors count others",
            false => {
                "hardware events: this machine shows no PMU, as virtual machines that are given none"
            }
        };
        Some(Error::Unsupported {
            feature: feature.to_owned(),
            since: None,
        })
    }

    /// Runs a [`ProgramType::PerfEvent`] program each time that memory is used as `access` says
    /// (bits of `HW_BREAKPOINT_*`: 1 reads, 2 writes, 4 executes), by the given threads and those
    /// they make, or without any by everybody. Processors have few of these, x86 four.
    ///
    /// # Errors
    ///
    /// As [`Program::attach_perf`]; [`Error::Os`] with `EINVAL` for places or lengths that the
    /// processor does not watch, `ENOSPC` where all its breakpoints are in use.
    pub fn attach_breakpoint(
        &self,
        address: u64,
        length: u64,
        access: u32,
        threads: &[u32],
    ) -> Result<Link, Error> {
        if self.kind != ProgramType::PerfEvent {
            return Err(self.wrong_kind("a breakpoint"));
        }
        let kind = PerfKind::Breakpoint {
            access,
            address,
            length,
        };
        let places: Vec<PerfTarget> = match threads {
            [] => self
                .online_cpus()?
                .into_iter()
                .map(PerfTarget::Cpu)
                .collect(),
            threads => threads.iter().copied().map(PerfTarget::Task).collect(),
        };
        let about = format!("a breakpoint at {address:#x}");
        let mut held = Vec::new();
        let mut failed = None;
        for place in places {
            let mut event = PerfEvent::new(kind, place);
            event.sampling = Sampling::Period(1);
            event.disabled = true;
            match self.kernel.perf_event_open(event) {
                // The CPU or the thread went away since the list was read.
                Err(Errno::NODEV | Errno::SRCH) => {}
                Err(errno) => failed = Some(self.failed("perf_event_open", errno, &about)),
                Ok(event) => held.push(self.run_on(event, 0, &about)?),
            }
        }
        match failed {
            Some(error) => return Err(error),
            None if held.is_empty() => return Err(Error::not_found("thread", "to watch")),
            None => {}
        }
        Ok(Link::new(&self.kernel, hold(held), about))
    }

    /// Runs a [`ProgramType::PerfEvent`] program on an event that the caller opened, of any kind
    /// that perf_event_open(2) has.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for a descriptor that is no perf event, else as
    /// [`Program::attach_perf`].
    pub fn attach_perf_fd(&self, event: OwnedFd, cookie: u64) -> Result<Link, Error> {
        if self.kind != ProgramType::PerfEvent {
            return Err(self.wrong_kind("a sampling perf event"));
        }
        let held = hold(vec![self.run_on(event, cookie, "an open perf event")?]);
        Ok(Link::new(&self.kernel, held, "an open perf event"))
    }

    /// Says so where a rate is above the one that the kernel allows.
    fn too_often(&self, rate: Sampling) -> Option<Error> {
        let Sampling::Frequency(wanted) = rate else {
            return None;
        };
        let limit = self.kernel.read_file(Path::new(MAX_RATE)).ok()?;
        let limit: u64 = String::from_utf8_lossy(&limit).trim().parse().ok()?;
        (wanted > limit).then(|| {
            Error::invalid(format!(
                "{wanted} samples a second are more than the {limit} that the kernel allows (raise it: \
                 sysctl kernel.perf_event_max_sample_rate={wanted})"
            ))
        })
    }

    pub(crate) fn online_cpus(&self) -> Result<Vec<u32>, Error> {
        online_cpus(&self.kernel)
    }

    /// Opens an event that fires the program on all CPUs whichever it is opened on, and attaches.
    pub(crate) fn attach_event(
        &self,
        kind: PerfKind<'_>,
        pid: Option<u32>,
        cookie: u64,
        target: &str,
    ) -> Result<Link, Error> {
        let event = open_event(&self.kernel, kind, pid)?;
        let event = event.map_err(|errno| match (errno, kind) {
            (Errno::NOENT, _) => Error::not_found("attach point", target),
            (Errno::SRCH, _) => Error::not_found("process", pid.unwrap_or_default().to_string()),
            (Errno::ADDR_NOT_AVAIL, _) => Error::invalid(format!(
                "{target}: the kernel has several functions of this name; give an address"
            )),
            (Errno::ILSEQ, _) => Error::invalid(format!("{target}: no instruction begins there")),
            (errno, _) => self.failed("perf_event_open", errno, target),
        })?;
        self.attach_opened(event, cookie, target)
    }

    /// Attaches to an event that was opened for it.
    pub(crate) fn attach_opened(
        &self,
        event: OwnedFd,
        cookie: u64,
        target: &str,
    ) -> Result<Link, Error> {
        let held = hold(vec![self.run_on(event, cookie, target)?]);
        Ok(Link::new(&self.kernel, held, target))
    }

    /// Makes the program run at an event: by a link (Linux 5.15), which then holds the event too;
    /// on older kernels by the ioctl, which knows no cookie.
    fn run_on(&self, event: OwnedFd, cookie: u64, target: &str) -> Result<Held, Error> {
        let created = self.kernel.link_create(LinkCreate {
            program: self.as_fd(),
            attach_type: PERF_EVENT,
            target: LinkTarget::PerfEvent {
                event: event.as_fd(),
                cookie,
            },
        });
        let held = match created {
            Ok(link) => Ok(link),
            Err(Errno::INVAL | Errno::TOO_BIG) if cookie == 0 => Err(()),
            Err(Errno::INVAL | Errno::TOO_BIG) if !self.takes_cookies() => {
                return Err(Error::unsupported("cookie of perf events", "Linux 5.15"));
            }
            Err(Errno::ACCES) => return Err(self.reads_too_far("BPF_LINK_CREATE", target)),
            Err(errno) => return Err(self.failed("BPF_LINK_CREATE", errno, target)),
        };
        if held.is_err() {
            let set = self
                .kernel
                .perf_ioctl(event.as_fd(), PerfIoctl::SetBpf(self.as_fd()));
            set.map_err(|errno| match errno {
                Errno::ACCES => self.reads_too_far("PERF_EVENT_IOC_SET_BPF", target),
                errno => self.failed("PERF_EVENT_IOC_SET_BPF", errno, target),
            })?;
        }
        let enabled = self.kernel.perf_ioctl(event.as_fd(), PerfIoctl::Enable);
        enabled.map_err(|errno| self.failed("PERF_EVENT_IOC_ENABLE", errno, target))?;
        Ok(match held {
            // The link keeps the event open.
            Ok(link) => Held::Link(link),
            Err(()) => Held::Event(event),
        })
    }

    /// Tells whether the kernel has links on perf events, and with them cookies: it is given one on what
    /// is no event, and `EBADF` means that an event was wanted.
    pub(crate) fn takes_cookies(&self) -> bool {
        let created = self.kernel.link_create(LinkCreate {
            program: self.as_fd(),
            attach_type: PERF_EVENT,
            target: LinkTarget::PerfEvent {
                event: self.as_fd(),
                cookie: 1,
            },
        });
        created.err() == Some(Errno::BADF)
    }

    /// Explains an `EACCES`, which is not a matter of permission: the kernel compares the largest
    /// offset that the verifier saw with the size of the event's record.
    pub(super) fn reads_too_far(&self, call: &'static str, target: &str) -> Error {
        if self.kind != ProgramType::Tracepoint {
            return Error::os(call, Errno::ACCES, target);
        }
        Error::invalid(format!(
            "program {} reads its context beyond the end of the record of {target}, whose fields \
             are in its file `format` in tracefs",
            self.name()
        ))
    }
}

fn online_cpus(kernel: &SharedKernel) -> Result<Vec<u32>, Error> {
    let cpus = kernel.cpus(CpuSet::Online);
    cpus.map_err(|e| Error::os("read", e, "the list of online CPUs"))
}

/// Opens an event that fires on all CPUs whichever it is opened on, or of one process; gives the kernel's refusal inside.
pub(super) fn open_event(
    kernel: &SharedKernel,
    kind: PerfKind<'_>,
    pid: Option<u32>,
) -> Result<Result<OwnedFd, Errno>, Error> {
    let place = match pid {
        Some(pid) => PerfTarget::Task(pid),
        None => PerfTarget::Cpu(online_cpus(kernel)?.first().copied().unwrap_or(0)),
    };
    Ok(kernel.perf_event_open(PerfEvent::new(kind, place)))
}

/// What keeps a program on one event.
enum Held {
    Link(OwnedFd),
    Event(OwnedFd),
}

/// Puts together what keeps a program on several.
fn hold(all: Vec<Held>) -> Hold {
    let (mut links, mut events) = (Vec::new(), Vec::new());
    for held in all {
        match held {
            Held::Link(fd) => links.push(fd),
            Held::Event(fd) => events.push(fd),
        }
    }
    // A kernel has links for all events or for none.
    if events.is_empty() {
        Hold::Links(links)
    } else {
        events.extend(links);
        Hold::Events(events)
    }
}
