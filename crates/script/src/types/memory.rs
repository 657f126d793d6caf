//! What scripts over memory alone can ask.

use kscope_spec::{HelperId, LateKind};

use super::convert::convert;
use super::function::Call;
use super::{Checker, make, poison};
use crate::diagnostic::{Diagnostic, Span};
use crate::hir::{Expr, ExprKind, Type};
use crate::ir::kfunc;
use crate::syntax::{list_loop, tree};

impl Checker<'_> {
    /// Checks the calls that loops over what the kernel links are made of; none for any other.
    pub(super) fn walk_call(
        &mut self,
        name: &str,
        args: &[tree::Expr],
        span: Span,
    ) -> Option<Expr> {
        let helper = match name {
            list_loop::BEGIN => kfunc::WALK,
            list_loop::NEXT => kfunc::WALK_NEXT,
            list_loop::END => kfunc::WALK_END,
            _ => return None,
        };
        if let Some(refused) = self.needs_memory("a walk of this kind", span) {
            return Some(refused);
        }
        let args: Vec<Expr> = args.iter().map(|arg| self.expr(arg)).collect();
        if args.iter().any(|arg| arg.ty == Type::Void) {
            return Some(poison(span));
        }
        let args = args.into_iter().map(|arg| convert(arg, &Type::U64));
        let kind = ExprKind::Helper {
            helper: HelperId(helper),
            args: args.collect(),
        };
        Some(make(kind, Type::U64, span))
    }

    /// Refuses what no program in the kernel can do; none where the script is interpreted.
    pub(super) fn needs_memory(&mut self, what: &str, span: Span) -> Option<Expr> {
        if self.inputs.interpreted {
            return None;
        }
        let message = format!("{what} is for memory that is only read");
        let error = Diagnostic::error("needs-memory", span, message);
        let hint = "kscope run --engine memory interprets the script over the running kernel's \
                    memory, kscope run --dump FILE over that of a dead one";
        Some(self.report(error.hint(hint)))
    }

    /// `kaddr("symbol")`, `kaddr("symbol", 0)`: with the 0 it is no error that there is none.
    pub(super) fn kaddr(&mut self, args: &[tree::Expr], span: Span) -> Expr {
        let Some(value) = self.one(args) else {
            return poison(span);
        };
        let ExprKind::Str(symbol) = &value.kind else {
            return self.wrong_argument("kaddr", "a string literal", &value);
        };
        let symbol = String::from_utf8_lossy(symbol).into_owned();
        let otherwise = args.get(1).map(|arg| self.expr(arg));
        let (name, kind) = match otherwise {
            None => (format!("kaddr.{symbol}"), LateKind::KernelSymbol(symbol)),
            Some(Expr {
                kind: ExprKind::Int(0),
                ..
            }) => (
                // Symbols such as `a.0` exist: the mark comes first.
                format!("kaddr0.{symbol}"),
                LateKind::KernelSymbolOrZero(symbol),
            ),
            Some(other) => {
                return self.wrong_argument("kaddr", "0 as its second argument", &other);
            }
        };
        let late = self.late_value(&name, kind);
        make(ExprKind::Late(late), Type::U64, span)
    }

    /// `dentry_path(dentry)`, `dentry_path(dentry, vfsmount)`: where a directory entry is in its
    /// file system, or below the root of the mounts.
    pub(super) fn dentry_path(&mut self, call: Call<'_>) -> Expr {
        let span = call.span;
        let args: Vec<Expr> = call.args.iter().map(|arg| self.expr(arg)).collect();
        if args.iter().any(|arg| arg.ty == Type::Void) {
            return poison(span);
        }
        for (arg, wanted) in args.iter().zip(["struct dentry", "struct vfsmount"]) {
            if !is_pointer_to(&arg.ty, wanted) {
                return self.wrong_argument("dentry_path", &format!("a {wanted} *"), arg);
            }
        }
        if let Some(refused) = self.needs_memory("dentry_path()", span) {
            return refused;
        }
        let mut args: Vec<Expr> = args
            .into_iter()
            .map(|arg| convert(arg, &Type::U64))
            .collect();
        args.resize_with(2, || make(ExprKind::Int(0), Type::U64, span));
        let kind = ExprKind::Helper {
            helper: HelperId(kfunc::DENTRY_PATH),
            args,
        };
        let path = make(kind, Type::U64, span);
        let capacity = self.config.max_strlen;
        make(
            ExprKind::PathOf(Box::new(path)),
            Type::Str { capacity },
            span,
        )
    }
}

fn is_pointer_to(ty: &Type, name: &str) -> bool {
    match ty {
        Type::Pointer { to, .. } => matches!(&**to, Type::Struct(found) if &*found.name == name),
        _ => false,
    }
}
