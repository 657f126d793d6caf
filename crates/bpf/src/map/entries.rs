//! Entries under a lock, taken, in bulk, by CPU; queues, stacks and bloom filters.

use kscope_spec::MapKind;
use kscope_sys::Errno;

use super::{Map, UpdateMode};
use crate::error::Error;

/// `BPF_F_LOCK`.
const LOCK: u64 = 4;

/// One value for each possible CPU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PerCpuValues {
    bytes: Vec<u8>,
    size: usize,
    stride: usize,
}

impl PerCpuValues {
    /// Gives the number of possible CPUs.
    pub fn cpus(&self) -> usize {
        self.bytes.len() / self.stride
    }

    /// Gives the values, in the order of the possible CPUs' numbers.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let slots = self.bytes.chunks(self.stride);
        slots.map(|slot| slot.get(..self.size).unwrap_or_default())
    }

    /// Gives the value of the `index`th possible CPU.
    pub fn get(&self, index: usize) -> Option<&[u8]> {
        self.iter().nth(index)
    }

    /// Gives the value of the `index`th possible CPU, to be changed.
    pub fn get_mut(&mut self, index: usize) -> Option<&mut [u8]> {
        let size = self.size;
        self.bytes
            .chunks_mut(self.stride)
            .nth(index)?
            .get_mut(..size)
    }

    /// Adds the values up as unsigned numbers of 4 or 8 bytes; none for other sizes.
    pub fn sum(&self) -> Option<u64> {
        self.iter().try_fold(0u64, |sum, value| {
            let value = match value.len() {
                4 => u64::from(u32::from_ne_bytes(*value.first_chunk()?)),
                8 => u64::from_ne_bytes(*value.first_chunk()?),
                _ => return None,
            };
            Some(sum.wrapping_add(value))
        })
    }
}

impl Map {
    /// Makes room for one value of each CPU, all zero, for [`Map::update_cpus`].
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for a map without values by CPU.
    pub fn zero_cpus(&self) -> Result<PerCpuValues, Error> {
        if !self.is_per_cpu() {
            return Err(self.no_such("values by CPU"));
        }
        Ok(PerCpuValues {
            bytes: vec![0; self.transfer_size()],
            size: self.value_size(),
            stride: self.stride(),
        })
    }

    /// Looks up the values of all CPUs; none if the key is not there.
    ///
    /// # Errors
    ///
    /// As [`Map::zero_cpus`] and [`Map::lookup`].
    pub fn lookup_cpus(&self, key: &[u8]) -> Result<Option<PerCpuValues>, Error> {
        let mut values = self.zero_cpus()?;
        let there = self.lookup_into(key, &mut values.bytes)?;
        Ok(there.then_some(values))
    }

    /// Writes a value for each CPU.
    ///
    /// # Errors
    ///
    /// As [`Map::update`].
    pub fn update_cpus(
        &self,
        key: &[u8],
        values: &PerCpuValues,
        mode: UpdateMode,
    ) -> Result<(), Error> {
        if !self.is_per_cpu() {
            return Err(self.no_such("values by CPU"));
        }
        self.update(key, &values.bytes, mode)
    }

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

    /// Looks up a value and deletes it at once; none if the key is not there.
    ///
    /// # Errors
    ///
    /// As [`Map::lookup`].
    ///
    /// # Minimum kernel version
    ///
    /// Linux 5.14 for hashes; before, the value is looked up, then deleted, and what programs
    /// write in between is lost.
    pub fn take(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        self.check(key)?;
        let mut value = vec![0; self.transfer_size()];
        match self.kernel.map_take(&self.fd, key, &mut value, 0) {
            Err(Errno::NOTSUPP | Errno::OPNOTSUPP | Errno::INVAL) if self.is_hash() => {
                let value = self.lookup(key)?;
                self.delete(key)?;
                Ok(value)
            }
            taken => self.found("BPF_MAP_LOOKUP_AND_DELETE_ELEM", taken, value),
        }
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

    pub(crate) fn no_such(&self, what: &str) -> Error {
        Error::invalid(format!(
            "map {} of kind {:?} has no {what}",
            self.name, self.kind
        ))
    }

    fn found(
        &self,
        call: &'static str,
        outcome: Result<(), Errno>,
        value: Vec<u8>,
    ) -> Result<Option<Vec<u8>>, Error> {
        match outcome {
            Ok(()) => Ok(Some(value)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(self.failed(call, errno)),
        }
    }
}
