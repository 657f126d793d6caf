//! The order in which a map's entries are printed, and the divisor of their values.

use crate::data_type::{DataType, MapValueType};
use crate::value::{Histogram, Scale, Value};

/// Sorts the entries of a map as bpftrace prints them: integers and numeric aggregations
/// ascending by value, `avg` and `stats` by average, histograms by the number of values, all
/// else by key. Equal ones are sorted by key.
pub fn sort_entries(ty: &MapValueType, entries: &mut [(Value, Value)]) {
    let by_value = match ty {
        MapValueType::Plain(ty) => matches!(ty, DataType::Int { .. } | DataType::Enum { .. }),
        _ => true,
    };
    entries.sort_by(|(left_key, left), (right_key, right)| {
        let by_key = || left_key.cmp(right_key);
        if by_value {
            rank(left).cmp(&rank(right)).then_with(by_key)
        } else {
            by_key()
        }
    });
}

/// Gives the number that a value is sorted by.
fn rank(value: &Value) -> i128 {
    match value {
        Value::Int(number) | Value::Enum { value: number, .. } => i128::from(*number),
        Value::Uint(number) => i128::from(*number),
        Value::Stats {
            average,
            signed: true,
            ..
        } => i128::from(*average),
        Value::Stats { average, .. } => i128::from(*average as u64),
        Value::Histogram(histogram) => i128::from(histogram.total()),
        // bpftrace prints series in the order of their keys.
        Value::Series(_) => 0,
        _ => 0,
    }
}

/// Divides a value as `print(@map, top, div)` does: integers also inside of other values, the
/// average of statistics, the counts of `hist` but not those of `lhist`.
///
/// A divisor of 0 is 1.
#[must_use]
pub fn divide(value: Value, div: u64) -> Value {
    if div <= 1 {
        return value;
    }
    let signed = |number: i64| i64::try_from(div).map_or(0, |div| number / div);
    let all = |values: Vec<Value>| values.into_iter().map(|value| divide(value, div)).collect();
    match value {
        Value::Int(number) => Value::Int(signed(number)),
        Value::Uint(number) => Value::Uint(number / div),
        Value::Tuple(values) => Value::Tuple(all(values)),
        Value::Array(values) => Value::Array(all(values)),
        Value::Record(fields) => Value::Record(
            fields
                .into_iter()
                .map(|(name, value)| (name, divide(value, div)))
                .collect(),
        ),
        Value::Stats {
            count,
            total,
            average,
            signed: is_signed,
        } => {
            let average = if is_signed {
                signed(average)
            } else {
                (average as u64 / div) as i64
            };
            Value::Stats {
                count,
                total,
                average,
                signed: is_signed,
            }
        }
        Value::Histogram(Histogram {
            mut buckets,
            scale: scale @ Scale::Log2 { .. },
        }) => {
            for bucket in &mut buckets {
                bucket.count /= div;
            }
            Value::Histogram(Histogram { buckets, scale })
        }
        other => other,
    }
}
