//! One file per subcommand.

pub(crate) mod bindgen;
pub(crate) mod bpf;
pub(crate) mod btf;
pub(crate) mod build;
pub(crate) mod check;
pub(crate) mod completions;
pub(crate) mod doctor;
pub(crate) mod kdump;
pub(crate) mod link;
pub(crate) mod list;
pub(crate) mod man;
pub(crate) mod run;
pub(crate) mod stacks;
pub(crate) mod tool;
pub(crate) mod tools;
