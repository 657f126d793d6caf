//! How a plan is written: numbers in groups of seven bits, lowest first; texts and lists after
//! their length; enumerations after the number of their variant.
//!
//! A change of what is written here is a change of [`crate::plan::PLAN_VERSION`].

use std::sync::Arc;

use kscope_rows::{Bits, DataType, Field, MapValueType, NameTable, SeriesFunction, StackMode};
use kscope_spec::{LateId, LateKind, LateValue, MapId, ProgramId};

use crate::diagnostic::Span;
use crate::plan::{
    Attach, Config, EventMap, MapPlan, MissingProbes, OptionCondition, OptionDecl, OptionKind,
    OptionMeaning, PLAN_VERSION, Plan, ProbePlan, Rate, ServiceMaps, Site, SiteKind,
};

/// Lists inside one another at most.
const LEVELS: u32 = 64;

/// What cannot be read: where, and what should stand there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Damage {
    pub(super) offset: usize,
    pub(super) what: &'static str,
}

pub(super) type Result<T> = std::result::Result<T, Damage>;

/// What can be written and read.
pub(super) trait Wire: Sized {
    fn put(&self, out: &mut Vec<u8>);
    fn take(from: &mut Reader<'_>) -> Result<Self>;
}

/// Bytes that are being read.
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    levels: u32,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8], at: usize) -> Reader<'a> {
        Reader {
            bytes,
            at,
            levels: 0,
        }
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.at >= self.bytes.len()
    }

    pub(super) fn damage(&self, what: &'static str) -> Damage {
        Damage {
            offset: self.at,
            what,
        }
    }

    fn byte(&mut self, what: &'static str) -> Result<u8> {
        let byte = self.bytes.get(self.at).copied();
        let byte = byte.ok_or_else(|| self.damage(what))?;
        self.at += 1;
        Ok(byte)
    }

    fn number(&mut self) -> Result<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte("a number")?;
            let low = u64::from(byte & 0x7f);
            if low.checked_shl(shift).map(|v| v >> shift) != Some(low) {
                return Err(self.damage("a number of 64 bits"));
            }
            value |= low << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(self.damage("a number of 64 bits"))
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8]> {
        let end = self.at.checked_add(len);
        let found = end.and_then(|end| self.bytes.get(self.at..end));
        let found = found.ok_or_else(|| self.damage("as many bytes as were said"))?;
        self.at += len;
        Ok(found)
    }

    /// Reads the number of elements of a list, each of which takes a byte or more.
    fn len(&mut self) -> Result<usize> {
        let len = self.number()?;
        let left = self.bytes.len().saturating_sub(self.at);
        match usize::try_from(len) {
            Ok(len) if len <= left => Ok(len),
            _ => Err(self.damage("a length within the section")),
        }
    }

    fn inside<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        if self.levels >= LEVELS {
            return Err(self.damage("fewer types inside one another"));
        }
        self.levels += 1;
        let value = read(self);
        self.levels -= 1;
        value
    }
}

fn put_number(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

macro_rules! unsigned {
    ($($name:ty),*) => {$(
        impl Wire for $name {
            fn put(&self, out: &mut Vec<u8>) {
                put_number(u64::from(*self), out);
            }

            fn take(from: &mut Reader<'_>) -> Result<Self> {
                let value = from.number()?;
                value.try_into().map_err(|_| from.damage("a smaller number"))
            }
        }
    )*};
}

unsigned!(u8, u32, u64);

impl Wire for i64 {
    fn put(&self, out: &mut Vec<u8>) {
        // Small negative numbers are short too.
        put_number(((self << 1) ^ (self >> 63)) as u64, out);
    }

    fn take(from: &mut Reader<'_>) -> Result<i64> {
        let value = from.number()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }
}

impl Wire for bool {
    fn put(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }

    fn take(from: &mut Reader<'_>) -> Result<bool> {
        match from.byte("yes or no")? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(from.damage("yes or no")),
        }
    }
}

fn put_text(text: &str, out: &mut Vec<u8>) {
    put_number(text.len() as u64, out);
    out.extend_from_slice(text.as_bytes());
}

impl Wire for String {
    fn put(&self, out: &mut Vec<u8>) {
        put_text(self, out);
    }

    fn take(from: &mut Reader<'_>) -> Result<String> {
        let len = from.len()?;
        let bytes = from.take(len)?;
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(text.to_owned()),
            Err(_) => Err(from.damage("text")),
        }
    }
}

impl Wire for Arc<str> {
    fn put(&self, out: &mut Vec<u8>) {
        put_text(self, out);
    }

    fn take(from: &mut Reader<'_>) -> Result<Arc<str>> {
        String::take(from).map(Into::into)
    }
}

impl<T: Wire> Wire for Option<T> {
    fn put(&self, out: &mut Vec<u8>) {
        self.is_some().put(out);
        if let Some(value) = self {
            value.put(out);
        }
    }

    fn take(from: &mut Reader<'_>) -> Result<Option<T>> {
        match bool::take(from)? {
            true => from.inside(T::take).map(Some),
            false => Ok(None),
        }
    }
}

fn put_list<T: Wire>(list: &[T], out: &mut Vec<u8>) {
    put_number(list.len() as u64, out);
    for element in list {
        element.put(out);
    }
}

impl<T: Wire> Wire for Vec<T> {
    fn put(&self, out: &mut Vec<u8>) {
        put_list(self, out);
    }

    fn take(from: &mut Reader<'_>) -> Result<Vec<T>> {
        let len = from.len()?;
        from.inside(|from| {
            // Grows with what is really there.
            let mut list = Vec::new();
            for _ in 0..len {
                list.push(T::take(from)?);
            }
            Ok(list)
        })
    }
}

impl<T: Wire> Wire for Arc<[T]> {
    fn put(&self, out: &mut Vec<u8>) {
        put_list(self, out);
    }

    fn take(from: &mut Reader<'_>) -> Result<Arc<[T]>> {
        Vec::take(from).map(Into::into)
    }
}

impl Wire for Arc<DataType> {
    fn put(&self, out: &mut Vec<u8>) {
        (**self).put(out);
    }

    fn take(from: &mut Reader<'_>) -> Result<Arc<DataType>> {
        from.inside(DataType::take).map(Arc::new)
    }
}

impl Wire for (i64, String) {
    fn put(&self, out: &mut Vec<u8>) {
        self.0.put(out);
        self.1.put(out);
    }

    fn take(from: &mut Reader<'_>) -> Result<(i64, String)> {
        Ok((i64::take(from)?, String::take(from)?))
    }
}

macro_rules! numbers {
    ($($name:ident),*) => {$(
        impl Wire for $name {
            fn put(&self, out: &mut Vec<u8>) {
                self.0.put(out);
            }

            fn take(from: &mut Reader<'_>) -> Result<Self> {
                Wire::take(from).map($name)
            }
        }
    )*};
}

numbers!(LateId, MapId, ProgramId);

/// Writes the fields in this order.
macro_rules! record {
    ($name:ident { $($field:ident),* $(,)? }) => {
        impl Wire for $name {
            fn put(&self, out: &mut Vec<u8>) {
                let $name { $($field),* } = self;
                $($field.put(out);)*
            }

            fn take(from: &mut Reader<'_>) -> Result<Self> {
                $(let $field = Wire::take(from)?;)*
                Ok($name { $($field),* })
            }
        }
    };
}

/// Writes the number of the variant, then its parts in this order.
macro_rules! choice {
    ($name:ident { $(
        $number:literal = $variant:ident $(( $part:ident ))? $({ $($field:ident),* })?
    ),* $(,)? }) => {
        impl Wire for $name {
            fn put(&self, out: &mut Vec<u8>) {
                match self {
                    $($name::$variant $(( $part ))? $({ $($field),* })? => {
                        out.push($number);
                        $($part.put(out);)?
                        $($($field.put(out);)*)?
                    })*
                }
            }

            fn take(from: &mut Reader<'_>) -> Result<Self> {
                Ok(match from.byte(stringify!($name))? {
                    $($number => {
                        $(let $part = Wire::take(from)?;)?
                        $($(let $field = Wire::take(from)?;)*)?
                        $name::$variant $(( $part ))? $({ $($field),* })?
                    })*
                    _ => return Err(from.damage(stringify!($name))),
                })
            }
        }
    };
}

impl Wire for Plan {
    fn put(&self, out: &mut Vec<u8>) {
        let Plan {
            // Stands before all else.
            version: _,
            sites,
            maps,
            probes,
            options,
            config,
            service,
        } = self;
        sites.put(out);
        maps.put(out);
        probes.put(out);
        options.put(out);
        config.put(out);
        service.put(out);
    }

    fn take(from: &mut Reader<'_>) -> Result<Plan> {
        Ok(Plan {
            version: PLAN_VERSION,
            sites: Wire::take(from)?,
            maps: Wire::take(from)?,
            probes: Wire::take(from)?,
            options: Wire::take(from)?,
            config: Wire::take(from)?,
            service: Wire::take(from)?,
        })
    }
}

record!(Site {
    kind,
    fields,
    size,
    span
});
record!(Span { start, end });
record!(Field {
    name,
    offset,
    ty,
    bits
});
record!(Bits { shift, width });
record!(MapPlan {
    name,
    map,
    key,
    value,
    per_cpu,
    sized
});
record!(ProbePlan {
    program,
    name,
    attach,
    patterns,
    open,
    when
});
record!(OptionCondition {
    option,
    value,
    negated
});
record!(OptionDecl {
    name,
    kind,
    meaning,
    help,
    late,
    offset,
    masks,
    span
});
record!(ServiceMaps {
    events,
    counters,
    exit,
    kernel_stacks,
    user_stacks,
    options
});
record!(LateValue { name, kind });
record!(Config {
    max_map_keys,
    max_strlen,
    max_probes,
    max_bpf_progs,
    max_cat_bytes,
    perf_rb_pages,
    log_size,
    missing_probes,
    print_maps_on_exit,
    str_trunc_trailer,
    stack_mode,
    perf_buffer,
});
choice!(EventMap { 0 = Ring(map), 1 = Perf(map) });
choice!(SiteKind {
    0 = Printf { format },
    1 = Message { format, error },
    2 = Print,
    3 = PrintEntry { map },
    4 = PrintMap { map, top, div },
    5 = Clear { map },
    6 = Zero { map },
    7 = Time { format },
    8 = Exit,
    9 = Cat { format },
    10 = System { format },
    11 = RuntimeError { message },
    12 = MapFull { map },
    13 = Join { separator },
    14 = Unwatch,
    15 = HelperFailed { helper },
});
choice!(Attach {
    0 = Begin,
    1 = End,
    2 = Signal,
    3 = Tracepoint { category, event },
    4 = RawTracepoint { event },
    5 = Kprobe { function, offset },
    6 = Kretprobe { function },
    7 = Interval { nanoseconds },
    8 = Profile { rate },
    9 = Uprobe { path, function, offset },
    10 = Uretprobe { path, function },
    11 = Usdt { path, provider, name, index },
    20 = FunctionEntry { function },
    21 = FunctionExit { function },
    22 = PerfEvent {
        hardware,
        event,
        count
    },
    23 = Iterator { name },
    24 = KprobeAddress { address },
    25 = Watchpoint {
        address,
        length,
        access
    },
    26 = Test { name },
    27 = Bench { name },
});
choice!(Rate { 0 = Hertz(rate), 1 = Nanoseconds(period) });
choice!(OptionKind { 0 = Bool(value), 1 = Int(value), 2 = Str { default, capacity } });
choice!(OptionMeaning {
    0 = Plain,
    1 = Count,
    2 = Errno,
    3 = OpenFlags,
    4 = User,
    5 = Cgroup,
    6 = Duration,
    7 = Choice(texts),
    8 = Process,
    9 = Command,
    10 = Disk,
    11 = Range { least, most },
    12 = Signal,
    13 = Capability,
});
choice!(MissingProbes { 0 = Error, 1 = Warn, 2 = Ignore });
choice!(NameTable { 0 = Error, 1 = Signal, 2 = Syscall });
choice!(StackMode { 0 = Bpftrace, 1 = Perf, 2 = Raw, 3 = BuildId });
choice!(LateKind {
    0 = Number,
    1 = KernelSymbol(symbol),
    2 = CpuCount,
    3 = PidNamespaceDev,
    4 = PidNamespaceInode,
    5 = OwnPid,
    6 = KernelSymbolOrZero(symbol),
});
choice!(DataType {
    0 = None,
    1 = Int { bytes, signed },
    2 = Bool,
    3 = Enum { bytes, signed, name, variants },
    4 = Pointer,
    5 = Str { capacity },
    6 = Buffer { capacity },
    7 = Tuple(fields),
    8 = Record { name, fields, size },
    9 = Array { element, len },
    10 = KernelStack { mode, limit },
    11 = UserStack { mode, limit },
    12 = KernelSymbol,
    13 = UserSymbol,
    14 = Timestamp { format },
    15 = UserName,
    16 = FullPath { capacity },
    17 = Named { table },
    18 = InternetAddress,
    19 = EthernetAddress,
    20 = CgroupPath { filter },
    21 = Arguments { capacity },
});
choice!(SeriesFunction { 0 = Last, 1 = Avg, 2 = Min, 3 = Max, 4 = Sum });
choice!(MapValueType {
    0 = Plain(ty),
    1 = Count,
    2 = Sum { signed },
    3 = Min { signed },
    4 = Max { signed },
    5 = Avg { signed },
    6 = Stats { signed },
    7 = Hist { bits },
    8 = Lhist { min, max, step },
    9 = Series { interval, buckets, function, signed },
});
