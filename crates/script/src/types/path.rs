//! `fullpath`: a path that user space completes with the directory it is relative to.

use super::convert::convert;
use super::{Checker, make, poison};
use crate::diagnostic::Span;
use crate::hir::{Expr, ExprKind, FieldType, Int, Type};
use crate::syntax::tree;

impl Checker<'_> {
    /// Checks `fullpath(pid, directory, inode, device, path)`; the directory is a descriptor or
    /// `AT_FDCWD` (-100), inode and device say which directory that was.
    pub(super) fn full_path(&mut self, args: &[tree::Expr], span: Span) -> Expr {
        let [pid, directory, inode, device, path] = args else {
            return poison(span);
        };
        let pid = self.expr(pid);
        let directory = self.expr(directory);
        let inode = self.expr(inode);
        let device = self.expr(device);
        let path = self.expr(path);
        let numbers = [&pid, &directory, &inode, &device];
        for number in numbers {
            if number.ty != Type::Void && super::expr::number(&number.ty).is_none() {
                self.wrong_argument("fullpath", "an integer", number);
                return poison(span);
            }
        }
        if numbers.iter().any(|number| number.ty == Type::Void) {
            return poison(span);
        }
        if !matches!(path.ty, Type::Str { .. }) {
            return self.wrong_argument("fullpath", "a string", &path);
        }
        let parts = vec![
            convert(pid, &Type::Int(Int::U32)),
            convert(directory, &Type::Int(Int::I32)),
            convert(inode, &Type::Int(Int::U64)),
            convert(device, &Type::Int(Int::U64)),
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
