//! C types: those of the script, those of BTF, and how they are named.

use std::collections::HashMap;
use std::sync::Arc;

use kscope_btf::{Btf, CBase, CType, CTypeError, Encoding, IntShape, Kind, TypeId};

use super::{Checker, did_you_mean};
use crate::diagnostic::{Diagnostic, Span};
use crate::hir::{EnumType, FieldType, Int, Space, StructSource, StructType, Type};
use crate::near::nearest;
use crate::syntax::tree::{AggregateKeyword, TypeBase, TypeName, TypeSuffix};
use kscope_rows::Bits;

/// Levels of pointers and arrays followed in a type.
const LEVELS: u32 = 16;
/// Members of a structure that are described to user space.
const MEMBERS: usize = 1024;

/// Types that the script defines.
#[derive(Debug, Default)]
pub(super) struct Definitions {
    /// Structures and unions by name with keyword.
    pub(super) structs: HashMap<String, Arc<StructType>>,
    /// Their alignment, which attributes may change.
    pub(super) aligns: HashMap<String, u32>,
    pub(super) enums: HashMap<String, Arc<EnumType>>,
    pub(super) constants: HashMap<String, (i64, Arc<EnumType>)>,
}

/// Gives the keyword's text.
pub(super) fn keyword(keyword: AggregateKeyword) -> &'static str {
    match keyword {
        AggregateKeyword::Struct => "struct",
        AggregateKeyword::Union => "union",
        AggregateKeyword::Enum => "enum",
    }
}

/// Gives the integer that bpftrace calls by a name of its own.
fn own_int(name: &str) -> Option<Int> {
    Some(match name {
        "int8" => Int::new(1, true),
        "int16" => Int::new(2, true),
        "int32" => Int::new(4, true),
        "int64" => Int::new(8, true),
        "uint8" => Int::new(1, false),
        "uint16" => Int::new(2, false),
        "uint32" => Int::new(4, false),
        "uint64" => Int::new(8, false),
        _ => return None,
    })
}

/// The types of numbers.
const NUMBERS: [&str; 9] = [
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
];

impl Checker<'_> {
    /// Resolves a type as written; none where that has been reported.
    pub(super) fn type_name(&mut self, name: &TypeName) -> Option<Type> {
        let mut suffixes = name.suffixes.iter();
        let mut ty = match &name.base {
            TypeBase::Named(word) => match word.as_str() {
                "string" | "buffer" => {
                    let capacity = match name.suffixes.first() {
                        Some(TypeSuffix::Array(size)) => {
                            suffixes.next();
                            size.unwrap_or(u64::from(self.config.max_strlen))
                        }
                        _ => u64::from(self.config.max_strlen),
                    };
                    let capacity = u32::try_from(capacity).ok().filter(|c| *c <= 1 << 20);
                    let Some(capacity) = capacity else {
                        self.error("invalid-type", name.span, format!("{word} is too large"));
                        return None;
                    };
                    if word == "string" {
                        Type::Str { capacity }
                    } else {
                        Type::Buffer { capacity }
                    }
                }
                word => self.named_type(word, name.span)?,
            },
            TypeBase::Aggregate(kind, tag) => {
                let pointer = matches!(name.suffixes.first(), Some(TypeSuffix::Pointer));
                self.aggregate_type(*kind, tag, pointer, name.span)?
            }
            TypeBase::TypeOf(e) => self.type_of(e)?,
        };
        for suffix in suffixes {
            ty = match suffix {
                TypeSuffix::Pointer => pointer(ty, Space::Kernel),
                TypeSuffix::Array(len) => {
                    let len = u32::try_from(len.unwrap_or(0)).ok();
                    let fits = len
                        .is_some_and(|n| u64::from(ty.size()).saturating_mul(n.into()) <= 1 << 24);
                    match len {
                        Some(len) if fits => Type::Array {
                            element: Arc::new(ty),
                            len,
                        },
                        _ => {
                            self.error("invalid-type", name.span, "the array is too large");
                            return None;
                        }
                    }
                }
            };
        }
        Some(ty)
    }

    fn named_type(&mut self, word: &str, span: Span) -> Option<Type> {
        if let Some(int) = own_int(word) {
            return Some(Type::Int(int));
        }
        for keyword in ["struct", "union"] {
            if let Some(found) = self.definitions.structs.get(&format!("{keyword} {word}")) {
                return Some(Type::Struct(found.clone()));
            }
        }
        match CType::parse(word, self.inputs.btf) {
            Ok(c) => Some(self.c_type(&c, Space::Kernel)),
            Err(_) => {
                // A structure's name may stand without its keyword.
                let id = self.inputs.btf.and_then(|b| {
                    b.find(word, Kind::Struct)
                        .or_else(|| b.find(word, Kind::Union))
                });
                if let Some(id) = id {
                    return Some(self.btf_type(id, Space::Kernel));
                }
                self.unknown_type(Kind::Typedef, "", word, span);
                None
            }
        }
    }

    fn aggregate_type(
        &mut self,
        kind: AggregateKeyword,
        tag: &str,
        behind_pointer: bool,
        span: Span,
    ) -> Option<Type> {
        let word = keyword(kind);
        let full = format!("{word} {tag}");
        if let Some(found) = self.definitions.structs.get(&full) {
            return Some(Type::Struct(found.clone()));
        }
        if kind == AggregateKeyword::Enum {
            if let Some(found) = self.definitions.enums.get(tag) {
                return Some(Type::Enum(found.clone()));
            }
        }
        match CType::parse(&full, self.inputs.btf) {
            Ok(c) => Some(self.c_type(&c, Space::Kernel)),
            // Without the kernel's types a pointer to a structure is still a pointer.
            Err(_) if behind_pointer && self.inputs.btf.is_none() => Some(opaque(&full)),
            Err(_) => {
                let kind = match kind {
                    AggregateKeyword::Struct => Kind::Struct,
                    AggregateKeyword::Union => Kind::Union,
                    AggregateKeyword::Enum => Kind::Enum,
                };
                self.unknown_type(kind, word, tag, span);
                None
            }
        }
    }

    fn unknown_type(&mut self, kind: Kind, keyword: &str, name: &str, span: Span) {
        let full = if keyword.is_empty() {
            name.to_owned()
        } else {
            format!("{keyword} {name}")
        };
        let mut error = Diagnostic::error(
            "unknown-type",
            span,
            format!("Cannot resolve unknown type \"{full}\""),
        );
        let near: Vec<String> = match self.inputs.btf {
            Some(btf) => {
                let prefix = if keyword.is_empty() {
                    String::new()
                } else {
                    format!("{keyword} ")
                };
                let own = match keyword {
                    "" => nearest(name, NUMBERS, NUMBERS.len()),
                    _ => Vec::new(),
                };
                // What every script knows goes before what the kernel calls its own.
                if own.is_empty() {
                    let names = btf.near_names(name, kind, 3).into_iter();
                    names.map(|n| format!("{prefix}{n}")).collect()
                } else {
                    own
                }
            }
            None => nearest(&full, self.definitions.structs.keys(), 3),
        };
        error.hint = did_you_mean(&near);
        if self.inputs.btf.is_none() && error.hint.is_none() {
            error.hint = Some("there is no BTF to look it up in".to_owned());
        }
        self.report(error);
    }

    /// Gives the type that a C type name stands for.
    pub(super) fn c_type(&self, c: &CType, space: Space) -> Type {
        let mut ty = match c.base {
            CBase::Void | CBase::Func => Type::Void,
            CBase::Int(shape) => int_type(shape),
            CBase::Float(size) => bytes(size),
            CBase::Type(id) => self.btf_type(id, space),
        };
        let is_char = c.pointers == 0 && self.is_char(c);
        for _ in 0..c.pointers {
            ty = pointer(ty, space);
        }
        for (depth, &len) in c.dims.iter().rev().enumerate() {
            ty = if depth == 0 && is_char {
                Type::Str { capacity: len }
            } else {
                Type::Array {
                    element: Arc::new(ty),
                    len,
                }
            };
        }
        ty
    }

    fn is_char(&self, c: &CType) -> bool {
        match c.base {
            CBase::Int(shape) => shape.encoding == Encoding::Char,
            CBase::Type(id) => self.inputs.btf.is_some_and(|b| is_char(b, id)),
            _ => false,
        }
    }

    /// Gives a type of BTF.
    pub(super) fn btf_type(&self, id: TypeId, space: Space) -> Type {
        match self.inputs.btf {
            Some(btf) => btf_type(btf, id, space, LEVELS),
            None => Type::Void,
        }
    }

    /// Finds the members of a structure that have this name: type, offset, bits.
    pub(super) fn member(&self, of: &StructType, name: &str, space: Space) -> Option<FieldType> {
        match &of.source {
            StructSource::Fields(fields) => fields.iter().find(|f| f.name == name).cloned(),
            StructSource::Btf(id) => {
                let btf = self.inputs.btf?;
                let member = btf.member(*id, name)?;
                Some(btf_field(btf, name, &member, space))
            }
        }
    }

    /// Gives the whole of a structure of the script that was known by name alone where it stood.
    pub(super) fn complete(&self, ty: &Type) -> Type {
        let known = match ty {
            Type::Struct(s) if s.size == 0 => self.definitions.structs.get(&*s.name),
            _ => None,
        };
        known.map_or_else(|| ty.clone(), |s| Type::Struct(s.clone()))
    }

    /// Names members near to one that does not exist.
    pub(super) fn near_members(&self, of: &StructType, name: &str) -> Vec<String> {
        match &of.source {
            StructSource::Fields(fields) => nearest(name, fields.iter().map(|f| &f.name), 3),
            StructSource::Btf(id) => {
                let near = self.inputs.btf.map(|b| b.near_members(*id, name, 3));
                near.unwrap_or_default()
                    .into_iter()
                    .map(str::to_owned)
                    .collect()
            }
        }
    }

    /// Puts the members of BTF structures into a type, for what user space has to read.
    pub(super) fn described(&self, ty: &Type, levels: u32) -> Type {
        match ty {
            Type::Struct(s) => match (&s.source, self.inputs.btf) {
                (StructSource::Btf(id), Some(btf)) if levels > 0 => {
                    let members = btf.fields(*id).into_iter().take(MEMBERS);
                    let fields = members.map(|(name, member)| {
                        let mut field = btf_field(btf, name, &member, Space::Kernel);
                        field.ty = self.described(&field.ty, levels - 1);
                        field
                    });
                    Type::Struct(Arc::new(StructType {
                        name: s.name.clone(),
                        size: s.size,
                        source: StructSource::Fields(fields.collect()),
                    }))
                }
                _ => ty.clone(),
            },
            Type::Array { element, len } => Type::Array {
                element: Arc::new(self.described(element, levels)),
                len: *len,
            },
            Type::Tuple(fields) | Type::Record(fields) => {
                let parts = fields.iter();
                let parts = parts.map(|f| (f.name.clone(), self.described(&f.ty, levels)));
                let fields = FieldType::lay_out(parts.collect());
                if matches!(ty, Type::Tuple(_)) {
                    Type::Tuple(fields)
                } else {
                    Type::Record(fields)
                }
            }
            _ => ty.clone(),
        }
    }
}

/// Makes the type of a pointer.
pub(super) fn pointer(to: Type, space: Space) -> Type {
    Type::Pointer {
        to: Arc::new(to),
        space,
    }
}

/// Makes a structure of which nothing but the name is known.
pub(super) fn opaque(name: &str) -> Type {
    Type::Struct(Arc::new(StructType {
        name: name.into(),
        size: 0,
        source: StructSource::Fields(Arc::new([])),
    }))
}

/// Makes an array of bytes, for what has no other type.
fn bytes(size: u32) -> Type {
    Type::Array {
        element: Arc::new(Type::Int(Int::new(1, false))),
        len: size,
    }
}

/// Gives the type of an integer by its shape.
fn int_type(shape: IntShape) -> Type {
    match (shape.encoding, shape.size) {
        (Encoding::Bool, 1) => Type::Bool,
        (_, 1 | 2 | 4 | 8) => Type::Int(Int::new(shape.size as u8, shape.signed)),
        (_, size) => bytes(size),
    }
}

fn is_char(btf: &Btf, id: TypeId) -> bool {
    match btf.get_resolved(id) {
        Some(kscope_btf::Type::Int(int)) => int.name == "char" || int.encoding == Encoding::Char,
        _ => false,
    }
}

fn btf_type(btf: &Btf, id: TypeId, space: Space, levels: u32) -> Type {
    if levels == 0 {
        return Type::Void;
    }
    let Some(resolved) = btf.resolve(id) else {
        return Type::Void;
    };
    use kscope_btf::Type as T;
    match btf.get(resolved) {
        Some(T::Int(int)) => {
            let shape = IntShape {
                size: int.size,
                signed: int.signed,
                encoding: int.encoding,
            };
            int_type(shape)
        }
        Some(T::Float { size, .. }) => bytes(size),
        Some(T::Ptr(to)) => {
            let space = if is_user(btf, to) { Space::User } else { space };
            pointer(btf_type(btf, to, space, levels - 1), space)
        }
        Some(T::Array(array)) => {
            if is_char(btf, array.element) {
                return Type::Str {
                    capacity: array.len,
                };
            }
            Type::Array {
                element: Arc::new(btf_type(btf, array.element, space, levels - 1)),
                len: array.len,
            }
        }
        Some(T::Struct(c)) => composite("struct", c.name, c.size, resolved),
        Some(T::Union(c)) => composite("union", c.name, c.size, resolved),
        Some(T::Fwd { name, is_union }) => opaque(&format!(
            "{} {name}",
            if is_union { "union" } else { "struct" }
        )),
        Some(T::Enum(e)) => match e.size {
            1 | 2 | 4 | 8 => Type::Enum(Arc::new(EnumType {
                name: e.name.into(),
                int: Int::new(e.size as u8, e.signed),
                variants: e
                    .enumerators()
                    .map(|v| (v.value, v.name.to_owned()))
                    .collect(),
            })),
            size => bytes(size),
        },
        _ => Type::Void,
    }
}

fn composite(keyword: &str, name: &str, size: u32, id: TypeId) -> Type {
    let name = if name.is_empty() { "(anonymous)" } else { name };
    Type::Struct(Arc::new(StructType {
        name: format!("{keyword} {name}").into(),
        size,
        source: StructSource::Btf(id),
    }))
}

/// Says whether what a pointer points to is marked `__user`.
fn is_user(btf: &Btf, to: TypeId) -> bool {
    let mut id = to;
    for _ in 0..LEVELS {
        match btf.get(id) {
            Some(kscope_btf::Type::TypeTag {
                name,
                to,
                attribute,
            }) => {
                if name == "user" && !attribute {
                    return true;
                }
                id = to;
            }
            Some(kscope_btf::Type::Const(to) | kscope_btf::Type::Volatile(to)) => id = to,
            _ => return false,
        }
    }
    false
}

fn btf_field(btf: &Btf, name: &str, member: &kscope_btf::Field, space: Space) -> FieldType {
    let ty = btf_type(btf, member.type_id, space, LEVELS);
    let (offset, bits) = match (member.bitfield, ty.scalar_int()) {
        (Some(width), Some(int)) => {
            let (offset, bits) = bit_place(member.bit_offset, width, int);
            (offset, Some(bits))
        }
        _ => (member.bit_offset / 8, None),
    };
    FieldType {
        name: name.to_owned(),
        ty,
        offset,
        bits,
    }
}

/// Gives the storage unit that a bit-field is read from and its place in there. The unit is
/// aligned to its size, as C lays bit-fields out.
pub(super) fn bit_place(bit_offset: u32, width: u32, int: Int) -> (u32, Bits) {
    let unit = u32::from(int.bytes) * 8;
    let mut start = bit_offset / unit * unit;
    if bit_offset + width > start + unit {
        // A packed bit-field that crosses its unit begins at its own byte.
        start = bit_offset / 8 * 8;
    }
    let bits = Bits {
        shift: (bit_offset - start).min(63) as u8,
        width: width.min(64) as u8,
    };
    (start / 8, bits)
}

/// Says whether an error of a C type name is that a type is not known.
pub(super) fn is_unknown(error: &CTypeError) -> bool {
    matches!(error, CTypeError::Unknown { .. })
}
