//! A running tracer and what the kernel says of its programs.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::producer;
use crate::deadline;

/// How long a tracer may take to attach, and to leave.
const LIMIT: Duration = Duration::from_secs(60);

/// Calls that show whether a tracer is attached.
const TRY: u64 = 1000;

/// Time and number of runs of a program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Runs {
    nanoseconds: u64,
    count: u64,
}

/// Keeps the kernel's statistics of programs on.
pub(crate) struct Statistics {
    keeper: Child,
}

impl Statistics {
    /// Turns them on. A process of its own turns them back, even when this one is killed.
    pub(crate) fn enable() -> Result<Self, String> {
        const KEEP: &str = "trap '' INT TERM; f=/proc/sys/kernel/bpf_stats_enabled; old=$(cat $f) && echo 1 >$f && \
                            echo on; cat >/dev/null; echo \"$old\" >$f";
        let mut keeper = Command::new("sh")
            .args(["-c", KEEP])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("sh: {error}"))?;
        let mut answer = [0; 2];
        let told = keeper
            .stdout
            .as_mut()
            .map(|out| std::io::Read::read_exact(out, &mut answer));
        match told {
            Some(Ok(())) => Ok(Self { keeper }),
            _ => Err("statistics of BPF programs cannot be turned on".to_string()),
        }
    }
}

impl Drop for Statistics {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}

/// A tracer in the background; ended when dropped.
pub(crate) struct Running {
    child: Child,
    /// What it tells beside its output.
    log: PathBuf,
    ended: bool,
}

impl Running {
    /// Starts a tracer and waits until its programs run on the producer's calls.
    pub(crate) fn start(mut command: Command) -> Result<Self, String> {
        let log = super::scratch()?.join("tracer.log");
        let file =
            std::fs::File::create(&log).map_err(|error| format!("{}: {error}", log.display()))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(file)
            .spawn()
            .map_err(|error| format!("{}: {error}", command.get_program().to_string_lossy()))?;
        let mut running = Self {
            child,
            log,
            ended: false,
        };
        let until = Instant::now() + LIMIT;
        loop {
            if let Ok(Some(status)) = running.child.try_wait() {
                running.ended = true;
                let text = running.told();
                return Err(format!("the tracer left with {status}: {}", text.trim()));
            }
            let before = running.runs();
            producer::trial(TRY);
            let after = running.runs();
            let sees_all = |(id, runs): (&u32, &Runs)| {
                before
                    .get(id)
                    .is_some_and(|old| runs.count >= old.count + TRY)
            };
            if after.iter().any(sees_all) {
                return Ok(running);
            }
            if Instant::now() > until {
                return Err("the tracer did not attach in time".to_string());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Gives nanoseconds that all programs of the tracer spend on one call.
    pub(crate) fn cost(&self, calls: u64) -> Option<f64> {
        let before = self.runs();
        producer::flat_out(calls);
        let after = self.runs();
        let (mut time, mut count) = (0, 0);
        for (id, runs) in after {
            let before = before.get(&id).copied().unwrap_or_default();
            time += runs.nanoseconds.checked_sub(before.nanoseconds)?;
            count = count.max(runs.count.checked_sub(before.count)?);
        }
        (count >= calls).then(|| time as f64 / count as f64)
    }

    /// Asks the tracer to end, as Ctrl-C does, waits for it, and gives what it told beside its output.
    pub(crate) fn stop(mut self) -> Result<String, String> {
        self.end()?;
        Ok(self.told())
    }

    fn told(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn end(&mut self) -> Result<(), String> {
        self.ended = true;
        let _ = kill_process(Pid::from_child(&self.child), Signal::INT);
        let until = Instant::now() + LIMIT;
        match deadline::wait(&mut self.child, until).map_err(|error| error.to_string())? {
            Some(_) => Ok(()),
            None => {
                let _ = self.child.kill();
                let _ = self.child.wait();
                Err("the tracer did not leave in time".to_string())
            }
        }
    }

    /// Reads what the descriptors of programs tell of them, each program once.
    fn runs(&self) -> BTreeMap<u32, Runs> {
        let folder = format!("/proc/{}/fdinfo", self.child.id());
        let entries = std::fs::read_dir(folder).into_iter().flatten();
        let texts = entries.filter_map(|entry| std::fs::read_to_string(entry.ok()?.path()).ok());
        texts.filter_map(|text| runs_of(&text)).collect()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.ended {
            if let Err(why) = self.end() {
                let _ = writeln!(std::io::stderr(), "{why}");
            }
        }
    }
}

/// Reads the text of one descriptor; none where it is no program's.
fn runs_of(text: &str) -> Option<(u32, Runs)> {
    let number = |name: &str| {
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        line.trim().parse::<u64>().ok()
    };
    let runs = Runs {
        nanoseconds: number("run_time_ns")?,
        count: number("run_cnt")?,
    };
    Some((u32::try_from(number("prog_id")?).ok()?, runs))
}

#[cfg(test)]
mod tests {
    use super::{Runs, runs_of};

    #[test]
    fn descriptors() {
        let text = "pos:\t0\nprog_type:\t5\nprog_id:\t77\nrun_time_ns:\t1200\nrun_cnt:\t20\n";
        let runs = Runs {
            nanoseconds: 1200,
            count: 20,
        };
        assert_eq!(runs_of(text), Some((77, runs)));
        assert_eq!(runs_of("pos:\t0\nlink_type:\tperf\nprog_id:\t77\n"), None);
    }
}
