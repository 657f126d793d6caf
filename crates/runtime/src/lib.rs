//! Runs a Spec and its Plan on a kernel and gives typed rows.
//!
//! [`Session::load`] makes kernel objects, [`Session::run`] attaches and drains them until the
//! script exits, a stop is asked for or the traced command ends, and [`Session::finish`] runs
//! `end` and gives the maps. What comes out are [`kscope_rows::Output`]s with all names
//! resolved; nothing is rendered here. [`Script`] is all of that in three calls, for programs that run
//! a script inside of them.

mod attach;
mod catalogue;
mod cgroups;
mod clock;
mod descendants;
mod early;
mod error;
mod event;
mod files_and_commands;
mod filter;
mod fit;
mod iterations;
mod kernel_symbol;
mod kprobe_multi;
mod maps;
mod meaning;
mod memory;
mod options;
mod prepare;
mod refusals;
mod refused;
mod resolve;
mod script;
mod session;
mod stacks;
mod target;
mod types_file;
mod user;
mod user_probe;
mod wildcards;

pub use catalogue::LiveCatalogue;
pub use early::look_ahead;
pub use error::Error;
pub use files_and_commands::Render;
pub use meaning::duration;
pub use memory::{DumpRequest, DumpSummary, compile_for_dump, live_kernel, run_on_dump};
pub use options::{OptionValue, Options};
pub use refusals::FullMap;
pub use script::{Findings, Finished, Running, Script};
pub use session::{Request, Session, Sink, Stop, Summary, Trial, Wishes};
pub use stacks::{LiveStacks, live_stacks};
pub use target::Target;
pub use types_file::types_of_file;
pub use wildcards::expand_again;
