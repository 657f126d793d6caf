//! The kernel's arrays by index: `struct xarray`, and radix trees since 4.20, which are the same.

use kscope_btf::Btf;

use crate::{FieldAt, Memory, ObjectError, VirtAddr, WalkError};

/// Deepest array: 64 bits of index, at least 4 at a level.
const DEEPEST: usize = 16;
/// Most entries of a node.
const SLOTS: u64 = 256;

/// Where the kernel keeps what in an array.
#[derive(Clone, Copy, Debug)]
pub struct XarrayLayout {
    head: u64,
    shift: u64,
    slots: u64,
    count: u64,
}

impl XarrayLayout {
    /// Finds the members of this kernel.
    ///
    /// # Errors
    /// Where one of them does not exist.
    pub fn of(btf: &Btf) -> Result<XarrayLayout, ObjectError> {
        let node = |path: &str| FieldAt::of(btf, "xa_node", path);
        let slots = node("slots")?;
        let bytes = btf.size_of(slots.type_id).unwrap_or(0);
        Ok(XarrayLayout {
            head: FieldAt::of(btf, "xarray", "xa_head")?.offset,
            shift: node("shift")?.offset,
            slots: slots.offset,
            count: (bytes / 8).min(SLOTS),
        })
    }

    /// Gives the entries of an array with their indices, in order, and why there may be more.
    ///
    /// Entries are as the kernel keeps them: values have their lowest bit set.
    #[must_use]
    pub fn entries(
        &self,
        memory: &dyn Memory,
        array: VirtAddr,
        most: usize,
    ) -> (Vec<(u64, u64)>, Option<WalkError>) {
        let mut found = Vec::new();
        let mut nodes = 0;
        let mut walk = || {
            let head = array.checked_add(self.head);
            let head = memory.read_u64(head.ok_or(WalkError::Astray(array))?)?;
            self.below(
                memory,
                head,
                0,
                u64::from(u8::MAX),
                most,
                &mut nodes,
                &mut found,
            )
        };
        let fault = walk().err();
        (found, fault)
    }

    #[allow(clippy::too_many_arguments, reason = "the state of one walk")]
    fn below(
        &self,
        memory: &dyn Memory,
        entry: u64,
        index: u64,
        above: u64,
        most: usize,
        nodes: &mut usize,
        found: &mut Vec<(u64, u64)>,
    ) -> Result<(), WalkError> {
        // Internal entries end in the bits 10; the small ones are no nodes but refer to siblings
        // or say that there is nothing.
        let is_node = entry & 3 == 2 && entry > 4096;
        if !is_node {
            if entry != 0 && entry & 3 != 2 {
                if found.len() >= most {
                    return Err(WalkError::Bound(most));
                }
                found.push((index, entry));
            }
            return Ok(());
        }
        let node = VirtAddr(entry & !3);
        if !node.is_kernel() {
            return Err(WalkError::Astray(node));
        }
        *nodes += 1;
        if *nodes > most.saturating_mul(2).saturating_add(DEEPEST) {
            return Err(WalkError::Bound(most));
        }
        let at = |offset: u64| node.checked_add(offset).ok_or(WalkError::Astray(node));
        let shift = u64::from(memory.read_u8(at(self.shift)?)?);
        // Nodes below have smaller shifts, so that no path comes back.
        if shift >= above.min(64) {
            return Err(WalkError::Cycle(node));
        }
        for slot in 0..self.count {
            let entry = memory.read_u64(at(self.slots + slot * 8)?)?;
            if entry != 0 {
                let own = index.wrapping_add(slot.checked_shl(shift as u32).unwrap_or(0));
                self.below(memory, entry, own, shift, most, nodes, found)?;
            }
        }
        Ok(())
    }
}
