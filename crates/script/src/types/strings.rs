//! Functions that take or give strings.

use super::expr::{number, string};
use super::function::Call;
use super::infer::Shape;
use super::{Checker, make, poison};
use crate::diagnostic::{Diagnostic, Span};
use crate::hir::{Expr, ExprKind, Space, Stmt, StmtKind, Type};
use crate::syntax::tree;

/// Gives the parameter of `$1` or `$1 + 2`, and how many of its bytes are left out.
fn part_of_parameter(e: &tree::Expr) -> Option<(u32, usize)> {
    match &e.kind {
        tree::ExprKind::Positional(n) => Some((*n, 0)),
        tree::ExprKind::Binary {
            op: tree::BinaryOp::Add,
            left,
            right,
        } => match (&left.kind, &right.kind) {
            (tree::ExprKind::Positional(n), tree::ExprKind::Int(skipped))
            | (tree::ExprKind::Int(skipped), tree::ExprKind::Positional(n)) => {
                Some((*n, usize::try_from(*skipped).ok()?))
            }
            _ => None,
        },
        _ => None,
    }
}

/// Says whether a length is the number 0.
fn cuts_to_nothing(len: Option<&Expr>) -> bool {
    len.is_some_and(|len| len.kind == ExprKind::Int(0))
}

impl Checker<'_> {
    pub(super) fn str_call(&mut self, args: &[tree::Expr], span: Span) -> Expr {
        let of_parameter = args.first().and_then(part_of_parameter);
        let literal = of_parameter.map(|(n, skipped)| {
            let index = (n as usize).checked_sub(1);
            let text = index.and_then(|i| self.inputs.positional.get(i));
            let text = text.map(String::as_bytes).unwrap_or_default();
            string(text.get(skipped..).unwrap_or_default(), span)
        });
        if let Some((n, _)) = of_parameter {
            if self.inputs.portable && n as usize > self.inputs.positional.len() {
                let message = format!("the text of ${n} has to be given when it is built");
                let error = Diagnostic::error("not-portable", span, message);
                return self
                    .report(error.hint("options take texts when it is run: getopt(name, \"\")"));
            }
        }
        if let ([_], Some(literal)) = (args, &literal) {
            return literal.clone();
        }
        let mut capacity = self.config.max_strlen;
        let mut cut = capacity;
        let mut len = None;
        if let Some(n) = args.get(1) {
            let n = self.expr(n);
            match (&n.kind, number(&n.ty)) {
                (_, None) => {
                    self.wrong_argument("str", "a number as its length", &n);
                }
                (ExprKind::Int(value), _) if *value < 0 => {
                    self.error(
                        "invalid-argument",
                        n.span,
                        format!("str cannot use negative length ({value})"),
                    );
                }
                (ExprKind::Int(value), _) => {
                    // The length counts the NUL; the type has room for one more, as bpftrace's.
                    if *value >= i64::from(capacity) {
                        self.warn(
                            "too-long",
                            span,
                            format!(
                                "length param ({value}) is too long and will be shortened to \
                                 {capacity} bytes (see BPFTRACE_MAX_STRLEN)"
                            ),
                        );
                    }
                    if *value <= i64::from(capacity) {
                        let room = (*value).max(1);
                        capacity = room as u32 + 1;
                        let most = make(ExprKind::Int(*value), Type::U64, n.span);
                        len = Some(Box::new(most));
                        cut = room as u32;
                    }
                }
                _ => {
                    len = Some(Box::new(super::convert::convert(n, &Type::U64)));
                }
            }
        }
        let Some(first) = args.first() else {
            return poison(span);
        };
        let value = match literal {
            Some(literal) => literal,
            None => super::convert::name_as_text(self.expr(first), true),
        };
        let ty = Type::Str { capacity };
        match &value.ty {
            Type::Void => poison(span),
            Type::Str { .. } if args.len() > 1 && cuts_to_nothing(len.as_deref()) => {
                string(b"", span)
            }
            Type::Str { capacity: has } => {
                if let Some(len) = len.filter(|len| !matches!(len.kind, ExprKind::Int(_))) {
                    return self.cut(value, len, span);
                }
                // A string is one already; a smaller length cuts it, that of a literal without
                // the NUL.
                let cut = match value.kind {
                    ExprKind::Str(_) => cut + 1,
                    _ => cut,
                };
                if args.len() == 1 || *has <= cut {
                    return value;
                }
                super::convert::convert(value, &Type::Str { capacity: cut })
            }
            Type::Int(_) | Type::Pointer { .. } => {
                let space = self.space_of_number(&value);
                let kind = ExprKind::ReadStr {
                    address: Box::new(super::convert::convert(value, &Type::U64)),
                    space,
                    len,
                };
                make(kind, ty, span)
            }
            Type::Array { element, .. } if element.size() == 1 => {
                let capacity = value.ty.size();
                make(
                    ExprKind::StrOfBytes(Box::new(value)),
                    Type::Str { capacity },
                    span,
                )
            }
            _ => self.wrong_argument("str", "a string, integer or a pointer", &value),
        }
    }

    /// The start of a string, as many bytes as a number says that is known when it runs; they
    /// count the NUL, as those of a string in memory do.
    fn cut(&mut self, text: Expr, len: Box<Expr>, span: Span) -> Expr {
        self.in_block(|c| {
            let var = c.declare_var("text#", span);
            c.grow_var(var, &Shape::fixed(text.ty.clone()), span);
            let ty = c.var_shape(var).map_or(Type::Void, |s| s.ty.clone());
            let set = Stmt {
                kind: StmtKind::SetVar(var, super::convert::convert(text, &ty)),
                span,
            };
            let kind = ExprKind::ReadStr {
                address: Box::new(make(ExprKind::VarAddress(var), Type::U64, span)),
                space: Space::Kernel,
                len: Some(len),
            };
            let start = make(kind, ty.clone(), span);
            make(ExprKind::Block(vec![set], Box::new(start)), ty, span)
        })
    }

    pub(super) fn strncmp(&mut self, args: &[tree::Expr], span: Span) -> Expr {
        let [left, right, n] = args else {
            return poison(span);
        };
        let left = super::convert::name_as_text(self.expr(left), true);
        let right = super::convert::name_as_text(self.expr(right), true);
        let n = self.expr(n);
        let (Type::Str { capacity: x }, Type::Str { capacity: y }) = (&left.ty, &right.ty) else {
            for side in [&left, &right] {
                if !matches!(side.ty, Type::Str { .. }) {
                    self.wrong_argument("strncmp", "strings", side);
                }
            }
            return poison(span);
        };
        let ExprKind::Int(n) = n.kind else {
            return self.wrong_argument("strncmp", "a literal length", &n);
        };
        let Ok(n) = u32::try_from(n) else {
            return self.error(
                "invalid-argument",
                span,
                "strncmp() expects a non-negative length",
            );
        };
        let len = n.min(*x).min(*y);
        let kind = ExprKind::CompareBytes {
            negated: true,
            len,
            left: Box::new(left),
            right: Box::new(right),
        };
        let differs = make(kind, Type::Bool, span);
        super::convert::convert(differs, &Type::U64)
    }

    pub(super) fn search(&mut self, call: Call<'_>) -> Expr {
        let (function, span) = (call.name.text.as_str(), call.span);
        let [whole, part] = call.args else {
            return poison(span);
        };
        let whole = super::convert::name_as_text(self.expr(whole), true);
        let part = super::convert::name_as_text(self.expr(part), true);
        let mut fine = true;
        for side in [&whole, &part] {
            if !matches!(side.ty, Type::Str { .. }) {
                self.wrong_argument(function, "strings", side);
                fine = false;
            }
        }
        if !fine {
            return poison(span);
        }
        let kind = if function == "strcontains" {
            ExprKind::StrContains {
                haystack: Box::new(whole),
                needle: Box::new(part),
            }
        } else {
            ExprKind::StrPrefix {
                string: Box::new(whole),
                prefix: Box::new(part),
            }
        };
        make(kind, Type::Bool, span)
    }

    /// Gives a format of `printf` and its like, which a NUL does not end.
    pub(super) fn format_text(
        &mut self,
        function: &str,
        e: &tree::Expr,
    ) -> Option<std::sync::Arc<str>> {
        match &e.kind {
            tree::ExprKind::Str(text) => Some(String::from_utf8_lossy(text).into()),
            _ => self.literal_text(function, e),
        }
    }

    /// Reads an argument that is a string known now: a literal, or `str($1)`.
    pub(super) fn literal_text(
        &mut self,
        function: &str,
        e: &tree::Expr,
    ) -> Option<std::sync::Arc<str>> {
        let value = self.expr(e);
        match &value.kind {
            ExprKind::Str(text) => Some(String::from_utf8_lossy(text).into()),
            _ => {
                self.wrong_argument(function, "a string literal", &value);
                None
            }
        }
    }
}
