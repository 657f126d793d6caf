//! What programs print for whoever debugs them: `bpf_printk`.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use kscope_sys::{Errno, SharedKernel};

use crate::denial::Denial;
use crate::error::Error;
use crate::tracefs::Tracefs;
use crate::waker::{WaitEnd, Waiter, Waker};

/// The event that programs' lines are.
const EVENT: &str = "bpf_trace_printk";
/// Bytes read at once.
const PART: usize = 1 << 16;
/// Longest line; the kernel cuts what programs print at 1,024 bytes.
const LONGEST: usize = 1 << 16;

/// A line that a program printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrintedLine {
    /// Name of the thread that the program ran in; `<...>` where the kernel did not keep it.
    pub comm: String,
    /// Id of that thread, in the initial pid namespace.
    pub tid: u32,
    /// The CPU.
    pub cpu: u32,
    /// When, by the clock that tracing is set to; by custom since boot.
    pub time: Duration,
    /// What was printed, without the end of the line.
    pub text: String,
}

impl PrintedLine {
    /// Reads a line of `trace_pipe`; none where it is no program's.
    ///
    /// ```
    /// let line = "        systemd-1       [000] d..21    12.000345: bpf_trace_printk: opened 3";
    /// let line = kscope_bpf::PrintedLine::parse(line).unwrap();
    /// assert_eq!((line.comm.as_str(), line.tid, line.text.as_str()), ("systemd", 1, "opened 3"));
    /// ```
    #[must_use]
    pub fn parse(line: &str) -> Option<PrintedLine> {
        // A thread's name may hold anything, brackets included.
        let mut places = line.match_indices(" [");
        places.find_map(|(at, _)| parse_at(line, at))
    }
}

fn parse_at(line: &str, at: usize) -> Option<PrintedLine> {
    let mut thread = line.get(..at)?.trim_end();
    // With the option `record-tgid` the process stands behind: "(   12)", "(-----)".
    if let Some(before) = thread.strip_suffix(')') {
        thread = before.get(..before.rfind('(')?)?.trim_end();
    }
    let (comm, tid) = thread.rsplit_once('-')?;
    let (cpu, rest) = line.get(at + 2..)?.split_once(']')?;
    // Flags may be left out; the time ends with a colon.
    let (head, rest) = rest.split_once(": ")?;
    let (seconds, fraction) = head.split_whitespace().next_back()?.split_once('.')?;
    let text = rest.strip_prefix(EVENT)?.strip_prefix(':')?;
    Some(PrintedLine {
        comm: comm.trim_start().to_owned(),
        tid: tid.parse().ok()?,
        cpu: cpu.trim().parse().ok()?,
        time: Duration::new(seconds.parse().ok()?, nanoseconds(fraction)?),
        text: text.strip_prefix(' ').unwrap_or(text).to_owned(),
    })
}

/// Reads the digits behind a point.
fn nanoseconds(fraction: &str) -> Option<u32> {
    let digits = u32::try_from(fraction.len()).ok().filter(|n| *n <= 9)?;
    let value: u32 = fraction.parse().ok()?;
    value.checked_mul(10u32.checked_pow(9 - digits)?)
}

/// Reads what all programs of the machine print with `bpf_printk` (`bpf_trace_printk`), as it comes.
///
/// It reads tracefs' `trace_pipe`: a line that one reader has taken no other gets, and those that were
/// printed before are the first. Events of other kinds that somebody traces are passed over.
#[derive(Debug)]
pub struct PrintedLog {
    kernel: SharedKernel,
    file: OwnedFd,
    waiter: Waiter,
    lines: Lines,
}

impl PrintedLog {
    /// Opens the log.
    ///
    /// # Errors
    ///
    /// [`Error::NotMounted`] or [`Error::Permission`] where tracefs cannot be reached,
    /// [`Error::Os`] with `EBUSY` where somebody else reads it on a kernel that allows one reader.
    pub fn open(kernel: &SharedKernel) -> Result<PrintedLog, Error> {
        let tracefs = Tracefs::find_or_mount(&**kernel)?;
        let path = tracefs.root().join("trace_pipe");
        let file = kernel.open_stream(&path).map_err(|errno| match errno {
            Errno::ACCES | Errno::PERM => Error::permission(
                "open",
                Denial::File {
                    path: path.display().to_string(),
                },
            ),
            errno => Error::os("open", errno, path.display().to_string()),
        })?;
        let waiter = Waiter::new(kernel)?;
        waiter.watch(file.as_fd(), 0)?;
        Ok(PrintedLog {
            kernel: kernel.clone(),
            file,
            waiter,
            lines: Lines::default(),
        })
    }

    /// Gives the next line; none where `timeout` has passed, a waker called or a signal came.
    ///
    /// # Errors
    ///
    /// [`Error::Os`] where the log cannot be read.
    pub fn next_line(&mut self, timeout: Duration) -> Result<Option<PrintedLine>, Error> {
        let begin = Instant::now();
        loop {
            // What can be read may be no whole line, or another event.
            if let Some(line) = self.take()? {
                return Ok(Some(line));
            }
            let left = timeout.saturating_sub(begin.elapsed());
            let ended = self.waiter.ended(Some(left))?;
            match ended {
                WaitEnd::Woken => return Ok(None),
                WaitEnd::Interrupted => return self.take(),
                WaitEnd::ReadyOrLate if left.is_zero() => return self.take(),
                WaitEnd::ReadyOrLate => {}
            }
        }
    }

    /// Gives the next line that is there already.
    fn take(&mut self) -> Result<Option<PrintedLine>, Error> {
        if let Some(line) = self.lines.ready.pop_front() {
            return Ok(Some(line));
        }
        let mut part = vec![0; PART];
        loop {
            if let Some(line) = self.lines.ready.pop_front() {
                return Ok(Some(line));
            }
            match self.kernel.read(self.file.as_fd(), &mut part) {
                Ok(0) | Err(Errno::AGAIN | Errno::INTR) => return Ok(None),
                Ok(count) => self.lines.add(part.get(..count).unwrap_or_default()),
                Err(errno) => return Err(Error::os("read", errno, "trace_pipe")),
            }
        }
    }

    /// Gives how many events the kernel dropped, those of others included, since nobody read them.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lines.lost
    }

    /// Gives what ends another thread's [`PrintedLog::next_line`].
    #[must_use]
    pub fn waker(&self) -> Waker {
        self.waiter.waker()
    }
}

impl AsFd for PrintedLog {
    /// Gives a descriptor for another epoll: readable when there are lines, or a waker called.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.waiter.as_fd()
    }
}

/// Bytes that become lines.
#[derive(Debug, Default)]
struct Lines {
    /// What has no end yet.
    open: Vec<u8>,
    ready: VecDeque<PrintedLine>,
    /// The last line's beginning, for what it goes on with: programs may print several lines at once.
    last: Option<PrintedLine>,
    lost: u64,
}

impl Lines {
    fn add(&mut self, bytes: &[u8]) {
        self.open.extend_from_slice(bytes);
        let mut start = 0;
        while let Some(end) = self.open.get(start..).and_then(newline) {
            let line = self.open.get(start..start + end).unwrap_or_default();
            let line = String::from_utf8_lossy(line).into_owned();
            start += end + 1;
            self.line(&line);
        }
        self.open.drain(..start.min(self.open.len()));
        if self.open.len() > LONGEST {
            self.open.clear();
        }
    }

    fn line(&mut self, line: &str) {
        if let Some(found) = PrintedLine::parse(line) {
            self.last = Some(found.clone());
            self.ready.push_back(found);
        } else if let Some(lost) = lost(line) {
            self.lost = self.lost.saturating_add(lost);
            self.last = None;
        } else if is_event(line) {
            self.last = None;
        } else if let Some(last) = self.last.as_ref().filter(|_| !line.is_empty()) {
            let text = line.to_owned();
            self.ready.push_back(PrintedLine {
                text,
                ..last.clone()
            });
        }
    }
}

fn newline(bytes: &[u8]) -> Option<usize> {
    bytes.iter().position(|byte| *byte == b'\n')
}

/// Reads "CPU:1 [LOST 23 EVENTS]".
fn lost(line: &str) -> Option<u64> {
    let (cpu, rest) = line.strip_prefix("CPU:")?.split_once(" [LOST ")?;
    let count = rest.strip_suffix(" EVENTS]")?;
    cpu.parse::<u32>().ok()?;
    // Newer kernels do not always know how many.
    Some(count.parse().unwrap_or(1))
}

/// Says whether a line begins another event: a thread, its CPU, a time.
fn is_event(line: &str) -> bool {
    let mut places = line.match_indices(" [");
    places.any(|(at, _)| {
        let rest = line.get(at + 2..).unwrap_or_default();
        let cpu = rest.split_once(']').map(|(cpu, rest)| (cpu.trim(), rest));
        cpu.is_some_and(|(cpu, rest)| cpu.parse::<u32>().is_ok() && rest.contains(": "))
    })
}

#[cfg(test)]
mod tests {
    use kscope_sys::{Call, Reply};

    use super::*;

    #[test]
    fn lines_are_read() {
        let check = |line: &str, expected: Option<(&str, u32, u32, u64, &str)>| {
            let found = PrintedLine::parse(line);
            let found = found.as_ref().map(|line| {
                let time = line.time.as_nanos() as u64;
                (
                    line.comm.as_str(),
                    line.tid,
                    line.cpu,
                    time,
                    line.text.as_str(),
                )
            });
            assert_eq!(found, expected, "{line}");
        };
        // Linux 5.10 and 6.18; with and without flags, with the process.
        check(
            "           <...>-1234    [001] d... 12345.678901: bpf_trace_printk: a b: c",
            Some(("<...>", 1234, 1, 12_345_678_901_000, "a b: c")),
        );
        check(
            "          kscope-16339   [001] ...2. 37197.997968: bpf_trace_printk: dbg 3",
            Some(("kscope", 16339, 1, 37_197_997_968_000, "dbg 3")),
        );
        check(
            "        my-[1] x-7       (-----) [012] 5.5: bpf_trace_printk: ",
            Some(("my-[1] x", 7, 12, 5_500_000_000, "")),
        );
        check(
            "   a-7       (    9) [012] ..... 5.5: bpf_trace_printk: [1] x",
            Some(("a", 7, 12, 5_500_000_000, "[1] x")),
        );
        check("   a-7  [0] ..... 5.5: sched_wakeup: comm=x", None);
        check("   a-7  [0] ..... five: bpf_trace_printk: x", None);
        check("   a-b  [0] ..... 5.5: bpf_trace_printk: x", None);
        check("CPU:1 [LOST 23 EVENTS]", None);
        check("", None);
    }

    #[test]
    fn what_is_no_line_yet_does_not_end_the_wait() {
        // What is read, one part after each wait; then a signal comes.
        let parts = [
            " a-7  [0] ..... 5.5: sched_wakeup: x\n",
            " a-7 [000] . 5.5: bpf_tra",
            "ce_printk: hi\n",
        ];
        let mut parts = parts.into_iter();
        let (mut waits, mut is_ready) = (0, false);
        let fake = kscope_sys::FakeKernel::new(move |call| match call {
            Call::Identity(_) => Ok(Reply::Identity(kscope_sys::FileIdentity {
                major: 0,
                minor: 1,
                inode: 2,
            })),
            Call::EpollWait { .. } if waits == 4 => Err(Errno::INTR),
            Call::EpollWait { .. } => {
                (waits, is_ready) = (waits + 1, true);
                Ok(Reply::Tokens(kscope_sys::EpollEvents::default()))
            }
            Call::EpollAdd { .. } => Ok(Reply::Done),
            Call::Read { into, .. } => {
                let ready = std::mem::take(&mut is_ready).then(|| parts.next());
                let part = ready.flatten().ok_or(Errno::AGAIN)?;
                let bytes = part.as_bytes();
                into[..bytes.len()].copy_from_slice(bytes);
                Ok(Reply::Number(bytes.len() as u64))
            }
            _ => kscope_sys::FakeKernel::object(),
        });
        let kernel: SharedKernel = std::sync::Arc::new(fake);
        let mut log = PrintedLog::open(&kernel).expect("a log");
        let mut next = || log.next_line(Duration::from_secs(600)).expect("readable");
        assert_eq!(next().map(|line| line.text).as_deref(), Some("hi"));
        assert_eq!(next(), None);
    }

    #[test]
    fn bytes_become_lines_however_they_come() {
        let head = " a-7 [000] ..... 5.5: ";
        let text = format!(
            "{head}bpf_trace_printk: one\n\n{head}bpf_trace_printk: two\nmore\nCPU:0 [LOST 23 EVENTS]\n\
             {head}sched_wakeup: comm=x\n rest of it\n{head}bpf_trace_printk: \u{fffd}\n{head}bpf_"
        );
        for step in [1, 7, 10_000] {
            let mut lines = Lines::default();
            text.as_bytes()
                .chunks(step)
                .for_each(|part| lines.add(part));
            let texts: Vec<&str> = lines.ready.iter().map(|line| line.text.as_str()).collect();
            assert_eq!(texts, ["one", "two", "more", "\u{fffd}"], "{step}");
            assert_eq!((lines.lost, lines.open.len()), (23, head.len() + 4));
        }
        let mut lines = Lines::default();
        for _ in 0..100 {
            lines.add(&[b'x'; 1000]);
        }
        assert!(lines.open.len() <= LONGEST);
    }
}
