//! The kinds of types, decoded.

use crate::blob::{Btf, Raw, TypeId};
use crate::kind::Kind;

/// A decoded type. Elements (members, parameters …) are decoded by the iterators.
#[derive(Clone, Copy, Debug)]
#[allow(clippy::enum_variant_names, reason = "the names are the format's")]
pub enum Type<'a> {
    /// `void`.
    Void,
    /// An integer, character or boolean.
    Int(Int<'a>),
    /// A pointer.
    Ptr(TypeId),
    /// An array of one dimension; further ones are arrays of arrays.
    Array(Array),
    /// A structure.
    Struct(Composite<'a>),
    /// A union.
    Union(Composite<'a>),
    /// An enumeration, of 32-bit or 64-bit constants.
    Enum(Enum<'a>),
    /// A structure or union whose members are not in this BTF.
    Fwd {
        /// Its name.
        name: &'a str,
        /// Whether it is a union.
        is_union: bool,
    },
    /// Another name for a type.
    Typedef {
        /// The new name.
        name: &'a str,
        /// The type it names.
        to: TypeId,
    },
    /// The `volatile` form of a type.
    Volatile(TypeId),
    /// The `const` form of a type.
    Const(TypeId),
    /// The `restrict` form of a pointer.
    Restrict(TypeId),
    /// A function; its parameters are in the prototype.
    Func {
        /// Its name.
        name: &'a str,
        /// Its prototype, a [`Type::FuncProto`].
        proto: TypeId,
        /// Whether other objects see it.
        linkage: Linkage,
    },
    /// Parameters and result of a function.
    FuncProto(FuncProto<'a>),
    /// A variable.
    Var {
        /// Its name.
        name: &'a str,
        /// Its type.
        to: TypeId,
        /// Whether other objects see it.
        linkage: Linkage,
    },
    /// A section of variables, such as `.data..percpu`.
    DataSec(DataSec<'a>),
    /// A floating-point number.
    Float {
        /// Its name.
        name: &'a str,
        /// Its size in bytes.
        size: u32,
    },
    /// `__attribute__((btf_decl_tag(…)))` on a declaration.
    DeclTag {
        /// The tag's text.
        name: &'a str,
        /// The type, function or variable that has it.
        to: TypeId,
        /// The member or parameter that has it; none where it is the whole.
        component: Option<u32>,
        /// Whether the text is an attribute itself, as `aligned(8)` (Linux 6.15): `__attribute__((…))`.
        attribute: bool,
    },
    /// `__attribute__((btf_type_tag(…)))` on a type.
    TypeTag {
        /// The tag's text, for example `user`.
        name: &'a str,
        /// The type that has it.
        to: TypeId,
        /// Whether the text is an attribute itself, as `address_space(1)` (Linux 6.15):
        /// `__attribute__((…))`.
        attribute: bool,
    },
    /// A type of a kind newer than this library.
    Other {
        /// The kind's number.
        kind: u8,
    },
}

/// How an integer's bits are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names are the format's")]
pub enum Encoding {
    Unsigned,
    Signed,
    /// `char`; its sign is the bit of [`Int::signed`].
    Char,
    Bool,
}

/// An integer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Int<'a> {
    /// Its name in BTF's spelling, for example `long unsigned int`.
    pub name: &'a str,
    /// Its size in bytes.
    pub size: u32,
    /// Whether it has a sign.
    pub signed: bool,
    /// How it is to be read.
    pub encoding: Encoding,
    /// The first of its bits, not 0 only in bitfields of old compilers.
    pub bit_offset: u32,
    /// How many bits count, fewer than the size only in bitfields of old compilers.
    pub bits: u32,
}

/// An array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Array {
    /// Type of its elements.
    pub element: TypeId,
    /// Type of its index.
    pub index: TypeId,
    /// Number of elements; 0 for a flexible array.
    pub len: u32,
}

/// Whether a function or variable is seen by other objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names are the format's")]
pub enum Linkage {
    Static,
    Global,
    Extern,
    /// A number the format does not define.
    Other(u32),
}

impl Linkage {
    fn from_number(number: u32) -> Linkage {
        match number {
            0 => Linkage::Static,
            1 => Linkage::Global,
            2 => Linkage::Extern,
            n => Linkage::Other(n),
        }
    }

    /// Gives the format's number.
    #[must_use]
    pub fn number(self) -> u32 {
        match self {
            Linkage::Static => 0,
            Linkage::Global => 1,
            Linkage::Extern => 2,
            Linkage::Other(n) => n,
        }
    }
}

/// The elements that follow a type's header.
#[derive(Clone, Copy)]
struct Elements<'a> {
    btf: &'a Btf,
    raw: Raw<'a>,
}

impl<'a> Elements<'a> {
    /// Reads word `word` of element `index`, elements being `words` words long.
    #[inline]
    fn word(&self, index: usize, words: usize, word: usize) -> Option<u32> {
        self.raw
            .endian
            .u32(self.raw.rest, (index * words + word) * 4)
    }

    #[inline]
    fn name(&self, offset: Option<u32>) -> &'a str {
        offset.and_then(|o| self.btf.string(o)).unwrap_or_default()
    }
}

impl core::fmt::Debug for Elements<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{} elements", self.raw.count())
    }
}

/// A structure or a union.
#[derive(Clone, Copy, Debug)]
pub struct Composite<'a> {
    /// Its name; empty where it has none.
    pub name: &'a str,
    /// Its size in bytes.
    pub size: u32,
    elements: Elements<'a>,
}

/// A member of a structure or union.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member<'a> {
    /// Its name; empty for an anonymous structure, union or padding bitfield.
    pub name: &'a str,
    /// Its type.
    pub type_id: TypeId,
    /// Offset in bits from the structure's first byte.
    pub bit_offset: u32,
    /// Width in bits where it is a bitfield.
    pub bitfield: Option<u32>,
}

impl<'a> Composite<'a> {
    /// Gives the number of members.
    #[must_use]
    pub fn len(&self) -> usize {
        self.elements.raw.count()
    }

    /// Tells whether there is no member.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Tells whether members themselves tell the width of bitfields (`kind_flag`); otherwise their
    /// integer types do.
    #[must_use]
    pub fn has_widths(&self) -> bool {
        self.elements.raw.flag()
    }

    /// Gives the members as declared; anonymous ones are not opened.
    pub fn members(&self) -> impl ExactSizeIterator<Item = Member<'a>> + use<'a> {
        let this = *self;
        (0..this.len()).map(move |i| this.member(i))
    }

    /// Decodes member `index`; one past the end gives an empty name and type `void`.
    #[must_use]
    pub fn member(&self, index: usize) -> Member<'a> {
        let e = &self.elements;
        let type_id = TypeId(e.word(index, 3, 1).unwrap_or(0));
        let offset = e.word(index, 3, 2).unwrap_or(0);
        let mut member = Member {
            name: e.name(e.word(index, 3, 0)),
            type_id,
            bit_offset: offset,
            bitfield: None,
        };
        if e.raw.flag() {
            member.bit_offset = offset & 0x00ff_ffff;
            member.bitfield = Some(offset >> 24).filter(|&width| width != 0);
        } else if let Some(int) = e.btf.old_bitfield(type_id) {
            // Before kind_flag (Linux 5.0) the integer type itself told place and width.
            member.bit_offset = offset.saturating_add(int.bit_offset);
            member.bitfield = Some(int.bits);
        }
        member
    }

    /// Gives a member's name alone; one past the end has none.
    #[inline]
    #[must_use]
    pub fn member_name(&self, index: usize) -> &'a str {
        self.elements.name(self.elements.word(index, 3, 0))
    }
}

/// An enumeration.
#[derive(Clone, Copy, Debug)]
pub struct Enum<'a> {
    /// Its name; empty where it has none.
    pub name: &'a str,
    /// Its size in bytes: 1, 2, 4 or 8.
    pub size: u32,
    /// Whether its constants have a sign.
    pub signed: bool,
    wide: bool,
    elements: Elements<'a>,
}

/// A constant of an enumeration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Enumerator<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its value; that of an unsigned 64-bit constant is the same 64 bits.
    pub value: i64,
}

impl<'a> Enum<'a> {
    /// Gives the number of constants.
    #[must_use]
    pub fn len(&self) -> usize {
        self.elements.raw.count()
    }

    /// Tells whether there is no constant.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Gives the constants in order.
    pub fn enumerators(&self) -> impl ExactSizeIterator<Item = Enumerator<'a>> + use<'a> {
        let this = *self;
        (0..this.len()).map(move |index| this.decode(index))
    }

    /// Gives constant `index`, counted from 0.
    #[must_use]
    pub fn enumerator(&self, index: usize) -> Option<Enumerator<'a>> {
        (index < self.len()).then(|| self.decode(index))
    }

    /// Gives the reference to the name of constant `index`.
    pub(crate) fn reference(&self, index: usize) -> Option<u32> {
        self.elements.word(index, self.words(), 0)
    }

    /// Gives the number of words of a constant.
    fn words(&self) -> usize {
        if self.wide { 3 } else { 2 }
    }

    fn decode(&self, index: usize) -> Enumerator<'a> {
        let word = |word| self.elements.word(index, self.words(), word);
        let low = word(1).unwrap_or(0);
        let value = if self.wide {
            (u64::from(word(2).unwrap_or(0)) << 32 | u64::from(low)) as i64
        } else if self.signed {
            i64::from(low as i32)
        } else {
            i64::from(low)
        };
        Enumerator {
            name: self.elements.name(word(0)),
            value,
        }
    }

    /// Gives the first constant that has this value.
    #[must_use]
    pub fn name_of(&self, value: i64) -> Option<&'a str> {
        self.enumerators()
            .find(|e| e.value == value)
            .map(|e| e.name)
    }
}

/// Parameters and result of a function.
#[derive(Clone, Copy, Debug)]
pub struct FuncProto<'a> {
    /// Type of the result.
    pub result: TypeId,
    elements: Elements<'a>,
}

/// A parameter of a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Param<'a> {
    /// Its name; often empty in a pointer's prototype.
    pub name: &'a str,
    /// Its type.
    pub type_id: TypeId,
}

impl<'a> FuncProto<'a> {
    /// Gives the number of parameters; a trailing `...` is none.
    #[must_use]
    pub fn len(&self) -> usize {
        let all = self.elements.raw.count();
        if self.is_variadic() { all - 1 } else { all }
    }

    /// Tells whether there is no parameter.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Tells whether the parameters end in `...`.
    #[must_use]
    pub fn is_variadic(&self) -> bool {
        let Some(last) = self.elements.raw.count().checked_sub(1) else {
            return false;
        };
        self.elements.word(last, 2, 1) == Some(0)
    }

    /// Gives the parameters in order, without a trailing `...`.
    pub fn params(&self) -> impl ExactSizeIterator<Item = Param<'a>> + use<'a> {
        let e = self.elements;
        (0..self.len()).map(move |i| Param {
            name: e.name(e.word(i, 2, 0)),
            type_id: TypeId(e.word(i, 2, 1).unwrap_or(0)),
        })
    }
}

/// A section of variables.
#[derive(Clone, Copy, Debug)]
pub struct DataSec<'a> {
    /// Its name, for example `.data..percpu`.
    pub name: &'a str,
    /// Its size in bytes.
    pub size: u32,
    elements: Elements<'a>,
}

/// The place of a variable in its section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VarInfo {
    /// The variable, a [`Type::Var`].
    pub type_id: TypeId,
    /// Its offset in bytes.
    pub offset: u32,
    /// Its size in bytes.
    pub size: u32,
}

impl<'a> DataSec<'a> {
    /// Gives the variables in order.
    pub fn vars(&self) -> impl ExactSizeIterator<Item = VarInfo> + use<'a> {
        let e = self.elements;
        (0..e.raw.count()).map(move |i| VarInfo {
            type_id: TypeId(e.word(i, 3, 0).unwrap_or(0)),
            offset: e.word(i, 3, 1).unwrap_or(0),
            size: e.word(i, 3, 2).unwrap_or(0),
        })
    }
}

impl<'a> Type<'a> {
    /// Decodes the type that `raw` begins.
    pub(crate) fn decode(btf: &'a Btf, raw: Raw<'a>) -> Option<Type<'a>> {
        let elements = Elements { btf, raw };
        let name = elements.name(Some(raw.name));
        let size = raw.size_or_type;
        let to = TypeId(raw.size_or_type);
        let composite = Composite {
            name,
            size,
            elements,
        };
        Some(match raw.kind() {
            Kind::Void => Type::Void,
            Kind::Int => Type::Int(Int::decode(name, raw)?),
            Kind::Ptr => Type::Ptr(to),
            Kind::Array => Type::Array(Array {
                element: TypeId(elements.word(0, 3, 0)?),
                index: TypeId(elements.word(0, 3, 1)?),
                len: elements.word(0, 3, 2)?,
            }),
            Kind::Struct => Type::Struct(composite),
            Kind::Union => Type::Union(composite),
            kind @ (Kind::Enum | Kind::Enum64) => Type::Enum(Enum {
                name,
                size,
                signed: raw.flag(),
                wide: kind == Kind::Enum64,
                elements,
            }),
            Kind::Fwd => Type::Fwd {
                name,
                is_union: raw.flag(),
            },
            Kind::Typedef => Type::Typedef { name, to },
            Kind::Volatile => Type::Volatile(to),
            Kind::Const => Type::Const(to),
            Kind::Restrict => Type::Restrict(to),
            Kind::Func => {
                let linkage = Linkage::from_number(raw.count() as u32);
                Type::Func {
                    name,
                    proto: to,
                    linkage,
                }
            }
            Kind::FuncProto => Type::FuncProto(FuncProto {
                result: to,
                elements,
            }),
            Kind::Var => {
                let linkage = Linkage::from_number(elements.word(0, 1, 0)?);
                Type::Var { name, to, linkage }
            }
            Kind::DataSec => Type::DataSec(DataSec {
                name,
                size,
                elements,
            }),
            Kind::Float => Type::Float { name, size },
            Kind::DeclTag => {
                let component = elements.word(0, 1, 0).filter(|&c| c != u32::MAX);
                Type::DeclTag {
                    name,
                    to,
                    component,
                    attribute: raw.flag(),
                }
            }
            Kind::TypeTag => Type::TypeTag {
                name,
                to,
                attribute: raw.flag(),
            },
            Kind::Other => Type::Other {
                kind: (raw.info >> 24) as u8 & 0x7f,
            },
        })
    }

    /// Gives the type's own name; empty where it has none.
    #[must_use]
    pub fn name(&self) -> &'a str {
        match *self {
            Type::Void => "void",
            Type::Int(Int { name, .. })
            | Type::Struct(Composite { name, .. })
            | Type::Union(Composite { name, .. })
            | Type::Enum(Enum { name, .. })
            | Type::DataSec(DataSec { name, .. })
            | Type::Fwd { name, .. }
            | Type::Typedef { name, .. }
            | Type::Func { name, .. }
            | Type::Var { name, .. }
            | Type::Float { name, .. }
            | Type::DeclTag { name, .. }
            | Type::TypeTag { name, .. } => name,
            Type::Ptr(_)
            | Type::Array(_)
            | Type::Volatile(_)
            | Type::Const(_)
            | Type::Restrict(_)
            | Type::FuncProto(_)
            | Type::Other { .. } => "",
        }
    }
}

impl<'a> Int<'a> {
    pub(crate) fn decode(name: &'a str, raw: Raw<'_>) -> Option<Int<'a>> {
        let data = raw.endian.u32(raw.rest, 0)?;
        let flags = data >> 24;
        Some(Int {
            name,
            size: raw.size_or_type,
            signed: flags & 1 != 0,
            encoding: match flags {
                f if f & 4 != 0 => Encoding::Bool,
                f if f & 2 != 0 => Encoding::Char,
                f if f & 1 != 0 => Encoding::Signed,
                _ => Encoding::Unsigned,
            },
            bit_offset: data >> 16 & 0xff,
            bits: data & 0xff,
        })
    }
}
