//! Statements.

use super::function::{Loop, Lower, Result, VarPlace, unsupported};
use crate::diagnostic::{Diagnostic, Span};
use crate::hir::{Expr, ExprKind, Stmt, StmtKind, VarId};
use crate::ir::{BinOp, Cond, Variable};

/// Most values of a probe: the kernel takes no program of a million instructions.
const VALUES_LIMIT: usize = 500_000;
/// Most rounds of a `for` over a range of constants.
const RANGE_LIMIT: i64 = 10_000;
/// Most rounds of one whose bounds are not constant; the verifier walks through each of them.
const OPEN_RANGE_LIMIT: u32 = 1024;

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
            self.statement(statement)?;
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
            StmtKind::Update {
                map,
                key,
                value,
                call,
            } => self.update_map(*map, key.as_ref(), value.as_ref(), *call),
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
            } => self.for_range(*var, start, end, body, statement.span),
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
        match self.var(var) {
            VarPlace::Scalar(variable) => {
                let value = self.scalar(value)?;
                self.b.write(variable, value);
            }
            VarPlace::Slot(slot) => {
                let size = value.ty.size();
                if fresh(value) {
                    let to = self.slot_place(slot);
                    self.memory_into(value, to, true)?;
                } else {
                    let from = self.memory(value)?;
                    let to = self.slot_place(slot);
                    self.copy(to, from, size);
                }
            }
        }
        Ok(())
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

    fn for_range(
        &mut self,
        var: VarId,
        start: &Expr,
        end: &Expr,
        body: &[Stmt],
        span: Span,
    ) -> Result<()> {
        let VarPlace::Scalar(variable) = self.var(var) else {
            return Err(unsupported(span, "this loop variable"));
        };
        let (ExprKind::Int(first), ExprKind::Int(last)) = (&start.kind, &end.kind) else {
            return self.open_range(variable, start, end, body, span);
        };
        let rounds = last.saturating_sub(*first).max(0);
        if rounds > RANGE_LIMIT {
            return Err(unsupported(
                span,
                &format!("a range of more than {RANGE_LIMIT} rounds"),
            ));
        }
        let first = *first;
        self.rounds(rounds as u32, |lower, round, around| {
            let first = lower.b.constant(first);
            let value = lower.b.binary(BinOp::Add, round, first);
            lower.b.write(variable, value);
            lower.loop_body(body, around)
        })
    }

    /// A range whose bounds are known when it runs: the verifier wants a limit all the same.
    fn open_range(
        &mut self,
        variable: Variable,
        start: &Expr,
        end: &Expr,
        body: &[Stmt],
        span: Span,
    ) -> Result<()> {
        let first = self.scalar(start)?;
        let last = self.scalar(end)?;
        let done = self.b.block();
        self.rounds(OPEN_RANGE_LIMIT, |lower, round, around| {
            let value = lower.b.binary(BinOp::Add, first, round);
            let inside = lower.b.block();
            lower.b.branch(Cond::Slt, value, last, inside, done);
            lower.enter(inside);
            lower.b.write(variable, value);
            let around = Loop {
                end: done,
                ..around
            };
            lower.loop_body(body, around)
        })?;
        // All rounds are used up; tell it where the range goes on.
        let limit = self.b.constant(i64::from(OPEN_RANGE_LIMIT));
        let next = self.b.binary(BinOp::Add, first, limit);
        let cut = self.b.block();
        self.b.branch(Cond::Slt, next, last, cut, done);
        self.enter(cut);
        self.warn(
            &format!("for over a range ended after {OPEN_RANGE_LIMIT} rounds: more only with constant bounds"),
            span,
        );
        self.join(done);
        Ok(())
    }

    fn repeat(&mut self, count: u32, body: &[Stmt]) -> Result<()> {
        for _ in 0..count {
            let next = self.b.block();
            let end = self.b.block();
            self.loop_body(body, Loop { next, end })?;
            self.join(next);
            self.join(end);
        }
        Ok(())
    }

    fn while_loop(&mut self, condition: &Expr, body: &[Stmt]) -> Result<()> {
        let head = self.b.block();
        let inside = self.b.block();
        let end = self.b.block();
        self.b.jump(head);
        self.b.switch_to(head);
        self.condition(condition, inside, end)?;
        self.enter(inside);
        self.loop_body(body, Loop { next: head, end })?;
        self.b.jump(head);
        self.b.seal(head);
        self.enter(end);
        Ok(())
    }

    fn loop_body(&mut self, body: &[Stmt], around: Loop) -> Result<()> {
        self.loops.push(around);
        let result = self.statements(body);
        self.loops.pop();
        result
    }

    fn leave_loop(&mut self, span: Span, to: impl Fn(&Loop) -> crate::ir::Block) -> Result<()> {
        let Some(block) = self.loops.last().map(to) else {
            return Err(unsupported(span, "a jump outside of a loop"));
        };
        self.b.jump(block);
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
            ExprKind::StrContains { haystack, needle } => {
                self.contains(haystack, needle, then, otherwise)
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
        ExprKind::ReadStr { address, .. } | ExprKind::ReadBytes { address, .. } => {
            address.ty.is_scalar()
        }
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
