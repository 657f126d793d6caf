//! Bytes to values.

use std::net::IpAddr;
use std::sync::Arc;

use crate::data_type::{Bits, DataType, Field};
use crate::resolve::{Cut, Directory, Resolve};
use crate::value::{Stack, Value};

/// Decodes a value from the bytes of an event, a map key or a map value, in host byte order.
///
/// It never fails: a part that lies outside of `bytes` is [`Value::None`], a string or an
/// array ends where the bytes end.
#[must_use]
pub fn decode(ty: &DataType, bytes: &[u8], resolve: &dyn Resolve) -> Value {
    try_decode(ty, bytes, resolve).unwrap_or(Value::None)
}

/// Decodes one field of an event, a tuple or a record that starts at `bytes`.
#[must_use]
pub fn decode_field(field: &Field, bytes: &[u8], resolve: &dyn Resolve) -> Value {
    let tail = bytes.get(field.offset as usize..).unwrap_or_default();
    match field.bits {
        Some(bits) => bit_field(&field.ty, bits, tail).unwrap_or(Value::None),
        None => {
            let size = (field.ty.size() as usize).min(tail.len());
            decode(&field.ty, &tail[..size], resolve)
        }
    }
}

/// Puts a directory before a path that does not begin at the root.
fn full_path(directory: Directory, path: Value, resolve: &dyn Resolve) -> Value {
    let Value::Str(path) = path else { return path };
    if path.is_empty() || path.starts_with(b"/") {
        return Value::Str(path);
    }
    match resolve.directory(directory) {
        Some(mut full) => {
            if !full.ends_with(b"/") {
                full.push(b'/');
            }
            full.extend_from_slice(path.strip_prefix(b"./").unwrap_or(&path));
            Value::Str(full)
        }
        None => Value::Str(path),
    }
}

fn try_decode(ty: &DataType, bytes: &[u8], resolve: &dyn Resolve) -> Option<Value> {
    Some(match ty {
        DataType::None => Value::None,
        DataType::Int {
            bytes: width,
            signed: true,
        } => Value::Int(signed(bytes, *width)?),
        DataType::Int {
            bytes: width,
            signed: false,
        } => Value::Uint(unsigned(bytes, *width)?),
        DataType::Bool => Value::Bool(*bytes.first()? != 0),
        DataType::Enum {
            bytes: width,
            signed: is_signed,
            variants,
            ..
        } => {
            let value = if *is_signed {
                signed(bytes, *width)?
            } else {
                unsigned(bytes, *width)? as i64
            };
            enumerator(variants, value)
        }
        DataType::Pointer => Value::Pointer(unsigned(bytes, 8)?),
        DataType::Str { capacity } => string(bytes, *capacity, resolve),
        DataType::Buffer { capacity } => {
            let len = unsigned(bytes, 4)?.min(u64::from(*capacity));
            let data = bytes.get(4..)?;
            let len = usize::try_from(len).unwrap_or(usize::MAX).min(data.len());
            Value::Buffer(data[..len].to_vec())
        }
        DataType::Arguments { capacity } => {
            let all = unsigned(bytes, 4)?;
            let here = unsigned(bytes.get(4..)?, 4)?.min(u64::from(*capacity));
            let data = bytes.get(8..)?;
            let len = usize::try_from(here).unwrap_or(usize::MAX).min(data.len());
            arguments(&data[..len], all > len as u64, resolve)
        }
        DataType::Tuple(fields) => Value::Tuple(
            fields
                .iter()
                .map(|f| decode_field(f, bytes, resolve))
                .collect(),
        ),
        DataType::Record { fields, .. } => Value::Record(
            fields
                .iter()
                .map(|f| (Arc::from(f.name.as_str()), decode_field(f, bytes, resolve)))
                .collect(),
        ),
        DataType::Array { element, len } => {
            let size = element.size() as usize;
            if size == 0 {
                return Some(Value::Array(Vec::new()));
            }
            let elements = bytes.chunks_exact(size).take(*len as usize);
            Value::Array(
                elements
                    .map(|chunk| decode(element, chunk, resolve))
                    .collect(),
            )
        }
        DataType::KernelStack { mode, limit } => {
            let id = signed(bytes, 8)?;
            let found = stack(id, *limit, || resolve.kernel_stack(id));
            Value::Stack(Stack {
                mode: *mode,
                user: false,
                ..found
            })
        }
        DataType::UserStack { mode, limit } => {
            let id = signed(bytes, 8)?;
            let pid = process(bytes)?;
            let found = stack(id, *limit, || resolve.user_stack(id, pid, *mode));
            Value::Stack(Stack {
                mode: *mode,
                user: true,
                ..found
            })
        }
        DataType::KernelSymbol => {
            let address = unsigned(bytes, 8)?;
            symbol(address, resolve.kernel_symbol(address))
        }
        DataType::UserSymbol => {
            let address = unsigned(bytes, 8)?;
            symbol(address, resolve.user_symbol(address, process(bytes)?))
        }
        DataType::Timestamp { format } => {
            Value::Text(resolve.timestamp(unsigned(bytes, 8)?, format))
        }
        DataType::FullPath { capacity } => {
            let directory = Directory {
                pid: u32::try_from(unsigned(bytes, 4)?).ok()?,
                descriptor: i32::try_from(signed(bytes.get(4..)?, 4)?).ok()?,
                inode: unsigned(bytes.get(8..)?, 8)?,
                device: unsigned(bytes.get(16..)?, 8)?,
            };
            let path = string(bytes.get(24..)?, *capacity, resolve);
            full_path(directory, path, resolve)
        }
        DataType::Named { table } => Value::Text(table.name(signed(bytes, 4)?)),
        DataType::InternetAddress => {
            internet_address(unsigned(bytes, 4)?, bytes.get(4..)?.first_chunk()?)
        }
        DataType::EthernetAddress => {
            let parts = bytes.get(..6)?.iter().map(|byte| format!("{byte:02X}"));
            Value::Text(parts.collect::<Vec<_>>().join(":"))
        }
        DataType::CgroupPath { filter } => {
            let id = unsigned(bytes, 8)?;
            let paths = resolve.cgroup_path(id, filter);
            Value::Text(paths.unwrap_or_else(|| id.to_string()))
        }
        DataType::UserName => {
            let uid = u32::try_from(unsigned(bytes, 4)?).ok()?;
            Value::Text(resolve.user_name(uid).unwrap_or_default())
        }
    })
}

/// Reads the `u32` process id that follows 8 bytes.
fn process(bytes: &[u8]) -> Option<u32> {
    u32::try_from(unsigned(bytes.get(8..)?, 4)?).ok()
}

/// Reads an unsigned integer of 1 to 8 bytes in host byte order.
pub(crate) fn unsigned(bytes: &[u8], width: u8) -> Option<u64> {
    let width = usize::from(width);
    let mut word = [0u8; 8];
    if width == 0 || width > word.len() {
        return None;
    }
    let source = bytes.get(..width)?;
    if cfg!(target_endian = "little") {
        word[..width].copy_from_slice(source);
    } else {
        word[8 - width..].copy_from_slice(source);
    }
    Some(u64::from_ne_bytes(word))
}

/// Reads a signed integer of 1 to 8 bytes in host byte order.
pub(crate) fn signed(bytes: &[u8], width: u8) -> Option<i64> {
    let unused = 64u32.checked_sub(u32::from(width) * 8)?;
    Some((unsigned(bytes, width)? << unused) as i64 >> unused)
}

fn bit_field(ty: &DataType, bits: Bits, bytes: &[u8]) -> Option<Value> {
    let (storage, is_signed) = match ty {
        DataType::Int { bytes, signed } | DataType::Enum { bytes, signed, .. } => (*bytes, *signed),
        DataType::Bool => (1, false),
        _ => return None,
    };
    let unit = unsigned(bytes, storage)?;
    let width = u32::from(bits.width).clamp(1, 64);
    let unused = 64 - width;
    let raw = unit.checked_shr(u32::from(bits.shift))? << unused;
    let value = if is_signed {
        raw as i64 >> unused
    } else {
        (raw >> unused) as i64
    };
    Some(match ty {
        DataType::Bool => Value::Bool(value != 0),
        DataType::Enum { variants, .. } => enumerator(variants, value),
        _ if is_signed => Value::Int(value),
        _ => Value::Uint(value as u64),
    })
}

fn enumerator(variants: &[(i64, String)], value: i64) -> Value {
    let name = variants.iter().find(|(number, _)| *number == value);
    Value::Enum {
        value,
        name: name.map(|(_, name)| Arc::from(name.as_str())),
    }
}

/// Cuts a string at its NUL; one that fills its field was cut by the program.
fn string(bytes: &[u8], capacity: u32, resolve: &dyn Resolve) -> Value {
    let field = &bytes[..bytes.len().min(capacity as usize)];
    let end = field
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(field.len());
    let mut text = field[..end].to_vec();
    if end > 0 && end == capacity as usize {
        resolve.note_cut(Cut::String);
        text.extend_from_slice(resolve.truncation_trailer().as_bytes());
    }
    Value::Str(text)
}

/// Parts arguments at their NULs; the last of those that were cut is marked as a string is.
fn arguments(bytes: &[u8], cut: bool, resolve: &dyn Resolve) -> Value {
    let mut parts: Vec<Vec<u8>> = bytes.split(|byte| *byte == 0).map(<[u8]>::to_vec).collect();
    match parts.last_mut() {
        Some(last) if cut => {
            resolve.note_cut(Cut::Arguments);
            last.extend_from_slice(resolve.truncation_trailer().as_bytes());
        }
        // What follows the last NUL.
        Some(last) if last.is_empty() => {
            parts.pop();
        }
        _ => {}
    }
    Value::Arguments(parts)
}

/// `AF_INET6`
const INTERNET_6: u64 = 10;

fn internet_address(family: u64, bytes: &[u8; 16]) -> Value {
    let address = match family {
        INTERNET_6 => IpAddr::from(*bytes),
        _ => IpAddr::from([bytes[0], bytes[1], bytes[2], bytes[3]]),
    };
    Value::Text(address.to_string())
}

/// `-EFAULT`: there was no stack, as when a sample that asks for the kernel's hits a process.
const NO_STACK: i64 = -14;

fn stack(id: i64, limit: u32, frames: impl FnOnce() -> Stack) -> Stack {
    let mut stack = if id == NO_STACK {
        Stack::default()
    } else if id < 0 {
        let errno = i32::try_from(id.unsigned_abs()).unwrap_or(i32::MAX);
        Stack {
            lost: Some(errno),
            ..Stack::default()
        }
    } else {
        frames()
    };
    stack.frames.truncate(limit as usize);
    stack
}

fn symbol(address: u64, name: Option<Arc<str>>) -> Value {
    Value::Text(match (name, address) {
        (Some(name), _) => name.to_string(),
        // As bpftrace prints it.
        (None, 0) => "0".to_owned(),
        (None, address) => format!("{address:#x}"),
    })
}

#[cfg(test)]
mod tests;
