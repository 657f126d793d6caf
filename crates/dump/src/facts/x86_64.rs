//! What is particular to x86_64: page tables and registers.

use std::sync::{Mutex, PoisonError};

use kscope_memory::{Gap, GapAt, PhysAddr, PhysMemory, VirtAddr};

use super::vmcoreinfo::Vmcoreinfo;
use crate::Error;
use crate::bytes::u64_at;

/// Where the kernel's image is mapped, less its slide (`__START_KERNEL_map`).
const IMAGE: u64 = 0xffff_ffff_8000_0000;
/// Most that the mapping of the image spans.
const IMAGE_LEN: u64 = 1 << 30;
const PAGE: u64 = 4096;
/// Bits of a page table's entry that are an address.
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;
const PRESENT: u64 = 1;
const LARGE: u64 = 1 << 7;
/// Translations kept.
const KEPT: usize = 1024;

/// The kernel's page tables.
pub(crate) struct PageTables {
    root: PhysAddr,
    levels: u32,
    /// Bits of an entry that are an address, without the one that says "encrypted".
    address: u64,
    phys_base: u64,
    kept: Mutex<Vec<(u64, u64)>>,
}

impl PageTables {
    /// Takes from VMCOREINFO where they are and how deep.
    pub(crate) fn new(info: &Vmcoreinfo, phys_base: Option<u64>) -> Result<PageTables, Error> {
        let phys_base = info
            .number("phys_base")
            .map(|n| n as u64)
            .or(phys_base)
            .ok_or(Error::Missing("NUMBER(phys_base) in VMCOREINFO"))?;
        let root = info
            .symbol("swapper_pg_dir")
            .or_else(|| info.symbol("init_top_pgt"))
            .ok_or(Error::Missing("SYMBOL(swapper_pg_dir) in VMCOREINFO"))?;
        let five = info.number("pgtable_l5_enabled").unwrap_or(0) != 0;
        let encrypted = info.number("sme_mask").unwrap_or(0) as u64;
        Ok(PageTables {
            root: PhysAddr(root.0.wrapping_sub(IMAGE).wrapping_add(phys_base)),
            levels: if five { 5 } else { 4 },
            address: ADDRESS & !encrypted,
            phys_base,
            kept: Mutex::new(vec![(u64::MAX, 0); KEPT]),
        })
    }

    /// Gives where an address of the kernel's image is without page tables.
    fn image(&self, addr: VirtAddr) -> Option<PhysAddr> {
        let inside = addr.0.checked_sub(IMAGE).filter(|&o| o < IMAGE_LEN)?;
        Some(PhysAddr(inside.wrapping_add(self.phys_base)))
    }

    /// Gives the physical address of the page in which an address lies, and of the address.
    pub(crate) fn translate(
        &self,
        memory: &impl PhysMemory,
        addr: VirtAddr,
    ) -> Result<PhysAddr, Gap> {
        let page = addr.0 / PAGE;
        let place = page as usize % KEPT;
        {
            let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(&(of, phys)) = kept.get(place) {
                if of == page {
                    return Ok(PhysAddr(phys | (addr.0 % PAGE)));
                }
            }
        }
        let found = match self.walk(memory, addr) {
            Ok(found) => found,
            // Where a table is not in the dump, the image still is where it was loaded.
            Err(Gap::Unmapped) => return Err(Gap::Unmapped),
            Err(gap) => self.image(addr).ok_or(gap)?,
        };
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = kept.get_mut(place) {
            *entry = (page, found.0 & !(PAGE - 1));
        }
        Ok(found)
    }

    fn walk(&self, memory: &impl PhysMemory, addr: VirtAddr) -> Result<PhysAddr, Gap> {
        // The bits above the tables' repeat the highest that they translate.
        let unused = 64 - (12 + 9 * self.levels);
        if ((addr.0 << unused) as i64 >> unused) as u64 != addr.0 {
            return Err(Gap::Unmapped);
        }
        let mut table = self.root.0;
        for level in (0..self.levels).rev() {
            let shift = 12 + 9 * level;
            let index = (addr.0 >> shift) & 511;
            let mut raw = [0; 8];
            let place = PhysAddr(table).checked_add(index * 8);
            memory
                .read_phys(place.ok_or(Gap::Corrupt)?, &mut raw)
                .map_err(|gap| gap.why)?;
            let entry = u64::from_le_bytes(raw);
            if entry & PRESENT == 0 {
                return Err(Gap::Unmapped);
            }
            let base = entry & self.address;
            if level == 0 || (entry & LARGE != 0 && level <= 2) {
                let inside = (1u64 << shift) - 1;
                return Ok(PhysAddr((base & !inside) | (addr.0 & inside)));
            }
            table = base;
        }
        Err(Gap::Unmapped)
    }

    /// Reads across pages.
    pub(crate) fn read(
        &self,
        memory: &impl PhysMemory,
        addr: VirtAddr,
        buf: &mut [u8],
    ) -> Result<(), GapAt> {
        let mut done = 0usize;
        while let Some(rest) = buf.get_mut(done..).filter(|rest| !rest.is_empty()) {
            let left = rest.len() as u64;
            let gap = |at: VirtAddr, len: u64, why| GapAt { addr: at, len, why };
            let Some(at) = addr.checked_add(done as u64) else {
                return Err(gap(VirtAddr(u64::MAX), left, Gap::Unmapped));
            };
            let n = left.min(PAGE - at.0 % PAGE);
            let phys = self.translate(memory, at);
            let phys = phys.map_err(|why| gap(at, n, why))?;
            memory
                .read_phys(phys, &mut rest[..n as usize])
                .map_err(|g| {
                    let before = g.addr.0.wrapping_sub(phys.0);
                    gap(VirtAddr(at.0.wrapping_add(before)), g.len, g.why)
                })?;
            done += n as usize;
        }
        Ok(())
    }
}

/// Size of the registers as the kernel stores them on a stack (`struct pt_regs`).
pub(crate) const PT_REGS: usize = 21 * 8;
/// Where an exit status's registers begin, and where its process id is.
const PR_REG: usize = 112;

/// The registers of a CPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the machine's")]
pub struct Registers {
    pub r15: u64,
    pub r14: u64,
    pub r13: u64,
    pub r12: u64,
    pub rbp: u64,
    pub rbx: u64,
    pub r11: u64,
    pub r10: u64,
    pub r9: u64,
    pub r8: u64,
    pub rax: u64,
    pub rcx: u64,
    pub rdx: u64,
    pub rsi: u64,
    pub rdi: u64,
    pub orig_rax: u64,
    pub rip: u64,
    pub cs: u64,
    pub rflags: u64,
    pub rsp: u64,
    pub ss: u64,
}

impl Registers {
    /// Reads them in the order of `struct pt_regs`.
    #[must_use]
    pub fn from_pt_regs(raw: &[u8; 168]) -> Registers {
        let at = |index: usize| u64_at(raw, index * 8);
        Registers {
            r15: at(0),
            r14: at(1),
            r13: at(2),
            r12: at(3),
            rbp: at(4),
            rbx: at(5),
            r11: at(6),
            r10: at(7),
            r9: at(8),
            r8: at(9),
            rax: at(10),
            rcx: at(11),
            rdx: at(12),
            rsi: at(13),
            rdi: at(14),
            orig_rax: at(15),
            rip: at(16),
            cs: at(17),
            rflags: at(18),
            rsp: at(19),
            ss: at(20),
        }
    }

    /// Reads them from a status note (`NT_PRSTATUS`), which begins with the same order.
    pub(crate) fn from_prstatus(note: &[u8]) -> Option<Registers> {
        let raw = note.get(PR_REG..PR_REG + PT_REGS)?;
        raw.first_chunk().map(Registers::from_pt_regs)
    }

    /// Tells whether the CPU was in user mode.
    #[must_use]
    pub fn is_user(&self) -> bool {
        self.cs & 3 != 0
    }
}
