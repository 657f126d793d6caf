//! Names of the numbers that every kernel has alike: errors, signals, system calls.

use std::collections::HashMap;
use std::sync::OnceLock;

/// A table of names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NameTable {
    /// What an error number means; a negative one is taken as positive.
    Error,
    /// What a signal means.
    Signal,
    /// System calls of x86-64.
    Syscall,
}

/// Signals that the kernel gives no meaning of its own.
const FIRST_REAL_TIME: i64 = 34;
const LAST_REAL_TIME: i64 = 64;

type Names = HashMap<i64, &'static str>;

/// Reads lines of a number and its name.
fn read(text: &'static str) -> Names {
    let lines = text.lines().filter_map(|line| line.split_once(' '));
    lines
        .filter_map(|(number, name)| Some((number.parse().ok()?, name)))
        .collect()
}

impl NameTable {
    fn names(self) -> &'static Names {
        static TABLES: [OnceLock<Names>; 3] = [const { OnceLock::new() }; 3];
        let (place, text) = match self {
            NameTable::Error => (0, include_str!("names/errors.txt")),
            NameTable::Signal => (1, include_str!("names/signals.txt")),
            NameTable::Syscall => (2, include_str!("names/syscalls_x86_64.txt")),
        };
        TABLES[place].get_or_init(|| read(text))
    }

    /// Gives the name of a number, or the words that stand for one without a name.
    ///
    /// # Examples
    ///
    /// ```
    /// use kscope_rows::NameTable;
    /// assert_eq!(NameTable::Error.name(-2), "No such file or directory");
    /// assert_eq!(NameTable::Signal.name(9), "Killed");
    /// assert_eq!(NameTable::Syscall.name(257), "openat");
    /// ```
    #[must_use]
    pub fn name(self, number: i64) -> String {
        let number = match self {
            NameTable::Error => number.saturating_abs(),
            NameTable::Signal | NameTable::Syscall => number,
        };
        if let Some(name) = self.names().get(&number) {
            return (*name).to_owned();
        }
        match (self, number) {
            (NameTable::Error, _) => "Unknown error".to_owned(),
            (NameTable::Syscall, _) => "Unknown syscall".to_owned(),
            (NameTable::Signal, FIRST_REAL_TIME..=LAST_REAL_TIME) => {
                format!("Real-time signal {}", number - FIRST_REAL_TIME)
            }
            (NameTable::Signal, 0..=LAST_REAL_TIME) => format!("Unknown signal {number}"),
            (NameTable::Signal, _) => "N/A".to_owned(),
        }
    }
}

/// Writes the flags of an allocation of the kernel (`gfp_t`) as its own messages do: names of
/// combinations first, what has no name as a number.
///
/// # Examples
///
/// ```
/// use kscope_rows::allocation_flags;
/// assert_eq!(allocation_flags(0xdc0), "GFP_KERNEL|__GFP_ZERO");
/// ```
#[must_use]
pub fn allocation_flags(flags: u64) -> String {
    const NAMES: &str = include_str!("names/allocation_flags.txt");
    if flags == 0 {
        return "0".to_owned();
    }
    let mut left = flags;
    let mut found: Vec<String> = Vec::new();
    for (mask, name) in NAMES.lines().filter_map(|line| line.split_once(' ')) {
        match u64::from_str_radix(mask, 16) {
            Ok(mask) if left & mask == mask => {
                found.push(name.to_owned());
                left &= !mask;
            }
            _ => {}
        }
    }
    if left != 0 {
        found.push(format!("{left:#x}"));
    }
    found.join("|")
}

#[cfg(test)]
mod tests {
    use super::{NameTable, allocation_flags};

    #[test]
    fn allocations_have_names() {
        let check = |flags, expected| assert_eq!(allocation_flags(flags), expected, "{flags:#x}");
        check(0, "0");
        check(0xcc0, "GFP_KERNEL");
        check(0x400, "__GFP_DIRECT_RECLAIM");
        check(0x0010_0cca, "GFP_HIGHUSER|0x8");
        check(0x0004_0cc0, "GFP_KERNEL|__GFP_COMP");
        check(
            0x00ff_ffff_ffff,
            "GFP_TRANSHUGE|GFP_ATOMIC|GFP_DMA|GFP_DMA32|__GFP_ZERO|__GFP_WRITE|\
             __GFP_RETRY_MAYFAIL|__GFP_NOFAIL|__GFP_NORETRY|__GFP_MEMALLOC|__GFP_THISNODE|\
             __GFP_ACCOUNT|__GFP_ZEROTAGS|__GFP_SKIP_ZERO|__GFP_NO_OBJ_EXT|0xfff8000210",
        );
    }

    #[test]
    fn numbers_have_names() {
        let check = |table: NameTable, number, expected: &str| {
            assert_eq!(table.name(number), expected, "{table:?} {number}");
        };
        check(NameTable::Error, 0, "Success");
        check(NameTable::Error, 25, "Not a typewriter");
        check(NameTable::Error, -133, "Memory page has hardware error");
        check(NameTable::Error, 41, "Unknown error");
        check(NameTable::Error, i64::MIN, "Unknown error");
        check(NameTable::Signal, 0, "Unknown signal 0");
        check(NameTable::Signal, 31, "Bad system call");
        check(NameTable::Signal, 33, "Unknown signal 33");
        check(NameTable::Signal, 64, "Real-time signal 30");
        check(NameTable::Signal, 65, "N/A");
        check(NameTable::Signal, -1, "N/A");
        check(NameTable::Syscall, 0, "read");
        check(NameTable::Syscall, 469, "file_setattr");
        check(NameTable::Syscall, 400, "Unknown syscall");
        check(NameTable::Syscall, -1, "Unknown syscall");
    }
}
