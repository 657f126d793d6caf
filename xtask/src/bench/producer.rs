//! A producer of events: cheap system calls from one thread that stays on one CPU.

use std::thread::ScopedJoinHandle;
use std::time::{Duration, Instant};

use rustix::process::getppid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Number of getppid, as tracepoints of system calls tell it.
pub(crate) const CALL: u32 = if cfg!(target_arch = "x86_64") {
    110
} else {
    173
};

/// Name of the thread that produces, which tracers print.
pub(crate) const NAME: &str = "producer";

/// How often a paced producer catches up with its rate.
const TICK: Duration = Duration::from_micros(500);

/// Makes some calls from a thread of another name, to see whether they are traced.
pub(crate) fn trial(calls: u64) {
    pinned("trial", || {
        for _ in 0..calls {
            let _ = getppid();
        }
    });
}

/// Makes calls as fast as it can; gives how long that took.
pub(crate) fn flat_out(calls: u64) -> Duration {
    pinned(NAME, || {
        let start = Instant::now();
        for _ in 0..calls {
            let _ = getppid();
        }
        start.elapsed()
    })
}

/// Makes `rate` calls a second for a time; gives how many it made, and how long that took.
pub(crate) fn paced(rate: u64, time: Duration) -> (u64, Duration) {
    let wanted = (rate as f64 * time.as_secs_f64()) as u64;
    pinned(NAME, || {
        let start = Instant::now();
        let mut made = 0;
        while made < wanted {
            let due = (start.elapsed().as_secs_f64() * rate as f64) as u64;
            while made < due.min(wanted) {
                let _ = getppid();
                made += 1;
            }
            std::thread::sleep(TICK);
        }
        (made, start.elapsed())
    })
}

/// Runs in a thread on the last CPU that this process may use.
fn pinned<T: Send>(name: &str, work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let body = || {
            let allowed = sched_getaffinity(None).ok();
            let is_allowed = |cpu: &usize| allowed.is_some_and(|set| set.is_set(*cpu));
            if let Some(last) = (0..CpuSet::MAX_CPU).rev().find(is_allowed) {
                let mut one = CpuSet::new();
                one.set(last);
                // Without it, figures are only noisier.
                let _ = sched_setaffinity(None, &one);
            }
            work()
        };
        let thread = std::thread::Builder::new().name(name.to_string());
        match thread.spawn_scoped(scope, body).map(ScopedJoinHandle::join) {
            Ok(Ok(result)) => result,
            Ok(Err(panic)) => std::panic::resume_unwind(panic),
            // Nothing can be measured without it.
            Err(error) => panic!("no thread: {error}"),
        }
    })
}
