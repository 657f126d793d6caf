//! `e.name`, `e->name`, `e[i]`, `*e`.

use super::lvalue::{Place, deref};
use super::{Checker, did_you_mean, make, poison};
use crate::diagnostic::{Diagnostic, Span};
use crate::hir::{Expr, ExprKind, FieldType, Space, Type};
use crate::near::nearest;
use crate::syntax::tree;

/// Pointers to pointers that a member access sees through.
const AUTO_DEREF: usize = 8;

impl Checker<'_> {
    pub(super) fn field(&mut self, base: &tree::Expr, name: &tree::Name, span: Span) -> Expr {
        if is_args(base) {
            return self.args_field(name, span);
        }
        let base = self.expr(base);
        self.member_of(base, name, span)
    }

    /// Reads a member of a value.
    pub(super) fn member_of(&mut self, base: Expr, name: &tree::Name, span: Span) -> Expr {
        let mut base = base;
        for _ in 0..AUTO_DEREF {
            let Type::Pointer { to, space } = &base.ty else {
                break;
            };
            let (to, space) = (self.complete(to), *space);
            base = match to {
                Type::Struct(_) | Type::Pointer { .. } => deref(base, &to, space, span),
                _ => break,
            };
        }
        match &base.ty {
            Type::Void => poison(span),
            Type::Struct(s) => {
                let s = s.clone();
                let space = space_of(&base);
                let Some(field) = self.member(&s, &name.text, space) else {
                    let mut error = Diagnostic::error(
                        "unknown-field",
                        name.span,
                        format!(
                            "Struct/union of type '{}' does not contain a field named '{}'",
                            s.name, name.text
                        ),
                    );
                    if s.size == 0 && self.near_members(&s, &name.text).is_empty() {
                        error.message = format!("Unknown struct/union: '{}'", s.name);
                        error.id = "unknown-type";
                        if self.inputs.btf.is_none() {
                            error.hint = Some("there is no BTF to look it up in".to_owned());
                        }
                    } else {
                        error.hint = did_you_mean(&self.near_members(&s, &name.text));
                    }
                    return self.report(error);
                };
                if let Some(read) = self.relocated_part(&base, &s, &field, span) {
                    return read;
                }
                self.part(base, &field, span)
            }
            Type::Record(fields) => {
                let Some(field) = fields.iter().find(|f| f.name == name.text).cloned() else {
                    let names = fields.iter().map(|f| &f.name);
                    let near = nearest(&name.text, names, 3);
                    let mut error = Diagnostic::error(
                        "unknown-field",
                        name.span,
                        format!("Record does not contain a field named '{}'", name.text),
                    );
                    error.hint = did_you_mean(&near);
                    return self.report(error);
                };
                self.part(base, &field, span)
            }
            Type::Tuple(fields) => {
                let index = name.text.parse::<usize>().ok();
                let Some(index) = index else {
                    return self.error(
                        "unknown-field",
                        name.span,
                        format!(
                            "Can not access field '{}' on expression of type '{}'",
                            name.text, base.ty
                        ),
                    );
                };
                match fields.get(index).cloned() {
                    Some(field) => self.part(base, &field, span),
                    None => {
                        let count = fields.len();
                        self.error(
                            "out-of-bounds",
                            name.span,
                            format!(
                                "Invalid tuple index: {index}. Found {count} elements in tuple"
                            ),
                        )
                    }
                }
            }
            ty => {
                let message = format!(
                    "Can not access field '{}' on expression of type '{ty}'",
                    name.text
                );
                self.error("unknown-field", name.span, message)
            }
        }
    }

    /// Reads a part of a structure, record or tuple.
    fn part(&mut self, base: Expr, field: &FieldType, span: Span) -> Expr {
        if let (ExprKind::Fields(parts), Type::Tuple(fields) | Type::Record(fields)) =
            (&base.kind, &base.ty)
        {
            // A part of a tuple that was just made.
            let place = fields.iter().position(|f| f.name == field.name);
            if let Some(part) = place.and_then(|p| parts.get(p)) {
                return part.clone();
            }
        }
        let own = !matches!(base.ty, Type::Struct(_));
        let place = Place::of(base).at(field.offset);
        let size = match field.ty.scalar_int() {
            Some(int) => u32::from(int.bytes),
            None => field.ty.size(),
        };
        if !place.holds(size) {
            return self.error(
                "out-of-bounds",
                span,
                format!(
                    "'{}' lies outside of the value that it is part of",
                    field.name
                ),
            );
        }
        let loaded = place.load(&field.ty, field.bits, span);
        match loaded.kind {
            // Strings of tuples and records are padded already.
            ExprKind::StrOfBytes(inner) if own => *inner,
            kind => make(kind, loaded.ty, span),
        }
    }

    pub(super) fn index(&mut self, base: &tree::Expr, index: &tree::Expr, span: Span) -> Expr {
        let base = self.expr(base);
        let index = self.expr(index);
        self.element(base, index, span)
    }

    /// Reads an element of an array, or of memory behind a pointer.
    pub(super) fn element(&mut self, base: Expr, index: Expr, span: Span) -> Expr {
        if base.ty == Type::Void || index.ty == Type::Void {
            return poison(span);
        }
        if let Type::Tuple(_) = &base.ty {
            return match index.kind {
                ExprKind::Int(n) => {
                    let name = tree::Name {
                        text: n.to_string(),
                        span: index.span,
                    };
                    self.member_of(base, &name, span)
                }
                _ => self.error("invalid-index", index.span, "a tuple's index is a literal"),
            };
        }
        if !matches!(index.ty, Type::Int(_) | Type::Enum(_)) {
            return self.error(
                "invalid-index",
                index.span,
                format!(
                    "The array index operator [] only accepts non-negative integer indices. Got: {}",
                    index.ty
                ),
            );
        }
        match &base.ty {
            Type::Pointer { to, space } => {
                let (to, space) = (self.complete(to), *space);
                if to.size() == 0 {
                    return self.error(
                        "invalid-index",
                        span,
                        format!(
                            "The array index operator [] cannot be used on a pointer to an \
                             unsized type ({to} *)"
                        ),
                    );
                }
                let address = self.plus_elements(base, index, &to, space, false);
                deref(address, &to, space, span)
            }
            Type::Array { element, len } => {
                let (element, len) = (element.clone(), *len);
                self.array_element(base, index, &element, len, span)
            }
            Type::Str { capacity } => {
                let (capacity, element) = (*capacity, Type::Int(crate::hir::Int::new(1, true)));
                let array = match base.kind {
                    ExprKind::StrOfBytes(inner) => *inner,
                    _ => base,
                };
                self.array_element(array, index, &element, capacity, span)
            }
            ty => {
                let message = format!(
                    "The array index operator [] can only be used on arrays, pointers, and \
                     tuples, found {ty}"
                );
                self.error("invalid-index", span, message)
            }
        }
    }

    fn array_element(
        &mut self,
        base: Expr,
        index: Expr,
        element: &Type,
        len: u32,
        span: Span,
    ) -> Expr {
        let size = element.size();
        if let ExprKind::Int(n) = index.kind {
            // A length of 0 is C's flexible array: as many as there are.
            let inside = u32::try_from(n).is_ok_and(|n| n < len || len == 0);
            if !inside {
                return self.error(
                    "out-of-bounds",
                    span,
                    format!("the index {n} is out of bounds for array of size {len}"),
                );
            }
            if let Some(read) = self.relocated_element(&base, n as u32, element, len, span) {
                return read;
            }
            let Some(offset) = (n as u32).checked_mul(size) else {
                return self.outside(n, span);
            };
            let place = Place::of(base).at(offset);
            if !place.holds(size) {
                return self.outside(n, span);
            }
            return place.load(element, None, span);
        }
        match Place::of(base.clone()) {
            place @ Place::Memory { .. } => match place.address() {
                Some((address, space)) => {
                    let address = self.plus_elements(address, index, element, space, false);
                    deref(address, element, space, span)
                }
                None => poison(span),
            },
            _ if len == 0 => self.error(
                "out-of-bounds",
                span,
                "an array without a fixed length is not part of a copy: index it behind a pointer",
            ),
            _ => {
                let index = super::convert::convert(index, &Type::I64);
                let kind = ExprKind::Index {
                    base: Box::new(base),
                    index: Box::new(index),
                };
                make(kind, element.clone(), span)
            }
        }
    }

    /// Reports an element that lies behind the value it is read from.
    fn outside(&mut self, index: i64, span: Span) -> Expr {
        self.error(
            "out-of-bounds",
            span,
            format!("the index {index} is out of bounds of the value that the array is part of"),
        )
    }

    pub(super) fn deref(&mut self, operand: Expr, span: Span) -> Expr {
        match &operand.ty {
            Type::Void => poison(span),
            Type::Pointer { to, space } => {
                let (to, space) = (self.complete(to), *space);
                if to.size() == 0 {
                    let message =
                        format!("Can not dereference a pointer to '{to}': its size is not known");
                    let hint = "`&@m` is the address of the map itself: its value is `@m`; a pointer is \
                                read as what it is cast to: `*(uint64 *)$p`";
                    let found = Diagnostic::error("invalid-operand", span, message);
                    return self.report(found.hint(hint));
                }
                deref(operand, &to, space, span)
            }
            // As bpftrace does, a number is taken for the address of a `uint64`.
            Type::Int(_) => {
                let space = self.space_of_number(&operand);
                let address = super::convert::convert(operand, &Type::U64);
                deref(address, &Type::U64, space, span)
            }
            ty => {
                let message = format!("Can not dereference type '{ty}'. It is not a pointer");
                self.error("invalid-operand", span, message)
            }
        }
    }

    /// Says which memory a number is an address of: what system calls are given is the caller's.
    pub(super) fn space_of_number(&self, e: &Expr) -> Space {
        let mut e = e;
        while let (ExprKind::Cast(inner), Type::Int(_)) = (&e.kind, &e.ty) {
            e = inner;
        }
        let syscall = self.scope.record.as_ref().is_some_and(|r| r.user);
        match (&e.kind, &e.ty) {
            (_, Type::Pointer { space, .. }) => *space,
            (ExprKind::CtxLoad { .. }, _) if syscall => Space::User,
            _ if self.scope.context.is_user() && e.ty != Type::KernelSymbol => Space::User,
            _ => Space::Kernel,
        }
    }
}

/// Says whether an expression is `args`, or `*args`.
pub(super) fn is_args(e: &tree::Expr) -> bool {
    match &e.kind {
        tree::ExprKind::Name(name) => name == "args",
        tree::ExprKind::Call { name, args } => name.text == "args" && args.is_empty(),
        tree::ExprKind::Unary {
            op: tree::UnaryOp::Deref,
            operand,
        } => is_args(operand),
        _ => false,
    }
}

/// Says which memory pointers inside a value are addresses of.
pub(super) fn space_of(base: &Expr) -> Space {
    match &base.kind {
        ExprKind::ReadBytes { space, .. } => *space,
        _ => Space::Kernel,
    }
}
