//! What can keep a script from running.

use std::fmt;
use std::io;

use kscope_rows::RowError;
use kscope_spec::LineInfo;
use kscope_sys::Errno;

use crate::script::Findings;

/// An error of a run.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The loader, a map, a link or a reader failed.
    Kernel(kscope_bpf::Error),
    /// A program was not loaded.
    Program {
        /// The probe it belongs to, as the plan names it.
        probe: Box<str>,
        /// Where in the script, where the verifier told.
        place: Option<LineInfo>,
        /// Why.
        error: kscope_bpf::Error,
    },
    /// A probe was not attached.
    Attach {
        /// The probe as the plan names it.
        probe: String,
        /// Why.
        error: kscope_bpf::Error,
    },
    /// Several attach points of a probe were not attached.
    Skipped {
        /// How many.
        count: usize,
        /// Why the first of them was not.
        first: Box<Error>,
    },
    /// The script may do without missing probes, but none is left.
    NothingAttached {
        /// Why the first of them is missing.
        first: Box<Error>,
    },
    /// The caller wanted to stop before all probes were attached.
    Interrupted,
    /// The kernel shows no types of its own.
    NoTypes {
        /// Where it would.
        path: String,
    },
    /// The kernel's types cannot be read.
    Types {
        /// Where they were looked for.
        path: String,
        /// Why.
        why: String,
    },
    /// An option's value makes no sense.
    BadOption {
        /// The option's name.
        name: String,
        /// What is wrong.
        why: String,
    },
    /// A call to the kernel that is none about programs or maps failed.
    Os {
        /// What could not be done: "read the clock".
        doing: &'static str,
        /// What the kernel said.
        errno: Errno,
    },
    /// The patterns of a script that was built elsewhere match more here than it may attach to.
    TooManyProbes {
        /// How many attach points there are.
        found: usize,
        /// Its `max_probes`.
        most: u32,
    },
    /// The plan asks for what this version does not do.
    UnknownRequest {
        /// What: "cat()".
        what: &'static str,
    },
    /// A cgroup that the script names is not there.
    NoCgroup {
        /// What is wrong with its path.
        why: String,
    },
    /// The memory of the running kernel cannot be read.
    NoLiveMemory {
        /// Why.
        why: String,
    },
    /// What is needed of a dump cannot be read.
    Dump(kscope_dump::Error),
    /// A program over memory did not come to its end.
    Fault {
        /// The probe as the plan names it.
        probe: String,
        /// Why.
        fault: kscope_script::interpret::Fault,
    },
    /// A map of the script is larger than the kernel takes.
    MapTooLarge {
        /// The map as the script calls it.
        map: String,
        /// What is too large, and what makes it smaller.
        why: String,
    },
    /// The receiver of the output failed.
    Output(io::Error),
    /// The script is wrong.
    Findings(Findings),
    /// A row is not what its receiver takes.
    Row(RowError),
    /// The plan was made by a newer version.
    NewerPlan {
        /// Its version.
        version: u32,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Kernel(error) => error.fmt(f),
            Error::Program { probe, error, .. } => write!(f, "cannot load {probe}: {error}"),
            Error::Attach { probe, error } => write!(f, "cannot attach {probe}: {error}"),
            Error::Skipped { count, first } => {
                write!(f, "{first} (and {} more)", count.saturating_sub(1))
            }
            Error::NothingAttached { first } => {
                write!(f, "none of the script's probes can be attached: {first}")
            }
            Error::Interrupted => f.write_str("interrupted before all probes were attached"),
            Error::NoTypes { path } => {
                write!(
                    f,
                    "this kernel does not show its types (BTF): there is no {path}"
                )
            }
            Error::Types { path, why } => write!(f, "cannot read kernel types from {path}: {why}"),
            Error::BadOption { name, why } => write!(f, "option --{name}: {why}"),
            Error::Os { doing, errno } => write!(f, "cannot {doing}: {errno}"),
            Error::TooManyProbes { found, most } => write!(
                f,
                "{found} attach points on this kernel, more than max_probes, which was {most} when the script was built"
            ),
            Error::UnknownRequest { what } => {
                write!(
                    f,
                    "the script calls {what}, which this kscope does not have"
                )
            }
            Error::MapTooLarge { map, why } => write!(f, "map {map}: {why}"),
            Error::NoCgroup { why } => write!(f, "cgroupid(): {why}"),
            Error::Findings(findings) => write!(f, "the script does not compile\n{findings}"),
            Error::NoLiveMemory { why } => {
                write!(f, "cannot read the memory of the running kernel: {why}")
            }
            Error::Dump(error) => error.fmt(f),
            Error::Fault { probe, fault } => write!(f, "{probe} was ended: {fault}"),
            Error::Row(error) => error.fmt(f),
            Error::Output(error) => write!(f, "cannot write the output: {error}"),
            Error::NewerPlan { version } => {
                write!(
                    f,
                    "the program was built by a newer kscope (plan version {version})"
                )
            }
        }
    }
}

impl std::error::Error for Error {}

impl From<kscope_bpf::Error> for Error {
    fn from(error: kscope_bpf::Error) -> Self {
        match error {
            kscope_bpf::Error::Interrupted => Error::Interrupted,
            error => Error::Kernel(error),
        }
    }
}
