//! What a dump says of the kernel in it.

pub(crate) mod globals;
pub(crate) mod kallsyms;
pub(crate) mod kallsyms_scan;
pub(crate) mod kernel;
pub(crate) mod log;
pub(crate) mod module;
pub(crate) mod notes;
pub(crate) mod path;
pub(crate) mod source;
pub(crate) mod task;
pub(crate) mod time;
pub(crate) mod vmcoreinfo;
pub(crate) mod x86_64;
