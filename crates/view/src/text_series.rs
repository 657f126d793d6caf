//! Values over time as points of a graph.

use kscope_rows::{Series, Value};

use crate::text_value::{value_text, write_display, write_value};

/// Characters of the graph, its borders included.
const WIDTH: usize = 53;
/// Characters of what stands above and below its left end.
const LEFT: usize = 21;
/// Characters of `hh:mm:ss`.
const CLOCK: usize = 8;

/// The parts of a second that times are shown with: name, digits.
type Unit = (&'static str, usize);

/// Writes a line for each interval between two lines with the bounds.
pub(crate) fn write_series(out: &mut Vec<u8>, series: &Series) {
    let Some(first) = series.points.first() else {
        out.extend_from_slice(b"<no data>");
        return;
    };
    let known = || {
        series
            .points
            .iter()
            .map(|p| &p.value)
            .filter(|v| **v != Value::None)
    };
    let mut min = known().min().unwrap_or(&first.value).clone();
    let mut max = known().max().unwrap_or(&first.value).clone();
    if min == max {
        // The point is put in the middle, where there is room on both sides.
        min = moved(min, false);
        max = moved(max, true);
    }
    let between = (series.points.len() as u64 - 1).max(1);
    let last = series.points.last().map_or(first.start, |p| p.start);
    let (unit, digits) = unit(last.saturating_sub(first.start) / between);
    let clock = CLOCK + if digits > 0 { digits + 1 } else { 0 };
    let bounds = |out: &mut Vec<u8>| {
        let min = String::from_utf8_lossy(&value_text(&min)).into_owned();
        let max = String::from_utf8_lossy(&value_text(&max)).into_owned();
        let right = WIDTH - LEFT;
        write_display(
            out,
            &format_args!("{:clock$} {min:<LEFT$}{max:>right$}\n", ""),
        );
    };
    bounds(out);
    // As bpftrace counts bytes, a letter of two takes the room of two.
    let name = format!("hh:mm:ss{unit}");
    let pad = (clock + 1).saturating_sub(name.len());
    let line = "_".repeat(WIDTH - 2);
    write_display(out, &format_args!("{name}{:pad$}|{line}|\n", ""));
    let zero = match (number(&min), number(&max)) {
        (Some(min), Some(max)) if min < 0 && max > 0 => share(WIDTH, -min, max - min),
        _ => 0,
    };
    for point in &series.points {
        let mut line = [b' '; WIDTH];
        line[0] = b'|';
        line[WIDTH - 1] = b'|';
        if zero > 0 {
            line[zero.min(WIDTH - 1)] = b'.';
        }
        let numbers = (number(&min), number(&max), number(&point.value));
        if let (Some(min), Some(max), Some(value)) = numbers {
            let at = match max > min {
                true => share(WIDTH - 1, value - min, max - min),
                false => WIDTH / 2,
            };
            line[at.min(WIDTH - 1)] = b'*';
        }
        out.extend_from_slice(point.time.as_bytes());
        if digits > 0 {
            let nanoseconds = format!("{:09}", point.start % 1_000_000_000);
            write_display(out, &format_args!(".{}", &nanoseconds[..digits]));
        }
        out.push(b' ');
        out.extend_from_slice(&line);
        out.push(b' ');
        match &point.value {
            Value::None => out.push(b'-'),
            value => write_value(out, value),
        }
        out.push(b'\n');
    }
    write_display(out, &format_args!("{:clock$} v{line}v\n", ""));
    bounds(out);
}

/// Gives the next number up or down, where there is one.
fn moved(value: Value, up: bool) -> Value {
    match value {
        Value::Int(n) if up => Value::Int(n.saturating_add(1)),
        Value::Int(n) => Value::Int(n.saturating_sub(1)),
        Value::Uint(n) if up => Value::Uint(n.saturating_add(1)),
        Value::Uint(n) => Value::Uint(n.saturating_sub(1)),
        other => other,
    }
}

fn number(value: &Value) -> Option<i128> {
    match value {
        Value::Int(n) => Some(i128::from(*n)),
        Value::Uint(n) => Some(i128::from(*n)),
        _ => None,
    }
}

/// Gives a share of a width, in the single precision that bpftrace reckons with.
fn share(width: usize, part: i128, whole: i128) -> usize {
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        clippy::cast_possible_truncation,
        reason = "the rounding is part of the format; a share of the width fits"
    )]
    let share = (width as f32 * part as f32 / whole as f32) as usize;
    share
}

/// Gives the parts of a second that an interval is told apart by.
fn unit(interval: u64) -> Unit {
    match interval {
        1_000_000_000.. => ("", 0),
        1_000_000.. => (".ms", 3),
        1_000.. => (".μs", 6),
        _ => (".ns", 9),
    }
}

#[cfg(test)]
mod tests;
