//! What is left out of a dump, and the kinds of pages.

use core::fmt;

/// Which pages are left out: makedumpfile's bits, from 0 (none) to 31 (all that can be).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct DumpLevel(u8);

impl DumpLevel {
    const ZERO: u8 = 1;
    const CACHE: u8 = 2;
    const CACHE_PRIVATE: u8 = 4;
    const USER: u8 = 8;
    const FREE: u8 = 16;
    /// Leaves out all that can be.
    pub const MOST: DumpLevel = DumpLevel(31);

    /// Takes the bits; none where there are others than the five.
    #[must_use]
    pub fn new(bits: u8) -> Option<DumpLevel> {
        (bits <= DumpLevel::MOST.0).then_some(DumpLevel(bits))
    }

    /// Gives the bits.
    #[must_use]
    pub fn bits(self) -> u8 {
        self.0
    }

    /// Tells whether pages of zeros take no room.
    pub(crate) fn zero(self) -> bool {
        self.0 & DumpLevel::ZERO != 0
    }

    /// Tells whether it depends on what the kernel knows of each page.
    pub(crate) fn asks_the_kernel(self) -> bool {
        self.0 & !DumpLevel::ZERO != 0
    }

    /// Gives what is left of the level where nothing is known of pages.
    pub(crate) fn without_the_kernel(self) -> DumpLevel {
        DumpLevel(self.0 & DumpLevel::ZERO)
    }

    /// Tells whether pages of a kind are left out.
    pub(crate) fn leaves_out(self, kind: PageKind) -> bool {
        let bits = match kind {
            PageKind::Kept => return false,
            PageKind::Cache => DumpLevel::CACHE | DumpLevel::CACHE_PRIVATE,
            PageKind::CachePrivate => DumpLevel::CACHE_PRIVATE,
            PageKind::User => DumpLevel::USER,
            PageKind::Free => DumpLevel::FREE,
            // There is nothing to be read of them, or reading them is another machine check.
            PageKind::Poisoned | PageKind::Offline => return self.asks_the_kernel(),
        };
        self.0 & bits != 0
    }
}

impl fmt::Display for DumpLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a page is used for, as far as it matters for leaving it out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PageKind {
    /// The kernel's own, or not known: never left out.
    Kept,
    /// Of a file, with nothing of the file system attached.
    Cache,
    /// Of a file, with something of the file system attached (`PG_private`).
    CachePrivate,
    /// Of a process: anonymous, or of hugetlbfs.
    User,
    /// Free.
    Free,
    /// The hardware reported an error in it (`PG_hwpoison`).
    Poisoned,
    /// Handed back to the hypervisor (balloons, virtio-mem).
    Offline,
}

impl PageKind {
    /// Every kind.
    pub const ALL: [PageKind; 7] = [
        PageKind::Kept,
        PageKind::Cache,
        PageKind::CachePrivate,
        PageKind::User,
        PageKind::Free,
        PageKind::Poisoned,
        PageKind::Offline,
    ];

    /// Gives the kind's name, as summaries have it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            PageKind::Kept => "kernel",
            PageKind::Cache => "cache",
            PageKind::CachePrivate => "private cache",
            PageKind::User => "user",
            PageKind::Free => "free",
            PageKind::Poisoned => "poisoned",
            PageKind::Offline => "offline",
        }
    }
}
