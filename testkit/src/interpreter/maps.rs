//! Maps: entries whose values are regions of memory.

use super::memory::Memory;
use kscope_spec::{MapKind, MapSpec, ProgramId};
use std::collections::BTreeMap;

/// `BPF_F_RDONLY_PROG`.
const READ_ONLY_FOR_PROGRAMS: u32 = 1 << 7;

pub(super) const ENOENT: i64 = -2;
pub(super) const E2BIG: i64 = -7;
pub(super) const EEXIST: i64 = -17;
pub(super) const EINVAL: i64 = -22;

/// A map.
#[derive(Clone, Debug)]
pub(super) struct Map {
    pub(super) kind: MapKind,
    pub(super) key_size: u32,
    pub(super) value_size: u32,
    pub(super) max_entries: u32,
    /// Bytes of a ring buffer that records not yet taken use.
    pub(super) ring_used: u64,
    /// Programs of a program array.
    pub(super) programs: BTreeMap<u32, ProgramId>,
    writable: bool,
    cpus: u32,
    initial: Option<Vec<u8>>,
    /// Keys to the addresses of their values: one, or one a CPU.
    entries: BTreeMap<Vec<u8>, Vec<u64>>,
    /// Keys of a hash in order of insertion, the oldest first.
    order: Vec<Vec<u8>>,
}

impl Map {
    pub(super) fn new(spec: &MapSpec, cpus: u32, memory: &mut Memory) -> Map {
        let mut map = Map {
            kind: spec.kind,
            key_size: spec.key_size,
            value_size: spec.value_size,
            max_entries: spec.max_entries,
            ring_used: 0,
            programs: BTreeMap::new(),
            writable: spec.flags & READ_ONLY_FOR_PROGRAMS == 0,
            cpus,
            initial: spec.initial.clone(),
            entries: BTreeMap::new(),
            order: Vec::new(),
        };
        if map.is_array() {
            let _ = map.array_entry(0, memory);
        }
        map
    }

    /// Gives the address of the value of entry 0 of a plain array.
    pub(super) fn first_value(&self) -> Option<u64> {
        if self.kind != MapKind::Array {
            return None;
        }
        self.entries.get([0; 4].as_slice())?.first().copied()
    }

    pub(super) fn is_array(&self) -> bool {
        matches!(self.kind, MapKind::Array | MapKind::PerCpuArray)
    }

    pub(super) fn is_hash(&self) -> bool {
        use MapKind::{Hash, LruHash, LruPerCpuHash, PerCpuHash};
        matches!(self.kind, Hash | LruHash | PerCpuHash | LruPerCpuHash)
    }

    pub(super) fn is_per_cpu(&self) -> bool {
        use MapKind::{LruPerCpuHash, PerCpuArray, PerCpuHash};
        matches!(self.kind, PerCpuArray | PerCpuHash | LruPerCpuHash)
    }

    fn values(&self, memory: &mut Memory) -> Vec<u64> {
        let count = if self.is_per_cpu() { self.cpus } else { 1 };
        let len = self.value_size as usize;
        (0..count)
            .map(|_| memory.zeros(len, self.writable))
            .collect()
    }

    /// Gives the values of an array entry, made on the first look.
    pub(super) fn array_entry(&mut self, index: u32, memory: &mut Memory) -> Option<&[u64]> {
        if index >= self.max_entries {
            return None;
        }
        let key = index.to_le_bytes().to_vec();
        if !self.entries.contains_key(&key) {
            // The bytes given at creation go in before the region becomes read-only.
            let writable = std::mem::replace(&mut self.writable, true);
            let mut values = self.values(memory);
            self.writable = writable;
            if let Some(initial) = self.initial.as_ref().filter(|_| index == 0) {
                let len = initial.len().min(self.value_size as usize);
                let initial = initial.get(..len).unwrap_or_default();
                for value in &values {
                    let _ = memory.write(*value, initial);
                }
            }
            if !writable {
                for value in &mut values {
                    if let Some(region) = memory.free(*value) {
                        *value = memory.read_only(region.bytes);
                    }
                }
            }
            self.entries.insert(key.clone(), values);
        }
        self.entries.get(&key).map(Vec::as_slice)
    }

    /// Gives the address of a value on a CPU.
    pub(super) fn lookup(&mut self, key: &[u8], cpu: u32, memory: &mut Memory) -> Option<u64> {
        let cpu = if self.is_per_cpu() { cpu as usize } else { 0 };
        if self.is_array() {
            let index = u32::from_le_bytes(key.try_into().ok()?);
            return self.array_entry(index, memory)?.get(cpu).copied();
        }
        self.entries.get(key)?.get(cpu).copied()
    }

    /// Does what `bpf_map_update_elem` does on a CPU; `None` writes every CPU's value.
    pub(super) fn update(
        &mut self,
        key: &[u8],
        value: &[u8],
        flags: u64,
        cpu: Option<u32>,
        memory: &mut Memory,
    ) -> i64 {
        const NO_EXIST: u64 = 1;
        const EXIST: u64 = 2;
        if flags > EXIST || key.len() != self.key_size as usize {
            return EINVAL;
        }
        if self.is_array() {
            let Ok(index) = <[u8; 4]>::try_from(key).map(u32::from_le_bytes) else {
                return EINVAL;
            };
            if flags == NO_EXIST {
                return EEXIST;
            }
            let Some(values) = self.array_entry(index, memory).map(<[u64]>::to_vec) else {
                return E2BIG;
            };
            fill(&values, value, cpu, memory);
            return 0;
        }
        if !self.is_hash() {
            return EINVAL;
        }
        let old = self.entries.get(key).cloned();
        match (&old, flags) {
            (Some(_), NO_EXIST) => return EEXIST,
            (None, EXIST) => return ENOENT,
            (Some(values), _) if self.is_per_cpu() => {
                fill(values, value, cpu, memory);
                return 0;
            }
            _ => {}
        }
        if old.is_none() {
            if self.entries.len() >= self.max_entries as usize {
                if !matches!(self.kind, MapKind::LruHash | MapKind::LruPerCpuHash) {
                    return E2BIG;
                }
                if !self.order.is_empty() {
                    let oldest = self.order.remove(0);
                    self.entries.remove(&oldest);
                }
            }
            self.order.push(key.to_vec());
        }
        // A program that holds a pointer to the old value goes on seeing that.
        let values = self.values(memory);
        fill(&values, value, cpu, memory);
        self.entries.insert(key.to_vec(), values);
        0
    }

    pub(super) fn delete(&mut self, key: &[u8]) -> i64 {
        if !self.is_hash() && self.kind != MapKind::StackTrace {
            return EINVAL;
        }
        self.order.retain(|known| known != key);
        match self.entries.remove(key) {
            Some(_) => 0,
            None => ENOENT,
        }
    }

    pub(super) fn set(&mut self, key: &[u8], value: &[u8], memory: &mut Memory) -> bool {
        value.len() == self.value_size as usize && self.update(key, value, 0, None, memory) == 0
    }

    /// Keeps a stack under its id; tells whether the id was free or held the same stack.
    pub(super) fn keep_stack(
        &mut self,
        id: u32,
        frames: &[u64],
        reuse: bool,
        memory: &mut Memory,
    ) -> bool {
        let mut bytes: Vec<u8> = frames
            .iter()
            .flat_map(|frame| frame.to_le_bytes())
            .collect();
        bytes.resize(self.value_size as usize, 0);
        let key = id.to_le_bytes().to_vec();
        if let Some([old]) = self.entries.get(&key).map(Vec::as_slice) {
            if memory.whole(*old) != bytes && !reuse {
                return false;
            }
        }
        let value = memory.zeros(bytes.len(), true);
        let _ = memory.write(value, &bytes);
        self.entries.insert(key, vec![value]);
        true
    }

    pub(super) fn keys(&self) -> Vec<Vec<u8>> {
        if self.is_array() {
            let all = 0..self.max_entries;
            return all.map(|index| index.to_le_bytes().to_vec()).collect();
        }
        self.entries.keys().cloned().collect()
    }
}

fn fill(values: &[u64], data: &[u8], cpu: Option<u32>, memory: &mut Memory) {
    for (at, addr) in values.iter().enumerate() {
        if values.len() == 1 || cpu.is_none_or(|cpu| cpu as usize == at) {
            let _ = memory.write(*addr, data);
        }
    }
}

/// A map as user space sees it.
#[derive(Clone, Copy, Debug)]
pub struct MapView<'a> {
    map: &'a Map,
    memory: &'a Memory,
}

impl<'a> MapView<'a> {
    pub(super) fn new(map: &'a Map, memory: &'a Memory) -> MapView<'a> {
        MapView { map, memory }
    }

    /// Gives the number of entries touched so far (of an array, entry 0 is from the start).
    #[must_use]
    pub fn len(&self) -> usize {
        self.map.entries.len()
    }

    /// Tells whether no entry was touched so far.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.map.entries.is_empty()
    }

    /// Gives the value of a key: one CPU after the other on the per-CPU kinds.
    #[must_use]
    pub fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        let cpus = if self.map.is_per_cpu() {
            self.map.cpus
        } else {
            1
        };
        let values: Option<Vec<Vec<u8>>> = (0..cpus).map(|cpu| self.get_cpu(key, cpu)).collect();
        Some(values?.concat())
    }

    /// Gives the value of a key on one CPU; the kinds with one value have it on CPU 0.
    #[must_use]
    pub fn get_cpu(&self, key: &[u8], cpu: u32) -> Option<Vec<u8>> {
        if let Some(values) = self.map.entries.get(key) {
            let value = values.get(cpu as usize)?;
            return Some(self.memory.whole(*value).to_vec());
        }
        // An entry of an array that nobody touched.
        let index = u32::from_le_bytes(key.try_into().ok()?);
        let there = self.map.is_array() && index < self.map.max_entries;
        there.then(|| vec![0; self.map.value_size as usize])
    }

    /// Gives the entries touched so far, ascending by the bytes of the key.
    #[must_use]
    pub fn entries(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        let keys = self.map.entries.keys();
        keys.filter_map(|key| Some((key.clone(), self.get(key)?)))
            .collect()
    }
}
