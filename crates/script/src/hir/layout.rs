//! What portable code asks of the target's types in place of numbers (CO-RE).

use kscope_btf::TypeId;
use kscope_spec::CoreKind;

/// Index of a layout in [`crate::hir::Program::layouts`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LayoutId(pub u32);

/// A number that the target's types tell: the offset of a member, the size of a type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// What is asked.
    pub kind: CoreKind,
    /// The type it starts from, in the BTF given to the compiler.
    pub root: TypeId,
    /// Members, array elements or the enumerator, from the outermost.
    pub access: Vec<u32>,
    /// The type that the path leads to, without qualifiers and other names.
    pub end: TypeId,
    /// The answer for the BTF given to the compiler.
    pub value: i64,
}

/// Where a bit-field is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BitLayout {
    /// Bytes of its storage unit.
    pub size: LayoutId,
    /// Bits that a 64-bit number is shifted left by to bring its highest bit to the top.
    pub left: LayoutId,
    /// Bits that this is shifted right by.
    pub right: LayoutId,
}
