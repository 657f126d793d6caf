//! C: types written as C, and C type names read.

#[cfg(feature = "print")]
mod definition;
#[cfg(feature = "print")]
mod layout;
#[cfg(feature = "parse")]
mod parse;
mod print;
#[cfg(feature = "print")]
mod whole;

#[cfg(feature = "parse")]
pub use parse::{CBase, CType, CTypeError};
