//! The text form of functions, for tests and for people; [`read`] takes what [`print()`] gives.
//!
//! ```text
//! fn name {
//!   slot s0: 16 align 8
//! b0:
//!   v0: s0 = slot s0
//!   v1: i64 = const 7
//!   store8 v0 + 8, v1 @3..9
//!   if ult v1, v1 then b1(v1) else b2
//! b1(v2: i64):
//!   return v2
//! b2:
//!   return v1
//! }
//! ```
//!
//! Types are `i64`, `ctx`, `s0` (pointer to a slot), `map0`, `value0` (into a value of the map),
//! `value0?` (or null), `record64`, `record64?`, and what callbacks have: `key0`, `captured16`,
//! `outer16`, `callback0`. Callbacks stand at the start of the function that gives them to
//! helpers, with the types of their arguments: `fn round(i64, captured8) {`. `@start..end` is a source position.

mod print;
mod read;

pub use print::print;
pub use read::{ReadError, read};

#[cfg(test)]
mod tests;
