//! Options that a script declares, and what they mean.

use kscope_spec::LateId;

use crate::diagnostic::Span;

/// An option of the script.
#[derive(Clone, Debug, PartialEq)]
pub struct OptionDecl {
    /// Name without dashes.
    pub name: String,
    /// Type and default.
    pub kind: OptionKind,
    /// What a number or text means, and so in which ways it may be written.
    pub meaning: OptionMeaning,
    /// Help text.
    pub help: String,
    /// The late value of a number or bool; the length in bytes of a string.
    pub late: LateId,
    /// Where a string stands in the options map.
    pub offset: u32,
    /// Where the masks of [`search_masks`](super::search_masks) stand in the options map, where the script searches
    /// for the string. Set by lowering.
    pub masks: Option<u32>,
    /// Where it is declared.
    pub span: Span,
}

/// Types of options with their defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OptionKind {
    /// `--name` or `--name=true`.
    Bool(bool),
    /// `--name=1`.
    Int(i64),
    /// `--name=text`.
    Str {
        /// Default.
        default: String,
        /// Room in bytes, the NUL included.
        capacity: u32,
    },
}

/// What the value of an option means: the fourth argument of `getopt`.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum OptionMeaning {
    /// Nothing in particular.
    #[default]
    Plain,
    /// A number that is not negative.
    Count,
    /// The number of an error, or its name: `ENOENT`.
    Errno,
    /// Flags of `open(2)`, or their names: `O_CREAT|O_TRUNC`.
    OpenFlags,
    /// The number of a user, or its name.
    User,
    /// The id of a cgroup, or its path.
    Cgroup,
    /// A time in nanoseconds, written as seconds or with a unit: `2.5`, `500ms`.
    Duration,
    /// One of these texts.
    Choice(Vec<String>),
    /// The id of a process or thread that is there.
    Process,
    /// A part of a command's name, which has at most 15 bytes.
    Command,
    /// The number of a block device, or its name: `sda`.
    Disk,
    /// A number between two, both inclusive.
    Range {
        /// The smallest.
        least: i64,
        /// The largest.
        most: i64,
    },
    /// The number of a signal, or its name: `SIGKILL`, `KILL`.
    Signal,
    /// The number of a capability, or its name: `CAP_KILL`.
    Capability,
}

impl OptionMeaning {
    /// Names of the meanings of numbers, with the meanings.
    pub const NUMBERS: [(&'static str, OptionMeaning); 10] = [
        ("count", OptionMeaning::Count),
        ("errno", OptionMeaning::Errno),
        ("open_flags", OptionMeaning::OpenFlags),
        ("user", OptionMeaning::User),
        ("cgroup", OptionMeaning::Cgroup),
        ("duration", OptionMeaning::Duration),
        ("process", OptionMeaning::Process),
        ("disk", OptionMeaning::Disk),
        ("signal", OptionMeaning::Signal),
        ("capability", OptionMeaning::Capability),
    ];
}
