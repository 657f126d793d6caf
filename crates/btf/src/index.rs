//! Names to types: a table of buckets, two words per name and no copy of any name.

use crate::blob::{Btf, TypeId};
use crate::bytes::LONGEST;
use crate::kind::Kind;
use crate::types::Type;

/// Ids by the hash of their name. Bucket `b` is `ids[starts[b]..starts[b + 1]]`, ascending.
pub(crate) struct NameIndex {
    starts: Vec<u32>,
    ids: Vec<u32>,
}

/// FNV-1a; good enough for identifiers, and read in one pass up to the NUL.
const SEED: u32 = 0x811c_9dc5;
const PRIME: u32 = 0x0100_0193;

/// Gives the hash of a name, never 0.
fn hash(name: &[u8]) -> u32 {
    let step = |h: u32, &b: &u8| (h ^ u32::from(b)).wrapping_mul(PRIME);
    let name = name.get(..=LONGEST).unwrap_or(name);
    name.iter().take_while(|&&b| b != 0).fold(SEED, step).max(1)
}

impl NameIndex {
    /// Builds the table from hashes and ids, ascending by id.
    fn new(entries: impl DoubleEndedIterator<Item = (u32, u32)> + Clone) -> NameIndex {
        let count = entries.clone().count();
        // One or two names a bucket; the high bits of FNV are its better ones.
        let bits = count.max(2).ilog2().min(24);
        let bucket = |h: u32| (h >> (32 - bits)) as usize;
        let mut starts = vec![0u32; (1 << bits) + 1];
        for (h, _) in entries.clone() {
            starts[bucket(h)] += 1;
        }
        let mut sum = 0;
        for start in &mut starts {
            sum += *start;
            *start = sum;
        }
        let mut ids = vec![0; count];
        // Filling from behind keeps the order and turns the ends of the buckets into starts.
        for (h, id) in entries.rev() {
            let end = &mut starts[bucket(h)];
            *end -= 1;
            ids[*end as usize] = id;
        }
        NameIndex { starts, ids }
    }

    /// Indexes the own types of `btf` that have a name. Tags are left out: their names are texts
    /// that thousands of types share.
    pub(crate) fn of_types(btf: &Btf) -> NameIndex {
        // Half the size of pairs: 0 stands for "not in the index".
        let hash_of = |named: Option<(Kind, &[u8])>| match named {
            Some((kind, name)) if !matches!(kind, Kind::DeclTag | Kind::TypeTag) => hash(name),
            _ => 0,
        };
        let hashes: Vec<u32> = btf.own_names().map(hash_of).collect();
        let ids = btf.inner.first_id..btf.type_count();
        NameIndex::new(hashes.iter().copied().zip(ids).filter(|&(h, _)| h != 0))
    }

    /// Indexes the constants of the own enumerations of `btf`.
    pub(crate) fn of_enumerators(btf: &Btf) -> NameIndex {
        let mut entries = Vec::new();
        for id in btf.own_ids() {
            if !matches!(btf.kind(id), Some(Kind::Enum | Kind::Enum64)) {
                continue;
            }
            if let Some(Type::Enum(e)) = btf.get(id) {
                entries.extend(e.enumerators().map(|e| (hash(e.name.as_bytes()), id.0)));
            }
        }
        NameIndex::new(entries.iter().copied())
    }

    /// Gives the ids whose name may be `name`, ascending.
    pub(crate) fn candidates(&self, name: &str) -> &[u32] {
        let bits = (self.starts.len() - 1).trailing_zeros();
        let bucket = (hash(name.as_bytes()) >> (32 - bits)) as usize;
        let from = self.starts[bucket] as usize;
        &self.ids[from..self.starts[bucket + 1] as usize]
    }
}

impl Btf {
    /// Gives the ids of all types of this name, those of the base first.
    pub fn find_all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = TypeId> + use<'a> {
        // Bases are few: a module's BTF has one.
        let mut chain: Vec<&Btf> = core::iter::successors(Some(self), |b| b.base()).collect();
        chain.reverse();
        chain
            .into_iter()
            .flat_map(move |btf| {
                let index = btf.inner.names.get_or_init(|| NameIndex::of_types(btf));
                index.candidates(name).iter().map(|&id| TypeId(id))
            })
            .filter(move |&id| !name.is_empty() && self.name(id) == Some(name))
    }

    /// Gives the first type of this name and kind. [`Kind::Enum`] finds 64-bit enumerations too.
    #[must_use]
    pub fn find(&self, name: &str, kind: Kind) -> Option<TypeId> {
        self.find_all(name).find(|&id| self.is_kind(id, kind))
    }

    /// Tells whether a type is of a kind, all enumerations being [`Kind::Enum`] as well.
    pub(crate) fn is_kind(&self, id: TypeId, kind: Kind) -> bool {
        match self.kind(id) {
            Some(Kind::Enum64) => matches!(kind, Kind::Enum | Kind::Enum64),
            found => found == Some(kind),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_keep_every_entry_in_order() {
        for n in [0u32, 1, 2, 3, 100, 1000] {
            let names: Vec<String> = (0..n).map(|i| format!("name{}", i / 2)).collect();
            let entries: Vec<_> = names
                .iter()
                .zip(1..)
                .map(|(s, i)| (hash(s.as_bytes()), i))
                .collect();
            let index = NameIndex::new(entries.iter().copied());
            for (name, id) in names.iter().zip(1..) {
                let found = index.candidates(name);
                assert!(found.contains(&id), "{name} of {n}");
                assert!(found.is_sorted());
            }
            assert_eq!(index.ids.len(), n as usize);
        }
    }
}
