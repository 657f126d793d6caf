//! Values read and written under their lock, queues, stacks and Bloom filters.

use kscope_spec::MapKind;

use super::{Map, UpdateMode};
use crate::error::Error;

/// `BPF_F_LOCK`.
const LOCK: u64 = 4;

impl Map {
    /// Looks up a value under its own lock (a `struct bpf_spin_lock` in it), so that it is whole;
    /// the lock itself reads as zero.
    ///
    /// # Errors
    ///
    /// As [`Map::lookup`]; [`Error::Os`] with `EINVAL` for values without a lock.
    pub fn lookup_locked(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        self.check(key)?;
        let mut value = vec![0; self.transfer_size()];
        let found = self
            .kernel
            .map_lookup_flags(&self.fd, key, &mut value, LOCK);
        self.found("BPF_MAP_LOOKUP_ELEM", found, value)
    }

    /// Writes a value under its own lock.
    ///
    /// # Errors
    ///
    /// As [`Map::update`]; [`Error::Os`] with `EINVAL` for values without a lock.
    pub fn update_locked(&self, key: &[u8], value: &[u8], mode: UpdateMode) -> Result<(), Error> {
        self.check(key)?;
        self.sized("value", value, self.transfer_size())?;
        self.kernel
            .map_update(&self.fd, key, value, mode as u64 | LOCK)
            .map_err(|errno| self.failed("BPF_MAP_UPDATE_ELEM", errno))
    }

    /// Adds a value to a queue or stack; `replace` makes room by dropping the oldest.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for another kind; [`Error::Os`] with `E2BIG` where it is full.
    pub fn push(&self, value: &[u8], replace: bool) -> Result<(), Error> {
        self.must_queue()?;
        self.sized("value", value, self.value_size())?;
        let mode = if replace {
            UpdateMode::Replace
        } else {
            UpdateMode::Any
        };
        self.kernel
            .map_update(&self.fd, &[], value, mode as u64)
            .map_err(|errno| self.failed("BPF_MAP_UPDATE_ELEM", errno))
    }

    /// Takes the next value of a queue (the oldest) or stack (the newest); none where it is empty.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for another kind.
    pub fn pop(&self) -> Result<Option<Vec<u8>>, Error> {
        self.must_queue()?;
        let mut value = vec![0; self.value_size()];
        let taken = self.kernel.map_take(&self.fd, &[], &mut value, 0);
        self.found("BPF_MAP_LOOKUP_AND_DELETE_ELEM", taken, value)
    }

    /// Looks at the next value of a queue or stack, which stays.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for another kind.
    pub fn peek(&self) -> Result<Option<Vec<u8>>, Error> {
        self.must_queue()?;
        let mut value = vec![0; self.value_size()];
        let seen = self.kernel.map_lookup_flags(&self.fd, &[], &mut value, 0);
        self.found("BPF_MAP_LOOKUP_ELEM", seen, value)
    }

    /// Adds a value to a bloom filter.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for another kind.
    pub fn add(&self, value: &[u8]) -> Result<(), Error> {
        self.must_filter()?;
        self.sized("value", value, self.value_size())?;
        self.kernel
            .map_update(&self.fd, &[], value, 0)
            .map_err(|errno| self.failed("BPF_MAP_UPDATE_ELEM", errno))
    }

    /// Asks a bloom filter for a value: `false` means surely not, `true` most likely.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for another kind.
    pub fn may_contain(&self, value: &[u8]) -> Result<bool, Error> {
        self.must_filter()?;
        self.sized("value", value, self.value_size())?;
        let mut asked = value.to_vec();
        let found = self.kernel.map_lookup_flags(&self.fd, &[], &mut asked, 0);
        Ok(self.found("BPF_MAP_LOOKUP_ELEM", found, asked)?.is_some())
    }

    fn must_queue(&self) -> Result<(), Error> {
        match self.kind {
            MapKind::Queue | MapKind::Stack => Ok(()),
            _ => Err(self.no_such("next value")),
        }
    }

    fn must_filter(&self) -> Result<(), Error> {
        match self.kind {
            MapKind::BloomFilter => Ok(()),
            _ => Err(self.no_such("set of values to ask for")),
        }
    }
}
