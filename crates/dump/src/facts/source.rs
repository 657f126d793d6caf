//! Where the bytes of a kernel come from: a dump of a dead one, or one that runs.

use std::time::Duration;

use kscope_btf::Btf;
use kscope_memory::{GapAt, KernelSymbols, Memory, PhysMemory, VirtAddr};

use super::vmcoreinfo::{Vmcoreinfo, VmcoreinfoFrom};
use super::x86_64::{PageTables, Registers};
use crate::{Dump, Error};

/// A kernel that runs, whose memory somebody reads, and what it says of itself in files.
pub trait RunningKernel: Memory + Send + Sync {
    /// Gives the release, as `uname -r` says it.
    fn release(&self) -> &str;

    /// Gives the symbols of the image and of the modules.
    ///
    /// # Errors
    /// Where there are none or their addresses are hidden.
    fn symbols(&self) -> Result<&KernelSymbols, Error>;

    /// Gives the types.
    ///
    /// # Errors
    /// Where the kernel shows none.
    fn btf(&self) -> Result<Btf, Error>;

    /// Gives a task, from which the first one can be found where the symbols are of code alone
    /// (kernels built without `CONFIG_KALLSYMS_ALL`).
    fn some_task(&self) -> Option<VirtAddr>;

    /// Tells how long ago the oldest memory was read that is still handed out.
    fn age(&self) -> Duration;

    /// Forgets what was read of these bytes, so that they are read again.
    fn forget(&self, start: VirtAddr, len: u64);
}

/// Where the bytes come from.
pub(crate) enum Source {
    Dump(Box<DumpSource>),
    Running(Box<dyn RunningKernel>),
}

/// A dump, and what leads through it.
pub(crate) struct DumpSource {
    pub(crate) dump: Dump,
    pub(crate) info: Vmcoreinfo,
    pub(crate) info_from: VmcoreinfoFrom,
    pub(crate) tables: PageTables,
}

impl Source {
    pub(crate) fn dump(&self) -> Option<&DumpSource> {
        match self {
            Source::Dump(dump) => Some(dump),
            Source::Running(_) => None,
        }
    }

    pub(crate) fn running(&self) -> Option<&dyn RunningKernel> {
        match self {
            Source::Dump(_) => None,
            Source::Running(running) => Some(&**running),
        }
    }

    /// Gives the registers that the CPUs had, of a kernel that stopped.
    pub(crate) fn registers(&self) -> Vec<Registers> {
        let Some(source) = self.dump() else {
            return Vec::new();
        };
        let notes = source.dump.notes();
        notes.cpus().filter_map(Registers::from_prstatus).collect()
    }
}

impl Memory for Source {
    fn read(&self, addr: VirtAddr, buf: &mut [u8]) -> Result<(), GapAt> {
        match self {
            Source::Dump(source) => source.read(addr, buf),
            Source::Running(running) => running.read(addr, buf),
        }
    }
}

impl Memory for DumpSource {
    fn read(&self, addr: VirtAddr, buf: &mut [u8]) -> Result<(), GapAt> {
        let read = self.tables.read(&self.dump, addr, buf);
        // Segments of ELF files say virtual addresses too: what page tables that are missing do
        // not lead to may be there.
        read.or_else(|gap| match addr.is_kernel() {
            true => self.dump.read_segment(addr, buf).map_err(|_| gap),
            false => Err(gap),
        })
    }
}

impl PhysMemory for Source {
    fn read_phys(
        &self,
        addr: kscope_memory::PhysAddr,
        buf: &mut [u8],
    ) -> Result<(), GapAt<kscope_memory::PhysAddr>> {
        match self {
            Source::Dump(source) => source.dump.read_phys(addr, buf),
            Source::Running(_) => Err(GapAt {
                addr,
                len: buf.len() as u64,
                why: kscope_memory::Gap::Unmapped,
            }),
        }
    }
}
