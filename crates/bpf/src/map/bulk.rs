//! Many entries of a map at once.

use kscope_spec::MapKind;
use kscope_sys::{BatchKind, BatchWrite, Errno};

use super::{Map, UpdateMode};
use crate::error::Error;

impl Map {
    /// Empties the map: hash kinds lose their entries, arrays are set to zero.
    ///
    /// # Errors
    ///
    /// What the kernel says.
    pub fn clear(&self) -> Result<(), Error> {
        if matches!(self.kind, MapKind::Array | MapKind::PerCpuArray) {
            let zero = vec![0; self.transfer_size()];
            for index in 0..self.max_entries() {
                self.update(&index.to_ne_bytes(), &zero, UpdateMode::Any)?;
            }
            return Ok(());
        }
        if self.is_hash() {
            return self.take_all().map(drop);
        }
        for entry in self.snapshot()?.entries() {
            self.delete(entry.key)?;
        }
        Ok(())
    }

    /// Writes many entries; `keys` and `values` are one after another. Gives how many were written,
    /// which is all of them.
    ///
    /// In one call where the kernel can (5.6; per-CPU arrays 5.13) and `mode` is [`UpdateMode::Any`],
    /// else one by one.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for sizes that do not match; [`Error::Os`] with `E2BIG` where the map is
    /// full. Entries that come before the one at fault are written then.
    pub fn update_many(
        &self,
        keys: &[u8],
        values: &[u8],
        mode: UpdateMode,
    ) -> Result<usize, Error> {
        let count = self.count(keys)?;
        let one = self.transfer_size();
        self.sized("list of values", values, count.saturating_mul(one))?;
        if count == 0 {
            return Ok(0);
        }
        match self.write(BatchKind::Update(values), keys, count, mode as u64) {
            Err(errno) if lacks_batches(errno) => {
                let keys = keys.chunks_exact(self.key_size());
                for (key, value) in keys.zip(values.chunks_exact(one)) {
                    self.update(key, value, mode)?;
                }
                Ok(count)
            }
            Ok((_, true)) => Err(self.failed("BPF_MAP_UPDATE_BATCH", Errno::NOENT)),
            Ok((done, false)) => Ok(done),
            Err(errno) => Err(self.failed("BPF_MAP_UPDATE_BATCH", errno)),
        }
    }

    /// Deletes many keys, one after another in `keys`. Gives how many were there.
    ///
    /// # Errors
    ///
    /// As [`Map::delete`].
    pub fn delete_many(&self, keys: &[u8]) -> Result<usize, Error> {
        let count = self.count(keys)?;
        let (mut at, mut deleted) = (0, 0);
        while at < count {
            let rest = keys.get(at * self.key_size()..).unwrap_or_default();
            match self.write(BatchKind::Delete, rest, count - at, 0) {
                Ok((done, ended)) => {
                    deleted += done;
                    // One that is not there ends the kernel's walk: it goes on after it.
                    at += done.min(count - at) + usize::from(ended);
                    if done == 0 && !ended {
                        break;
                    }
                }
                Err(errno) if lacks_batches(errno) && at == 0 => {
                    for key in keys.chunks_exact(self.key_size()) {
                        deleted += usize::from(self.delete(key)?);
                    }
                    break;
                }
                Err(errno) => return Err(self.failed("BPF_MAP_DELETE_BATCH", errno)),
            }
        }
        Ok(deleted)
    }

    fn write(
        &self,
        kind: BatchKind<'_>,
        keys: &[u8],
        count: usize,
        flags: u64,
    ) -> Result<(usize, bool), Errno> {
        let (done, ended) = self.kernel.map_batch_write(BatchWrite {
            map: &self.fd,
            kind,
            keys,
            count: u32::try_from(count).map_err(|_| Errno::TOO_BIG)?,
            flags,
        })?;
        Ok((done as usize, ended))
    }

    /// Counts keys that lie one after another.
    fn count(&self, keys: &[u8]) -> Result<usize, Error> {
        let one = self.key_size();
        if one == 0 {
            return Err(self.no_such("keys"));
        }
        let count = keys.len() / one;
        self.sized("list of keys", keys, count * one)?;
        Ok(count)
    }
}

/// Tells whether a kernel says so that it has no calls for many entries of this kind.
fn lacks_batches(errno: Errno) -> bool {
    matches!(errno, Errno::NOTSUPP | Errno::OPNOTSUPP | Errno::INVAL)
}
