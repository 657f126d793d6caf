//! How types are called in messages.

use std::fmt;

use crate::hir::{FieldType, Int, Type};
use kscope_rows::{MapValueType, StackMode};

impl fmt::Display for Int {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.signed { "" } else { "u" };
        write!(f, "{sign}int{}", u32::from(self.bytes) * 8)
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Type::Void => f.write_str("void"),
            Type::Bool => f.write_str("bool"),
            Type::Int(int) => int.fmt(f),
            Type::Enum(e) => write!(f, "enum {}", e.name),
            Type::Pointer { to, .. } => write!(f, "{to} *"),
            Type::Struct(s) => f.write_str(&s.name),
            Type::Array { element, len } => write!(f, "{element}[{len}]"),
            Type::Str { capacity } => write!(f, "string[{capacity}]"),
            Type::Buffer { capacity } => write!(f, "buffer[{capacity}]"),
            Type::Tuple(fields) => {
                f.write_str("(")?;
                list(f, fields, false)?;
                f.write_str(")")
            }
            Type::Record(fields) => {
                f.write_str("record { ")?;
                list(f, fields, true)?;
                f.write_str(" }")
            }
            Type::KernelStack { mode, limit } => match (mode, *limit) {
                (StackMode::Bpftrace, super::builtin::FRAMES) => f.write_str("kstack"),
                _ => write!(f, "kstack({mode:?}, {limit})"),
            },
            Type::UserStack { mode, limit } => match (mode, *limit) {
                (StackMode::Bpftrace, super::builtin::FRAMES) => f.write_str("ustack"),
                _ => write!(f, "ustack({mode:?}, {limit})"),
            },
            Type::KernelSymbol => f.write_str("ksym"),
            Type::UserSymbol => f.write_str("usym"),
            Type::Timestamp { .. } => f.write_str("timestamp"),
            Type::UserName => f.write_str("username"),
            Type::FullPath(_) => f.write_str("fullpath"),
            Type::Named(_)
            | Type::Arguments { .. }
            | Type::InternetAddress
            | Type::EthernetAddress
            | Type::CgroupPath { .. } => self.data_type().fmt(f),
        }
    }
}

fn list(f: &mut fmt::Formatter<'_>, fields: &[FieldType], named: bool) -> fmt::Result {
    for (i, field) in fields.iter().enumerate() {
        if i > 0 {
            f.write_str(if named { ", " } else { "," })?;
        }
        if named {
            write!(f, ".{} = ", field.name)?;
        }
        fmt::Display::fmt(&field.ty, f)?;
    }
    Ok(())
}

/// Gives the name of a map's aggregation as its function is called.
pub(super) fn aggregate_name(value: &MapValueType) -> &'static str {
    match value {
        MapValueType::Plain(_) => "value",
        MapValueType::Count => "count",
        MapValueType::Sum { .. } => "sum",
        MapValueType::Min { .. } => "min",
        MapValueType::Max { .. } => "max",
        MapValueType::Avg { .. } => "avg",
        MapValueType::Stats { .. } => "stats",
        MapValueType::Hist { .. } => "hist",
        MapValueType::Lhist { .. } => "lhist",
        MapValueType::Series { .. } => "tseries",
    }
}
