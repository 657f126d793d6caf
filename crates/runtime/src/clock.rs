//! From the kernel's clocks to wall-clock time.

use kscope_rows::time::WallTime;
use kscope_sys::{Clock, Kernel};
use tz::TimeZone;

/// How the boot clock and wall-clock time relate, and the local time zone.
#[derive(Debug)]
pub(crate) struct WallClock {
    /// Nanoseconds since 1970 when the boot clock was 0.
    boot: u64,
    zone: Option<TimeZone>,
}

impl WallClock {
    pub(crate) fn new(kernel: &dyn Kernel) -> WallClock {
        let real = kernel.clock(Clock::Realtime).unwrap_or(0);
        let boot = kernel.clock(Clock::Boottime).unwrap_or(0);
        WallClock {
            boot: real.saturating_sub(boot),
            zone: TimeZone::local().ok(),
        }
    }

    /// Gives the local time of a reading of the boot clock.
    pub(crate) fn at_boot_time(&self, nanoseconds: u64) -> WallTime {
        self.local(self.boot.saturating_add(nanoseconds))
    }

    /// Gives the local time now.
    pub(crate) fn now(&self, kernel: &dyn Kernel) -> WallTime {
        self.local(kernel.clock(Clock::Realtime).unwrap_or(0))
    }

    fn local(&self, nanoseconds: u64) -> WallTime {
        let mut time = WallTime::utc(nanoseconds);
        let zone = self.zone.as_ref().map(TimeZone::as_ref);
        if let Some(kind) = zone.and_then(|zone| zone.find_local_time_type(time.seconds).ok()) {
            time.offset = kind.ut_offset();
            time.zone = kind.time_zone_designation().to_owned();
        }
        time
    }
}
