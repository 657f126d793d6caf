//! What may be kept of a file: a multiple of its size, whatever it says.

use super::error::ReadError;

/// Multiple of the file's size that copies of its parts may take.
const MULTIPLE: usize = 16;
/// Multiple of the file's size that all programs together may take, in bytes: each has its own
/// copy of the subprograms that it calls.
const PROGRAMS: usize = 64;
/// What even the smallest file may take of both.
const FLOOR: usize = 1 << 20;

/// What is left.
pub(super) struct Budget {
    copies: usize,
    programs: usize,
}

impl Budget {
    pub(super) fn of(file: &[u8]) -> Budget {
        let times = |multiple| file.len().saturating_mul(multiple).saturating_add(FLOOR);
        Budget {
            copies: times(MULTIPLE),
            programs: times(PROGRAMS),
        }
    }

    /// Takes what a copy of `bytes` needs. In a file whose parts do not overlap there is always
    /// enough.
    pub(super) fn take(&mut self, bytes: usize, what: &'static str) -> Result<(), ReadError> {
        self.copies = self
            .copies
            .checked_sub(bytes)
            .ok_or(ReadError::Overlapping { what })?;
        Ok(())
    }

    /// Takes what a program of `bytes` needs; false where too little is left.
    pub(super) fn program(&mut self, bytes: usize) -> bool {
        match self.programs.checked_sub(bytes) {
            Some(left) => {
                self.programs = left;
                true
            }
            None => false,
        }
    }
}
