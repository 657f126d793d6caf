//! Maps as the interpreter keeps them: one value for each key, whatever the kind.

use std::collections::BTreeMap;

use kscope_spec::{MapKind, MapSpec};

use super::arena::{Arena, Astray};

/// `BPF_NOEXIST` and `BPF_EXIST`
const MUST_BE_NEW: u64 = 1;
const MUST_BE_THERE: u64 = 2;
/// What updates return, as the kernel has it.
pub(super) const NOT_THERE: i64 = -2;
const THERE_ALREADY: i64 = -17;
pub(super) const FULL: i64 = -7;
pub(super) const NO_ROOM: i64 = -12;

/// A map with its entries.
#[derive(Debug)]
pub(super) struct MapState {
    kind: MapKind,
    key_size: u32,
    value_size: u32,
    most: u32,
    initial: Option<Vec<u8>>,
    /// Address of the value and the number of the update that made it, by key.
    entries: BTreeMap<Vec<u8>, (u64, u64)>,
    updates: u64,
}

impl MapState {
    pub(super) fn new(spec: &MapSpec) -> MapState {
        MapState {
            kind: spec.kind,
            key_size: spec.key_size,
            value_size: spec.value_size,
            most: spec.max_entries,
            initial: spec.initial.clone(),
            entries: BTreeMap::new(),
            updates: 0,
        }
    }

    pub(super) fn kind(&self) -> MapKind {
        self.kind
    }

    pub(super) fn key_size(&self) -> u32 {
        self.key_size
    }

    pub(super) fn value_size(&self) -> u32 {
        self.value_size
    }

    fn is_array(&self) -> bool {
        matches!(self.kind, MapKind::Array | MapKind::PerCpuArray)
    }

    /// Gives the address of the value of a key. Those of arrays are made when they are asked for.
    pub(super) fn lookup(&mut self, key: &[u8], arena: &mut Arena) -> Option<u64> {
        if let Some((address, _)) = self.entries.get(key) {
            return Some(*address);
        }
        if !self.is_array() {
            return None;
        }
        let index = u32::from_le_bytes(*key.first_chunk::<4>()?);
        if index >= self.most {
            return None;
        }
        let address = arena.add(self.value_size)?;
        if let Some(initial) = self.initial.as_ref().filter(|_| index == 0) {
            let len = initial.len().min(self.value_size as usize);
            if let Ok(to) = arena.get_mut(address, len as u64) {
                to.copy_from_slice(&initial[..len]);
            }
        }
        self.entries.insert(key.to_vec(), (address, 0));
        Some(address)
    }

    /// Sets the value of a key; gives 0 or a negative error. What an eviction leaves is put to
    /// `dead`.
    pub(super) fn update(
        &mut self,
        key: &[u8],
        value: u64,
        flags: u64,
        arena: &mut Arena,
        dead: &mut Vec<u64>,
    ) -> Result<i64, Astray> {
        let value = arena.get(value, u64::from(self.value_size))?.to_vec();
        let known = self.lookup(key, arena);
        match (known, flags) {
            (Some(_), MUST_BE_NEW) => return Ok(THERE_ALREADY),
            (None, MUST_BE_THERE) => return Ok(NOT_THERE),
            _ => {}
        }
        let address = match known {
            Some(address) => address,
            None if self.is_array() => return Ok(FULL),
            None => {
                if self.entries.len() >= self.most as usize && !self.evict(dead) {
                    return Ok(FULL);
                }
                let Some(address) = arena.add(self.value_size) else {
                    return Ok(NO_ROOM);
                };
                self.updates += 1;
                self.entries.insert(key.to_vec(), (address, self.updates));
                address
            }
        };
        let to = arena.get_mut(address, u64::from(self.value_size))?;
        to.copy_from_slice(&value);
        Ok(0)
    }

    /// Takes the oldest entry out of a map that may lose entries.
    fn evict(&mut self, dead: &mut Vec<u64>) -> bool {
        if !matches!(self.kind, MapKind::LruHash | MapKind::LruPerCpuHash) {
            return false;
        }
        let oldest = self.entries.iter().min_by_key(|(_, (_, made))| *made);
        let Some(key) = oldest.map(|(key, _)| key.clone()) else {
            return false;
        };
        self.delete(&key, dead)
    }

    /// Takes an entry out; its value stays readable until the program ends.
    pub(super) fn delete(&mut self, key: &[u8], dead: &mut Vec<u64>) -> bool {
        match self.entries.remove(key) {
            Some((address, _)) => {
                dead.push(address);
                true
            }
            None => false,
        }
    }

    /// Gives the keys, in ascending order of their bytes.
    pub(super) fn keys(&self) -> Vec<Vec<u8>> {
        self.entries.keys().cloned().collect()
    }

    /// Gives the entries, in ascending order of the keys' bytes.
    pub(super) fn entries<'a>(
        &'a self,
        arena: &'a Arena,
    ) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        self.entries.iter().filter_map(|(key, (address, _))| {
            let value = arena.get(*address, u64::from(self.value_size)).ok()?;
            Some((key.as_slice(), value))
        })
    }

    /// Gives the value of a key as it is, without making one.
    pub(super) fn value<'a>(&self, key: &[u8], arena: &'a Arena) -> Option<&'a [u8]> {
        let (address, _) = self.entries.get(key)?;
        arena.get(*address, u64::from(self.value_size)).ok()
    }

    /// Takes all entries out.
    pub(super) fn clear(&mut self, dead: &mut Vec<u64>) {
        let all = std::mem::take(&mut self.entries);
        dead.extend(all.into_values().map(|(address, _)| address));
    }
}
