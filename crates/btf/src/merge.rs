//! Types of several blobs put into one, each of them once.
//!
//! Two types are the same when nothing tells them apart, however deep one looks: same kind, name,
//! size, members, and what they refer to the same in turn. Structures that refer to themselves are
//! compared as a whole, not up to some depth. A structure, union or enumeration that one blob only
//! declares is the one that another defines, unless there are different ones of that name.
//!
//! ```
//! use kscope_btf::merge::Merger;
//! use kscope_btf::{Btf, Endian, Encoding, Kind, NewMember, write::Builder};
//!
//! let mut one = Builder::new();
//! let declared = one.add_fwd("node", false);
//! one.add_ptr(declared);
//! let mut two = Builder::new();
//! let int = two.add_int("int", 4, Encoding::Signed);
//! let node = two.add_struct("node", 4, &[NewMember::new("value", int, 0)]);
//! two.add_ptr(node);
//!
//! let mut merger = Merger::new(Endian::Little);
//! let first = merger.add(&Btf::parse(one.finish()).unwrap()).unwrap();
//! let second = merger.add(&Btf::parse(two.finish()).unwrap()).unwrap();
//! let merged = merger.deduplicate();
//! assert_eq!(merged.id(first.of(declared)), merged.id(second.of(node)));
//! let btf = Btf::parse(merged.finish()).unwrap();
//! assert_eq!(btf.ids().count(), 3);
//! assert_eq!(btf.find("node", Kind::Fwd), None);
//! ```

mod classes;
mod partition;

use std::collections::HashMap;
use std::ops::Range;

use crate::Error;
use crate::blob::{Btf, TypeId};
use crate::bytes::{Endian, blob};
use crate::kind::Kind;
use crate::shape::Word;
use crate::types::Linkage;

/// Types of several blobs, before equal ones become one.
///
/// Ids are those of the merger until [`Merger::deduplicate`] gives new ones.
#[derive(Clone, Debug)]
pub struct Merger {
    endian: Endian,
    /// The types; the first is `void`.
    nodes: Vec<Node>,
    /// What follows the headers of all types.
    words: Vec<u32>,
    names: Names,
}

#[derive(Clone, Debug)]
struct Node {
    kind: Kind,
    name: u32,
    info: u32,
    last: u32,
    rest: Range<usize>,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Kept,
    /// Another stands for it.
    Alias(u32),
    Removed,
}

/// Where the types of a blob are in a [`Merger`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Added {
    before: u32,
    count: u32,
}

impl Added {
    /// Gives the merger's id of a type of the blob; `void` for one that the blob has not.
    #[must_use]
    pub fn of(&self, id: TypeId) -> TypeId {
        match id.0 {
            1.. if id.0 <= self.count => TypeId(self.before + id.0),
            _ => TypeId::VOID,
        }
    }
}

/// Multiple of a blob's section of strings that its strings may take.
const STRINGS: usize = 16;

/// Strings, each once, by their offsets.
#[derive(Clone, Debug)]
struct Names {
    bytes: Vec<u8>,
    places: HashMap<String, u32>,
}

impl Names {
    fn new() -> Names {
        Names {
            bytes: vec![0],
            places: HashMap::from([(String::new(), 0)]),
        }
    }

    fn add(&mut self, text: &str) -> u32 {
        let text = text.split('\0').next().unwrap_or_default();
        if let Some(&place) = self.places.get(text) {
            return place;
        }
        let place = self.bytes.len() as u32;
        self.bytes.extend_from_slice(text.as_bytes());
        self.bytes.push(0);
        self.places.insert(text.to_owned(), place);
        place
    }

    /// Gives how many bytes there may be with all strings of a blob: names may begin inside of one
    /// another, and together be far larger than the section that has them.
    fn limit(&self, btf: &Btf) -> usize {
        let own = btf.string_bytes(0).map_or(0, <[u8]>::len);
        let more = own.saturating_mul(STRINGS).saturating_add(4096);
        self.bytes.len().saturating_add(more)
    }

    fn get(&self, place: u32) -> &str {
        let rest = self.bytes.get(place as usize..).unwrap_or_default();
        let text = rest.split(|&byte| byte == 0).next().unwrap_or_default();
        std::str::from_utf8(text).unwrap_or_default()
    }
}

impl Merger {
    /// Begins without types, for a blob of this byte order.
    #[must_use]
    pub fn new(endian: Endian) -> Merger {
        let void = Node {
            kind: Kind::Void,
            name: 0,
            info: 0,
            last: 0,
            rest: 0..0,
            state: State::Kept,
        };
        Merger {
            endian,
            nodes: vec![void],
            words: Vec::new(),
            names: Names::new(),
        }
    }

    /// Adds the types of a blob that stands on its own, of either byte order.
    ///
    /// # Errors
    /// [`Error::Split`], what [`Btf::validate`] finds, a kind newer than this library, strings that overlap
    /// so much that they would take many times their section, and more types than there are numbers.
    pub fn add(&mut self, btf: &Btf) -> Result<Added, Error> {
        if btf.base().is_some() {
            return Err(Error::Split);
        }
        btf.validate()?;
        let before = self.nodes.len() as u32 - 1;
        let count = btf.type_count() - 1;
        if before.checked_add(count).is_none_or(|all| all > 1 << 30) {
            return Err(Error::Malformed {
                what: "number of types",
                offset: 0,
            });
        }
        let added = Added { before, count };
        // Names are mostly the same few: each place of the blob is looked up once.
        let mut places = HashMap::new();
        let limit = self.names.limit(btf);
        for id in btf.own_ids() {
            let offset = btf.offset_of(id);
            let cut = || Error::Malformed {
                what: "type",
                offset,
            };
            let raw = btf.raw(id).ok_or_else(cut)?;
            let kind = raw.kind();
            let (once, each) = kind.sizes().ok_or(Error::UnknownKind {
                kind: (raw.info >> 24) as u8 & 0x7f,
                offset,
            })?;
            let elements = if each == 0 { 0 } else { raw.count() };
            let start = self.words.len();
            let count = (once + each * elements) / 4;
            let shape = kind.words().iter().cycle();
            for (at, word) in (0..count).map(|word| word * 4).zip(shape) {
                let value = raw.endian.u32(raw.rest, at).ok_or_else(cut)?;
                let value = match word {
                    Word::Name => self.name(btf, value, &mut places),
                    Word::Type => added.of(TypeId(value)).0,
                    Word::Number => value,
                };
                self.words.push(value);
            }
            let last = match kind.refers() {
                true => added.of(TypeId(raw.size_or_type)).0,
                false => raw.size_or_type,
            };
            let name = self.name(btf, raw.name, &mut places);
            self.nodes.push(Node {
                kind,
                name,
                info: raw.info,
                last,
                rest: start..self.words.len(),
                state: State::Kept,
            });
            if self.names.bytes.len() > limit {
                return Err(Error::Malformed {
                    what: "strings, which overlap,",
                    offset,
                });
            }
        }
        Ok(added)
    }

    fn name(&mut self, btf: &Btf, offset: u32, places: &mut HashMap<u32, u32>) -> u32 {
        if let Some(&place) = places.get(&offset) {
            return place;
        }
        let place = self.names.add(btf.string(offset).unwrap_or_default());
        places.insert(offset, place);
        place
    }

    /// Lets `to` stand for `from`, which is dropped, wherever a type refers to it.
    pub fn alias(&mut self, from: TypeId, to: TypeId) {
        let to = self.standing(to.0);
        if to == from.0 || from == TypeId::VOID {
            return;
        }
        if let Some(node) = self.nodes.get_mut(from.0 as usize) {
            node.state = State::Alias(to);
        }
    }

    /// Drops a type; what refers to it refers to `void`.
    pub fn remove(&mut self, id: TypeId) {
        if let Some(node) = self.nodes.get_mut(id.0 as usize).filter(|_| id.0 != 0) {
            node.state = State::Removed;
        }
    }

    /// Sets who sees a function or a variable.
    pub fn set_linkage(&mut self, id: TypeId, linkage: Linkage) {
        let Some(node) = self.nodes.get_mut(id.0 as usize) else {
            return;
        };
        match node.kind {
            Kind::Func => node.info = (Kind::Func as u32) << 24 | linkage.number() & 0xffff,
            Kind::Var => {
                if let Some(word) = self.words.get_mut(node.rest.start) {
                    *word = linkage.number();
                }
            }
            _ => {}
        }
    }

    /// Adds a section of variables: each one's id, offset and size in bytes.
    pub fn add_datasec(&mut self, name: &str, size: u32, vars: &[(TypeId, u32, u32)]) -> TypeId {
        let start = self.words.len();
        for &(var, offset, size) in vars {
            self.words.extend([var.0, offset, size]);
        }
        let name = self.names.add(name);
        let count = vars.len().min(0x00ff_ffff) as u32;
        self.nodes.push(Node {
            kind: Kind::DataSec,
            name,
            info: (Kind::DataSec as u32) << 24 | count,
            last: size,
            rest: start..self.words.len(),
            state: State::Kept,
        });
        TypeId(self.nodes.len() as u32 - 1)
    }

    /// Gives what stands for a type.
    fn standing(&self, id: u32) -> u32 {
        let mut id = id;
        // Aliases are of what stands when they are made: chains come of later ones alone.
        for _ in 0..64 {
            match self.nodes.get(id as usize).map(|node| node.state) {
                Some(State::Alias(to)) => id = to,
                Some(State::Kept) => return id,
                _ => return 0,
            }
        }
        0
    }

    /// Makes one type of those that are the same. Variables and sections stay apart.
    #[must_use]
    pub fn deduplicate(self) -> Merged {
        let representatives = classes::representatives(&self);
        let mut ids = vec![TypeId::VOID; self.nodes.len()];
        let mut next = 0;
        for (at, &of) in representatives.iter().enumerate().skip(1) {
            if of as usize == at {
                next += 1;
                if let Some(id) = ids.get_mut(at) {
                    *id = TypeId(next);
                }
            }
        }
        for (at, &of) in representatives.iter().enumerate() {
            let id = ids.get(of as usize).copied().unwrap_or_default();
            if let Some(slot) = ids.get_mut(at) {
                *slot = id;
            }
        }
        let mut merged = Merged {
            endian: self.endian,
            ids,
            words: Vec::new(),
            names: Names::new(),
        };
        for (at, &of) in representatives.iter().enumerate().skip(1) {
            if let Some(node) = self.nodes.get(at).filter(|_| of as usize == at) {
                merged.write(&self, node);
            }
        }
        merged
    }
}

/// Types of several blobs, each of them once.
#[derive(Clone, Debug)]
pub struct Merged {
    endian: Endian,
    ids: Vec<TypeId>,
    words: Vec<u32>,
    names: Names,
}

impl Merged {
    fn write(&mut self, merger: &Merger, node: &Node) {
        let mut name = |place: u32| self.names.add(merger.names.get(place));
        let ids = &self.ids;
        let id = |id: u32| ids.get(id as usize).copied().unwrap_or_default().0;
        let last = if node.kind.refers() {
            id(node.last)
        } else {
            node.last
        };
        self.words.extend([name(node.name), node.info, last]);
        let rest = merger.words.get(node.rest.clone()).unwrap_or_default();
        for (&value, word) in rest.iter().zip(node.kind.words().iter().cycle()) {
            self.words.push(match word {
                Word::Name => name(value),
                Word::Type => id(value),
                Word::Number => value,
            });
        }
    }

    /// Gives the new id of a type of the merger; `void` for one that was removed.
    #[must_use]
    pub fn id(&self, id: TypeId) -> TypeId {
        self.ids.get(id.0 as usize).copied().unwrap_or_default()
    }

    /// Adds a string once and gives its offset, as names of files and texts of lines need it.
    pub fn add_string(&mut self, text: &str) -> u32 {
        self.names.add(text)
    }

    /// Gives how many bytes of strings there may be with those of a blob, as [`Merged::string_bytes`] counts
    /// them, before it is plain that they overlap.
    #[must_use]
    pub fn string_limit(&self, btf: &Btf) -> usize {
        self.names.limit(btf)
    }

    /// Gives how many bytes the strings take.
    #[must_use]
    pub fn string_bytes(&self) -> usize {
        self.names.bytes.len()
    }

    /// Gives the blob: header, types, strings.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        let mut types = Vec::with_capacity(self.words.len() * 4);
        self.endian.put_words(&mut types, &self.words);
        blob(self.endian, &types, &self.names.bytes)
    }
}

#[cfg(test)]
mod tests;
