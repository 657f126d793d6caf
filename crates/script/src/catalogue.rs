//! What probes a kernel has, as the compiler is told.

use std::fmt;

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
}
