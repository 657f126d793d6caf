//! C: types written as C, and C type names read.

mod layout;
mod parse;
mod print;
mod whole;

pub use parse::{CBase, CType, CTypeError};
