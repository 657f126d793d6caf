//! What is known when a script is compiled.

use super::{Checker, make, poison};
use crate::diagnostic::Span;
use crate::hir::{Arithmetic, Expr, ExprKind, Space, Type};
use crate::syntax::tree;

/// Gives the number that an expression is sure to have.
pub(super) fn number(e: &Expr) -> Option<i64> {
    let both = |left: &Expr, right: &Expr| Some((number(left)?, number(right)?));
    match &e.kind {
        ExprKind::Int(n) => Some(*n),
        ExprKind::Not(inner) => Some(i64::from(number(inner)? == 0)),
        ExprKind::Neg(inner) => number(inner)?.checked_neg(),
        ExprKind::Cast(inner) => {
            let int = e.ty.scalar_int()?;
            Some(match e.ty {
                Type::Bool => i64::from(number(inner)? != 0),
                _ => super::convert::wrap(number(inner)?, int),
            })
        }
        ExprKind::Logical { and, left, right } => {
            let left = number(left)? != 0;
            match (and, left) {
                (true, false) => Some(0),
                (false, true) => Some(1),
                _ => Some(i64::from(number(right)? != 0)),
            }
        }
        ExprKind::Compare {
            op,
            signed,
            left,
            right,
        } => {
            let (left, right) = both(left, right)?;
            let order = match signed {
                true => left.cmp(&right),
                false => (left as u64).cmp(&(right as u64)),
            };
            Some(i64::from(op.holds(order)))
        }
        ExprKind::CompareBytes {
            negated,
            len,
            left,
            right,
        } => match (&left.kind, &right.kind) {
            (ExprKind::Str(left), ExprKind::Str(right)) => {
                let cut = |text: &[u8]| text[..text.len().min(*len as usize)].to_vec();
                Some(i64::from((cut(left) == cut(right)) != *negated))
            }
            _ => None,
        },
        ExprKind::Binary { op, left, right } => {
            let (left, right) = both(left, right)?;
            let value = match op {
                Arithmetic::Add => left.checked_add(right)?,
                Arithmetic::Sub => left.checked_sub(right)?,
                Arithmetic::Mul => left.checked_mul(right)?,
                Arithmetic::And => left & right,
                Arithmetic::Or => left | right,
                Arithmetic::Xor => left ^ right,
                _ => return None,
            };
            Some(super::convert::wrap(value, e.ty.scalar_int()?))
        }
        _ => None,
    }
}

impl Checker<'_> {
    /// `comptime e`: the number or text itself where it is known.
    pub(super) fn comptime(&mut self, inner: &tree::Expr, span: Span) -> Expr {
        let value = self.expr(inner);
        match number(&value) {
            Some(n) => make(ExprKind::Int(n), value.ty, span),
            None => value,
        }
    }

    /// `field_exists(type, a.b)`: no type, no member.
    pub(super) fn field_exists(
        &mut self,
        of: &tree::Expr,
        path: &[tree::Name],
        span: Span,
    ) -> Expr {
        let told = self.diagnostics.len();
        let mut ty = self.type_of(of);
        if matches!(of.kind, tree::ExprKind::Type(_)) {
            self.diagnostics.truncate(told);
        } else if ty.is_none() {
            return poison(span);
        }
        for name in path {
            ty = match &ty {
                Some(Type::Struct(of)) => {
                    let of = of.clone();
                    let field = self.member(&of, &name.text, Space::Kernel);
                    field.map(|field| field.ty)
                }
                _ => None,
            };
        }
        let member = path.last().map_or("", |name| name.text.as_str());
        self.warn_answered_here("field_exists", member, span);
        make(ExprKind::Int(i64::from(ty.is_some())), Type::Bool, span)
    }

    /// Warns that an object keeps an answer of this kernel.
    pub(super) fn warn_answered_here(&mut self, function: &str, of: &str, span: Span) {
        if self.inputs.portable && self.scope.macros.is_empty() {
            let message = format!(
                "the object keeps what {function} says of {of} on the kernel it is built on"
            );
            self.warn("answered-here", span, message);
        }
    }
}
