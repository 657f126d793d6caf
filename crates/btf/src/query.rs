//! Questions to types: what they resolve to, their sizes, their members, their constants.

use crate::blob::{Btf, TypeId};
use crate::index::NameIndex;
use crate::kind::Kind;
use crate::types::{Array, Composite, Encoding, Int, Type};

/// Longest chain of typedefs and qualifiers followed; C code has fewer than ten.
pub(crate) const CHAIN: usize = 64;
/// Deepest nesting of anonymous structures opened.
const NESTING: usize = 16;
/// Members looked at in one search; the kernel's largest type has some hundreds.
const SEARCHED: usize = 1 << 16;
/// Size in bytes of a pointer: the kernels and programs read here are 64-bit.
pub(crate) const POINTER: u32 = 8;

/// A member found by name, its place counted from the outermost structure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// Type of the member, as declared.
    pub type_id: TypeId,
    /// Offset in bits from the first byte of the structure asked about.
    pub bit_offset: u32,
    /// Width in bits where it is a bitfield.
    pub bitfield: Option<u32>,
}

impl Field {
    /// Gives the offset in whole bytes; of a bitfield, that of the byte its first bit is in.
    #[must_use]
    pub fn byte_offset(&self) -> u32 {
        self.bit_offset / 8
    }
}

/// A constant of an enumeration, found by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EnumConstant {
    /// The enumeration it belongs to.
    pub type_id: TypeId,
    /// Its value; that of an unsigned 64-bit constant is the same 64 bits.
    pub value: i64,
    /// Whether the enumeration has a sign.
    pub signed: bool,
}

/// What a value that fits a register is: its size and how to extend it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IntShape {
    /// Size in bytes.
    pub size: u32,
    /// Whether it has a sign.
    pub signed: bool,
    /// How it is to be read.
    pub encoding: Encoding,
}

impl Btf {
    /// Follows typedefs, qualifiers and type tags to the type below; none where the chain is
    /// dangling or has no end.
    #[must_use]
    pub fn resolve(&self, id: TypeId) -> Option<TypeId> {
        let mut id = id;
        for _ in 0..CHAIN {
            match self.kind(id)? {
                Kind::Typedef | Kind::Const | Kind::Volatile | Kind::Restrict | Kind::TypeTag => {
                    id = TypeId(self.raw(id)?.size_or_type);
                }
                _ => return Some(id),
            }
        }
        None
    }

    /// Decodes the type below typedefs, qualifiers and type tags.
    #[must_use]
    pub fn get_resolved(&self, id: TypeId) -> Option<Type<'_>> {
        self.get(self.resolve(id)?)
    }

    /// Gives the size in bytes; none for `void`, functions and types that are only declared.
    #[must_use]
    pub fn size_of(&self, id: TypeId) -> Option<u64> {
        self.size_with(id, POINTER)
    }

    /// Gives the size in bytes where pointers have the size `pointer`, as [`Btf::size_of`].
    #[must_use]
    pub fn size_with(&self, id: TypeId, pointer: u32) -> Option<u64> {
        let mut id = id;
        let mut times = 1u64;
        for _ in 0..CHAIN {
            let one = match self.get_resolved(id)? {
                Type::Array(Array { element, len, .. }) => {
                    times = times.checked_mul(len.into())?;
                    id = element;
                    continue;
                }
                Type::Int(Int { size, .. })
                | Type::Struct(Composite { size, .. })
                | Type::Union(Composite { size, .. })
                | Type::Float { size, .. } => size,
                Type::Enum(e) => e.size,
                Type::DataSec(d) => d.size,
                Type::Ptr(_) => pointer,
                Type::Var { to, .. } => {
                    id = to;
                    continue;
                }
                _ => return None,
            };
            return times.checked_mul(one.into());
        }
        None
    }

    /// Tells the size in bytes of a pointer by the size of `long`, which is the same; none where
    /// there is no `long`.
    #[must_use]
    pub fn pointer_size(&self) -> Option<u32> {
        const SPELLINGS: [&str; 11] = [
            "long",
            "long int",
            "int long",
            "unsigned long",
            "long unsigned",
            "unsigned long int",
            "unsigned int long",
            "long unsigned int",
            "long int unsigned",
            "int unsigned long",
            "int long unsigned",
        ];
        let mut first: Option<(TypeId, u32)> = None;
        for name in SPELLINGS {
            for id in self.find_all(name) {
                let Some(Type::Int(int)) = self.get(id) else {
                    continue;
                };
                if matches!(int.size, 4 | 8) && first.is_none_or(|(known, _)| id < known) {
                    first = Some((id, int.size));
                }
            }
        }
        first.map(|(_, size)| size)
    }

    /// Gives what a pointer points to, through typedefs and qualifiers of the pointer.
    #[must_use]
    pub fn pointee(&self, id: TypeId) -> Option<TypeId> {
        match self.get_resolved(id)? {
            Type::Ptr(to) => Some(to),
            _ => None,
        }
    }

    /// Gives size and sign of an integer, enumeration or pointer, through typedefs.
    #[must_use]
    pub fn int_shape(&self, id: TypeId) -> Option<IntShape> {
        Some(match self.get_resolved(id)? {
            Type::Int(Int {
                size,
                signed,
                encoding,
                ..
            }) => IntShape {
                size,
                signed,
                encoding,
            },
            Type::Enum(e) => IntShape {
                size: e.size,
                signed: e.signed,
                encoding: if e.signed {
                    Encoding::Signed
                } else {
                    Encoding::Unsigned
                },
            },
            Type::Ptr(_) => IntShape {
                size: POINTER,
                signed: false,
                encoding: Encoding::Unsigned,
            },
            _ => return None,
        })
    }

    /// Gives the structure or union below typedefs and qualifiers.
    #[must_use]
    pub fn composite(&self, id: TypeId) -> Option<Composite<'_>> {
        match self.get_resolved(id)? {
            Type::Struct(c) | Type::Union(c) => Some(c),
            _ => None,
        }
    }

    /// Gives parameters and result of a function, a prototype, or a pointer to one.
    #[must_use]
    pub fn prototype(&self, id: TypeId) -> Option<crate::FuncProto<'_>> {
        let mut id = id;
        for _ in 0..3 {
            match self.get_resolved(id)? {
                Type::FuncProto(p) => return Some(p),
                Type::Func { proto: to, .. } | Type::Ptr(to) => id = to,
                _ => return None,
            }
        }
        None
    }

    /// Finds a member by name, also inside anonymous structures and unions. `id` may be a typedef
    /// or qualified.
    #[must_use]
    pub fn member(&self, id: TypeId, name: &str) -> Option<Field> {
        let mut left = SEARCHED;
        if name.is_empty() {
            return None;
        }
        self.search(id, name, 0, NESTING, &mut left)
    }

    fn search(
        &self,
        id: TypeId,
        name: &str,
        start: u32,
        depth: usize,
        left: &mut usize,
    ) -> Option<Field> {
        let composite = self.composite(id)?;
        for i in 0..composite.len() {
            *left = left.checked_sub(1)?;
            let found = composite.member_name(i);
            if found == name {
                let m = composite.member(i);
                let bit_offset = start.checked_add(m.bit_offset)?;
                return Some(Field {
                    type_id: m.type_id,
                    bit_offset,
                    bitfield: m.bitfield,
                });
            }
            if found.is_empty() && depth > 0 {
                let m = composite.member(i);
                let Some(inner) = start.checked_add(m.bit_offset) else {
                    continue;
                };
                let hit = self.search(m.type_id, name, inner, depth - 1, left);
                if hit.is_some() {
                    return hit;
                }
            }
        }
        None
    }

    /// Lists the members by name as [`Btf::member`] finds them, those of anonymous structures and
    /// unions in their place.
    #[must_use]
    pub fn fields(&self, id: TypeId) -> Vec<(&str, Field)> {
        let mut fields = Vec::new();
        let mut left = SEARCHED;
        self.collect(id, 0, NESTING, &mut left, &mut fields);
        fields
    }

    fn collect<'a>(
        &'a self,
        id: TypeId,
        start: u32,
        depth: usize,
        left: &mut usize,
        fields: &mut Vec<(&'a str, Field)>,
    ) {
        let Some(composite) = self.composite(id) else {
            return;
        };
        for m in composite.members() {
            if *left == 0 {
                return;
            }
            *left -= 1;
            let Some(bit_offset) = start.checked_add(m.bit_offset) else {
                continue;
            };
            if !m.name.is_empty() {
                let field = Field {
                    type_id: m.type_id,
                    bit_offset,
                    bitfield: m.bitfield,
                };
                fields.push((m.name, field));
            } else if depth > 0 {
                self.collect(m.type_id, bit_offset, depth - 1, left, fields);
            }
        }
    }

    /// Finds a constant by name among all enumerations, those of the base first.
    #[must_use]
    pub fn enumerator(&self, name: &str) -> Option<EnumConstant> {
        if let Some(found) = self.base().and_then(|b| b.enumerator(name)) {
            return Some(found);
        }
        if name.is_empty() {
            return None;
        }
        if self.inner.enumerators.get().is_none() {
            if let Some(answer) = self.ask_constant(name) {
                return answer;
            }
        }
        let index = self
            .inner
            .enumerators
            .get_or_init(|| NameIndex::of_enumerators(self));
        let mut last = None;
        for &id in index.enumerations(name) {
            // A large enumeration may fill its bucket more than once.
            if last.replace(id) == Some(id) {
                continue;
            }
            let type_id = TypeId(id);
            let Some(Type::Enum(e)) = self.get(type_id) else {
                continue;
            };
            for constant in e.enumerators() {
                if constant.name == name {
                    return Some(EnumConstant {
                        type_id,
                        value: constant.value,
                        signed: e.signed,
                    });
                }
            }
        }
        None
    }

    /// Gives the integer below `id` where its own bits make a member a bitfield.
    pub(crate) fn old_bitfield(&self, id: TypeId) -> Option<Int<'_>> {
        match self.get_resolved(id)? {
            Type::Int(int) if int.bit_offset != 0 || int.bits != int.size.saturating_mul(8) => {
                Some(int)
            }
            _ => None,
        }
    }
}
