//! Maps: many entries at once, ids, information.

use std::os::fd::{BorrowedFd, OwnedFd};

use super::{Kernel, narrow};
use crate::bpf::{Batch, BatchWrite, Bpf, MapInfo};
use crate::call::{Call, Reply};
use crate::errno::Errno;
use crate::map_fd::MapFd;

#[allow(
    clippy::missing_errors_doc,
    reason = "each gives the error number of the call it names"
)]
impl dyn Kernel + '_ {
    /// Reads many entries at once; gives how many, and whether that was the end.
    pub fn map_batch(&self, batch: Batch<'_>) -> Result<(u32, bool), Errno> {
        match self.call(Call::Bpf(Bpf::MapBatch(batch)))? {
            Reply::Batch { count, ended } => Ok((count, ended)),
            _ => Err(Errno::IO),
        }
    }

    /// Writes or deletes many entries at once; gives how many were done, and whether it ended
    /// early at a key that is not there.
    pub fn map_batch_write(&self, batch: BatchWrite<'_>) -> Result<(u32, bool), Errno> {
        match self.call(Call::Bpf(Bpf::MapBatchWrite(batch)))? {
            Reply::Batch { count, ended } => Ok((count, ended)),
            _ => Err(Errno::IO),
        }
    }

    /// Looks up an entry and deletes it; queues and stacks take their next value.
    pub fn map_take(
        &self,
        map: &MapFd,
        key: &[u8],
        value: &mut [u8],
        flags: u64,
    ) -> Result<(), Errno> {
        self.done(Call::Bpf(Bpf::MapTake {
            map,
            key,
            value,
            flags,
        }))
    }

    /// Looks up with flags; a bloom filter reads the value that is asked for.
    pub fn map_lookup_flags(
        &self,
        map: &MapFd,
        key: &[u8],
        value: &mut [u8],
        flags: u64,
    ) -> Result<(), Errno> {
        self.done(Call::Bpf(Bpf::MapLookupFlags {
            map,
            key,
            value,
            flags,
        }))
    }

    /// Describes a map.
    pub fn map_info(&self, map: BorrowedFd<'_>) -> Result<MapInfo, Errno> {
        let mut into = [0; MapInfo::SIZE];
        self.done(Call::Bpf(Bpf::MapInfo {
            map,
            into: &mut into,
        }))?;
        Ok(MapInfo::decode(&into))
    }

    /// Gives the SHA-256 of what a frozen array holds; `EPERM` where it is not frozen.
    pub fn map_hash(&self, map: BorrowedFd<'_>) -> Result<[u8; 32], Errno> {
        let mut into = [0; 32];
        self.done(Call::Bpf(Bpf::MapHash {
            map,
            into: &mut into,
        }))?;
        Ok(into)
    }

    /// Binds a map's descriptor, however it was got, to its sizes.
    pub fn map_adopt(&self, fd: OwnedFd) -> Result<MapFd, Errno> {
        answer!(self.call(Call::Bpf(Bpf::MapAdopt { fd })), Map)
    }

    /// Finds the map with the next larger id; `ENOENT` at the end.
    pub fn map_next_id(&self, after: u32) -> Result<u32, Errno> {
        narrow(answer!(
            self.call(Call::Bpf(Bpf::MapNextId { after })),
            Number
        )?)
    }

    /// Opens a map by its id.
    pub fn map_by_id(&self, id: u32) -> Result<OwnedFd, Errno> {
        self.fd(Call::Bpf(Bpf::MapById { id }))
    }
}
