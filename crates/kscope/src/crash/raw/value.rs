//! What is at a place, by its type: read as far as it is there.

use std::ops::Range;
use std::sync::Arc;

use kscope_btf::{Btf, Encoding, Type, TypeId};
use kscope_dump::Kernel;
use kscope_memory::{Gap, GapAt, Memory, Object, VirtAddr};
use kscope_rows::Value;

use super::super::in_symbol;
use super::shown::Shown;

/// Most bytes of one value.
const BYTES: u64 = 16 << 20;
/// Most numbers, pointers and texts of one value.
const ELEMENTS: usize = 1 << 16;
/// Deepest nesting.
pub(super) const DEEPEST: usize = 32;
/// Farthest that data reaches from its symbol.
const REACH: u64 = 64 << 10;
/// Longest text that a pointer is followed to.
const TEXT: usize = 64;
/// Numbers that are most likely addresses: those of the kernel's half but for the smallest negative ones.
const ADDRESSES: Range<u64> = 0xff00_0000_0000_0000..0xffff_ffff_ff00_0000;
/// Bytes of a page: what is missing from a dump is pages.
const PAGE: u64 = 4096;

/// How values are written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Style {
    /// How deep structures inside of each other are opened.
    pub(super) depth: usize,
    /// Whether numbers are written in hexadecimal.
    pub(super) hex: bool,
}

/// Gives what stands for a place that a pointer does not lead to.
pub(super) fn lost_way(gap: GapAt) -> Shown {
    match is_null(gap.addr) {
        true => Shown::Null,
        false => Shown::Missing(gap.why),
    }
}

/// Tells whether an address is that of a null pointer, or of a member behind one.
pub(super) fn is_null(at: VirtAddr) -> bool {
    at.0 < PAGE
}

/// Reads what is at a place.
pub(super) fn read(kernel: &Kernel, btf: &Btf, at: &Object<'_>, style: Style) -> Shown {
    // Behind a null pointer.
    if is_null(at.addr()) {
        return Shown::Null;
    }
    // A bitfield is read by who knows its place.
    if at.is_bitfield() {
        return match at.value() {
            Ok(value) => number(kernel, btf, at.type_id(), value.into(), style),
            Err(kscope_memory::ObjectError::Gap(gap)) => Shown::Missing(gap.why),
            Err(_) => Shown::Unknown,
        };
    }
    let Some(size) = btf.size_of(at.type_id()).filter(|size| *size <= BYTES) else {
        return Shown::Unknown;
    };
    let (bytes, gaps) = bytes(kernel, at.addr(), size);
    let mut reader = Reader {
        kernel,
        btf,
        bytes: &bytes,
        gaps: &gaps,
        style,
        left: ELEMENTS,
    };
    reader.value(at.type_id(), 0, 0)
}

/// Bytes that are missing, and why.
pub(super) type Gaps = Vec<(Range<u64>, Gap)>;

/// Reads bytes page by page; those that are missing are zeros, and said.
pub(super) fn bytes(memory: &dyn Memory, start: VirtAddr, size: u64) -> (Vec<u8>, Gaps) {
    let mut bytes = vec![0; usize::try_from(size).unwrap_or(0)];
    let mut gaps: Gaps = Vec::new();
    let mut done = 0;
    while done < size {
        let at = VirtAddr(start.0.wrapping_add(done));
        let len = (PAGE - at.0 % PAGE).min(size - done);
        let piece = done as usize..(done + len) as usize;
        if let Some(Err(gap)) = bytes.get_mut(piece).map(|piece| memory.read(at, piece)) {
            match gaps.last_mut() {
                Some((range, why)) if range.end == done && *why == gap.why => range.end += len,
                _ => gaps.push((done..done + len, gap.why)),
            }
        }
        done += len;
    }
    (bytes, gaps)
}

/// Gives why some of these bytes are missing.
pub(super) fn gap_in(gaps: &Gaps, range: Range<u64>) -> Option<Gap> {
    let hit = |(gap, _): &&(Range<u64>, Gap)| gap.start < range.end && range.start < gap.end;
    gaps.iter().find(hit).map(|(_, why)| *why)
}

struct Reader<'a> {
    kernel: &'a Kernel,
    btf: &'a Btf,
    bytes: &'a [u8],
    gaps: &'a Gaps,
    style: Style,
    left: usize,
}

impl Reader<'_> {
    fn value(&mut self, id: TypeId, at: u64, depth: usize) -> Shown {
        let (Some(ty), Some(size)) = (self.btf.get_resolved(id), self.btf.size_of(id)) else {
            return Shown::Unknown;
        };
        let Some(left) = self.left.checked_sub(1) else {
            return Shown::Folded;
        };
        self.left = left;
        let range = at..at.saturating_add(size);
        match ty {
            Type::Struct(_) | Type::Union(_) | Type::Array(_) if depth >= DEEPEST => Shown::Folded,
            Type::Struct(_) | Type::Union(_) => {
                if depth >= self.style.depth {
                    return Shown::Folded;
                }
                let mut members = Vec::new();
                for (name, field) in self.btf.fields(id) {
                    let shown = match field.bitfield {
                        Some(width) => self.bitfield(
                            field.type_id,
                            at.saturating_mul(8).saturating_add(field.bit_offset.into()),
                            width,
                        ),
                        None => {
                            let at = at.saturating_add(u64::from(field.bit_offset / 8));
                            self.value(field.type_id, at, depth + 1)
                        }
                    };
                    members.push((name.to_owned(), shown));
                }
                Shown::Struct(members)
            }
            Type::Array(array) => {
                if let Some(text) = self.text(array.element, &range) {
                    return text;
                }
                let size = self.btf.size_of(array.element).unwrap_or(0);
                let mut elements = Vec::new();
                for index in 0..u64::from(array.len) {
                    if self.left == 0 {
                        elements.push(Shown::Folded);
                        break;
                    }
                    let at = at.saturating_add(size.saturating_mul(index));
                    // Elements are no deeper than their array.
                    elements.push(self.value(array.element, at, depth));
                }
                Shown::Array(elements)
            }
            _ => match gap_in(self.gaps, range.clone()) {
                Some(why) => Shown::Missing(why),
                // A member that reaches out of what it is in.
                None if range.end > self.bytes.len() as u64 => Shown::Unknown,
                None => {
                    let raw = little(self.raw(&range));
                    number(self.kernel, self.btf, id, raw, self.style)
                }
            },
        }
    }

    fn bitfield(&mut self, id: TypeId, bit: u64, width: u32) -> Shown {
        let range = bit / 8..bit.saturating_add(width.into()).div_ceil(8);
        let Some(left) = self.left.checked_sub(1) else {
            return Shown::Folded;
        };
        self.left = left;
        if let Some(why) = gap_in(self.gaps, range.clone()) {
            return Shown::Missing(why);
        }
        if range.end > self.bytes.len() as u64 {
            return Shown::Unknown;
        }
        let width = width.clamp(1, 64);
        let raw = little(self.raw(&range)) >> (bit % 8);
        let value = raw as u64 & (u64::MAX >> (64 - width));
        let signed = self.btf.int_shape(id).is_some_and(|shape| shape.signed);
        let unused = 64 - width;
        let value = match signed {
            true => (((value << unused) as i64) >> unused) as u64,
            false => value,
        };
        number(self.kernel, self.btf, id, value.into(), self.style)
    }

    /// Gives an array of characters as text; where they are unsigned, one that looks like it.
    fn text(&self, element: TypeId, range: &Range<u64>) -> Option<Shown> {
        let is_char = is_char(self.btf, element);
        let of = self.btf.get(element);
        let is_unsigned = matches!(of, Some(Type::Int(int)) if int.name == "unsigned char");
        if !is_char && !is_unsigned {
            return None;
        }
        if let Some(why) = gap_in(self.gaps, range.clone()) {
            return Some(Shown::Missing(why));
        }
        let text = self.raw(range).split(|byte| *byte == 0).next();
        let text = text.unwrap_or_default();
        let is_text = !text.is_empty() && text.iter().all(|byte| matches!(byte, b' '..=b'~'));
        (is_char || is_text).then(|| Shown::Text(text.to_vec()))
    }

    fn raw(&self, range: &Range<u64>) -> &[u8] {
        let piece = range.start as usize..range.end as usize;
        self.bytes.get(piece).unwrap_or_default()
    }
}

/// Reads at most 16 bytes as a number.
fn little(bytes: &[u8]) -> u128 {
    let push = |value: u128, byte: &u8| value << 8 | u128::from(*byte);
    bytes.iter().take(16).rev().fold(0, push)
}

fn is_char(btf: &Btf, id: TypeId) -> bool {
    matches!(btf.get_resolved(id), Some(Type::Int(int)) if int.size == 1 && int.name == "char")
}

/// Says what a number is by its type.
fn number(kernel: &Kernel, btf: &Btf, id: TypeId, raw: u128, style: Style) -> Shown {
    let wide = raw as u64;
    let value = match btf.get_resolved(id) {
        Some(Type::Ptr(to)) => return pointer(kernel, btf, to, wide),
        Some(Type::Enum(e)) => {
            let unused = 64 - e.size.saturating_mul(8).clamp(8, 64);
            let value = match e.signed {
                true => ((wide << unused) as i64) >> unused,
                false => wide as i64,
            };
            let name = e.name_of(value).map(Arc::from);
            Value::Enum { value, name }
        }
        Some(Type::Int(int)) => match int.encoding {
            Encoding::Bool => Value::Bool(raw != 0),
            _ if int.size > 8 => Value::Text(format!("{raw:#x}")),
            _ if int.signed => {
                let unused = 64 - (int.size * 8).clamp(8, 64);
                Value::Int(((wide << unused) as i64) >> unused)
            }
            // Numbers in the kernel's half are addresses.
            _ if (ADDRESSES.contains(&wide) && int.size == 8) || style.hex => {
                let name = named(kernel, wide);
                return match style.hex && name.is_none() {
                    true => Shown::Number(Value::Pointer(wide)),
                    false => Shown::Pointer(wide, name),
                };
            }
            _ => Value::Uint(wide),
        },
        Some(Type::Float { size: 4, .. }) => Value::Text(f32::from_bits(raw as u32).to_string()),
        Some(Type::Float { size: 8, .. }) => Value::Text(f64::from_bits(wide).to_string()),
        _ => return Shown::Unknown,
    };
    match (style.hex, &value) {
        (true, Value::Int(number)) => Shown::Number(Value::Pointer(*number as u64)),
        _ => Shown::Number(value),
    }
}

fn pointer(kernel: &Kernel, btf: &Btf, to: TypeId, value: u64) -> Shown {
    let addr = VirtAddr(value);
    let text = is_char(btf, to).then(|| text_at(kernel, addr)).flatten();
    Shown::Pointer(value, text.or_else(|| named(kernel, value)))
}

/// Gives the text at an address between quotation marks, if it is one.
pub(super) fn text_at(kernel: &Kernel, addr: VirtAddr) -> Option<String> {
    if !addr.is_kernel() {
        return None;
    }
    let bytes = kernel.read_text(addr, TEXT).ok()?;
    let is_text = |byte: &u8| matches!(byte, b' '..=b'~' | b'\n' | b'\t' | 1);
    let is_text = !bytes.is_empty() && bytes.iter().all(is_text);
    is_text.then(|| format!("\"{}\"", bytes.escape_ascii()))
}

/// Gives the symbol that an address is of, as `<name+0x10>`.
pub(super) fn named(kernel: &Kernel, address: u64) -> Option<String> {
    if !VirtAddr(address).is_kernel() {
        return None;
    }
    let found = kernel.symbolize(VirtAddr(address))?;
    // Behind the last table of read-only data are the texts of the whole kernel.
    if !found.symbol.is_code() && found.offset >= REACH {
        return None;
    }
    let offset = (found.offset > 0).then_some(found.offset);
    Some(format!("<{}>", in_symbol(&found.symbol, offset)))
}

#[cfg(test)]
mod tests {
    use super::{Gap, gap_in};

    #[test]
    fn what_is_missing_is_found_by_its_bytes() {
        let gaps = vec![(4096..8192, Gap::Lost)];
        let check = |range, expected| assert_eq!(gap_in(&gaps, range), expected);
        check(0..4096, None);
        check(4095..4097, Some(Gap::Lost));
        check(8191..8200, Some(Gap::Lost));
        check(8192..9000, None);
    }
}
