//! Sub-commands with which one looks at memory by hand.

pub(super) mod address;
mod layout;
mod read;
mod structure;
mod sym;
pub(super) mod types;
mod value;

pub(super) use read::ReadArgs;
pub(super) use structure::StructArgs;
pub(super) use sym::SymArgs;
