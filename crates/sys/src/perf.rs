//! perf_event_open(2): events and the ioctls on them.

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd};

/// What an event counts or fires on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PerfKind<'a> {
    /// Hardware event `config` (`PERF_COUNT_HW_*`).
    Hardware(u64),
    /// Software event `config` (`PERF_COUNT_SW_*`); 0 is the CPU clock.
    Software(u64),
    /// Tracepoint with the id that tracefs gives.
    Tracepoint(u64),
    /// A probe through the kernel's `kprobe` or `uprobe` event source.
    Probe {
        /// The source's number, from `/sys/bus/event_source/devices/{kprobe,uprobe}/type`.
        source: u32,
        /// Bits of `config`: the return-probe bit, a reference counter's offset.
        config: u64,
        /// Function name (kprobe) or path (uprobe).
        name: &'a CStr,
        /// Offset in the function (kprobe) or the file (uprobe), in bytes.
        offset: u64,
    },
    /// A breakpoint of the processor (`PERF_TYPE_BREAKPOINT`).
    Breakpoint {
        /// Bits of `HW_BREAKPOINT_*`: 1 reads, 2 writes, 4 executes.
        access: u32,
        /// Where.
        address: u64,
        /// How many bytes.
        length: u64,
    },
    /// A kprobe by address.
    ProbeAddress {
        /// The source's number.
        source: u32,
        /// Bits of `config`.
        config: u64,
        /// The kernel address.
        address: u64,
    },
}

/// How often a sampling event fires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sampling {
    /// Never by itself; the attach point fires the program.
    None,
    /// Once in this many units (nanoseconds for the CPU clock).
    Period(u64),
    /// This many times in a second.
    Frequency(u64),
}

/// Which task and CPU an event watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PerfTarget {
    /// Every task on this CPU.
    Cpu(u32),
    /// This process's given task, on any CPU (0 is the caller).
    Task(u32),
    /// This task, while on this CPU.
    TaskOnCpu(u32, u32),
}

/// An event to be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PerfEvent<'a> {
    /// What it fires on.
    pub kind: PerfKind<'a>,
    /// How often.
    pub sampling: Sampling,
    /// Whom it watches.
    pub target: PerfTarget,
    /// Bits of `sample_type` (`PERF_SAMPLE_*`).
    pub sample_type: u64,
    /// Counts lost samples (`PERF_FORMAT_LOST`, Linux 6.0), which `PerfRing::lost` gives.
    pub count_lost: bool,
    /// Wakes a reader after this many bytes instead of each event.
    pub wakeup_watermark: Option<u32>,
    /// Starts when `PerfIoctl::Enable` is given, not at once.
    pub disabled: bool,
}

impl<'a> PerfEvent<'a> {
    /// Describes an event that fires on every occurrence and is at once enabled.
    pub fn new(kind: PerfKind<'a>, target: PerfTarget) -> PerfEvent<'a> {
        PerfEvent {
            kind,
            sampling: Sampling::None,
            target,
            sample_type: 0,
            count_lost: false,
            wakeup_watermark: None,
            disabled: false,
        }
    }

    /// The event that `bpf_perf_event_output` writes to on one CPU: raw samples, waking a reader
    /// after `watermark` bytes, or at each sample where that is 0.
    pub fn bpf_output(cpu: u32, watermark: u32) -> PerfEvent<'a> {
        const SW_BPF_OUTPUT: u64 = 10;
        const SAMPLE_RAW: u64 = 1 << 10;
        PerfEvent {
            kind: PerfKind::Software(SW_BPF_OUTPUT),
            sampling: Sampling::Period(1),
            target: PerfTarget::Cpu(cpu),
            sample_type: SAMPLE_RAW,
            count_lost: true,
            wakeup_watermark: Some(watermark).filter(|&bytes| bytes > 0),
            disabled: false,
        }
    }

    /// Encodes `struct perf_event_attr`, version 5 (112 bytes, Linux 4.1).
    pub(crate) fn attr(&self) -> [u8; ATTR_SIZE] {
        const FORMAT_LOST: u64 = 1 << 4;
        const FLAG_DISABLED: u64 = 1;
        const FLAG_INHERIT: u64 = 1 << 1;
        const FLAG_FREQ: u64 = 1 << 10;
        const FLAG_WATERMARK: u64 = 1 << 14;
        let (kind, config, config1, config2) = match self.kind {
            PerfKind::Hardware(config) => (0, config, 0, 0),
            PerfKind::Software(config) => (1, config, 0, 0),
            PerfKind::Tracepoint(id) => (2, id, 0, 0),
            PerfKind::Probe {
                source,
                config,
                name,
                offset,
            } => (source, config, name.as_ptr() as u64, offset),
            PerfKind::ProbeAddress {
                source,
                config,
                address,
            } => (source, config, 0, address),
            PerfKind::Breakpoint {
                address, length, ..
            } => (5, 0, address, length),
        };
        let mut flags = if self.disabled { FLAG_DISABLED } else { 0 };
        let breakpoint = matches!(self.kind, PerfKind::Breakpoint { .. });
        if breakpoint && !matches!(self.target, PerfTarget::Cpu(_)) {
            // Threads that the task makes are watched as well.
            flags |= FLAG_INHERIT;
        }
        let period = match self.sampling {
            Sampling::None => 0,
            Sampling::Period(period) => period,
            Sampling::Frequency(hertz) => {
                flags |= FLAG_FREQ;
                hertz
            }
        };
        // Without a watermark, one event wakes the reader; that only matters to mapped events.
        let wakeup = match self.wakeup_watermark {
            Some(bytes) => {
                flags |= FLAG_WATERMARK;
                bytes
            }
            None => u32::from(self.sample_type != 0),
        };
        let mut attr = [0; ATTR_SIZE];
        let mut put = |at: usize, bytes: &[u8]| {
            attr[at..at + bytes.len()].copy_from_slice(bytes);
        };
        put(0, &kind.to_ne_bytes());
        put(4, &(ATTR_SIZE as u32).to_ne_bytes());
        put(8, &config.to_ne_bytes());
        put(16, &period.to_ne_bytes());
        put(24, &self.sample_type.to_ne_bytes());
        put(
            32,
            &(if self.count_lost { FORMAT_LOST } else { 0 }).to_ne_bytes(),
        );
        put(40, &flags.to_ne_bytes());
        put(48, &wakeup.to_ne_bytes());
        if let PerfKind::Breakpoint { access, .. } = self.kind {
            put(52, &access.to_ne_bytes());
        }
        put(56, &config1.to_ne_bytes());
        put(64, &config2.to_ne_bytes());
        attr
    }

    /// Gives the `pid` and `cpu` arguments.
    pub(crate) fn pid_and_cpu(&self) -> (i32, i32) {
        match self.target {
            PerfTarget::Cpu(cpu) => (-1, cpu as i32),
            PerfTarget::Task(pid) => (pid as i32, -1),
            PerfTarget::TaskOnCpu(pid, cpu) => (pid as i32, cpu as i32),
        }
    }
}

/// Size of `struct perf_event_attr` as passed.
pub(crate) const ATTR_SIZE: usize = 112;

/// An ioctl on a perf event.
#[derive(Clone, Copy, Debug)]
pub enum PerfIoctl<'a> {
    /// `PERF_EVENT_IOC_ENABLE`.
    Enable,
    /// `PERF_EVENT_IOC_DISABLE`.
    Disable,
    /// `PERF_EVENT_IOC_SET_BPF`: runs this program at each event.
    SetBpf(BorrowedFd<'a>),
}

impl PerfIoctl<'_> {
    /// Gives request number and argument.
    pub(crate) fn encode(&self) -> (u64, u64) {
        match self {
            PerfIoctl::Enable => (0x2400, 0),
            PerfIoctl::Disable => (0x2401, 0),
            PerfIoctl::SetBpf(program) => (0x4004_2408, program.as_raw_fd() as u64),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(event: PerfEvent<'_>, expected: &[(usize, u64)]) {
        let attr = event.attr();
        for &(at, value) in expected {
            let got = u64::from_ne_bytes(attr[at..at + 8].try_into().expect("8 bytes"));
            assert_eq!(got, value, "field at {at} of {event:?}");
        }
    }

    #[test]
    fn attributes_lie_where_the_kernel_reads_them() {
        let size = (ATTR_SIZE as u64) << 32;
        let cpu = PerfTarget::Cpu(3);
        check(
            PerfEvent::new(PerfKind::Tracepoint(77), cpu),
            &[(0, size | 2), (8, 77), (40, 0)],
        );
        check(
            PerfEvent::bpf_output(0, 0),
            &[
                (0, size | 1),
                (8, 10),
                (16, 1),
                (24, 1024),
                (32, 16),
                (48, 1),
            ],
        );
        check(PerfEvent::bpf_output(0, 4096), &[(40, 1 << 14), (48, 4096)]);
        let mut clock = PerfEvent::new(PerfKind::Software(0), cpu);
        clock.sampling = Sampling::Frequency(99);
        clock.disabled = true;
        check(clock, &[(8, 0), (16, 99), (40, (1 << 10) | 1)]);
        let name = c"vfs_read";
        let probe = PerfKind::Probe {
            source: 8,
            config: 1,
            name,
            offset: 4,
        };
        check(
            PerfEvent::new(probe, cpu),
            &[(0, size | 8), (8, 1), (56, name.as_ptr() as u64), (64, 4)],
        );
        let address = PerfKind::ProbeAddress {
            source: 8,
            config: 0,
            address: u64::MAX - 7,
        };
        check(PerfEvent::new(address, cpu), &[(56, 0), (64, u64::MAX - 7)]);
        let breakpoint = PerfKind::Breakpoint {
            access: 3,
            address: 0x1000,
            length: 8,
        };
        let access = 3 << 32;
        let watched = PerfEvent::new(breakpoint, cpu);
        check(
            watched,
            &[
                (0, 5 | 112 << 32),
                (40, 0),
                (48, access),
                (56, 0x1000),
                (64, 8),
            ],
        );
        // Of a task, whose new threads count as well.
        check(PerfEvent::new(breakpoint, PerfTarget::Task(5)), &[(40, 2)]);
    }

    #[test]
    fn targets_become_pid_and_cpu() {
        let of = |target| PerfEvent::new(PerfKind::Software(0), target).pid_and_cpu();
        assert_eq!(of(PerfTarget::Cpu(2)), (-1, 2));
        assert_eq!(of(PerfTarget::Task(9)), (9, -1));
        assert_eq!(of(PerfTarget::TaskOnCpu(9, 1)), (9, 1));
    }
}
