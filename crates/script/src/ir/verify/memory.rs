//! Rules of memory: which pointers may be read and written, and how far.

use super::{Kind, Verifier};
use crate::ir::{Op, Pointer, Ty, Value};

impl Verifier<'_> {
    pub(super) fn memory(&mut self, op: &Op) -> Option<Ty> {
        match *op {
            Op::Load {
                bytes,
                base,
                offset,
                ..
            } => {
                self.access_size(bytes);
                self.readable(base);
                self.within(base, offset, u32::from(bytes));
                Some(Ty::I64)
            }
            Op::LoadAt { bytes, base, .. } => {
                self.access_size(bytes);
                self.require(self.ty(base) == Ty::Ptr(Pointer::Ctx), Kind::Pointer(base));
                Some(Ty::I64)
            }
            Op::Store {
                bytes,
                base,
                offset,
                value,
            } => {
                self.access_size(bytes);
                self.stored(bytes, base, value);
                self.writable(base);
                self.within(base, offset, u32::from(bytes));
                None
            }
            Op::Atomic {
                op: _,
                bytes,
                base,
                offset,
                value,
            } => {
                self.require(matches!(bytes, 4 | 8), Kind::Bytes(u32::from(bytes)));
                self.number(value);
                self.writable(base);
                self.within(base, offset, u32::from(bytes));
                None
            }
            Op::AtomicFetchAdd {
                base,
                offset,
                value,
            } => {
                self.number(value);
                self.writable(base);
                self.within(base, offset, 8);
                Some(Ty::I64)
            }
            Op::Zero { base, offset, len } => {
                self.writable(base);
                self.within(base, offset, len);
                None
            }
            Op::Copy {
                to,
                to_offset,
                from,
                from_offset,
                len,
            } => {
                self.writable(to);
                self.readable(from);
                self.within(to, to_offset, len);
                self.within(from, from_offset, len);
                None
            }
            _ => None,
        }
    }

    /// Checks that a number is stored, or a pointer for callbacks in a slot.
    fn stored(&mut self, bytes: u8, base: Value, value: Value) {
        let kept = matches!(
            self.ty(value),
            Ty::Ptr(
                Pointer::Slot(_)
                    | Pointer::Outer(_)
                    | Pointer::Captured(_)
                    | Pointer::Ctx
                    | Pointer::Map(_)
            )
        );
        let slot = matches!(self.ty(base), Ty::Ptr(Pointer::Slot(_)));
        if !(kept && slot && bytes == 8) {
            self.number(value);
        }
    }

    fn access_size(&mut self, bytes: u8) {
        self.require(
            matches!(bytes, 1 | 2 | 4 | 8),
            Kind::Bytes(u32::from(bytes)),
        );
    }

    fn writable(&mut self, base: Value) {
        self.readable(base);
        let kernels = matches!(
            self.ty(base),
            Ty::Ptr(Pointer::Ctx | Pointer::Task | Pointer::Cred | Pointer::MapKey(_))
        );
        self.require(!kernels, Kind::Pointer(base));
    }

    fn readable(&mut self, base: Value) {
        match self.ty(base) {
            Ty::Ptr(
                Pointer::Ctx
                | Pointer::Slot(_)
                | Pointer::MapValue(_)
                | Pointer::Record(_)
                | Pointer::Task
                | Pointer::Cred
                | Pointer::MapKey(_)
                | Pointer::Captured(_)
                | Pointer::Outer(_),
            ) => {}
            Ty::Ptr(
                Pointer::MapValueOrNull(_)
                | Pointer::RecordOrNull(_)
                | Pointer::TaskOrNull
                | Pointer::ObjectOrNull,
            ) => {
                self.error(Kind::MaybeNull(base));
            }
            Ty::Ptr(Pointer::Map(_) | Pointer::Callback(_) | Pointer::Object) | Ty::I64 => {
                self.error(Kind::Pointer(base));
            }
        }
    }

    /// Checks an access against the size of a slot or record.
    fn within(&mut self, base: Value, offset: i32, len: u32) {
        let size = match self.ty(base) {
            Ty::Ptr(Pointer::Slot(slot)) => self.function.slots[slot.index()].size,
            Ty::Ptr(Pointer::Record(size) | Pointer::Captured(size) | Pointer::Outer(size)) => size,
            _ => return,
        };
        let Some((least, most)) = self.reach(base) else {
            return;
        };
        let start = least + i64::from(offset);
        let end = most + i64::from(offset) + i64::from(len);
        let inside = start >= 0 && end <= i64::from(size);
        self.require(inside, Kind::OutOfBounds { start, end, size });
    }

    /// Gives the least and greatest offset of a pointer from its origin, if that is known.
    fn reach(&self, base: Value) -> Option<(i64, i64)> {
        let (mut least, mut most) = (0_i64, 0_i64);
        let mut value = base;
        loop {
            match self.ops[value.index()]? {
                Op::PtrAdd {
                    base,
                    offset,
                    bound,
                } => {
                    let bound = i64::from(*bound);
                    let (a, b) = match self.constant(*offset) {
                        Some(c) if (0..=bound).contains(&c) => (c, c),
                        // A constant above the bound stands in code that never runs.
                        _ => (0, bound),
                    };
                    least = least.checked_add(a)?;
                    most = most.checked_add(b)?;
                    value = *base;
                }
                _ => return Some((least, most)),
            }
        }
    }

    pub(super) fn ptr_add(&mut self, base: Value, offset: Value) -> Ty {
        self.number(offset);
        let ty = self.ty(base);
        match (ty, self.constant(offset)) {
            (
                Ty::Ptr(
                    Pointer::Ctx
                    | Pointer::Slot(_)
                    | Pointer::MapValue(_)
                    | Pointer::Record(_)
                    | Pointer::MapKey(_)
                    | Pointer::Captured(_)
                    | Pointer::Outer(_)
                    | Pointer::Object,
                ),
                Some(_),
            ) => {}
            (
                Ty::Ptr(
                    Pointer::Slot(_)
                    | Pointer::MapValue(_)
                    | Pointer::Record(_)
                    | Pointer::Outer(_),
                ),
                None,
            ) => {}
            _ => self.error(Kind::Pointer(base)),
        }
        ty
    }
}
