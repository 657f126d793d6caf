//! Tables by small numbers and lists in order, made of code that is compiled once.
//!
//! A hash table or a sort for each type of key and value would be most of what this crate compiles
//! to: all tables share one from numbers, or one from names, to places in a list, all sorts one of pairs of
//! numbers.

use core::cmp::Ordering;
use std::collections::HashMap;

use kscope_btf::TypeId;

use crate::elf::{SectionIndex, SymbolIndex};
use crate::object::MapId;
use crate::order::order;

/// What a key of at most two numbers is written as.
pub(crate) type Code = (u64, u64);

/// A key of at most two numbers.
pub(crate) trait Key: Copy {
    fn code(self) -> Code;
}

impl Key for u32 {
    fn code(self) -> Code {
        (self.into(), 0)
    }
}

impl Key for u64 {
    fn code(self) -> Code {
        (self, 0)
    }
}

impl Key for usize {
    fn code(self) -> Code {
        (self as u64, 0)
    }
}

impl Key for TypeId {
    fn code(self) -> Code {
        self.0.code()
    }
}

impl Key for SectionIndex {
    fn code(self) -> Code {
        self.0.code()
    }
}

impl Key for SymbolIndex {
    fn code(self) -> Code {
        self.0.code()
    }
}

impl Key for MapId {
    fn code(self) -> Code {
        self.0.code()
    }
}

impl<K: Key, P: Key> Key for (K, P) {
    fn code(self) -> Code {
        (self.0.code().0, self.1.code().0)
    }
}

/// A table by small numbers, which keeps the order in which keys came.
#[derive(Clone, Debug)]
pub(crate) struct Table<K, V> {
    places: Places,
    entries: Vec<(K, V)>,
}

/// Where in its list a table has a key.
type Places = HashMap<Code, usize>;

impl<K, V> Default for Table<K, V> {
    fn default() -> Table<K, V> {
        Table {
            places: Places::new(),
            entries: Vec::new(),
        }
    }
}

impl<K: Key, V> Table<K, V> {
    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        let entry = self.entries.get(find(&self.places, key.code())?);
        entry.map(|(_, value)| value)
    }

    pub(crate) fn contains_key(&self, key: &K) -> bool {
        find(&self.places, key.code()).is_some()
    }

    /// Sets the value of a key.
    pub(crate) fn insert(&mut self, key: K, value: V) {
        let next = self.entries.len();
        let place = place(&mut self.places, key.code(), next);
        match self.entries.get_mut(place) {
            Some(entry) => entry.1 = value,
            None => self.entries.push((key, value)),
        }
    }

    /// Gives the value of a key, which is made if there is none; none is never given.
    pub(crate) fn get_or(&mut self, key: K, make: impl FnOnce() -> V) -> Option<&mut V> {
        let next = self.entries.len();
        let place = place(&mut self.places, key.code(), next);
        if place == next {
            self.entries.push((key, make()));
        }
        self.entries.get_mut(place).map(|(_, value)| value)
    }

    pub(crate) fn iter(&self) -> core::slice::Iter<'_, (K, V)> {
        self.entries.iter()
    }

    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.entries.iter_mut().map(|(_, value)| value)
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }
}

impl<K: Key, V> FromIterator<(K, V)> for Table<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Table<K, V> {
        let mut table = Table::default();
        for (key, value) in entries {
            table.insert(key, value);
        }
        table
    }
}

/// A table by names, which keeps the order in which they came.
#[derive(Clone, Debug)]
pub(crate) struct Names<'a, V> {
    places: HashMap<&'a str, usize>,
    values: Vec<V>,
}

impl<V> Default for Names<'_, V> {
    fn default() -> Self {
        Names {
            places: HashMap::new(),
            values: Vec::new(),
        }
    }
}

impl<'a, V> Names<'a, V> {
    pub(crate) fn get(&self, name: &str) -> Option<&V> {
        self.values.get(find_name(&self.places, name)?)
    }

    pub(crate) fn get_mut(&mut self, name: &str) -> Option<&mut V> {
        self.values.get_mut(find_name(&self.places, name)?)
    }

    /// Gives the value of a name, which is made if there is none; none is never given.
    pub(crate) fn get_or(&mut self, name: &'a str, make: impl FnOnce() -> V) -> Option<&mut V> {
        let next = self.values.len();
        let place = place_name(&mut self.places, name, next);
        if place == next {
            self.values.push(make());
        }
        self.values.get_mut(place)
    }

    pub(crate) fn values_mut(&mut self) -> core::slice::IterMut<'_, V> {
        self.values.iter_mut()
    }
}

#[inline(never)]
fn find_name(places: &HashMap<&str, usize>, name: &str) -> Option<usize> {
    places.get(name).copied()
}

#[inline(never)]
fn place_name<'a>(places: &mut HashMap<&'a str, usize>, name: &'a str, next: usize) -> usize {
    *places.entry(name).or_insert(next)
}

#[inline(never)]
fn find(places: &Places, code: Code) -> Option<usize> {
    places.get(&code).copied()
}

#[inline(never)]
fn place(places: &mut Places, code: Code, next: usize) -> usize {
    *places.entry(code).or_insert(next)
}

/// Puts a list into the order of its keys; those of equal keys stay in theirs.
pub(crate) fn sort<T, K: Key>(list: &mut [T], key: impl Fn(&T) -> K) {
    let code = |at: usize| list.get(at).map_or((0, 0), |item| key(item).code());
    let swaps = swaps(list.len(), &|one, other| code(one).cmp(&code(other)));
    for (one, other) in swaps {
        list.swap(one, other);
    }
}

/// Puts a list into the order that `compare` says; those that are equal stay in theirs.
pub(crate) fn sort_by<T>(list: &mut [T], compare: impl Fn(&T, &T) -> Ordering) {
    let compare = |one: usize, other: usize| match (list.get(one), list.get(other)) {
        (Some(one), Some(other)) => compare(one, other),
        _ => Ordering::Equal,
    };
    for (one, other) in swaps(list.len(), &compare) {
        list.swap(one, other);
    }
}

/// Gives the exchanges, one after the other, that put a list into order.
#[inline(never)]
fn swaps(len: usize, compare: &dyn Fn(usize, usize) -> Ordering) -> Vec<(usize, usize)> {
    let mut swaps = Vec::new();
    // Which place's item belongs to each place.
    let mut from = order(len, compare);
    for start in 0..from.len() {
        let mut to = start;
        // Each place is left once, since it is its own from then on.
        while let Some(next) = from.get_mut(to).map(|from| core::mem::replace(from, to)) {
            if next == start || next == to {
                break;
            }
            swaps.push((to, next));
            to = next;
        }
    }
    swaps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_keep_what_they_are_given() {
        let mut table: Table<(SectionIndex, u64), u32> = Table::default();
        table.insert((SectionIndex(1), 8), 1);
        table.insert((SectionIndex(8), 1), 2);
        table.insert((SectionIndex(1), 8), 3);
        assert_eq!(table.get(&(SectionIndex(1), 8)), Some(&3));
        assert_eq!(table.get(&(SectionIndex(8), 1)), Some(&2));
        assert_eq!(table.get(&(SectionIndex(1), 1)), None);
        assert_eq!(table.get_or((SectionIndex(8), 1), || 9), Some(&mut 2));
        assert_eq!(table.get_or((SectionIndex(2), 2), || 9), Some(&mut 9));
        assert_eq!(table.len(), 3);
        assert!(table.contains_key(&(SectionIndex(2), 2)));
        let table: Table<u32, u8> = [(1, 1), (2, 2), (1, 3)].into_iter().collect();
        assert_eq!(table.iter().copied().collect::<Vec<_>>(), [(1, 3), (2, 2)]);
    }

    #[test]
    fn names_keep_what_they_are_given_first() {
        let mut names = Names::default();
        for (name, value) in [("b", 1), ("a", 2), ("b", 3)] {
            names.get_or(name, || value);
        }
        assert_eq!((names.get("a"), names.get("b")), (Some(&2), Some(&1)));
        assert_eq!(names.get_mut("c"), None);
        assert_eq!(names.values_mut().collect::<Vec<_>>(), [&1, &2]);
    }

    #[test]
    fn sorting_is_stable() {
        let mut state = 7u32;
        for len in 0..60 {
            let mut list: Vec<(u32, u32)> = (0..len)
                .map(|index| {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    (state >> 28, index)
                })
                .collect();
            let mut expected = list.clone();
            expected.sort_by_key(|&(key, _)| key);
            sort(&mut list, |&(key, _)| key);
            assert_eq!(list, expected);
        }
    }
}
