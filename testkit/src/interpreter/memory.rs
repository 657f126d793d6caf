//! Regions of memory at made-up addresses.

use super::FaultKind;
use std::collections::BTreeMap;

/// Which fake memory `probe_read` reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Space {
    /// Kernel memory.
    Kernel,
    /// User memory.
    User,
}

/// What a region is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// The context.
    Context,
    /// A frame of 512 bytes.
    Stack,
    /// A map's value, key, or a ring buffer record.
    Data,
}

/// Bytes at an address.
#[derive(Clone, Debug)]
pub(super) struct Region {
    pub(super) bytes: Vec<u8>,
    /// Whether each byte was written.
    written: Vec<bool>,
    writable: bool,
    purpose: Purpose,
}

/// All memory of a machine.
#[derive(Clone, Debug, Default)]
pub(super) struct Memory {
    regions: BTreeMap<u64, Region>,
    /// Bytes of the fake kernel and user memory.
    foreign: BTreeMap<(Space, u64), u8>,
    next: u64,
}

/// Where regions begin: no address a program could meet by accident.
const FIRST: u64 = 0x7a00_0000_0000_0000;
const PAGE: u64 = 4096;

impl Memory {
    /// Makes a region of written zeros.
    pub(super) fn zeros(&mut self, len: usize, writable: bool) -> u64 {
        self.region(vec![0; len], true, writable, Purpose::Data)
    }

    /// Makes a region that programs may only read.
    pub(super) fn read_only(&mut self, bytes: Vec<u8>) -> u64 {
        self.region(bytes, true, false, Purpose::Data)
    }

    /// Makes a region of bytes nobody wrote.
    pub(super) fn unwritten(&mut self, len: usize, purpose: Purpose) -> u64 {
        self.region(vec![0; len], false, true, purpose)
    }

    /// Makes the region of a context.
    pub(super) fn context(&mut self, bytes: &[u8], writable: bool) -> u64 {
        self.region(bytes.to_vec(), true, writable, Purpose::Context)
    }

    fn region(&mut self, bytes: Vec<u8>, written: bool, writable: bool, purpose: Purpose) -> u64 {
        let base = FIRST.saturating_add(self.next);
        let pages = (bytes.len() as u64 / PAGE).saturating_add(2);
        self.next = self.next.saturating_add(pages.saturating_mul(PAGE));
        let region = Region {
            written: vec![written; bytes.len()],
            bytes,
            writable,
            purpose,
        };
        self.regions.insert(base, region);
        base
    }

    pub(super) fn free(&mut self, base: u64) -> Option<Region> {
        self.regions.remove(&base)
    }

    /// Gives the whole region that begins at an address.
    pub(super) fn whole(&self, base: u64) -> &[u8] {
        self.regions
            .get(&base)
            .map_or(&[], |region| region.bytes.as_slice())
    }

    fn find(&self, addr: u64, size: u64) -> Result<(u64, usize, usize), FaultKind> {
        let outside = FaultKind::OutOfBounds { addr, size };
        let Some((base, region)) = self.regions.range(..=addr).next_back() else {
            return Err(outside);
        };
        let start = addr - base;
        match start.checked_add(size) {
            Some(end) if end <= region.bytes.len() as u64 => {
                Ok((*base, start as usize, end as usize))
            }
            _ => Err(outside),
        }
    }

    /// Reads bytes that must all be there and written.
    pub(super) fn read(&self, addr: u64, size: u64) -> Result<&[u8], FaultKind> {
        let (base, start, end) = self.find(addr, size)?;
        let outside = FaultKind::OutOfBounds { addr, size };
        let region = self.regions.get(&base).ok_or(outside.clone())?;
        let written = region.written.get(start..end).ok_or(outside.clone())?;
        if let Some(at) = written.iter().position(|written| !written) {
            let offset = start.saturating_add(at);
            let on_stack = region.purpose == Purpose::Stack;
            return Err(FaultKind::UnwrittenMemory {
                addr: base.saturating_add(offset as u64),
                frame_offset: on_stack.then(|| offset as i64 - region.bytes.len() as i64),
            });
        }
        region.bytes.get(start..end).ok_or(outside)
    }

    /// Writes bytes that must all be there and writable.
    pub(super) fn write(&mut self, addr: u64, data: &[u8]) -> Result<(), FaultKind> {
        self.writable(addr, data.len() as u64)?;
        let (base, start, end) = self.find(addr, data.len() as u64)?;
        if let Some(region) = self.regions.get_mut(&base) {
            if let Some(bytes) = region.bytes.get_mut(start..end) {
                bytes.copy_from_slice(data);
            }
            if let Some(written) = region.written.get_mut(start..end) {
                written.fill(true);
            }
        }
        Ok(())
    }

    /// Demands that bytes are there and writable.
    pub(super) fn writable(&self, addr: u64, size: u64) -> Result<(), FaultKind> {
        let (base, ..) = self.find(addr, size)?;
        match self.regions.get(&base) {
            Some(region) if region.writable => Ok(()),
            _ => Err(FaultKind::ReadOnly { addr }),
        }
    }

    /// Counts bytes as written without a change of what they hold.
    pub(super) fn mark_written(&mut self, addr: u64, size: u64) -> Result<(), FaultKind> {
        let (base, start, end) = self.find(addr, size)?;
        let region = self.regions.get_mut(&base);
        if let Some(written) = region.and_then(|region| region.written.get_mut(start..end)) {
            written.fill(true);
        }
        Ok(())
    }

    /// Demands of a plain load or store what the verifier demands of it.
    pub(super) fn aligned(&self, addr: u64, size: u64) -> Result<(), FaultKind> {
        let (base, ..) = self.find(addr, size)?;
        let strict = self.regions.get(&base).map(|region| region.purpose) == Some(Purpose::Stack);
        if strict && addr.checked_rem(size) != Some(0) {
            return Err(FaultKind::Misaligned { addr });
        }
        Ok(())
    }

    pub(super) fn set_foreign(&mut self, space: Space, addr: u64, bytes: &[u8]) {
        for (at, byte) in (addr..=u64::MAX).zip(bytes) {
            self.foreign.insert((space, at), *byte);
        }
    }

    /// Reads a byte as `probe_read` does: regions count as kernel memory.
    pub(super) fn probe(&self, space: Space, addr: u64) -> Option<u8> {
        if let Some(byte) = self.foreign.get(&(space, addr)) {
            return Some(*byte);
        }
        if space == Space::User {
            return None;
        }
        let (base, start, _) = self.find(addr, 1).ok()?;
        self.regions.get(&base)?.bytes.get(start).copied()
    }

    /// Reads bytes as `probe_read` does, or gives `None` where one is missing.
    pub(super) fn probe_all(&self, space: Space, addr: u64, size: u64) -> Option<Vec<u8>> {
        (0..size)
            .map(|at| self.probe(space, addr.checked_add(at)?))
            .collect()
    }
}

impl Region {
    /// Gives the number of bytes nobody wrote.
    pub(super) fn holes(&self) -> usize {
        self.written.iter().filter(|written| !**written).count()
    }
}
