//! Processes and threads by other ids than the script's own: `pid(init)`, `comm(PID)`.

use super::function::Call;
use super::{Checker, poison};
use crate::diagnostic::Diagnostic;
use crate::hir::{Builtin, Expr, Type};
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
}
