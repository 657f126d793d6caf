//! BTF read from bytes: an index by name and kind, types decoded on demand, types printed as C.
//!
//! The caller supplies the bytes (a mapping of `/sys/kernel/btf/vmlinux`, an ELF section, a
//! member of a dump); nothing is copied out of them. [`Btf::parse`] checks the layout of every
//! type once and keeps one offset per type; everything else is decoded when asked for.
//!
//! ```
//! use kscope_btf::{Btf, Encoding, Kind, NewMember, write::Builder};
//!
//! let mut b = Builder::new();
//! let int = b.add_int("int", 4, Encoding::Signed);
//! b.add_struct("point", 8, &[NewMember::new("x", int, 0), NewMember::new("y", int, 32)]);
//! let btf = Btf::parse(b.finish()).unwrap();
//!
//! let point = btf.find("point", Kind::Struct).unwrap();
//! let y = btf.member(point, "y").unwrap();
//! assert_eq!(y.byte_offset(), 4);
//! assert_eq!(btf.type_name(y.type_id), "int");
//! ```
//!
//! # Features
//!
//! `near` (names near to one that does not exist), `print` (types as C, Rust and JSON, values by their
//! types), `parse` (C type names read), `merge` (BTF of several objects merged), `subset` (BTF of chosen
//! types alone), `validate` (whether all types make sense, at once); none is on unless asked for.

mod blob;
mod bytes;
mod c;
mod error;
pub mod ext;
mod index;
#[cfg(feature = "print")]
mod json;
mod kind;
#[cfg(feature = "merge")]
pub mod merge;
mod near;
mod query;
#[cfg(feature = "print")]
mod room;
#[cfg(feature = "print")]
mod rust;
mod search;
#[cfg(any(feature = "merge", feature = "subset"))]
mod shape;
#[cfg(feature = "subset")]
mod subset;
mod types;
#[cfg(feature = "validate")]
mod validate;
#[cfg(feature = "print")]
mod value;
pub mod write;

pub use blob::{Btf, TypeId};
pub use bytes::Endian;
#[cfg(feature = "parse")]
pub use c::{CBase, CType, CTypeError};
pub use error::Error;
pub use index::essential_name;
pub use kind::Kind;
pub use near::nearest;
pub use query::{EnumConstant, Field, IntShape};
#[cfg(feature = "subset")]
pub use subset::Kept;
pub use types::{
    Array, Composite, DataSec, Encoding, Enum, Enumerator, FuncProto, Int, Linkage, Member, Param,
    Type, VarInfo,
};
#[cfg(feature = "print")]
pub use value::ValueStyle;
pub use write::NewMember;

#[cfg(test)]
mod written_tests;
