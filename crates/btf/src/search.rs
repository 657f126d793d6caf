//! Names that are looked for in the strings themselves, by who asks for too few to index all.

use std::sync::{Mutex, PoisonError};

use crate::blob::{Btf, TypeId};
use crate::bytes::LONGEST;
use crate::index::{LOW_BITS, zeros};
use crate::kind::Kind;
use crate::query::EnumConstant;
use crate::types::Type;

/// Questions for different names that are answered without an index: to make it takes as long as about so many.
pub(crate) const FEW: usize = 8;

/// Answers that are kept: as many questions as anybody asks one by one.
const KEPT: usize = 64;

/// Places of a string that a type's name is compared with. Strings that end as many others do may be at more.
const PLACES: usize = 16;

/// What was asked before there was an index.
#[derive(Default)]
pub(crate) struct Asked {
    types: Answers<(String, Kind), Option<TypeId>>,
    constants: Answers<String, Option<EnumConstant>>,
}

/// Questions with their answers.
type Answers<Q, A> = Mutex<Vec<(Q, A)>>;

/// Gives what was answered to a question, or answers it where fewer than `most` have been. The walk is made without the lock:
/// who asks the same meanwhile makes it, too, and both count as one question.
fn ask<Q: PartialEq, A: Copy>(
    asked: &Answers<Q, A>,
    most: usize,
    question: Q,
    answer: impl FnOnce(&Q) -> A,
) -> Option<A> {
    let known = || asked.lock().unwrap_or_else(PoisonError::into_inner);
    let all = known();
    if let Some((_, answer)) = all.iter().find(|(known, _)| *known == question) {
        return Some(*answer);
    }
    if all.len() >= most {
        return None;
    }
    drop(all);
    let answer = answer(&question);
    let mut all = known();
    let is_new = all.iter().all(|(known, _)| *known != question);
    if is_new && all.len() < KEPT {
        all.push((question, answer));
    }
    Some(answer)
}

impl Btf {
    /// Finds the first own type of a name and kind by a look at each; none where `most` different ones have been looked for.
    pub(crate) fn ask_type(&self, name: &str, kind: Kind, most: usize) -> Option<Option<TypeId>> {
        let question = (name.to_owned(), kind);
        ask(&self.inner.asked.types, most, question, |(name, kind)| {
            self.look_for(name, *kind)
        })
    }

    /// Finds a constant of the own enumerations by a look at each; none where a few others have been looked for.
    pub(crate) fn ask_constant(&self, name: &str) -> Option<Option<EnumConstant>> {
        let asked = &self.inner.asked.constants;
        ask(asked, FEW, name.to_owned(), |name| {
            self.look_for_constant(name)
        })
    }

    /// Looks at each own type that an index would have.
    fn look_for(&self, name: &str, kind: Kind) -> Option<TypeId> {
        if matches!(kind, Kind::DeclTag | Kind::TypeTag) {
            return None;
        }
        let ids = self.own_ids();
        let fits = |id: TypeId| self.is_kind(id, kind);
        match self.places(name) {
            Places::Few(places) => match places.as_slice() {
                [] => None,
                [place] => {
                    let mut named = ids.zip(self.own_references());
                    named.find_map(|(id, at)| (at == *place && fits(id)).then_some(id))
                }
                places => {
                    let mut named = ids.zip(self.own_references());
                    named.find_map(|(id, at)| (places.contains(&at) && fits(id)).then_some(id))
                }
            },
            Places::Many => {
                let same = |text: &[u8]| is_string(text, name.as_bytes());
                let mut named = ids.zip(self.own_names());
                let found =
                    named.find(|(id, one)| one.is_some_and(|(_, text)| same(text)) && fits(*id));
                found.map(|(id, _)| id)
            }
        }
    }

    /// Looks at the constants of each own enumeration.
    fn look_for_constant(&self, name: &str) -> Option<EnumConstant> {
        let places = match self.places(name) {
            Places::Few(places) if places.is_empty() => return None,
            Places::Few(places) => Some(places),
            Places::Many => None,
        };
        let enumerations = self.own_ids().filter(|&id| self.is_kind(id, Kind::Enum));
        enumerations
            .filter_map(|type_id| match self.get(type_id) {
                Some(Type::Enum(e)) => Some((type_id, e)),
                _ => None,
            })
            .find_map(|(type_id, e)| {
                let mut constants = 0..e.len();
                let found = constants.find(|&index| match &places {
                    Some(places) => e.reference(index).is_some_and(|at| places.contains(&at)),
                    None => e.enumerator(index).is_some_and(|one| one.name == name),
                })?;
                let constant = e.enumerator(found)?;
                Some(EnumConstant {
                    type_id,
                    value: constant.value,
                    signed: e.signed,
                })
            })
    }

    /// Gives where a name stands in the strings, as references count them. A string may be the end of another.
    fn places(&self, name: &str) -> Places {
        let name = name.as_bytes();
        if name.is_empty() || name.len() > LONGEST || name.contains(&0) {
            return Places::Few(Vec::new());
        }
        let ended = [name, &[0]].concat();
        let mut places = Vec::new();
        let chain = std::iter::successors(Some(self), |btf| btf.base());
        for btf in chain {
            let (first, strings) = btf.own_strings();
            let mut from = 0;
            while let Some(at) = position(strings.get(from..).unwrap_or_default(), &ended) {
                if places.len() == PLACES {
                    return Places::Many;
                }
                // Strings of base and split have 32-bit offsets together.
                places.push(first + (from + at) as u32);
                // No two overlap: the name has its NUL at its end alone.
                from += at + ended.len();
            }
        }
        Places::Few(places)
    }
}

/// Where a name stands in the strings.
enum Places {
    Few(Vec<u32>),
    /// At more than [`PLACES`].
    Many,
}

/// Says whether the string at the begin of a text is this one.
fn is_string(text: &[u8], name: &[u8]) -> bool {
    let rest = text.strip_prefix(name);
    rest.is_some_and(|rest| rest.first() == Some(&0))
}

/// Finds a text of at least two bytes: three of them are looked for at eight places together.
fn position(all: &[u8], text: &[u8]) -> Option<usize> {
    const WORD: usize = 8;
    let last = text.len().checked_sub(1)?;
    let count = all.len().checked_sub(last)?;
    let picked = [0, last / 2, last.saturating_sub(1)];
    let same = picked.map(|at| text.get(at).map_or(0, |&byte| u64::from(byte) * LOW_BITS));
    let [a, b, c] = picked.map(|at| all.get(at..at + count).unwrap_or_default());
    let word = |bytes: &[u8]| {
        bytes
            .first_chunk()
            .map_or(0, |word| u64::from_le_bytes(*word))
    };
    let together = a
        .chunks_exact(WORD)
        .zip(b.chunks_exact(WORD))
        .zip(c.chunks_exact(WORD));
    for (number, ((a, b), c)) in together.enumerate() {
        let differ = (word(a) ^ same[0]) | (word(b) ^ same[1]) | (word(c) ^ same[2]);
        if zeros(differ) != 0 {
            let mut places = number * WORD..(number + 1) * WORD;
            let found = places.find(|&at| all.get(at..).is_some_and(|all| all.starts_with(text)));
            if found.is_some() {
                return found;
            }
        }
    }
    let start = count / WORD * WORD;
    let rest = all.get(start..)?;
    let found = rest.windows(text.len()).position(|window| window == text);
    found.map(|at| start + at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::write::Builder;

    #[test]
    fn texts_are_found_wherever_they_are() {
        let check = |all: &[u8], text: &[u8]| {
            let expected = all.windows(text.len()).position(|window| window == text);
            assert_eq!(position(all, text), expected, "{text:?} in {all:?}");
        };
        for before in 0..40 {
            for behind in [0, 1, 7, 8, 9, 40] {
                for text in [&b"a\0"[..], b"ab\0", b"abcdefgh\0", b"aaaa\0"] {
                    let all = [&vec![b'a'; before][..], text, &vec![b'a'; behind]].concat();
                    check(&all, text);
                    check(all.get(..=before).unwrap_or_default(), text);
                }
            }
        }
        check(b"", b"a\0");
    }

    #[test]
    fn names_that_end_as_many_others_are_found_all_the_same() {
        let mut b = Builder::new();
        for number in 0..2 * PLACES {
            b.add_struct(&format!("{number}_int"), 4, &[]);
        }
        let int = b.add_struct("int", 4, &[]);
        b.add_enum("named", 4, &[("x_int", 5), ("int", 7)]);
        let few = b.add_struct("few", 4, &[]);
        b.add_struct("one_few", 4, &[]);
        let btf = Btf::parse(b.finish()).expect("fine");
        assert!(matches!(btf.places("int"), Places::Many));
        assert_eq!(btf.find("int", Kind::Struct), Some(int));
        assert_eq!(btf.enumerator("int").map(|found| found.value), Some(7));
        assert_eq!(btf.find("few", Kind::Struct), Some(few));
        assert_eq!(btf.find("ew", Kind::Struct), None);
        assert_eq!(btf.find("one\0few", Kind::Struct), None);
        assert!(btf.inner.names.get().is_none() && btf.inner.enumerators.get().is_none());
    }

    #[test]
    fn constants_are_those_of_the_index() {
        let mut b = Builder::new();
        b.add_enum("color", 4, &[("RED", 0), ("GREEN", 1)]);
        b.add_struct("GREEN", 4, &[]);
        b.add_enum("other", 4, &[("GREEN", 9), ("BLUE", 2), ("BLU", 3)]);
        let bytes = b.finish();
        let searched = Btf::parse(bytes.clone()).expect("fine");
        let indexed = Btf::parse(bytes).expect("fine");
        for number in 0..FEW {
            assert_eq!(indexed.enumerator(&format!("NO_{number}")), None);
        }
        for name in ["RED", "GREEN", "BLUE", "BLU", "LUE", "color", ""] {
            assert_eq!(
                searched.enumerator(name),
                indexed.enumerator(name),
                "{name}"
            );
        }
        assert!(searched.inner.enumerators.get().is_none());
        assert!(indexed.inner.enumerators.get().is_some());
    }

    #[test]
    fn questions_that_are_asked_again_are_not_counted() {
        let mut b = Builder::new();
        let known = b.add_struct("sample", 4, &[]);
        let btf = Btf::parse(b.finish()).expect("fine");
        for _ in 0..3 * FEW {
            assert_eq!(btf.find("sample", Kind::Struct), Some(known));
            assert_eq!(btf.find("sample", Kind::Union), None);
        }
        for number in 0..3 * KEPT {
            assert_eq!(btf.find_once(&number.to_string(), Kind::Struct), None);
        }
        assert!(btf.inner.names.get().is_none());
        assert_eq!(btf.find("another", Kind::Struct), None);
        assert!(btf.inner.names.get().is_some());
    }

    #[test]
    fn names_of_a_base_are_those_of_what_continues_it() {
        let mut b = Builder::new();
        b.add_struct("shared", 4, &[]);
        let base = Btf::parse(b.finish()).expect("fine");
        // A typedef of the base's type, by the base's string.
        let words = [24, 0, 12, 12, 4, 1, 8 << 24, 1].map(u32::to_le_bytes);
        let own = [&[0x9f, 0xeb, 1, 0], &words.concat()[..], b"own\0"].concat();
        let split = Btf::parse_split(own, &base).expect("fine");
        assert_eq!(split.find("shared", Kind::Typedef), Some(TypeId(2)));
        assert_eq!(split.find("shared", Kind::Struct), Some(TypeId(1)));
        assert!(split.inner.names.get().is_none());
    }
}
