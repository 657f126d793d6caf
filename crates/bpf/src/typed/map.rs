//! Maps with types.

use std::marker::PhantomData;
use std::ops::Deref;

use crate::error::Error;
use crate::map::{Map, UpdateMode};
use crate::plain::Plain;

/// A map of keys to values, one value for each key. It is a [`Map`] for all else.
#[derive(Clone, Debug)]
pub struct TypedMap<K, V> {
    map: Map,
    types: PhantomData<fn() -> (K, V)>,
}

/// Checks that a map is of these sizes.
fn fits(map: &Map, key: usize, value: usize) -> Result<(), Error> {
    let is = (map.key_size(), map.value_size());
    if is == (key, value) {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "map {} has keys of {} and values of {} bytes, not of {key} and {value}",
        map.name(),
        is.0,
        is.1
    )))
}

impl<K: Plain, V: Plain> TypedMap<K, V> {
    /// Gives a map its types.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] where they have other sizes, or the map has values by CPU.
    pub fn new(map: Map) -> Result<TypedMap<K, V>, Error> {
        fits(&map, K::SIZE, V::SIZE)?;
        if map.is_per_cpu() {
            return Err(Error::invalid(format!(
                "map {} has values by CPU",
                map.name()
            )));
        }
        Ok(TypedMap {
            map,
            types: PhantomData,
        })
    }

    /// Looks up a key; none if it is not there.
    ///
    /// # Errors
    ///
    /// What the kernel says.
    pub fn lookup(&self, key: &K) -> Result<Option<V>, Error> {
        let found = self.map.lookup(&key.to_bytes())?;
        Ok(found.map(|value| V::decode(&value)))
    }

    /// Writes a value.
    ///
    /// # Errors
    ///
    /// As [`Map::update`].
    pub fn update(&self, key: &K, value: &V, mode: UpdateMode) -> Result<(), Error> {
        self.map.update(&key.to_bytes(), &value.to_bytes(), mode)
    }

    /// Creates an entry, or replaces its value.
    ///
    /// # Errors
    ///
    /// As [`Map::update`].
    pub fn insert(&self, key: &K, value: &V) -> Result<(), Error> {
        self.update(key, value, UpdateMode::Any)
    }

    /// Deletes a key; `false` if it was not there.
    ///
    /// # Errors
    ///
    /// As [`Map::delete`].
    pub fn delete(&self, key: &K) -> Result<bool, Error> {
        self.map.delete(&key.to_bytes())
    }

    /// Looks up a value and deletes it at once; none if the key is not there.
    ///
    /// # Errors
    ///
    /// As [`Map::take`].
    pub fn take(&self, key: &K) -> Result<Option<V>, Error> {
        let taken = self.map.take(&key.to_bytes())?;
        Ok(taken.map(|value| V::decode(&value)))
    }

    /// Reads all entries, in the kernel's order.
    ///
    /// # Errors
    ///
    /// As [`Map::snapshot`].
    #[cfg(feature = "bulk")]
    pub fn entries(&self) -> Result<Vec<(K, V)>, Error> {
        let all = self.map.snapshot()?;
        let entries = all.entries();
        Ok(entries
            .map(|entry| (K::decode(entry.key), V::decode(entry.value())))
            .collect())
    }

    /// Reads all entries and deletes them, as [`Map::take_all`] does.
    ///
    /// # Errors
    ///
    /// As [`Map::take_all`].
    #[cfg(feature = "bulk")]
    pub fn drain(&self) -> Result<Vec<(K, V)>, Error> {
        let all = self.map.take_all()?;
        let entries = all.entries();
        Ok(entries
            .map(|entry| (K::decode(entry.key), V::decode(entry.value())))
            .collect())
    }

    /// Writes many entries, in one call where the kernel can. Gives how many were written.
    ///
    /// # Errors
    ///
    /// As [`Map::update_many`].
    #[cfg(feature = "bulk")]
    pub fn insert_many(&self, entries: &[(K, V)]) -> Result<usize, Error> {
        let mut keys = vec![0; entries.len().saturating_mul(K::SIZE)];
        let mut values = vec![0; entries.len().saturating_mul(V::SIZE)];
        let slots = keys
            .chunks_mut(K::SIZE.max(1))
            .zip(values.chunks_mut(V::SIZE.max(1)));
        for ((key, value), (to_key, to_value)) in entries.iter().zip(slots) {
            key.encode(to_key);
            value.encode(to_value);
        }
        self.map.update_many(&keys, &values, UpdateMode::Any)
    }
}

/// A map of keys to values, each CPU having values of its own. It is a [`Map`] for all else.
#[derive(Clone, Debug)]
pub struct PerCpuMap<K, V> {
    map: Map,
    types: PhantomData<fn() -> (K, V)>,
}

impl<K: Plain, V: Plain> PerCpuMap<K, V> {
    /// Gives a map its types.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] where they have other sizes, or the map has no values by CPU.
    pub fn new(map: Map) -> Result<PerCpuMap<K, V>, Error> {
        fits(&map, K::SIZE, V::SIZE)?;
        if !map.is_per_cpu() {
            return Err(map.no_such("values by CPU"));
        }
        Ok(PerCpuMap {
            map,
            types: PhantomData,
        })
    }

    /// Looks up the values of all possible CPUs; none if the key is not there.
    ///
    /// # Errors
    ///
    /// What the kernel says.
    pub fn lookup(&self, key: &K) -> Result<Option<Vec<V>>, Error> {
        let found = self.map.lookup_cpus(&key.to_bytes())?;
        Ok(found.map(|values| values.iter().map(V::decode).collect()))
    }

    /// Writes a value for each possible CPU; those that there are no values for get zeros.
    ///
    /// # Errors
    ///
    /// As [`Map::update`]; [`Error::Invalid`] for more values than CPUs.
    pub fn update(&self, key: &K, values: &[V], mode: UpdateMode) -> Result<(), Error> {
        let mut all = self.map.zero_cpus()?;
        for (cpu, value) in values.iter().enumerate() {
            let Some(to) = all.get_mut(cpu) else {
                return Err(Error::invalid(format!(
                    "map {}: {} values for {} CPUs",
                    self.map.name(),
                    values.len(),
                    all.cpus()
                )));
            };
            value.encode(to);
        }
        self.map.update_cpus(&key.to_bytes(), &all, mode)
    }

    /// Deletes a key; `false` if it was not there.
    ///
    /// # Errors
    ///
    /// As [`Map::delete`].
    pub fn delete(&self, key: &K) -> Result<bool, Error> {
        self.map.delete(&key.to_bytes())
    }

    /// Reads all entries, in the kernel's order.
    ///
    /// # Errors
    ///
    /// As [`Map::snapshot`].
    #[cfg(feature = "bulk")]
    pub fn entries(&self) -> Result<Vec<(K, Vec<V>)>, Error> {
        let all = self.map.snapshot()?;
        let entries = all.entries();
        Ok(entries
            .map(|entry| {
                let values = entry.values().map(V::decode);
                (K::decode(entry.key), values.collect())
            })
            .collect())
    }
}

/// A queue or a stack. It is a [`Map`] for all else.
#[derive(Clone, Debug)]
pub struct TypedQueue<V> {
    map: Map,
    types: PhantomData<fn() -> V>,
}

impl<V: Plain> TypedQueue<V> {
    /// Gives a map its type.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] where it has another size.
    pub fn new(map: Map) -> Result<TypedQueue<V>, Error> {
        fits(&map, 0, V::SIZE)?;
        Ok(TypedQueue {
            map,
            types: PhantomData,
        })
    }

    /// Adds a value.
    ///
    /// # Errors
    ///
    /// As [`Map::push`].
    pub fn push(&self, value: &V) -> Result<(), Error> {
        self.map.push(&value.to_bytes(), false)
    }

    /// Takes the next value: the oldest of a queue, the newest of a stack.
    ///
    /// # Errors
    ///
    /// As [`Map::pop`].
    pub fn pop(&self) -> Result<Option<V>, Error> {
        Ok(self.map.pop()?.map(|value| V::decode(&value)))
    }

    /// Looks at the next value, which stays.
    ///
    /// # Errors
    ///
    /// As [`Map::peek`].
    pub fn peek(&self) -> Result<Option<V>, Error> {
        Ok(self.map.peek()?.map(|value| V::decode(&value)))
    }
}

/// A bloom filter. It is a [`Map`] for all else.
#[derive(Clone, Debug)]
pub struct TypedFilter<V> {
    map: Map,
    types: PhantomData<fn() -> V>,
}

impl<V: Plain> TypedFilter<V> {
    /// Gives a map its type.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] where it has another size.
    pub fn new(map: Map) -> Result<TypedFilter<V>, Error> {
        fits(&map, 0, V::SIZE)?;
        Ok(TypedFilter {
            map,
            types: PhantomData,
        })
    }

    /// Adds a value.
    ///
    /// # Errors
    ///
    /// As [`Map::add`].
    pub fn add(&self, value: &V) -> Result<(), Error> {
        self.map.add(&value.to_bytes())
    }

    /// Asks for a value: `false` means surely not, `true` most likely.
    ///
    /// # Errors
    ///
    /// As [`Map::may_contain`].
    pub fn may_contain(&self, value: &V) -> Result<bool, Error> {
        self.map.may_contain(&value.to_bytes())
    }
}

macro_rules! is_a_map {
    ($($name:ident<$($parameter:ident),*>)*) => {
        $(impl<$($parameter),*> Deref for $name<$($parameter),*> {
            type Target = Map;

            fn deref(&self) -> &Map {
                &self.map
            }
        })*
    };
}

is_a_map!(TypedMap<K, V> PerCpuMap<K, V> TypedQueue<V> TypedFilter<V>);
