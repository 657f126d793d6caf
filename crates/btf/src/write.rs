//! BTF written: a blob built type by type, and the records that go with it at `BPF_PROG_LOAD`.

use std::collections::HashMap;

use crate::blob::{Btf, TypeId};
use crate::bytes::{Endian, blob};
use crate::error::Error;
use crate::kind::Kind;
use crate::types::{Encoding, Linkage};

/// A blob in the making. Types are numbered in the order they are added, from 1; references to
/// types that come later are allowed.
#[derive(Clone, Debug)]
pub struct Builder {
    endian: Endian,
    types: Vec<u8>,
    count: u32,
    strings: Vec<u8>,
    places: HashMap<String, u32>,
    /// The first type that was given more elements than a type has.
    fault: Option<Error>,
}

/// Most members, constants, parameters or variables of a type (`BTF_MAX_VLEN`); kernels before 7.2 and
/// their tools take no more.
const ELEMENTS: usize = 0xffff;

/// A member for [`Builder::add_struct`] and [`Builder::add_union`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewMember<'a> {
    /// Its name; empty for an anonymous structure or union.
    pub name: &'a str,
    /// Its type.
    pub type_id: TypeId,
    /// Offset in bits from the structure's first byte.
    pub bit_offset: u32,
    /// Width in bits where it is a bitfield.
    pub bitfield: Option<u8>,
}

impl<'a> NewMember<'a> {
    /// Describes a member that is no bitfield.
    #[must_use]
    pub fn new(name: &'a str, type_id: TypeId, bit_offset: u32) -> NewMember<'a> {
        NewMember {
            name,
            type_id,
            bit_offset,
            bitfield: None,
        }
    }
}

impl Default for Builder {
    fn default() -> Builder {
        Builder::new()
    }
}

impl Builder {
    /// Begins a little-endian blob.
    #[must_use]
    pub fn new() -> Builder {
        Builder::with_endian(Endian::Little)
    }

    /// Begins a blob of the given byte order.
    #[must_use]
    pub fn with_endian(endian: Endian) -> Builder {
        let places = HashMap::from([(String::new(), 0)]);
        Builder {
            endian,
            types: Vec::new(),
            count: 0,
            strings: vec![0],
            places,
            fault: None,
        }
    }

    /// Begins a blob in which every string of `btf` has the offset it has there, so that
    /// [`Builder::copy`] can take over its types. For a blob without a base.
    #[must_use]
    pub fn with_strings_of(btf: &Btf) -> Builder {
        let mut builder = Builder::with_endian(btf.endian());
        let all = btf.string_bytes(0).unwrap_or_default();
        // What follows the last NUL is no string.
        let end = all.iter().rposition(|&b| b == 0).map_or(0, |at| at + 1);
        let strings = all.get(..end).unwrap_or_default();
        if strings.is_empty() {
            return builder;
        }
        builder.strings = strings.to_vec();
        let mut at = 0;
        for text in strings.split(|&b| b == 0) {
            if let Ok(text) = std::str::from_utf8(text) {
                builder.places.entry(text.to_owned()).or_insert(at as u32);
            }
            at += text.len() + 1;
        }
        builder.places.insert(String::new(), 0);
        builder
    }

    /// Adds a type of the blob whose strings this one was begun with, as it stands there: what it
    /// refers to keeps its number. A type that is not there,
    /// or of a kind that this library does not know, becomes a pointer to `void`.
    pub fn copy(&mut self, btf: &Btf, id: TypeId) -> TypeId {
        let raw = btf.raw(id);
        let sized = raw.and_then(|raw| Some((raw, raw.kind().sizes()?)));
        let Some((raw, (once, each))) = sized else {
            return self.add_ptr(TypeId::VOID);
        };
        let length = once + each * raw.count();
        let rest = raw.rest.get(..length).unwrap_or_default();
        self.words(&[raw.name, raw.info, raw.size_or_type]);
        self.types.extend_from_slice(rest);
        self.count += 1;
        TypeId(self.count)
    }

    /// Adds a string once and gives its offset, as names of files and texts of lines need it. What
    /// follows a NUL is left out.
    pub fn add_string(&mut self, text: &str) -> u32 {
        let text = text.split('\0').next().unwrap_or_default();
        if let Some(&place) = self.places.get(text) {
            return place;
        }
        let place = self.strings.len() as u32;
        self.strings.extend_from_slice(text.as_bytes());
        self.strings.push(0);
        self.places.insert(text.to_owned(), place);
        place
    }

    /// Gives the id that the next type will have.
    #[must_use]
    pub fn next_id(&self) -> TypeId {
        TypeId(self.count + 1)
    }

    /// Adds an integer of `size` bytes.
    pub fn add_int(&mut self, name: &str, size: u32, encoding: Encoding) -> TypeId {
        let flags = match encoding {
            Encoding::Unsigned => 0,
            Encoding::Signed => 1,
            Encoding::Char => 2,
            Encoding::Bool => 4,
        };
        let id = self.add(name, Kind::Int, false, 0, size);
        self.word((flags << 24) | (size.saturating_mul(8) & 0xff));
        id
    }

    /// Adds a pointer.
    pub fn add_ptr(&mut self, to: TypeId) -> TypeId {
        self.add("", Kind::Ptr, false, 0, to.0)
    }

    /// Adds an array.
    pub fn add_array(&mut self, element: TypeId, index: TypeId, len: u32) -> TypeId {
        let id = self.add("", Kind::Array, false, 0, 0);
        self.words(&[element.0, index.0, len]);
        id
    }

    /// Adds a structure.
    pub fn add_struct(&mut self, name: &str, size: u32, members: &[NewMember<'_>]) -> TypeId {
        self.add_composite(name, Kind::Struct, size, members)
    }

    /// Adds a union.
    pub fn add_union(&mut self, name: &str, size: u32, members: &[NewMember<'_>]) -> TypeId {
        self.add_composite(name, Kind::Union, size, members)
    }

    fn add_composite(
        &mut self,
        name: &str,
        kind: Kind,
        size: u32,
        members: &[NewMember<'_>],
    ) -> TypeId {
        let flag = members.iter().any(|m| m.bitfield.is_some());
        let id = self.add(name, kind, flag, members.len(), size);
        for m in self.fit(members) {
            let name = self.add_string(m.name);
            // With the flag the upper eight bits are the width.
            let width = u32::from(m.bitfield.unwrap_or(0)) << 24;
            self.words(&[name, m.type_id.0, m.bit_offset | width]);
        }
        id
    }

    /// Adds an enumeration of 1, 2 or 4 bytes; it has a sign where a value is negative.
    pub fn add_enum(&mut self, name: &str, size: u32, constants: &[(&str, i32)]) -> TypeId {
        let signed = constants.iter().any(|c| c.1 < 0);
        let id = self.add(name, Kind::Enum, signed, constants.len(), size);
        for &(name, value) in self.fit(constants) {
            let name = self.add_string(name);
            self.words(&[name, value as u32]);
        }
        id
    }

    /// Adds an enumeration of 8 bytes; it has a sign where a value is negative. Minimum kernel
    /// version: 6.0.
    pub fn add_enum64(&mut self, name: &str, constants: &[(&str, i64)]) -> TypeId {
        let signed = constants.iter().any(|c| c.1 < 0);
        let id = self.add(name, Kind::Enum64, signed, constants.len(), 8);
        for &(name, value) in self.fit(constants) {
            let name = self.add_string(name);
            let bits = value as u64;
            self.words(&[name, bits as u32, (bits >> 32) as u32]);
        }
        id
    }

    /// Adds a structure or union that is declared only.
    pub fn add_fwd(&mut self, name: &str, is_union: bool) -> TypeId {
        self.add(name, Kind::Fwd, is_union, 0, 0)
    }

    /// Adds another name for a type.
    pub fn add_typedef(&mut self, name: &str, to: TypeId) -> TypeId {
        self.add(name, Kind::Typedef, false, 0, to.0)
    }

    /// Adds the `const` form of a type.
    pub fn add_const(&mut self, to: TypeId) -> TypeId {
        self.add("", Kind::Const, false, 0, to.0)
    }

    /// Adds the `volatile` form of a type.
    pub fn add_volatile(&mut self, to: TypeId) -> TypeId {
        self.add("", Kind::Volatile, false, 0, to.0)
    }

    /// Adds the `restrict` form of a pointer.
    pub fn add_restrict(&mut self, to: TypeId) -> TypeId {
        self.add("", Kind::Restrict, false, 0, to.0)
    }

    /// Adds a prototype; a last parameter `("", TypeId::VOID)` stands for `...`.
    pub fn add_func_proto(&mut self, result: TypeId, params: &[(&str, TypeId)]) -> TypeId {
        let id = self.add("", Kind::FuncProto, false, params.len(), result.0);
        for &(name, ty) in self.fit(params) {
            let name = self.add_string(name);
            self.words(&[name, ty.0]);
        }
        id
    }

    /// Adds a function.
    pub fn add_func(&mut self, name: &str, proto: TypeId, linkage: Linkage) -> TypeId {
        self.add(name, Kind::Func, false, linkage.number() as usize, proto.0)
    }

    /// Adds a variable.
    pub fn add_var(&mut self, name: &str, ty: TypeId, linkage: Linkage) -> TypeId {
        let id = self.add(name, Kind::Var, false, 0, ty.0);
        self.word(linkage.number());
        id
    }

    /// Adds a section of variables: each one's id, offset and size in bytes.
    pub fn add_datasec(&mut self, name: &str, size: u32, vars: &[(TypeId, u32, u32)]) -> TypeId {
        let id = self.add(name, Kind::DataSec, false, vars.len(), size);
        for &(var, offset, size) in self.fit(vars) {
            self.words(&[var.0, offset, size]);
        }
        id
    }

    /// Adds a floating-point number. Minimum kernel version: 5.13.
    pub fn add_float(&mut self, name: &str, size: u32) -> TypeId {
        self.add(name, Kind::Float, false, 0, size)
    }

    /// Adds a tag on a declaration, or on one of its members or parameters. Minimum kernel
    /// version: 5.16.
    pub fn add_decl_tag(&mut self, text: &str, on: TypeId, component: Option<u32>) -> TypeId {
        let id = self.add(text, Kind::DeclTag, false, 0, on.0);
        self.word(component.unwrap_or(u32::MAX));
        id
    }

    /// Adds a tag on a type. Minimum kernel version: 5.17.
    pub fn add_type_tag(&mut self, text: &str, on: TypeId) -> TypeId {
        self.add(text, Kind::TypeTag, false, 0, on.0)
    }

    /// Adds an attribute of a declaration, or of one of its members or parameters, as `aligned(8)`.
    /// Minimum kernel version: 6.15.
    pub fn add_decl_attribute(&mut self, text: &str, on: TypeId, component: Option<u32>) -> TypeId {
        let id = self.add(text, Kind::DeclTag, true, 0, on.0);
        self.word(component.unwrap_or(u32::MAX));
        id
    }

    /// Adds an attribute of a type, as `address_space(1)`. Minimum kernel version: 6.15.
    pub fn add_type_attribute(&mut self, text: &str, on: TypeId) -> TypeId {
        self.add(text, Kind::TypeTag, true, 0, on.0)
    }

    fn add(&mut self, name: &str, kind: Kind, flag: bool, count: usize, last: u32) -> TypeId {
        let offset = self.types.len();
        let name = self.add_string(name);
        let count = match count {
            0..=ELEMENTS => count as u32,
            // A type without elements is sound, and the fault is told at the end.
            _ => {
                self.fault
                    .get_or_insert(Error::TooManyElements { offset, count });
                0
            }
        };
        let info = (u32::from(flag) << 31) | (u32::from(kind as u8) << 24) | count;
        self.words(&[name, info, last]);
        self.count += 1;
        TypeId(self.count)
    }

    /// Gives the elements, as many as [`Builder::add`] has written a number of.
    fn fit<'e, T>(&self, elements: &'e [T]) -> &'e [T] {
        match elements.len() {
            0..=ELEMENTS => elements,
            _ => &[],
        }
    }

    fn word(&mut self, word: u32) {
        self.types.extend_from_slice(&self.endian.put_u32(word));
    }

    fn words(&mut self, words: &[u32]) {
        words.iter().for_each(|&w| self.word(w));
    }

    /// Gives the blob, as [`Builder::finish`] does.
    ///
    /// # Errors
    /// Where a type was given more than 65,535 members, constants, parameters or variables.
    pub fn try_finish(self) -> Result<Vec<u8>, Error> {
        match self.fault {
            Some(fault) => Err(fault),
            None => Ok(self.finish()),
        }
    }

    /// Gives the blob: header, types, strings. A type that was given more than 65,535 members, constants,
    /// parameters or variables has none of them; where that may be, [`Builder::try_finish`] tells.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        blob(self.endian, &self.types, &self.strings)
    }
}

/// Which function begins at an instruction: `struct bpf_func_info`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FuncInfo {
    /// Slot of the function's first instruction.
    pub insn: u32,
    /// The function, of kind [`Kind::Func`].
    pub type_id: TypeId,
}

/// Where in the source an instruction comes from: `struct bpf_line_info`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineInfo {
    /// Slot of the instruction.
    pub insn: u32,
    /// Offset of the file's name among the strings.
    pub file: u32,
    /// Offset of the line's text among the strings.
    pub text: u32,
    /// Number of the line, from 1; larger ones than 2^22 - 1 are cut to it.
    pub line: u32,
    /// Number of the column, from 1; larger ones than 1023 are cut to it.
    pub column: u32,
}

impl FuncInfo {
    /// Size in bytes of one record, `func_info_rec_size` of `BPF_PROG_LOAD`.
    pub const SIZE: u32 = 8;

    /// Gives the records as the kernel reads them. They must ascend by instruction, the first at 0.
    #[must_use]
    pub fn records(infos: &[FuncInfo], endian: Endian) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(infos.len() * 8);
        for info in infos {
            endian.put_words(&mut bytes, &[info.insn, info.type_id.0]);
        }
        bytes
    }
}

impl LineInfo {
    /// Size in bytes of one record, `line_info_rec_size` of `BPF_PROG_LOAD`.
    pub const SIZE: u32 = 16;

    /// Gives the records as the kernel reads them. They must ascend by instruction, the first of
    /// each function at its first instruction.
    #[must_use]
    pub fn records(infos: &[LineInfo], endian: Endian) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(infos.len() * 16);
        for info in infos {
            let place = (info.line.min((1 << 22) - 1) << 10) | info.column.min(1023);
            endian.put_words(&mut bytes, &[info.insn, info.file, info.text, place]);
        }
        bytes
    }
}
