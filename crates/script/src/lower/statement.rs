//! Statements.

use super::function::{Lower, Result, VarPlace, unsupported};
use crate::diagnostic::{Diagnostic, Span};
use crate::hir::{Expr, ExprKind, Stmt, StmtKind, VarId};
use crate::ir::{Cond, Value};

/// Most values of a probe: the kernel takes no program of a million instructions.
const VALUES_LIMIT: usize = 500_000;

impl Lower<'_> {
    /// Lowers statements in order.
    pub(super) fn statements(&mut self, statements: &[Stmt]) -> Result<()> {
        for statement in statements {
            if self.b.is_ended() {
                // What follows a `return` or `exit` in the same block is never run.
                return Ok(());
            }
            if self.b.size() > VALUES_LIMIT {
                let message = format!("the probe computes more than {VALUES_LIMIT} values");
                let hint = "use loops in place of unroll, and fewer calls of macros";
                return Err(Diagnostic::error("too-large", statement.span, message).hint(hint));
            }
            self.b.at(statement.span);
            let kept = self.scratch.taken.len();
            self.statement(statement)?;
            self.scratch.free(kept);
        }
        Ok(())
    }

    fn statement(&mut self, statement: &Stmt) -> Result<()> {
        match &statement.kind {
            StmtKind::Expr(expr) => self.effect(expr),
            StmtKind::SetVar(var, value) => self.set_var(*var, value),
            StmtKind::SetMap { map, key, value } => {
                self.set_map(*map, key.as_ref(), value, statement.span)
            }
            StmtKind::ChangeMap {
                op,
                map,
                key,
                value,
            } => self.change_map(*op, (*map, key.as_ref()), value, statement.span),
            StmtKind::Update {
                map,
                key,
                value,
                now,
                call,
            } => {
                let values = [value.as_ref(), now.as_ref()];
                self.update_map(*map, key.as_ref(), values, *call)
            }
            StmtKind::Emit { site, args } => self.emit(*site, args),
            StmtKind::If {
                condition,
                then,
                otherwise,
            } => self.if_else(condition, then, otherwise),
            StmtKind::ForRange {
                var,
                start,
                end,
                body,
            } => self.for_range(statement, *var, start, end, body),
            StmtKind::ForMap { var, map, body } => self.for_map(statement, *var, *map, body),
            StmtKind::Repeat { count, body } => self.repeat(*count, body),
            StmtKind::While { condition, body } => self.while_loop(condition, body),
            StmtKind::Break => self.leave_loop(statement.span, |l| l.end),
            StmtKind::Continue => self.leave_loop(statement.span, |l| l.next),
            StmtKind::Return => {
                let exit = self.exit;
                self.b.jump(exit);
                Ok(())
            }
        }
    }

    /// Evaluates for the effect alone.
    fn effect(&mut self, expr: &Expr) -> Result<()> {
        if expr.ty.is_scalar() || matches!(expr.ty, crate::hir::Type::Void) {
            self.scalar(expr)?;
        } else {
            self.memory(expr)?;
        }
        Ok(())
    }

    fn set_var(&mut self, var: VarId, value: &Expr) -> Result<()> {
        let place = match self.var(var) {
            VarPlace::Scalar(_) | VarPlace::Cell(_) | VarPlace::Absent => {
                let span = value.span;
                let value = self.scalar(value)?;
                return self.write_var(var, value, span);
            }
            VarPlace::Slot(slot) => self.slot_place(slot),
            VarPlace::Outer(place) => place,
        };
        let size = value.ty.size();
        if fresh(value) {
            self.memory_into(value, place, true)
        } else {
            let from = self.memory(value)?;
            self.copy(place, from, size);
            Ok(())
        }
    }

    /// Gives a variable a number.
    pub(super) fn write_var(&mut self, var: VarId, value: Value, span: Span) -> Result<()> {
        match self.var(var) {
            VarPlace::Scalar(variable) => self.b.write(variable, value),
            VarPlace::Cell(cell) => self.b.store(8, cell.base, cell.offset, value),
            _ => return Err(unsupported(span, "this variable")),
        }
        Ok(())
    }

    /// Gives the number that a variable has.
    pub(super) fn read_var(&mut self, var: VarId, span: Span) -> Result<Value> {
        match self.var(var) {
            VarPlace::Scalar(variable) => Ok(self.b.read(variable)),
            VarPlace::Cell(cell) => Ok(self.b.load(8, false, cell.base, cell.offset)),
            _ => Err(unsupported(span, "this variable")),
        }
    }

    fn if_else(&mut self, condition: &Expr, then: &[Stmt], otherwise: &[Stmt]) -> Result<()> {
        let then_block = self.b.block();
        let else_block = self.b.block();
        let end = self.b.block();
        self.condition(condition, then_block, else_block)?;
        self.enter(then_block);
        self.statements(then)?;
        self.b.jump(end);
        self.enter(else_block);
        self.statements(otherwise)?;
        self.b.jump(end);
        self.enter(end);
        Ok(())
    }

    /// Branches on a condition without making a number of it.
    pub(super) fn condition(
        &mut self,
        expr: &Expr,
        then: crate::ir::Block,
        otherwise: crate::ir::Block,
    ) -> Result<()> {
        match &expr.kind {
            ExprKind::Logical { and, left, right } => {
                let second = self.b.block();
                if *and {
                    self.condition(left, second, otherwise)?;
                } else {
                    self.condition(left, then, second)?;
                }
                self.enter(second);
                self.condition(right, then, otherwise)
            }
            ExprKind::Not(inner) => self.condition(inner, otherwise, then),
            ExprKind::Compare {
                op,
                signed,
                left,
                right,
            } => {
                let cond = condition_code(*op, *signed);
                let left = self.scalar(left)?;
                let right = self.scalar(right)?;
                self.b.branch(cond, left, right, then, otherwise);
                Ok(())
            }
            ExprKind::CompareBytes {
                negated,
                len,
                left,
                right,
            } => {
                let (equal, different) = if *negated {
                    (otherwise, then)
                } else {
                    (then, otherwise)
                };
                self.compare_bytes(*len, left, right, equal, different)
            }
            ExprKind::StrPrefix { string, prefix } => {
                self.starts_with(string, prefix, then, otherwise)
            }
            ExprKind::HasKey { map, key } => self.has_key(*map, key, then, otherwise),
            _ => {
                let value = self.scalar(expr)?;
                let zero = self.b.constant(0);
                self.b.branch(Cond::Ne, value, zero, then, otherwise);
                Ok(())
            }
        }
    }
}

/// Says whether the expression reads no variable or map, so that it may be evaluated in place.
pub(super) fn fresh(expr: &Expr) -> bool {
    match &expr.kind {
        ExprKind::Str(_)
        | ExprKind::Builtin(_)
        | ExprKind::OptionStr(_)
        | ExprKind::CtxBytes { .. } => true,
        ExprKind::ReadStr { address, .. }
        | ExprKind::ReadBytes { address, .. }
        | ExprKind::ReadBuffer { address, .. }
        | ExprKind::ReadStrings { list: address, .. } => address.ty.is_scalar(),
        ExprKind::StrOfBytes(inner) => fresh(inner),
        _ => false,
    }
}

/// Gives the IR's condition for a comparison.
pub(super) fn condition_code(op: crate::hir::Comparison, signed: bool) -> Cond {
    use crate::hir::Comparison as C;
    match (op, signed) {
        (C::Eq, _) => Cond::Eq,
        (C::Ne, _) => Cond::Ne,
        (C::Lt, true) => Cond::Slt,
        (C::Le, true) => Cond::Sle,
        (C::Gt, true) => Cond::Sgt,
        (C::Ge, true) => Cond::Sge,
        (C::Lt, false) => Cond::Ult,
        (C::Le, false) => Cond::Ule,
        (C::Gt, false) => Cond::Ugt,
        (C::Ge, false) => Cond::Uge,
    }
}
