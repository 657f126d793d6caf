//! Aggregations read as numbers: what all CPUs have, merged in the kernel.

use kscope_rows::MapValueType;
use kscope_spec::{LateKind, helper};

use super::function::{Lower, Place, Result, unsupported};
use super::maps::set_word;
use crate::diagnostic::Span;
use crate::hir::{Expr, MapRef, Type};
use crate::ir::{BinOp, Cond, Pointer, Value, Variable};
use crate::plan::{SET_MARK, padded_size};

impl Lower<'_> {
    /// The number that an aggregation reads as; 0 where it has seen no value.
    pub(super) fn aggregate_number(
        &mut self,
        map: MapRef,
        key: Option<&Expr>,
        expr: &Expr,
    ) -> Result<Value> {
        let key = match key {
            Some(key) => self.key(map, key)?,
            None => self.index_key(0),
        };
        self.aggregate_at(map, key, &expr.ty, expr.span)
    }

    /// The number, of this type, that the aggregation of the key at a place reads as.
    pub(super) fn aggregate_at(
        &mut self,
        map: MapRef,
        key: Place,
        ty: &Type,
        span: Span,
    ) -> Result<Value> {
        let kind = self.program.maps[map.0 as usize].value.clone();
        let total = self.b.variable();
        let count = self.b.variable();
        let zero = self.b.constant(0);
        self.b.write(total, zero);
        self.b.write(count, zero);
        match kind {
            MapValueType::Count | MapValueType::Sum { .. } => {
                self.each_cpu(map, key, |lower, at| lower.add_word(total, at))?;
            }
            MapValueType::Avg { .. } => {
                self.each_cpu(map, key, |lower, at| {
                    lower.add_word(total, at);
                    lower.add_word(count, at.at(8));
                })?;
            }
            MapValueType::Min { signed } => {
                let beats = if signed { Cond::Slt } else { Cond::Ult };
                self.each_cpu(map, key, |lower, at| {
                    lower.merge_extreme(total, count, at, beats);
                })?;
            }
            MapValueType::Max { signed } => {
                let beats = if signed { Cond::Sgt } else { Cond::Ugt };
                self.each_cpu(map, key, |lower, at| {
                    lower.merge_extreme(total, count, at, beats);
                })?;
            }
            _ => return Err(unsupported(span, "this aggregation read as a number")),
        }
        let total = self.b.read(total);
        let value = match kind {
            MapValueType::Avg { signed } => {
                let count = self.b.read(count);
                let op = if signed { BinOp::SDiv } else { BinOp::UDiv };
                self.b.binary(op, total, count)
            }
            _ => total,
        };
        Ok(self.fit(ty, value))
    }

    /// Runs `work` on the value that each CPU has for the key.
    fn each_cpu(
        &mut self,
        map: MapRef,
        key: Place,
        work: impl FnOnce(&mut Self, Place),
    ) -> Result<()> {
        let id = self.tables.script_map(map);
        let cpus = self.late("cpus", &LateKind::CpuCount);
        let key = self.address(key);
        self.rounds_to(cpus, |lower, cpu, _| {
            let map_value = lower.b.map(id);
            let pointer = Pointer::MapValueOrNull(id);
            let args = vec![map_value, key, cpu];
            let found = lower
                .b
                .call_pointer(helper::MAP_LOOKUP_PERCPU_ELEM, args, pointer);
            let absent = lower.b.block();
            let present = lower.b.block();
            lower.b.branch_null(found, absent, present);
            lower.enter(present);
            let base = lower.b.non_null(found);
            work(
                lower,
                Place {
                    base,
                    offset: 0,
                    align: 8,
                },
            );
            lower.join(absent);
            Ok(())
        })
    }

    /// Sets an aggregation without a key to zero on every CPU; 1 where it was set on one.
    pub(super) fn delete_per_cpu(&mut self, map: MapRef) -> Result<Value> {
        let kind = &self.program.maps[map.0 as usize].value;
        let size = padded_size(kind);
        let word = set_word(kind);
        let key = self.index_key(0);
        let set = self.b.variable();
        let zero = self.b.constant(0);
        self.b.write(set, zero);
        self.each_cpu(map, key, |lower, at| {
            lower.or_word(set, at.at(size));
            if let Some(word) = word {
                lower.or_word(set, at.at(word));
            }
            lower.zero(at, size + SET_MARK);
        })?;
        let set = self.b.read(set);
        let zero = self.b.constant(0);
        Ok(self.b.compare(Cond::Ne, set, zero))
    }

    fn or_word(&mut self, to: Variable, at: Place) {
        let word = self.b.load(8, false, at.base, at.offset);
        let old = self.b.read(to);
        let all = self.b.binary(BinOp::Or, old, word);
        self.b.write(to, all);
    }

    fn add_word(&mut self, to: Variable, at: Place) {
        let word = self.b.load(8, false, at.base, at.offset);
        let old = self.b.read(to);
        let sum = self.b.binary(BinOp::Add, old, word);
        self.b.write(to, sum);
    }

    /// Takes a CPU's extreme where it has one that beats what was found so far.
    fn merge_extreme(&mut self, best: Variable, found: Variable, at: Place, beats: Cond) {
        let zero = self.b.constant(0);
        let set = self.b.block();
        let compare = self.b.block();
        let take = self.b.block();
        let end = self.b.block();
        let is_set = self.b.load(8, false, at.base, at.offset + 8);
        self.b.branch(Cond::Eq, is_set, zero, end, set);
        self.enter(set);
        let value = self.b.load(8, false, at.base, at.offset);
        let any = self.b.read(found);
        self.b.branch(Cond::Eq, any, zero, take, compare);
        self.enter(compare);
        let old = self.b.read(best);
        self.b.branch(beats, value, old, take, end);
        self.enter(take);
        self.b.write(best, value);
        let one = self.b.constant(1);
        self.b.write(found, one);
        self.join(end);
    }
}
