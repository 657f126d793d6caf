//! Names of types as diagnostics and schemas show them.

use std::fmt;

use crate::data_type::DataType;
use crate::names::NameTable;

impl fmt::Display for DataType {
    /// Writes the type's name as bpftrace's diagnostics do: `uint64`, `string[16]`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DataType::None => f.write_str("none"),
            DataType::Int { bytes, signed } => {
                let sign = if *signed { "" } else { "u" };
                write!(f, "{sign}int{}", u32::from(*bytes) * 8)
            }
            DataType::Bool => f.write_str("bool"),
            DataType::Enum { name, .. } => write!(f, "enum {name}"),
            DataType::Pointer => f.write_str("void *"),
            DataType::Str { capacity } => write!(f, "string[{capacity}]"),
            DataType::Buffer { capacity } => write!(f, "buffer[{capacity}]"),
            DataType::Arguments { capacity } => write!(f, "argv[{capacity}]"),
            DataType::Tuple(fields) => {
                f.write_str("(")?;
                for (index, field) in fields.iter().enumerate() {
                    if index > 0 {
                        f.write_str(",")?;
                    }
                    write!(f, "{}", field.ty)?;
                }
                f.write_str(")")
            }
            DataType::Record { name, .. } if name.is_empty() => f.write_str("record"),
            DataType::Record { name, .. } => f.write_str(name),
            DataType::Array { element, len } => write!(f, "{element}[{len}]"),
            DataType::KernelStack { .. } => f.write_str("kstack"),
            DataType::UserStack { .. } => f.write_str("ustack"),
            DataType::KernelSymbol => f.write_str("ksym_t"),
            DataType::UserSymbol => f.write_str("usym_t"),
            DataType::Timestamp { .. } => f.write_str("timestamp"),
            DataType::UserName => f.write_str("username"),
            DataType::Named {
                table: NameTable::Error,
            } => f.write_str("strerror"),
            DataType::Named {
                table: NameTable::Signal,
            } => f.write_str("signal_name"),
            DataType::Named {
                table: NameTable::Syscall,
            } => f.write_str("syscall_name"),
            DataType::InternetAddress => f.write_str("inet"),
            DataType::EthernetAddress => f.write_str("mac_address"),
            DataType::CgroupPath { .. } => f.write_str("cgroup_path"),
            DataType::FullPath { capacity } => write!(f, "fullpath[{capacity}]"),
        }
    }
}
