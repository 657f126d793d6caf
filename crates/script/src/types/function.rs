//! The functions of the language: one row each, and how a call finds its row.

use std::ops::RangeInclusive;

use super::{Checker, did_you_mean, poison};
use crate::diagnostic::{Diagnostic, Span};
use crate::hir::{Expr, Space, Stmt, Type};
use crate::near::nearest;
use crate::syntax::tree;
use kscope_rows::NameTable;
use kscope_spec::helper;

/// A call as it stands in the script.
#[derive(Clone, Copy)]
pub(super) struct Call<'a> {
    /// The function.
    pub(super) name: &'a tree::Name,
    /// What it is given.
    pub(super) args: &'a [tree::Expr],
    /// The whole call.
    pub(super) span: Span,
}

/// A function of the language.
#[derive(Clone, Copy)]
struct Function {
    name: &'static str,
    /// Fewest and most arguments.
    arity: (usize, usize),
    check: Check,
}

/// How a call is checked, once the number of its arguments is right.
#[derive(Clone, Copy)]
enum Check {
    /// It gives a value.
    Value(fn(&mut Checker<'_>, Call<'_>) -> Expr),
    /// It has none: it sends something to user space.
    Statement(fn(&mut Checker<'_>, Call<'_>) -> Option<Stmt>),
}

type ValueCheck = fn(&mut Checker<'_>, Call<'_>) -> Expr;
type StatementCheck = fn(&mut Checker<'_>, Call<'_>) -> Option<Stmt>;

const fn value(name: &'static str, least: usize, most: usize, check: ValueCheck) -> Function {
    Function {
        name,
        arity: (least, most),
        check: Check::Value(check),
    }
}

const fn statement(
    name: &'static str,
    least: usize,
    most: usize,
    check: StatementCheck,
) -> Function {
    Function {
        name,
        arity: (least, most),
        check: Check::Statement(check),
    }
}

/// Most arguments of functions with a format: 127 values.
const FORMATTED: usize = 128;

/// All functions but the aggregations and those of the prelude.
#[allow(
    clippy::redundant_closure_for_method_calls,
    reason = "a method's path is not general over the checker's lifetime"
)]
const FUNCTIONS: &[Function] = &[
    statement("printf", 1, FORMATTED, |c, f| c.printf(f)),
    statement("errorf", 1, FORMATTED, |c, f| c.printf(f)),
    statement("warnf", 1, FORMATTED, |c, f| c.printf(f)),
    statement("print", 1, 3, |c, f| c.print(f.args, f.span)),
    statement("clear", 1, 1, |c, f| c.clear(f)),
    statement("zero", 1, 1, |c, f| c.clear(f)),
    statement("exit", 0, 1, |c, f| c.exit(f.args, f.span)),
    statement("time", 0, 1, |c, f| c.time(f.args, f.span)),
    statement("cat", 1, FORMATTED, |c, f| c.printf(f)),
    statement("system", 1, FORMATTED, |c, f| c.system(f)),
    statement("unwatch", 1, 1, |c, f| c.unwatch(f)),
    statement("join", 1, 2, |c, f| c.join(f)),
    statement("debugf", 1, FORMATTED, |c, f| c.debugf(f)),
    statement("signal", 1, 1, |c, f| c.signal(f, helper::SEND_SIGNAL)),
    statement("signal_thread", 1, 1, |c, f| {
        c.signal(f, helper::SEND_SIGNAL_THREAD)
    }),
    statement("override", 1, 1, |c, f| c.override_result(f)),
    statement("static_assert", 2, 2, |c, f| c.static_assert(f)),
    value("argv", 2, 3, |c, f| c.argv(f)),
    value("buf", 1, 2, |c, f| c.buf(f)),
    value("cgroup_path", 1, 2, |c, f| c.cgroup_path(f)),
    value("cgroupid", 1, 1, |c, f| c.cgroupid(f)),
    value("fail", 1, FORMATTED, |c, f| c.fail(f)),
    value("is_array", 1, 1, |c, f| {
        c.predicate(f, |ty| matches!(ty, Type::Array { .. }))
    }),
    value("is_integer", 1, 1, |c, f| {
        c.predicate(f, |ty| matches!(ty, Type::Int(_)))
    }),
    value("is_literal", 1, 1, |c, f| c.literal_given(f)),
    value("is_ptr", 1, 1, |c, f| {
        c.predicate(f, |ty| matches!(ty, Type::Pointer { .. }))
    }),
    value("is_str", 1, 1, |c, f| {
        c.predicate(f, |ty| matches!(ty, Type::Str { .. }))
    }),
    value("is_unsigned_integer", 1, 1, |c, f| {
        c.predicate(f, |ty| matches!(ty, Type::Int(int) if !int.signed))
    }),
    value("kfunc_allowed", 1, 1, |c, f| c.kfunc_exist(f)),
    value("kfunc_exist", 1, 1, |c, f| c.kfunc_exist(f)),
    value("macaddr", 1, 1, |c, f| c.macaddr(f)),
    value("memcmp", 3, 3, |c, f| c.memcmp(f)),
    value("ntop", 1, 2, |c, f| c.ntop(f)),
    value("comm", 0, 1, |c, f| c.comm_of(f)),
    value("path", 1, 2, |c, f| c.path(f)),
    value("socket_cookie", 1, 1, |c, f| c.socket_cookie(f)),
    value("stack_len", 1, 1, |c, f| c.stack_len(f)),
    value("write_user", 3, 3, |c, f| c.write_user(f)),
    value("pid", 0, 1, |c, f| c.id_in_namespace(f)),
    value("tid", 0, 1, |c, f| c.id_in_namespace(f)),
    value("pton", 1, 1, |c, f| c.pton(f)),
    value("reg", 1, 1, |c, f| c.reg(f)),
    value("signal_name", 1, 1, |c, f| c.named(f, NameTable::Signal)),
    value("str_concat", 2, 2, |c, f| c.str_concat(f)),
    value("strcap", 1, 1, |c, f| c.strcap(f)),
    value("strerror", 1, 1, |c, f| c.named(f, NameTable::Error)),
    value("strlen", 1, 1, |c, f| c.strlen(f)),
    value("strstr", 2, 2, |c, f| c.strstr(f)),
    value("syscall_name", 1, 1, |c, f| c.named(f, NameTable::Syscall)),
    value("bswap", 1, 1, |c, f| c.bswap(f.args, f.span)),
    value("dentry_path", 1, 2, |c, f| c.dentry_path(f)),
    value("delete", 1, 2, |c, f| c.delete(f.args, f.span)),
    value("fullpath", 5, 5, |c, f| c.full_path(f.args, f.span)),
    value("getopt", 1, 4, |c, f| c.getopt(f.args, f.span)),
    value("has_key", 2, 2, |c, f| c.has_key(f.args, f.span)),
    value("kaddr", 1, 2, |c, f| c.kaddr(f.args, f.span)),
    value("kptr", 1, 1, |c, f| c.in_space(f, Space::Kernel)),
    value("kstack", 0, 3, |c, f| c.kstack(f.args, f.span)),
    value("ksym", 1, 1, |c, f| c.ksym(f.args, f.span)),
    value("len", 1, 1, |c, f| c.len(f.args, f.span)),
    value("nsecs", 0, 1, |c, f| c.nsecs(f.args, f.span)),
    value("str", 1, 2, |c, f| c.str_call(f.args, f.span)),
    value("strcontains", 2, 2, |c, f| c.search(f)),
    value("strftime", 2, 2, |c, f| c.strftime(f.args, f.span)),
    value("strncmp", 3, 3, |c, f| c.strncmp(f.args, f.span)),
    value("strprefix", 2, 2, |c, f| c.search(f)),
    value("uaddr", 1, 1, |c, f| c.uaddr(f.args, f.span)),
    value("uptr", 1, 1, |c, f| c.in_space(f, Space::User)),
    value("ustack", 0, 2, |c, f| c.ustack(f.args, f.span)),
    value("usym", 1, 1, |c, f| c.usym(f.args, f.span)),
];

/// Functions that the grammar knows by name.
const OF_GRAMMAR: [&str; 3] = ["sizeof", "offsetof", "field_exists"];

/// Functions that bpftrace has and kscope has not: name, cause, way out.
pub(super) const ABSENT: &[(&str, &str, &str)] = &[
    (
        "dw_ustack",
        "stacks of programs are walked by frame pointers, not by unwinding tables",
        "ustack, of programs built with -fno-omit-frame-pointer",
    ),
    (
        "skboutput",
        "packets are not written to files",
        "print what is wanted of the packet: args.skb has its type",
    ),
    (
        "typeinfo",
        "types are no values (bpftrace turns it on with unstable_typeinfo alone)",
        "typeof(…) where a type stands, and is_ptr(), is_str(), is_integer(), …",
    ),
];

fn find(name: &str) -> Option<&'static Function> {
    FUNCTIONS.iter().find(|f| f.name == name)
}

/// Refuses what kscope does not have.
pub(super) fn absent(name: &tree::Name) -> Option<Diagnostic> {
    let (found, why, instead) = ABSENT.iter().find(|(found, ..)| *found == name.text)?;
    let message = format!("{found}() is not in kscope: {why}");
    let error = Diagnostic::error("unsupported", name.span, message);
    Some(error.hint(format!("instead: {instead}")))
}

/// Says whether a function has no value.
pub(super) fn is_statement(name: &str) -> bool {
    find(name).is_some_and(|f| matches!(f.check, Check::Statement(_)))
}

/// Says whether a name is a function's, aggregations included.
pub(super) fn is_function(name: &str) -> bool {
    find(name).is_some()
        || OF_GRAMMAR.contains(&name)
        || super::aggregate::FUNCTIONS.contains(&name)
}

impl Checker<'_> {
    /// Checks a call whose value is used.
    pub(super) fn call(&mut self, name: &tree::Name, args: &[tree::Expr], span: Span) -> Expr {
        if let Some(expanded) = self.expand_macro(&name.text, args, span) {
            return expanded;
        }
        let function = name.text.as_str();
        if let Some(step) = self.walk_call(function, args, span) {
            return step;
        }
        let call = Call { name, args, span };
        match find(function) {
            Some(row) => match row.check {
                Check::Value(check) => {
                    if !self.arity(row, call) {
                        return poison(span);
                    }
                    return check(self, call);
                }
                Check::Statement(check) => {
                    if self.arity(row, call) {
                        check(self, call);
                    }
                    return self.error(
                        "invalid-call",
                        span,
                        format!(
                            "{function}() should not be used in an expression: it has no value"
                        ),
                    );
                }
            },
            None if super::aggregate::FUNCTIONS.contains(&function) => {
                self.check_all(args);
                return self.error(
                    "invalid-call",
                    span,
                    format!("{function}() must be assigned directly to a map"),
                );
            }
            None => {}
        }
        if args.is_empty() {
            if let Some(builtin) = self.builtin(function, span) {
                return builtin;
            }
        }
        self.check_all(args);
        self.unknown_function(name)
    }

    /// Checks a call of a function for which [`is_statement`] holds.
    pub(super) fn statement_call(
        &mut self,
        name: &tree::Name,
        args: &[tree::Expr],
        span: Span,
    ) -> Option<Stmt> {
        let call = Call { name, args, span };
        let row = find(&name.text)?;
        let Check::Statement(check) = row.check else {
            return None;
        };
        if !self.arity(row, call) {
            return None;
        }
        check(self, call)
    }

    fn arity(&mut self, row: &Function, call: Call<'_>) -> bool {
        let (least, most) = row.arity;
        let fits = self.argument_count(row.name, call.args.len(), least..=most, call.span);
        if !fits {
            self.check_all(call.args);
        }
        fits
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

    fn unknown_function(&mut self, name: &tree::Name) -> Expr {
        let function = name.text.as_str();
        if let Some(error) = absent(name) {
            return self.report(error);
        }
        if super::builtin::is_builtin(function) {
            let message = format!("{function} takes no arguments of this kind");
            let error = Diagnostic::error("argument-count", name.span, message);
            return self.report(error.hint(format!("write {function}, or {function}()")));
        }
        let known = FUNCTIONS
            .iter()
            .map(|f| -> &str { f.name })
            .chain(OF_GRAMMAR);
        let known = known.chain(super::aggregate::FUNCTIONS);
        let macros = self.script.macros.iter().map(|m| m.name.text.as_str());
        let near = nearest(
            function,
            known.chain(macros).chain(super::prelude::names()),
            3,
        );
        let mut error = Diagnostic::error(
            "unknown-function",
            name.span,
            format!("Unknown function: '{function}'"),
        );
        if self.any_macro(function) {
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
}

#[cfg(test)]
mod tests {
    use super::super::prelude;
    use super::{ABSENT, FUNCTIONS};

    #[test]
    fn each_function_has_one_row() {
        for (i, f) in FUNCTIONS.iter().enumerate() {
            assert!(f.arity.0 <= f.arity.1, "{}", f.name);
            assert!(
                FUNCTIONS[i + 1..].iter().all(|other| other.name != f.name),
                "{} stands twice",
                f.name
            );
            let absent = |name: &str| ABSENT.iter().any(|(found, ..)| *found == name);
            assert!(!absent(f.name), "{} is not missing", f.name);
            for m in prelude::named(f.name) {
                let params = m.params.len();
                assert!(params < f.arity.0 || f.arity.1 < params, "{}", f.name);
            }
        }
    }
}
