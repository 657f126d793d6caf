//! Macros: their bodies put in place of their calls.

use std::collections::HashMap;

use super::substitute::Substitution;
use super::{Checker, poison};
use crate::diagnostic::{Diagnostic, Span};
use crate::hir::{Expr, Stmt};
use crate::syntax::tree::{self, Block, ExprKind, Macro, MacroParam};

/// Calls of macros inside of macros.
const NESTED: usize = 64;
/// Calls of macros in a whole script.
const CALLS: u32 = 20_000;

impl<'a> Checker<'a> {
    /// Says whether a name is that of a macro with so many parameters.
    pub(super) fn is_macro(&self, name: &str, params: usize) -> bool {
        self.macros(name).any(|m| m.params.len() == params)
    }

    /// Says whether any macro has this name.
    pub(super) fn any_macro(&self, name: &str) -> bool {
        self.macros(name).next().is_some()
    }

    /// Gives the macros of a name: the script's, then the prelude's.
    fn macros(&self, name: &str) -> impl Iterator<Item = &'a Macro> + use<'a> {
        let own: Vec<&'a Macro> = (self.script.macros.iter())
            .filter(|m| m.name.text == name)
            .collect();
        own.into_iter().chain(super::prelude::named(name))
    }

    /// Expands a call of a macro whose value is used; none where there is no such macro.
    pub(super) fn expand_macro(
        &mut self,
        name: &str,
        args: &[tree::Expr],
        span: Span,
    ) -> Option<Expr> {
        let body = self.macro_body(name, args, span)?;
        Some(match body {
            Ok(body) => self.within_macro(name, span, |c| c.block_value(&body, span)),
            Err(poison) => poison,
        })
    }

    /// Expands a call of a macro for its effect; none where that is no call of a macro.
    pub(super) fn macro_statements(&mut self, e: &tree::Expr) -> Option<Vec<Stmt>> {
        let (name, args) = match &e.kind {
            ExprKind::Call { name, args } => (name.text.as_str(), args.as_slice()),
            ExprKind::Name(name) => (name.as_str(), [].as_slice()),
            _ => return None,
        };
        let body = self.macro_body(name, args, e.span)?;
        Some(match body {
            Ok(body) => self.within_macro(name, e.span, |c| c.block(&body)),
            Err(_) => Vec::new(),
        })
    }

    /// Checks a macro's body; findings say where it was called.
    fn within_macro<T>(&mut self, name: &str, call: Span, run: impl FnOnce(&mut Self) -> T) -> T {
        let before = self.diagnostics.len();
        self.scope.macros.push((name.to_owned(), call));
        let result = run(self);
        self.scope.macros.pop();
        for d in self.diagnostics.iter_mut().skip(before) {
            let inside = call.start <= d.span.start && d.span.end <= call.end;
            if !inside && d.notes.last().is_none_or(|(s, _)| *s != call) {
                d.notes
                    .push((call, format!("expanded from the call of {name}")));
            }
        }
        result
    }

    /// Says whether the call stands in the text of the named macro, or in that of one that was
    /// called from there. An argument stands where it was written, wherever it is put.
    fn calls_itself(&self, name: &str, call: Span) -> bool {
        let mut open = self.scope.macros.as_slice();
        let mut call = call;
        loop {
            let inside = |m: &&Macro| m.span.start <= call.start && call.end <= m.span.end;
            let Some(caller) = self.script.macros.iter().find(inside) else {
                return false;
            };
            let caller = &caller.name.text;
            let Some(at) = open.iter().rposition(|(open, _)| open == caller) else {
                return false;
            };
            if caller == name {
                return true;
            }
            call = open[at].1;
            open = &open[..at];
        }
    }

    /// Says whether a macro stands in the script.
    fn is_own(&self, found: &Macro) -> bool {
        self.script.macros.iter().any(|m| std::ptr::eq(m, found))
    }

    /// Finds the macro that a call means and puts the arguments into its body.
    fn macro_body(
        &mut self,
        name: &str,
        args: &[tree::Expr],
        span: Span,
    ) -> Option<Result<Block, Expr>> {
        if !self.is_macro(name, args.len()) {
            return None;
        }
        let found = self.macros(name).find(|m| takes(m, args));
        let Some(found) = found else {
            for arg in args {
                if !matches!(
                    arg.kind,
                    ExprKind::Map { key: None, .. } | ExprKind::Type(_)
                ) {
                    self.expr(arg);
                }
            }
            let mut error = Diagnostic::error(
                "macro-arguments",
                span,
                format!("the macro {name} takes other kinds of arguments"),
            );
            for m in self.macros(name) {
                let at = match self.is_own(m) {
                    true => m.name.span,
                    false => span,
                };
                error = error.note(at, format!("it takes {}", parameters(m)));
            }
            return Some(Err(self.report(error)));
        };
        if self.calls_itself(name, span) || self.scope.macros.len() >= NESTED {
            let what = if found.function { "function" } else { "macro" };
            let message = format!("the {what} {name} calls itself without end");
            let mut error = Diagnostic::error("macro-recursion", span, message);
            if found.function {
                error = error.hint("write it as a loop: `for ($i : 0..10) { … }`");
            }
            return Some(Err(self.report(error)));
        }
        if self.expansions >= CALLS {
            // Said once; after it every call is passed over.
            if self.expansions == CALLS {
                self.expansions += 1;
                self.error("too-many-macros", span, "the macros expand to too much");
            }
            return Some(Err(poison(span)));
        }
        self.expansions += 1;
        let mut substitution = Substitution {
            exprs: HashMap::new(),
            vars: HashMap::new(),
            maps: HashMap::new(),
            suffix: format!("#{}", self.expansions),
            foreign: Vec::new(),
            place: (!self.is_own(found)).then_some(span),
        };
        for (param, arg) in found.params.iter().zip(args) {
            match (param, &arg.kind) {
                (MacroParam::Var(name), ExprKind::Var(var)) => {
                    substitution.vars.insert(name.text.clone(), var.clone());
                }
                (MacroParam::Map(name), ExprKind::Map { name: map, .. }) => {
                    substitution.maps.insert(name.text.clone(), map.clone());
                }
                (MacroParam::Expr(name), _) => {
                    substitution.exprs.insert(name.text.clone(), arg.clone());
                }
                _ => {}
            }
        }
        let mut body = found.body.clone();
        substitution.block(&mut body);
        let foreign = substitution.foreign.into_iter().next();
        if let Some((span, map)) = foreign.filter(|_| !found.function) {
            return Some(Err(self.error(
                "unhygienic-macro",
                span,
                format!(
                    "Unhygienic access to map: @{map}. Maps must be passed into the macro as \
                     arguments"
                ),
            )));
        }
        Some(Ok(body))
    }
}

fn takes(m: &Macro, args: &[tree::Expr]) -> bool {
    let fits = |(param, arg): (&MacroParam, &tree::Expr)| match param {
        MacroParam::Expr(_) => true,
        MacroParam::Var(_) => matches!(arg.kind, ExprKind::Var(_)),
        MacroParam::Map(_) => matches!(arg.kind, ExprKind::Map { key: None, .. }),
    };
    m.params.len() == args.len() && m.params.iter().zip(args).all(fits)
}

fn parameters(m: &Macro) -> String {
    let names = m.params.iter().map(|p| match p {
        MacroParam::Expr(name) => name.text.clone(),
        MacroParam::Var(name) => format!("${}", name.text),
        MacroParam::Map(name) => format!("@{}", name.text),
    });
    format!("({})", names.collect::<Vec<_>>().join(", "))
}
