//! What programs read and asked for, and how much of it they did not get.

use kscope_memory::{Gap, GapAt, VirtAddr};

/// Paths that programs asked for and did not get: they are empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Paths {
    /// Those that cannot be read.
    pub unread: u64,
    /// Those that are longer than the script has room for (`max_strlen`).
    pub too_long: u64,
}

/// Reads of kernel memory that programs made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reads {
    /// How many.
    pub all: u64,
    /// Those of kernel addresses that failed, by why: not mapped, excluded, lost, corrupt.
    pub failed: [u64; 4],
    /// Those of addresses that are none of the kernel, such as 0; the script asked for them.
    pub astray: u64,
}

impl Reads {
    /// Gives how many reads failed for a gap.
    #[must_use]
    pub fn of(&self, gap: Gap) -> u64 {
        self.failed[index(gap)]
    }

    /// Gives how many reads of kernel addresses failed.
    #[must_use]
    pub fn missing(&self) -> u64 {
        self.failed.iter().sum()
    }

    pub(super) fn count(&mut self, address: u64, gap: Option<GapAt>) {
        self.all += 1;
        match gap {
            Some(_) if !VirtAddr(address).is_kernel() => self.astray += 1,
            Some(gap) => self.failed[index(gap.why)] += 1,
            None => {}
        }
    }
}

fn index(gap: Gap) -> usize {
    match gap {
        Gap::Unmapped => 0,
        Gap::Excluded => 1,
        Gap::Lost => 2,
        Gap::Corrupt => 3,
    }
}
