//! The kernel's timer ticks (jiffies), by which it notes when most things began.

use kscope_memory::{Memory, Object, VirtAddr};

use crate::Error;
use crate::facts::kernel::Kernel;
use crate::facts::time;

/// Nanoseconds of a second.
const SECOND: u64 = 1_000_000_000;
/// How many ticks a second has (CONFIG_HZ of x86).
const RATES: [u64; 4] = [100, 250, 300, 1000];
/// What ticks begin at: five minutes before 32 bits overflow.
const BEFORE_OVERFLOW: u64 = 300;

/// The ticks at the kernel's last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticks {
    /// Their number, as `jiffies` has it.
    pub now: u64,
    /// How many a second has.
    pub rate: u64,
}

impl Ticks {
    /// Gives the nanoseconds since a moment; 0 where it is yet to come.
    #[must_use]
    pub fn since(self, then: u64) -> u64 {
        self.nanoseconds(self.now.wrapping_sub(then))
    }

    /// Gives the nanoseconds until a moment; 0 where it has passed.
    #[must_use]
    pub fn until(self, then: u64) -> u64 {
        self.nanoseconds(then.wrapping_sub(self.now))
    }

    fn nanoseconds(self, ticks: u64) -> u64 {
        let ticks = (ticks as i64).max(0) as u64;
        ticks.saturating_mul(SECOND / self.rate.max(1))
    }
}

/// Finds the rate: nothing that is kept in memory says it, but from the begin on as many ticks
/// have passed as the clock says only at one rate.
fn rate(now: u64, nanoseconds: u64) -> Option<u64> {
    let distance = |rate: u64| {
        let begin = u64::from((BEFORE_OVERFLOW * rate).wrapping_neg() as u32);
        let passed = now.wrapping_sub(begin) as i64;
        let passed = u64::try_from(passed).ok()?;
        Some(passed.saturating_mul(SECOND / rate).abs_diff(nanoseconds))
    };
    let found = RATES
        .iter()
        .filter_map(|&rate| Some((distance(rate)?, rate)));
    let (off, rate) = found.min()?;
    // The clocks begin at different moments of the start, and stop at different ones.
    (off <= 10 * SECOND + nanoseconds / 50).then_some(rate)
}

impl Kernel {
    /// Reads the number of timer ticks, and finds how many a second has.
    ///
    /// # Errors
    /// Where there are none, or clocks and ticks do not fit together.
    pub fn ticks(&self) -> Result<Ticks, Error> {
        let now = self.number("jiffies_64")?;
        let rate = rate(now, self.monotonic()?);
        let rate = rate.ok_or(Error::Missing("rate of ticks that fits its clock"))?;
        Ok(Ticks { now, rate })
    }

    /// Reads the nanoseconds since the start without time asleep, at the last tick
    /// (`CLOCK_MONOTONIC`).
    ///
    /// # Errors
    /// As [`Kernel::time`].
    pub fn monotonic(&self) -> Result<u64, Error> {
        time::monotonic(self)
    }

    /// Gives how long ago a task last came to a CPU, in nanoseconds: how long one has waited that is
    /// on none. The address is that of its `struct task_struct`.
    ///
    /// # Errors
    /// Where the kernel does not keep it (CONFIG_SCHED_INFO) or it cannot be read.
    pub fn off_cpu(&self, task: VirtAddr) -> Result<u64, Error> {
        let object = self.object("task_struct", task)?;
        let came = object.member("sched_info.last_arrival")?.value()?;
        // Of a kernel that runs it goes on.
        let now = match self.is_running() {
            true => self.newest_clock(),
            false => self.clock.get_or_init(|| self.newest_clock()).clone(),
        };
        Ok(now?.saturating_sub(came))
    }

    /// Reads the clock of the CPU that looked at its own last.
    fn newest_clock(&self) -> Result<u64, Error> {
        let queues = self.need("runqueues")?;
        let mut now = Err(Error::Missing("clock of a CPU"));
        // The clock of a CPU without work stands still: the newest says what time it is.
        for cpu in self.cpus("__cpu_possible_mask")? {
            let clock = || -> Result<u64, Error> {
                let queue = self.object("rq", self.per_cpu(queues, cpu)?)?;
                Ok(queue.member("clock")?.value()?)
            };
            now = match (now, clock()) {
                (Ok(now), Ok(clock)) => Ok(clock.max(now)),
                (Ok(now), Err(_)) => Ok(now),
                (Err(_), clock) => clock,
            };
        }
        now
    }
}

/// Reads the number in an `atomic_long_t` or any other of eight bytes.
pub(crate) fn word(object: &Object<'_>, memory: &dyn Memory) -> Result<u64, Error> {
    Ok(memory.read_u64(object.addr())?)
}

/// Gives the address `offset` further; past the last one it is none of the kernel.
pub(crate) fn after(addr: VirtAddr, offset: u64) -> VirtAddr {
    addr.checked_add(offset).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_the_one_that_fits_the_clock() {
        let check = |rate_is: u64, seconds: u64, expected: Option<u64>| {
            let begin = u64::from((BEFORE_OVERFLOW * rate_is).wrapping_neg() as u32);
            let now = begin.wrapping_add(seconds * rate_is);
            assert_eq!(rate(now, seconds * SECOND), expected, "{rate_is} {seconds}");
        };
        for rate in RATES {
            check(rate, 1, Some(rate));
            check(rate, 40, Some(rate));
            // Behind the overflow, and a year later.
            check(rate, 400, Some(rate));
            check(rate, 31_536_000, Some(rate));
        }
        assert_eq!(rate(0, 5 * SECOND), None);
        assert_eq!(rate(u64::MAX, 5 * SECOND), None);
    }

    #[test]
    fn moments_to_come_are_now() {
        let ticks = Ticks {
            now: 1000,
            rate: 250,
        };
        assert_eq!(ticks.since(750), SECOND);
        assert_eq!(ticks.since(1001), 0);
        assert_eq!(ticks.since(u64::MAX), SECOND * 4 + 4_000_000);
        assert_eq!(ticks.until(1250), SECOND);
        assert_eq!(ticks.until(999), 0);
    }
}
