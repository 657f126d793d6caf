//! Arithmetic and comparisons without the instructions of set v4, and without branches: a branch
//! here would make the verifier walk the rest of the program once per outcome.

use kscope_spec::insn::{self, AluOp, Size};

use super::EmitError;
use super::lir::{Ins, Operand, Source, V};
use super::select::Select;
use crate::ir::{AtomicOp, BinOp, Cond, Op, Value};

const ALL_ONES: Operand = Operand::Imm(-1);

impl Select<'_> {
    /// Changes memory atomically.
    pub(super) fn atomic(
        &mut self,
        op: AtomicOp,
        bytes: u8,
        (base, offset): (Value, i32),
        value: Value,
    ) -> Result<(), EmitError> {
        let place = self.place(base, offset)?;
        let src = self.reg(value)?;
        let size = match bytes {
            4 => Size::W,
            8 => Size::DW,
            _ => return Err(EmitError::Malformed("bytes of an atomic change")),
        };
        let op = match op {
            AtomicOp::Add => insn::AtomicOp::Add,
            AtomicOp::And => insn::AtomicOp::And,
            AtomicOp::Or => insn::AtomicOp::Or,
            AtomicOp::Xor => insn::AtomicOp::Xor,
        };
        self.put(Ins::Atomic {
            op,
            size,
            base: place.base,
            offset: place.offset,
            src,
        });
        Ok(())
    }

    pub(super) fn binary(
        &mut self,
        op: BinOp,
        result: Value,
        left: Value,
        right: Value,
    ) -> Result<(), EmitError> {
        let dst = self.reg(result)?;
        let (mut left, mut right) = (left, right);
        if op.is_commutative() && self.constant(left).is_some() {
            (left, right) = (right, left);
        }
        if let (Some(a), Some(b)) = (self.constant(left), self.constant(right)) {
            self.put(Ins::Move {
                dst,
                src: Source::Const(op.apply(a, b)),
            });
            return Ok(());
        }
        if let Some(c) = self.constant(right) {
            return self.binary_const(op, dst, left, right, c);
        }
        if op.is_commutative() && matches!(self.defs[left.index()], Some(Op::Layout(_))) {
            (left, right) = (right, left);
        }
        if let (Some(Op::Layout(layout)), Some(alu)) = (self.defs[right.index()], with_layout(op)) {
            if i32::try_from(layout.value).is_ok() {
                let layout = *layout;
                let src = self.source(left)?;
                self.put(Ins::Move { dst, src });
                self.alu(alu, dst, Operand::Layout(layout));
                return Ok(());
            }
        }
        let (a, b) = (self.facts[left.index()], self.facts[right.index()]);
        let alu = match op {
            BinOp::Add => AluOp::Add,
            BinOp::Sub if self.constant(left) == Some(0) => {
                let src = self.source(right)?;
                self.put(Ins::Move { dst, src });
                self.put(Ins::Neg { dst });
                return Ok(());
            }
            BinOp::Sub => AluOp::Sub,
            BinOp::Mul => AluOp::Mul,
            BinOp::UDiv => AluOp::Div,
            BinOp::URem => AluOp::Mod,
            BinOp::SDiv if a.is_natural() && b.is_natural() => AluOp::Div,
            BinOp::SRem if a.is_natural() && b.is_natural() => AluOp::Mod,
            BinOp::SDiv | BinOp::SRem => return self.signed_division(op, dst, left, right),
            BinOp::And => AluOp::And,
            BinOp::Or => AluOp::Or,
            BinOp::Xor => AluOp::Xor,
            BinOp::Shl | BinOp::LShr | BinOp::AShr => {
                let count = if b.max <= 63 {
                    self.reg(right)?
                } else {
                    let source = self.source(right)?;
                    let count = self.copy_of(source);
                    self.alu(AluOp::And, count, Operand::Imm(63));
                    count
                };
                let src = self.source(left)?;
                self.put(Ins::Move { dst, src });
                self.alu(shift(op), dst, Operand::Reg(count));
                return Ok(());
            }
        };
        let right = self.reg(right)?;
        let src = self.source(left)?;
        self.put(Ins::Move { dst, src });
        self.alu(alu, dst, Operand::Reg(right));
        Ok(())
    }

    fn binary_const(
        &mut self,
        op: BinOp,
        dst: V,
        left: Value,
        right: Value,
        c: i64,
    ) -> Result<(), EmitError> {
        let power = (c as u64)
            .is_power_of_two()
            .then(|| c.trailing_zeros() as i32);
        let natural = self.facts[left.index()].is_natural();
        let src = self.source(left)?;
        let op = match op {
            BinOp::SDiv if natural && c > 0 => BinOp::UDiv,
            BinOp::SRem if natural && c > 0 => BinOp::URem,
            op => op,
        };
        if op == BinOp::And && c == 0xffff_ffff {
            let src = self.hold(src);
            self.put(Ins::Mov32 { dst, src });
            return Ok(());
        }
        let (alu, imm) = match op {
            BinOp::Add => (AluOp::Add, c),
            // The negation of the smallest number is no immediate.
            BinOp::Sub if c != i64::MIN => (AluOp::Add, -c),
            BinOp::Sub => (AluOp::Sub, c),
            BinOp::Mul => match power {
                Some(0) => (AluOp::Add, 0),
                Some(n) => (AluOp::Lsh, i64::from(n)),
                None => (AluOp::Mul, c),
            },
            BinOp::UDiv => match power {
                Some(0) => (AluOp::Add, 0),
                Some(n) => (AluOp::Rsh, i64::from(n)),
                None => (AluOp::Div, c),
            },
            BinOp::URem => match power {
                Some(_) => (AluOp::And, c.wrapping_sub(1)),
                None => (AluOp::Mod, c),
            },
            BinOp::SDiv if c == 1 => (AluOp::Add, 0),
            BinOp::SDiv | BinOp::SRem if c != 0 => {
                return self.signed_division(op, dst, left, right);
            }
            BinOp::SDiv => (AluOp::Div, 0),
            BinOp::SRem => (AluOp::Mod, 0),
            BinOp::And => (AluOp::And, c),
            BinOp::Or => (AluOp::Or, c),
            BinOp::Xor => (AluOp::Xor, c),
            BinOp::Shl | BinOp::LShr | BinOp::AShr => (shift(op), c & 63),
        };
        match (alu, imm) {
            // The verifier refuses an immediate zero as a divisor.
            (AluOp::Div, 0) => {
                self.put(Ins::Move {
                    dst,
                    src: Source::Const(0),
                });
                return Ok(());
            }
            (AluOp::Mod | AluOp::Add | AluOp::Or | AluOp::Xor, 0) => {
                self.put(Ins::Move { dst, src });
                return Ok(());
            }
            _ => {}
        }
        let operand = match i32::try_from(imm) {
            Ok(imm) => Operand::Imm(imm),
            Err(_) => Operand::Reg(self.hold(Source::Const(imm))),
        };
        self.put(Ins::Move { dst, src });
        self.alu(alu, dst, operand);
        Ok(())
    }

    /// Divides magnitudes and gives the result its sign: with `s = x >> 63`, `(x ^ s) - s` is
    /// the magnitude of `x`, and the same step puts a sign back.
    fn signed_division(
        &mut self,
        op: BinOp,
        dst: V,
        left: Value,
        right: Value,
    ) -> Result<(), EmitError> {
        let (alu, quotient) = match op {
            BinOp::SDiv => (AluOp::Div, true),
            _ => (AluOp::Mod, false),
        };
        let x = self.reg(left)?;
        let mut sign = self.sign(x);
        let y_constant = self.constant(right);
        let y = match y_constant {
            Some(c) => match i32::try_from(c.unsigned_abs()) {
                Ok(imm) => Operand::Imm(imm),
                Err(_) => Operand::Reg(self.hold(Source::Const(c.unsigned_abs() as i64))),
            },
            None if self.facts[right.index()].is_natural() => Operand::Reg(self.reg(right)?),
            None => {
                let y = self.reg(right)?;
                let s = self.sign(y);
                let magnitude = self.copy_of(Source::Reg(y));
                self.give_sign(magnitude, s);
                Operand::Reg(magnitude)
            }
        };
        self.put(Ins::Move {
            dst,
            src: Source::Reg(x),
        });
        self.give_sign(dst, sign);
        self.alu(alu, dst, y);
        if quotient {
            match y_constant {
                Some(c) if c < 0 => {
                    sign = self.copy_of(Source::Reg(sign));
                    self.alu(AluOp::Xor, sign, ALL_ONES);
                }
                Some(_) => {}
                None => {
                    let y = self.reg(right)?;
                    let both = self.copy_of(Source::Reg(x));
                    self.alu(AluOp::Xor, both, Operand::Reg(y));
                    self.alu(AluOp::Arsh, both, Operand::Imm(63));
                    sign = both;
                }
            }
        }
        self.give_sign(dst, sign);
        Ok(())
    }

    /// Gives -1 for a negative number, else 0.
    fn sign(&mut self, of: V) -> V {
        let sign = self.copy_of(Source::Reg(of));
        self.alu(AluOp::Arsh, sign, Operand::Imm(63));
        sign
    }

    /// Negates if the sign is -1.
    fn give_sign(&mut self, number: V, sign: V) {
        self.alu(AluOp::Xor, number, Operand::Reg(sign));
        self.alu(AluOp::Sub, number, Operand::Reg(sign));
    }

    pub(super) fn extend(
        &mut self,
        bytes: u8,
        signed: bool,
        value: Value,
        result: Value,
    ) -> Result<(), EmitError> {
        let dst = self.reg(result)?;
        let src = self.source(value)?;
        match (bytes, signed) {
            (4, false) => {
                let src = self.hold(src);
                self.put(Ins::Mov32 { dst, src });
            }
            (1 | 2, false) => {
                self.put(Ins::Move { dst, src });
                let mask = if bytes == 1 { 0xff } else { 0xffff };
                self.alu(AluOp::And, dst, Operand::Imm(mask));
            }
            (1 | 2 | 4, true) => {
                let shift = Operand::Imm(64 - 8 * i32::from(bytes));
                self.put(Ins::Move { dst, src });
                self.alu(AluOp::Lsh, dst, shift);
                self.alu(AluOp::Arsh, dst, shift);
            }
            (8, _) => self.put(Ins::Move { dst, src }),
            _ => return Err(EmitError::Malformed("bytes of an extension")),
        }
        Ok(())
    }

    /// Computes 0 or 1. Comparisons that only a branch looks at never come here: selection fuses
    /// them, and what is left unused is removed.
    pub(super) fn compare(
        &mut self,
        cond: Cond,
        result: Value,
        left: Value,
        right: Value,
    ) -> Result<(), EmitError> {
        let dst = self.reg(result)?;
        if let (Some(a), Some(b)) = (self.constant(left), self.constant(right)) {
            let holds = i64::from(cond.holds(a, b));
            self.put(Ins::Move {
                dst,
                src: Source::Const(holds),
            });
            return Ok(());
        }
        let natural =
            self.facts[left.index()].is_natural() && self.facts[right.index()].is_natural();
        // Everything is `left < right` or `left != right`, perhaps exchanged, perhaps negated.
        let (less, signed, exchange, negate) = match cond {
            Cond::Eq => (false, false, false, true),
            Cond::Ne => (false, false, false, false),
            Cond::Ult => (true, false, false, false),
            Cond::Uge => (true, false, false, true),
            Cond::Ugt => (true, false, true, false),
            Cond::Ule => (true, false, true, true),
            Cond::Slt => (true, true, false, false),
            Cond::Sge => (true, true, false, true),
            Cond::Sgt => (true, true, true, false),
            Cond::Sle => (true, true, true, true),
        };
        let (left, right) = if exchange {
            (right, left)
        } else {
            (left, right)
        };
        if !less {
            self.differ(dst, left, right)?;
        } else if natural {
            self.difference(AluOp::Sub, dst, left, right)?;
        } else if signed && self.constant(right) == Some(0) {
            let src = self.source(left)?;
            self.put(Ins::Move { dst, src });
        } else {
            self.borrow(dst, left, right, signed)?;
        }
        self.alu(AluOp::Rsh, dst, Operand::Imm(63));
        if negate {
            self.alu(AluOp::Xor, dst, Operand::Imm(1));
        }
        Ok(())
    }

    /// Computes `left op right` without changing either.
    fn difference(
        &mut self,
        op: AluOp,
        dst: V,
        left: Value,
        right: Value,
    ) -> Result<(), EmitError> {
        let operand = self.operand(right)?;
        let src = self.source(left)?;
        self.put(Ins::Move { dst, src });
        if operand != Operand::Imm(0) {
            self.alu(op, dst, operand);
        }
        Ok(())
    }

    /// Sets the top bit of `dst` if the operands differ.
    fn differ(&mut self, dst: V, left: Value, right: Value) -> Result<(), EmitError> {
        let natural =
            self.facts[left.index()].is_natural() && self.facts[right.index()].is_natural();
        self.difference(AluOp::Xor, dst, left, right)?;
        if natural {
            // Neither has the top bit: the negation of what differs has it.
            self.put(Ins::Neg { dst });
        } else {
            let minus = self.copy_of(Source::Reg(dst));
            self.put(Ins::Neg { dst: minus });
            self.alu(AluOp::Or, dst, Operand::Reg(minus));
        }
        Ok(())
    }

    /// Sets the top bit of `dst` to the borrow of `left - right`:
    /// `(!left & right) | (!(left ^ right) & (left - right))`, where for signed numbers the
    /// first part is `left & !right`.
    fn borrow(&mut self, dst: V, left: Value, right: Value, signed: bool) -> Result<(), EmitError> {
        let a = self.reg(left)?;
        let b = self.reg(right)?;
        let same = self.copy_of(Source::Reg(a));
        self.alu(AluOp::Xor, same, Operand::Reg(b));
        self.put(Ins::Move {
            dst,
            src: Source::Reg(same),
        });
        self.alu(AluOp::And, dst, Operand::Reg(if signed { a } else { b }));
        self.alu(AluOp::Xor, same, ALL_ONES);
        let difference = self.copy_of(Source::Reg(a));
        self.alu(AluOp::Sub, difference, Operand::Reg(b));
        self.alu(AluOp::And, same, Operand::Reg(difference));
        self.alu(AluOp::Or, dst, Operand::Reg(same));
        Ok(())
    }
}

fn shift(op: BinOp) -> AluOp {
    match op {
        BinOp::Shl => AluOp::Lsh,
        BinOp::LShr => AluOp::Rsh,
        _ => AluOp::Arsh,
    }
}

/// Gives the instruction whose immediate may be a number of the target's types.
fn with_layout(op: BinOp) -> Option<AluOp> {
    Some(match op {
        BinOp::Add => AluOp::Add,
        BinOp::Sub => AluOp::Sub,
        BinOp::Mul => AluOp::Mul,
        // Numbers of bits are below 64 on every target.
        BinOp::Shl | BinOp::LShr | BinOp::AShr => shift(op),
        _ => return None,
    })
}
