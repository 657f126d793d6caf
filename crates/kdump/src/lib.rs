//! The kernel that runs after a crash: is everything there for it ([`check`]), how much memory it needs
//! ([`estimate()`]), what it is made of ([`Build`]), how it is loaded ([`Load`]), and what it does
//! ([`capture`]).
//!
//! What is decided is decided on [`Facts`], plain data gathered once from a [`Root`], which in tests
//! is a folder with files as a machine has them.

pub mod capture;
mod check;
mod command_line;
mod config;
mod device;
mod error;
mod estimate;
mod facts;
mod initrd;
mod last_test;
mod load;
mod manifest;
mod modules;
mod network;
mod pairs;
mod root;
mod ssh;
mod superblock;
#[cfg(test)]
mod tree;

pub use check::{Finding, Level, check, count};
pub use config::{Action, CONFIG, Compression, Config, Format, SshTarget, TEMPLATE, Target};
pub use device::{Aliases, Disk, Mount};
pub use error::Error;
pub use estimate::{Estimate, Line, dump_size, estimate, sized};
pub use facts::image::ImageHeader;
pub use facts::{
    Crash, DiskFacts, Facts, ImageFacts, KernelFacts, KeyFault, SshFacts, TargetFacts,
};
pub use initrd::{Build, Entry, Initrd, Needs, entries, needs, read as read_initrd};
pub use last_test::{LastTest, crash};
pub use load::{Load, unload};
pub use manifest::{Loaded, Manifest, Source};
pub use modules::{ModuleFile, Modules};
pub use network::Address;
pub use root::Root;
pub use superblock::Superblock;
