//! Constant folding and algebraic identities.

use super::{Replacements, constants, uses};
use crate::ir::{BinOp, Cond, Function, Inst, Op, Terminator, Ty, Value, bounded};

/// What an operation becomes.
enum Becomes {
    Op(Op),
    Value(Value),
}

/// Folds what is constant.
pub(super) fn run(function: &mut Function) -> bool {
    let mut folder = Folder {
        constants: constants(function),
        ops: vec![None; function.values.len()],
        uses: uses(function),
        bounded: bounded(function),
        fresh: Vec::new(),
        values: function.values.len(),
    };
    for inst in function.blocks.iter().flat_map(|b| &b.insts) {
        if let Some(result) = inst.result {
            folder.ops[result.index()] = Some(inst.op.clone());
        }
    }
    let mut replacements = Replacements::new(function);
    let mut changed = false;
    for block in &mut function.blocks {
        let old = std::mem::take(&mut block.insts);
        for mut inst in old {
            if let (Some(result), Some(becomes)) = (inst.result, folder.fold(&inst.op)) {
                changed = true;
                let fresh = folder.fresh.drain(..);
                block.insts.extend(fresh.map(|(value, c)| Inst {
                    result: Some(value),
                    op: Op::Const(c),
                    span: inst.span,
                }));
                match becomes {
                    Becomes::Value(value) => {
                        replacements.set(result, value);
                        continue;
                    }
                    Becomes::Op(op) => {
                        folder.note(result, &op);
                        inst.op = op;
                    }
                }
            }
            block.insts.push(inst);
        }
        changed |= folder.branch(&mut block.end);
    }
    function.values.resize(folder.values, Ty::I64);
    replacements.apply(function);
    changed
}

struct Folder {
    constants: Vec<Option<i64>>,
    ops: Vec<Option<Op>>,
    uses: Vec<u32>,
    /// What the verifier must see the bounds of.
    bounded: Vec<bool>,
    /// Constants that are to be defined before the instruction at hand.
    fresh: Vec<(Value, i64)>,
    /// Number of values.
    values: usize,
}

impl Folder {
    fn constant(&self, value: Value) -> Option<i64> {
        self.constants[value.index()]
    }

    fn op(&self, value: Value) -> Option<&Op> {
        self.ops[value.index()].as_ref()
    }

    fn note(&mut self, value: Value, op: &Op) {
        self.ops[value.index()] = Some(op.clone());
        if let Op::Const(c) = op {
            self.constants[value.index()] = Some(*c);
        }
    }

    fn fresh(&mut self, c: i64) -> Value {
        let value = Value(self.values as u32);
        self.values += 1;
        self.fresh.push((value, c));
        self.constants.push(Some(c));
        self.ops.push(Some(Op::Const(c)));
        value
    }

    fn fold(&mut self, op: &Op) -> Option<Becomes> {
        if let Some(c) = op.computed(|value| self.constant(value)) {
            return Some(Becomes::Op(Op::Const(c)));
        }
        match op {
            Op::Binary(op, a, b) => self.binary(*op, *a, *b),
            Op::Compare(cond, a, b) => self.compare(*cond, *a, *b),
            Op::Extend {
                bytes,
                signed,
                value,
            } => {
                // A misaligned load is put together from parts, whose bound no verifier sees.
                if self.bounded.get(value.index()) == Some(&true) {
                    return None;
                }
                let same = match self.op(*value)? {
                    Op::Load {
                        bytes: of,
                        signed: sign,
                        ..
                    }
                    | Op::Extend {
                        bytes: of,
                        signed: sign,
                        ..
                    } => sign == signed && of <= bytes,
                    Op::Compare(..) => true,
                    _ => false,
                };
                same.then_some(Becomes::Value(*value))
            }
            Op::PtrAdd { base, offset, .. } if self.constant(*offset) == Some(0) => {
                Some(Becomes::Value(*base))
            }
            _ => None,
        }
    }

    fn binary(&mut self, op: BinOp, a: Value, b: Value) -> Option<Becomes> {
        let (ca, cb) = (self.constant(a), self.constant(b));
        if ca.is_some() && op.is_commutative() {
            return Some(Becomes::Op(Op::Binary(op, b, a)));
        }
        let zero = Some(Becomes::Op(Op::Const(0)));
        if a == b {
            match op {
                BinOp::Sub | BinOp::Xor => return zero,
                BinOp::And | BinOp::Or => return Some(Becomes::Value(a)),
                _ => {}
            }
        }
        if ca == Some(0) && !matches!(op, BinOp::Sub) {
            // 0 / x, 0 % x and 0 << x; the commutative ones have it on the right.
            return zero;
        }
        let c = cb?;
        match (op, c) {
            (
                BinOp::Add
                | BinOp::Sub
                | BinOp::Or
                | BinOp::Xor
                | BinOp::Shl
                | BinOp::LShr
                | BinOp::AShr,
                0,
            )
            | (BinOp::Mul | BinOp::UDiv | BinOp::SDiv, 1)
            | (BinOp::And, -1)
            | (BinOp::URem | BinOp::SRem, 0) => Some(Becomes::Value(a)),
            (BinOp::Mul | BinOp::And | BinOp::UDiv | BinOp::SDiv, 0)
            | (BinOp::URem | BinOp::SRem, 1) => zero,
            (BinOp::Or, -1) => Some(Becomes::Op(Op::Const(-1))),
            (BinOp::Sub, c) => {
                let minus = self.fresh(c.wrapping_neg());
                Some(Becomes::Op(Op::Binary(BinOp::Add, a, minus)))
            }
            (BinOp::Shl | BinOp::LShr | BinOp::AShr, c) if !(0..64).contains(&c) => {
                let count = self.fresh(c & 63);
                Some(Becomes::Op(Op::Binary(op, a, count)))
            }
            (BinOp::Add | BinOp::Mul | BinOp::And | BinOp::Or | BinOp::Xor, c) => {
                // (x op c1) op c2 is x op (c1 op c2), unless a check of the inner one may bound
                // the outer one.
                if self.uses.get(a.index()) != Some(&1) {
                    return None;
                }
                let Some(Op::Binary(inner, x, y)) = self.op(a) else {
                    return None;
                };
                let (inner, x, y) = (*inner, *x, *y);
                let d = self.constant(y)?;
                if inner != op {
                    return None;
                }
                let both = self.fresh(op.apply(d, c));
                Some(Becomes::Op(Op::Binary(op, x, both)))
            }
            _ => None,
        }
    }

    fn compare(&mut self, cond: Cond, a: Value, b: Value) -> Option<Becomes> {
        if a == b {
            return Some(Becomes::Op(Op::Const(i64::from(cond.holds(0, 0)))));
        }
        if self.constant(a).is_some() {
            return Some(Becomes::Op(Op::Compare(cond.swapped(), b, a)));
        }
        let (cond, a, b) = self.through(cond, a, b)?;
        Some(Becomes::Op(Op::Compare(cond, a, b)))
    }

    /// Looks through a comparison whose result is compared with 0 or 1.
    fn through(&self, cond: Cond, a: Value, b: Value) -> Option<(Cond, Value, Value)> {
        let Some(Op::Compare(inner, x, y)) = self.op(a) else {
            return None;
        };
        let holds = match (cond, self.constant(b)?) {
            (Cond::Ne | Cond::Ugt | Cond::Sgt, 0) | (Cond::Eq | Cond::Uge | Cond::Sge, 1) => true,
            (Cond::Eq | Cond::Ule | Cond::Sle, 0) | (Cond::Ne | Cond::Ult | Cond::Slt, 1) => false,
            _ => return None,
        };
        Some((if holds { *inner } else { inner.negated() }, *x, *y))
    }

    /// Makes a branch compare what a comparison compared, with the constant on the right.
    fn branch(&self, end: &mut Terminator) -> bool {
        let Terminator::Branch {
            cond, left, right, ..
        } = end
        else {
            return false;
        };
        let mut changed = false;
        if self.constant(*left).is_some() && self.constant(*right).is_none() {
            *cond = cond.swapped();
            std::mem::swap(left, right);
            changed = true;
        }
        if let Some((inner, a, b)) = self.through(*cond, *left, *right) {
            (*cond, *left, *right) = (inner, a, b);
            changed = true;
        }
        changed
    }
}
