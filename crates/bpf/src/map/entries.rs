//! Values by CPU, and entries that are looked up and deleted at once.

use kscope_sys::Errno;

use super::{Map, UpdateMode};
use crate::error::Error;

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

    pub(crate) fn no_such(&self, what: &str) -> Error {
        Error::invalid(format!(
            "map {} of kind {:?} has no {what}",
            self.name, self.kind
        ))
    }

    pub(super) fn found(
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
