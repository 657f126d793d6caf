//! `kscope bpf top`

use std::collections::HashMap;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use clap::Args;
use kscope_bpf::RunStats;
use kscope_bpf::inspect::LoadedProgram;
use kscope_bpf::sys::{Clock, Interrupts, SharedKernel};

use super::failed;
use super::listing::{Holds, Listing, number, text};
use super::program::type_name;
use crate::console::tell;
use crate::error::Failure;
use crate::place::Place;

/// Watch how often programs run, how long, and what that costs
///
/// The kernel counts while this runs, which costs every run of every program about 57 ns.
#[derive(Args, Debug)]
pub(crate) struct TopArgs {
    /// Seconds between two tables
    #[arg(short, long, value_name = "SECONDS", default_value = "1", value_parser = seconds)]
    interval: Duration,
    /// End after this many tables
    #[arg(short, long, value_name = "NUMBER")]
    count: Option<u64>,
    /// Also show programs that did not run
    #[arg(short, long)]
    all: bool,
    /// Print an object a line
    #[arg(long)]
    json: bool,
}

/// About what the kernel's two readings of its clock cost a run, in nanoseconds.
const CLOCK_NS: u64 = 57;

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| format!("`{text}` is no number"))?;
    match (0.01..=86_400.0).contains(&seconds) {
        true => Ok(Duration::from_secs_f64(seconds)),
        false => Err("between 0.01 and 86400 seconds".to_owned()),
    }
}

/// A program that is watched.
struct Watched {
    fd: OwnedFd,
    kind: String,
    name: String,
    /// Runs and nanoseconds at the last look.
    before: (u64, u64),
}

/// A program's share of an interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Share {
    runs: u64,
    run_time: u64,
    elapsed: u64,
}

impl Share {
    fn per_second(self) -> u64 {
        scaled(self.runs, 1_000_000_000, self.elapsed)
    }

    fn per_run(self) -> u64 {
        self.run_time.checked_div(self.runs).unwrap_or(0)
    }

    /// Per cent of one CPU, with three digits.
    fn cpu(self) -> String {
        percent(self.run_time, self.elapsed)
    }
}

fn scaled(value: u64, by: u64, over: u64) -> u64 {
    let wide = u128::from(value) * u128::from(by);
    let scaled = wide.checked_div(over.into()).unwrap_or(0);
    u64::try_from(scaled).unwrap_or(u64::MAX)
}

fn percent(part: u64, whole: u64) -> String {
    let thousandths = scaled(part, 100_000, whole);
    format!("{}.{:03}", thousandths / 1000, thousandths % 1000)
}

/// Runs the command.
pub(super) fn run(args: &TopArgs) -> Result<u8, Failure> {
    let place = Place::open(None)?;
    let kernel = place.target.kernel();
    let interrupts = Interrupts::install()
        .map_err(|errno| Failure::new(format!("cannot catch signals: {errno}")))?;
    let _counting = RunStats::enable(kernel).map_err(|error| failed(&error))?;
    let epoll = kernel.epoll_create().and_then(|epoll| {
        kernel.epoll_add(epoll.as_fd(), interrupts.as_fd(), 0)?;
        Ok(epoll)
    });
    let epoll = epoll.map_err(|errno| Failure::new(format!("cannot wait: {errno}")))?;
    let mut watched = HashMap::new();
    watch(kernel, &mut watched)?;
    let now = |clock| kernel.clock(clock).unwrap_or(0);
    let mut before = now(Clock::Monotonic);
    let mut own_before = now(Clock::ProcessCpu);
    let mut shown = 0;
    while args.count.is_none_or(|count| shown < count) {
        wait(kernel, epoll.as_fd(), &interrupts, before, args.interval);
        let after = now(Clock::Monotonic);
        let elapsed = after.saturating_sub(before);
        before = after;
        let (listing, runs) = table(kernel, &mut watched, elapsed, args.all);
        if shown > 0 && !args.json {
            crate::console::say("\n")?;
        }
        listing.print(args.json)?;
        watch(kernel, &mut watched)?;
        let own_after = now(Clock::ProcessCpu);
        let own = own_after.saturating_sub(own_before);
        own_before = own_after;
        let clock = runs.saturating_mul(CLOCK_NS);
        tell(format_args!(
            "own cost: {} % of a CPU, and about {} % for the kernel's counting",
            percent(own, elapsed),
            percent(clock, elapsed)
        ));
        shown += 1;
        if interrupts.count() > 0 {
            break;
        }
    }
    Ok(0)
}

/// Waits until an interval after `start` is over, or for a signal.
fn wait(
    kernel: &SharedKernel,
    epoll: std::os::fd::BorrowedFd<'_>,
    interrupts: &Interrupts,
    start: u64,
    interval: Duration,
) {
    loop {
        let now = kernel.clock(Clock::Monotonic).unwrap_or(u64::MAX);
        let passed = Duration::from_nanos(now.saturating_sub(start));
        let left = interval.saturating_sub(passed);
        if left.is_zero() || interrupts.count() > 0 {
            return;
        }
        // Interrupted or not, the loop looks again.
        let _ = kernel.epoll_wait(epoll, Some(left));
    }
}

/// Opens programs that came, and closes those that are gone.
fn watch(kernel: &SharedKernel, watched: &mut HashMap<u32, Watched>) -> Result<(), Failure> {
    let ids = LoadedProgram::ids(kernel).map_err(|error| failed(&error))?;
    watched.retain(|id, _| ids.binary_search(id).is_ok());
    for id in ids {
        if watched.contains_key(&id) {
            continue;
        }
        // It may be gone again.
        let (Ok(fd), Ok(program)) = (kernel.program_by_id(id), LoadedProgram::by_id(kernel, id))
        else {
            continue;
        };
        let info = &program.image.info;
        let one = Watched {
            fd,
            kind: type_name(&program),
            name: program.name(),
            before: (info.runs, info.run_time),
        };
        watched.insert(id, one);
    }
    Ok(())
}

/// Reads the counters again; gives the table, the largest share first, and the sum of runs.
fn table(
    kernel: &SharedKernel,
    watched: &mut HashMap<u32, Watched>,
    elapsed: u64,
    all: bool,
) -> (Listing, u64) {
    let mut rows: Vec<(u32, &Watched, Share)> = Vec::new();
    let mut runs = 0u64;
    for (&id, program) in watched.iter_mut() {
        let Ok(info) = kernel.program_info(program.fd.as_fd()) else {
            continue;
        };
        let share = Share {
            runs: info.runs.saturating_sub(program.before.0),
            run_time: info.run_time.saturating_sub(program.before.1),
            elapsed,
        };
        program.before = (info.runs, info.run_time);
        runs = runs.saturating_add(share.runs);
        if all || share.runs > 0 {
            rows.push((id, program, share));
        }
    }
    rows.sort_by_key(|(id, _, share)| (std::cmp::Reverse(share.run_time), *id));
    let mut listing = Listing::new(
        "bpf top",
        &[
            ("id", Holds::Number),
            ("type", Holds::Text),
            ("name", Holds::Text),
            ("events_per_s", Holds::Number),
            ("ns_per_event", Holds::Number),
            ("cpu_pct", Holds::Decimal),
            ("runs", Holds::Number),
            ("run_time_ns", Holds::Number),
            ("interval_ns", Holds::Number),
        ],
    );
    for (id, program, share) in rows {
        listing.push(vec![
            number(id),
            text(&program.kind),
            text(&program.name),
            number(share.per_second()),
            number(share.per_run()),
            text(share.cpu()),
            number(share.runs),
            number(share.run_time),
            number(share.elapsed),
        ]);
    }
    (listing, runs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_of_an_interval() {
        let share = Share {
            runs: 1500,
            run_time: 3_000_000,
            elapsed: 2_000_000_000,
        };
        assert_eq!(share.per_second(), 750);
        assert_eq!(share.per_run(), 2000);
        assert_eq!(share.cpu(), "0.150");
        let nothing = Share {
            runs: 0,
            run_time: 0,
            elapsed: 0,
        };
        assert_eq!((nothing.per_second(), nothing.per_run()), (0, 0));
        assert_eq!(nothing.cpu(), "0.000");
    }

    #[test]
    fn intervals_make_sense() {
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
        for bad in ["0", "-1", "nan", "inf", "x", "100000"] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
    }
}
