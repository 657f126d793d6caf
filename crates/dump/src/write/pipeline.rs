//! Reading and packing pages on several CPUs, and handing them on in order.
//!
//! Each worker takes the next frames, reads and packs them; what it makes goes to the caller's
//! thread, which writes. Whoever has nothing to do sleeps. As many batches are under way as there
//! are buffers, so that memory is bounded, whatever is fastest.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::{Condvar, Mutex, PoisonError};

use super::frames::{Bits, Frames, PAGE, WINDOW};
use super::pack::{Compression, Packer};
use super::selection::Selection;

/// Bytes of pages and of packed pages under way, all batches together.
const UNDER_WAY: usize = 8 << 20;
/// Most pages of a batch.
const MOST: usize = 128;
/// Most workers: beyond, the one who writes is always behind.
const WORKERS: usize = 32;

/// What became of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Done {
    /// All zeros.
    Zero,
    /// It cannot be read.
    Lost,
    /// Its bytes are the next so many, with these flags.
    Packed { len: u32, flags: u32 },
}

/// Some pages, in the order of their frames.
#[derive(Default)]
pub(crate) struct Batch {
    number: u64,
    pub(crate) frames: Vec<u64>,
    pages: Vec<u8>,
    pub(crate) packed: Vec<u8>,
    pub(crate) done: Vec<Done>,
}

impl Batch {
    /// Reads and packs its pages.
    fn make(&mut self, frames: &Frames<'_>, packer: &mut Packer, zero: bool) {
        self.packed.clear();
        self.done.clear();
        self.pages.resize(self.frames.len() * PAGE, 0);
        let Batch {
            frames: numbers,
            pages,
            packed,
            done,
            ..
        } = self;
        let mut lost = Vec::new();
        let mut at = 0;
        while at < numbers.len() {
            let first = numbers[at];
            let rest = numbers[at..].iter().zip(first..);
            let run = rest.take_while(|(number, next)| *number == next).count();
            let bytes = &mut pages[at * PAGE..(at + run) * PAGE];
            frames.read(first, bytes, |index| lost.push(at + index));
            at += run;
        }
        for (index, page) in pages.chunks_exact(PAGE).enumerate() {
            done.push(if lost.binary_search(&index).is_ok() {
                Done::Lost
            } else if zero && is_zero(page) {
                Done::Zero
            } else {
                let before = packed.len();
                let flags = packer.pack(page, packed);
                let len = (packed.len() - before) as u32;
                Done::Packed { len, flags }
            });
        }
    }
}

fn is_zero(page: &[u8]) -> bool {
    let mut pieces = page.chunks_exact(64);
    pieces.all(|piece| piece.iter().fold(0, |all, byte| all | byte) == 0)
}

/// What is left to be done.
struct Work<'s, 'k> {
    selection: &'s mut Selection<'k>,
    window: u64,
    windows: u64,
    chosen: Bits,
    at: u64,
    number: u64,
}

impl Work<'_, '_> {
    /// Takes the next frames; false where there are none left.
    fn take(&mut self, most: usize, batch: &mut Batch) -> bool {
        batch.frames.clear();
        while batch.frames.len() < most {
            self.at = self.chosen.next(self.at, true);
            if self.at < WINDOW {
                batch.frames.push((self.window - 1) * WINDOW + self.at);
                self.at += 1;
            } else if self.window < self.windows {
                self.chosen = self.selection.chosen(self.window);
                self.window += 1;
                self.at = 0;
            } else {
                break;
            }
        }
        batch.number = self.number;
        self.number += 1;
        !batch.frames.is_empty()
    }
}

/// How pages are made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct How {
    pub(crate) compression: Compression,
    /// Whether pages of zeros are told apart.
    pub(crate) zero: bool,
    pub(crate) workers: usize,
}

/// Makes the chosen pages of all windows, and gives them to `write` in order; ends at its first
/// error, or where a worker panics.
pub(crate) fn run(
    selection: &mut Selection<'_>,
    how: How,
    mut write: impl FnMut(&Batch) -> io::Result<()>,
) -> io::Result<()> {
    let frames = selection.frames();
    let mut work = Work {
        windows: frames.windows(),
        selection,
        window: 0,
        chosen: Bits::none(),
        at: WINDOW,
        number: 0,
    };
    let workers = how.workers.clamp(1, WORKERS);
    if workers == 1 {
        let mut packer = Packer::new(how.compression);
        let mut batch = Batch::default();
        while work.take(MOST, &mut batch) {
            batch.make(frames, &mut packer, how.zero);
            write(&batch)?;
        }
        return Ok(());
    }
    let batches = 2 * workers + 1;
    let most = (UNDER_WAY / batches / (2 * PAGE)).clamp(1, MOST);
    let free = Queue::default();
    let made = Queue::default();
    for _ in 0..batches {
        free.put(Batch::default());
    }
    let work = Mutex::new(work);
    let busy = Mutex::new(workers);
    std::thread::scope(|scope| {
        let worker = || {
            let _ended = Ended {
                busy: &busy,
                made: &made,
                free: &free,
            };
            let mut packer = Packer::new(how.compression);
            while let Some(mut batch) = free.take() {
                let mut work = work.lock().unwrap_or_else(PoisonError::into_inner);
                let some = work.take(most, &mut batch);
                drop(work);
                if !some {
                    break;
                }
                batch.make(frames, &mut packer, how.zero);
                made.put(batch);
            }
        };
        let threads: Vec<_> = (0..workers).map(|_| scope.spawn(worker)).collect();
        // Workers that wait for a buffer are to end, also where `write` panics.
        let closes = Closes(&free);
        let result = hand_on(&made, &free, &mut write);
        drop(closes);
        let ends = threads.into_iter().map(|thread| thread.join().is_ok());
        match ends.filter(|is_well| !is_well).count() {
            0 => result,
            // A batch is missing.
            _ => result.and(Err(io::Error::other("a thread that packs pages panicked"))),
        }
    })
}

/// Closes a queue when dropped.
struct Closes<'q>(&'q Queue);

impl Drop for Closes<'_> {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Tells the others when a worker ends, however it does.
struct Ended<'q> {
    busy: &'q Mutex<usize>,
    made: &'q Queue,
    free: &'q Queue,
}

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        *busy -= 1;
        let panicked = std::thread::panicking();
        if *busy == 0 || panicked {
            self.made.close();
        }
        if panicked {
            // What it had is never written: what follows waits for that in vain.
            self.free.close();
        }
    }
}

/// Gives batches on in the order of their numbers.
fn hand_on(
    made: &Queue,
    free: &Queue,
    write: &mut impl FnMut(&Batch) -> io::Result<()>,
) -> io::Result<()> {
    let mut early = BTreeMap::new();
    let mut next = 0;
    while let Some(batch) = made.take() {
        early.insert(batch.number, batch);
        while let Some(batch) = early.remove(&next) {
            write(&batch)?;
            next += 1;
            free.put(batch);
        }
    }
    Ok(())
}

/// Batches that wait; who takes from an empty queue sleeps.
#[derive(Default)]
struct Queue {
    state: Mutex<(VecDeque<Batch>, bool)>,
    changed: Condvar,
}

impl Queue {
    fn put(&self, batch: Batch) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.0.push_back(batch);
        self.changed.notify_one();
    }

    /// Takes the next; none once the queue is closed and empty.
    fn take(&self) -> Option<Batch> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(batch) = state.0.pop_front() {
                return Some(batch);
            }
            if state.1 {
                return None;
            }
            let waited = self.changed.wait(state);
            state = waited.unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn close(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.1 = true;
        self.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_for_a_worker_that_panics_goes_on() {
        let (made, free) = (Queue::default(), Queue::default());
        let busy = Mutex::new(2);
        std::thread::scope(|scope| {
            let panics = scope.spawn(|| {
                let _ended = Ended {
                    busy: &busy,
                    made: &made,
                    free: &free,
                };
                panic!("of a worker");
            });
            let waits = scope.spawn(|| {
                let _ended = Ended {
                    busy: &busy,
                    made: &made,
                    free: &free,
                };
                while free.take().is_some() {}
            });
            assert!(hand_on(&made, &free, &mut |_| Ok(())).is_ok());
            assert!(panics.join().is_err());
            assert!(waits.join().is_ok());
        });
        assert_eq!(*busy.lock().expect("nobody panicked with it"), 0);
    }
}
