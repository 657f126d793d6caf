//! Expressions with a scalar value.

use kscope_spec::helper;

use super::function::{Lower, Place, Result, VarPlace, unsupported};
use super::search::Answer;
use crate::diagnostic::Span;
use crate::hir::{Arithmetic, BitLayout, Expr, ExprKind, Int, LayoutId, Space, Type};
use crate::ir::{BinOp, Cond, Layout, Value};

const BY_ZERO: &str = "Divide or modulo by 0 detected. This can lead to unexpected results. 1 is being used as the result.";

impl Lower<'_> {
    /// Evaluates to a number held extended from the width of its type.
    pub(super) fn scalar(&mut self, expr: &Expr) -> Result<Value> {
        let around = std::mem::replace(&mut self.at, expr.span);
        let value = self.scalar_here(expr);
        self.at = around;
        value
    }

    fn scalar_here(&mut self, expr: &Expr) -> Result<Value> {
        Ok(match &expr.kind {
            ExprKind::Int(value) => self.b.constant(*value),
            ExprKind::Builtin(builtin) => self.builtin(*builtin, expr.span)?,
            ExprKind::Arg(n) => self.argument(*n, &expr.ty, expr.span)?,
            ExprKind::Retval => self.return_value(&expr.ty, expr.span)?,
            ExprKind::Late(id) => self.b.late(*id),
            ExprKind::Var(var) => self.read_var(*var, expr.span)?,
            ExprKind::MapGet { map, key } => self.map_get_scalar(*map, key.as_deref(), expr)?,
            ExprKind::Delete { map, key } => self.delete(*map, key.as_deref())?,
            ExprKind::CtxLoad { offset, int, bits } => {
                let value = self.ctx_load(*offset, *int);
                match expr.ty {
                    Type::Pointer { .. } => self.context_pointer(value),
                    _ => self.extract(value, *int, *bits),
                }
            }
            ExprKind::CtxLoadAt { layout, int } => {
                let offset = self.layout(*layout);
                let base = self.ctx();
                self.b.load_at(int.bytes, int.signed, base, offset)
            }
            ExprKind::Layout(layout) => {
                let layout = self.layout(*layout);
                let value = self.b.layout(layout);
                match layout.value {
                    0..=0x7fff_ffff => value,
                    _ => self.fit(&expr.ty, value),
                }
            }
            ExprKind::LoadBits {
                address,
                space,
                bits,
                signed,
            } => {
                let address = self.scalar(address)?;
                self.read_bits(address, *space, *bits, *signed)
            }
            ExprKind::CtxDataLoc { offset, relative } => {
                let word = self.ctx_load(
                    *offset,
                    Int {
                        bytes: 4,
                        signed: false,
                    },
                );
                let low = self.b.extend(2, false, word);
                let ctx = self.ctx_address();
                let base = self.b.constant(i64::from(*relative));
                let start = self.b.binary(BinOp::Add, ctx, base);
                self.b.binary(BinOp::Add, start, low)
            }
            ExprKind::CtxAddress => self.ctx_address(),
            ExprKind::Load {
                address,
                int,
                space,
                bits,
            } => {
                let address = self.scalar(address)?;
                let value = self.read_scalar(address, *int, *space);
                self.extract(value, *int, *bits)
            }
            // It has been told when the script was checked.
            ExprKind::Binary {
                op: Arithmetic::Div | Arithmetic::Mod,
                left,
                right,
            } if matches!(right.kind, ExprKind::Int(0)) => {
                self.scalar(left)?;
                self.b.constant(1)
            }
            ExprKind::Binary { op, left, right } => {
                let divides = matches!(op, Arithmetic::Div | Arithmetic::Mod)
                    && !matches!(right.kind, ExprKind::Int(n) if n != 0);
                let left = self.scalar(left)?;
                let right = self.scalar(right)?;
                if divides {
                    self.division(*op, &expr.ty, left, right, expr.span)
                } else {
                    self.arithmetic(*op, &expr.ty, left, right)
                }
            }
            ExprKind::Neg(inner) => {
                let value = self.scalar(inner)?;
                let zero = self.b.constant(0);
                let value = self.b.binary(BinOp::Sub, zero, value);
                self.fit(&expr.ty, value)
            }
            ExprKind::BitNot(inner) => {
                let value = self.scalar(inner)?;
                let ones = self.b.constant(-1);
                let value = self.b.binary(BinOp::Xor, value, ones);
                self.fit(&expr.ty, value)
            }
            ExprKind::Compare {
                op,
                signed,
                left,
                right,
            } => {
                let cond = super::statement::condition_code(*op, *signed);
                let left = self.scalar(left)?;
                let right = self.scalar(right)?;
                self.b.compare(cond, left, right)
            }
            ExprKind::Not(inner) if !is_control(inner) => {
                let value = self.scalar(inner)?;
                let zero = self.b.constant(0);
                self.b.compare(Cond::Eq, value, zero)
            }
            ExprKind::Not(_)
            | ExprKind::Logical { .. }
            | ExprKind::CompareBytes { .. }
            | ExprKind::StrPrefix { .. }
            | ExprKind::HasKey { .. } => self.truth(expr)?,
            ExprKind::Ternary {
                condition,
                then,
                otherwise,
            } => {
                let result = self.b.variable();
                let then_block = self.b.block();
                let else_block = self.b.block();
                let end = self.b.block();
                self.condition(condition, then_block, else_block)?;
                for (block, value) in [(then_block, then), (else_block, otherwise)] {
                    self.enter(block);
                    let value = self.scalar(value)?;
                    self.b.write(result, value);
                    self.b.jump(end);
                }
                self.enter(end);
                self.b.read(result)
            }
            ExprKind::Cast(inner) => {
                let value = self.scalar(inner)?;
                if expr.ty == Type::Bool && inner.ty != Type::Bool {
                    let zero = self.b.constant(0);
                    self.b.compare(Cond::Ne, value, zero)
                } else if narrows(&inner.ty, &expr.ty) {
                    self.fit(&expr.ty, value)
                } else {
                    value
                }
            }
            ExprKind::Field { base, offset, bits } => {
                let int = self.stored(expr)?;
                let place = self.memory(base)?.at(*offset);
                let value = self.load(place, int);
                self.extract(value, int, *bits)
            }
            ExprKind::Index { base, index } => self.index_scalar(expr, base, index)?,
            ExprKind::StepVar {
                var,
                delta,
                postfix,
            } => {
                let old = self.read_var(*var, expr.span)?;
                let delta = self.b.constant(*delta);
                let new = self.b.binary(BinOp::Add, old, delta);
                let new = self.fit(&expr.ty, new);
                self.write_var(*var, new, expr.span)?;
                if *postfix { old } else { new }
            }
            ExprKind::StepMap {
                map,
                key,
                delta,
                postfix,
            } => self.step_map(*map, key.as_deref(), *delta, *postfix, expr.span)?,
            ExprKind::VarAddress(var) => {
                let place = match self.var(*var) {
                    VarPlace::Slot(slot) => self.slot_place(slot),
                    VarPlace::Cell(place) | VarPlace::Outer(place) => place,
                    _ => return Err(unsupported(expr.span, "this address")),
                };
                let address = self.address(place);
                self.bits_of(address)
            }
            ExprKind::MapAddress(map) => {
                let id = self.tables.script_map(*map);
                let map = self.b.map(id);
                self.bits_of(map)
            }
            ExprKind::MapLen(map) => self.map_len(*map),
            ExprKind::KernelStack => self.kernel_stack(),
            ExprKind::UserStackId => self.user_stack(),
            ExprKind::ByteSwap(inner) => {
                let int = self.stored(expr)?;
                let value = self.scalar(inner)?;
                let value = self.b.byte_swap(int.bytes, value);
                self.fit(&expr.ty, value)
            }
            ExprKind::Block(statements, value) => {
                self.statements(statements)?;
                self.scalar(value)?
            }
            ExprKind::Helper { helper, args } => {
                let value = self.helper(*helper, args)?;
                self.fit(&expr.ty, value)
            }
            ExprKind::StrLen(string) => self.str_len(string)?,
            ExprKind::StrFind { haystack, needle } => {
                self.search(haystack, needle, Answer::Where)?
            }
            ExprKind::StrContains { haystack, needle } => {
                self.search(haystack, needle, Answer::Whether)?
            }
            ExprKind::MemoryDifference { len, left, right } => {
                self.difference(*len, left, right)?
            }
            ExprKind::Register { offset } => self.ctx_load(*offset, Int::U64),
            ExprKind::Str(_)
            | ExprKind::OptionStr(_)
            | ExprKind::CtxBytes { .. }
            | ExprKind::ReadBytes { .. }
            | ExprKind::ReadStr { .. }
            | ExprKind::NameOf { .. }
            | ExprKind::StrOfBytes(_)
            | ExprKind::Resize(_)
            | ExprKind::ReadBuffer { .. }
            | ExprKind::ReadStrings { .. }
            | ExprKind::ReadArguments { .. }
            | ExprKind::BufferOf { .. }
            | ExprKind::Concat(..)
            | ExprKind::Bytes(_)
            | ExprKind::CommOf { .. }
            | ExprKind::ContextObject { .. }
            | ExprKind::PathOf(_)
            | ExprKind::Fields(_) => return Err(unsupported(expr.span, "this value as a number")),
        })
    }

    /// Makes 0 or 1 of a condition that is control flow.
    fn truth(&mut self, expr: &Expr) -> Result<Value> {
        let result = self.b.variable();
        let yes = self.b.block();
        let no = self.b.block();
        let end = self.b.block();
        self.condition(expr, yes, no)?;
        for (block, value) in [(yes, 1), (no, 0)] {
            self.enter(block);
            let value = self.b.constant(value);
            self.b.write(result, value);
            self.b.jump(end);
        }
        self.enter(end);
        Ok(self.b.read(result))
    }

    /// Gives how the value of the expression lies in memory.
    fn stored(&self, expr: &Expr) -> Result<Int> {
        expr.ty
            .scalar_int()
            .ok_or_else(|| unsupported(expr.span, "this value as a number"))
    }

    /// Truncates and extends to the width of the type.
    pub(super) fn fit(&mut self, ty: &Type, value: Value) -> Value {
        match ty.scalar_int() {
            Some(int) => self.b.extend(int.bytes, int.signed, value),
            None => value,
        }
    }

    fn arithmetic(&mut self, op: Arithmetic, ty: &Type, left: Value, right: Value) -> Value {
        let signed = ty.scalar_int().is_some_and(|int| int.signed);
        let op = match (op, signed) {
            (Arithmetic::Add, _) => BinOp::Add,
            (Arithmetic::Sub, _) => BinOp::Sub,
            (Arithmetic::Mul, _) => BinOp::Mul,
            (Arithmetic::Div, false) => BinOp::UDiv,
            (Arithmetic::Div, true) => BinOp::SDiv,
            (Arithmetic::Mod, false) => BinOp::URem,
            (Arithmetic::Mod, true) => BinOp::SRem,
            (Arithmetic::And, _) => BinOp::And,
            (Arithmetic::Or, _) => BinOp::Or,
            (Arithmetic::Xor, _) => BinOp::Xor,
            (Arithmetic::Shl, _) => BinOp::Shl,
            (Arithmetic::Shr, false) => BinOp::LShr,
            (Arithmetic::Shr, true) => BinOp::AShr,
        };
        let value = self.b.binary(op, left, right);
        self.fit(ty, value)
    }

    /// Divides by what may be zero: the result is 1 then, and the user is told.
    fn division(
        &mut self,
        op: Arithmetic,
        ty: &Type,
        left: Value,
        right: Value,
        span: Span,
    ) -> Value {
        let result = self.b.variable();
        let one = self.b.constant(1);
        self.b.write(result, one);
        let zero = self.b.constant(0);
        let by_zero = self.b.block();
        let divide = self.b.block();
        let end = self.b.block();
        self.b.branch(Cond::Eq, right, zero, by_zero, divide);
        self.enter(by_zero);
        self.warn(BY_ZERO, span);
        self.b.jump(end);
        self.enter(divide);
        let value = self.arithmetic(op, ty, left, right);
        self.b.write(result, value);
        self.join(end);
        self.b.read(result)
    }

    /// Loads a number from a place, in pieces where it is not aligned.
    pub(super) fn load(&mut self, place: Place, int: Int) -> Value {
        let width = place.width(u32::from(int.bytes));
        if width == int.bytes {
            return self.b.load(int.bytes, int.signed, place.base, place.offset);
        }
        let mut value = None;
        for at in (0..int.bytes).step_by(usize::from(width)) {
            let part = self
                .b
                .load(width, false, place.base, place.offset + i32::from(at));
            let shift = self.b.constant(i64::from(at) * 8);
            let part = self.b.binary(BinOp::Shl, part, shift);
            value = Some(match value {
                None => part,
                Some(sum) => self.b.binary(BinOp::Or, sum, part),
            });
        }
        match value {
            Some(value) if int.signed => self.b.extend(int.bytes, true, value),
            Some(value) => value,
            None => self.b.constant(0),
        }
    }

    /// Stores a number to a place, in pieces where it is not aligned.
    pub(super) fn store(&mut self, place: Place, bytes: u8, value: Value) {
        let width = place.width(u32::from(bytes));
        for at in (0..bytes).step_by(usize::from(width)) {
            let part = if at == 0 {
                value
            } else {
                let shift = self.b.constant(i64::from(at) * 8);
                self.b.binary(BinOp::LShr, value, shift)
            };
            self.b
                .store(width, place.base, place.offset + i32::from(at), part);
        }
    }

    /// Takes a bit-field out of its storage unit.
    fn extract(&mut self, value: Value, int: Int, bits: Option<kscope_rows::Bits>) -> Value {
        let Some(bits) = bits else { return value };
        let width = bits.width.clamp(1, 64);
        let left = 64u8.saturating_sub(width).saturating_sub(bits.shift);
        let up = self.b.constant(i64::from(left));
        let down = self.b.constant(i64::from(64 - width));
        let value = self.b.binary(BinOp::Shl, value, up);
        let shift = if int.signed { BinOp::AShr } else { BinOp::LShr };
        self.b.binary(shift, value, down)
    }

    /// Gives a pointer's bits as a number that the verifier knows nothing of: computing with it is
    /// no computing with a pointer. What is read by a helper has no provenance.
    fn bits_of(&mut self, pointer: Value) -> Value {
        let (kept, read) = (self.slot(8), self.slot(8));
        let (kept, read) = (self.slot_place(kept), self.slot_place(read));
        self.b.store(8, kept.base, 0, pointer);
        let len = self.b.constant(8);
        let args = vec![read.base, len, kept.base];
        self.b.call(helper::PROBE_READ_KERNEL, args);
        self.b.load(8, false, read.base, 0)
    }

    /// Reads a number from memory; 0 where it cannot be read.
    pub(super) fn read_scalar(&mut self, address: Value, int: Int, space: Space) -> Value {
        let slot = self.slot(8);
        let place = self.slot_place(slot);
        self.read_memory(place, u32::from(int.bytes), address, space);
        self.b.load(int.bytes, int.signed, place.base, 0)
    }

    /// Reads a bit-field from memory; 0 where it cannot be read.
    fn read_bits(&mut self, from: Value, space: Space, bits: BitLayout, signed: bool) -> Value {
        let slot = self.slot(8);
        let place = self.slot_place(slot);
        self.b.zero(place.base, place.offset, 8);
        let [size, left, right] = [bits.size, bits.left, bits.right].map(|id| {
            let layout = self.layout(id);
            self.b.layout(layout)
        });
        let to = self.address(place);
        let read = self.b.call(read_helper(space), vec![to, size, from]);
        self.tell_failed(read_helper(space), read);
        let value = self.b.load(8, false, place.base, place.offset);
        let value = self.b.binary(BinOp::Shl, value, left);
        let down = if signed { BinOp::AShr } else { BinOp::LShr };
        self.b.binary(down, value, right)
    }

    /// Gives what is asked of the target's types.
    fn layout(&self, id: LayoutId) -> Layout {
        let found = self.program.layouts.get(id.0 as usize);
        let value = found.map_or(0, |layout| layout.value);
        Layout { id, value }
    }

    /// Reads bytes from memory to a place; zeros where they cannot be read.
    pub(super) fn read_memory(&mut self, to: Place, len: u32, from: Value, space: Space) {
        let to = self.address(to);
        let len = self.b.constant(i64::from(len));
        let read = self.b.call(read_helper(space), vec![to, len, from]);
        self.tell_failed(read_helper(space), read);
    }

    fn index_scalar(&mut self, expr: &Expr, base: &Expr, index: &Expr) -> Result<Value> {
        let int = self.stored(expr)?;
        let place = self.memory(base)?;
        if let ExprKind::Int(index) = index.kind {
            let offset = index.checked_mul(i64::from(int.bytes));
            return Ok(match offset.and_then(|o| u32::try_from(o).ok()) {
                Some(at) if at + u32::from(int.bytes) <= base.ty.size() => {
                    self.load(place.at(at), int)
                }
                _ => self.b.constant(0),
            });
        }
        let result = self.b.variable();
        let zero = self.b.constant(0);
        self.b.write(result, zero);
        let end = self.b.block();
        let index = self.scalar(index)?;
        let element = self.element(place, index, u32::from(int.bytes), base.ty.size(), end);
        let value = self.load(element, int);
        self.b.write(result, value);
        self.b.jump(end);
        self.enter(end);
        Ok(self.b.read(result))
    }

    /// Gives the place of an array's element, or goes to `outside` where there is none.
    pub(super) fn element(
        &mut self,
        array: Place,
        index: Value,
        size: u32,
        array_size: u32,
        outside: crate::ir::Block,
    ) -> Place {
        let len = array_size.checked_div(size).unwrap_or(0);
        let limit = self.b.constant(i64::from(len));
        let inside = self.b.block();
        self.b.branch(Cond::Ult, index, limit, inside, outside);
        self.enter(inside);
        let scale = self.b.constant(i64::from(size));
        let offset = self.b.binary(BinOp::Mul, index, scale);
        let start = self.address(array);
        let bound = len.saturating_sub(1).saturating_mul(size);
        let base = self.b.ptr_add_var(start, offset, bound);
        let width = array.width(8.min(size.max(1)));
        let align = u32::from(width).min(1 << size.trailing_zeros().min(3));
        Place {
            base,
            offset: 0,
            align,
        }
    }
}

/// Says whether a condition is better lowered as control flow than as a number.
fn is_control(expr: &Expr) -> bool {
    matches!(
        expr.kind,
        ExprKind::Logical { .. }
            | ExprKind::CompareBytes { .. }
            | ExprKind::StrPrefix { .. }
            | ExprKind::HasKey { .. }
            | ExprKind::Not(_)
    )
}

/// Says whether a value of type `from` may be out of the range of type `to`.
fn narrows(from: &Type, to: &Type) -> bool {
    match (from.scalar_int(), to.scalar_int()) {
        (Some(from), Some(to)) => {
            let grows = from.bytes < to.bytes && (!from.signed || to.signed);
            !(grows || from == to || to.bytes == 8)
        }
        _ => true,
    }
}

/// Gives the helper that reads this memory.
pub(super) fn read_helper(space: Space) -> kscope_spec::HelperId {
    match space {
        Space::Kernel => helper::PROBE_READ_KERNEL,
        Space::User => helper::PROBE_READ_USER,
    }
}
