//! A BPF map's descriptor together with its sizes, so that no buffer can be too short for it.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use crate::errno::Errno;
use crate::kernel::Kernel;

/// Type and sizes of a map.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MapShape {
    /// The kernel's `enum bpf_map_type`.
    pub kind: u32,
    /// Key size in bytes; 0 for ring buffers.
    pub key_size: u32,
    /// Value size in bytes as given at creation.
    pub value_size: u32,
    /// Number of entries (bytes for ring buffers).
    pub max_entries: u32,
}

impl MapShape {
    /// Tells whether a lookup gives one value for each possible CPU.
    pub fn is_per_cpu(&self) -> bool {
        // PERCPU_HASH, PERCPU_ARRAY, LRU_PERCPU_HASH, PERCPU_CGROUP_STORAGE.
        matches!(self.kind, 5 | 6 | 10 | 21)
    }
}

/// A map's descriptor with the sizes that the kernel reads and writes through it.
#[derive(Debug)]
pub struct MapFd {
    fd: OwnedFd,
    shape: MapShape,
    transfer: usize,
    consumed: Arc<AtomicBool>,
}

/// Ids of the ring buffers of this process that have a consumer, whichever descriptor it came by.
static CONSUMED: Mutex<Vec<u32>> = Mutex::new(Vec::new());

/// The right to be a ring buffer's only consumer; dropping it gives it back.
#[derive(Debug)]
pub(crate) struct ConsumerClaim {
    here: Arc<AtomicBool>,
    id: Option<u32>,
}

impl Drop for ConsumerClaim {
    fn drop(&mut self) {
        if let (Some(id), Ok(mut all)) = (self.id, CONSUMED.lock()) {
            all.retain(|&known| known != id);
        }
        self.here.store(false, Ordering::Release);
    }
}

impl MapFd {
    /// Binds a descriptor that the kernel made with exactly this shape.
    ///
    /// Only the real kernel calls this: the sizes are what makes lookups sound.
    pub(crate) fn new(fd: OwnedFd, shape: MapShape, possible_cpus: usize) -> MapFd {
        let one = shape.value_size as usize;
        let transfer = if shape.is_per_cpu() {
            one.next_multiple_of(8).saturating_mul(possible_cpus)
        } else {
            one
        };
        MapFd {
            fd,
            shape,
            transfer,
            consumed: Arc::default(),
        }
    }

    /// Makes a map that is none, for tests with a fake kernel.
    ///
    /// # Errors
    ///
    /// Where `/dev/null` cannot be opened.
    pub fn fake(shape: MapShape, possible_cpus: usize) -> Result<MapFd, Errno> {
        let null = File::open("/dev/null").map_err(|e| Errno::from_io(&e))?;
        Ok(MapFd::new(null.into(), shape, possible_cpus))
    }

    /// Takes the right to be the one user of a ring's memory, by the id that the kernel knows it by.
    ///
    /// # Errors
    ///
    /// `EBUSY` while another has it.
    pub(crate) fn claim(&self, kernel: &dyn Kernel) -> Result<ConsumerClaim, Errno> {
        let info = kernel.map_info(self.as_fd()).ok();
        self.claim_consumer(info.map(|info| info.id))
            .ok_or(Errno::BUSY)
    }

    /// Takes the right to consume a ring buffer; `None` while another has it: records lent out by
    /// one consumer would be overwritten on the other's account. The map's `id` finds another
    /// descriptor of the same map.
    fn claim_consumer(&self, id: Option<u32>) -> Option<ConsumerClaim> {
        if self.consumed.swap(true, Ordering::AcqRel) {
            return None;
        }
        let here = self.consumed.clone();
        let claim = |all: &mut Vec<u32>, id| {
            let free = !all.contains(&id);
            if free {
                all.push(id);
            }
            free
        };
        let free = id.is_none_or(|id| CONSUMED.lock().is_ok_and(|mut all| claim(&mut all, id)));
        if free {
            return Some(ConsumerClaim { here, id });
        }
        here.store(false, Ordering::Release);
        None
    }

    /// Gives type and sizes.
    pub fn shape(&self) -> &MapShape {
        &self.shape
    }

    /// Gives the number of bytes one lookup copies: the value, or for per-CPU kinds all CPUs'
    /// values, each rounded up to 8 bytes.
    pub fn transfer_size(&self) -> usize {
        self.transfer
    }
}

impl AsFd for MapFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_has_one_consumer_at_a_time() {
        let shape = MapShape {
            kind: 27,
            key_size: 0,
            value_size: 0,
            max_entries: 4096,
        };
        let map = MapFd::fake(shape, 1).expect("a descriptor");
        let claim = map.claim_consumer(None);
        assert!(claim.is_some());
        assert!(map.claim_consumer(None).is_none());
        drop(claim);
        // Another descriptor of the same map.
        let again = MapFd::fake(shape, 1).expect("a descriptor");
        let claim = map.claim_consumer(Some(u32::MAX));
        assert!(claim.is_some());
        assert!(again.claim_consumer(Some(u32::MAX)).is_none());
        drop(claim);
        assert!(again.claim_consumer(Some(u32::MAX)).is_some());
    }
}
