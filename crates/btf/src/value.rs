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

/// Values written for one value, at most, beside [`TIMES`] for each byte: types may have any number of
/// elements without bytes, and name the same bytes any number of times.
const ELEMENTS: usize = 1 << 16;
const TIMES: usize = 4;
/// Deepest nesting written.
const NESTING: usize = 32;

impl Btf {
    /// Writes the bytes of a value of this type in the byte order of the blob. What the bytes are
    /// too few for, or the types cannot say, is `null` in JSON and `/* ... */` in C; so is the rest
    /// of a value of more elements than sound types give so many bytes.
    #[must_use]
    pub fn write_value(&self, id: TypeId, bytes: &[u8], style: ValueStyle) -> String {
        let mut writer = Writer {
            btf: self,
            style,
            left: bytes.len().saturating_mul(TIMES).saturating_add(ELEMENTS),
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
                    if self.left == 0 {
                        self.rest(&mut first);
                        break;
                    }
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
            self.comma(&mut first);
            if self.left == 0 {
                self.unknown();
                break;
            }
            let rest = bytes.get(index.saturating_mul(size)..).unwrap_or_default();
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

    /// Writes members; false where it has said that there are more.
    fn members(&mut self, c: &Composite<'_>, bytes: &[u8], depth: usize, first: &mut bool) -> bool {
        for m in c.members() {
            if self.left == 0 {
                self.rest(first);
                return false;
            }
            let rest = bytes.get(m.bit_offset as usize / 8..).unwrap_or_default();
            if m.name.is_empty() && m.bitfield.is_none() {
                // Members of an anonymous structure are the outer one's own.
                if let Some(inner) = self.btf.composite(m.type_id) {
                    if depth < NESTING {
                        self.left -= 1;
                        if !self.members(&inner, rest, depth + 1, first) {
                            return false;
                        }
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
        true
    }

    /// Says that there are members which are not written.
    fn rest(&mut self, first: &mut bool) {
        match self.style {
            ValueStyle::C => self.comma(first),
            ValueStyle::Json => self.member("...", first),
        }
        self.unknown();
    }

    fn bits(&mut self, id: TypeId, bytes: &[u8], bit_offset: u32, width: u32) {
        let Some(shape) = self.btf.int_shape(id) else {
            return self.unknown();
        };
        let endian = self.btf.endian();
        // The bytes that it lies in, which are not those of a whole number of its type where a
        // structure is packed; bits are numbered as the machine does.
        let (from, before) = (bit_offset as usize / 8, bit_offset as usize % 8);
        let width = width as usize;
        let len = (before + width).div_ceil(8);
        let storage = bytes.get(from..).and_then(|rest| rest.get(..len));
        let Some(storage) = storage.filter(|_| len <= 16) else {
            return self.unknown();
        };
        let shift = match endian {
            Endian::Little => before,
            Endian::Big => len * 8 - before - width,
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

    /// Writes text in quotes; bytes that are no text are octal (`\001`) in C, where digits behind a
    /// hexadecimal escape are part of it, and U+FFFD in JSON.
    fn quoted(&mut self, text: &[u8]) {
        self.out.push('"');
        for chunk in text.utf8_chunks() {
            for c in chunk.valid().chars() {
                match c {
                    '"' => self.out.push_str("\\\""),
                    '\\' => self.out.push_str("\\\\"),
                    '\n' => self.out.push_str("\\n"),
                    '\t' => self.out.push_str("\\t"),
                    c if c.is_control() => match self.style {
                        ValueStyle::C => self.octal(c.encode_utf8(&mut [0; 4]).as_bytes()),
                        ValueStyle::Json => {
                            let _ = write!(self.out, "\\u{:04x}", u32::from(c));
                        }
                    },
                    c => self.out.push(c),
                }
            }
            match self.style {
                ValueStyle::C => self.octal(chunk.invalid()),
                ValueStyle::Json => {
                    let each = chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER);
                    self.out.extend(each);
                }
            }
        }
        self.out.push('"');
    }

    fn octal(&mut self, bytes: &[u8]) {
        for byte in bytes {
            let _ = write!(self.out, "\\{byte:03o}");
        }
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
            b"\xff\x01b\0",
            r#""\377\001b""#,
            "\"\u{fffd}\\u0001b\"",
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
    #[test]
    fn large_values_are_written_whole_and_what_is_not_is_told() {
        let mut b = Builder::new();
        let byte = b.add_int("unsigned char", 1, Encoding::Unsigned);
        let large = b.add_array(byte, byte, 100_000);
        let none = b.add_struct("none", 0, &[]);
        let endless = b.add_array(none, byte, u32::MAX);
        let inner = b.add_struct("", 4, &[NewMember::new("list", endless, 0)]);
        let members = [NewMember::new("", inner, 0), NewMember::new("a", byte, 0)];
        let outer = b.add_struct("outer", 4, &members);
        let btf = Btf::parse(b.finish()).unwrap();
        let bytes = vec![7; 100_000];
        for style in [ValueStyle::C, ValueStyle::Json] {
            let text = btf.write_value(large, &bytes, style);
            assert_eq!(text.matches('7').count(), bytes.len());
            assert!(!text.contains("/*") && !text.contains("null"));
        }
        let text = btf.write_value(outer, &[0; 4], ValueStyle::C);
        assert!(text.ends_with("{}, /* ... */ }, /* ... */ }"), "{text:.80}");
        let text = btf.write_value(outer, &[0; 4], ValueStyle::Json);
        assert!(text.ends_with("{},null],\"...\":null}"), "{text:.80}");
    }
    #[test]
    fn bitfields_are_read_out_of_the_bytes_they_lie_in() {
        let check = |endian, bytes: &[u8], expected: &str| {
            let mut b = Builder::with_endian(endian);
            let int = b.add_int("int", 4, Encoding::Signed);
            let field = |name, bit_offset, width| NewMember {
                bitfield: Some(width),
                ..NewMember::new(name, int, bit_offset)
            };
            // Closer than C places them: the second lies across two numbers of its type, and the
            // third's number would end behind the structure.
            let members = [field("a", 0, 3), field("b", 3, 31), field("c", 34, 6)];
            let packed = b.add_struct("packed", 5, &members);
            let btf = Btf::parse(b.finish()).unwrap();
            assert_eq!(btf.write_value(packed, bytes, ValueStyle::C), expected);
        };
        let expected = "{ .a = -2, .b = 305419896, .c = -3 }";
        // -2 in 3 bits, 0x12345678 in 31, -3 in 6.
        let number: u64 = 0b110 | 0x1234_5678 << 3 | 0b11_1101 << 34;
        check(Endian::Little, &number.to_le_bytes()[..5], expected);
        let number: u64 = 0b110 << 37 | 0x1234_5678 << 6 | 0b11_1101;
        check(Endian::Big, &number.to_be_bytes()[3..], expected);
        check(Endian::Little, &[0b110, 0, 0, 0], "/* ... */");
    }
}
