//! Addresses to names, for the kernel and for user space; user ids to names.
//!
//! Files are read when the first name is asked for, never before: writing `/proc/kallsyms` takes
//! the kernel some 30 ms.

mod error;
mod files;
mod kernel;
mod stat;
mod thread;
mod user;
mod users;

pub use error::Error;
pub use files::{LARGEST_FILE, inside_root, open_regular, read_regular};
pub use kernel::{KernelSymbolizer, Symbol};
pub use stat::ProcessStat;
pub use thread::living_thread;
pub use user::{BuildId, ReadFile, UserFile, UserFunction, UserSymbol, UserSymbolizer};
pub use users::UserNames;
