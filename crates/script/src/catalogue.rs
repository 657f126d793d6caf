//! What probes a kernel has, as the compiler is told.

pub mod syscalls;
#[cfg(test)]
mod tests;
mod text;
mod tracefs;
mod user;

use std::fmt;

pub use kscope_spec::{UsdtArgument, UsdtArgumentPlace};
pub use text::{TextCatalogue, TextError};
pub use tracefs::parse_format;
pub use user::{Absent, Language, UsdtProbe, UserFunction};

use crate::plan::Attach;

/// What a look-up in a catalogue gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lookup<T> {
    /// It exists.
    Found(T),
    /// It does not exist.
    NotFound,
    /// Nobody can say: the reason, for example `tracefs needs root`.
    Unavailable(String),
}

/// A field of a tracepoint's record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FormatField {
    /// The C type as the kernel writes it, array dimensions included: `char[16]`.
    pub ty: String,
    /// Its name.
    pub name: String,
    /// Offset in bytes from the start of the record.
    pub offset: u32,
    /// Size in bytes.
    pub size: u32,
    /// Whether the kernel says that it has a sign.
    pub signed: bool,
}

/// The record of a tracepoint.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Format {
    /// Its fields in order, the common ones first.
    pub fields: Vec<FormatField>,
}

/// A tracepoint's name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EventName {
    /// Subsystem, for example `sched`.
    pub category: String,
    /// Event.
    pub event: String,
}

impl fmt::Display for EventName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.category, self.event)
    }
}

/// What probes a kernel has.
pub trait Catalogue {
    /// Gives the tracepoints that match two patterns, sorted; `*` stands for any text.
    fn tracepoints(&self, category: &str, event: &str) -> Lookup<Vec<EventName>>;

    /// Gives the record of a tracepoint.
    fn format(&self, category: &str, event: &str) -> Lookup<Format>;

    /// Gives the raw tracepoints that match a pattern, sorted.
    fn raw_tracepoints(&self, event: &str) -> Lookup<Vec<String>>;

    /// Gives the kernel functions that can be probed and match a pattern, sorted.
    fn functions(&self, pattern: &str) -> Lookup<Vec<String>>;

    /// Gives the functions of modules that match two patterns, sorted: those of the kernel itself,
    /// whose module is `vmlinux`, as they are, others as `module:function`.
    fn functions_of(&self, module: &str, pattern: &str) -> Lookup<Vec<String>> {
        match matches(module, "vmlinux") {
            true => self.functions(pattern),
            false => Lookup::NotFound,
        }
    }

    /// Gives the functions that match a pattern, of the programs and libraries that match another,
    /// sorted. A path may be the short name of a library or program. An empty name stands for no
    /// function: only the file is looked up.
    ///
    /// # Errors
    ///
    /// [`Absent`] where there is none.
    fn user_functions(
        &self,
        _path: &str,
        _language: Option<Language>,
        _function: &str,
    ) -> Result<Vec<UserFunction>, Absent> {
        Err(not_looked_at())
    }

    /// Gives names of functions that are near to one which [`Catalogue::user_functions`] did not find
    /// in a file, the nearest first. Asked only where somebody is told: all names are compared.
    fn near_user_functions(
        &self,
        _path: &str,
        _language: Option<Language>,
        _function: &str,
    ) -> Vec<String> {
        Vec::new()
    }

    /// Gives the places of the USDT probes that match patterns.
    ///
    /// # Errors
    ///
    /// [`Absent`] where there is none.
    fn usdt(&self, _path: &str, _provider: &str, _name: &str) -> Result<Vec<UsdtProbe>, Absent> {
        Err(not_looked_at())
    }

    /// Gives how many bytes a symbol lies behind an attach point in the same file, and its size.
    ///
    /// # Errors
    ///
    /// [`Absent`] where there is no such symbol.
    fn user_distance(&self, _from: &Attach, _symbol: &str) -> Result<(i64, u64), Absent> {
        Err(not_looked_at())
    }
}

fn not_looked_at() -> Absent {
    Absent::Unavailable("programs and libraries are not looked at here".to_owned())
}

/// Says whether a name in an attach point is a pattern.
#[must_use]
pub fn is_pattern(name: &str) -> bool {
    name.contains(['*', '?', '['])
}

/// Says whether a name matches a pattern: `*` is any text, `?` any one character, and `[abc]`,
/// `[a-z]` one of those.
#[must_use]
pub fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
    let (mut p, mut n) = (0, 0);
    // Where to go on after a mismatch: behind the last `*`, one character later.
    let mut retry: Option<(usize, usize)> = None;
    while n < name.len() {
        let step = match pattern.get(p) {
            Some(b'*') => {
                retry = Some((p + 1, n));
                p += 1;
                continue;
            }
            Some(b'?') => Some(1),
            Some(b'[') => class_len(&pattern[p..], name[n]),
            Some(c) if *c == name[n] => Some(1),
            _ => None,
        };
        match (step, retry) {
            (Some(step), _) => {
                p += step;
                n += 1;
            }
            (None, Some((behind, at))) => {
                retry = Some((behind, at + 1));
                (p, n) = (behind, at + 1);
            }
            (None, None) => return false,
        }
    }
    pattern[p.min(pattern.len())..].iter().all(|c| *c == b'*')
}

/// Gives the length of a class such as `[a-z]` where it has the character.
fn class_len(pattern: &[u8], c: u8) -> Option<usize> {
    let end = pattern.iter().position(|b| *b == b']')?;
    let mut inside = pattern.get(1..end)?;
    let mut found = false;
    while let [first, rest @ ..] = inside {
        inside = match rest {
            [b'-', last, rest @ ..] => {
                found |= (*first..=*last).contains(&c);
                rest
            }
            _ => {
                found |= *first == c;
                rest
            }
        };
    }
    found.then_some(end + 1)
}
