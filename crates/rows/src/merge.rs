//! Map values from the parts that each CPU kept.

use crate::data_type::{DataType, MapValueType};
use crate::decode::{decode, signed, unsigned};
use crate::resolve::Resolve;
use crate::series;
use crate::value::{Histogram, Value};

/// Decodes a map's value as the kernel returns it: for per-CPU maps one part for each CPU,
/// each [`MapValueType::size`] bytes rounded up to a multiple of 8, one after the other.
///
/// Sums wrap around as in C. A `Plain` integer of a per-CPU map is added up; of other plain
/// values the first CPU's is taken. An aggregation that has seen no value is zero. It never
/// fails: missing bytes count as zero, or give [`Value::None`] for plain values.
#[must_use]
pub fn decode_map_value(ty: &MapValueType, bytes: &[u8], resolve: &dyn Resolve) -> Value {
    let size = ty.size() as usize;
    let stride = size.next_multiple_of(8).max(8);
    let parts = || bytes.chunks(stride);
    match ty {
        MapValueType::Plain(plain) => {
            let first = parts().next().unwrap_or_default();
            let first = &first[..first.len().min(size)];
            match plain {
                DataType::Int {
                    bytes: width,
                    signed: is_signed,
                } if bytes.len() > stride => sum_plain(parts(), *width, *is_signed),
                _ => decode(plain, first, resolve),
            }
        }
        MapValueType::Count => Value::Uint(total(parts())),
        MapValueType::Sum { signed } => integer(total(parts()), *signed),
        MapValueType::Min { signed } => extreme(parts(), *signed, false),
        MapValueType::Max { signed } => extreme(parts(), *signed, true),
        MapValueType::Avg { signed } => {
            let (total, count) = total_and_count(parts());
            average(total, count, *signed)
        }
        MapValueType::Stats { signed } => {
            let (total, count) = total_and_count(parts());
            let average = match average(total, count, *signed) {
                Value::Uint(average) => average as i64,
                Value::Int(average) => average,
                _ => 0,
            };
            Value::Stats {
                count,
                total: total as i64,
                average,
                signed: *signed,
            }
        }
        MapValueType::Hist { .. } | MapValueType::Lhist { .. } => {
            let mut counts = vec![0u64; (size / 8).min(bytes.len() / 8)];
            for part in parts() {
                for (count, word) in counts.iter_mut().zip(part.chunks_exact(8)) {
                    *count = count.wrapping_add(unsigned(word, 8).unwrap_or(0));
                }
            }
            Histogram::new(ty, &counts).map_or(Value::None, Value::Histogram)
        }
        MapValueType::Series {
            interval,
            function,
            signed,
            ..
        } => Value::Series(series::merged(
            parts(),
            *interval,
            *function,
            *signed,
            resolve,
        )),
    }
}

/// Gives the average as an integer, cut towards zero; zero where there is no value.
#[must_use]
pub fn average(total: u64, count: u64, signed: bool) -> Value {
    if signed {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        Value::Int((total as i64).checked_div(count).unwrap_or(0))
    } else {
        Value::Uint(total.checked_div(count).unwrap_or(0))
    }
}

pub(crate) fn integer(bits: u64, signed: bool) -> Value {
    if signed {
        Value::Int(bits as i64)
    } else {
        Value::Uint(bits)
    }
}

pub(crate) fn word(part: &[u8], index: usize) -> u64 {
    part.get(index * 8..)
        .and_then(|tail| unsigned(tail, 8))
        .unwrap_or(0)
}

fn total<'a>(parts: impl Iterator<Item = &'a [u8]>) -> u64 {
    parts.fold(0, |total, part| total.wrapping_add(word(part, 0)))
}

fn total_and_count<'a>(parts: impl Iterator<Item = &'a [u8]>) -> (u64, u64) {
    parts.fold((0, 0), |(total, count), part| {
        (
            total.wrapping_add(word(part, 0)),
            count.wrapping_add(word(part, 1)),
        )
    })
}

fn extreme<'a>(parts: impl Iterator<Item = &'a [u8]>, signed: bool, largest: bool) -> Value {
    let set = parts
        .filter(|part| word(part, 1) != 0)
        .map(|part| word(part, 0));
    // Flipping the sign bit makes signed numbers compare as unsigned ones.
    let flip = if signed { 1 << 63 } else { 0 };
    let keys = set.map(|bits| bits ^ flip);
    let found = if largest { keys.max() } else { keys.min() };
    integer(found.map_or(0, |key| key ^ flip), signed)
}

fn sum_plain<'a>(parts: impl Iterator<Item = &'a [u8]>, width: u8, is_signed: bool) -> Value {
    let total = parts.fold(0u64, |total, part| {
        let bits = if is_signed {
            signed(part, width).unwrap_or(0) as u64
        } else {
            unsigned(part, width).unwrap_or(0)
        };
        total.wrapping_add(bits)
    });
    // The sum has the width of its terms.
    let unused = 64u32.saturating_sub(u32::from(width) * 8).min(63);
    if is_signed {
        Value::Int((total << unused) as i64 >> unused)
    } else {
        Value::Uint((total << unused) >> unused)
    }
}

#[cfg(test)]
mod tests;
