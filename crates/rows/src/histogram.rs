//! Bounds of histogram buckets, and histograms from their counts.

use crate::data_type::MapValueType;
use crate::value::{Bucket, Histogram, Scale};

impl Histogram {
    /// Makes a histogram from the counts of all buckets, numbered as
    /// [`MapValueType::buckets`] says; empty buckets at both ends are left out.
    ///
    /// Gives none when the type is no histogram.
    #[must_use]
    pub fn new(ty: &MapValueType, counts: &[u64]) -> Option<Histogram> {
        let scale = match *ty {
            MapValueType::Hist { bits } => Scale::Log2 { bits },
            MapValueType::Lhist { step, .. } => Scale::Linear { step },
            _ => return None,
        };
        let first = counts
            .iter()
            .position(|count| *count > 0)
            .unwrap_or(counts.len());
        let end = counts
            .iter()
            .rposition(|count| *count > 0)
            .map_or(first, |last| last + 1);
        let last = u64::from(ty.buckets()) - 1;
        let buckets = (first as u64..)
            .zip(&counts[first..end])
            .map(|(index, &count)| {
                let (min, max) = match *ty {
                    MapValueType::Lhist { min, step, .. } => linear_bounds(index, last, min, step),
                    _ => log2_bounds(index, scale),
                };
                Bucket { min, max, count }
            });
        Some(Histogram {
            buckets: buckets.collect(),
            scale,
        })
    }

    /// Gives the number of all values, saturating.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.buckets
            .iter()
            .fold(0, |total, bucket| total.saturating_add(bucket.count))
    }
}

/// Gives the bounds of a bucket of a power-of-two histogram, both inclusive.
fn log2_bounds(index: u64, scale: Scale) -> (Option<i64>, Option<i64>) {
    let Some(position) = index.checked_sub(1) else {
        return (None, Some(-1));
    };
    let bits = match scale {
        Scale::Log2 { bits } => u32::from(bits).min(5),
        Scale::Linear { .. } => 0,
    };
    let parts = 1u128 << bits;
    let power = position >> bits;
    let part = u128::from(position) & (parts - 1);
    // In the first two runs of `parts` buckets each holds one value.
    let (min, width) = match power.checked_sub(1) {
        None => (part, 1),
        Some(shift) => {
            let shift = u32::try_from(shift).unwrap_or(u32::MAX).min(100);
            ((parts + part) << shift, 1u128 << shift)
        }
    };
    // Bounds of unsigned numbers above `i64::MAX` are not told apart.
    let max = (min <= i64::MAX as u128).then(|| saturate(min + width - 1));
    (Some(saturate(min)), max)
}

/// Gives the bounds of a bucket of a linear histogram, both inclusive.
fn linear_bounds(index: u64, last: u64, min: i64, step: i64) -> (Option<i64>, Option<i64>) {
    let at = |steps: u64| min.saturating_add(step.saturating_mul(saturate(u128::from(steps))));
    let lower = index.checked_sub(1).map(at);
    let upper = (index < last).then(|| at(index).saturating_sub(1));
    (lower, upper)
}

fn saturate(value: u128) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
