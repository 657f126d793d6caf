//! Per-CPU variables: each CPU has a copy at its own offset.

use crate::{GapAt, Memory, VirtAddr};

/// The offsets of the CPUs' copies (`__per_cpu_offset`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PerCpu {
    offsets: VirtAddr,
}

impl PerCpu {
    /// Takes the address of `__per_cpu_offset`.
    #[must_use]
    pub fn new(offsets: VirtAddr) -> PerCpu {
        PerCpu { offsets }
    }

    /// Gives the address of a CPU's copy of a variable. The variable's own address may be counted
    /// from 0, as until 6.14 on x86_64, or be one of the image: the offsets fit either.
    ///
    /// # Errors
    /// Where the CPU's offset cannot be read.
    pub fn address(
        &self,
        memory: &dyn Memory,
        variable: VirtAddr,
        cpu: u32,
    ) -> Result<VirtAddr, GapAt> {
        let place = VirtAddr(self.offsets.0.wrapping_add(8 * u64::from(cpu)));
        let offset = memory.read_u64(place)?;
        Ok(VirtAddr(variable.0.wrapping_add(offset)))
    }
}
