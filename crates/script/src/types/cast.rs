//! Casts as written.

use std::sync::Arc;

use super::lvalue::Place;
use super::{Checker, make, poison};
use crate::diagnostic::Span;
use crate::hir::{Expr, ExprKind, Type};
use crate::syntax::tree;

impl Checker<'_> {
    pub(super) fn cast(&mut self, ty: &tree::TypeName, operand: &tree::Expr, span: Span) -> Expr {
        let operand = self.expr(operand);
        let Some(to) = self.type_name(ty) else {
            return poison(span);
        };
        if operand.ty == Type::Void {
            return poison(span);
        }
        self.cast_to(operand, to, span)
    }

    fn cast_to(&mut self, operand: Expr, to: Type, span: Span) -> Expr {
        match (&operand.ty, &to) {
            // A pointer is one into the memory its operand was an address of.
            (
                Type::Int(_) | Type::Enum(_) | Type::Pointer { .. } | Type::Bool,
                Type::Pointer { to: target, .. },
            ) => {
                let space = self.space_of_number(&operand);
                let ty = Type::Pointer {
                    to: target.clone(),
                    space,
                };
                explicit(operand, ty, span)
            }
            (
                Type::Int(_)
                | Type::Enum(_)
                | Type::Pointer { .. }
                | Type::Bool
                | Type::KernelSymbol,
                Type::Int(_) | Type::Enum(_) | Type::Bool,
            ) => explicit(operand, to, span),
            // Into fewer bytes it is cut, but for a literal, which could be shorter itself.
            (Type::Str { capacity: from }, Type::Str { capacity: into })
                if from <= into || !matches!(operand.kind, ExprKind::Str(_)) =>
            {
                super::convert::convert(operand, &to)
            }
            (Type::Str { .. }, Type::Bool) => super::expr::not_empty(operand),
            (Type::Array { .. }, Type::Int(int)) if operand.ty.size() == u32::from(int.bytes) => {
                Place::of(operand).load(&to, None, span)
            }
            // `(string[64])p` reads the string behind a pointer.
            (Type::Int(_) | Type::Pointer { .. }, Type::Str { .. }) => {
                let space = self.space_of_number(&operand);
                let kind = ExprKind::ReadStr {
                    address: Box::new(super::convert::convert(operand, &Type::U64)),
                    space,
                    len: None,
                };
                make(kind, to, span)
            }
            (Type::Array { element, .. }, Type::Str { .. }) if element.size() == 1 => {
                let capacity = operand.ty.size();
                let read = make(
                    ExprKind::StrOfBytes(Box::new(operand)),
                    Type::Str { capacity },
                    span,
                );
                super::convert::convert(read, &to)
            }
            (Type::Struct(from), Type::Struct(target)) if from.name == target.name => operand,
            (Type::Array { .. } | Type::Str { .. }, Type::Array { element, len }) => {
                let size = operand.ty.size();
                let each = element.size();
                let count = match (*len, each) {
                    (_, 0) => 0,
                    (0, each) => size / each,
                    (len, _) => len,
                };
                if count == 0 || count.saturating_mul(each) != size {
                    return self.cannot(&operand, &to, span);
                }
                let ty = Type::Array {
                    element: Arc::clone(element),
                    len: count,
                };
                reread(operand, ty)
            }
            // A literal has as many bytes as the array, up to the eight of a number.
            (Type::Int(_) | Type::Bool | Type::Enum(_), Type::Array { element, len }) => {
                let from = operand.ty.size();
                let each = element.size().max(1);
                let count = if *len == 0 { from / each } else { *len };
                let size = count.saturating_mul(each);
                let literal = matches!(operand.kind, ExprKind::Int(_));
                let fits = size == from || literal && size <= 8 && size > from;
                if count == 0 || !fits || element.scalar_int().is_none() {
                    return self.cannot(&operand, &to, span);
                }
                let ty = Type::Array {
                    element: Arc::clone(element),
                    len: count,
                };
                // Behind its own bytes there are zeros, also where it is negative.
                let operand = match u8::try_from(from) {
                    Ok(bytes) if size > from => {
                        let own = Type::Int(crate::hir::Int::new(bytes, false));
                        super::convert::convert(operand, &own)
                    }
                    _ => operand,
                };
                if let (ExprKind::Int(value), false) = (&operand.kind, size.is_power_of_two()) {
                    return elements(*value, ty, span);
                }
                let signed = operand.ty.scalar_int().is_some_and(|int| int.signed);
                let bytes = size.min(8) as u8;
                let int = Type::Int(crate::hir::Int { bytes, signed });
                let number = super::convert::convert(operand, &int);
                make(ExprKind::Bytes(Box::new(number)), ty, span)
            }
            _ => self.cannot(&operand, &to, span),
        }
    }

    fn cannot(&mut self, operand: &Expr, to: &Type, span: Span) -> Expr {
        let message = format!("Cannot cast from \"{}\" to \"{to}\"", operand.ty);
        self.error("invalid-cast", span, message)
    }
}

/// Converts a scalar. A bare literal of a signed type would be free in its sign, so one that is
/// cast to it keeps the cast.
fn explicit(operand: Expr, to: Type, span: Span) -> Expr {
    if let (ExprKind::Int(value), Type::Int(int)) = (&operand.kind, &to) {
        let value = super::convert::wrap(*value, *int);
        if !int.signed || value < 0 {
            return make(ExprKind::Int(value), to, span);
        }
    }
    make(ExprKind::Cast(Box::new(operand)), to, span)
}

/// Gives the bytes of a literal as the elements of an array, the lowest first.
fn elements(value: i64, ty: Type, span: Span) -> Expr {
    let Type::Array { element, len } = &ty else {
        return poison(span);
    };
    let each = element.size();
    let parts = (0..*len).map(|place| {
        let shifted = value.checked_shr(place.saturating_mul(each) * 8);
        let part = match element.scalar_int() {
            Some(int) => super::convert::wrap(shifted.unwrap_or(0), int),
            None => 0,
        };
        make(ExprKind::Int(part), (**element).clone(), span)
    });
    let parts = parts.collect();
    make(ExprKind::Fields(parts), ty, span)
}

/// Takes the same bytes for another type.
fn reread(operand: Expr, ty: Type) -> Expr {
    match operand.kind {
        ExprKind::StrOfBytes(inner) => make(inner.kind, ty, operand.span),
        kind => make(kind, ty, operand.span),
    }
}
