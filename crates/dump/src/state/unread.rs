//! What could not be read in the course of an analysis.

use crate::{Error, Walked};

/// How many things could not be read, and why the first of them.
#[derive(Clone, Debug, Default)]
pub struct Unread {
    /// Their number.
    pub count: usize,
    /// Why the first could not; none where all were read.
    pub first: Option<Error>,
}

impl Unread {
    /// Counts one that could not be read.
    pub(crate) fn note(&mut self, error: Error) {
        self.count = self.count.saturating_add(1);
        self.first.get_or_insert(error);
    }

    /// Gives what was read, and counts what was not.
    pub(crate) fn keep<T>(&mut self, read: Result<T, impl Into<Error>>) -> Option<T> {
        read.map_err(|error| self.note(error.into())).ok()
    }

    /// Gives what a walk found, and counts its end where it came too early.
    pub(crate) fn walked<T>(&mut self, walked: Walked<T>) -> Vec<T> {
        if let Some(fault) = walked.fault {
            self.note(fault);
        }
        walked.items
    }
}

/// What was found, and how much of it could not be read.
#[derive(Clone, Debug)]
pub struct Partly<T> {
    /// What was found.
    pub items: Vec<T>,
    /// What could not be read.
    pub unread: Unread,
}
