//! A smaller blob of chosen types, numbered anew.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::blob::{Btf, Raw, TypeId};
use crate::bytes;
use crate::kind::Kind;
use crate::shape::Word;

/// How much of a type goes into a smaller blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kept {
    /// All of it.
    Whole,
    /// These members of a structure or union, by number; its size stays. Of other types all.
    Members(BTreeSet<u32>),
}

impl Btf {
    /// Writes the chosen types, in the same order and with new numbers, in the same byte order.
    ///
    /// What they refer to becomes `void` where it was not chosen. The blob stands on its own, also
    /// where this one continues a base. Types that do not exist, or whose kind is newer than this
    /// library, are left out.
    #[must_use]
    pub fn subset(&self, kept: &BTreeMap<TypeId, Kept>) -> Vec<u8> {
        let known = |id: &TypeId| match self.raw(*id) {
            Some(raw) if *id != TypeId::VOID => raw.kind().sizes().map(|sizes| (raw, sizes)),
            _ => None,
        };
        let ids = kept.keys().filter(|id| known(id).is_some());
        let mut writer = Writer {
            btf: self,
            ids: ids.copied().zip(1..).collect(),
            places: HashMap::from([("", 0)]),
            strings: vec![0],
            words: Vec::new(),
        };
        for (id, kept) in kept {
            if let Some((raw, sizes)) = known(id) {
                writer.add(raw, sizes, kept);
            }
        }
        writer.blob()
    }
}

struct Writer<'a> {
    btf: &'a Btf,
    ids: HashMap<TypeId, u32>,
    places: HashMap<&'a str, u32>,
    strings: Vec<u8>,
    words: Vec<u32>,
}

impl<'a> Writer<'a> {
    fn add(&mut self, raw: Raw<'_>, (once, each): (usize, usize), kept: &Kept) {
        let kind = raw.kind();
        // Where there are no elements their number is the linkage, or nothing.
        let count = if each == 0 { 0 } else { raw.count() as u32 };
        let chosen: Vec<u32> = match (kept, kind) {
            (Kept::Members(members), Kind::Struct | Kind::Union) => {
                members.range(..count).copied().collect()
            }
            _ => (0..count).collect(),
        };
        let info = match kind {
            Kind::Struct | Kind::Union => (raw.info & !0x00ff_ffff) | chosen.len() as u32,
            _ => raw.info,
        };
        let name = self.name(raw.name);
        let last = match kind.refers() {
            true => self.id(raw.size_or_type),
            false => raw.size_or_type,
        };
        self.words.extend([name, info, last]);
        let element = kind.words();
        // Either words come once or they come with each element.
        let single = (once != 0).then_some(0);
        let elements = chosen.iter().map(|&index| index as usize * each);
        for start in single.into_iter().chain(elements) {
            for (at, word) in (start..).step_by(4).zip(element) {
                let value = raw.endian.u32(raw.rest, at).unwrap_or(0);
                let value = match word {
                    Word::Name => self.name(value),
                    Word::Type => self.id(value),
                    Word::Number => value,
                };
                self.words.push(value);
            }
        }
    }

    fn id(&self, id: u32) -> u32 {
        self.ids.get(&TypeId(id)).copied().unwrap_or(0)
    }

    fn name(&mut self, offset: u32) -> u32 {
        let name = self.btf.string(offset).unwrap_or_default();
        let end = self.strings.len() as u32;
        let place = *self.places.entry(name).or_insert(end);
        if place == end {
            self.strings.extend_from_slice(name.as_bytes());
            self.strings.push(0);
        }
        place
    }

    fn blob(self) -> Vec<u8> {
        let endian = self.btf.endian();
        let mut types = Vec::with_capacity(self.words.len() * 4);
        endian.put_words(&mut types, &self.words);
        bytes::blob(endian, &types, &self.strings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bytes::Endian;
    use crate::types::{Encoding, Type};
    use crate::write::{Builder, NewMember};

    #[test]
    fn chosen_types_are_numbered_anew() {
        for endian in [Endian::Little, Endian::Big] {
            let mut b = Builder::with_endian(endian);
            let int = b.add_int("int", 4, Encoding::Signed);
            let long = b.add_int("long", 8, Encoding::Signed);
            let array = b.add_array(int, long, 3);
            let field = NewMember {
                bitfield: Some(5),
                ..NewMember::new("bits", int, 35)
            };
            let members = [
                NewMember::new("first", long, 0),
                field,
                NewMember::new("list", array, 64),
            ];
            let whole = b.add_struct("whole", 24, &members);
            let pointer = b.add_ptr(whole);
            let colors = b.add_enum("color", 4, &[("RED", 3), ("BLUE", -4)]);
            let proto = b.add_func_proto(pointer, &[("at", pointer), ("by", colors)]);
            let btf = Btf::parse(b.finish()).unwrap();

            let part = Kept::Members(BTreeSet::from([1, 2, 99]));
            let kept = [
                (int, Kept::Whole),
                (array, Kept::Whole),
                (whole, part),
                (colors, Kept::Whole),
                (proto, Kept::Whole),
                (TypeId(77), Kept::Whole),
                (TypeId::VOID, Kept::Whole),
            ];
            let small = Btf::parse(btf.subset(&BTreeMap::from(kept))).unwrap();
            assert_eq!((small.validate(), small.endian()), (Ok(()), endian));
            assert_eq!(small.type_count(), 6);
            let texts: Vec<String> = small.ids().map(|id| small.print_c(id)).collect();
            assert_eq!(texts[0], btf.print_c(int));
            assert_eq!(texts[3], btf.print_c(colors));
            let Some(Type::Array(list)) = small.get(TypeId(2)) else {
                panic!("{texts:?}");
            };
            assert_eq!(
                (list.element, list.index, list.len),
                (TypeId(1), TypeId::VOID, 3)
            );
            let found = small.composite(TypeId(3)).unwrap();
            assert_eq!((found.name, found.size, found.len()), ("whole", 24, 2));
            let bits = found.member(0);
            assert_eq!((bits.name, bits.type_id), ("bits", TypeId(1)));
            assert_eq!((bits.bit_offset, bits.bitfield), (35, Some(5)));
            assert_eq!(found.member(1).type_id, TypeId(2));
            // The pointer was left out, what it stood for is nothing.
            let params = small.prototype(TypeId(5)).unwrap();
            let ids: Vec<TypeId> = params.params().map(|param| param.type_id).collect();
            assert_eq!(ids, [TypeId::VOID, TypeId(4)]);
            assert_eq!(params.result, TypeId::VOID);
        }
    }
}
