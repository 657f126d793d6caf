//! Changes of numbers in maps, in place.

use super::function::{Lower, Result, unsupported};
use super::is_aggregation;
use crate::diagnostic::Span;
use crate::hir::{Arithmetic, Expr, MapRef};
use crate::ir::{AtomicOp, BinOp, Value};

impl Lower<'_> {
    /// `@m += value`, `@m[key] |= value`; no update is lost. All eight bytes that the value has
    /// are changed, as by [`Lower::step_map`].
    pub(super) fn change_map(
        &mut self,
        op: Arithmetic,
        (map, key): (MapRef, Option<&Expr>),
        value: &Expr,
        span: Span,
    ) -> Result<()> {
        let op = match op {
            Arithmetic::Add => AtomicOp::Add,
            Arithmetic::And => AtomicOp::And,
            Arithmetic::Or => AtomicOp::Or,
            Arithmetic::Xor => AtomicOp::Xor,
            _ => return Err(unsupported(span, "this assignment to a map")),
        };
        let key = key.map(|key| self.key(map, key)).transpose()?;
        let value = self.scalar(value)?;
        let (info, id) = self.map_info(map);
        let kind = info.value.clone();
        let Some(key) = key else {
            let place = self.scalar_map_place(id);
            self.b.atomic(op, place.base, place.offset, value);
            self.mark_set(place, &kind);
            return Ok(());
        };
        let (place, full) = self.find_or_insert(map, key, span);
        self.b.atomic(op, place.base, place.offset, value);
        self.join(full);
        Ok(())
    }

    /// `@m++` and the like; no update is lost. The value is that of one moment where the kernel
    /// gives it with the addition; on kernels before 5.12, and in portable objects, it is read
    /// before, and what another CPU adds in between is not in it.
    pub(super) fn step_map(
        &mut self,
        map: MapRef,
        key: Option<&Expr>,
        delta: i64,
        postfix: bool,
        span: Span,
    ) -> Result<Value> {
        let (info, id) = self.map_info(map);
        if is_aggregation(&info.value) {
            return Err(unsupported(span, "a step of an aggregation"));
        }
        let Some(int) = info.value_type.scalar_int() else {
            return Err(unsupported(span, "a step of this map"));
        };
        let kind = info.value.clone();
        let result = self.b.variable();
        let (place, otherwise) = match key {
            None => (self.scalar_map_place(id), None),
            Some(key) => {
                let key = self.key(map, key)?;
                let zero = self.b.constant(0);
                self.b.write(result, zero);
                let (place, full) = self.find_or_insert(map, key, span);
                (place, Some(full))
            }
        };
        // All eight bytes that the value has are added to, whatever its type: there is no atomic
        // addition to one or two, and what runs over into the bytes above is read by nobody.
        let by = self.b.constant(delta);
        let old = if self.program.fetches {
            self.b.atomic_fetch_add(place.base, place.offset, by)
        } else {
            let old = self.load(place, int);
            self.b.atomic(AtomicOp::Add, place.base, place.offset, by);
            old
        };
        let result_of = |lower: &mut Self, value| match int.bytes {
            8 => value,
            bytes => lower.b.extend(bytes, int.signed, value),
        };
        let new = self.b.binary(BinOp::Add, old, by);
        let (old, new) = (result_of(self, old), result_of(self, new));
        // From zero on, steps up by one do not come back to zero; all else leaves a mark.
        if key.is_none() && (int.bytes < 8 || delta < 0) {
            self.mark_set(place, &kind);
        }
        self.b.write(result, if postfix { old } else { new });
        if let Some(full) = otherwise {
            self.join(full);
        }
        Ok(self.b.read(result))
    }
}
