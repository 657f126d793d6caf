//! Loops.

use super::infer::{MapContents, Shape};
use super::{Checker, poison};
use crate::diagnostic::{Diagnostic, Span};
use crate::hir::{Expr, ExprKind, FieldType, OPEN_RANGE_LIMIT, Stmt, StmtKind, Type};
use crate::syntax::tree;

/// Most rounds of `unroll`.
const UNROLL: i64 = 100;
/// Most copies of a statement that `unroll` inside of `unroll` makes.
const UNROLLED: u32 = 1000;

impl Checker<'_> {
    pub(super) fn loop_body<T>(&mut self, run: impl FnOnce(&mut Self) -> T) -> T {
        self.scope.loops += 1;
        let result = run(self);
        self.scope.loops -= 1;
        result
    }

    pub(super) fn while_loop(
        &mut self,
        condition: &tree::Expr,
        body: &tree::Block,
        span: Span,
    ) -> StmtKind {
        let message = "While loops are deprecated and may be removed in the future";
        let warning = Diagnostic::warning("deprecated", span, message);
        self.report(warning.hint(
            "a for loop over a range (`for $x : $start..$end { … }`) ends for certain, which the \
             verifier wants to see",
        ));
        let condition = self.condition(condition);
        let body = self.loop_body(|c| c.block(body));
        StmtKind::While { condition, body }
    }

    pub(super) fn unroll(&mut self, count: &tree::Expr, body: &tree::Block) -> Option<StmtKind> {
        let count = self.expr(count);
        let around = self.scope.unrolled;
        let times = match count.kind {
            ExprKind::Int(n @ 1..=UNROLL) => Some(n as u32),
            _ => None,
        };
        let copies = around.saturating_mul(times.unwrap_or(1));
        self.scope.unrolled = copies;
        let body = self.loop_body(|c| c.block(body));
        self.scope.unrolled = around;
        if count.ty == Type::Void {
            return None;
        }
        let message = match (times, &count.kind) {
            (Some(_), _) if around <= UNROLLED && copies > UNROLLED => format!(
                "unroll inside of unroll makes {copies} copies of its body, the limit is {UNROLLED}"
            ),
            (Some(count), _) => return Some(StmtKind::Repeat { count, body }),
            (None, ExprKind::Int(n)) => {
                format!("unroll takes a number from 1 to {UNROLL}, got {n}")
            }
            _ => "unroll takes a literal".to_owned(),
        };
        self.error("invalid-unroll", count.span, message);
        None
    }

    /// Checks a loop over a map, whose variable is a key and its value.
    pub(super) fn for_map(
        &mut self,
        var: &tree::Name,
        map: &tree::Name,
        body: &tree::Block,
        span: Span,
    ) -> Option<Stmt> {
        let whole = tree::Expr {
            kind: tree::ExprKind::Map {
                name: map.text.clone(),
                key: None,
            },
            span: map.span,
        };
        let at = map.span;
        let map = self.map_argument("for", &whole);
        let entry = map.and_then(|map| self.entry_type(map, at));
        self.in_block(|c| {
            let id = c.declare_var(&var.text, var.span);
            if let Some(ty) = entry {
                c.grow_var(id, &Shape::fixed(ty), var.span);
                if let Some(info) = c.var_info(id) {
                    info.declared = true;
                }
            }
            c.scope.map_loops += 1;
            let body = c.loop_body(|c| c.block(body));
            c.scope.map_loops -= 1;
            let kind = StmtKind::ForMap {
                var: id,
                map: map?,
                body,
            };
            Some(Stmt { kind, span })
        })
    }

    /// Refuses what the context tells of the event in the body of a loop over a map, as bpftrace
    /// does: the kernel runs the body as a function of its own.
    pub(super) fn outside_map_loops(&mut self, builtin: &str, span: Span) -> Result<(), Expr> {
        let number = |digits: &str| digits.parse::<u8>().is_ok();
        let of_event =
            matches!(builtin, "args" | "retval") || builtin.strip_prefix("arg").is_some_and(number);
        if self.scope.map_loops == 0 || !of_event {
            return Ok(());
        }
        let message = format!("'{builtin}' builtin is not allowed in a for-loop over a map");
        let refused = Diagnostic::error("invalid-builtin", span, message);
        Err(self.report(refused.hint("assign it to a variable before the loop")))
    }

    /// Gives the type of a key with its value; none where they are not known or are no values.
    fn entry_type(&mut self, map: crate::hir::MapRef, at: Span) -> Option<Type> {
        let info = self.env.maps.get(map.0 as usize)?;
        if info.keyed == Some(false) {
            let message = format!(
                "@{} has no explicit keys (scalar map), and cannot be used for iteration",
                info.name
            );
            self.error("invalid-loop", at, message);
            return None;
        }
        let value = match self.map_contents(map) {
            MapContents::Plain(shape) => shape.ty,
            MapContents::Aggregate(value) => match super::aggregate::reads_as(&value) {
                Some(ty) => ty,
                None => {
                    let name = super::name::aggregate_name(&value);
                    let message = format!("Loop expression does not support type: {name}_t");
                    self.error("invalid-loop", at, message);
                    return None;
                }
            },
            MapContents::Unknown => return None,
        };
        let info = self.env.maps.get(map.0 as usize)?;
        let key = info.key.as_ref()?.ty.clone();
        let parts = [("0", key), ("1", value)].map(|(name, ty)| (name.to_owned(), ty));
        Some(Type::Tuple(FieldType::lay_out(parts.into())))
    }

    pub(super) fn for_range(
        &mut self,
        var: &tree::Name,
        start: &tree::Expr,
        end: &tree::Expr,
        body: &tree::Block,
        span: Span,
    ) -> Stmt {
        let mut bounds = Vec::with_capacity(2);
        for (e, what) in [(start, "start"), (end, "end")] {
            let e = self.expr(e);
            let bound = match super::expr::number(&e.ty) {
                Some(_) => super::convert::convert(e, &Type::I64),
                None if e.ty == Type::Void => e,
                None => {
                    let message = format!("Loop range requires an integer for the {what} value");
                    self.error("invalid-range", e.span, message)
                }
            };
            bounds.push(bound);
        }
        let (end, start) = (bounds.pop(), bounds.pop());
        let is_constant = |bound: &Option<Expr>| {
            matches!(
                bound.as_ref().map(|bound| &bound.kind),
                Some(ExprKind::Int(_))
            )
        };
        if self.inputs.portable && !(is_constant(&start) && is_constant(&end)) {
            let rounds = OPEN_RANGE_LIMIT;
            let message = format!(
                "in an object a range whose bounds are not constant ends after {rounds} rounds"
            );
            self.warn("shorter-range", span, message);
        }
        self.in_block(|c| {
            let id = c.declare_var(&var.text, var.span);
            c.grow_var(id, &Shape::fixed(Type::I64), var.span);
            if let Some(info) = c.var_info(id) {
                info.declared = true;
            }
            let body = c.loop_body(|c| c.block(body));
            let kind = StmtKind::ForRange {
                var: id,
                start: start.unwrap_or_else(|| poison(span)),
                end: end.unwrap_or_else(|| poison(span)),
                body,
            };
            Stmt { kind, span }
        })
    }
}
