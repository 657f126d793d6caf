//! `kscope bpf log`

use std::time::Duration;

use clap::Args;
use kscope_bpf::PrintedLog;
use kscope_bpf::sys::Interrupts;

use super::failed;
use super::listing::{Holds, Listing, number, text};
use crate::console::{say, tell};
use crate::error::Failure;
use crate::place::Place;

/// Show what programs print with `bpf_printk`, and scripts with debugf(), until Ctrl-C
///
/// What was printed before and nobody has read comes first; a line that is shown here no other reader gets.
#[derive(Args, Debug)]
pub(crate) struct LogArgs {
    /// End after this many lines
    #[arg(short, long, value_name = "NUMBER")]
    count: Option<u64>,
    /// End where no line comes for so many seconds
    #[arg(short, long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(..86_400))]
    timeout: Option<u64>,
    /// Print an object a line
    #[arg(long)]
    json: bool,
}

/// How long to wait for a line before signals are looked at.
const WAIT: Duration = Duration::from_millis(100);

/// What a row of JSON has.
const COLUMNS: [(&str, Holds); 5] = [
    ("time_ns", Holds::Number),
    ("tid", Holds::Number),
    ("comm", Holds::Text),
    ("cpu", Holds::Number),
    ("text", Holds::Text),
];

/// Runs the command.
pub(super) fn run(args: &LogArgs) -> Result<u8, Failure> {
    let place = Place::open(None)?;
    let interrupts = Interrupts::install()
        .map_err(|errno| Failure::new(format!("cannot catch signals: {errno}")))?;
    let mut log = PrintedLog::open(place.target.kernel()).map_err(|error| failed(&error))?;
    let mut shown = 0;
    let mut waited = Duration::ZERO;
    let limit = args.timeout.map(Duration::from_secs);
    while args.count.is_none_or(|count| shown < count) && interrupts.count() == 0 {
        let wait = limit.map_or(WAIT, |limit| limit.saturating_sub(waited).min(WAIT));
        let Some(line) = log.next_line(wait).map_err(|error| failed(&error))? else {
            waited += wait;
            if limit.is_some_and(|limit| waited >= limit) {
                break;
            }
            continue;
        };
        waited = Duration::ZERO;
        shown += 1;
        let (seconds, micros) = (line.time.as_secs(), line.time.subsec_micros());
        if args.json {
            let mut listing = Listing::new("bpf log", &COLUMNS);
            let nanoseconds = u64::try_from(line.time.as_nanos()).unwrap_or(u64::MAX);
            listing.push(vec![
                number(nanoseconds),
                number(line.tid),
                text(line.comm),
                number(line.cpu),
                text(line.text),
            ]);
            listing.print(true)?;
        } else {
            let (comm, tid, cpu, text) = (line.comm, line.tid, line.cpu, line.text);
            say(format_args!(
                "{seconds:>6}.{micros:06} {tid:<7} {comm:<16} {cpu:>3} {text}\n"
            ))?;
        }
    }
    if log.lost() > 0 {
        tell(format_args!(
            "WARNING: {} events came too fast for the log",
            log.lost()
        ));
    }
    Ok(0)
}
