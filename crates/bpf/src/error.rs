//! What can go wrong, as values.

use std::fmt;

use kscope_spec::core::Failure;
use kscope_spec::say::say;
use kscope_sys::Errno;

use crate::denial::Denial;
use crate::log::VerifierLog;

/// An error of the loader, a map, a link or a reader.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The kernel has nothing of this name.
    NotFound {
        /// What was looked for, for example `tracepoint`.
        what: &'static str,
        /// Its name.
        name: String,
        /// Names that are there and near to it, the nearest first.
        near: Vec<String>,
    },
    /// A file system of the kernel is not mounted.
    NotMounted {
        /// Its type, for example `tracefs`.
        kind: &'static str,
        /// The command that mounts it.
        way_out: &'static str,
    },
    /// The kernel lacks a feature.
    Unsupported {
        /// The feature.
        feature: String,
        /// The kernel version or build option that brings it.
        since: Option<&'static str>,
    },
    /// The verifier refused a program.
    Rejected {
        /// The program.
        program: String,
        /// The error number.
        errno: Errno,
        /// What the verifier said.
        log: Box<VerifierLog>,
    },
    /// The verifier came to an instruction that needs what the target does not have.
    Unresolved {
        /// The program.
        program: String,
        /// What is not there.
        absent: Box<Absent>,
        /// What the verifier said.
        log: Box<VerifierLog>,
    },
    /// The kernel refused for want of permission.
    Permission {
        /// The system call or command, or what a program was to do.
        call: &'static str,
        /// The cause that was found.
        cause: Denial,
        /// The program that it keeps from being loaded; empty where it concerns none, or who has the error
        /// has the name beside it, as in [`ProgramError`](crate::ProgramError).
        about: Box<str>,
    },
    /// A number of a map is larger than the kernel takes.
    TooLarge {
        /// The map.
        map: String,
        /// Which of its numbers it is.
        number: MapNumber,
        /// Bytes of a key.
        key_size: u32,
        /// Bytes of a value.
        value_size: u32,
        /// The number of entries.
        max_entries: u32,
        /// What the kernel said.
        errno: Errno,
    },
    /// Another failure of a system call.
    Os {
        /// The system call or command.
        call: &'static str,
        /// The error number.
        errno: Errno,
        /// What it was about: a map, a program, a path.
        about: String,
    },
    /// The caller wanted to stop before all programs were loaded.
    Interrupted,
    /// What the caller gave makes no sense.
    Invalid {
        /// What is wrong with it.
        why: String,
    },
}

/// A number of a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapNumber {
    /// How many entries it has room for.
    Entries,
    /// Bytes of a key.
    Key,
    /// Bytes of a value.
    Value,
}

/// What a program needs and the target does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Absent {
    /// A type, member or constant (CO-RE).
    Relocation(Failure),
    /// A map that was left out of the load.
    Map(String),
    /// A function of the kernel.
    Function(String),
}

impl fmt::Display for Absent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Absent::Relocation(failure) => failure.fmt(f),
            Absent::Map(name) => write!(f, "map {name}, which was left out of this load"),
            Absent::Function(name) => {
                write!(
                    f,
                    "the kernel function {name}, which this kernel does not have"
                )
            }
        }
    }
}

impl Error {
    pub(crate) fn os(call: &'static str, errno: Errno, about: impl Into<String>) -> Error {
        Error::Os {
            call,
            errno,
            about: about.into(),
        }
    }

    pub(crate) fn invalid(why: impl Into<String>) -> Error {
        Error::Invalid { why: why.into() }
    }

    pub(crate) fn not_found(what: &'static str, name: impl Into<String>) -> Error {
        Error::NotFound {
            what,
            name: name.into(),
            near: Vec::new(),
        }
    }

    /// As [`Error::not_found`], with what is there and near to the name.
    #[cfg(any(
        feature = "explain",
        feature = "extend",
        feature = "multi",
        feature = "struct_ops"
    ))]
    pub(crate) fn not_found_near<'a>(
        what: &'static str,
        name: impl Into<String>,
        near: impl IntoIterator<Item = &'a str>,
    ) -> Error {
        Error::NotFound {
            what,
            name: name.into(),
            near: near.into_iter().map(str::to_owned).collect(),
        }
    }

    pub(crate) fn unsupported(feature: impl Into<String>, since: &'static str) -> Error {
        Error::Unsupported {
            feature: feature.into(),
            since: Some(since),
        }
    }

    /// Says what was left out of this build of the crate, and which Cargo feature brings it.
    #[cfg(not(all(
        feature = "buffers",
        feature = "extend",
        feature = "iter",
        feature = "kconfig",
        feature = "late",
        feature = "multi",
        feature = "struct_ops",
        feature = "uprobe"
    )))]
    pub(crate) fn left_out(family: &str, feature: &str) -> Error {
        Error::invalid(format!(
            "{family} were left out of this program (feature {feature} of kscope-bpf brings them)"
        ))
    }

    /// Clones it, by code that is compiled once: it is long, and would stand at every use.
    #[inline(never)]
    pub(crate) fn copied(&self) -> Error {
        self.clone()
    }

    /// Makes the error of a call that is not permitted, whatever it is for.
    pub(crate) fn permission(call: &'static str, cause: Denial) -> Error {
        let about = Box::default();
        Error::Permission { call, cause, about }
    }

    /// Names the program where the error does not.
    pub(crate) fn of_program(mut self, name: &str) -> Error {
        if let Error::Permission { about, .. } = &mut self {
            *about = name.into();
        }
        self
    }

    /// Says what can be done about it, where that is known and the message does not say it.
    pub fn way_out(&self) -> Option<&'static str> {
        match self {
            Error::Rejected { log, .. } => log.advice(),
            Error::Unresolved { absent, .. } => Some(match **absent {
                Absent::Relocation(_) => {
                    "ask bpf_core_field_exists, bpf_core_type_exists or bpf_core_enum_value_exists \
                     before, and do without where it says no"
                }
                Absent::Map(_) => "load with the map, or leave the program out as well",
                Absent::Function(_) => "ask bpf_ksym_exists before calling it",
            }),
            Error::Permission { cause, .. } => cause.way_out(),
            Error::NotFound { what, .. } => match *what {
                "kernel function" => Some(
                    "it may be inlined, of another kernel, or of a module that is not loaded: \
                     /proc/kallsyms has those that are there",
                ),
                "BTF-typed tracepoint" | "tracepoint" => Some(
                    "/sys/kernel/tracing/available_events has those that are there, by system and \
                     name",
                ),
                "function" => Some(
                    "a file that was stripped has the names of its exported functions alone: give an \
                     offset in it (PATH:0x1234), or a file with symbols",
                ),
                "USDT probe" => Some(
                    "`readelf -n FILE` lists those that are there (stapsdt); libraries have their own",
                ),
                "file" => Some(
                    "paths are those that this process sees: the files of another, in a container, say, \
                     are below /proc/PID/root",
                ),
                "program or library" => Some(
                    "a name without a folder is looked for in the usual ones (/usr/bin, \
                     /lib/x86_64-linux-gnu, …): give its whole path",
                ),
                "LSM hook" | "BPF iterator" | "kernel function for programs (kfunc)" => Some(
                    "the kernel's types have those that are there (bpf_lsm_*, bpf_iter_*, kfuncs)",
                ),
                "kernel symbol" | "kernel variable" => {
                    Some("declare it __weak and compare its address with 0, to do without")
                }
                "build option" => Some("declare it __weak: then it is 0 where it is not set"),
                _ => None,
            },
            Error::Os { errno, .. } if *errno == Errno::MFILE => Some(
                "each program, map and link is an open file: raise the limit (ulimit -n, RLIMIT_NOFILE), \
                 or close what is not used",
            ),
            Error::Os {
                call: "BPF_MAP_UPDATE_ELEM" | "BPF_MAP_UPDATE_BATCH",
                errno: Errno::TOO_BIG,
                ..
            } => Some(
                "the map is full, or the index of an array is not below max_entries: delete entries, \
                 or make the map larger before the load (a kind with LRU drops the oldest itself)",
            ),
            Error::Os {
                call: "BPF_MAP_DELETE_ELEM",
                errno: Errno::INVAL,
                ..
            } => Some("entries of an array are always there: write zeros instead"),
            Error::NotMounted { .. }
            | Error::Unsupported { .. }
            | Error::TooLarge { .. }
            | Error::Os { .. }
            | Error::Interrupted
            | Error::Invalid { .. } => None,
        }
    }

    /// Gives the error number, where a system call gave one.
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Error::Os { errno, .. }
            | Error::Rejected { errno, .. }
            | Error::TooLarge { errno, .. } => Some(*errno),
            Error::Unresolved { .. } => Some(Errno::INVAL),
            Error::Permission { .. } => Some(Errno::PERM),
            Error::NotFound { .. }
            | Error::NotMounted { .. }
            | Error::Unsupported { .. }
            | Error::Interrupted
            | Error::Invalid { .. } => None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::NotFound { what, name, near } => {
                say(f, "there is no {} {}", &[what, name])?;
                for (place, name) in near.iter().enumerate() {
                    f.write_str(if place == 0 { "; did you mean " } else { ", " })?;
                    f.write_str(name)?;
                }
                f.write_str(if near.is_empty() { "" } else { "?" })
            }
            Error::NotMounted { kind, way_out } => {
                say(f, "{} is not mounted (mount it: {})", &[kind, way_out])
            }
            Error::Unsupported {
                feature,
                since: None,
            } => say(f, "this kernel has no {}", &[feature]),
            Error::Unsupported {
                feature,
                since: Some(since),
            } => say(
                f,
                "this kernel has no {} (it comes with {})",
                &[feature, since],
            ),
            Error::Rejected {
                program,
                errno,
                log,
            } => {
                say(f, "the verifier refused program {}: ", &[program])?;
                match log.telling_line.as_str() {
                    "" => errno.fmt(f),
                    line => f.write_str(line),
                }
            }
            Error::Unresolved {
                program, absent, ..
            } => say(f, "program {} cannot do without {}", &[program, absent]),
            Error::Permission { call, cause, about } => {
                if !about.is_empty() {
                    say(f, "program {}: ", &[about])?;
                }
                say(f, "{} is not permitted: {}", &[call, cause])
            }
            Error::TooLarge {
                map,
                number,
                key_size,
                value_size,
                max_entries,
                errno,
            } => {
                say(f, "map {}: ", &[map])?;
                match number {
                    MapNumber::Entries => say(
                        f,
                        "{} entries of {} bytes of key and {} of value are more than the kernel makes room \
                         for: lower max_entries",
                        &[max_entries, key_size, value_size],
                    )?,
                    MapNumber::Value => say(
                        f,
                        "values of {} bytes are more than the kernel takes: keep less in each, or spread it \
                         over several entries",
                        &[value_size],
                    )?,
                    MapNumber::Key => say(
                        f,
                        "keys of {} bytes are more than the kernel takes: use a digest, or fewer members",
                        &[key_size],
                    )?,
                }
                say(f, " ({})", &[errno])
            }
            Error::Os { call, errno, about } if about.is_empty() => {
                say(f, "{}: {}", &[call, errno])
            }
            Error::Os { call, errno, about } => say(f, "{} of {}: {}", &[call, about, errno]),
            Error::Interrupted => f.write_str("interrupted"),
            Error::Invalid { why } => f.write_str(why),
        }
    }
}

impl std::error::Error for Error {}
