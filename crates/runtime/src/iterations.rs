//! Iterators: each is walked once, beside the reading of what its program sends.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use kscope_bpf::IterReader;

use crate::error::Error;

/// Iterations that are to begin, or go on.
#[derive(Debug, Default)]
pub(crate) struct Iterations {
    ready: Vec<IterReader>,
    running: Vec<JoinHandle<Result<(), kscope_bpf::Error>>>,
    /// Whether what walks is to walk no further.
    stopped: Arc<AtomicBool>,
}

impl Iterations {
    pub(crate) fn new(ready: Vec<IterReader>) -> Iterations {
        Iterations {
            ready,
            ..Iterations::default()
        }
    }

    /// Gives how many there are.
    pub(crate) fn len(&self) -> usize {
        self.ready.len() + self.running.len()
    }

    /// Begins those that are to begin: the first in the order of the script, the next when it is
    /// done. Says whether all are done.
    ///
    /// # Errors
    ///
    /// [`Error::Kernel`] for a walk that failed.
    pub(crate) fn go_on(&mut self) -> Result<bool, Error> {
        if !self.ready.is_empty() {
            let readers = std::mem::take(&mut self.ready);
            let stopped = Arc::clone(&self.stopped);
            let goes_on = move || !stopped.load(Ordering::Relaxed);
            self.running.push(std::thread::spawn(move || {
                for mut reader in readers {
                    // The programs write nothing: what they send comes through the buffer of events.
                    while goes_on() && reader.read(&mut [0; 64])? != 0 {}
                }
                Ok(())
            }));
        }
        if !self.running.iter().all(JoinHandle::is_finished) {
            return Ok(false);
        }
        for done in self.running.drain(..) {
            if let Ok(walked) = done.join() {
                walked?;
            }
        }
        Ok(true)
    }

    /// Ends those that are under way and leaves out the others. It waits for what the kernel walks at
    /// once, which may be all objects of a kind: nothing makes it stop, and what its program sends is
    /// the script's.
    pub(crate) fn stop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        self.ready.clear();
        for walked in self.running.drain(..) {
            // What failed in a walk that is to end is no matter any more.
            drop(walked.join());
        }
    }
}
