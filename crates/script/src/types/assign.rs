//! Assignments.

use super::infer::{MapContents, Shape};
use super::{Checker, make};
use crate::diagnostic::{Diagnostic, Span};
use crate::hir::{Arithmetic, Expr, ExprKind, MapRef, Stmt, StmtKind, Type};
use crate::syntax::tree::{self, BinaryOp};

impl Checker<'_> {
    /// `target = value`, `target += value` and the like.
    pub(super) fn assign(
        &mut self,
        target: &tree::Expr,
        op: Option<BinaryOp>,
        value: &tree::Expr,
        span: Span,
    ) -> Option<Stmt> {
        if let (None, tree::ExprKind::Call { name, args }) = (op, &value.kind) {
            if super::aggregate::FUNCTIONS.contains(&name.text.as_str())
                && !self.is_macro(&name.text, args.len())
            {
                return self.aggregate(target, name, args, value.span, span);
            }
        }
        // `@ = { …; count() }`: an aggregation at the end of a block.
        if let (None, tree::ExprKind::Block(block)) = (op, &value.kind) {
            let last = block.value.as_deref().map(|last| (last, &last.kind));
            if let Some((last, tree::ExprKind::Call { name, args })) = last {
                if super::aggregate::FUNCTIONS.contains(&name.text.as_str())
                    && !self.is_macro(&name.text, args.len())
                {
                    return self.in_block(|c| {
                        let mut before = Vec::new();
                        c.statements(&block.statements, &mut before);
                        c.pending.append(&mut before);
                        c.assign(target, op, last, span)
                    });
                }
            }
        }
        match &target.kind {
            tree::ExprKind::Var(name) => self.assign_var(name, target.span, op, value, span),
            tree::ExprKind::Map { name, key } => {
                self.assign_map(name, key.as_deref(), target.span, op, value, span)
            }
            tree::ExprKind::Field { .. } | tree::ExprKind::Index { .. } => {
                self.expr(target);
                self.expr(value);
                self.error(
                    "invalid-assignment",
                    target.span,
                    "tuples, records and memory can not be assigned to",
                );
                None
            }
            tree::ExprKind::Error => None,
            _ => {
                self.expr(value);
                self.error(
                    "invalid-assignment",
                    target.span,
                    "only variables and maps can be assigned to",
                );
                None
            }
        }
    }

    fn assign_var(
        &mut self,
        name: &str,
        at: Span,
        op: Option<BinaryOp>,
        value: &tree::Expr,
        span: Span,
    ) -> Option<Stmt> {
        if let Some(id) = self.find_var(name) {
            self.scope.unassigned.retain(|(var, _)| *var != id);
        }
        if value_is_void_call(value) {
            self.expr(value);
            return None;
        }
        let value = self.expr(value);
        let value = self.storable(value);
        let Some(op) = op else {
            let id = match self.find_var(name) {
                Some(id) => id,
                None => {
                    let id = self.declare_var(name, at);
                    self.scope.assigned.push((id, at));
                    id
                }
            };
            return self.set_var(id, value, span);
        };
        let Some(id) = self.find_var(name) else {
            self.read_var(name, at);
            return None;
        };
        let Some(shape) = self.var_shape(id).cloned() else {
            self.var_info(id)?.wants_number = true;
            return None;
        };
        let read = make(ExprKind::Var(id), shape.ty, at);
        let value = self.binary_of(op, read, value, span);
        if value.ty == Type::Void {
            return None;
        }
        if self.var_info(id)?.declared {
            let ty = self.var_shape(id)?.ty.clone();
            let value = super::convert::convert(value, &ty);
            let kind = StmtKind::SetVar(id, value);
            return Some(Stmt { kind, span });
        }
        self.set_var(id, value, span)
    }

    fn assign_map(
        &mut self,
        name: &str,
        key: Option<&tree::Expr>,
        at: Span,
        op: Option<BinaryOp>,
        value: &tree::Expr,
        span: Span,
    ) -> Option<Stmt> {
        let value = self.map_value(value, name);
        let (map, mut key) = self.map_access(name, key, at);
        let value = match op {
            None => value?,
            Some(op) => {
                let value = value?;
                match self.map_contents(map) {
                    MapContents::Unknown => {
                        self.want_number(map);
                        return None;
                    }
                    MapContents::Aggregate(_) => {
                        self.plain_shape(map, span);
                        return None;
                    }
                    MapContents::Plain(shape) => {
                        let numbers =
                            matches!((&shape.ty, &value.ty), (Type::Int(_), Type::Int(_)));
                        if let Some(change) = self.in_place(op).filter(|_| numbers) {
                            let op = (op, change);
                            return self.change_map(map, key, op, value, (at, span));
                        }
                    }
                }
                key = key.map(|k| self.once(k));
                let read = self.read_map_at(map, key.clone(), at);
                self.binary_of(op, read, value, span)
            }
        };
        let shape = self.shape(&value);
        if !self.grow_map(map, &shape, span) {
            return None;
        }
        let MapContents::Plain(shape) = self.map_contents(map) else {
            return None;
        };
        let value = self.coerce(value, &shape.ty);
        if key.as_ref().is_some_and(|k| k.ty == Type::Void) {
            return None;
        }
        let kind = StmtKind::SetMap { map, key, value };
        Some(Stmt { kind, span })
    }

    /// Gives what programs can do in place of this to a number in memory, losing nothing that
    /// other CPUs do.
    fn in_place(&self, op: BinaryOp) -> Option<Arithmetic> {
        match op {
            BinaryOp::Add | BinaryOp::Sub => Some(Arithmetic::Add),
            BinaryOp::BitAnd if self.fetches() => Some(Arithmetic::And),
            BinaryOp::BitOr if self.fetches() => Some(Arithmetic::Or),
            BinaryOp::BitXor if self.fetches() => Some(Arithmetic::Xor),
            _ => None,
        }
    }

    /// `@m += value`, `@m |= value` of numbers: in place, so that no other CPU's is lost.
    fn change_map(
        &mut self,
        map: MapRef,
        key: Option<Expr>,
        (op, change): (BinaryOp, Arithmetic),
        value: Expr,
        (at, span): (Span, Span),
    ) -> Option<Stmt> {
        let read = self.read_map_at(map, key.clone(), at);
        let sum = self.binary_of(op, read, value.clone(), span);
        let shape = self.shape(&sum);
        if !self.grow_map(map, &shape, span) {
            return None;
        }
        let MapContents::Plain(shape) = self.map_contents(map) else {
            return None;
        };
        if key.as_ref().is_some_and(|k| k.ty == Type::Void) {
            return None;
        }
        let value = super::convert::convert(value, &shape.ty);
        let value = match op {
            BinaryOp::Sub => make(ExprKind::Neg(Box::new(value)), shape.ty, span),
            _ => value,
        };
        let kind = StmtKind::ChangeMap {
            op: change,
            map,
            key,
            value,
        };
        Some(Stmt { kind, span })
    }

    /// Checks a value that goes into a map. The number of an aggregation must be asked for.
    fn map_value(&mut self, e: &tree::Expr, target: &str) -> Option<Expr> {
        if let tree::ExprKind::Map { name, .. } = &e.kind {
            let find = |c: &Self, name: &str| {
                let index = c.env.by_name.get(name).copied();
                index.map(|i| MapRef(i as u32))
            };
            let aggregate = find(self, name).and_then(|m| self.aggregate_of(m));
            // A map that holds numbers anyway takes the number of an aggregation.
            let number = find(self, target).map(|m| self.map_contents(m));
            let number = matches!(
                number,
                Some(MapContents::Plain(Shape {
                    ty: Type::Int(_),
                    ..
                }))
            );
            if let Some(aggregate) = aggregate.filter(|_| !number) {
                let function = super::name::aggregate_name(&aggregate);
                let mut error = Diagnostic::error(
                    "invalid-assignment",
                    e.span,
                    format!(
                        "Map value '{function}_t' cannot be assigned from one map to another. \
                         The function that returns this type must be called directly"
                    ),
                );
                if super::aggregate::reads_as(&aggregate).is_some() {
                    error.hint = Some(format!(
                        "add a cast to integer for the value of the aggregate: (int64)@{name}"
                    ));
                }
                self.report(error);
                return None;
            }
        }
        let value = self.expr(e);
        Some(self.storable(value))
    }
}

fn value_is_void_call(e: &tree::Expr) -> bool {
    matches!(&e.kind, tree::ExprKind::Call { name, .. }
        if super::function::is_statement(&name.text))
}
