//! What the words of a type are: names, references to types, numbers.

use crate::kind::Kind;

/// What a word of an element is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    Name,
    Type,
    Number,
}

impl Kind {
    /// Tells whether the third word of a type's header refers to a type; otherwise it is a number.
    pub(crate) fn refers(self) -> bool {
        matches!(
            self,
            Kind::Ptr
                | Kind::Typedef
                | Kind::Const
                | Kind::Volatile
                | Kind::Restrict
                | Kind::TypeTag
                | Kind::Func
                | Kind::FuncProto
                | Kind::Var
                | Kind::DeclTag
        )
    }

    /// Gives the words of an element, or of what follows the header once; the sizes of
    /// [`Kind::sizes`] tell which.
    pub(crate) fn words(self) -> &'static [Word] {
        use Word::{Name, Number, Type};
        match self {
            Kind::Array => &[Type, Type, Number],
            Kind::Struct | Kind::Union => &[Name, Type, Number],
            Kind::Enum => &[Name, Number],
            Kind::Enum64 => &[Name, Number, Number],
            Kind::FuncProto => &[Name, Type],
            Kind::DataSec => &[Type, Number, Number],
            _ => &[Number],
        }
    }
}
