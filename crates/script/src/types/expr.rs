//! Expressions.

use super::infer::{join, smallest};
use super::layout::PARTS;
use super::{Checker, DEPTH, literal, make, poison};
use crate::diagnostic::Span;
use crate::hir::{Expr, ExprKind, FieldType, Int, Stmt, Type};
use crate::portable;
use crate::syntax::tree;
use kscope_spec::LateKind;

impl Checker<'_> {
    /// Checks an expression; what is wrong is reported and becomes one of type `void`.
    pub(super) fn expr(&mut self, e: &tree::Expr) -> Expr {
        if self.depth >= DEPTH {
            return self.error("too-deep", e.span, "the expression is nested too deeply");
        }
        self.depth += 1;
        let checked = self.expr_inner(e);
        self.depth -= 1;
        checked
    }

    fn expr_inner(&mut self, e: &tree::Expr) -> Expr {
        let span = e.span;
        match &e.kind {
            tree::ExprKind::Int(value) => match i64::try_from(*value) {
                Ok(value) => literal(value, span),
                Err(_) => make(ExprKind::Int(*value as i64), Type::U64, span),
            },
            tree::ExprKind::Str(text) => string(text, span),
            tree::ExprKind::Bool(value) => make(ExprKind::Int(i64::from(*value)), Type::Bool, span),
            tree::ExprKind::Var(name) => self.read_var(name, span),
            tree::ExprKind::Map { name, key } => self.read_map(name, key.as_deref(), span),
            tree::ExprKind::Positional(n) => self.positional(*n, span),
            tree::ExprKind::PositionalCount => literal(self.inputs.positional.len() as i64, span),
            tree::ExprKind::Name(name) => self.name(name, span),
            tree::ExprKind::Call { name, args } => self.call(name, args, span),
            tree::ExprKind::Type(_) => self.error(
                "unexpected-type",
                span,
                "a type can not stand where a value is needed",
            ),
            tree::ExprKind::SizeOf(of) => self.size_of(of, span),
            tree::ExprKind::FieldExists { of, path } => self.field_exists(of, path, span),
            tree::ExprKind::OffsetOf { of, path } => self.offset_of(of, path, span),
            tree::ExprKind::Unary { op, operand } => self.unary(*op, operand, span),
            tree::ExprKind::Step {
                increment,
                postfix,
                operand,
            } => self.step(*increment, *postfix, operand, span),
            tree::ExprKind::Binary { op, left, right } => self.binary(*op, left, right, span),
            tree::ExprKind::Ternary {
                condition,
                then,
                otherwise,
            } => self.ternary(condition, then.as_deref(), otherwise, span),
            tree::ExprKind::Field { base, name, .. } => self.field(base, name, span),
            tree::ExprKind::Index { base, index } => self.index(base, index, span),
            tree::ExprKind::Cast { ty, operand } => self.cast(ty, operand, span),
            tree::ExprKind::Tuple(parts) => {
                let parts: Vec<Expr> = parts.iter().map(|p| self.part_value(p)).collect();
                self.tuple(parts, span)
            }
            tree::ExprKind::Record(parts) => self.record_value(parts, span),
            tree::ExprKind::Block(block) => self.block_value(block, span),
            tree::ExprKind::If(e) => self.if_value(e, span),
            tree::ExprKind::Comptime(inner) => self.comptime(inner, span),
            tree::ExprKind::Error => poison(span),
        }
    }

    /// Checks an expression that becomes part of a tuple or record.
    fn part_value(&mut self, e: &tree::Expr) -> Expr {
        let value = self.expr(e);
        self.storable(value)
    }

    /// Gives structures of BTF their fields, so that they can be stored and printed.
    pub(super) fn storable(&mut self, e: Expr) -> Expr {
        match &e.ty {
            Type::Struct(_) | Type::Array { .. } => {
                if let Some(refused) = self.refuse_copy(&e) {
                    return refused;
                }
                let ty = self.described(&e.ty, 3);
                make(e.kind, ty, e.span)
            }
            _ => e,
        }
    }

    fn record_value(&mut self, parts: &[(tree::Name, tree::Expr)], span: Span) -> Expr {
        let mut values = Vec::with_capacity(parts.len());
        let mut types: Vec<(String, Type)> = Vec::with_capacity(parts.len());
        let mut bad = false;
        for (name, value) in parts {
            if types.iter().any(|(n, _)| *n == name.text) {
                self.error(
                    "duplicate-field",
                    name.span,
                    format!("the record has two fields named '{}'", name.text),
                );
                bad = true;
            }
            let value = self.part_value(value);
            bad |= value.ty == Type::Void;
            types.push((name.text.clone(), value.ty.clone()));
            values.push(value);
        }
        if bad {
            return poison(span);
        }
        if let Some(refused) = self.refuse_unbounded(&values, span) {
            return refused;
        }
        let ty = Type::Record(FieldType::lay_out(types));
        make(ExprKind::Fields(values), ty, span)
    }

    /// Makes a tuple of checked parts.
    fn tuple(&mut self, parts: Vec<Expr>, span: Span) -> Expr {
        if parts.iter().any(|p| p.ty == Type::Void) {
            return poison(span);
        }
        if let Some(refused) = self.refuse_unbounded(&parts, span) {
            return refused;
        }
        let types = parts.iter().enumerate();
        let types = types.map(|(i, p)| (i.to_string(), p.ty.clone())).collect();
        let ty = Type::Tuple(FieldType::lay_out(types));
        make(ExprKind::Fields(parts), ty, span)
    }

    fn refuse_unbounded(&mut self, parts: &[Expr], span: Span) -> Option<Expr> {
        let types: Vec<&Type> = parts.iter().map(|p| &p.ty).collect();
        (!Type::is_bounded(&types)).then(|| self.error("too-large", span, too_many_parts()))
    }

    fn ternary(
        &mut self,
        condition: &tree::Expr,
        then: Option<&tree::Expr>,
        otherwise: &tree::Expr,
        span: Span,
    ) -> Expr {
        let Some(then) = then else {
            return self.elvis(condition, otherwise, span);
        };
        let condition = self.condition(condition);
        let then = self.expr(then);
        let otherwise = self.expr(otherwise);
        self.choose(condition, then, otherwise, span)
    }

    /// `a ?: b`: `a` is evaluated once, into a variable.
    fn elvis(&mut self, value: &tree::Expr, otherwise: &tree::Expr, span: Span) -> Expr {
        self.in_block(|c| {
            let name = "?:#".to_owned();
            let var = c.declare_var(&name, span);
            let value = c.expr(value);
            if matches!(value.kind, ExprKind::Int(_)) {
                let condition = c.scalar_condition(value.clone());
                let otherwise = c.expr(otherwise);
                return c.choose(condition, value, otherwise, span);
            }
            let shape = c.shape(&value);
            c.grow_var(var, &shape, span);
            let ty = c.var_shape(var).map_or(Type::Void, |s| s.ty.clone());
            let value = c.coerce(value, &ty);
            let read = make(ExprKind::Var(var), ty, span);
            let condition = c.scalar_condition(read.clone());
            let otherwise = c.expr(otherwise);
            let chosen = c.choose(condition, read, otherwise, span);
            let ty = chosen.ty.clone();
            let set = Stmt {
                kind: crate::hir::StmtKind::SetVar(var, value),
                span,
            };
            make(ExprKind::Block(vec![set], Box::new(chosen)), ty, span)
        })
    }

    pub(super) fn choose(
        &mut self,
        condition: Expr,
        then: Expr,
        otherwise: Expr,
        span: Span,
    ) -> Expr {
        if condition.ty == Type::Void || then.ty == Type::Void || otherwise.ty == Type::Void {
            return poison(span);
        }
        let Some(joined) = join(&self.shape(&then), &self.shape(&otherwise)) else {
            // Where it is known which is taken, the types need not be the same.
            if let ExprKind::Int(known) = condition.kind {
                return if known == 0 { otherwise } else { then };
            }
            return self.error(
                "type-mismatch",
                span,
                format!(
                    "Branches must return the same type or compatible types: have '{}' and '{}'",
                    then.ty, otherwise.ty
                ),
            );
        };
        let then = self.coerce(then, &joined.ty);
        let otherwise = self.coerce(otherwise, &joined.ty);
        let kind = ExprKind::Ternary {
            condition: Box::new(condition),
            then: Box::new(then),
            otherwise: Box::new(otherwise),
        };
        make(kind, joined.ty, span)
    }

    /// Checks a condition: a number, a bool or a pointer.
    pub(super) fn condition(&mut self, e: &tree::Expr) -> Expr {
        let condition = self.expr(e);
        self.scalar_condition(condition)
    }

    pub(super) fn scalar_condition(&mut self, condition: Expr) -> Expr {
        let number = matches!(
            condition.ty,
            Type::Void | Type::Bool | Type::Int(_) | Type::Enum(_) | Type::Pointer { .. }
        );
        if number {
            return condition;
        }
        if matches!(condition.ty, Type::Str { .. }) {
            return not_empty(condition);
        }
        let message = format!("Invalid condition: {}", condition.ty);
        self.error("invalid-condition", condition.span, message)
    }

    fn positional(&mut self, n: u32, span: Span) -> Expr {
        let index = n.checked_sub(1).map(|i| i as usize);
        let Some(text) = index.and_then(|i| self.inputs.positional.get(i)) else {
            if self.inputs.portable {
                // Whoever runs it gives the number.
                let late = self.late_value(&portable::parameter(n), LateKind::Number);
                return make(ExprKind::Late(late), Type::I64, span);
            }
            return literal(0, span);
        };
        match parse_number(text) {
            Some(value) => {
                let int = smallest(value);
                make(ExprKind::Int(value), Type::Int(int), span)
            }
            None => self.error(
                "invalid-parameter",
                span,
                format!("${n} is used numerically but given \"{text}\". Try using str(${n})"),
            ),
        }
    }

    fn size_of(&mut self, of: &tree::Expr, span: Span) -> Expr {
        let Some(ty) = self.type_of(of) else {
            return poison(span);
        };
        make(self.size_kind(&ty), Type::U64, span)
    }

    /// Gives the type that `sizeof` and `offsetof` are asked about.
    pub(super) fn type_of(&mut self, of: &tree::Expr) -> Option<Type> {
        let ty = match &of.kind {
            tree::ExprKind::Type(name) => self.type_name(name)?,
            _ => self.expr(of).ty,
        };
        (ty != Type::Void).then_some(ty)
    }

    fn offset_of(&mut self, of: &tree::Expr, path: &[tree::Name], span: Span) -> Expr {
        let Some(mut ty) = self.type_of(of) else {
            return poison(span);
        };
        let mut offset = 0u32;
        let mut relocated = None;
        for name in path {
            let Type::Struct(s) = &ty else {
                let message = format!("'{ty}' is not a C type");
                return self.error("invalid-operand", name.span, message);
            };
            let s = s.clone();
            let Some(field) = self.member(&s, &name.text, crate::hir::Space::Kernel) else {
                let mut error = crate::diagnostic::Diagnostic::error(
                    "unknown-field",
                    name.span,
                    format!("'{}' has no field named '{}'", s.name, name.text),
                );
                error.hint = super::did_you_mean(&self.near_members(&s, &name.text));
                return self.report(error);
            };
            relocated = self.member_layout(&s, &name.text, relocated);
            offset = offset.saturating_add(field.offset);
            ty = field.ty;
        }
        let kind = match relocated {
            Some(layout) => ExprKind::Layout(layout),
            None => ExprKind::Int(i64::from(offset)),
        };
        make(kind, Type::U64, span)
    }
}

/// What is said of a type that is made of too many others.
pub(super) fn too_many_parts() -> String {
    format!("the type has more than {PARTS} parts, those of its parts counted")
}

/// A string counts as true where it is not empty.
pub(super) fn not_empty(text: Expr) -> Expr {
    let span = text.span;
    let kind = ExprKind::CompareBytes {
        negated: true,
        len: 1,
        left: Box::new(text),
        right: Box::new(string(b"", span)),
    };
    make(kind, Type::Bool, span)
}

/// Makes a string literal.
pub(super) fn string(text: &[u8], span: Span) -> Expr {
    // What follows a NUL is no part of a C string.
    let text = text.split(|&b| b == 0).next().unwrap_or_default();
    let capacity = u32::try_from(text.len() + 1).unwrap_or(u32::MAX);
    make(ExprKind::Str(text.into()), Type::Str { capacity }, span)
}

/// Reads a number as parameters and configuration give them: decimal, `0x`, `0` octal.
pub(super) fn parse_number(text: &str) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let hex = digits.strip_prefix("0x").or(digits.strip_prefix("0X"));
    let value = match hex {
        Some(hex) => u64::from_str_radix(hex, 16).ok()?,
        None if digits.len() > 1 && digits.starts_with('0') => {
            u64::from_str_radix(digits, 8).ok()?
        }
        None if digits.starts_with('+') => return None,
        None => digits.parse().ok()?,
    };
    let value = value as i64;
    Some(if negative {
        value.wrapping_neg()
    } else {
        value
    })
}

/// Says whether a type is a plain number.
pub(super) fn number(ty: &Type) -> Option<Int> {
    match ty {
        Type::Int(int) => Some(*int),
        Type::Enum(e) => Some(e.int),
        Type::Bool => Some(Int::new(1, false)),
        _ => None,
    }
}
