//! Which back end runs a script.

use core::fmt;

use super::check;
use crate::syntax::{self, Positional};
use crate::types::Inputs;

/// A back end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// Programs in the kernel, run where something happens.
    Bpf,
    /// The interpreter, over the kernel's memory.
    Memory,
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Engine::Bpf => "bpf",
            Engine::Memory => "memory",
        })
    }
}

/// Gives the back end that suits a script on a kernel that runs, and why. A script that waits for no
/// event, and walks over lists or asks for stacks of other threads, is interpreted: eBPF programs
/// are bounded in how far they walk.
#[must_use]
pub fn engine_of(source: &str, inputs: &Inputs<'_>) -> (Engine, &'static str) {
    let positional = Positional::new(inputs.positional.clone());
    let (script, _) = syntax::parse_with_imports(source, &positional, inputs.imported_from);
    if !check::waits_for_nothing(&script) {
        return (Engine::Bpf, "it has probes that run in the kernel");
    }
    match script.walks.is_empty() {
        true => (Engine::Bpf, "it walks over no lists, paths or stacks"),
        false => (
            Engine::Memory,
            "it walks over lists, paths or stacks of the kernel",
        ),
    }
}
