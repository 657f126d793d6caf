//! `tseries`: which bucket a value goes to, and what becomes of it there.

use kscope_rows::{MapValueType, SERIES_BUCKET, SeriesFunction};

use super::function::{Lower, Place};
use crate::ir::{BinOp, Cond, Value};

/// Where in a bucket the word beside the value lies, and the interval's number.
const BESIDE: i32 = 8;
const NUMBER: i32 = 16;

impl Lower<'_> {
    /// Puts a value into the bucket of the interval that it is now.
    pub(super) fn add_to_series(
        &mut self,
        kind: &MapValueType,
        at: Place,
        value: Value,
        now: Value,
    ) {
        let MapValueType::Series {
            interval,
            buckets,
            function,
            signed,
        } = *kind
        else {
            return;
        };
        let interval = self.b.constant(interval as i64);
        let number = self.b.binary(BinOp::UDiv, now, interval);
        let count = self.b.constant(i64::from(buckets));
        let bucket = self.b.binary(BinOp::URem, number, count);
        // The verifier knows nothing of a remainder.
        let last = self.b.constant(i64::from(buckets) - 1);
        let inside = self.b.block();
        let end = self.b.block();
        self.b.branch(Cond::Ule, bucket, last, inside, end);
        self.enter(inside);
        let size = self.b.constant(i64::from(SERIES_BUCKET));
        let offset = self.b.binary(BinOp::Mul, bucket, size);
        let bound = (buckets - 1) * SERIES_BUCKET;
        let base = self.b.ptr_add_var(at.base, offset, bound);
        let at = Place { base, ..at };
        if function == SeriesFunction::Last {
            self.b.store(8, at.base, at.offset, value);
            self.b.store(8, at.base, at.offset + BESIDE, now);
        } else {
            self.forget_other_interval(at, number);
        }
        self.b.store(8, at.base, at.offset + NUMBER, number);
        match function {
            SeriesFunction::Last => {}
            SeriesFunction::Sum => self.add_in_place(at, value),
            SeriesFunction::Avg => {
                self.add_in_place(at, value);
                let one = self.b.constant(1);
                self.add_in_place(at.at(BESIDE as u32), one);
            }
            SeriesFunction::Min => {
                self.extreme(at, value, if signed { Cond::Slt } else { Cond::Ult });
            }
            SeriesFunction::Max => {
                self.extreme(at, value, if signed { Cond::Sgt } else { Cond::Ugt });
            }
        }
        self.join(end);
    }

    /// Empties a bucket that holds what an interval before left.
    fn forget_other_interval(&mut self, at: Place, number: Value) {
        let other = self.b.block();
        let end = self.b.block();
        let held = self.b.load(8, false, at.base, at.offset + NUMBER);
        self.b.branch(Cond::Eq, held, number, end, other);
        self.enter(other);
        let zero = self.b.constant(0);
        self.b.store(8, at.base, at.offset, zero);
        self.b.store(8, at.base, at.offset + BESIDE, zero);
        self.join(end);
    }
}
