//! A macro's body with the arguments of a call in the place of its parameters.

use std::collections::HashMap;

use crate::diagnostic::Span;
use crate::syntax::tree::{
    Block, Expr, ExprKind, IfExpr, Name, Statement, StatementKind, TypeBase, TypeName,
};

/// What stands for what.
pub(super) struct Substitution {
    pub(super) exprs: HashMap<String, Expr>,
    pub(super) vars: HashMap<String, String>,
    pub(super) maps: HashMap<String, String>,
    /// Put behind the names of the body's own variables, so that they meet no others.
    pub(super) suffix: String,
    /// Maps that are no parameters.
    pub(super) foreign: Vec<(Span, String)>,
    /// Where all of the body is said to stand, if it is not the script's.
    pub(super) place: Option<Span>,
}

impl Substitution {
    /// Puts the arguments into a block.
    pub(super) fn block(&mut self, b: &mut Block) {
        for s in &mut b.statements {
            self.statement(s);
        }
        if let Some(value) = &mut b.value {
            self.expr(value);
        }
    }

    fn at(&self, span: &mut Span) {
        if let Some(place) = self.place {
            *span = place;
        }
    }

    fn var(&self, name: &mut String) {
        match self.vars.get(name) {
            Some(other) => name.clone_from(other),
            None => name.push_str(&self.suffix),
        }
    }

    fn map(&mut self, name: &mut String, span: Span) {
        match self.maps.get(name) {
            Some(other) => name.clone_from(other),
            None => self.foreign.push((span, name.clone())),
        }
    }

    fn branches(&mut self, e: &mut IfExpr) {
        self.expr(&mut e.condition);
        self.block(&mut e.then);
        if let Some(otherwise) = &mut e.otherwise {
            self.block(otherwise);
        }
    }

    fn ty(&mut self, t: &mut TypeName) {
        self.at(&mut t.span);
        if let TypeBase::TypeOf(e) = &mut t.base {
            self.expr(e);
        }
    }

    fn statement(&mut self, s: &mut Statement) {
        self.at(&mut s.span);
        match &mut s.kind {
            StatementKind::Expr(e) | StatementKind::Discard(e) => self.expr(e),
            StatementKind::Assign { target, value, .. } => {
                self.expr(target);
                self.expr(value);
            }
            StatementKind::Let { var, ty, value } => {
                self.var(&mut var.text);
                self.at(&mut var.span);
                if let Some(ty) = ty {
                    self.cast_type(ty);
                }
                if let Some(value) = value {
                    self.expr(value);
                }
            }
            StatementKind::If(e) => self.branches(e),
            StatementKind::ForMap { var, map, body } => {
                self.var(&mut var.text);
                self.at(&mut var.span);
                self.map(&mut map.text, map.span);
                self.block(body);
            }
            StatementKind::ForRange {
                var,
                start,
                end,
                body,
            } => {
                self.var(&mut var.text);
                self.at(&mut var.span);
                self.expr(start);
                self.expr(end);
                self.block(body);
            }
            StatementKind::While { condition, body } => {
                self.expr(condition);
                self.block(body);
            }
            StatementKind::Unroll { count, body } => {
                self.expr(count);
                self.block(body);
            }
            StatementKind::Return(Some(e)) => self.expr(e),
            StatementKind::Block(b) => self.block(b),
            StatementKind::Return(None)
            | StatementKind::Break
            | StatementKind::Continue
            | StatementKind::Error => {}
        }
    }

    fn expr(&mut self, e: &mut Expr) {
        self.at(&mut e.span);
        let span = e.span;
        match &mut e.kind {
            ExprKind::Name(name) => {
                if let Some(arg) = self.exprs.get(name) {
                    *e = arg.clone();
                }
            }
            ExprKind::Var(name) => self.var(name),
            ExprKind::Map { name, key } => {
                self.map(name, span);
                if let Some(key) = key {
                    self.expr(key);
                }
            }
            ExprKind::Call { name, args } => {
                self.at(&mut name.span);
                args.iter_mut().for_each(|a| self.expr(a));
            }
            ExprKind::Type(t) => {
                // A parameter may be a type: `sizeof(T)`, `(T)e`.
                if let (TypeBase::Named(name), true) = (&t.base, t.suffixes.is_empty()) {
                    if let Some(arg) = self.exprs.get(name) {
                        *e = arg.clone();
                        return;
                    }
                }
                self.cast_type(t);
            }
            ExprKind::Field { base, name, .. } => {
                self.at(&mut name.span);
                self.expr(base);
            }
            ExprKind::FieldExists { of, path } | ExprKind::OffsetOf { of, path } => {
                for mut name in std::mem::take(path) {
                    self.at(&mut name.span);
                    // A member may be a parameter: `container_of`.
                    let given = self.exprs.get(&name.text);
                    match given.and_then(|given| members(given, name.span)) {
                        Some(members) => path.extend(members),
                        None => path.push(name),
                    }
                }
                self.expr(of);
            }
            ExprKind::SizeOf(inner)
            | ExprKind::Unary { operand: inner, .. }
            | ExprKind::Step { operand: inner, .. }
            | ExprKind::Comptime(inner) => self.expr(inner),
            ExprKind::Cast { ty, operand } => {
                self.cast_type(ty);
                self.expr(operand);
            }
            ExprKind::Binary { left, right, .. } => {
                self.expr(left);
                self.expr(right);
            }
            ExprKind::Index { base, index } => {
                self.expr(base);
                self.expr(index);
            }
            ExprKind::Ternary {
                condition,
                then,
                otherwise,
            } => {
                self.expr(condition);
                if let Some(then) = then {
                    self.expr(then);
                }
                self.expr(otherwise);
            }
            ExprKind::Tuple(parts) => parts.iter_mut().for_each(|p| self.expr(p)),
            ExprKind::Record(parts) => parts.iter_mut().for_each(|(_, p)| self.expr(p)),
            ExprKind::Block(b) => self.block(b),
            ExprKind::If(e) => self.branches(e),
            ExprKind::Int(_)
            | ExprKind::Str(_)
            | ExprKind::Bool(_)
            | ExprKind::Positional(_)
            | ExprKind::PositionalCount
            | ExprKind::Error => {}
        }
    }

    /// Puts a type given as an argument into a cast.
    fn cast_type(&mut self, ty: &mut TypeName) {
        if let TypeBase::Named(name) = &ty.base {
            if let Some(ExprKind::Type(arg)) = self.exprs.get(name).map(|a| &a.kind) {
                let suffixes = std::mem::take(&mut ty.suffixes);
                ty.base = arg.base.clone();
                ty.suffixes.clone_from(&arg.suffixes);
                ty.suffixes.extend(suffixes);
                return;
            }
        }
        self.ty(ty);
    }
}

/// Gives the members that an expression names one inside of the other: `a`, `a.b`.
fn members(e: &Expr, span: Span) -> Option<Vec<Name>> {
    let (mut found, last) = match &e.kind {
        ExprKind::Name(name) => (Vec::new(), name),
        ExprKind::Field { base, name, .. } => (members(base, span)?, &name.text),
        _ => return None,
    };
    found.push(Name {
        text: last.clone(),
        span,
    });
    Some(found)
}
