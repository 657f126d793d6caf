//! What is told while a dump is written, and asked.

use std::io;
use std::time::{Duration, Instant};

use super::pipeline::{Batch, Done};

/// How far the writing of a dump is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SaveProgress {
    /// What is done.
    pub step: SaveStep,
    /// Pages that are done, and how many there are.
    pub pages: u64,
    /// See `pages`.
    pub all: u64,
    /// Bytes written so far.
    pub written: u64,
    /// Time since it began.
    pub elapsed: Duration,
}

/// The steps of writing a dump.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SaveStep {
    /// Looking at what each page is used for.
    Look,
    /// Reading, packing and writing pages.
    Write,
}

impl SaveProgress {
    /// Guesses how long the step still takes; none at its very beginning.
    #[must_use]
    pub fn left(&self, since: Duration) -> Option<Duration> {
        let spent = self.elapsed.saturating_sub(since).as_secs_f64();
        let todo = self.all.saturating_sub(self.pages) as f64;
        (self.pages > 0).then(|| Duration::from_secs_f64(spent * todo / self.pages as f64))
    }
}

/// Who watches a dump being written.
pub trait SaveWatch {
    /// Is told how far it is, often.
    fn progress(&self, progress: &SaveProgress);

    /// Tells whether to end early; what is written until then stays.
    fn is_over(&self) -> bool;
}

/// Nobody watches.
impl SaveWatch for () {
    fn progress(&self, _: &SaveProgress) {}

    fn is_over(&self) -> bool {
        false
    }
}

/// Counts what becomes of pages.
pub(crate) struct Tally<'w> {
    watch: &'w dyn SaveWatch,
    pub(crate) started: Instant,
    pub(crate) pages: u64,
    pub(crate) all: u64,
    pub(crate) zero: u64,
    pub(crate) lost: u64,
    /// The first frames that were lost.
    pub(crate) first_lost: Vec<u64>,
    pub(crate) written: u64,
}

impl<'w> Tally<'w> {
    pub(crate) fn new(watch: &'w dyn SaveWatch) -> Tally<'w> {
        Tally {
            watch,
            started: Instant::now(),
            pages: 0,
            all: 0,
            zero: 0,
            lost: 0,
            first_lost: Vec::new(),
            written: 0,
        }
    }

    /// Frames up to `pages` of `all` were looked at.
    pub(crate) fn looked(&self, pages: u64, all: u64) -> io::Result<()> {
        self.tell(SaveStep::Look, pages.min(all), all)
    }

    /// A batch was written.
    pub(crate) fn wrote(&mut self, batch: &Batch) -> io::Result<()> {
        const NAMED: usize = 8;
        for (frame, done) in batch.frames.iter().zip(&batch.done) {
            match done {
                Done::Zero => self.zero += 1,
                Done::Lost => {
                    self.lost += 1;
                    if self.first_lost.len() < NAMED {
                        self.first_lost.push(*frame);
                    }
                }
                Done::Packed { .. } => {}
            }
        }
        self.pages += batch.frames.len() as u64;
        self.written += batch.packed.len() as u64;
        self.tell(SaveStep::Write, self.pages, self.all)
    }

    /// Refuses a dump in which places were told for other pages than were written: windows that are
    /// looked at again must be what they were.
    pub(crate) fn all_written(&self) -> io::Result<()> {
        match self.pages == self.all {
            true => Ok(()),
            false => Err(io::Error::other("the source changed while it was read")),
        }
    }

    fn tell(&self, step: SaveStep, pages: u64, all: u64) -> io::Result<()> {
        self.watch.progress(&SaveProgress {
            step,
            pages,
            all,
            written: self.written,
            elapsed: self.started.elapsed(),
        });
        match self.watch.is_over() {
            true => Err(io::ErrorKind::Interrupted.into()),
            false => Ok(()),
        }
    }
}
