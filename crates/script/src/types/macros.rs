//! Macros: their bodies put in place of their calls.

use super::Checker;
use crate::diagnostic::Span;
use crate::hir::{Expr, Stmt};
use crate::syntax::tree;

impl Checker<'_> {
    /// Says whether a name is that of a macro with so many parameters.
    pub(super) fn is_macro(&self, name: &str, params: usize) -> bool {
        let mut macros = self.script.macros.iter();
        macros.any(|m| m.name.text == name && m.params.len() == params)
    }

    /// Expands a call of a macro whose value is used; none where there is no such macro.
    pub(super) fn expand_macro(
        &mut self,
        name: &str,
        args: &[tree::Expr],
        span: Span,
    ) -> Option<Expr> {
        if !self.is_macro(name, args.len()) {
            return None;
        }
        Some(self.error("unsupported", span, "macros come with a later version"))
    }

    /// Expands a call of a macro for its effect.
    pub(super) fn macro_statements(&mut self, _e: &tree::Expr) -> Option<Vec<Stmt>> {
        None
    }
}
