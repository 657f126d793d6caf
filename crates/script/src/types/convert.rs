//! Implicit conversions, made explicit.

use super::infer::{Flex, Shape, holds, int_fits};
use super::{Checker, make};
use crate::diagnostic::Span;
use crate::hir::{Expr, ExprKind, Int, Type};
use crate::plan::NAME_ROOM;

impl Checker<'_> {
    /// Gives type and freedom of sign of an expression.
    pub(super) fn shape(&self, e: &Expr) -> Shape {
        Shape {
            ty: e.ty.clone(),
            flex: self.flex(e),
        }
    }

    fn flex(&self, e: &Expr) -> Flex {
        match (&e.kind, &e.ty) {
            (ExprKind::Int(value), Type::Int(int)) if *value >= 0 && int.signed => Flex::Free,
            (ExprKind::Var(id), _) => self.var_shape(*id).map_or(Flex::Fixed, |s| s.flex.clone()),
            (ExprKind::MapGet { map, .. }, _) => self.map_flex(*map),
            (ExprKind::Fields(parts), _) => {
                Flex::Parts(parts.iter().map(|p| self.flex(p)).collect())
            }
            (
                ExprKind::Ternary {
                    then, otherwise, ..
                },
                Type::Int(_),
            ) if self.flex(then) == Flex::Free && self.flex(otherwise) == Flex::Free => Flex::Free,
            (ExprKind::Block(_, value), _) => self.flex(value),
            _ => Flex::Fixed,
        }
    }

    /// Converts an expression to a type that [`super::infer::join`] said it fits.
    pub(super) fn coerce(&mut self, e: Expr, to: &Type) -> Expr {
        if e.ty == *to || e.ty == Type::Void || *to == Type::Void {
            return e;
        }
        if let (Type::Int(from), Type::Int(int)) = (&e.ty, to) {
            if !int_fits(*from, *int) && self.flex(&e) == Flex::Fixed && !constant_fits(&e, *int) {
                self.warn_of_cast(&e.ty, to, e.span);
            }
        }
        convert(e, to)
    }

    /// Tells that a number is taken as another type, which may change it.
    pub(super) fn warn_of_cast(&mut self, from: &Type, to: &Type, span: Span) {
        let message = format!(
            "Expression of type: {from} being cast to type: {to}. This may cause unexpected \
             results. Use an explicit cast to suppress this warning"
        );
        self.warn("implicit-cast", span, message);
    }
}

fn constant_fits(e: &Expr, int: Int) -> bool {
    matches!(e.kind, ExprKind::Int(value) if holds(int, value))
}

/// Converts without any finding; what cannot be converted stays as it is.
pub(super) fn convert(e: Expr, to: &Type) -> Expr {
    if e.ty == *to || e.ty == Type::Void {
        return e;
    }
    let span = e.span;
    if e.ty.is_scalar() && to.is_scalar() {
        if let ExprKind::Int(value) = e.kind {
            if *to == Type::Bool {
                return make(ExprKind::Int(i64::from(value != 0)), Type::Bool, span);
            }
            if let Some(int) = to.scalar_int() {
                return make(ExprKind::Int(wrap(value, int)), to.clone(), span);
            }
        }
        return make(ExprKind::Cast(Box::new(e)), to.clone(), span);
    }
    match (&e.ty, to) {
        (Type::Str { .. }, Type::Str { capacity }) => {
            let short = matches!(&e.kind, ExprKind::Str(s) if s.len() < *capacity as usize);
            if short {
                return make(e.kind, to.clone(), span);
            }
            make(ExprKind::Resize(Box::new(e)), to.clone(), span)
        }
        (Type::Named(_), Type::Str { .. }) => convert(name_as_text(e, true), to),
        (Type::Tuple(_) | Type::Record(_), Type::Tuple(_) | Type::Record(_)) => parts(e, to),
        _ => e,
    }
}

/// Converts a tuple or record part by part.
fn parts(e: Expr, to: &Type) -> Expr {
    let (Type::Tuple(from) | Type::Record(from)) = e.ty.clone() else {
        return e;
    };
    let (Type::Tuple(fields) | Type::Record(fields)) = to else {
        return e;
    };
    let named = matches!(to, Type::Record(_));
    let span = e.span;
    let mut converted = Vec::with_capacity(fields.len());
    for (i, field) in fields.iter().enumerate() {
        let place = if named {
            from.iter().position(|f| f.name == field.name)
        } else {
            Some(i)
        };
        let Some((place, source)) = place.and_then(|p| Some((p, from.get(p)?))) else {
            return e;
        };
        let part = match &e.kind {
            ExprKind::Fields(values) => match values.get(place) {
                Some(value) => value.clone(),
                None => return e,
            },
            _ => make(
                ExprKind::Field {
                    base: Box::new(e.clone()),
                    offset: source.offset,
                    bits: source.bits,
                },
                source.ty.clone(),
                span,
            ),
        };
        converted.push(convert(part, &field.ty));
    }
    make(ExprKind::Fields(converted), to.clone(), span)
}

/// Makes a string of an error's, a signal's or a system call's name, where one is asked for.
pub(super) fn name_as_text(e: Expr, wanted: bool) -> Expr {
    let Type::Named(table) = e.ty else {
        return e;
    };
    if !wanted {
        return e;
    }
    let span = e.span;
    let number = Box::new(e);
    let capacity = NAME_ROOM;
    make(
        ExprKind::NameOf { table, number },
        Type::Str { capacity },
        span,
    )
}

/// Cuts a number to a width and extends it again.
pub(super) fn wrap(value: i64, int: Int) -> i64 {
    match (int.bytes, int.signed) {
        (1, true) => i64::from(value as i8),
        (1, false) => i64::from(value as u8),
        (2, true) => i64::from(value as i16),
        (2, false) => i64::from(value as u16),
        (4, true) => i64::from(value as i32),
        (4, false) => i64::from(value as u32),
        _ => value,
    }
}
