//! Decoded values, with names resolved.

use std::sync::Arc;

use crate::data_type::StackMode;

/// One decoded value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Value {
    /// No value.
    None,
    /// `true` or `false`.
    Bool(bool),
    /// A signed integer.
    Int(i64),
    /// An unsigned integer.
    Uint(u64),
    /// An enumerator, with its name where it has one.
    Enum {
        /// The number.
        value: i64,
        /// The enumerator's name.
        name: Option<Arc<str>>,
    },
    /// An address.
    Pointer(u64),
    /// A string: bytes of no known encoding.
    Str(Vec<u8>),
    /// A buffer of bytes.
    Buffer(Vec<u8>),
    /// The arguments of a program, its name among them: bytes of no known encoding.
    Arguments(Vec<Vec<u8>>),
    /// A tuple.
    Tuple(Vec<Value>),
    /// A record of the script or a C structure.
    Record(Vec<(Arc<str>, Value)>),
    /// An array.
    Array(Vec<Value>),
    /// A stack.
    Stack(Stack),
    /// A symbol, wall-clock time, user name or the like, resolved to text.
    Text(String),
    /// `stats()`. An `avg()` is the average alone, as an integer.
    Stats {
        /// Number of values.
        count: u64,
        /// Their sum; the bits of a `u64` unless `signed`.
        total: i64,
        /// Their average cut towards zero, divided by what `print` was told to divide by;
        /// the bits of a `u64` unless `signed`.
        average: i64,
        /// Whether sum and average are signed.
        signed: bool,
    },
    /// `hist()` or `lhist()`.
    Histogram(Histogram),
    /// `tseries()`.
    Series(Series),
}

/// Values over time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Series {
    /// Intervals in order, without a gap once they are part of a map's output.
    pub points: Vec<Point>,
}

/// An interval of a [`Series`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Point {
    /// Number of the interval, counted from 1970.
    pub number: u64,
    /// When it began: nanoseconds since 1970.
    pub start: u64,
    /// The local time of that, to the second: `12:00:00`.
    pub time: String,
    /// Its value, or [`Value::None`].
    pub value: Value,
}

/// A stack, innermost frame first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Stack {
    /// The frames.
    pub frames: Vec<Frame>,
    /// Set when the kernel could not keep the stack: the errno, positive.
    pub lost: Option<i32>,
    /// How the script asked for it to be printed.
    pub mode: StackMode,
    /// Whether it is a stack of a process rather than of the kernel.
    pub user: bool,
}

/// One frame of a stack.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Frame {
    /// The address.
    pub address: u64,
    /// The symbol, where known.
    pub symbol: Option<Arc<str>>,
    /// Offset in bytes from the symbol.
    pub offset: u64,
    /// Module or file the symbol belongs to, where it is not the kernel itself.
    pub module: Option<Arc<str>>,
}

/// A histogram: its buckets from the first to the last that is not empty, gaps included.
///
/// It has no buckets when all counts are zero.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Histogram {
    /// Buckets in ascending order.
    pub buckets: Vec<Bucket>,
    /// How the bounds of the buckets follow from each other.
    pub scale: Scale,
}

/// How the bounds of a histogram's buckets follow from each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scale {
    /// `hist`: each power of two is cut into `2^bits` buckets.
    Log2 {
        /// 0 to 5.
        bits: u8,
    },
    /// `lhist`: buckets of equal width.
    Linear {
        /// Width of a bucket.
        step: i64,
    },
}

/// One bucket of a histogram: `min` inclusive to `max` inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bucket {
    /// Smallest value, or none for the bucket below all.
    pub min: Option<i64>,
    /// Largest value, or none for the bucket above all.
    pub max: Option<i64>,
    /// How many values.
    pub count: u64,
}
