//! The kinds of types and their sizes in a blob.

/// Kind of a BTF type; the numbers are the format's `BTF_KIND_*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "the names are the format's")]
#[repr(u8)]
pub enum Kind {
    Void = 0,
    Int = 1,
    Ptr = 2,
    Array = 3,
    Struct = 4,
    Union = 5,
    Enum = 6,
    Fwd = 7,
    Typedef = 8,
    Volatile = 9,
    Const = 10,
    Restrict = 11,
    Func = 12,
    FuncProto = 13,
    Var = 14,
    DataSec = 15,
    Float = 16,
    DeclTag = 17,
    TypeTag = 18,
    Enum64 = 19,
    /// A kind newer than this library.
    Other = 255,
}

/// Bytes that follow the header of a type, by its kind's number: once, and per element. A table, as kernels have more than
/// a hundred thousand types in no order that a processor could foresee.
const SIZES: [(u8, u8); 20] = {
    const NOTHING: (u8, u8) = (0, 0);
    let mut sizes = [NOTHING; 20];
    sizes[Kind::Int as usize] = (4, 0);
    sizes[Kind::Var as usize] = (4, 0);
    sizes[Kind::DeclTag as usize] = (4, 0);
    sizes[Kind::Array as usize] = (12, 0);
    sizes[Kind::Struct as usize] = (0, 12);
    sizes[Kind::Union as usize] = (0, 12);
    sizes[Kind::DataSec as usize] = (0, 12);
    sizes[Kind::Enum64 as usize] = (0, 12);
    sizes[Kind::Enum as usize] = (0, 8);
    sizes[Kind::FuncProto as usize] = (0, 8);
    sizes
};

impl Kind {
    #[inline]
    pub(crate) fn from_number(number: u8) -> Kind {
        const KINDS: [Kind; 20] = [
            Kind::Void,
            Kind::Int,
            Kind::Ptr,
            Kind::Array,
            Kind::Struct,
            Kind::Union,
            Kind::Enum,
            Kind::Fwd,
            Kind::Typedef,
            Kind::Volatile,
            Kind::Const,
            Kind::Restrict,
            Kind::Func,
            Kind::FuncProto,
            Kind::Var,
            Kind::DataSec,
            Kind::Float,
            Kind::DeclTag,
            Kind::TypeTag,
            Kind::Enum64,
        ];
        KINDS
            .get(usize::from(number))
            .copied()
            .unwrap_or(Kind::Other)
    }

    /// Gives the bytes that follow the header of a type of the kind with this number: once, and per element. `Void` is
    /// no type of a blob.
    #[inline]
    pub(crate) fn sizes_of(number: u8) -> Option<(usize, usize)> {
        let (once, each) = *SIZES.get(usize::from(number))?;
        (number != 0).then_some((once.into(), each.into()))
    }

    /// Gives what [`Kind::sizes_of`] gives of its number.
    pub(crate) fn sizes(self) -> Option<(usize, usize)> {
        Kind::sizes_of(self as u8)
    }
}
