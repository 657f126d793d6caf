//! The language: source text to a kernel-independent Spec and a Plan for reading its results.
//!
//! ```text
//! text ─▶ syntax (tree) ─▶ types (checked program, `hir`) ─▶ lower ─▶ ir ─┬▶ bpf ─▶ Spec + Plan
//!                                                                         └▶ interpret (over memory)
//! ```
//!
//! Every stage is pure. Diagnostics are data ([`diagnostic`]); what the target kernel has comes
//! in as values (a BTF and a [`catalogue`]).

pub mod bpf;
pub mod catalogue;
pub mod compile;
pub mod diagnostic;
pub mod hir;
pub mod interpret;
pub mod ir;
pub mod lower;
pub mod near;
pub mod plan;
pub mod portable;
pub mod syntax;
pub mod types;

pub use compile::{Compilation, Compiled, Options, compile};
