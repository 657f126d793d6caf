//! Tests that cross crates or need a kernel.
//!
//! A test that needs what the machine lacks says `skip!(feature, reason…)`: the skip is printed to
//! standard error as `SKIP: <test>: <reason>`, to be counted, and becomes a failure where the
//! environment variable `KSCOPE_MUST` (names separated by commas) says that this machine has the
//! feature.

pub mod assembly;
pub mod caller;
pub mod cgroup;
pub mod compatibility;
pub mod disk;
pub mod dumps;
pub mod language;
pub mod libbpf;
pub mod libbpf_tools;
pub mod objects;
pub mod opens;
pub mod outputs;
pub mod pins;
pub mod program;
pub mod random;
pub mod selftests;
pub mod stuck;
pub mod tool;
pub mod workspace;

/// The guide to the library, whose examples are compiled with this crate's.
#[cfg(doctest)]
#[doc = include_str!("../../docs/LIBRARY.md")]
pub struct Guide;

/// Ends the test as skipped, or fails it if the machine should have had the feature.
#[macro_export]
macro_rules! skip {
    ($feature:expr, $($reason:tt)+) => {{
        $crate::skipped($feature, &format!($($reason)+));
        return;
    }};
}

pub use kscope_testkit::skipped;
