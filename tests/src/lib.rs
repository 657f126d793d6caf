//! Tests that cross crates or need a kernel.
