//! Sub-commands with which one looks at memory by hand.

pub(super) mod address;
#[cfg(not(all(feature = "jited", target_arch = "x86_64")))]
mod code_none;
#[cfg(all(feature = "jited", target_arch = "x86_64"))]
mod code_x86;
mod dis;
mod elements;
mod layout;
mod list;
mod read;
mod shown;
mod structure;
mod sym;
mod tree;
pub(super) mod types;
mod value;

pub(super) use dis::DisArgs;
pub(super) use list::ListArgs;
pub(super) use read::ReadArgs;
pub(super) use structure::StructArgs;
pub(super) use sym::SymArgs;
pub(super) use tree::TreeArgs;
