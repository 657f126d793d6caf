//! Histograms as bars.

use kscope_rows::{Bucket, Histogram, Scale};

use crate::text_value::write_display;

/// Characters of the longest bar.
const BAR: usize = 52;

/// Writes a line for each bucket.
pub(crate) fn write_histogram(out: &mut Vec<u8>, histogram: &Histogram) {
    let most = histogram
        .buckets
        .iter()
        .map(|bucket| bucket.count)
        .max()
        .unwrap_or(0);
    for bucket in &histogram.buckets {
        let bounds = bounds(bucket, histogram.scale);
        let bar = "@".repeat(bar_length(bucket.count, most));
        write_display(
            out,
            &format_args!("{bounds:<16}{:>8} |{bar:<BAR$}|\n", bucket.count),
        );
    }
}

/// Gives the length of a bar, in the single precision that bpftrace reckons with.
fn bar_length(count: u64, most: u64) -> usize {
    if most == 0 {
        return 0;
    }
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        reason = "the rounding is part of the format; a share of BAR fits"
    )]
    let length = (count as f32 / most as f32 * BAR as f32) as usize;
    length.min(BAR)
}

/// Writes the bounds as an interval open at its end: `[4, 8)`.
fn bounds(bucket: &Bucket, scale: Scale) -> String {
    let end = bucket.max.map(|max| i128::from(max) + 1);
    // No bucket starts at `i64::MAX`: it stands for what lies above.
    let min = bucket.min.map(|min| match min {
        i64::MAX => 1 << 63,
        min => i128::from(min),
    });
    match (min, end) {
        (None, None) => "(..., ...)".to_owned(),
        (None, Some(end)) => format!("(..., {})", label(end, scale)),
        (Some(min), None) => format!("[{}, ...)", label(min, scale)),
        (Some(min), Some(end))
            if min + 1 == end && is_plain(min, scale) && is_plain(end, scale) =>
        {
            format!("[{min}]")
        }
        (Some(min), Some(end)) => format!("[{}, {})", label(min, scale), label(end, scale)),
    }
}

/// Says whether a bound is written as a bare number.
fn is_plain(bound: i128, scale: Scale) -> bool {
    match scale {
        Scale::Log2 { bits } => bound <= 2 << bits.min(5),
        Scale::Linear { step } => step % 1024 != 0,
    }
}

/// Writes a bound, with a suffix for powers of 1024 where the scale has them.
fn label(bound: i128, scale: Scale) -> String {
    if is_plain(bound, scale) || bound == 0 {
        return bound.to_string();
    }
    match scale {
        Scale::Log2 { bits } => {
            // The suffix follows from the width of the bucket, not from the bound itself.
            let power = bound.ilog2().saturating_sub(u32::from(bits));
            let decade = power / 10;
            let suffix = ["", "K", "M", "G", "T", "P", "E"]
                .get(decade as usize)
                .unwrap_or(&"?");
            format!("{}{suffix}", bound >> (10 * decade))
        }
        Scale::Linear { .. } if bound % (1 << 20) == 0 => format!("{}M", bound >> 20),
        Scale::Linear { .. } if bound % (1 << 10) == 0 => format!("{}K", bound >> 10),
        Scale::Linear { .. } => bound.to_string(),
    }
}
