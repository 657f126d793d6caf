//! All entries of a map at about one moment.

use std::collections::HashSet;

use kscope_spec::MapKind;
use kscope_sys::{Batch, Errno};

use crate::error::Error;
use crate::map::Map;

/// Bytes read in one call at most.
const BATCH_BYTES: usize = 1 << 20;
/// A walk by keys starts over this often when keys vanish under it.
const RESTARTS: usize = 3;

/// Keys and values of a map, read out.
#[derive(Clone, Debug)]
pub struct Snapshot {
    key_size: usize,
    value_size: usize,
    transfer: usize,
    stride: usize,
    keys: Vec<u8>,
    values: Vec<u8>,
    count: usize,
}

/// One entry of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The key.
    pub key: &'a [u8],
    all: &'a [u8],
    value_size: usize,
    stride: usize,
}

impl<'a> Entry<'a> {
    /// Gives the value; for a per-CPU map that of the first possible CPU.
    pub fn value(&self) -> &'a [u8] {
        self.all.get(..self.value_size).unwrap_or_default()
    }

    /// Gives one value for each possible CPU; for other maps the one value.
    pub fn values(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let size = self.value_size;
        self.all
            .chunks(self.stride)
            .map(move |slot| slot.get(..size).unwrap_or_default())
    }
}

impl Snapshot {
    /// Gives the number of entries.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Tells whether the map had no entries.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Gives the entries, in the kernel's order.
    pub fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        (0..self.count).map(|index| Entry {
            key: slot(&self.keys, index, self.key_size),
            all: slot(&self.values, index, self.transfer),
            value_size: self.value_size,
            stride: self.stride,
        })
    }
}

fn slot(bytes: &[u8], index: usize, size: usize) -> &[u8] {
    bytes
        .get(index * size..)
        .and_then(|rest| rest.get(..size))
        .unwrap_or_default()
}

impl Map {
    /// Reads all entries: in large batches where the kernel can (5.6; per-CPU arrays 5.13), else
    /// key by key. Entries that come or go meanwhile may or may not be in it; none is in it twice.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for kinds without entries, else what the kernel says.
    pub fn snapshot(&self) -> Result<Snapshot, Error> {
        self.read_all(false)
    }

    /// Reads all entries and deletes them: hash kinds as they are read, so that what comes
    /// meanwhile stays; arrays are set to zero afterwards, and lose what came in between.
    ///
    /// # Errors
    ///
    /// As [`Map::snapshot`].
    pub fn take_all(&self) -> Result<Snapshot, Error> {
        self.read_all(true)
    }

    fn read_all(&self, delete: bool) -> Result<Snapshot, Error> {
        if matches!(
            self.kind(),
            MapKind::RingBuf
                | MapKind::UserRingBuf
                | MapKind::PerfEventArray
                | MapKind::CgroupArray
                | MapKind::Queue
                | MapKind::Stack
                | MapKind::BloomFilter
                | MapKind::Arena
                | MapKind::StructOps
                | MapKind::SkStorage
                | MapKind::InodeStorage
                | MapKind::TaskStorage
                | MapKind::CgrpStorage
        ) {
            let why = format!(
                "map {} of kind {:?} has no entries to read",
                self.name(),
                self.kind()
            );
            return Err(Error::Invalid { why });
        }
        let mut snapshot = Snapshot {
            key_size: self.key_size(),
            value_size: self.value_size(),
            transfer: self.transfer_size(),
            stride: self.stride(),
            keys: Vec::new(),
            values: Vec::new(),
            count: 0,
        };
        let hash = self.is_hash();
        // Where a key of a trie goes away, the kernel's walk starts over or ends.
        let by_keys = delete || matches!(self.kind(), MapKind::StackTrace | MapKind::LpmTrie);
        let batched = (hash || !by_keys) && self.read_batches(&mut snapshot, delete && hash)?;
        if !batched {
            self.read_by_keys(&mut snapshot, delete && hash)?;
        }
        if delete && !hash {
            self.clear()?;
        }
        Ok(snapshot)
    }

    /// Reads in batches; `false` where the kernel has none for this kind.
    fn read_batches(&self, snapshot: &mut Snapshot, delete: bool) -> Result<bool, Error> {
        let entry = (snapshot.key_size + snapshot.transfer).max(1);
        let mut room = (BATCH_BYTES / entry)
            .clamp(64, 65_536)
            .min(self.max_entries().max(1) as usize);
        let (mut position, mut resume) = (vec![0; snapshot.key_size.max(8)], false);
        // Each round reads at least one entry or ends; the bound only guards against a kernel that
        // does neither.
        for _ in 0..u64::from(self.max_entries()) + 64 {
            let (mut keys, mut values) = (
                vec![0; room * snapshot.key_size],
                vec![0; room * snapshot.transfer],
            );
            let batch = Batch {
                map: self.fd(),
                delete,
                position: &mut position,
                resume,
                keys: &mut keys,
                values: &mut values,
                room: u32::try_from(room).unwrap_or(u32::MAX),
            };
            let (count, ended) = match self.kernel().map_batch(batch) {
                Ok(answer) => answer,
                // One bucket of the hash holds more than there is room for; none more than the map.
                Err(Errno::NOSPC) if room <= self.max_entries() as usize => {
                    room = room.saturating_mul(2);
                    continue;
                }
                Err(Errno::INVAL | Errno::NOTSUPP | Errno::OPNOTSUPP) if !resume => {
                    return Ok(false);
                }
                Err(errno) => return Err(self.failed("BPF_MAP_LOOKUP_BATCH", errno)),
            };
            // A hash is read bucket by bucket, each under its lock, and a key never changes its
            // bucket: so no key comes twice.
            let count = (count as usize).min(room);
            keys.truncate(count * snapshot.key_size);
            values.truncate(count * snapshot.transfer);
            snapshot.keys.append(&mut keys);
            snapshot.values.append(&mut values);
            snapshot.count += count;
            if ended {
                return Ok(true);
            }
            resume = true;
        }
        Ok(true)
    }

    fn read_by_keys(&self, snapshot: &mut Snapshot, delete: bool) -> Result<(), Error> {
        let mut seen = HashSet::new();
        let mut value = vec![0; snapshot.transfer];
        for _ in 0..=RESTARTS {
            let mut key = self.next_key(None)?;
            let mut again = false;
            // An LRU map may gain entries as fast as they are read: never more than it can hold.
            for _ in 0..self.max_entries() {
                let Some(current) = key else { break };
                if !seen.insert(current.clone()) {
                    // The walk started over because its key was deleted; go on past known ones.
                    key = self.next_key(Some(&current))?;
                    again = true;
                    continue;
                }
                // Before the deletion, which would send the walk back to the start.
                key = self.next_key(Some(&current))?;
                if self.lookup_into(&current, &mut value)? {
                    snapshot.keys.extend_from_slice(&current);
                    snapshot.values.extend_from_slice(&value);
                    snapshot.count += 1;
                    if delete {
                        self.delete(&current)?;
                    }
                }
            }
            if !again {
                break;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::Mutex;

    use kscope_sys::{Bpf, Call, FakeKernel, MapFd, MapShape};

    use super::*;

    /// Reads a map of 100 entries, of keys and values of 4 bytes, by a kernel that plays `answer` to
    /// batches and has no keys; gives what came of it, and for how many entries there was room.
    fn read(kind: MapKind, answer: Errno) -> (Result<usize, Error>, Vec<u32>) {
        let rooms = Arc::new(Mutex::new(Vec::new()));
        let seen = rooms.clone();
        let fake = FakeKernel::new(move |call| match call {
            Call::Bpf(Bpf::MapBatch(batch)) => {
                seen.lock().expect("no panic").push(batch.room);
                Err(answer)
            }
            _ => Err(Errno::NOENT),
        });
        let shape = MapShape {
            kind: kind as u32,
            key_size: 4,
            value_size: 4,
            max_entries: 100,
        };
        let fd = MapFd::fake(shape, 1).expect("a descriptor");
        let map = Map::made(&(Arc::new(fake) as _), fd, "m", kind);
        let outcome = map.snapshot().map(|all| all.len());
        let rooms = rooms.lock().expect("no panic").clone();
        (outcome, rooms)
    }

    #[test]
    fn a_kernel_that_never_has_enough_room_is_an_error() {
        let (outcome, rooms) = read(MapKind::Hash, Errno::NOSPC);
        let error = outcome.expect_err("no end").to_string();
        let expected = "BPF_MAP_LOOKUP_BATCH of map m: ENOSPC (No space left on device)";
        assert_eq!(error, expected);
        assert_eq!(rooms, [100, 200]);
    }

    #[test]
    fn tries_are_read_key_by_key() {
        let check = |kind, asked: &[u32]| {
            let (outcome, rooms) = read(kind, Errno::NOTSUPP);
            assert_eq!(outcome, Ok(0));
            assert_eq!(rooms, asked, "{kind:?}");
        };
        check(MapKind::Hash, &[100]);
        check(MapKind::LpmTrie, &[]);
    }
}
