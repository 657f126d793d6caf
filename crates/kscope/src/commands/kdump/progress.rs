//! How far the writing of a dump is: a line that changes on a terminal, lines now and then on what
//! is none, such as the serial console of a kernel started by a crash.

use std::cell::Cell;
use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use kscope_dump::{SaveProgress, SaveStep, SaveWatch};
use kscope_sys::Interrupts;

use crate::console::Errors;
use crate::error::Failure;

/// Between two changes of a line on a terminal, and between two lines elsewhere.
const OFTEN: Duration = Duration::from_millis(200);
const SELDOM: Duration = Duration::from_secs(10);

/// Tells of progress, and notices signals.
pub(super) struct Progress {
    interrupts: Interrupts,
    quiet: bool,
    is_terminal: bool,
    next: Cell<Duration>,
    /// When pages began to be written.
    since: Cell<Option<Duration>>,
    has_line: Cell<bool>,
}

impl Progress {
    pub(super) fn new(quiet: bool) -> Result<Progress, Failure> {
        let interrupts = Interrupts::install()
            .map_err(|error| Failure::new(format!("cannot catch signals: {error}")))?;
        let is_terminal = std::io::stderr().is_terminal();
        let first = if is_terminal { OFTEN } else { SELDOM };
        Ok(Progress {
            interrupts,
            quiet,
            is_terminal,
            next: Cell::new(first),
            since: Cell::new(None),
            has_line: Cell::new(false),
        })
    }

    /// Ends the line that changes.
    pub(super) fn end(&self) {
        if self.has_line.replace(false) {
            let _ = write!(Errors, "\r\x1b[K");
        }
    }
}

impl SaveWatch for Progress {
    fn progress(&self, progress: &SaveProgress) {
        if progress.step == SaveStep::Write && self.since.get().is_none() {
            self.since.set(Some(progress.elapsed));
        }
        if self.quiet || progress.elapsed < self.next.get() {
            return;
        }
        let pause = if self.is_terminal { OFTEN } else { SELDOM };
        self.next.set(progress.elapsed + pause);
        let line = line(progress, self.since.get().unwrap_or_default());
        // Where nothing can be told there is nobody to tell.
        let _ = match self.is_terminal {
            true => write!(Errors, "\r{line}\x1b[K"),
            false => writeln!(Errors, "{line}"),
        };
        self.has_line.set(self.is_terminal);
    }

    fn is_over(&self) -> bool {
        self.interrupts.count() > 0
    }
}

fn line(progress: &SaveProgress, since: Duration) -> String {
    let share = progress.pages * 100 / progress.all.max(1);
    match progress.step {
        SaveStep::Look => format!("looking at pages: {share} %"),
        SaveStep::Write => {
            let left = progress.left(since).map_or(0, |left| left.as_secs() + 1);
            format!(
                "saving pages: {share} %, {} of {}, {:.1} MB written, {left} s left",
                progress.pages,
                progress.all,
                progress.written as f64 / 1e6
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_say_how_far_it_is() {
        let progress = SaveProgress {
            step: SaveStep::Write,
            pages: 250,
            all: 1000,
            written: 1_250_000,
            elapsed: Duration::from_secs(12),
        };
        assert_eq!(
            line(&progress, Duration::from_secs(2)),
            "saving pages: 25 %, 250 of 1000, 1.2 MB written, 31 s left"
        );
        let step = SaveStep::Look;
        let progress = SaveProgress { step, ..progress };
        assert_eq!(line(&progress, Duration::ZERO), "looking at pages: 25 %");
    }
}
