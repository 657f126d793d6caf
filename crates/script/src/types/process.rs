//! Processes and threads by other ids than the script's own: `pid(init)`, `comm(PID)`.

use super::convert::convert;
use super::expr::{number, string};
use super::function::Call;
use super::infer::Shape;
use super::{Checker, make, poison};
use crate::diagnostic::{Diagnostic, Span};
use crate::hir::{Builtin, Context, Expr, ExprKind, Int, Stmt, StmtKind, Type};
use crate::ir::kfunc;
use crate::plan::SiteKind;
use crate::syntax::tree;

impl Checker<'_> {
    /// `pid(init)`, `tid(curr_ns)`: ids as of the initial or the tracer's own pid namespace.
    pub(super) fn id_in_namespace(&mut self, call: Call<'_>) -> Expr {
        let (own, initial) = match call.name.text.as_str() {
            "pid" => (Builtin::Pid, Builtin::InitialPid),
            _ => (Builtin::Tid, Builtin::InitialTid),
        };
        let builtin = match call.args.first().map(|a| (&a.kind, a.span)) {
            None => own,
            Some((tree::ExprKind::Name(mode), _)) if mode == "curr_ns" => own,
            Some((tree::ExprKind::Name(mode), _)) if mode == "init" => initial,
            Some((tree::ExprKind::Name(mode), span)) => {
                let message =
                    format!("Invalid PID namespace mode: {mode} (expects: curr_ns or init)");
                return self.report(Diagnostic::error("invalid-argument", span, message));
            }
            Some(_) => {
                self.check_all(call.args);
                let name = &call.name.text;
                let message = format!("{name}() takes a pid namespace by its name: curr_ns, init");
                self.error("invalid-argument", call.span, message);
                return poison(call.span);
            }
        };
        self.of_context(builtin, Type::U32, call.span)
    }

    /// Says whether programs of this probe's kind may call functions of the kernel.
    pub(super) fn may_call_kernel(&self) -> bool {
        use Context::{Function, Iterator, PerfEvent, Tracepoint};
        let context = self.scope.context;
        matches!(context, Function | Iterator | PerfEvent | Tracepoint)
    }

    /// `comm(PID)`: the name of another process or thread, by its id in the initial namespace.
    pub(super) fn comm_of(&mut self, call: Call<'_>) -> Expr {
        let span = call.span;
        if call.args.is_empty() {
            return self.builtin("comm", span).unwrap_or_else(|| poison(span));
        }
        let Some(pid) = self.one(call.args) else {
            return poison(span);
        };
        if number(&pid.ty).is_none() {
            return self.wrong_argument("comm", "an integer", &pid);
        }
        if !self.may_call_kernel() {
            if self.scope.dead {
                return poison(span);
            }
            let provider = self.scope.provider;
            let message = format!("comm(PID) can not be used with '{provider}' probes");
            let error = Diagnostic::error("invalid-call", span, message);
            return self.report(error.hint(
                "the kernel lets them call no functions of its own; fentry \
                 and iter probes may, and from Linux 6.12 on tracepoint and interval probes",
            ));
        }
        if let Some(refused) = self.without_kernel_function(span) {
            return refused;
        }
        // Where a name is in a thread's structure is asked as for the name of the own one.
        self.of_context(Builtin::Comm, Type::Str { capacity: 16 }, span);
        let pid = self.kept("pid#", convert(pid, &Type::Int(Int::I32)));
        let found = self.declare_var("found#", span);
        self.grow_var(found, &Shape::fixed(Type::Bool), span);
        let no = make(ExprKind::Int(0), Type::Bool, span);
        self.pending.push(Stmt {
            kind: StmtKind::SetVar(found, no),
            span,
        });
        let ty = Type::Str { capacity: 16 };
        let kind = ExprKind::CommOf {
            pid: Box::new(pid.clone()),
            found,
        };
        let name = self.kept("comm#", make(kind, ty.clone(), span));
        let ExprKind::Var(var) = name.kind else {
            return name;
        };
        let message = SiteKind::Message {
            format: "No such process (pid=%d)".into(),
            error: false,
        };
        let Some(told) = self.emit(message, vec!["0".to_owned()], vec![pid], span) else {
            return poison(span);
        };
        let none = StmtKind::SetVar(var, convert(string(b"N/A", span), &ty));
        let found = make(ExprKind::Var(found), Type::Bool, span);
        let kind = StmtKind::If {
            condition: make(ExprKind::Not(Box::new(found)), Type::Bool, span),
            then: vec![told, Stmt { kind: none, span }],
            otherwise: Vec::new(),
        };
        self.pending.push(Stmt { kind, span });
        name
    }

    /// Refuses what calls a function that the kernel has not.
    fn without_kernel_function(&mut self, span: Span) -> Option<Expr> {
        if self.inputs.portable {
            let message = "comm(PID) calls a function that not every kernel has";
            let error = Diagnostic::error("not-portable", span, message);
            return Some(self.report(error.hint("use comm, of the thread itself")));
        }
        let [name, _] = kfunc::NAMES;
        let has = |btf: &kscope_btf::Btf| btf.find_once(name, kscope_btf::Kind::Func).is_some();
        if self.inputs.btf.is_some_and(has) {
            return None;
        }
        if self.scope.dead {
            return Some(poison(span));
        }
        let message = format!("comm(PID) needs the kernel's function {name}");
        let error = Diagnostic::error("unsupported", span, message);
        let hint =
            "Linux 6.2 and later with BTF have it; keep names by id in a map: @comm[tid] = comm";
        Some(self.report(error.hint(hint)))
    }
}
