//! All bare names in a probe, for what its body depends on.

use crate::syntax::tree::{
    Block, Expr, ExprKind, IfExpr, Probe, Script, Statement, StatementKind, TypeBase, TypeName,
};

/// Calls `found` with every bare name and name of a called function in a probe.
pub(super) fn visit(probe: &Probe, found: &mut impl FnMut(&str)) {
    if let Some(predicate) = &probe.predicate {
        expr(predicate, found);
    }
    block(&probe.body, found);
}

/// Calls `found` with the names in the bodies of all macros.
pub(super) fn visit_macros(script: &Script, found: &mut impl FnMut(&str)) {
    for m in &script.macros {
        block(&m.body, found);
    }
}

fn block(b: &Block, found: &mut impl FnMut(&str)) {
    for s in &b.statements {
        statement(s, found);
    }
    if let Some(value) = &b.value {
        expr(value, found);
    }
}

fn branches(e: &IfExpr, found: &mut impl FnMut(&str)) {
    expr(&e.condition, found);
    block(&e.then, found);
    if let Some(otherwise) = &e.otherwise {
        block(otherwise, found);
    }
}

fn ty(t: &TypeName, found: &mut impl FnMut(&str)) {
    if let TypeBase::TypeOf(e) = &t.base {
        expr(e, found);
    }
}

fn statement(s: &Statement, found: &mut impl FnMut(&str)) {
    match &s.kind {
        StatementKind::Expr(e) | StatementKind::Discard(e) => expr(e, found),
        StatementKind::Assign { target, value, .. } => {
            expr(target, found);
            expr(value, found);
        }
        StatementKind::Let { ty: t, value, .. } => {
            if let Some(t) = t {
                ty(t, found);
            }
            if let Some(value) = value {
                expr(value, found);
            }
        }
        StatementKind::If(e) => branches(e, found),
        StatementKind::ForMap { body, .. } => block(body, found),
        StatementKind::ForRange {
            start, end, body, ..
        } => {
            expr(start, found);
            expr(end, found);
            block(body, found);
        }
        StatementKind::While { condition, body } => {
            expr(condition, found);
            block(body, found);
        }
        StatementKind::Unroll { count, body } => {
            expr(count, found);
            block(body, found);
        }
        StatementKind::Return(Some(e)) => expr(e, found),
        StatementKind::Block(b) => block(b, found),
        StatementKind::Return(None)
        | StatementKind::Break
        | StatementKind::Continue
        | StatementKind::Error => {}
    }
}

fn expr(e: &Expr, found: &mut impl FnMut(&str)) {
    match &e.kind {
        ExprKind::Name(name) => found(name),
        ExprKind::Call { name, args } => {
            found(&name.text);
            for arg in args {
                expr(arg, found);
            }
        }
        ExprKind::Map { key: Some(key), .. } => expr(key, found),
        ExprKind::Type(t) => ty(t, found),
        ExprKind::SizeOf(inner)
        | ExprKind::FieldExists { of: inner, .. }
        | ExprKind::OffsetOf { of: inner, .. }
        | ExprKind::Unary { operand: inner, .. }
        | ExprKind::Step { operand: inner, .. }
        | ExprKind::Comptime(inner)
        | ExprKind::Field { base: inner, .. } => expr(inner, found),
        ExprKind::Cast { ty: t, operand } => {
            ty(t, found);
            expr(operand, found);
        }
        ExprKind::Binary { left, right, .. } => {
            expr(left, found);
            expr(right, found);
        }
        ExprKind::Index { base, index } => {
            expr(base, found);
            expr(index, found);
        }
        ExprKind::Ternary {
            condition,
            then,
            otherwise,
        } => {
            expr(condition, found);
            if let Some(then) = then {
                expr(then, found);
            }
            expr(otherwise, found);
        }
        ExprKind::Tuple(parts) => parts.iter().for_each(|p| expr(p, found)),
        ExprKind::Record(parts) => parts.iter().for_each(|(_, p)| expr(p, found)),
        ExprKind::Block(b) => block(b, found),
        ExprKind::If(e) => branches(e, found),
        ExprKind::Int(_)
        | ExprKind::Str(_)
        | ExprKind::Bool(_)
        | ExprKind::Var(_)
        | ExprKind::Map { key: None, .. }
        | ExprKind::Positional(_)
        | ExprKind::PositionalCount
        | ExprKind::Error => {}
    }
}
