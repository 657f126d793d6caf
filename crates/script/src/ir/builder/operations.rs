//! One method for each operation, appended to the current block.

use kscope_spec::{HelperId, LateId, MapId};

use super::Builder;
use crate::ir::{AtomicOp, BinOp, Cond, Function, Layout, Op, Pointer, SlotId, Ty, Value};

impl Builder {
    /// Defines a constant.
    pub fn constant(&mut self, value: i64) -> Value {
        self.define(Op::Const(value), Ty::I64)
    }

    /// Defines a late value.
    pub fn late(&mut self, id: LateId) -> Value {
        self.define(Op::Late(id), Ty::I64)
    }

    /// Defines a number that the target's types tell.
    pub fn layout(&mut self, layout: Layout) -> Value {
        self.define(Op::Layout(layout), Ty::I64)
    }

    /// Reads the context at an offset that the target's types tell.
    pub fn load_at(&mut self, bytes: u8, signed: bool, base: Value, offset: Layout) -> Value {
        let op = Op::LoadAt {
            bytes,
            signed,
            base,
            offset,
        };
        self.define(op, Ty::I64)
    }

    /// Gives the context.
    pub fn ctx(&mut self) -> Value {
        self.define(Op::Ctx, Ty::Ptr(Pointer::Ctx))
    }

    /// Gives an argument of a callback.
    pub fn argument(&mut self, index: u8) -> Value {
        let types = &self.function.arguments;
        let ty = types.get(usize::from(index)).copied().unwrap_or(Ty::I64);
        self.define(Op::Argument(index), ty)
    }

    /// Gives a finished function as an argument for helpers that call it.
    pub fn call_back(&mut self, function: Function) -> Value {
        let index = self.function.callbacks.len() as u32;
        self.function.callbacks.push(function);
        self.define(Op::Callback(index), Ty::Ptr(Pointer::Callback(index)))
    }

    /// Gives the address of a slot.
    pub fn slot_addr(&mut self, slot: SlotId) -> Value {
        self.define(Op::SlotAddr(slot), Ty::Ptr(Pointer::Slot(slot)))
    }

    /// Gives a map for helpers.
    pub fn map(&mut self, map: MapId) -> Value {
        self.define(Op::MapRef(map), Ty::Ptr(Pointer::Map(map)))
    }

    /// Gives the address of a byte of entry 0 of an array map.
    pub fn map_value_addr(&mut self, map: MapId, offset: u32) -> Value {
        self.define(
            Op::MapValueAddr { map, offset },
            Ty::Ptr(Pointer::MapValue(map)),
        )
    }

    /// Adds a constant to a pointer.
    pub fn ptr_add(&mut self, base: Value, offset: u32) -> Value {
        if offset == 0 {
            return base;
        }
        let ty = self.ty(base);
        let amount = self.constant(i64::from(offset));
        self.define(
            Op::PtrAdd {
                base,
                offset: amount,
                bound: offset,
            },
            ty,
        )
    }

    /// Adds a variable number of bytes, checked to be at most `bound`, to a pointer.
    pub fn ptr_add_var(&mut self, base: Value, offset: Value, bound: u32) -> Value {
        let ty = self.ty(base);
        self.define(
            Op::PtrAdd {
                base,
                offset,
                bound,
            },
            ty,
        )
    }

    /// Gives the pointer behind a maybe-null one.
    pub fn non_null(&mut self, value: Value) -> Value {
        let ty = match self.ty(value) {
            Ty::Ptr(Pointer::MapValueOrNull(map)) => Ty::Ptr(Pointer::MapValue(map)),
            Ty::Ptr(Pointer::RecordOrNull(size)) => Ty::Ptr(Pointer::Record(size)),
            Ty::Ptr(Pointer::TaskOrNull) => Ty::Ptr(Pointer::Task),
            Ty::Ptr(Pointer::ObjectOrNull) => Ty::Ptr(Pointer::Object),
            other => other,
        };
        self.define(Op::NonNull(value), ty)
    }

    /// Gives a pointer's bits as a number.
    pub fn ptr_to_int(&mut self, value: Value) -> Value {
        self.define(Op::PtrToInt(value), Ty::I64)
    }

    /// Computes.
    pub fn binary(&mut self, op: BinOp, left: Value, right: Value) -> Value {
        self.define(Op::Binary(op, left, right), Ty::I64)
    }

    /// Compares to 0 or 1.
    pub fn compare(&mut self, cond: Cond, left: Value, right: Value) -> Value {
        self.define(Op::Compare(cond, left, right), Ty::I64)
    }

    /// Truncates and extends; 8 bytes is the value itself.
    pub fn extend(&mut self, bytes: u8, signed: bool, value: Value) -> Value {
        if bytes == 8 {
            return value;
        }
        self.define(
            Op::Extend {
                bytes,
                signed,
                value,
            },
            Ty::I64,
        )
    }

    /// Swaps bytes; 1 byte is the value itself.
    pub fn byte_swap(&mut self, bytes: u8, value: Value) -> Value {
        if bytes == 1 {
            return value;
        }
        self.define(Op::ByteSwap { bytes, value }, Ty::I64)
    }

    /// Loads a number.
    pub fn load(&mut self, bytes: u8, signed: bool, base: Value, offset: i32) -> Value {
        self.define(
            Op::Load {
                bytes,
                signed,
                base,
                offset,
            },
            Ty::I64,
        )
    }

    /// Loads a pointer: a member of the kernel's, or what a callback was given.
    pub fn load_pointer(&mut self, base: Value, offset: i32, pointer: Pointer) -> Value {
        let op = Op::Load {
            bytes: 8,
            signed: false,
            base,
            offset,
        };
        self.define(op, Ty::Ptr(pointer))
    }

    /// Stores a number.
    pub fn store(&mut self, bytes: u8, base: Value, offset: i32, value: Value) {
        self.push(
            Op::Store {
                bytes,
                base,
                offset,
                value,
            },
            None,
        );
    }

    /// Changes eight bytes atomically.
    pub fn atomic(&mut self, op: AtomicOp, base: Value, offset: i32, value: Value) {
        self.push(
            Op::Atomic {
                op,
                bytes: 8,
                base,
                offset,
                value,
            },
            None,
        );
    }

    /// Adds to eight bytes atomically and gives what was there before.
    pub fn atomic_fetch_add(&mut self, base: Value, offset: i32, value: Value) -> Value {
        let op = Op::AtomicFetchAdd {
            base,
            offset,
            value,
        };
        self.define(op, Ty::I64)
    }

    /// Zeroes bytes.
    pub fn zero(&mut self, base: Value, offset: i32, len: u32) {
        if len > 0 {
            self.push(Op::Zero { base, offset, len }, None);
        }
    }

    /// Copies bytes.
    pub fn copy(&mut self, to: (Value, i32), from: (Value, i32), len: u32) {
        if len > 0 {
            let (to, to_offset) = to;
            let (from, from_offset) = from;
            self.push(
                Op::Copy {
                    to,
                    to_offset,
                    from,
                    from_offset,
                    len,
                },
                None,
            );
        }
    }

    /// Calls a helper that gives a number.
    pub fn call(&mut self, helper: HelperId, args: Vec<Value>) -> Value {
        self.define(
            Op::Call {
                helper: helper.0,
                args,
            },
            Ty::I64,
        )
    }

    /// Calls a helper that gives a pointer.
    pub fn call_pointer(&mut self, helper: HelperId, args: Vec<Value>, pointer: Pointer) -> Value {
        self.define(
            Op::Call {
                helper: helper.0,
                args,
            },
            Ty::Ptr(pointer),
        )
    }
}
