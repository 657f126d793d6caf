//! A bounded cache: what was not used for longest goes first.

use std::collections::HashMap;

/// No slot.
const NONE: u32 = u32::MAX;

/// Blocks by number, at most as many as fit a number of bytes.
#[derive(Debug)]
pub(crate) struct Cache<V> {
    places: HashMap<u64, u32>,
    slots: Vec<Slot<V>>,
    /// Used last, and used first of those still here.
    newest: u32,
    oldest: u32,
    most: usize,
}

#[derive(Debug)]
struct Slot<V> {
    key: u64,
    newer: u32,
    older: u32,
    value: V,
}

impl<V> Cache<V> {
    /// Makes a cache of at most `most` blocks.
    pub(crate) fn new(most: usize) -> Cache<V> {
        Cache {
            places: HashMap::new(),
            slots: Vec::new(),
            newest: NONE,
            oldest: NONE,
            most: most.min(NONE as usize - 1),
        }
    }

    /// Gives a block and marks it as used.
    pub(crate) fn get(&mut self, key: u64) -> Option<&V> {
        let place = *self.places.get(&key)?;
        if place != self.newest {
            self.unlink(place);
            self.link(place);
        }
        self.slots.get(place as usize).map(|slot| &slot.value)
    }

    /// Keeps a block, in the place of the one that was not used for longest where all are full.
    pub(crate) fn insert(&mut self, key: u64, value: V) {
        if self.most == 0 {
            return;
        }
        if let Some(&place) = self.places.get(&key) {
            if let Some(slot) = self.slots.get_mut(place as usize) {
                slot.value = value;
            }
            return;
        }
        let place = if self.slots.len() < self.most {
            self.slots.push(Slot {
                key,
                newer: NONE,
                older: NONE,
                value,
            });
            (self.slots.len() - 1) as u32
        } else {
            let place = self.oldest;
            self.unlink(place);
            let Some(slot) = self.slots.get_mut(place as usize) else {
                return;
            };
            self.places.remove(&slot.key);
            slot.key = key;
            slot.value = value;
            place
        };
        self.places.insert(key, place);
        self.link(place);
    }

    fn unlink(&mut self, place: u32) {
        let Some(slot) = self.slots.get(place as usize) else {
            return;
        };
        let (newer, older) = (slot.newer, slot.older);
        match self.slots.get_mut(newer as usize) {
            Some(slot) => slot.older = older,
            None => self.newest = older,
        }
        match self.slots.get_mut(older as usize) {
            Some(slot) => slot.newer = newer,
            None => self.oldest = newer,
        }
    }

    /// Makes an unlinked slot the newest.
    fn link(&mut self, place: u32) {
        let older = self.newest;
        if let Some(slot) = self.slots.get_mut(place as usize) {
            slot.newer = NONE;
            slot.older = older;
        }
        match self.slots.get_mut(older as usize) {
            Some(slot) => slot.newer = place,
            None => self.oldest = place,
        }
        self.newest = place;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_unused_goes_first() {
        let mut cache = Cache::new(3);
        for key in 0..3 {
            cache.insert(key, key * 10);
        }
        assert_eq!(cache.get(0), Some(&0));
        cache.insert(3, 30);
        assert_eq!(cache.get(1), None);
        assert_eq!(cache.get(0), Some(&0));
        cache.insert(4, 40);
        assert_eq!(cache.get(2), None);
        cache.insert(0, 1);
        assert_eq!(cache.get(0), Some(&1));
        assert_eq!((cache.slots.len(), cache.places.len()), (3, 3));
    }

    #[test]
    fn it_agrees_with_a_list() {
        let mut cache = Cache::new(5);
        let mut list: Vec<u64> = Vec::new();
        let mut seed = 1u64;
        for _ in 0..10_000 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let key = (seed >> 33) % 12;
            let there = list.iter().position(|&k| k == key);
            assert_eq!(cache.get(key).is_some(), there.is_some());
            if let Some(at) = there {
                list.remove(at);
            } else {
                cache.insert(key, ());
            }
            list.push(key);
            if list.len() > 5 {
                list.remove(0);
            }
        }
    }

    #[test]
    fn one_or_no_block() {
        let mut cache = Cache::new(1);
        cache.insert(1, 1);
        cache.insert(2, 2);
        assert_eq!(cache.get(1), None);
        assert_eq!(cache.get(2), Some(&2));
        let mut cache = Cache::new(0);
        cache.insert(1, 1);
        assert_eq!(cache.get(1), None);
    }
}
