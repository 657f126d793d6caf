//! The one door to the kernel, and the only crate with unsafe code.
