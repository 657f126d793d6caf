//! Functions that give a value.

use std::ops::RangeInclusive;

use super::{Checker, did_you_mean, make, poison};
use crate::diagnostic::{Diagnostic, Span};
use crate::hir::{Builtin, Expr, ExprKind, Int, Space, Type};
use crate::near::nearest;
use crate::syntax::tree;
use kscope_rows::StackMode;

/// Functions of this version, without the aggregations.
pub(super) const FUNCTIONS: [&str; 29] = [
    "printf",
    "print",
    "clear",
    "zero",
    "exit",
    "time",
    "errorf",
    "warnf",
    "str",
    "has_key",
    "delete",
    "strncmp",
    "strcontains",
    "strprefix",
    "fullpath",
    "getopt",
    "ksym",
    "kstack",
    "nsecs",
    "strftime",
    "bswap",
    "kptr",
    "uptr",
    "comm",
    "pid",
    "tid",
    "sizeof",
    "offsetof",
    "kaddr",
];

/// Functions that bpftrace has and this version has not.
const LATER: [&str; 53] = [
    "cat",
    "system",
    "join",
    "buf",
    "usym",
    "uaddr",
    "reg",
    "ntop",
    "pton",
    "macaddr",
    "path",
    "cgroupid",
    "cgroup_path",
    "ustack",
    "dw_ustack",
    "socket_cookie",
    "len",
    "stack_len",
    "typeof",
    "typeinfo",
    "container_of",
    "find",
    "strstr",
    "strlen",
    "strcap",
    "str_concat",
    "memcmp",
    "strerror",
    "signal_name",
    "syscall_name",
    "assert",
    "static_assert",
    "fail",
    "is_err",
    "is_str",
    "is_ptr",
    "is_array",
    "is_integer",
    "is_unsigned_integer",
    "is_literal",
    "assert_str",
    "kfunc_exist",
    "kfunc_allowed",
    "signal",
    "signal_thread",
    "override",
    "write_user",
    "unwatch",
    "skboutput",
    "debugf",
    "percpu_kaddr",
    "tseries",
    "ppid",
];

impl Checker<'_> {
    /// Checks a call whose value is used.
    pub(super) fn call(&mut self, name: &tree::Name, args: &[tree::Expr], span: Span) -> Expr {
        if let Some(expanded) = self.expand_macro(&name.text, args, span) {
            return expanded;
        }
        match name.text.as_str() {
            "str" => self.str_call(args, span),
            "has_key" => self.has_key(args, span),
            "delete" => self.delete(args, span),
            "strncmp" => self.strncmp(args, span),
            "strcontains" => self.search("strcontains", args, span),
            "strprefix" => self.search("strprefix", args, span),
            "fullpath" => self.full_path(args, span),
            "getopt" => self.getopt(args, span),
            "ksym" => self.ksym(args, span),
            "kstack" => self.kstack(args, span),
            "nsecs" => self.nsecs(args, span),
            "strftime" => self.strftime(args, span),
            "bswap" => self.bswap(args, span),
            "kaddr" => self.kaddr(args, span),
            "kptr" => self.in_space("kptr", Space::Kernel, args, span),
            "uptr" => self.in_space("uptr", Space::User, args, span),
            function if super::output::VOID.contains(&function) => {
                self.statement_call(name, args, span);
                self.error(
                    "invalid-call",
                    span,
                    format!("{function}() should not be used in an expression: it has no value"),
                )
            }
            function if super::aggregate::FUNCTIONS.contains(&function) => {
                self.check_all(args);
                self.error(
                    "invalid-call",
                    span,
                    format!("{function}() must be assigned directly to a map"),
                )
            }
            function => {
                if args.is_empty() {
                    if let Some(builtin) = self.builtin(function, span) {
                        return builtin;
                    }
                }
                self.check_all(args);
                self.unknown_function(name)
            }
        }
    }

    pub(super) fn unknown_function(&mut self, name: &tree::Name) -> Expr {
        let function = name.text.as_str();
        if LATER.contains(&function) {
            return self.error(
                "unsupported",
                name.span,
                format!("{function}() comes with a later version"),
            );
        }
        let known = FUNCTIONS.into_iter().chain(super::aggregate::FUNCTIONS);
        let macros = self.script.macros.iter().map(|m| m.name.text.as_str());
        let near = nearest(function, known.chain(macros), 3);
        if super::builtin::NAMES.contains(&function) {
            return self.error(
                "unsupported",
                name.span,
                format!("{function}() with arguments comes with a later version"),
            );
        }
        let mut error = Diagnostic::error(
            "unknown-function",
            name.span,
            format!("Unknown function: '{function}'"),
        );
        if self.script.macros.iter().any(|m| m.name.text == function) {
            error.message = format!("no macro '{function}' takes these arguments");
        }
        error.hint = did_you_mean(&near);
        self.report(error)
    }

    /// Checks arguments for what is wrong inside of them.
    pub(super) fn check_all(&mut self, args: &[tree::Expr]) {
        for arg in args {
            if !matches!(
                arg.kind,
                tree::ExprKind::Type(_) | tree::ExprKind::Map { key: None, .. }
            ) {
                self.expr(arg);
            }
        }
    }

    pub(super) fn argument_count(
        &mut self,
        function: &str,
        given: usize,
        wanted: RangeInclusive<usize>,
        span: Span,
    ) -> bool {
        if wanted.contains(&given) {
            return true;
        }
        let (least, most) = (*wanted.start(), *wanted.end());
        let count = |n: usize, what: &str| {
            let s = if n == 1 { "" } else { "s" };
            format!("{function}() {what} {n} argument{s} ({given} provided)")
        };
        let message = if least == most {
            count(least, "requires")
        } else if given < least {
            count(least, "requires at least")
        } else {
            count(most, "takes up to")
        };
        self.error("argument-count", span, message);
        false
    }

    pub(super) fn wrong_argument(&mut self, function: &str, wanted: &str, got: &Expr) -> Expr {
        if got.ty == Type::Void {
            return poison(got.span);
        }
        let message = format!("{function}() expects {wanted} ({} provided)", got.ty);
        self.error("invalid-argument", got.span, message)
    }

    fn has_key(&mut self, args: &[tree::Expr], span: Span) -> Expr {
        let [map, key] = args else {
            self.check_all(args);
            self.argument_count("has_key", args.len(), 2..=2, span);
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
            _ => {
                self.check_all(args);
                self.argument_count("delete", args.len(), 1..=2, span);
                None
            }
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

    fn one(&mut self, function: &str, args: &[tree::Expr], span: Span) -> Option<Expr> {
        let [only] = args else {
            self.check_all(args);
            self.argument_count(function, args.len(), 1..=1, span);
            return None;
        };
        let value = self.expr(only);
        (value.ty != Type::Void).then_some(value)
    }

    fn ksym(&mut self, args: &[tree::Expr], span: Span) -> Expr {
        let Some(value) = self.one("ksym", args, span) else {
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

    fn kaddr(&mut self, args: &[tree::Expr], span: Span) -> Expr {
        let Some(value) = self.one("kaddr", args, span) else {
            return poison(span);
        };
        let ExprKind::Str(symbol) = &value.kind else {
            return self.wrong_argument("kaddr", "a string literal", &value);
        };
        let symbol = String::from_utf8_lossy(symbol).into_owned();
        let name = format!("kaddr.{symbol}");
        let late = self.late_value(&name, kscope_spec::LateKind::KernelSymbol(symbol));
        make(ExprKind::Late(late), Type::U64, span)
    }

    fn kstack(&mut self, args: &[tree::Expr], span: Span) -> Expr {
        if !self.argument_count("kstack", args.len(), 0..=2, span) {
            return poison(span);
        }
        let mut mode = self.config.stack_mode;
        let mut limit = super::builtin::FRAMES;
        for (i, arg) in args.iter().enumerate() {
            if let tree::ExprKind::Name(name) = &arg.kind {
                match stack_mode(name) {
                    Some(found) if i == 0 => {
                        mode = found;
                        continue;
                    }
                    None if i == 0 => {
                        let mut error = Diagnostic::error(
                            "invalid-argument",
                            arg.span,
                            format!("kstack() has no mode '{name}'"),
                        );
                        error.hint = Some("the modes are bpftrace, perf and raw".to_owned());
                        self.report(error);
                        continue;
                    }
                    _ => {}
                }
            }
            let value = self.expr(arg);
            match value.kind {
                _ if value.ty == Type::Void => {}
                ExprKind::Int(0) => {}
                ExprKind::Int(n) if (1..=127).contains(&n) => limit = n as u32,
                ExprKind::Int(n) => {
                    self.error(
                        "invalid-argument",
                        arg.span,
                        format!("kstack([int limit]): limit is from 1 to 127, got {n}"),
                    );
                }
                _ => {
                    self.wrong_argument("kstack", "a literal number of frames", &value);
                }
            }
        }
        make(
            ExprKind::KernelStack,
            Type::KernelStack { mode, limit },
            span,
        )
    }

    fn nsecs(&mut self, args: &[tree::Expr], span: Span) -> Expr {
        if !self.argument_count("nsecs", args.len(), 0..=1, span) {
            return poison(span);
        }
        let builtin = match args.first().map(|a| &a.kind) {
            None => Builtin::NsecsBoot,
            Some(tree::ExprKind::Name(mode)) => match mode.as_str() {
                "boot" => Builtin::NsecsBoot,
                "monotonic" => Builtin::NsecsMonotonic,
                "tai" | "sw_tai" => {
                    return self.error(
                        "unsupported",
                        span,
                        format!("nsecs({mode}) comes with a later version"),
                    );
                }
                other => {
                    let mut error = Diagnostic::error(
                        "invalid-argument",
                        span,
                        format!("Invalid timestamp mode: {other}"),
                    );
                    error.hint = Some("the modes are boot and monotonic".to_owned());
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

    fn strftime(&mut self, args: &[tree::Expr], span: Span) -> Expr {
        let [format, time] = args else {
            self.check_all(args);
            self.argument_count("strftime", args.len(), 2..=2, span);
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

    fn bswap(&mut self, args: &[tree::Expr], span: Span) -> Expr {
        let Some(value) = self.one("bswap", args, span) else {
            return poison(span);
        };
        let Type::Int(int) = value.ty else {
            return self.wrong_argument("bswap", "an integer", &value);
        };
        let ty = Type::Int(Int::new(int.bytes, false));
        let value = super::convert::convert(value, &ty);
        make(ExprKind::ByteSwap(Box::new(value)), ty, span)
    }

    fn in_space(&mut self, name: &str, space: Space, args: &[tree::Expr], span: Span) -> Expr {
        let Some(value) = self.one(name, args, span) else {
            return poison(span);
        };
        let to = match &value.ty {
            Type::Pointer { to, .. } => to.clone(),
            Type::Int(_) => std::sync::Arc::new(Type::Void),
            _ => return self.wrong_argument(name, "an integer or pointer", &value),
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
        _ => return None,
    })
}
