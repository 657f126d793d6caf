//! Functions that give a value.

use super::function::Call;
use super::{Checker, make, poison};
use crate::diagnostic::{Diagnostic, Span};
use crate::hir::{Builtin, Expr, ExprKind, Int, Space, Type};
use crate::syntax::tree;
use kscope_rows::StackMode;
use kscope_spec::helper;

/// `-EFAULT`: the id of a stack of no frames.
pub(super) const NO_STACK: i64 = -14;

impl Checker<'_> {
    pub(super) fn wrong_argument(&mut self, function: &str, wanted: &str, got: &Expr) -> Expr {
        if got.ty == Type::Void {
            return poison(got.span);
        }
        let message = format!("{function}() expects {wanted} ({} provided)", got.ty);
        self.error("invalid-argument", got.span, message)
    }

    pub(super) fn has_key(&mut self, args: &[tree::Expr], span: Span) -> Expr {
        let [map, key] = args else {
            return poison(span);
        };
        let Some((map, key)) = self.keyed_argument("has_key", map, key) else {
            return poison(span);
        };
        let kind = ExprKind::HasKey {
            map,
            key: Box::new(key),
        };
        make(kind, Type::Bool, span)
    }

    pub(super) fn delete(&mut self, args: &[tree::Expr], span: Span) -> Expr {
        let target = match args {
            // The old form, `delete(@m[k])`.
            [only] => match &only.kind {
                tree::ExprKind::Map {
                    name,
                    key: Some(key),
                } => {
                    let (map, key) = self.map_access(name, Some(key), only.span);
                    if self.map_contents(map) == super::infer::MapContents::Unknown {
                        self.undefined_map(map, only.span);
                    }
                    key.map(|k| (map, Some(k)))
                }
                tree::ExprKind::Map { name, key: None } => {
                    let (map, _) = self.map_access(name, None, only.span);
                    if self.map_contents(map) == super::infer::MapContents::Unknown {
                        self.undefined_map(map, only.span);
                    }
                    Some((map, None))
                }
                _ => {
                    self.map_argument("delete", only);
                    None
                }
            },
            [map, key] => {
                let found = self.keyed_argument("delete", map, key);
                found.map(|(map, key)| (map, Some(key)))
            }
            _ => None,
        };
        let Some((map, key)) = target else {
            return poison(span);
        };
        let kind = ExprKind::Delete {
            map,
            key: key.map(Box::new),
        };
        make(kind, Type::Bool, span)
    }

    /// Checks `len(@m)`.
    pub(super) fn len(&mut self, args: &[tree::Expr], span: Span) -> Expr {
        let Some(arg) = args.first() else {
            return poison(span);
        };
        if !matches!(arg.kind, tree::ExprKind::Map { key: None, .. }) {
            let value = self.expr(arg);
            return match value.ty {
                Type::Void => poison(span),
                Type::KernelStack { .. } | Type::UserStack { .. } => self.frames(&value, span),
                _ => {
                    let message = "call to len() expects a map, ustack, or kstack";
                    self.error("invalid-argument", span, message)
                }
            };
        }
        let Some(map) = self.map_argument("len", arg) else {
            return poison(span);
        };
        if self
            .env
            .maps
            .get(map.0 as usize)
            .is_some_and(|m| m.keyed == Some(false))
        {
            let message = "call to len() expects a map with explicit keys (non-scalar map)";
            return self.error("invalid-argument", arg.span, message);
        }
        make(ExprKind::MapLen(map), Type::U64, span)
    }

    /// Checks the only argument.
    pub(super) fn one(&mut self, args: &[tree::Expr]) -> Option<Expr> {
        let value = self.expr(args.first()?);
        (value.ty != Type::Void).then_some(value)
    }

    pub(super) fn ksym(&mut self, args: &[tree::Expr], span: Span) -> Expr {
        let Some(value) = self.one(args) else {
            return poison(span);
        };
        match value.ty {
            Type::Int(_) | Type::Pointer { .. } | Type::KernelSymbol => {
                let kind = ExprKind::Cast(Box::new(value));
                make(kind, Type::KernelSymbol, span)
            }
            _ => self.wrong_argument("ksym", "an integer or pointer", &value),
        }
    }

    pub(super) fn kstack(&mut self, args: &[tree::Expr], span: Span) -> Expr {
        if let Some((task, rest)) = tree::task_of_stack(args) {
            return self.stack_of_task(task, rest, span);
        }
        if args.len() > 2 {
            self.check_all(args);
            let message = "kstack() takes a mode and a limit";
            return self.error("argument-count", span, message);
        }
        let (mode, limit) = self.stack_arguments("kstack", args);
        if mode == StackMode::BuildId {
            let message = "kstack() has no mode 'build_id', which is for ustack()";
            return self.error("invalid-argument", span, message);
        }
        let kind = match limit {
            0 => ExprKind::Int(NO_STACK),
            _ => ExprKind::KernelStack,
        };
        make(kind, Type::KernelStack { mode, limit }, span)
    }

    /// `kstack(task)`, `kstack(task, mode, limit)`: the stack of any thread.
    fn stack_of_task(&mut self, task: &tree::Expr, rest: &[tree::Expr], span: Span) -> Expr {
        let task = self.expr(task);
        let (mode, limit) = self.stack_arguments("kstack", rest);
        if task.ty == Type::Void {
            return poison(span);
        }
        let is_task = match &task.ty {
            Type::Pointer { to, .. } => {
                matches!(&**to, Type::Struct(found) if &*found.name == "struct task_struct")
            }
            _ => false,
        };
        if !is_task {
            return self.wrong_argument("kstack", "a mode, or a struct task_struct *", &task);
        }
        if let Some(refused) = self.needs_memory("kstack(task)", span) {
            return refused;
        }
        let kind = ExprKind::Helper {
            helper: kscope_spec::HelperId(crate::ir::kfunc::TASK_STACK),
            args: vec![task],
        };
        make(kind, Type::KernelStack { mode, limit }, span)
    }

    pub(super) fn nsecs(&mut self, args: &[tree::Expr], span: Span) -> Expr {
        let builtin = match args.first().map(|a| &a.kind) {
            None => Builtin::NsecsBoot,
            Some(tree::ExprKind::Name(mode)) => match mode.as_str() {
                "boot" => Builtin::NsecsBoot,
                "monotonic" => Builtin::NsecsMonotonic,
                "tai" => {
                    return self.helper_value(helper::KTIME_GET_TAI_NS, Type::U64, span);
                }
                "sw_tai" => return self.tai_by_boot_clock(span),
                other => {
                    let mut error = Diagnostic::error(
                        "invalid-argument",
                        span,
                        format!("Invalid timestamp mode: {other}"),
                    );
                    error.hint = Some("the modes are boot, monotonic, tai and sw_tai".to_owned());
                    return self.report(error);
                }
            },
            Some(_) => {
                self.check_all(args);
                return self.error("invalid-argument", span, "nsecs() takes a mode by its name");
            }
        };
        make(ExprKind::Builtin(builtin), Type::U64, span)
    }

    pub(super) fn strftime(&mut self, args: &[tree::Expr], span: Span) -> Expr {
        let [format, time] = args else {
            return poison(span);
        };
        let format = self.literal_text("strftime", format);
        let time = self.expr(time);
        if time.ty == Type::Void {
            return poison(span);
        }
        if !matches!(time.ty, Type::Int(_)) {
            return self.wrong_argument("strftime", "an integer as its time", &time);
        }
        match time.kind {
            ExprKind::Builtin(Builtin::NsecsMonotonic) => {
                return self.error(
                    "invalid-argument",
                    time.span,
                    "strftime() can not take a monotonic timestamp",
                );
            }
            ExprKind::Int(n) if n < 0 => {
                return self.error(
                    "invalid-argument",
                    time.span,
                    "strftime() does not accept negative timestamps",
                );
            }
            _ => {}
        }
        let Some(format) = format else {
            return poison(span);
        };
        let time = super::convert::convert(time, &Type::U64);
        let kind = ExprKind::Cast(Box::new(time));
        make(kind, Type::Timestamp { format }, span)
    }

    pub(super) fn bswap(&mut self, args: &[tree::Expr], span: Span) -> Expr {
        let Some(value) = self.one(args) else {
            return poison(span);
        };
        let Type::Int(int) = value.ty else {
            return self.wrong_argument("bswap", "an integer", &value);
        };
        let ty = Type::Int(Int::new(int.bytes, false));
        let value = super::convert::convert(value, &ty);
        make(ExprKind::ByteSwap(Box::new(value)), ty, span)
    }

    pub(super) fn in_space(&mut self, call: Call<'_>, space: Space) -> Expr {
        let Some(value) = self.one(call.args) else {
            return poison(call.span);
        };
        let to = match &value.ty {
            Type::Pointer { to, .. } => to.clone(),
            Type::Int(_) => std::sync::Arc::new(Type::Void),
            _ => return self.wrong_argument(&call.name.text, "an integer or pointer", &value),
        };
        super::convert::convert(value, &Type::Pointer { to, space })
    }
}

/// Gives the stack mode of this name.
pub(super) fn stack_mode(name: &str) -> Option<StackMode> {
    Some(match name {
        "bpftrace" => StackMode::Bpftrace,
        "perf" => StackMode::Perf,
        "raw" => StackMode::Raw,
        "build_id" => StackMode::BuildId,
        _ => return None,
    })
}
