//! printf to a file: the highest rate at which nothing is lost, and that losses are counted.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::peer::Tracer;
use super::producer;
use super::programs::{Running, Statistics};
use super::table::{Aim, Figure, Table, Unit};
use super::{Pair, Settings};

/// The first rate tried, events a second.
const FIRST: f64 = 25_000.0;
/// Rates beyond this one are no program's.
const LAST: f64 = 20e6;
/// Part of a rate that a producer keeps when it keeps it.
const KEPT: f64 = 0.9;
/// Tries of one rate.
const TRIES: usize = 2;
/// Calls of the producer that does not wait.
const FLAT_OUT: u64 = 2_000_000;

/// What came of one production.
struct Account {
    produced: u64,
    printed: u64,
    lost: u64,
    /// Events a second that the producer made.
    rate: f64,
}

impl Account {
    fn is_complete(&self) -> bool {
        self.printed == self.produced
    }

    /// The rate that was held; none where something was lost.
    fn value(&self) -> f64 {
        if self.is_complete() { self.rate } else { 0.0 }
    }
}

/// Measures both tracers.
pub(crate) fn measure(pair: &Pair, settings: &Settings, table: &mut Table) -> Result<(), String> {
    let time = Duration::from_secs(settings.seconds);
    let kscope = highest(&pair.kscope, time)?;
    let peer = highest(&pair.peer, time)?;
    table.add(&Figure {
        name: &format!(
            "printf to a file: rate held {} s without loss",
            settings.seconds
        ),
        unit: Unit::PerSecond,
        kscope,
        peer: Some(peer),
        aim: Aim::AtLeast(4.0),
    });
    let flat_out = |tracer| produce(tracer, |_| (FLAT_OUT, producer::flat_out(FLAT_OUT)), None);
    let kscope = flat_out(&pair.kscope)?;
    let peer = flat_out(&pair.peer)?;
    let mut row = |what: &str, aim, of: fn(&Account) -> u64| {
        table.add(&Figure {
            name: &format!("printf, {FLAT_OUT} events at once: {what}"),
            unit: Unit::Count,
            kscope: of(&kscope) as f64,
            peer: Some(of(&peer) as f64),
            aim,
        });
    };
    row("printed", Aim::None, |account| account.printed);
    row("told to be lost", Aim::None, |account| account.lost);
    row("unaccounted for", Aim::Within(0.0), |account| {
        account.produced.abs_diff(account.printed + account.lost)
    });
    Ok(())
}

/// Gives the highest rate held: by doubling, then in steps of a quarter of an octave.
fn highest(tracer: &Tracer, time: Duration) -> Result<f64, String> {
    let mut held = 0.0;
    let mut rate = FIRST;
    let mut factor = 2.0;
    // At most eleven doublings and three steps.
    while rate <= LAST {
        let mut best: Option<Account> = None;
        // A machine with other work to do stalls either side now and then.
        for _ in 0..TRIES {
            let work = |time| producer::paced(rate as u64, time);
            let account = produce(tracer, work, Some(time))?;
            let done = account.value() >= rate * KEPT;
            if best
                .as_ref()
                .is_none_or(|best| account.value() > best.value())
            {
                best = Some(account);
            }
            if done {
                break;
            }
        }
        let Some(account) = best else { break };
        let complete = account.is_complete();
        if complete {
            held = account.rate.min(rate);
        }
        if complete && account.rate < rate * KEPT {
            // The producer can do no more: this is the rate that was held.
            break;
        }
        factor = match (complete, factor) {
            (true, 2.0) => 2.0,
            (false, 2.0) if held > 0.0 => 2f64.powf(0.5),
            (_, factor) if factor > 1.3 && held > 0.0 => 2f64.powf(0.25),
            _ => break,
        };
        rate = held * factor;
    }
    Ok(held)
}

/// Lets the producer work while a tracer prints each of its calls into a file.
fn produce(
    tracer: &Tracer,
    work: impl Fn(Duration) -> (u64, Duration),
    time: Option<Duration>,
) -> Result<Account, String> {
    let (seen_by_tracer, seen_here) = output(tracer)?;
    let script = format!(
        "tracepoint:raw_syscalls:sys_enter /pid == {} && args.id == {}/ {{ printf(\"%d %s %d\\n\", pid, comm, args.id); }}",
        std::process::id(),
        producer::CALL
    );
    let mut command = tracer.script(&script);
    command.arg("-o").arg(seen_by_tracer);
    let running = {
        // Only to see that it is attached: the clock costs each event about 57 ns.
        let _statistics = Statistics::enable()?;
        Running::start(command).map_err(|why| format!("{}: {why}", tracer.name))?
    };
    let (produced, took) = work(time.unwrap_or_default());
    settle(&seen_here);
    let told = running.stop().unwrap_or_else(|why| {
        // It was killed then; what it printed counts.
        eprintln!("{}: {why}", tracer.name);
        String::new()
    });
    let file = std::fs::File::open(&seen_here)
        .map_err(|error| format!("{}: {error}", seen_here.display()))?;
    let mut lines = count(BufReader::new(file));
    lines.add(&count(told.as_bytes()));
    let _ = std::fs::remove_file(&seen_here);
    let rate = produced as f64 / took.as_secs_f64().max(f64::MIN_POSITIVE);
    Ok(Account {
        produced,
        printed: lines.printed,
        lost: lines.lost.max(lines.lost_in_all),
        rate,
    })
}

/// Waits until a file no longer grows: what is in the buffers is still to come, and may be dropped at the end.
fn settle(file: &Path) {
    const QUIET: Duration = Duration::from_millis(400);
    const LOOKS: usize = 100;
    let size = || std::fs::metadata(file).map_or(0, |data| data.len());
    let mut before = size();
    for _ in 0..LOOKS {
        std::thread::sleep(QUIET);
        let now = size();
        if now == before {
            break;
        }
        before = now;
    }
}

/// Gives a file's path as the tracer sees it and as this process does.
fn output(tracer: &Tracer) -> Result<(PathBuf, PathBuf), String> {
    if tracer.root == Path::new("/") {
        let file = super::scratch()?.join("printed");
        Ok((file.clone(), file))
    } else {
        let file = Path::new("tmp/printed");
        Ok((Path::new("/").join(file), tracer.root.join(file)))
    }
}

/// What a tracer wrote.
#[derive(Debug, Default, PartialEq, Eq)]
struct Lines {
    printed: u64,
    /// Sum of the losses told as they happened.
    lost: u64,
    /// The losses told at the end.
    lost_in_all: u64,
}

impl Lines {
    fn add(&mut self, more: &Lines) {
        self.printed += more.printed;
        self.lost += more.lost;
        self.lost_in_all += more.lost_in_all;
    }
}

fn count(mut text: impl BufRead) -> Lines {
    let mut lines = Lines::default();
    let mut line = Vec::new();
    while text
        .read_until(b'\n', &mut line)
        .is_ok_and(|bytes| bytes > 0)
    {
        let words = String::from_utf8_lossy(&line);
        let words: Vec<&str> = words.split_whitespace().collect();
        let number = |word: &str| word.parse::<u64>().unwrap_or(0);
        match words.as_slice() {
            [_, producer::NAME, _] => lines.printed += 1,
            ["Lost", number_of, "events"] => lines.lost += number(number_of),
            ["Total", "lost", "event", "count:", all] => lines.lost_in_all += number(all),
            _ => {}
        }
        line.clear();
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::{Lines, count};

    #[test]
    fn lines() {
        let text = "Attached 1 probe\n7 producer 110\n7 trial 110\nLost 5 events\n7 producer 110\nLost 2 events\n\
                    Total lost event count: 7\n";
        assert_eq!(
            count(text.as_bytes()),
            Lines {
                printed: 2,
                lost: 7,
                lost_in_all: 7
            }
        );
    }
}
