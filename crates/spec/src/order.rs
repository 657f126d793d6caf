//! Lists put in order by code that is compiled once.

use core::cmp::Ordering;

/// Gives the places of a list of `len` items in their order: `compare` is given two places, and those that it calls equal
/// stay as they stand.
///
/// A sort for each type of item would be much of what this crate and those above it compile to.
#[must_use]
pub fn order(len: usize, compare: &dyn Fn(usize, usize) -> Ordering) -> Vec<usize> {
    let mut places: Vec<usize> = (0..len).collect();
    if !(1..len).all(|at| compare(at - 1, at).is_le()) {
        places.sort_by(|&one, &other| compare(one, other));
    }
    places
}
