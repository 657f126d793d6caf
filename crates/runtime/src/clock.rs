//! From the kernel's clocks to wall-clock time.

use kscope_rows::time::WallTime;
use kscope_sys::{Clock, Kernel};
use tz::TimeZone;

use crate::error::Error;

/// Reads a clock of the kernel.
pub(crate) fn read(kernel: &dyn Kernel, clock: Clock) -> Result<u64, Error> {
    kernel.clock(clock).map_err(|errno| Error::Os {
        doing: "read the clock",
        errno,
    })
}

const SECOND: u64 = 1_000_000_000;

/// No kernel is up that long, which is 31 years; clocks that count from 1970 are beyond it.
const LONGEST_UP: u64 = SECOND * SECOND;

/// How the boot clock and wall-clock time relate, and the local time zone.
#[derive(Debug)]
pub(crate) struct WallClock {
    /// Nanoseconds since 1970 when the boot clock was 0.
    boot: u64,
    /// How far the clock of atomic time is ahead of wall-clock time.
    tai: u64,
    zone: Option<TimeZone>,
}

impl WallClock {
    pub(crate) fn new(kernel: &dyn Kernel) -> Result<WallClock, Error> {
        let real = read(kernel, Clock::Realtime)?;
        let boot = read(kernel, Clock::Boottime)?;
        let tai = read(kernel, Clock::Tai)?;
        Ok(WallClock {
            boot: real.saturating_sub(boot),
            // Whole seconds: the two were not read at once.
            tai: (tai.saturating_sub(real) / SECOND) * SECOND,
            // Without a time zone it is UTC.
            zone: TimeZone::local().ok(),
        })
    }

    /// Takes when a kernel started, in nanoseconds since 1970.
    pub(crate) fn of_boot(boot: u64) -> WallClock {
        WallClock {
            boot,
            tai: 0,
            zone: TimeZone::local().ok(),
        }
    }

    /// Gives the local time of a reading of the boot clock, or of the clock of atomic time.
    pub(crate) fn of_reading(&self, nanoseconds: u64) -> WallTime {
        self.local(if nanoseconds < LONGEST_UP {
            self.boot.saturating_add(nanoseconds)
        } else {
            nanoseconds - self.tai
        })
    }

    /// Gives the local time now.
    pub(crate) fn now(&self, kernel: &dyn Kernel) -> Result<WallTime, Error> {
        Ok(self.local(read(kernel, Clock::Realtime)?))
    }

    /// Gives the local time of nanoseconds since 1970.
    pub(crate) fn local(&self, nanoseconds: u64) -> WallTime {
        let mut time = WallTime::utc(nanoseconds);
        let zone = self.zone.as_ref().map(TimeZone::as_ref);
        if let Some(kind) = zone.and_then(|zone| zone.find_local_time_type(time.seconds).ok()) {
            time.offset = kind.ut_offset();
            time.zone = kind.time_zone_designation().to_owned();
        }
        time
    }
}

#[cfg(test)]
mod tests {
    use super::{Clock, SECOND, WallClock};
    use kscope_sys::{Call, Errno, FakeKernel, Reply};

    #[test]
    fn readings_of_both_clocks_are_told() {
        let clock = WallClock {
            boot: 1_800_000_000 * SECOND,
            tai: 37 * SECOND,
            zone: None,
        };
        let check = |reading, seconds| assert_eq!(clock.of_reading(reading).seconds, seconds);
        check(5 * SECOND, 1_800_000_005);
        check(1_800_000_042 * SECOND, 1_800_000_005);
    }

    #[test]
    fn a_clock_that_cannot_be_read_is_an_error() {
        let check = |broken: Option<Clock>, expected: Result<u64, &str>| {
            let kernel = FakeKernel::new(move |call| match call {
                Call::Clock(clock) if Some(clock) == broken => Err(Errno::INVAL),
                Call::Clock(Clock::Realtime) => Ok(Reply::Number(1000)),
                Call::Clock(_) => Ok(Reply::Number(400)),
                _ => Err(Errno::NOSYS),
            });
            let found = WallClock::new(&kernel).map(|clock| clock.boot);
            let found = found.map_err(|error| error.to_string());
            match (found, expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found, expected),
                (Err(found), Err(expected)) => assert!(found.starts_with(expected), "{found}"),
                (found, expected) => panic!("{found:?}, not {expected:?}"),
            }
        };
        check(None, Ok(600));
        check(Some(Clock::Realtime), Err("cannot read the clock: "));
        check(Some(Clock::Boottime), Err("cannot read the clock: "));
    }
}
