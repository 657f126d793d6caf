//! Ranges that were laid over each other, the later over the earlier.

use std::collections::BTreeMap;

/// A map from ranges of numbers to where they are found.
///
/// What a range leads to is a number that grows with the position, and a tag.
#[derive(Debug, Default)]
pub(crate) struct IntervalMap<T> {
    /// Begin of each range to its end and what it leads to; no two overlap.
    ranges: BTreeMap<u64, (u64, u64, T)>,
}

/// What is at a position: until where, and where it leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hit<T> {
    /// Bytes from the position to the end of its range.
    pub(crate) left: u64,
    /// Where the position leads.
    pub(crate) to: u64,
    pub(crate) tag: T,
}

impl<T: Copy + PartialEq> IntervalMap<T> {
    pub(crate) fn new() -> IntervalMap<T> {
        IntervalMap {
            ranges: BTreeMap::new(),
        }
    }

    /// Lays a range of `len` over what is there; of one that leaves the numbers, nothing.
    pub(crate) fn insert(&mut self, start: u64, len: u64, to: u64, tag: T) {
        let Some(end) = start.checked_add(len).filter(|_| len > 0) else {
            return;
        };
        if to.checked_add(len).is_none() {
            return;
        }
        // Most ranges come in order and continue the one before.
        if let Some((&last, &(last_end, last_to, last_tag))) = self.ranges.last_key_value() {
            if last_end == start && last_tag == tag && last_to.wrapping_add(start - last) == to {
                self.ranges.insert(last, (end, last_to, tag));
                return;
            }
            if last_end <= start {
                self.ranges.insert(start, (end, to, tag));
                return;
            }
        }
        // The range that begins before and reaches in is cut; what is inside goes.
        if let Some((&before, &(before_end, before_to, before_tag))) =
            self.ranges.range(..start).next_back()
        {
            if before_end > start {
                self.ranges.insert(before, (start, before_to, before_tag));
                if before_end > end {
                    let moved = before_to.wrapping_add(end - before);
                    self.ranges.insert(end, (before_end, moved, before_tag));
                }
            }
        }
        while let Some((&inner, &(inner_end, inner_to, inner_tag))) =
            self.ranges.range(start..end).next()
        {
            self.ranges.remove(&inner);
            if inner_end > end {
                let moved = inner_to.wrapping_add(end - inner);
                self.ranges.insert(end, (inner_end, moved, inner_tag));
            }
        }
        self.ranges.insert(start, (end, to, tag));
    }

    /// Gives what is at `position`, or how far nothing is from there on.
    pub(crate) fn find(&self, position: u64) -> Result<Hit<T>, u64> {
        if let Some((&start, &(end, to, tag))) = self.ranges.range(..=position).next_back() {
            if position < end {
                return Ok(Hit {
                    left: end - position,
                    to: to + (position - start),
                    tag,
                });
            }
        }
        let next = self.ranges.range(position..).next();
        Err(next.map_or(u64::MAX, |(&start, _)| start) - position)
    }

    /// Gives the end of the last range.
    pub(crate) fn end(&self) -> u64 {
        self.ranges.last_key_value().map_or(0, |(_, r)| r.0)
    }

    /// Gives every range: begin, length, where it leads, tag.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, u64, u64, T)> + '_ {
        let ranges = self.ranges.iter();
        ranges.map(|(&start, &(end, to, tag))| (start, end - start, to, tag))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lays ranges `(start, len, to)` in order and compares with an array filled one by one.
    fn check(ranges: &[(u64, u64, u64)]) {
        let mut map = IntervalMap::new();
        let mut plain = [None; 64];
        for (tag, &(start, len, to)) in ranges.iter().enumerate() {
            map.insert(start, len, to, tag);
            for i in 0..len {
                plain[(start + i) as usize] = Some((to + i, tag));
            }
        }
        for (position, expected) in plain.iter().enumerate() {
            let found = map.find(position as u64).ok().map(|hit| (hit.to, hit.tag));
            assert_eq!(found, *expected, "{position} of {ranges:?}");
        }
        let len: u64 = map.iter().map(|(_, len, ..)| len).sum();
        assert_eq!(len, plain.iter().flatten().count() as u64);
    }

    #[test]
    fn later_ranges_cover_earlier_ones() {
        check(&[]);
        check(&[(0, 10, 100)]);
        check(&[(0, 10, 100), (10, 10, 110), (20, 5, 200)]);
        check(&[(0, 30, 100), (10, 5, 200)]);
        check(&[(10, 10, 100), (5, 10, 200)]);
        check(&[(10, 10, 100), (15, 10, 200)]);
        check(&[(10, 5, 100), (20, 5, 200), (30, 5, 300), (12, 20, 400)]);
        check(&[(10, 5, 100), (10, 5, 200)]);
        check(&[(10, 5, 100), (0, 60, 200)]);
        check(&[(10, 0, 100)]);
    }

    #[test]
    fn ranges_without_an_end_are_left_out() {
        let mut map = IntervalMap::new();
        map.insert(u64::MAX, 2, 0, ());
        map.insert(0, 2, u64::MAX, ());
        assert_eq!(map.find(0), Err(u64::MAX));
        map.insert(8, 8, 0, ());
        assert_eq!(map.find(0), Err(8));
        assert_eq!(map.end(), 16);
    }
}
