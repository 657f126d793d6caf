//! What portable code asks of the target's types in place of numbers (CO-RE).

use kscope_btf::TypeId;
use kscope_spec::{CoreKind, HelperId};

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

impl Layout {
    /// Asks whether the target has a helper. Of the enumeration of helpers the object has those
    /// alone that are asked for, so it needs none of the BTF given to the compiler.
    #[must_use]
    pub fn of_helper(helper: HelperId) -> Layout {
        Layout {
            kind: CoreKind::EnumValueExists,
            root: TypeId::VOID,
            access: vec![helper.0],
            end: TypeId::VOID,
            value: 1,
        }
    }

    /// Gives the helper that is asked for.
    #[must_use]
    pub fn helper(&self) -> Option<HelperId> {
        match (self.root, self.access.as_slice()) {
            (TypeId::VOID, [helper]) => Some(HelperId(*helper)),
            _ => None,
        }
    }
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
