//! What decoding must ask of whoever knows the kernel: names of addresses, stacks, users, times.

use std::sync::Arc;

use crate::data_type::StackMode;
use crate::time::{Dialect, WallTime, format_time};
use crate::value::Stack;

/// Turns numbers that an eBPF program wrote into what they stand for.
pub trait Resolve {
    /// Gives the frames of a kernel stack by its id, innermost first.
    fn kernel_stack(&self, id: i64) -> Stack;

    /// Gives the frames of a user stack by its id, innermost first. In the mode of build ids a
    /// frame's symbol is the build id of its file, and the offset that into the file.
    fn user_stack(&self, id: i64, pid: u32, mode: StackMode) -> Stack;

    /// Gives the name of the kernel symbol that an address lies in.
    fn kernel_symbol(&self, address: u64) -> Option<Arc<str>>;

    /// Gives the name of the symbol that an address of a process lies in.
    fn user_symbol(&self, address: u64, pid: u32) -> Option<Arc<str>>;

    /// Formats nanoseconds since boot as wall-clock time.
    fn timestamp(&self, nanoseconds: u64, format: &str) -> String;

    /// Formats nanoseconds since 1970 in UTC as local time.
    fn wall_clock(&self, nanoseconds: u64, format: &str) -> String {
        format_time(format, &WallTime::utc(nanoseconds), Dialect::Strftime)
    }

    /// Gives the name of a user.
    fn user_name(&self, uid: u32) -> Option<String>;

    /// Gives the path of a directory that a process has open under a descriptor, or that it works
    /// in, if that still is the directory of this identity.
    fn directory(&self, _directory: Directory) -> Option<Vec<u8>> {
        None
    }

    /// Gives the paths of a cgroup in the hierarchies whose names match a pattern.
    fn cgroup_path(&self, _id: u64, _filter: &str) -> Option<String> {
        None
    }

    /// Gives what is put after a string that filled its field, or after arguments that did not fit.
    fn truncation_trailer(&self) -> &str {
        ".."
    }

    /// Is told of each such value, so that they can be counted.
    fn note_cut(&self, _cut: Cut) {}
}

/// What the program had no room for the whole of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// A string.
    String,
    /// The arguments of a command.
    Arguments,
}

/// A directory as a process refers to it, and which one it was when it did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Directory {
    /// The process.
    pub pid: u32,
    /// A descriptor of it, or `AT_FDCWD` (-100).
    pub descriptor: i32,
    /// Number of the inode; 0 where it is not known.
    pub inode: u64,
    /// Device of the filesystem as the kernel numbers it: the minor number is the lowest 20 bits.
    pub device: u64,
}

/// Resolves nothing: symbols stay addresses, stacks are empty, times stay nanoseconds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unresolved;

impl Resolve for Unresolved {
    fn kernel_stack(&self, _id: i64) -> Stack {
        Stack::default()
    }

    fn user_stack(&self, _id: i64, _pid: u32, _mode: StackMode) -> Stack {
        Stack::default()
    }

    fn kernel_symbol(&self, _address: u64) -> Option<Arc<str>> {
        None
    }

    fn user_symbol(&self, _address: u64, _pid: u32) -> Option<Arc<str>> {
        None
    }

    fn timestamp(&self, nanoseconds: u64, _format: &str) -> String {
        nanoseconds.to_string()
    }

    fn user_name(&self, _uid: u32) -> Option<String> {
        None
    }
}
