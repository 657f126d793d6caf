//! Bytes written as the values of their type: as a C initialiser, and as JSON.

use core::fmt::Write as _;

use crate::blob::{Btf, TypeId};
use crate::bytes::Endian;
use crate::types::{Composite, Encoding, Int, Type};

/// How a value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ValueStyle {
    /// `{ .pid = 5, .comm = "bash", .state = RUNNING }`
    C,
    /// `{"pid":5,"comm":"bash","state":"RUNNING"}`; pointers are strings in hexadecimal.
    Json,
}

/// Values written for one value, at most.
const ELEMENTS: usize = 1 << 16;
/// Deepest nesting written.
const NESTING: usize = 32;

impl Btf {
    /// Writes the bytes of a value of this type in the byte order of the blob. What the bytes are
    /// too few for, or the types cannot say, is `null` in JSON and `/* ... */` in C.
    #[must_use]
    pub fn write_value(&self, id: TypeId, bytes: &[u8], style: ValueStyle) -> String {
        let mut writer = Writer {
            btf: self,
            style,
            left: ELEMENTS,
            out: String::new(),
        };
        writer.value(id, bytes, 0);
        writer.out
    }
}

struct Writer<'a> {
    btf: &'a Btf,
    style: ValueStyle,
    left: usize,
    out: String,
}

impl Writer<'_> {
    fn unknown(&mut self) {
        self.out.push_str(match self.style {
            ValueStyle::C => "/* ... */",
            ValueStyle::Json => "null",
        });
    }

    fn value(&mut self, id: TypeId, bytes: &[u8], depth: usize) {
        let Some(left) = self.left.checked_sub(1) else {
            return self.unknown();
        };
        self.left = left;
        let size = self
            .btf
            .size_of(id)
            .and_then(|size| usize::try_from(size).ok());
        let bytes = size.and_then(|size| bytes.get(..size));
        let (Some(bytes), Some(ty)) = (bytes, self.btf.get_resolved(id)) else {
            return self.unknown();
        };
        if depth >= NESTING {
            return self.unknown();
        }
        match ty {
            Type::Int(int) => self.integer(&int, number(self.btf.endian(), bytes), bytes),
            Type::Enum(e) => {
                let raw = number(self.btf.endian(), bytes);
                let value = extend(raw, e.size.saturating_mul(8), e.signed);
                match e.name_of(value as i64) {
                    Some(name) if self.style == ValueStyle::C => self.out.push_str(name),
                    Some(name) => self.quoted(name.as_bytes()),
                    None => self.decimal(value),
                }
            }
            Type::Ptr(_) => {
                let value = number(self.btf.endian(), bytes);
                let quote = if self.style == ValueStyle::Json {
                    "\""
                } else {
                    ""
                };
                let _ = write!(self.out, "{quote}{value:#x}{quote}");
            }
            Type::Float { size: 4, .. } => {
                let value = f32::from_bits(number(self.btf.endian(), bytes) as u32);
                self.float(value.into());
            }
            Type::Float { size: 8, .. } => {
                self.float(f64::from_bits(number(self.btf.endian(), bytes) as u64));
            }
            Type::Array(array) => self.array(array.element, array.len, bytes, depth),
            Type::Struct(c) | Type::Union(c) => self.composite(&c, bytes, depth),
            Type::DataSec(section) => {
                self.open('{');
                let mut first = true;
                for var in section.vars() {
                    let from = var.offset as usize;
                    let rest = bytes.get(from..).unwrap_or_default();
                    let name = self.btf.name(var.type_id).unwrap_or_default();
                    self.member(name, &mut first);
                    self.value(var.type_id, rest, depth + 1);
                }
                self.close('}', first);
            }
            Type::Var { to, .. } => self.value(to, bytes, depth + 1),
            _ => self.unknown(),
        }
    }

    fn integer(&mut self, int: &Int<'_>, raw: u128, bytes: &[u8]) {
        match int.encoding {
            Encoding::Bool => {
                let text = if raw == 0 { "false" } else { "true" };
                self.out.push_str(text);
            }
            _ if bytes.len() > 8 => {
                let quote = if self.style == ValueStyle::Json {
                    "\""
                } else {
                    ""
                };
                let _ = write!(self.out, "{quote}{raw:#x}{quote}");
            }
            _ => {
                let value = extend(raw, int.size.saturating_mul(8), int.signed);
                self.decimal(value);
            }
        }
    }

    fn decimal(&mut self, value: i128) {
        let _ = write!(self.out, "{value}");
    }

    fn float(&mut self, value: f64) {
        if value.is_finite() {
            let _ = write!(self.out, "{value:?}");
        } else if self.style == ValueStyle::Json {
            self.out.push_str("null");
        } else {
            let _ = write!(self.out, "{value}");
        }
    }

    fn array(&mut self, element: TypeId, len: u32, bytes: &[u8], depth: usize) {
        if is_char(self.btf, element) {
            let text = bytes.split(|&byte| byte == 0).next().unwrap_or_default();
            return self.quoted(text);
        }
        let size = self
            .btf
            .size_of(element)
            .and_then(|size| usize::try_from(size).ok());
        let size = size.unwrap_or(0);
        self.open(if self.style == ValueStyle::C {
            '{'
        } else {
            '['
        });
        let mut first = true;
        for index in 0..len as usize {
            if self.left == 0 {
                break;
            }
            let rest = bytes.get(index.saturating_mul(size)..).unwrap_or_default();
            self.comma(&mut first);
            self.value(element, rest, depth + 1);
        }
        self.close(
            if self.style == ValueStyle::C {
                '}'
            } else {
                ']'
            },
            first,
        );
    }

    fn composite(&mut self, c: &Composite<'_>, bytes: &[u8], depth: usize) {
        self.open('{');
        let mut first = true;
        self.members(c, bytes, depth, &mut first);
        self.close('}', first);
    }

    fn members(&mut self, c: &Composite<'_>, bytes: &[u8], depth: usize, first: &mut bool) {
        for m in c.members() {
            if self.left == 0 {
                break;
            }
            let rest = bytes.get(m.bit_offset as usize / 8..).unwrap_or_default();
            if m.name.is_empty() && m.bitfield.is_none() {
                // Members of an anonymous structure are the outer one's own.
                if let Some(inner) = self.btf.composite(m.type_id) {
                    if depth < NESTING {
                        self.left -= 1;
                        self.members(&inner, rest, depth + 1, first);
                    }
                }
                continue;
            }
            if m.name.is_empty() {
                continue;
            }
            self.member(m.name, first);
            match m.bitfield {
                Some(width) => self.bits(m.type_id, bytes, m.bit_offset, width),
                None => self.value(m.type_id, rest, depth + 1),
            }
        }
    }

    fn bits(&mut self, id: TypeId, bytes: &[u8], bit_offset: u32, width: u32) {
        let Some(shape) = self.btf.int_shape(id) else {
            return self.unknown();
        };
        let size = self.btf.size_of(id).unwrap_or(0).clamp(1, 16) as usize;
        let endian = self.btf.endian();
        // The unit of storage that the first bit is in; bits are numbered as the machine does.
        let unit = bit_offset as usize / 8 / size * size;
        let Some(storage) = bytes.get(unit..).and_then(|rest| rest.get(..size)) else {
            return self.unknown();
        };
        let first = bit_offset as usize - unit * 8;
        let width = width as usize;
        let Some(above) = (size * 8).checked_sub(first + width) else {
            return self.unknown();
        };
        let shift = match endian {
            Endian::Little => first,
            Endian::Big => above,
        };
        let raw = number(endian, storage)
            .checked_shr(shift as u32)
            .unwrap_or(0);
        let mask = 1u128
            .checked_shl(width as u32)
            .map_or(u128::MAX, |one| one - 1);
        let value = extend(raw & mask, width as u32, shape.signed);
        match self.btf.get_resolved(id) {
            Some(Type::Int(int)) if int.encoding == Encoding::Bool => {
                self.out.push_str(if value == 0 { "false" } else { "true" });
            }
            Some(Type::Enum(e)) => match e.name_of(value as i64) {
                Some(name) if self.style == ValueStyle::C => self.out.push_str(name),
                Some(name) => self.quoted(name.as_bytes()),
                None => self.decimal(value),
            },
            _ => self.decimal(value),
        }
    }

    fn open(&mut self, mark: char) {
        self.out.push(mark);
    }

    fn close(&mut self, mark: char, empty: bool) {
        if self.style == ValueStyle::C && !empty {
            self.out.push(' ');
        }
        self.out.push(mark);
    }

    fn comma(&mut self, first: &mut bool) {
        if !*first {
            self.out.push(',');
        }
        if self.style == ValueStyle::C {
            self.out.push(' ');
        }
        *first = false;
    }

    fn member(&mut self, name: &str, first: &mut bool) {
        self.comma(first);
        match self.style {
            ValueStyle::C => {
                let _ = write!(self.out, ".{name} = ");
            }
            ValueStyle::Json => {
                self.quoted(name.as_bytes());
                self.out.push(':');
            }
        }
    }

    /// Writes text in quotes; bytes that are no text are `\xNN` in C and U+FFFD in JSON.
    fn quoted(&mut self, text: &[u8]) {
        self.out.push('"');
        for chunk in text.utf8_chunks() {
            for c in chunk.valid().chars() {
                match c {
                    '"' => self.out.push_str("\\\""),
                    '\\' => self.out.push_str("\\\\"),
                    '\n' => self.out.push_str("\\n"),
                    '\t' => self.out.push_str("\\t"),
                    c if c.is_control() => {
                        let _ = match self.style {
                            ValueStyle::C => write!(self.out, "\\x{:02x}", u32::from(c)),
                            ValueStyle::Json => write!(self.out, "\\u{:04x}", u32::from(c)),
                        };
                    }
                    c => self.out.push(c),
                }
            }
            for byte in chunk.invalid() {
                match self.style {
                    ValueStyle::C => {
                        let _ = write!(self.out, "\\x{byte:02x}");
                    }
                    ValueStyle::Json => self.out.push('\u{fffd}'),
                }
            }
        }
        self.out.push('"');
    }
}

/// Tells whether arrays of the type are text.
fn is_char(btf: &Btf, id: TypeId) -> bool {
    match btf.get_resolved(id) {
        Some(Type::Int(int)) => int.size == 1 && int.name == "char",
        _ => false,
    }
}

/// Reads at most 16 bytes as a number.
fn number(endian: Endian, bytes: &[u8]) -> u128 {
    let push = |value: u128, byte: &u8| (value << 8) | u128::from(*byte);
    match endian {
        Endian::Little => bytes.iter().take(16).rev().fold(0, push),
        Endian::Big => bytes.iter().take(16).fold(0, push),
    }
}

/// Gives the number that so many bits stand for.
fn extend(raw: u128, bits: u32, signed: bool) -> i128 {
    let shift = 128u32.saturating_sub(bits).min(127);
    let high = (raw << shift) as i128;
    match signed {
        true => high >> shift,
        false => (high as u128 >> shift) as i128,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::NewMember;
    use crate::write::Builder;

    #[test]
    fn values_of_every_kind() {
        let mut b = Builder::new();
        let int = b.add_int("int", 4, Encoding::Signed);
        let u64_ = b.add_int("long unsigned int", 8, Encoding::Unsigned);
        let char_ = b.add_int("char", 1, Encoding::Signed);
        let bool_ = b.add_int("_Bool", 1, Encoding::Bool);
        let comm = b.add_array(char_, int, 4);
        let pair = b.add_array(int, int, 2);
        let pointer = b.add_ptr(int);
        let inner = b.add_struct("", 4, &[NewMember::new("deep", int, 0)]);
        let outer = b.add_struct(
            "outer",
            24,
            &[
                NewMember::new("a", int, 0),
                NewMember::new("comm", comm, 32),
                NewMember::new("pair", pair, 64),
                NewMember::new("", inner, 128),
                NewMember::new("flag", bool_, 160),
            ],
        );
        let base = Btf::parse(b.finish()).unwrap();
        let check = |id, bytes: &[u8], c: &str, json: &str| {
            assert_eq!(base.write_value(id, bytes, ValueStyle::C), c);
            assert_eq!(base.write_value(id, bytes, ValueStyle::Json), json);
        };
        check(int, &(-5i32).to_le_bytes(), "-5", "-5");
        check(
            u64_,
            &u64::MAX.to_le_bytes(),
            "18446744073709551615",
            "18446744073709551615",
        );
        check(
            pointer,
            &0xffff_8880_0000_0000u64.to_le_bytes(),
            "0xffff888000000000",
            "\"0xffff888000000000\"",
        );
        check(comm, b"a\"\n\0", r#""a\"\n""#, r#""a\"\n""#);
        check(
            comm,
            b"\xff\x01\0\0",
            "\"\\xff\\x01\"",
            "\"\u{fffd}\\u0001\"",
        );
        check(int, &[1, 2], "/* ... */", "null");
        let mut bytes = Vec::new();
        for word in [7u32, u32::from_le_bytes(*b"sh\0\0"), 1, 2, 9, 1] {
            bytes.extend(word.to_le_bytes());
        }
        check(
            outer,
            &bytes,
            r#"{ .a = 7, .comm = "sh", .pair = { 1, 2 }, .deep = 9, .flag = true }"#,
            r#"{"a":7,"comm":"sh","pair":[1,2],"deep":9,"flag":true}"#,
        );
    }
}
