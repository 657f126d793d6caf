//! Sizes and layouts of types, and what user space is told about them.

use std::sync::Arc;

use kscope_rows::{DataType, Field};

use crate::hir::{FieldType, Int, StructSource, Type};

/// Elements of a C structure that are described to user space at most, all levels together.
const DESCRIBED: usize = 4096;

impl Int {
    /// Makes an integer type of `bytes` bytes.
    #[must_use]
    pub const fn new(bytes: u8, signed: bool) -> Int {
        Int { bytes, signed }
    }

    /// `int64`.
    pub const I64: Int = Int::new(8, true);
    /// `uint64`.
    pub const U64: Int = Int::new(8, false);
    /// `uint32`.
    pub const U32: Int = Int::new(4, false);
    /// `int32`.
    pub const I32: Int = Int::new(4, true);
}

/// Most types that one type is made of.
pub(crate) const PARTS: usize = 16_384;

impl Type {
    /// `int64`.
    pub const I64: Type = Type::Int(Int::I64);
    /// `uint64`.
    pub const U64: Type = Type::Int(Int::U64);
    /// `uint32`.
    pub const U32: Type = Type::Int(Int::U32);

    /// Says whether a value is evaluated to one 64-bit number; all others lie in memory.
    #[must_use]
    pub fn is_scalar(&self) -> bool {
        match self {
            Type::Void
            | Type::Bool
            | Type::Int(_)
            | Type::Enum(_)
            | Type::Pointer { .. }
            | Type::KernelStack { .. }
            | Type::KernelSymbol
            | Type::Timestamp { .. }
            | Type::Named(_)
            | Type::CgroupPath { .. }
            | Type::UserName => true,
            Type::Struct(_)
            | Type::Array { .. }
            | Type::Str { .. }
            | Type::Buffer { .. }
            | Type::Arguments { .. }
            | Type::Tuple(_)
            | Type::FullPath(_)
            | Type::InternetAddress
            | Type::EthernetAddress
            | Type::UserStack { .. }
            | Type::UserSymbol
            | Type::Record(_) => false,
        }
    }

    /// Gives width and sign of a scalar as it lies in memory; none for memory types and `Void`.
    #[must_use]
    pub fn scalar_int(&self) -> Option<Int> {
        Some(match self {
            Type::Bool => Int::new(1, false),
            Type::Int(int) => *int,
            Type::Enum(e) => e.int,
            Type::Pointer { .. }
            | Type::KernelSymbol
            | Type::CgroupPath { .. }
            | Type::Timestamp { .. } => Int::U64,
            Type::Named(_) => Int::I32,
            Type::KernelStack { .. } => Int::I64,
            Type::UserName => Int::U32,
            _ => return None,
        })
    }

    /// Gives the size in bytes of a value in memory.
    #[must_use]
    pub fn size(&self) -> u32 {
        match self {
            Type::Void => 0,
            Type::Struct(s) => s.size,
            Type::Array { element, len } => element.size().saturating_mul(*len),
            Type::Str { capacity } => *capacity,
            Type::Buffer { capacity } => capacity.saturating_add(4),
            Type::Arguments { capacity } => capacity.saturating_add(8),
            Type::InternetAddress => DataType::InternetAddress.size(),
            Type::EthernetAddress => DataType::EthernetAddress.size(),
            // Eight bytes, the id of the process, and four that are zero.
            Type::UserStack { .. } | Type::UserSymbol => 16,
            Type::Tuple(fields) | Type::Record(fields) | Type::FullPath(fields) => {
                let end = fields
                    .iter()
                    .map(|f| f.offset.saturating_add(f.ty.size()))
                    .max();
                end.unwrap_or(0)
                    .checked_next_multiple_of(self.align())
                    .unwrap_or(u32::MAX)
            }
            scalar => scalar.scalar_int().map_or(0, |int| u32::from(int.bytes)),
        }
    }

    /// Gives the alignment in bytes that values are laid out with: 1, 2, 4 or 8.
    #[must_use]
    pub fn align(&self) -> u32 {
        match self {
            Type::Void | Type::Str { .. } | Type::EthernetAddress => 1,
            Type::Struct(s) => match &s.source {
                StructSource::Fields(fields) => fields_align(fields),
                // What members a structure of BTF has is not looked up for this: 8 suits all.
                StructSource::Btf(_) => 8,
            },
            Type::Array { element, .. } => element.align(),
            Type::Buffer { .. } | Type::Arguments { .. } | Type::InternetAddress => 4,
            Type::UserStack { .. } | Type::UserSymbol => 8,
            Type::Tuple(fields) | Type::Record(fields) | Type::FullPath(fields) => {
                fields_align(fields)
            }
            scalar => scalar.scalar_int().map_or(1, |int| u32::from(int.bytes)),
        }
    }

    /// Says whether the type is made of at most [`PARTS`] others; what is made of itself twice, and
    /// that again, soon takes all memory and time there are.
    pub(crate) fn is_bounded(types: &[&Type]) -> bool {
        fn count(ty: &Type, left: &mut usize) {
            if *left == 0 {
                return;
            }
            *left -= 1;
            let fields = match ty {
                Type::Struct(s) => match &s.source {
                    StructSource::Fields(fields) => fields,
                    StructSource::Btf(_) => return,
                },
                Type::Tuple(fields) | Type::Record(fields) | Type::FullPath(fields) => fields,
                Type::Array { element, .. } => return count(element, left),
                _ => return,
            };
            for field in fields.iter() {
                count(&field.ty, left);
            }
        }
        let mut left = PARTS + 1;
        for ty in types {
            count(ty, &mut left);
        }
        left > 0
    }

    /// Gives what user space is told about values of the type. Structures whose members are in
    /// BTF have no fields here; the checker gives those that are printed or stored their fields first.
    #[must_use]
    pub fn data_type(&self) -> DataType {
        self.describe(&mut { DESCRIBED })
    }

    fn describe(&self, left: &mut usize) -> DataType {
        match self {
            Type::Void => DataType::None,
            Type::Bool => DataType::Bool,
            Type::Int(int) => int_data(*int),
            Type::Enum(e) => DataType::Enum {
                bytes: e.int.bytes,
                signed: e.int.signed,
                name: e.name.clone(),
                variants: e.variants.clone(),
            },
            Type::Pointer { .. } => DataType::Pointer,
            Type::Struct(s) => DataType::Record {
                name: s.name.clone(),
                fields: match &s.source {
                    StructSource::Fields(fields) => describe_fields(fields, left),
                    StructSource::Btf(_) => Arc::new([]),
                },
                size: s.size,
            },
            Type::Array { element, len } => DataType::Array {
                element: Arc::new(element.describe(left)),
                len: *len,
            },
            Type::Str { capacity } => DataType::Str {
                capacity: *capacity,
            },
            Type::Buffer { capacity } => DataType::Buffer {
                capacity: *capacity,
            },
            Type::Arguments { capacity } => DataType::Arguments {
                capacity: *capacity,
            },
            Type::Tuple(fields) => DataType::Tuple(describe_fields(fields, left)),
            Type::Record(fields) => DataType::Record {
                name: "".into(),
                fields: describe_fields(fields, left),
                size: self.size(),
            },
            Type::KernelStack { mode, limit } => DataType::KernelStack {
                mode: *mode,
                limit: *limit,
            },
            Type::KernelSymbol => DataType::KernelSymbol,
            Type::UserStack { mode, limit } => DataType::UserStack {
                mode: *mode,
                limit: *limit,
            },
            Type::UserSymbol => DataType::UserSymbol,
            Type::Timestamp { format } => DataType::Timestamp {
                format: format.clone(),
            },
            Type::UserName => DataType::UserName,
            Type::Named(table) => DataType::Named { table: *table },
            Type::InternetAddress => DataType::InternetAddress,
            Type::EthernetAddress => DataType::EthernetAddress,
            Type::CgroupPath { filter } => DataType::CgroupPath {
                filter: filter.clone(),
            },
            Type::FullPath(fields) => DataType::FullPath {
                capacity: fields.last().map_or(0, |path| path.ty.size()),
            },
        }
    }
}

fn int_data(int: Int) -> DataType {
    DataType::Int {
        bytes: int.bytes,
        signed: int.signed,
    }
}

fn fields_align(fields: &[FieldType]) -> u32 {
    fields.iter().map(|f| f.ty.align()).max().unwrap_or(1)
}

fn describe_fields(fields: &[FieldType], left: &mut usize) -> Arc<[Field]> {
    let mut described = Vec::new();
    for f in fields {
        if *left == 0 {
            break;
        }
        *left -= 1;
        described.push(Field {
            name: f.name.clone(),
            offset: f.offset,
            ty: f.ty.describe(left),
            bits: f.bits,
        });
    }
    described.into()
}

impl FieldType {
    /// Lays out what belongs to a process: a number of eight bytes and the process's id.
    pub(crate) fn of_process(number: Type) -> Arc<[FieldType]> {
        let parts = [number, Type::U32];
        let named = parts.into_iter().enumerate();
        FieldType::lay_out(named.map(|(i, ty)| (i.to_string(), ty)).collect())
    }

    /// Lays parts out in order as C would: the fields of a tuple or record.
    #[must_use]
    pub fn lay_out(parts: Vec<(String, Type)>) -> Arc<[FieldType]> {
        let mut offset = 0u32;
        let mut fields = Vec::with_capacity(parts.len());
        for (name, ty) in parts {
            offset = offset
                .checked_next_multiple_of(ty.align())
                .unwrap_or(u32::MAX);
            let size = ty.size();
            fields.push(FieldType {
                name,
                ty,
                offset,
                bits: None,
            });
            offset = offset.saturating_add(size);
        }
        fields.into()
    }
}
