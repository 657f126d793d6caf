//! How bytes that an eBPF program wrote are to be read.

use std::sync::Arc;

use crate::names::NameTable;

/// Bytes of a family and an address.
const INTERNET_ADDRESS: u32 = 20;
/// Bytes of an Ethernet address.
const ETHERNET_ADDRESS: u32 = 6;

/// Type and layout of a value in host byte order, as it lies in an event, a key or a map value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DataType {
    /// No value: zero bytes.
    None,
    /// An integer of 1, 2, 4 or 8 bytes.
    Int {
        /// Width in bytes.
        bytes: u8,
        /// Two's complement if set.
        signed: bool,
    },
    /// One byte, 0 or 1.
    Bool,
    /// A C enumeration, printed by name where a name is asked for.
    Enum {
        /// Width in bytes.
        bytes: u8,
        /// Two's complement if set.
        signed: bool,
        /// Name of the enumeration without the word `enum`.
        name: Arc<str>,
        /// Values and their names.
        variants: Arc<[(i64, String)]>,
    },
    /// An address of 8 bytes.
    Pointer,
    /// Bytes up to the first NUL, or all `capacity` of them.
    Str {
        /// Size of the field in bytes.
        capacity: u32,
    },
    /// A `u32` length followed by that many bytes of a field of `capacity` bytes.
    Buffer {
        /// Size of the data in bytes, without the length.
        capacity: u32,
    },
    /// The arguments of a program: the `u32` number of their bytes, the `u32` number of those that
    /// are here, and a field of `capacity` bytes. Each argument ends in a NUL.
    Arguments {
        /// Size of the bytes in bytes, without the two numbers.
        capacity: u32,
    },
    /// `(1, "a")`: fields named by position.
    Tuple(Arc<[Field]>),
    /// A record of the script or a C structure or union.
    Record {
        /// The C name (`struct task_struct`), empty for a record of the script.
        name: Arc<str>,
        /// Fields in order.
        fields: Arc<[Field]>,
        /// Size in bytes including padding.
        size: u32,
    },
    /// `len` elements without padding between them.
    Array {
        /// Type of an element.
        element: Arc<DataType>,
        /// Number of elements.
        len: u32,
    },
    /// An `i64` stack id of the stack-trace map; negative is an errno: the stack was lost, or with
    /// `-EFAULT` there was none.
    KernelStack {
        /// How it is printed.
        mode: StackMode,
        /// Most frames kept.
        limit: u32,
    },
    /// An `i64` stack id followed by a `u32` process id and 4 bytes of padding.
    UserStack {
        /// How it is printed.
        mode: StackMode,
        /// Most frames kept.
        limit: u32,
    },
    /// A kernel address printed as its symbol.
    KernelSymbol,
    /// A user address followed by a `u32` process id and 4 bytes of padding.
    UserSymbol,
    /// Nanoseconds since boot, printed as wall-clock time by a `strftime` format.
    Timestamp {
        /// The format, with `%f` for microseconds.
        format: Arc<str>,
    },
    /// A `u32` user id printed as a user name.
    UserName,
    /// A `u32` process id, an `i32` directory descriptor of it (or `AT_FDCWD`), the directory's
    /// `u64` inode number, the `u64` device of its filesystem as the kernel numbers it and a path
    /// of at most `capacity` bytes; printed as the path from the root, where that can be found out.
    FullPath {
        /// Size of the path's field in bytes.
        capacity: u32,
    },
    /// An `i32` printed by name.
    Named {
        /// The names.
        table: NameTable,
    },
    /// A `u32` address family (2 or 10) and 16 bytes that begin with the address, in network byte
    /// order.
    InternetAddress,
    /// The 6 bytes of an Ethernet address.
    EthernetAddress,
    /// The `u64` id of a cgroup printed as its paths, by hierarchy.
    CgroupPath {
        /// Pattern of the hierarchies' names; empty for all.
        filter: Arc<str>,
    },
}

/// How a stack is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum StackMode {
    /// `symbol+offset`, one frame a line.
    #[default]
    Bpftrace,
    /// As `perf script` prints: address, symbol and module.
    Perf,
    /// Addresses alone.
    Raw,
    /// Build id and offset into the file; addresses where there is no file.
    BuildId,
}

/// A named part of a tuple, a record or an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Name; the position as a decimal number in tuples.
    pub name: String,
    /// Offset in bytes from the start of the whole.
    pub offset: u32,
    /// Type of the field.
    pub ty: DataType,
    /// Set for a C bit-field: which bits of the `ty`-sized storage unit.
    pub bits: Option<Bits>,
}

/// Position of a bit-field in its storage unit, counted from the least significant bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bits {
    /// Number of the lowest bit.
    pub shift: u8,
    /// Number of bits.
    pub width: u8,
}

impl DataType {
    /// Gives the size in bytes.
    #[must_use]
    pub fn size(&self) -> u32 {
        match self {
            DataType::None => 0,
            DataType::Int { bytes, .. } | DataType::Enum { bytes, .. } => u32::from(*bytes),
            DataType::Bool => 1,
            DataType::Pointer
            | DataType::KernelStack { .. }
            | DataType::KernelSymbol
            | DataType::CgroupPath { .. }
            | DataType::Timestamp { .. } => 8,
            DataType::UserStack { .. } | DataType::UserSymbol => 16,
            DataType::UserName | DataType::Named { .. } => 4,
            DataType::InternetAddress => INTERNET_ADDRESS,
            DataType::EthernetAddress => ETHERNET_ADDRESS,
            DataType::Str { capacity } => *capacity,
            DataType::Buffer { capacity } => capacity.saturating_add(4),
            DataType::Arguments { capacity } => capacity.saturating_add(8),
            DataType::FullPath { capacity } => rounded(capacity.saturating_add(24), 8),
            DataType::Tuple(fields) => {
                let end = fields
                    .last()
                    .map_or(0, |f| f.offset.saturating_add(f.ty.size()));
                rounded(end, self.align())
            }
            DataType::Record { size, .. } => *size,
            DataType::Array { element, len } => element.size().saturating_mul(*len),
        }
    }

    /// Gives the alignment in bytes that the compiler lays the value out with: 1, 2, 4 or 8.
    #[must_use]
    pub fn align(&self) -> u32 {
        match self {
            DataType::None | DataType::Bool | DataType::Str { .. } | DataType::EthernetAddress => 1,
            DataType::Int { bytes, .. } | DataType::Enum { bytes, .. } => u32::from(*bytes),
            DataType::Buffer { .. }
            | DataType::Arguments { .. }
            | DataType::UserName
            | DataType::Named { .. }
            | DataType::InternetAddress => 4,
            DataType::Tuple(fields) | DataType::Record { fields, .. } => {
                fields.iter().map(|f| f.ty.align()).max().unwrap_or(1)
            }
            DataType::Array { element, .. } => element.align(),
            _ => 8,
        }
        .max(1)
    }

    /// Lays fields out in order as C would, and gives them with the size of the whole.
    #[must_use]
    pub fn lay_out(parts: Vec<(String, DataType)>) -> (Arc<[Field]>, u32) {
        let mut offset = 0u32;
        let mut align = 1;
        let mut fields = Vec::with_capacity(parts.len());
        for (name, ty) in parts {
            align = align.max(ty.align());
            offset = rounded(offset, ty.align());
            let size = ty.size();
            fields.push(Field {
                name,
                offset,
                ty,
                bits: None,
            });
            offset = offset.saturating_add(size);
        }
        (fields.into(), rounded(offset, align))
    }
}

/// Rounds up to a multiple; what is too large for that stays as it is.
fn rounded(offset: u32, align: u32) -> u32 {
    offset.checked_next_multiple_of(align).unwrap_or(offset)
}

/// What the values of a map are. The aggregations are per-CPU and merged in user space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MapValueType {
    /// One value, the last one assigned.
    Plain(DataType),
    /// `count()`: `u64` per CPU, added up.
    Count,
    /// `sum()`: 64-bit per CPU, added up.
    Sum {
        /// Whether the total is signed.
        signed: bool,
    },
    /// `min()`: a 64-bit value and a `u64` that is 1 where the CPU has one.
    Min {
        /// Whether values compare as signed.
        signed: bool,
    },
    /// `max()`: laid out as `Min`.
    Max {
        /// Whether values compare as signed.
        signed: bool,
    },
    /// `avg()`: total and `u64` count, per CPU.
    Avg {
        /// Whether the total is signed.
        signed: bool,
    },
    /// `stats()`: laid out as `Avg`.
    Stats {
        /// Whether the total is signed.
        signed: bool,
    },
    /// `hist(n, bits)`: `u64` bucket counts per CPU; bucket numbering as [`Histogram`] says.
    ///
    /// [`Histogram`]: crate::Histogram
    Hist {
        /// 2^bits buckets per power of two, 0 to 5.
        bits: u8,
    },
    /// `lhist(n, min, max, step)`: `u64` counts per CPU: below `min`, the steps, `max` and above.
    Lhist {
        /// Lower bound of the first step.
        min: i64,
        /// Upper bound of the last step.
        max: i64,
        /// Width of a step.
        step: i64,
    },
    /// `tseries(n, interval, buckets, function)`: per CPU and bucket a 64-bit value, a `u64` that
    /// [`SeriesFunction`] tells of, and the `u64` number of the interval since 1970 that it is of.
    Series {
        /// Nanoseconds of an interval.
        interval: u64,
        /// How many intervals are kept: interval `n` lies in bucket `n % buckets`.
        buckets: u32,
        /// What becomes of several values of one interval.
        function: SeriesFunction,
        /// Whether values are signed.
        signed: bool,
    },
}

/// What `tseries` makes of several values of one interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeriesFunction {
    /// The last holds; the word beside the value is when it came.
    Last,
    /// Their average; the word is their number.
    Avg,
    /// The smallest; the word is 1 where there is one.
    Min,
    /// The largest; the word is 1 where there is one.
    Max,
    /// Their sum; the word is not used.
    Sum,
}

/// Bytes of a bucket of a [`MapValueType::Series`].
pub const SERIES_BUCKET: u32 = 24;

impl MapValueType {
    /// Gives the number of buckets of a histogram, and 0 for the others.
    ///
    /// Log2 buckets, with `k = bits`: bucket 0 holds negative numbers; bucket `1 + n` holds the
    /// value `n` of the linear part `n < 2^(k+1)`; above it each power of two `p > k` has `2^k`
    /// buckets: `1 + (p - k + 1) * 2^k + ((n >> (p - k)) & (2^k - 1))`.
    ///
    /// Linear buckets: 0 is below `min`, `1 + (n - min) / step` the steps, the last `max` and above.
    #[must_use]
    pub fn buckets(&self) -> u32 {
        match self {
            MapValueType::Hist { bits } => {
                let k = u32::from(*bits).min(5);
                1 + (64 - k + 1) * (1 << k)
            }
            MapValueType::Lhist { min, max, step } => {
                let span = max.saturating_sub(*min);
                u32::try_from(span.checked_div(*step).unwrap_or(0))
                    .unwrap_or(0)
                    .saturating_add(2)
            }
            _ => 0,
        }
    }

    /// Gives the size in bytes of one CPU's value.
    #[must_use]
    pub fn size(&self) -> u32 {
        match self {
            MapValueType::Plain(ty) => ty.size(),
            MapValueType::Count | MapValueType::Sum { .. } => 8,
            MapValueType::Min { .. }
            | MapValueType::Max { .. }
            | MapValueType::Avg { .. }
            | MapValueType::Stats { .. } => 16,
            MapValueType::Hist { .. } | MapValueType::Lhist { .. } => {
                self.buckets().saturating_mul(8)
            }
            MapValueType::Series { buckets, .. } => buckets.saturating_mul(SERIES_BUCKET),
        }
    }

    /// Says whether each CPU has a value of its own.
    #[must_use]
    pub fn is_per_cpu(&self) -> bool {
        !matches!(self, MapValueType::Plain(_))
    }
}
