//! How much text is made of a blob: names may be used by any number of types and members, so that text
//! could be hundreds of times the blob that it is of.

use crate::blob::Btf;

/// Multiple of the blob's size that its types take as text, in bytes; those of compilers take less than
/// a third of it in every language.
const MULTIPLE: usize = 16;
/// What even the smallest blob may take.
const FLOOR: usize = 1 << 20;

impl Btf {
    /// Gives the bytes that the text of all types may take: more is left out where types are written
    /// as C, Rust or JSON, and said there.
    #[must_use]
    pub fn text_limit(&self) -> usize {
        self.bytes()
            .len()
            .saturating_mul(MULTIPLE)
            .saturating_add(FLOOR)
    }
}
