//! Statements and blocks.

use super::infer::Shape;
use super::{Checker, DEPTH, make};
use crate::diagnostic::{Diagnostic, Span};
use crate::hir::{Expr, ExprKind, Stmt, StmtKind, Type};
use crate::plan::SiteKind;
use crate::syntax::tree::{self, StatementKind};

impl Checker<'_> {
    /// Checks a block's statements in a scope of their own; its value is checked for its effect.
    pub(super) fn block(&mut self, block: &tree::Block) -> Vec<Stmt> {
        self.in_block(|c| {
            let mut out = Vec::with_capacity(block.statements.len());
            c.statements(&block.statements, &mut out);
            if let Some(value) = &block.value {
                if c.ends(&out) {
                    c.unreachable(value.span);
                }
                c.effect(value, &mut out);
            }
            out
        })
    }

    /// Says whether nothing that follows these statements is ever run.
    fn ends(&self, statements: &[Stmt]) -> bool {
        let Some(last) = statements.last() else {
            return false;
        };
        match &last.kind {
            StmtKind::Return | StmtKind::Break | StmtKind::Continue => true,
            StmtKind::Emit { site, .. } => {
                let site = self.sites.get(site.0 as usize);
                site.is_some_and(|site| matches!(site.kind, SiteKind::Exit))
            }
            StmtKind::If {
                then, otherwise, ..
            } => self.ends(then) && self.ends(otherwise),
            _ => false,
        }
    }

    /// Tells of a statement that is never run, unless it came by a macro.
    fn unreachable(&mut self, span: Span) {
        if self.scope.macros.is_empty() {
            self.warn("unreachable", span, "Unreachable statement");
        }
    }

    /// Checks a block whose value is used.
    pub(super) fn block_value(&mut self, block: &tree::Block, span: Span) -> Expr {
        self.in_block(|c| {
            let mut out = Vec::new();
            c.statements(&block.statements, &mut out);
            let Some(value) = &block.value else {
                return c.error(
                    "no-value",
                    span,
                    "the block has no value: its last expression must have no `;`",
                );
            };
            let value = c.expr(value);
            if out.is_empty() {
                return value;
            }
            let ty = value.ty.clone();
            make(ExprKind::Block(out, Box::new(value)), ty, span)
        })
    }

    pub(super) fn if_value(&mut self, e: &tree::IfExpr, span: Span) -> Expr {
        let condition = self.condition(&e.condition);
        let comptime = e.comptime || matches!(e.condition.kind, tree::ExprKind::Comptime(_));
        let known = super::known::number(&condition).filter(|_| comptime);
        if let (Some(n), Some(otherwise)) = (known, &e.otherwise) {
            let chosen = if n != 0 { &e.then } else { otherwise };
            return self.block_value(chosen, chosen.span);
        }
        let then = self.block_value(&e.then, e.then.span);
        let Some(otherwise) = &e.otherwise else {
            return self.error("no-value", span, "an if used as a value needs an else");
        };
        let otherwise = self.block_value(otherwise, otherwise.span);
        self.choose(condition, then, otherwise, span)
    }

    pub(super) fn statements(&mut self, statements: &[tree::Statement], out: &mut Vec<Stmt>) {
        if self.depth >= DEPTH {
            let span = statements.first().map_or(Span::default(), |s| s.span);
            self.error("too-deep", span, "blocks are nested too deeply");
            return;
        }
        self.depth += 1;
        let first = out.len();
        let mut told = false;
        for statement in statements {
            if !told && self.ends(&out[first.min(out.len())..]) {
                self.unreachable(statement.span);
                told = true;
            }
            self.statement(statement, out);
        }
        self.depth -= 1;
    }

    fn statement(&mut self, s: &tree::Statement, out: &mut Vec<Stmt>) {
        let span = s.span;
        let mut push = |kind| out.push(Stmt { kind, span });
        match &s.kind {
            StatementKind::Expr(e) => self.effect(e, out),
            StatementKind::Discard(e) => {
                let e = self.expr(e);
                push(StmtKind::Expr(e));
            }
            StatementKind::Assign { target, op, value } => {
                let stmt = self.assign(target, *op, value, span);
                out.append(&mut self.pending);
                out.extend(stmt);
            }
            StatementKind::Let { var, ty, value } => {
                if let Some(stmt) = self.declare(&var.text, ty.as_ref(), value.as_ref(), span) {
                    out.push(stmt);
                }
            }
            StatementKind::If(e) => {
                let stmt = self.if_statement(e, span);
                out.push(stmt);
            }
            StatementKind::ForMap { var, map, body } => {
                let stmt = self.for_map(var, map, body, span);
                out.extend(stmt);
            }
            StatementKind::ForRange {
                var,
                start,
                end,
                body,
            } => {
                let stmt = self.for_range(var, start, end, body, span);
                out.push(stmt);
            }
            StatementKind::While { condition, body } => {
                let kind = self.while_loop(condition, body, span);
                push(kind);
            }
            StatementKind::Unroll { count, body } => {
                if let Some(kind) = self.unroll(count, body) {
                    push(kind);
                }
            }
            StatementKind::Break | StatementKind::Continue => {
                let is_break = matches!(s.kind, StatementKind::Break);
                if self.scope.loops == 0 {
                    let word = if is_break { "break" } else { "continue" };
                    self.error(
                        "outside-loop",
                        span,
                        format!("{word} statement outside of a loop"),
                    );
                    return;
                }
                push(if is_break {
                    StmtKind::Break
                } else {
                    StmtKind::Continue
                });
            }
            StatementKind::Return(value) => {
                if let Some(value) = value {
                    let value = self.expr(value);
                    if value.ty != Type::Void && super::expr::number(&value.ty).is_none() {
                        let message = format!(
                            "Probe return values can only be integers. Found {}",
                            value.ty
                        );
                        self.error("invalid-return", value.span, message);
                    }
                    push(match self.scope.result {
                        Some(var) if value.ty != Type::Void => {
                            let kept = super::convert::convert(value, &Type::I64);
                            StmtKind::SetVar(var, kept)
                        }
                        _ => StmtKind::Expr(value),
                    });
                }
                push(StmtKind::Return);
            }
            StatementKind::Block(block) => out.append(&mut self.block(block)),
            StatementKind::Error => {}
        }
    }

    /// Checks an expression for its effect.
    pub(super) fn effect(&mut self, e: &tree::Expr, out: &mut Vec<Stmt>) {
        let span = e.span;
        match &e.kind {
            tree::ExprKind::Call { name, args } if !self.is_macro(&name.text, args.len()) => {
                let function = name.text.as_str();
                if super::function::is_statement(function) {
                    let stmt = self.statement_call(name, args, span);
                    out.append(&mut self.pending);
                    out.extend(stmt);
                    return;
                }
            }
            tree::ExprKind::Ternary {
                condition,
                then: Some(then),
                otherwise,
            } => {
                let condition = self.condition(condition);
                let mut yes = Vec::new();
                self.effect(then, &mut yes);
                let mut no = Vec::new();
                self.effect(otherwise, &mut no);
                let kind = StmtKind::If {
                    condition,
                    then: yes,
                    otherwise: no,
                };
                out.push(Stmt { kind, span });
                return;
            }
            tree::ExprKind::If(e) => {
                let stmt = self.if_statement(e, span);
                out.push(stmt);
                return;
            }
            tree::ExprKind::Block(block) => {
                out.append(&mut self.block(block));
                return;
            }
            _ => {}
        }
        if let Some(mut statements) = self.macro_statements(e) {
            out.append(&mut statements);
            return;
        }
        let e = self.expr(e);
        if let ExprKind::StepMap { .. } = e.kind {
            self.used_steps = self.used_steps.saturating_sub(1);
        }
        let for_effect = matches!(
            e.kind,
            ExprKind::StepVar { .. } | ExprKind::StepMap { .. } | ExprKind::Delete { .. }
        );
        if !for_effect && e.ty != Type::Void && self.scope.macros.is_empty() {
            let warning = Diagnostic::warning("discarded-value", span, "Return value discarded");
            self.report(warning.hint("write `_ = …` where that is meant"));
        }
        out.push(Stmt {
            kind: StmtKind::Expr(e),
            span,
        });
    }

    fn if_statement(&mut self, e: &tree::IfExpr, span: Span) -> Stmt {
        let condition = self.condition(&e.condition);
        let known = e.comptime || matches!(e.condition.kind, tree::ExprKind::Comptime(_));
        let value = super::known::number(&condition);
        if let (true, Some(n)) = (known && condition.ty != Type::Void, value) {
            // The other branch need not make sense.
            let then = match (n != 0, &e.otherwise) {
                (true, _) => self.block(&e.then),
                (false, Some(otherwise)) => self.block(otherwise),
                (false, None) => Vec::new(),
            };
            let kind = StmtKind::If {
                condition: make(ExprKind::Int(1), Type::Bool, span),
                then,
                otherwise: Vec::new(),
            };
            return Stmt { kind, span };
        }
        let then = self.block(&e.then);
        let otherwise = e.otherwise.as_ref().map(|b| self.block(b));
        let kind = StmtKind::If {
            condition,
            then,
            otherwise: otherwise.unwrap_or_default(),
        };
        Stmt { kind, span }
    }

    fn declare(
        &mut self,
        name: &str,
        ty: Option<&tree::TypeName>,
        value: Option<&tree::Expr>,
        span: Span,
    ) -> Option<Stmt> {
        let value = value.map(|v| {
            let value = self.expr(v);
            self.storable(value)
        });
        if self.find_var(name).is_some() {
            let shown = name.split('#').next().unwrap_or_default();
            self.error(
                "redeclared",
                span,
                format!(
                    "Variable ${shown} was already declared. Variable shadowing is not allowed"
                ),
            );
            return None;
        }
        let id = self.declare_var(name, span);
        if value.is_none() {
            self.scope.unassigned.push((id, span));
        }
        if let Some(ty) = ty {
            let unsized_string = matches!(&ty.base, tree::TypeBase::Named(n) if n == "string" || n == "buffer")
                && ty.suffixes.is_empty();
            if !unsized_string {
                let ty = self.type_name(ty)?;
                let shape = Shape::fixed(ty);
                let info = self.var_info(id)?;
                if info.shape.as_ref() != Some(&shape) {
                    info.shape = Some(shape);
                    info.first = span;
                    self.env.changed = true;
                }
                let info = self.var_info(id)?;
                info.declared = true;
            }
        }
        // What was never assigned is zero, in every round of a loop.
        let value = match value {
            Some(value) => value,
            None => {
                let ty = self.var_shape(id).map(|s| s.ty.clone())?;
                zero(&ty, span)?
            }
        };
        self.set_var(id, value, span)
    }

    pub(super) fn set_var(
        &mut self,
        id: crate::hir::VarId,
        value: Expr,
        span: Span,
    ) -> Option<Stmt> {
        let shape = self.shape(&value);
        self.grow_var(id, &shape, span);
        if value.ty == Type::Void {
            return None;
        }
        let ty = self.var_shape(id).map(|s| s.ty.clone())?;
        if let (ExprKind::Int(n), Type::Int(from), Type::Int(to)) = (&value.kind, &value.ty, &ty) {
            let too_large = !from.signed && *n < 0 && *to != *from;
            if too_large || (!super::infer::holds(*to, *n) && *to != *from) {
                let message = format!(
                    "Type mismatch for ${}: trying to assign value '{}' when variable already \
                     has a type '{ty}'",
                    self.var_name(id),
                    if too_large {
                        (*n as u64).to_string()
                    } else {
                        n.to_string()
                    }
                );
                self.error("type-mismatch", span, message);
                return None;
            }
        }
        let value = self.coerce(value, &ty);
        Some(Stmt {
            kind: StmtKind::SetVar(id, value),
            span,
        })
    }

    /// Makes an expression that may be evaluated twice: one with effects is put into a variable
    /// by a statement before.
    pub(super) fn once(&mut self, e: Expr) -> Expr {
        let simple = matches!(
            e.kind,
            ExprKind::Var(_) | ExprKind::Int(_) | ExprKind::Str(_) | ExprKind::Builtin(_)
        );
        if simple || e.ty == Type::Void {
            return e;
        }
        let span = e.span;
        let var = self.declare_var("key#", span);
        self.grow_var(var, &Shape::fixed(e.ty.clone()), span);
        let ty = self.var_shape(var).map_or(Type::Void, |s| s.ty.clone());
        self.pending.push(Stmt {
            kind: StmtKind::SetVar(var, super::convert::convert(e, &ty)),
            span,
        });
        make(ExprKind::Var(var), ty, span)
    }
}

/// Makes the zero of a type; none of those that have no literal.
pub(super) fn zero(ty: &Type, span: Span) -> Option<Expr> {
    let kind = match ty {
        Type::Str { .. } => ExprKind::Str(b"".as_slice().into()),
        Type::Tuple(fields) | Type::Record(fields) => {
            let parts: Option<Vec<Expr>> = fields.iter().map(|f| zero(&f.ty, span)).collect();
            ExprKind::Fields(parts?)
        }
        scalar if scalar.is_scalar() => ExprKind::Int(0),
        _ => return None,
    };
    Some(make(kind, ty.clone(), span))
}
