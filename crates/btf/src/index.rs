//! Names to types: a table of buckets, two words per name and no copy of any name.

use crate::blob::{Btf, TypeId};
use crate::bytes::LONGEST;
use crate::kind::Kind;
use crate::search::FEW;
use crate::types::Type;

/// Ids by the hash of their name. Bucket `b` is `ids[starts[b]..starts[b + 1]]`, ascending.
pub(crate) struct NameIndex {
    starts: Vec<u32>,
    ids: Vec<u32>,
}

/// Bytes that are hashed in one step.
const STEP: usize = 8;
const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;
pub(crate) const LOW_BITS: u64 = 0x0101_0101_0101_0101;
const HIGH_BITS: u64 = 0x8080_8080_8080_8080;
const UNDERSCORES: u64 = 0x5f5f_5f5f_5f5f_5f5f;

/// Takes eight bytes of a name into its hash; behind the end of the name they are zero.
fn step(hash: u64, bytes: u64) -> u64 {
    (hash.rotate_left(23) ^ bytes).wrapping_mul(MULTIPLIER)
}

/// Gives what a hash is compared by, never 0: its better bits.
fn end(hash: u64) -> u32 {
    ((hash >> 32) as u32).max(1)
}

/// Marks the bytes that are zero in their highest bits; above the first of them it may mark others as well.
pub(crate) fn zeros(bytes: u64) -> u64 {
    bytes.wrapping_sub(LOW_BITS) & !bytes & HIGH_BITS
}

/// Gives the hash of a name.
fn hash(name: &[u8]) -> u32 {
    let name = name.get(..=LONGEST).unwrap_or(name);
    let mut chunks = name.chunks_exact(STEP);
    let whole = chunks.by_ref().filter_map(<[u8]>::first_chunk::<STEP>);
    let all = whole.fold(0, |h, chunk| step(h, u64::from_le_bytes(*chunk)));
    let last = chunks.remainder().iter().rev();
    let last = last.fold(0, |bytes, byte| bytes << 8 | u64::from(*byte));
    end(step(all, last))
}

/// Gives the hash of the name that ends at the first NUL, up to its flavour: see [`essential_name`].
fn essential_hash(text: &[u8]) -> u32 {
    let text = text.get(..=LONGEST).unwrap_or(text);
    let (mut h, mut before) = (0, 0);
    let mut rest = text;
    while let Some(chunk) = rest.first_chunk::<STEP>() {
        let bytes = u64::from_le_bytes(*chunk);
        let ends = zeros(bytes);
        let runs = zeros(bytes ^ UNDERSCORES);
        // Three in a row, of which one or two may be in the chunk before.
        if runs & (runs << 8 | before >> 56) & (runs << 16 | before >> 48) != 0 {
            break;
        }
        if ends != 0 {
            let inside = (1 << (ends.trailing_zeros() & !7)) - 1;
            return end(step(h, bytes & inside));
        }
        h = step(h, bytes);
        before = runs;
        rest = rest.get(STEP..).unwrap_or_default();
    }
    let len = text.iter().position(|&byte| byte == 0);
    let name = text.get(..len.unwrap_or(text.len())).unwrap_or_default();
    hash(name.get(..essential_len(name)).unwrap_or(name))
}

/// Gives the length of a name without its flavour.
fn essential_len(name: &[u8]) -> usize {
    let separates =
        |five: &[u8]| matches!(five, [x, b'_', b'_', b'_', y] if *x != b'_' && *y != b'_');
    let at = name.windows(5).rposition(separates);
    at.map_or(name.len(), |at| at + 1)
}

/// Gives a type's name without its flavour: what follows the last three underscores that stand
/// between other characters (`task_struct___old` is a flavour of `task_struct`).
#[must_use]
pub fn essential_name(name: &str) -> &str {
    // An underscore follows, so this is the end of a character.
    name.get(..essential_len(name.as_bytes())).unwrap_or(name)
}

impl NameIndex {
    /// Builds the table from hashes and ids, ascending by id.
    fn new(entries: impl DoubleEndedIterator<Item = (u32, u32)> + Clone) -> NameIndex {
        let count = entries.clone().count();
        // One or two names a bucket.
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

    /// Indexes the own types of `btf` that have a name, flavours of a name together. Tags are left out: their names are texts
    /// that thousands of types share.
    pub(crate) fn of_types(btf: &Btf) -> NameIndex {
        // Half the size of pairs: 0 stands for "not in the index".
        let hash_of = |named: Option<(Kind, &[u8])>| match named {
            Some((kind, name)) if !matches!(kind, Kind::DeclTag | Kind::TypeTag) => {
                essential_hash(name)
            }
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

    /// Gives the types whose name may be `name` or a flavour of it, ascending.
    fn types(&self, name: &str) -> &[u32] {
        self.bucket(essential_hash(name.as_bytes()))
    }

    /// Gives the enumerations that may have a constant of this name, ascending.
    pub(crate) fn enumerations(&self, name: &str) -> &[u32] {
        self.bucket(hash(name.as_bytes()))
    }

    fn bucket(&self, hash: u32) -> &[u32] {
        let bits = (self.starts.len() - 1).trailing_zeros();
        let bucket = (hash >> (32 - bits)) as usize;
        let from = self.starts[bucket] as usize;
        &self.ids[from..self.starts[bucket + 1] as usize]
    }
}

impl Btf {
    /// Gives the ids of all types of this name, those of the base first.
    pub fn find_all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = TypeId> + use<'a> {
        self.chain()
            .flat_map(move |btf| btf.names().types(name).iter().map(|&id| TypeId(id)))
            .filter(move |&id| !name.is_empty() && self.name(id) == Some(name))
    }

    /// Gives the ids of all types whose name without flavour is that of `name`, those of the base
    /// first: see [`essential_name`].
    pub fn flavours<'a>(&'a self, name: &'a str) -> impl Iterator<Item = TypeId> + use<'a> {
        self.chain().flat_map(move |btf| btf.own_flavours(name))
    }

    /// Gives what [`Btf::flavours`] gives of the types that this blob adds to its base.
    pub fn own_flavours<'a>(&'a self, name: &'a str) -> impl Iterator<Item = TypeId> + use<'a> {
        let essential = essential_name(name);
        let same = move |&id: &TypeId| self.name(id).map(essential_name) == Some(essential);
        let ids = self.names().types(name).iter().map(|&id| TypeId(id));
        ids.filter(move |id| !name.is_empty() && same(id))
    }

    /// Gives this blob and its bases, the lowest first. Bases are few: a module's BTF has one.
    fn chain(&self) -> impl Iterator<Item = &Btf> {
        let mut chain: Vec<&Btf> = core::iter::successors(Some(self), |b| b.base()).collect();
        chain.reverse();
        chain.into_iter()
    }

    fn names(&self) -> &NameIndex {
        self.inner.names.get_or_init(|| NameIndex::of_types(self))
    }

    /// Gives the first type of this name and kind. [`Kind::Enum`] finds 64-bit enumerations too.
    ///
    /// The first few questions are answered by a look at each type, as most programs ask no more, and later ones by an index.
    #[must_use]
    pub fn find(&self, name: &str, kind: Kind) -> Option<TypeId> {
        self.first_of(name, kind, FEW)
    }

    /// Gives what [`Btf::find`] gives, by a look at each type where names have not been indexed yet:
    /// for who asks for a few names alone.
    #[must_use]
    pub fn find_once(&self, name: &str, kind: Kind) -> Option<TypeId> {
        self.first_of(name, kind, usize::MAX)
    }

    /// Finds a type; without an index where there is none yet and fewer than `most` names have been looked for.
    fn first_of(&self, name: &str, kind: Kind, most: usize) -> Option<TypeId> {
        if name.is_empty() {
            return None;
        }
        for btf in self.chain() {
            if btf.inner.names.get().is_none() {
                match btf.ask_type(name, kind, most) {
                    Some(Some(id)) => return Some(id),
                    Some(None) => continue,
                    None => {}
                }
            }
            for id in btf.names().types(name).iter().map(|&id| TypeId(id)) {
                if self.name(id) == Some(name) && self.is_kind(id, kind) {
                    return Some(id);
                }
            }
        }
        None
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
                let found = index.enumerations(name);
                assert!(found.contains(&id), "{name} of {n}");
                assert!(found.is_sorted());
            }
            assert_eq!(index.ids.len(), n as usize);
        }
    }

    #[test]
    fn one_name_is_found_as_with_the_index() {
        use crate::write::Builder;
        use crate::{Encoding, NewMember};
        let mut b = Builder::new();
        let int = b.add_int("int", 4, Encoding::Signed);
        for name in ["task", "task_struct", "task_struct___old", "task_struct"] {
            b.add_struct(name, 4, &[NewMember::new("pid", int, 0)]);
        }
        b.add_typedef("task", int);
        b.add_enum("color", 4, &[("RED", 0)]);
        b.add_type_tag("task_struct", int);
        let bytes = b.finish();
        let names = [
            "task",
            "task_struct",
            "task_",
            "t",
            "struct",
            "int",
            "color",
            "RED",
            "",
        ];
        let kinds = [
            Kind::Struct,
            Kind::Typedef,
            Kind::Int,
            Kind::Enum,
            Kind::Union,
            Kind::TypeTag,
        ];
        for (name, kind) in names
            .iter()
            .flat_map(|name| kinds.map(|kind| (*name, kind)))
        {
            let btf = Btf::parse(bytes.clone()).unwrap();
            let found = btf.find_once(name, kind);
            assert!(btf.inner.names.get().is_none());
            let all = btf.find_all(name).find(|&id| btf.is_kind(id, kind));
            assert_eq!(found, all, "{name} {kind:?}");
            assert_eq!(
                found,
                btf.find_once(name, kind),
                "{name} {kind:?} by the index"
            );
        }
    }

    #[test]
    fn many_questions_are_answered_by_an_index() {
        let mut b = crate::write::Builder::new();
        let named = b.add_struct("sample", 4, &[]);
        let btf = Btf::parse(b.finish()).unwrap();
        for question in 0..=FEW {
            assert!(btf.inner.names.get().is_none(), "{question}");
            assert_eq!(btf.find(&format!("no{question}"), Kind::Struct), None);
        }
        assert!(btf.inner.names.get().is_some());
        assert_eq!(btf.find("sample", Kind::Struct), Some(named));
    }

    #[test]
    fn flavours_end_at_the_last_three_underscores() {
        let check = |name: &str, expected: &str| {
            assert_eq!(essential_name(name), expected);
            // Whatever is before it and behind it in the chunks.
            for before in 0..9 {
                let name = format!("{}{name}", "x".repeat(before));
                let expected = format!("{}{expected}", "x".repeat(before));
                if essential_name(&name) != expected {
                    continue;
                }
                for behind in ["", "\0", "\0next\0", "\0___\0a___b\0"] {
                    let text = format!("{name}{behind}");
                    assert_eq!(
                        essential_hash(text.as_bytes()),
                        hash(expected.as_bytes()),
                        "{text}"
                    );
                }
            }
        };
        check("", "");
        check("task_struct", "task_struct");
        check("task_struct___old", "task_struct");
        check("a___b___c", "a___b");
        check("a___b____c", "a");
        check("a___b___", "a");
        check("a____b", "a____b");
        check("a__b", "a__b");
        check("___b", "___b");
        check("_a___b", "_a");
        check("a___", "a___");
        check("é___b", "é");
        check("a___é", "a");
    }

    #[test]
    fn types_are_found_by_name_and_by_flavour() {
        let mut b = crate::write::Builder::new();
        let plain = b.add_struct("sample", 4, &[]);
        let one = b.add_struct("sample___one", 4, &[]);
        let two = b.add_typedef("sample___two", plain);
        b.add_struct("sampled", 4, &[]);
        let base = Btf::parse(b.finish()).unwrap();
        let flavours = |name| base.flavours(name).collect::<Vec<_>>();
        let named = |name| base.find_all(name).collect::<Vec<_>>();
        assert_eq!(flavours("sample___three"), [plain, one, two]);
        assert_eq!(named("sample"), [plain]);
        assert_eq!(named("sample___one"), [one]);
        assert_eq!(base.flavours("").count(), 0);
    }
}
