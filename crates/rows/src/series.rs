//! Values over time: `tseries`.

use std::collections::BTreeMap;

use crate::data_type::{MapValueType, SERIES_BUCKET, SeriesFunction};
use crate::merge::{average, integer, word};
use crate::resolve::Resolve;
use crate::value::{Point, Series, Value};

/// How an interval's begin is shown.
const TIME: &str = "%H:%M:%S";

/// What the CPUs have of one interval, put together.
#[derive(Clone, Copy)]
struct Part {
    value: u64,
    beside: u64,
}

/// Puts together what the CPUs have: of each bucket the latest interval holds.
pub(crate) fn merged<'a>(
    parts: impl Iterator<Item = &'a [u8]>,
    interval: u64,
    function: SeriesFunction,
    signed: bool,
    resolve: &dyn Resolve,
) -> Series {
    let mut intervals: BTreeMap<u64, Part> = BTreeMap::new();
    for bucket in parts.flat_map(|part| part.chunks_exact(SERIES_BUCKET as usize)) {
        let part = Part {
            value: word(bucket, 0),
            beside: word(bucket, 1),
        };
        // No clock that counts from 1970 is at its first interval.
        let number = word(bucket, 2);
        if number != 0 {
            intervals
                .entry(number)
                .and_modify(|known| *known = both(*known, part, function, signed))
                .or_insert(part);
        }
    }
    let points = intervals.into_iter().map(|(number, part)| {
        let value = match function {
            SeriesFunction::Avg => average(part.value, part.beside, signed),
            _ => integer(part.value, signed),
        };
        point(number, interval, value, resolve)
    });
    Series {
        points: points.collect(),
    }
}

fn both(left: Part, right: Part, function: SeriesFunction, signed: bool) -> Part {
    // Flipping the sign bit makes signed numbers compare as unsigned ones.
    let rank = |part: Part| part.value ^ if signed { 1 << 63 } else { 0 };
    let prefer = |right_holds: bool| if right_holds { right } else { left };
    match function {
        SeriesFunction::Last => prefer(right.beside > left.beside),
        SeriesFunction::Min => prefer(rank(right) < rank(left)),
        SeriesFunction::Max => prefer(rank(right) > rank(left)),
        SeriesFunction::Avg | SeriesFunction::Sum => Part {
            value: left.value.wrapping_add(right.value),
            beside: left.beside.wrapping_add(right.beside),
        },
    }
}

fn point(number: u64, interval: u64, value: Value, resolve: &dyn Resolve) -> Point {
    let start = number.saturating_mul(interval);
    Point {
        number,
        start,
        time: resolve.wall_clock(start, TIME),
        value,
    }
}

/// Lets all series of a map end with the latest interval of any: each begins with its own first
/// one that lies among the last `buckets`, and has a point for every interval since. Values of
/// other types are left alone.
pub fn align_series(ty: &MapValueType, values: &mut [(Value, Value)], resolve: &dyn Resolve) {
    let MapValueType::Series {
        interval, buckets, ..
    } = ty
    else {
        return;
    };
    let last = values.iter().filter_map(|(_, value)| last(value)).max();
    let Some(last) = last else { return };
    let first = (last + 1).saturating_sub(u64::from(*buckets));
    for (_, value) in values {
        let Value::Series(series) = value else {
            continue;
        };
        let kept = std::mem::take(&mut series.points).into_iter();
        let mut kept = kept.filter(|point| point.number >= first).peekable();
        let begin = kept.peek().map_or(last, |point| point.number);
        series.points = (begin..=last)
            .map(
                |number| match kept.next_if(|point| point.number == number) {
                    Some(point) => point,
                    None => point(number, *interval, Value::None, resolve),
                },
            )
            .collect();
    }
}

fn last(value: &Value) -> Option<u64> {
    match value {
        Value::Series(series) => series.points.last().map(|point| point.number),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
