//! Reading a perf buffer: one ring for each CPU that is online.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use kscope_spec::MapKind;
use kscope_sys::{CpuSet, Errno, Kernel, PerfEvent, PerfRecord, PerfRing, SharedKernel, page_size};

use crate::denial::{Denial, Needs, explain};
use crate::error::Error;
use crate::event::EventRound;
use crate::map::Map;
use crate::waker::{Waiter, Waker};

/// The reader of a perf event array map.
#[derive(Debug)]
pub struct PerfBuffer {
    kernel: SharedKernel,
    rings: Vec<PerfRing>,
    waiter: Waiter,
    lost: u64,
    name: String,
}

impl PerfBuffer {
    /// Opens a ring of at least `bytes_per_cpu` bytes on each online CPU and stores it in the map.
    /// A reader is woken after `watermark` bytes, or at each sample where that is 0. CPUs that come
    /// online later have no ring: `bpf_perf_event_output` fails there.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for a map of another kind, [`Error::Permission`], also where so much
    /// memory may not be locked, or [`Error::Os`].
    pub fn new(map: &Map, bytes_per_cpu: usize, watermark: u32) -> Result<PerfBuffer, Error> {
        map.must_be(MapKind::PerfEventArray, "perf buffer")?;
        let kernel = map.kernel().clone();
        let pages = bytes_per_cpu.div_ceil(page_size()).max(1);
        let pages = pages
            .checked_next_power_of_two()
            .filter(|&pages| pages < 1 << 20);
        let pages = pages.ok_or_else(|| Error::invalid("a perf buffer of 4 GiB or more"))?;
        let cpus = kernel.cpus(CpuSet::Online);
        let cpus = cpus.map_err(|e| Error::os("read", e, "the list of online CPUs"))?;
        let waiter = Waiter::new(&kernel)?;
        let mut rings = Vec::new();
        for &cpu in &cpus {
            let mut wanted = PerfEvent::bpf_output(cpu, watermark);
            let opened = match kernel.perf_event_open(wanted) {
                // Before Linux 6.0, losses are known from the records alone.
                Err(Errno::INVAL) => {
                    wanted.count_lost = false;
                    kernel.perf_event_open(wanted)
                }
                other => other,
            };
            let event = match opened {
                // The CPU went away since the list was read.
                Err(Errno::NODEV) => continue,
                event => event.map_err(|errno| {
                    let about = format!("a perf buffer on CPU {cpu}");
                    explain(&*kernel, Needs::Perf, "perf_event_open", errno, about)
                })?,
            };
            let ring = PerfRing::new(&*kernel, event, pages)
                .map_err(|errno| unmapped(&*kernel, errno, pages, cpu))?;
            map.update_fd(cpu, ring.as_fd())?;
            waiter.watch(ring.as_fd(), u64::from(cpu))?;
            rings.push(ring);
        }
        let name = map.name().to_owned();
        Ok(PerfBuffer {
            kernel: kernel.clone(),
            rings,
            waiter,
            lost: 0,
            name,
        })
    }

    /// Gives each sample that is there now to `each`, CPU by CPU.
    ///
    /// # Errors
    ///
    /// [`Error::Os`] with `EIO` where a ring's content makes no sense.
    pub fn for_each(&mut self, each: &mut dyn FnMut(&[u8])) -> Result<EventRound, Error> {
        let mut round = EventRound::default();
        for ring in &mut self.rings {
            let met = ring.consume(|record| match record {
                PerfRecord::Sample(bytes) => {
                    round.records += 1;
                    each(bytes);
                }
                PerfRecord::Lost(count) => round.lost += count,
            });
            met.map_err(|e| Error::os("reading", e, format!("map {}", self.name)))?;
        }
        self.lost += round.lost;
        Ok(round)
    }

    /// Waits for samples, the time-out or a waker, then gives each sample to `each`.
    ///
    /// # Errors
    ///
    /// As [`PerfBuffer::for_each`].
    pub fn poll(
        &mut self,
        timeout: Option<Duration>,
        each: &mut dyn FnMut(&[u8]),
    ) -> Result<EventRound, Error> {
        let woken = self.waiter.wait(timeout)?;
        let round = self.for_each(each)?;
        Ok(EventRound { woken, ..round })
    }

    /// Gives how many samples were lost so far: all of them from Linux 6.0 on; before, those that
    /// the kernel has reported, which it does with the next sample that finds room.
    pub fn lost(&self) -> u64 {
        let counted = self.rings.iter().map(|ring| ring.lost(&*self.kernel));
        counted
            .sum::<Option<u64>>()
            .map_or(self.lost, |counted| counted.max(self.lost))
    }

    /// Gives a handle that ends a wait from another thread.
    pub fn waker(&self) -> Waker {
        self.waiter.waker()
    }
}

impl AsFd for PerfBuffer {
    /// Gives a descriptor that is readable when a ring is, or the waker called. The kernel tells of
    /// a ring's records once: watch it before programs are attached, and drain at each readiness.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.waiter.as_fd()
    }
}

/// Makes an error of a ring that cannot be mapped: rings larger than `kernel.perf_event_mlock_kb`
/// count against the limit on locked memory, on every kernel.
fn unmapped(kernel: &dyn Kernel, errno: Errno, pages: usize, cpu: u32) -> Error {
    let limit = kernel.memlock().ok().filter(|&limit| limit != u64::MAX);
    match (errno, limit) {
        (Errno::PERM, Some(limit)) => Error::permission("mmap", Denial::Memlock { limit }),
        _ => {
            let about = format!("{pages} pages of perf buffer on CPU {cpu}");
            Error::os("mmap", errno, about)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kscope_sys::{Call, FakeKernel, Reply};

    #[test]
    fn a_ring_too_large_to_be_locked_names_the_limit() {
        let check = |errno, limit, expected: &str| {
            let fake = FakeKernel::new(move |call| match call {
                Call::Memlock => Ok(Reply::Number(limit)),
                other => panic!("{other:?}"),
            });
            assert_eq!(unmapped(&fake, errno, 8, 2).to_string(), expected);
        };
        check(
            Errno::PERM,
            65536,
            "mmap is not permitted: the limit on locked memory (65536 bytes) is used up",
        );
        let about = "mmap of 8 pages of perf buffer on CPU 2";
        let refused = format!("{about}: EPERM (Operation not permitted)");
        check(Errno::PERM, u64::MAX, &refused);
        let full = format!("{about}: ENOMEM (Cannot allocate memory)");
        check(Errno::NOMEM, 65536, &full);
    }
}
