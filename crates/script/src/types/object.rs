//! What is done with objects of the kernel by their typed pointers, and with memory of processes:
//! `path`, `socket_cookie`, `stack_len`, `write_user`.

use std::sync::Arc;

use kscope_spec::helper;

use super::convert::convert;
use super::function::Call;
use super::{Checker, make, poison};
use crate::diagnostic::{Diagnostic, Span};
use crate::hir::{Arithmetic, Comparison, Context, Expr, ExprKind, Int, Space, Type};

/// `BPF_F_USER_STACK`
const USER_STACK: i64 = 1 << 8;

impl Checker<'_> {
    /// `path(path[, length])`: the name of an open file.
    pub(super) fn path(&mut self, call: Call<'_>) -> Expr {
        let span = call.span;
        let Some(value) = self.one(call.args) else {
            return poison(span);
        };
        let mut capacity = self.config.max_strlen;
        if let Some(given) = call.args.get(1) {
            let length = self.expr(given);
            match length.kind {
                ExprKind::Int(n @ 1..) => {
                    capacity = u32::try_from(n).unwrap_or(u32::MAX).min(capacity);
                }
                _ => return self.wrong_argument("path", "a positive literal length", &length),
            }
        }
        if self.inputs.interpreted {
            let Some(path) = address_of_path(&value) else {
                return self.wrong_argument("path", "a struct path", &value);
            };
            let path = ExprKind::PathOf(Box::new(path));
            return make(path, Type::Str { capacity }, span);
        }
        if !matches!(self.scope.context, Context::Function | Context::Iterator) {
            return self.misplaced_call("path", span);
        }
        let Some(object) = self.object(&value) else {
            return self.no_object("path", "struct path", &value);
        };
        make(
            ExprKind::PathOf(Box::new(object)),
            Type::Str { capacity },
            span,
        )
    }

    /// `socket_cookie(sk)`: the number that the kernel gives a socket.
    pub(super) fn socket_cookie(&mut self, call: Call<'_>) -> Expr {
        let span = call.span;
        let Some(value) = self.one(call.args) else {
            return poison(span);
        };
        if self.scope.context != Context::Function {
            return self.misplaced_call("socket_cookie", span);
        }
        let is_sock = match &value.ty {
            Type::Pointer { to, .. } => {
                matches!(&**to, Type::Struct(s) if &*s.name == "struct sock")
            }
            _ => false,
        };
        if !is_sock {
            let message = format!(
                "socket_cookie() only supports 'struct sock *' as the argument ({} provided)",
                value.ty
            );
            return self.error("invalid-argument", value.span, message);
        }
        let Some(object) = self.object(&value) else {
            return self.no_object("socket_cookie", "struct sock", &value);
        };
        let kind = ExprKind::Helper {
            helper: helper::GET_SOCKET_COOKIE,
            args: vec![object],
        };
        make(kind, Type::U64, span)
    }

    fn misplaced_call(&mut self, function: &str, span: Span) -> Expr {
        if self.scope.dead {
            return poison(span);
        }
        let provider = self.scope.provider;
        let message = format!("{function} can not be used with \"{provider}\" probes");
        let error = Diagnostic::error("invalid-call", span, message);
        self.report(error.hint("the kernel gives typed pointers to fentry, fexit and iter probes"))
    }

    fn no_object(&mut self, function: &str, wanted: &str, value: &Expr) -> Expr {
        let message = format!(
            "{function}() takes a {wanted} that the probe is given or that is part of what it is given"
        );
        let error = Diagnostic::error("invalid-argument", value.span, message);
        self.report(error.hint(
            "what was read from memory, or kept in a variable, has no type to the kernel: write the \
             argument itself, as in path(args.file.f_path)",
        ))
    }

    /// Gives what a value is part of, where it is an argument of the probe or lies in one.
    fn object(&self, value: &Expr) -> Option<Expr> {
        let (offset, inside) = match &value.kind {
            ExprKind::ReadBytes { address, .. } => pointer(address)?,
            _ => pointer(value)?,
        };
        let kind = ExprKind::ContextObject { offset, inside };
        Some(make(kind, Type::U64, value.span))
    }

    /// `stack_len(stack)`: how many frames it has.
    pub(super) fn stack_len(&mut self, call: Call<'_>) -> Expr {
        match self.one(call.args) {
            None => poison(call.span),
            Some(value) => self.frames(&value, call.span),
        }
    }

    /// Counts the frames of the stack of now.
    pub(super) fn frames(&mut self, stack: &Expr, span: Span) -> Expr {
        let (limit, flags, of_now) = match &stack.ty {
            Type::KernelStack { limit, .. } => {
                (*limit, 0, matches!(stack.kind, ExprKind::KernelStack))
            }
            Type::UserStack { limit, .. } => (
                *limit,
                USER_STACK,
                matches!(stack.kind, ExprKind::Fields(_)),
            ),
            _ => {
                let message = "len() expects a map or stack to be provided";
                return self.error("invalid-argument", stack.span, message);
            }
        };
        if limit == 0 {
            return make(ExprKind::Int(0), Type::I64, span);
        }
        if !of_now {
            let message = "the number of frames of a stack that was kept is not known to programs: \
                           they have its number alone";
            let error = Diagnostic::error("unsupported", span, message);
            return self.report(error.hint("count when it is taken: $frames = len(kstack)"));
        }
        let size = limit.saturating_mul(8);
        let room = Type::Array {
            element: Arc::new(Type::Int(Int::U64)),
            len: limit,
        };
        let ctx = Type::Pointer {
            to: Arc::new(Type::Void),
            space: Space::Kernel,
        };
        let word = |n: i64| make(ExprKind::Int(n), Type::I64, span);
        let args = vec![
            make(ExprKind::CtxAddress, ctx, span),
            make(ExprKind::Fields(Vec::new()), room, span),
            word(i64::from(size)),
            word(flags),
        ];
        let helper = helper::GET_STACK;
        let taken = make(ExprKind::Helper { helper, args }, Type::I64, span);
        let bytes = self.kept("frames#", taken);
        let compare = ExprKind::Compare {
            op: Comparison::Lt,
            signed: true,
            left: Box::new(bytes.clone()),
            right: Box::new(word(0)),
        };
        let divided = ExprKind::Binary {
            op: Arithmetic::Div,
            left: Box::new(bytes),
            right: Box::new(word(8)),
        };
        let kind = ExprKind::Ternary {
            condition: Box::new(make(compare, Type::Bool, span)),
            then: Box::new(word(0)),
            otherwise: Box::new(make(divided, Type::I64, span)),
        };
        make(kind, Type::I64, span)
    }

    /// `write_user(to, from, length)`: writes into the process's memory.
    pub(super) fn write_user(&mut self, call: Call<'_>) -> Expr {
        let span = call.span;
        let [to, from, length] = call.args else {
            return poison(span);
        };
        if !self.may_change_system(call) {
            return poison(span);
        }
        let to = self.expr(to);
        let from = self.expr(from);
        let length = self.expr(length);
        if [&to, &from, &length].iter().any(|e| e.ty == Type::Void) {
            return poison(span);
        }
        if !matches!(to.ty, Type::Int(_) | Type::Pointer { .. }) {
            return self.wrong_argument("write_user", "an address of the process", &to);
        }
        // `&$x` means the bytes of the variable.
        let from = match (&from.kind, &from.ty) {
            (ExprKind::VarAddress(var), Type::Pointer { to, .. }) if !to.is_scalar() => {
                make(ExprKind::Var(*var), (**to).clone(), from.span)
            }
            _ => from,
        };
        if from.ty.is_scalar() {
            return self.wrong_argument(
                "write_user",
                "a string, array or structure of the script to write",
                &from,
            );
        }
        let size = from.ty.size();
        let ExprKind::Int(n) = length.kind else {
            return self.wrong_argument("write_user", "a literal length", &length);
        };
        if n < 1 || n > i64::from(size) {
            let message =
                format!("write_user() has 1 to {size} bytes of this value to write, not {n}");
            return self.error("invalid-argument", length.span, message);
        }
        let args = vec![convert(to, &Type::U64), from, convert(length, &Type::U64)];
        let helper = helper::PROBE_WRITE_USER;
        let written = make(ExprKind::Helper { helper, args }, Type::I64, span);
        let kind = ExprKind::Compare {
            op: Comparison::Eq,
            signed: true,
            left: Box::new(written),
            right: Box::new(make(ExprKind::Int(0), Type::I64, span)),
        };
        make(kind, Type::Bool, span)
    }
}

/// Gives the address of a `struct path` that is given itself or as a pointer.
fn address_of_path(value: &Expr) -> Option<Expr> {
    let is_path = |ty: &Type| matches!(ty, Type::Struct(s) if &*s.name == "struct path");
    match (&value.ty, &value.kind) {
        (Type::Pointer { to, .. }, _) if is_path(to) => Some(value.clone()),
        (ty, ExprKind::ReadBytes { address, .. }) if is_path(ty) => Some((**address).clone()),
        _ => None,
    }
}

/// Gives where the context has a pointer, and how far behind what it points to a place is.
fn pointer(address: &Expr) -> Option<(u32, u32)> {
    match &address.kind {
        ExprKind::CtxLoad {
            offset,
            int,
            bits: None,
        } if int.bytes == 8 && matches!(address.ty, Type::Pointer { .. }) => Some((*offset, 0)),
        ExprKind::Cast(inner) => pointer(inner),
        ExprKind::Binary {
            op: Arithmetic::Add,
            left,
            right,
        } => {
            let ExprKind::Int(more) = right.kind else {
                return None;
            };
            let (offset, inside) = pointer(left)?;
            let inside = i64::from(inside).checked_add(more)?;
            Some((offset, u32::try_from(inside).ok()?))
        }
        _ => None,
    }
}
