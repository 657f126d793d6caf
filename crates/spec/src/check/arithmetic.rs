//! What instructions make of values that are known.

use super::state::{State, Value};
use crate::insn::{AluOp, Cond, Op, Operand, Width};

/// What a move of that width leaves of a value.
pub(super) fn moved(width: Width, value: Value) -> Value {
    match (width, value) {
        (Width::W64, value) => value,
        (Width::W32, Value::Const(number)) => Value::Const(i64::from(number as u32)),
        (Width::W32, _) => Value::Any,
    }
}

/// Tells whether arithmetic on pointers is one that kernels let a program do.
pub(super) fn allowed(width: Width, op: AluOp, left: Value, right: Value) -> bool {
    match (left.is_pointer(), right.is_pointer()) {
        (false, false) => true,
        _ if width == Width::W32 => false,
        (true, true) => op == AluOp::Sub,
        (true, false) => matches!(op, AluOp::Add | AluOp::Sub) && moves(left, right),
        (false, true) => op == AluOp::Add && moves(right, left),
    }
}

/// Tells whether a pointer may be moved by so much.
fn moves(pointer: Value, by: Value) -> bool {
    match pointer {
        Value::Context => matches!(by, Value::Const(_)),
        Value::Map(_) | Value::MaybeNull { .. } => false,
        _ => true,
    }
}

/// What arithmetic makes of two values.
pub(super) fn arithmetic(width: Width, op: AluOp, left: Value, right: Value) -> Value {
    match (left, right) {
        (Value::Frame(from), Value::Const(by)) if width == Width::W64 => match op {
            AluOp::Add => Value::Frame(from.saturating_add(by)),
            AluOp::Sub => Value::Frame(from.saturating_sub(by)),
            _ => Value::Any,
        },
        (Value::Object { call, size, off }, Value::Const(by)) if width == Width::W64 => {
            let off = match op {
                AluOp::Add => off.saturating_add(by),
                AluOp::Sub => off.saturating_sub(by),
                _ => return Value::Any,
            };
            Value::Object { call, size, off }
        }
        (Value::Const(by), Value::Frame(from)) if width == Width::W64 && op == AluOp::Add => {
            Value::Frame(from.saturating_add(by))
        }
        (Value::Frame(_) | Value::SomeFrame, Value::Frame(_) | Value::SomeFrame) => Value::Any,
        (Value::Frame(_) | Value::SomeFrame, _) if matches!(op, AluOp::Add | AluOp::Sub) => {
            Value::SomeFrame
        }
        (_, Value::Frame(_) | Value::SomeFrame) if op == AluOp::Add => Value::SomeFrame,
        (Value::Const(left), Value::Const(right)) => constant(width, op, left, right),
        _ => Value::Any,
    }
}

/// Computes what compilers leave of constants; the rest is not followed.
fn constant(width: Width, op: AluOp, left: i64, right: i64) -> Value {
    let value = match op {
        AluOp::Add => left.wrapping_add(right),
        AluOp::Sub => left.wrapping_sub(right),
        AluOp::Mul => left.wrapping_mul(right),
        AluOp::And => left & right,
        AluOp::Or => left | right,
        AluOp::Xor => left ^ right,
        _ => return Value::Any,
    };
    moved(width, Value::Const(value))
}

/// Splits what is known of a helper's result when it is compared with null.
pub(super) fn compare_null(op: Op, taken: &mut State, not_taken: &mut State) {
    let Op::Branch {
        width: Width::W64,
        cond,
        dst,
        src: Operand::Imm(0),
        ..
    } = op
    else {
        return;
    };
    let Value::MaybeNull { call, .. } = taken.get(dst) else {
        return;
    };
    let (null, pointer) = match cond {
        Cond::Eq => (taken, not_taken),
        Cond::Ne => (not_taken, taken),
        _ => return,
    };
    null.settle(call, true);
    pointer.settle(call, false);
}
