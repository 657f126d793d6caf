//! Functions that do something outside of the script.

use kscope_rows::{DataType, Format};
use kscope_spec::{HelperId, helper};

use super::convert::convert;
use super::expr::{number, string};
use super::function::Call;
use super::infer::Shape;
use super::{Checker, make, poison};
use crate::diagnostic::Diagnostic;
use crate::hir::{Comparison, Context, Expr, ExprKind, Int, Space, Stmt, StmtKind, Type};
use crate::plan::SiteKind;

/// Most strings that `join` takes, and the room in bytes of each.
const JOINED: u32 = 16;
const JOINED_BYTES: u32 = 1024;
/// Most values that the kernel's own printing takes.
const TRACE_VALUES: usize = 3;
/// Signals are 1 to 64.
const SIGNALS: std::ops::RangeInclusive<i64> = 1..=64;

/// Names of signals as `signal("KILL")` takes them, in order from 1.
const SIGNAL_NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
    "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG",
    "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];

impl Checker<'_> {
    /// Refuses a function that changes the system where the user did not allow that.
    pub(super) fn may_change_system(&mut self, call: Call<'_>) -> bool {
        let name = &call.name.text;
        if self.inputs.interpreted {
            let message = format!("{name}() changes the system, and memory is only read");
            let error = Diagnostic::error("needs-running-kernel", call.span, message);
            self.report(error.hint("print what a change needs, and make it outside of the script"));
            return false;
        }
        if self.inputs.changes_allowed {
            return true;
        }
        let message = format!("{name}() is an unsafe function being used in safe mode");
        let error = Diagnostic::error("unsafe", call.span, message);
        self.report(error.hint("--unsafe allows functions that change the system"));
        false
    }

    /// `join(list[, separator])`: strings up to the first null of a list of pointers.
    pub(super) fn join(&mut self, call: Call<'_>) -> Option<Stmt> {
        let span = call.span;
        let list = self.one(call.args)?;
        let separator = match call.args.get(1) {
            None => " ".into(),
            Some(separator) => self.literal_text("join", separator)?,
        };
        let space = match &list.ty {
            Type::Pointer { space, .. } => *space,
            Type::Int(_) => self.space_of_number(&list),
            _ => {
                self.wrong_argument("join", "an integer or pointer", &list);
                return None;
            }
        };
        let list = convert(list, &Type::U64);
        let element = std::sync::Arc::new(Type::Str {
            capacity: JOINED_BYTES,
        });
        let ty = Type::Array {
            element,
            len: JOINED,
        };
        let kind = ExprKind::ReadStrings {
            list: Box::new(list),
            space,
        };
        let strings = make(kind, ty, span);
        let names = vec!["strings".to_owned()];
        self.emit(SiteKind::Join { separator }, names, vec![strings], span)
    }

    /// Puts a value into a variable of its own.
    pub(super) fn kept(&mut self, name: &str, e: Expr) -> Expr {
        let span = e.span;
        let ty = e.ty.clone();
        let var = self.declare_var(name, span);
        self.grow_var(var, &Shape::fixed(ty.clone()), span);
        self.pending.push(Stmt {
            kind: StmtKind::SetVar(var, e),
            span,
        });
        make(ExprKind::Var(var), ty, span)
    }

    /// `system(format, …)`
    pub(super) fn system(&mut self, call: Call<'_>) -> Option<Stmt> {
        if !self.may_change_system(call) {
            return None;
        }
        self.printf(call)
    }

    /// `debugf(format, …)`: into the kernel's own trace.
    pub(super) fn debugf(&mut self, call: Call<'_>) -> Option<Stmt> {
        let span = call.span;
        let (format, values) = call.args.split_first()?;
        let place = format.span;
        let text = self.literal_text("debugf", format);
        let values: Vec<Expr> = values.iter().map(|a| self.expr(a)).collect();
        let text = text?;
        if values.iter().any(|v| v.ty == Type::Void) {
            return None;
        }
        if values.len() > TRACE_VALUES {
            let message = "debugf() cannot use more than 3 conversion specifiers";
            self.error("argument-count", span, message);
            return None;
        }
        let parsed = match Format::parse(&text) {
            Ok(parsed) => parsed,
            Err(error) => {
                self.error("invalid-format", place, format!("debugf: {error}"));
                return None;
            }
        };
        let types: Vec<DataType> = values.iter().map(|v| v.ty.data_type()).collect();
        let problems = parsed.check(&types);
        for problem in &problems {
            self.error("invalid-format", span, format!("debugf: {problem}"));
        }
        if !problems.is_empty() {
            return None;
        }
        self.warn(
            "debugf",
            span,
            "The debugf() builtin is not recommended for production use. For more information \
             see bpf_trace_printk in bpf-helpers(7).",
        );
        let text = string(text.as_bytes(), place);
        let size = make(ExprKind::Int(i64::from(text.ty.size())), Type::U32, place);
        let mut args = vec![text, size];
        args.extend(values);
        let kind = ExprKind::Helper {
            helper: helper::TRACE_PRINTK,
            args,
        };
        Some(for_effect(make(kind, Type::I64, span)))
    }

    /// `signal(signal)`, `signal_thread(signal)`
    pub(super) fn signal(&mut self, call: Call<'_>, helper: HelperId) -> Option<Stmt> {
        let span = call.span;
        let function = call.name.text.as_str();
        if self.scope.context == Context::Test && !self.scope.dead {
            let message =
                format!("{function}() can not be used in this probe: it runs in no other process");
            self.error("invalid-call", span, message);
            return None;
        }
        if !self.may_change_system(call) {
            return None;
        }
        let given = self.one(call.args)?;
        let signal = match &given.kind {
            ExprKind::Str(name) => {
                let name = String::from_utf8_lossy(name).to_ascii_uppercase();
                let short = name.strip_prefix("SIG").unwrap_or(&name);
                let Some(place) = SIGNAL_NAMES.iter().position(|n| *n == short) else {
                    let message = format!("Invalid string for signal: {name}");
                    self.error("invalid-argument", given.span, message);
                    return None;
                };
                make(ExprKind::Int(place as i64 + 1), Type::U32, given.span)
            }
            ExprKind::Int(n) if !SIGNALS.contains(n) => {
                let message = format!(
                    "{function}() accepts a string literal or an integer between 1 and 64 \
                     (inclusive)"
                );
                self.error("invalid-argument", given.span, message);
                return None;
            }
            _ if number(&given.ty).is_some() => convert(given, &Type::U32),
            _ => {
                self.wrong_argument(function, "a string literal or an integer", &given);
                return None;
            }
        };
        let args = vec![signal];
        let sent = make(ExprKind::Helper { helper, args }, Type::Int(Int::I32), span);
        let result = self.kept("signal#", sent);
        let format = "signal call failed with error %d".into();
        let message = SiteKind::Message {
            format,
            error: false,
        };
        let told = self.emit(message, vec!["0".to_owned()], vec![result.clone()], span)?;
        let kind = StmtKind::If {
            condition: not_zero(result),
            then: vec![told],
            otherwise: Vec::new(),
        };
        Some(Stmt { kind, span })
    }

    /// `override(result)`
    pub(super) fn override_result(&mut self, call: Call<'_>) -> Option<Stmt> {
        let span = call.span;
        if self.scope.context != Context::KprobeEntry && !self.scope.dead {
            self.error(
                "invalid-call",
                span,
                "override() can only be used inside kprobes",
            );
            return None;
        }
        if !self.may_change_system(call) {
            return None;
        }
        let value = self.one(call.args)?;
        if number(&value.ty).is_none() {
            self.wrong_argument("override", "an integer", &value);
            return None;
        }
        let ctx = Type::Pointer {
            to: std::sync::Arc::new(Type::Void),
            space: Space::Kernel,
        };
        let args = vec![
            make(ExprKind::CtxAddress, ctx, span),
            convert(value, &Type::U64),
        ];
        let helper = helper::OVERRIDE_RETURN;
        Some(for_effect(make(
            ExprKind::Helper { helper, args },
            Type::I64,
            span,
        )))
    }

    /// `fail(message)`: this place must not be reached when the script is compiled.
    pub(super) fn fail(&mut self, call: Call<'_>) -> Expr {
        let message = call.args.first();
        let Some(message) = message.and_then(|a| self.literal_text("fail", a)) else {
            return poison(call.span);
        };
        let mut text = message.to_string();
        for value in call.args.iter().skip(1) {
            let shown = match self.expr(value).kind {
                ExprKind::Str(text) => String::from_utf8_lossy(&text).into_owned(),
                ExprKind::Int(n) => n.to_string(),
                _ => "?".to_owned(),
            };
            let at = text.find("%s").or_else(|| text.find("%d"));
            if let Some(at) = at {
                text.replace_range(at..at + 2, &shown);
            }
        }
        self.error("failed", call.span, text)
    }

    /// `static_assert(condition, message)`
    pub(super) fn static_assert(&mut self, call: Call<'_>) -> Option<Stmt> {
        let [condition, message] = call.args else {
            return None;
        };
        let condition = self.condition(condition);
        let message = self.literal_text("static_assert", message)?;
        match super::known::number(&condition) {
            _ if condition.ty == Type::Void => None,
            Some(0) => {
                self.error("failed", call.span, &*message);
                None
            }
            Some(_) => Some(for_effect(zero(call.span))),
            None => {
                let message = "static_assert() expects what is known when the script is compiled";
                self.error("invalid-argument", condition.span, message);
                None
            }
        }
    }

    /// Gives what an event with a format asks for.
    pub(super) fn message_kind(function: &str, format: std::sync::Arc<str>) -> SiteKind {
        match function {
            "printf" => SiteKind::Printf { format },
            "cat" => SiteKind::Cat { format },
            "system" => SiteKind::System { format },
            _ => SiteKind::Message {
                format,
                error: function == "errorf",
            },
        }
    }
}

fn for_effect(e: Expr) -> Stmt {
    let span = e.span;
    Stmt {
        kind: StmtKind::Expr(e),
        span,
    }
}

fn zero(span: crate::diagnostic::Span) -> Expr {
    make(ExprKind::Int(0), Type::U64, span)
}

fn not_zero(e: Expr) -> Expr {
    let span = e.span;
    let kind = ExprKind::Compare {
        op: Comparison::Ne,
        signed: false,
        right: Box::new(make(ExprKind::Int(0), e.ty.clone(), span)),
        left: Box::new(e),
    };
    make(kind, Type::Bool, span)
}
