//! `fullpath`: a path that user space completes with the directory it is relative to.

use super::convert::convert;
use super::{Checker, make, poison};
use crate::diagnostic::Span;
use crate::hir::{Expr, ExprKind, FieldType, Int, Type};
use crate::syntax::tree;

impl Checker<'_> {
    /// Checks `fullpath(pid, directory, path)`; the directory is a descriptor or `AT_FDCWD` (-100).
    pub(super) fn full_path(&mut self, args: &[tree::Expr], span: Span) -> Expr {
        let [pid, directory, path] = args else {
            self.check_all(args);
            self.argument_count("fullpath", args.len(), 3..=3, span);
            return poison(span);
        };
        let pid = self.expr(pid);
        let directory = self.expr(directory);
        let path = self.expr(path);
        for number in [&pid, &directory] {
            if number.ty != Type::Void && super::expr::number(&number.ty).is_none() {
                self.wrong_argument("fullpath", "an integer", number);
                return poison(span);
            }
        }
        if pid.ty == Type::Void || directory.ty == Type::Void {
            return poison(span);
        }
        if !matches!(path.ty, Type::Str { .. }) {
            return self.wrong_argument("fullpath", "a string", &path);
        }
        let parts = vec![
            convert(pid, &Type::Int(Int::U32)),
            convert(directory, &Type::Int(Int::I32)),
            path,
        ];
        let types = parts
            .iter()
            .enumerate()
            .map(|(i, p)| (i.to_string(), p.ty.clone()));
        let ty = Type::FullPath(FieldType::lay_out(types.collect()));
        make(ExprKind::Fields(parts), ty, span)
    }
}
