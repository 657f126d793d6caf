//! Writing dumps.
//!
//! A dump is a walk over page frames in their order, window by window (128 MB), so that what is
//! kept does not grow with the machine's memory.
//!
//! 1. **What there is.** `frames` tells which frames of a window are memory and which the source
//!    has: the segments of an ELF file such as /proc/vmcore, or the bitmaps of a compressed one.
//! 2. **What is left out.** `memmap` finds the `struct page`s through the sections of `SPARSEMEM`,
//!    whose table VMCOREINFO gives, and reads them in pieces of 256 KB that lie together in
//!    physical memory. `page` says what each page is for: free (its type says "buddy", and with it
//!    go as many as its order says), of a file (on an LRU list or swap cache, not anonymous) with or
//!    without private data, of a process (anonymous, hugetlbfs), poisoned, offline. A compound
//!    page's tails share its fate at once. The layout is VMCOREINFO's; what that lacks the kernel's
//!    own types tell. By kernel: the order of a compound page is a byte of the second
//!    `struct page` before 6.6 and of its flags since; hugetlbfs is a destructor's number before
//!    6.6, a bit of the second page's flags until 6.8, a page type since; `PG_slab` became a page
//!    type in 6.10, and `PAGE_SLAB_MAPCOUNT_VALUE` says so. Where pages cannot be told apart they
//!    are written, and the summary says why.
//! 3. **The plan.** `selection` looks at every window once: bitmaps (or segments) need to be known
//!    before the first page. It keeps what it chose for as many windows as 6 MB hold; windows all of
//!    whose pages are left out cost nothing, and the rest are looked at a second time. With 32 bytes
//!    for each window, 1 TB of memory takes 6.3 MB of it, 64 TB 22 MB.
//! 4. **The pages.** In `pipeline` workers take the next frames, read and pack them (`pack`); the
//!    caller's thread writes them in order. 8 MB of buffers are under way, whatever the number of
//!    workers; who has nothing to do sleeps. A page of zeros is told apart first.
//! 5. **The file.** `kdump` writes kdump-compressed files, `elf` ELF; `sink` is a file, which is
//!    written at places, or a pipe, through which places go as records. The file says that it is
//!    incomplete until its end. `unfinished` gives it its name only then.
//!
//! A page that cannot be read is lost: its descriptor stays empty, which readers tell from pages
//! left out, and the dump says of itself that it is not whole.

mod elf;
mod frames;
mod kdump;
mod level;
mod memmap;
mod pack;
mod page;
mod pipeline;
mod save;
mod selection;
mod sink;
mod unfinished;
mod watch;

pub use level::{DumpLevel, PageKind};
pub use pack::Compression;
pub use save::{SaveError, SaveOptions, SaveOutput, SaveSummary, save};
pub use unfinished::Unfinished;
pub use watch::{SaveProgress, SaveStep, SaveWatch};
