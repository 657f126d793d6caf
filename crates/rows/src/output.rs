//! What a running script has to say: given by the runtime, rendered by views.

use std::sync::Arc;

use crate::data_type::MapValueType;
use crate::format::Format;
use crate::merge::decode_map_value;
use crate::order::{divide, sort_entries};
use crate::resolve::Resolve;
use crate::schema::{Row, Schema};
use crate::value::Value;

/// One thing to render.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// All probes are attached: how many.
    AttachedProbes(u64),
    /// `printf`: as many values as the format has conversions.
    Printf {
        /// The format.
        format: Arc<Format>,
        /// The arguments.
        values: Vec<Value>,
    },
    /// `errorf` or `warnf`.
    Message {
        /// Which of them.
        severity: Severity,
        /// Where in the script.
        place: Arc<Place>,
        /// The format.
        format: Arc<Format>,
        /// The arguments.
        values: Vec<Value>,
    },
    /// `print` of any value, also that of one entry of a map.
    Value(Value),
    /// `print` of a record of the script.
    Row {
        /// What the row consists of.
        schema: Arc<Schema>,
        /// The values, one for each column.
        row: Row,
    },
    /// `print` of a map, or a map at the end of the run.
    Map(MapOutput),
    /// `time`, formatted.
    Time(String),
    /// `cat`: the content of the file.
    Cat(Vec<u8>),
    /// `join`: the joined strings, without a newline.
    Join(Vec<u8>),
    /// `system`: what the command printed.
    System(Vec<u8>),
    /// What `cat` or `system` could not do.
    Problem(String),
    /// What came of a test or a benchmark, for readers of JSON.
    Result {
        /// `test_result` or `benchmark_result`.
        kind: &'static str,
        /// The probe's name.
        name: String,
        /// What is told of it.
        value: Value,
    },
    /// Events lost since the last of these.
    Lost(u64),
    /// An operation that failed in the kernel.
    Failure(RuntimeFailure),
    /// The events are over; maps may follow.
    End,
}

/// How bad a [`Output::Message`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// `warnf`.
    Warning,
    /// `errorf`.
    Error,
}

/// A place in a script.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Place {
    /// Name of the file, `stdin` for a script of the command line.
    pub file: String,
    /// Line, from 1.
    pub line: u32,
    /// Column, from 1.
    pub column: u32,
    /// The place as diagnostics begin with it: `stdin:1:9-62`.
    pub text: String,
    /// The source line and its underline, as diagnostics show them.
    pub context: Vec<String>,
}

/// An operation that failed in the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuntimeFailure {
    /// Where in the script.
    pub place: Arc<Place>,
    /// What failed: the error's text.
    pub message: String,
    /// The helper that failed, where it was one.
    pub helper: Option<HelperFailure>,
}

/// A helper that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HelperFailure {
    /// Name without `bpf_`.
    pub name: String,
    /// What it returned: a negative errno.
    pub code: i32,
    /// That errno's text, which JSON has in place of the message.
    pub error: String,
}

/// A map with its entries in the order they are printed in.
#[derive(Clone, Debug, PartialEq)]
pub struct MapOutput {
    /// Name with its `@`.
    pub name: Arc<str>,
    /// What its values are.
    pub kind: MapKind,
    /// The entries.
    pub content: MapContent,
}

/// Kinds of maps that views tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapKind {
    /// Values that fit on a line.
    Plain,
    /// `avg` and `stats`.
    Stats,
    /// `hist` and `lhist`.
    Histogram,
    /// `tseries`.
    Series,
}

/// The entries of a map.
#[derive(Clone, Debug, PartialEq)]
pub enum MapContent {
    /// A map without keys.
    Scalar(Value),
    /// Keys and values in order. At the end of the run statistics without keys that nothing was
    /// stored in are one of these, without entries.
    Keyed(Vec<(Value, Value)>),
}

impl MapKind {
    /// Gives the kind of a map by what its values are.
    #[must_use]
    pub fn of(ty: &MapValueType) -> MapKind {
        match ty {
            MapValueType::Avg { .. } | MapValueType::Stats { .. } => MapKind::Stats,
            MapValueType::Hist { .. } | MapValueType::Lhist { .. } => MapKind::Histogram,
            MapValueType::Series { .. } => MapKind::Series,
            _ => MapKind::Plain,
        }
    }
}

impl MapOutput {
    /// Makes the output of a map with keys: sorts it, keeps the last `top` entries (0 for all)
    /// and divides values by `div` (0 for no division).
    #[must_use]
    pub fn keyed(
        name: Arc<str>,
        ty: &MapValueType,
        mut entries: Vec<(Value, Value)>,
        top: u32,
        div: u64,
    ) -> MapOutput {
        sort_entries(ty, &mut entries);
        let surplus = match (top, ty) {
            // bpftrace prints all series.
            (0, _) | (_, MapValueType::Series { .. }) => 0,
            (top, _) => entries.len().saturating_sub(top as usize),
        };
        let entries = entries.into_iter().skip(surplus);
        let content = entries
            .map(|(key, value)| (key, divide(value, div)))
            .collect();
        MapOutput {
            name,
            kind: MapKind::of(ty),
            content: MapContent::Keyed(content),
        }
    }

    /// Makes the output of a map without keys.
    #[must_use]
    pub fn scalar(name: Arc<str>, ty: &MapValueType, value: Value, div: u64) -> MapOutput {
        let content = MapContent::Scalar(divide(value, div));
        MapOutput {
            name,
            kind: MapKind::of(ty),
            content,
        }
    }

    /// Makes what `print` shows of a map without keys that nothing was stored in: zero.
    ///
    /// Histograms then print nothing.
    #[must_use]
    pub fn empty_scalar(
        name: Arc<str>,
        ty: &MapValueType,
        resolve: &dyn Resolve,
    ) -> Option<MapOutput> {
        let kind = MapKind::of(ty);
        if matches!(kind, MapKind::Histogram | MapKind::Series) {
            return None;
        }
        let zero = vec![0; ty.size() as usize];
        let content = MapContent::Scalar(decode_map_value(ty, &zero, resolve));
        Some(MapOutput {
            name,
            kind,
            content,
        })
    }
}

#[cfg(test)]
mod tests;
