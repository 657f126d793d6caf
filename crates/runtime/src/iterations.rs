//! Iterators: each is walked once, beside the reading of what its program sends.

use std::thread::JoinHandle;

use kscope_bpf::IterReader;

use crate::error::Error;

/// Iterations that are to begin, or go on.
#[derive(Debug, Default)]
pub(crate) struct Iterations {
    ready: Vec<IterReader>,
    running: Vec<JoinHandle<Result<(), kscope_bpf::Error>>>,
}

impl Iterations {
    pub(crate) fn new(ready: Vec<IterReader>) -> Iterations {
        Iterations {
            ready,
            running: Vec::new(),
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
            self.running.push(std::thread::spawn(move || {
                for mut reader in readers {
                    // The programs write nothing: what they send comes through the buffer of events.
                    while reader.read(&mut [0; 64])? != 0 {}
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
}
