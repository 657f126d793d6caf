//! Bare names: builtins, enumerators.

use super::ctype::{opaque, pointer};
use super::{Checker, did_you_mean, make};
use crate::diagnostic::{Diagnostic, Span};
use crate::hir::{Builtin, Context, EnumType, Expr, ExprKind, Int, Space, Type};
use crate::near::nearest;
use crate::syntax::tree;

/// Most frames of a stack where no number is given.
pub(super) const FRAMES: u32 = 127;

/// Builtins of this version.
pub(super) const NAMES: [&str; 24] = [
    "args",
    "cgroup",
    "comm",
    "cpu",
    "curtask",
    "elapsed",
    "func",
    "gid",
    "jiffies",
    "kstack",
    "ncpus",
    "nsecs",
    "pcomm",
    "pid",
    "ppid",
    "probe",
    "probetype",
    "rand",
    "retval",
    "tid",
    "uid",
    "username",
    "arg0",
    "arg1",
];

/// Builtins that bpftrace has and this version has not.
const LATER: [&str; 12] = [
    "ustack",
    "ctx",
    "jiffies",
    "numaid",
    "usermode",
    "cpid",
    "has_cpid",
    "config",
    "leader_tid",
    "leader_comm",
    "dw_ustack",
    "socket_cookie",
];

impl Checker<'_> {
    /// Checks a bare name.
    pub(super) fn name(&mut self, name: &str, span: Span) -> Expr {
        if let Some(expanded) = self.expand_macro(name, &[], span) {
            return expanded;
        }
        if let Some(builtin) = self.builtin(name, span) {
            return builtin;
        }
        if let Some(constant) = self.constant(name, span) {
            return constant;
        }
        if LATER.contains(&name) {
            return self.error(
                "unsupported",
                span,
                format!("the builtin {name} comes with a later version"),
            );
        }
        if super::call::FUNCTIONS.contains(&name) || super::aggregate::FUNCTIONS.contains(&name) {
            return self.error(
                "invalid-call",
                span,
                format!("{name} is a function: write {name}(…)"),
            );
        }
        let mut error = Diagnostic::error(
            "unknown-name",
            span,
            format!("Unknown identifier: '{name}'"),
        );
        let macros = self.script.macros.iter().map(|m| m.name.text.as_str());
        error.hint = did_you_mean(&nearest(name, NAMES.into_iter().chain(macros), 3));
        self.report(error)
    }

    /// Finds an enumerator of the script or of BTF.
    fn constant(&mut self, name: &str, span: Span) -> Option<Expr> {
        if let Some((value, ty)) = self.definitions.constants.get(name) {
            return Some(make(ExprKind::Int(*value), Type::Enum(ty.clone()), span));
        }
        let btf = self.inputs.btf?;
        let found = btf.enumerator(name)?;
        let ty = match self.btf_type(found.type_id, Space::Kernel) {
            // Constants without a type of their own are numbers.
            Type::Enum(e) if e.name.is_empty() => anonymous(&e, found.value),
            ty @ Type::Enum(_) => ty,
            _ => return None,
        };
        let kind = self.enumerator(name, &found);
        Some(make(kind, ty, span))
    }

    /// Checks a builtin, called or not.
    pub(super) fn builtin(&mut self, name: &str, span: Span) -> Option<Expr> {
        let (builtin, ty) = match name {
            "pid" => (Builtin::Pid, Type::U32),
            "tid" => (Builtin::Tid, Type::U32),
            "uid" => (Builtin::Uid, Type::U32),
            "gid" => (Builtin::Gid, Type::U32),
            "username" => (Builtin::Uid, Type::UserName),
            "comm" => (Builtin::Comm, Type::Str { capacity: 16 }),
            "cpu" => (Builtin::Cpu, Type::U32),
            "nsecs" => (Builtin::NsecsBoot, Type::U64),
            "elapsed" => (Builtin::Elapsed, Type::U64),
            "curtask" => (Builtin::CurrentTask, self.task_pointer()),
            "cgroup" => (Builtin::CgroupId, Type::U64),
            "rand" => (Builtin::Random, Type::U32),
            "ncpus" => (Builtin::CpuCount, Type::U64),
            "func" => {
                if !matches!(
                    self.scope.context,
                    Context::KprobeEntry | Context::KprobeReturn
                ) {
                    return Some(self.misplaced(name, span));
                }
                (Builtin::FunctionAddress, Type::KernelSymbol)
            }
            "probe" => {
                let text = self.scope.probe_name.clone();
                return Some(super::expr::string(text.as_bytes(), span));
            }
            "probetype" => {
                let provider = match self.scope.provider {
                    "begin" | "end" => "special",
                    provider => provider,
                };
                return Some(super::expr::string(provider.as_bytes(), span));
            }
            "kstack" => {
                let ty = Type::KernelStack {
                    mode: self.config.stack_mode,
                    limit: FRAMES,
                };
                return Some(make(ExprKind::KernelStack, ty, span));
            }
            "retval" => {
                if self.scope.context != Context::KprobeReturn {
                    return Some(self.misplaced(name, span));
                }
                return Some(make(ExprKind::Retval, Type::U64, span));
            }
            "args" => return Some(self.whole_args(span)),
            "ppid" => return Some(self.of_task(&["real_parent", "tgid"], span)),
            "pcomm" => return Some(self.of_task(&["real_parent", "comm"], span)),
            _ => return self.argument_register(name, span),
        };
        if builtin.is_of_task() && self.task.is_none() {
            // Portable code asks helpers, which every kernel has.
            let btf = self.inputs.btf.filter(|_| !self.inputs.portable);
            self.task = Some(btf.and_then(super::task::layout));
        }
        Some(make(ExprKind::Builtin(builtin), ty, span))
    }

    fn misplaced(&mut self, name: &str, span: Span) -> Expr {
        if self.scope.dead {
            return super::poison(span);
        }
        let provider = self.scope.provider;
        self.error(
            "invalid-builtin",
            span,
            format!("The {name} builtin can not be used with '{provider}' probes"),
        )
    }

    /// `arg0`, `arg1`, …
    fn argument_register(&mut self, name: &str, span: Span) -> Option<Expr> {
        let number = name.strip_prefix("arg")?;
        if number.is_empty() || !number.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let most = match self.scope.context {
            // What the calling convention passes in registers.
            Context::KprobeEntry => 5,
            // What a raw tracepoint's program can be given.
            Context::RawTracepoint => 11,
            _ => return Some(self.misplaced(name, span)),
        };
        match number.parse::<u8>() {
            Ok(n) if n <= most => Some(make(ExprKind::Arg(n), Type::U64, span)),
            _ => {
                let provider = self.scope.provider;
                Some(self.error(
                    "invalid-builtin",
                    span,
                    format!("{name} doesn't exist: {provider} probes have arg0 to arg{most}"),
                ))
            }
        }
    }

    fn task_pointer(&self) -> Type {
        let task = self.inputs.btf.and_then(|b| {
            let id = b.find_once("task_struct", kscope_btf::Kind::Struct)?;
            Some(self.btf_type(id, Space::Kernel))
        });
        pointer(
            task.unwrap_or_else(|| opaque("struct task_struct")),
            Space::Kernel,
        )
    }

    /// Reads a chain of members of the current task.
    fn of_task(&mut self, path: &[&str], span: Span) -> Expr {
        let task = self.task_pointer();
        let mut e = make(ExprKind::Builtin(Builtin::CurrentTask), task, span);
        for member in path {
            let name = tree::Name {
                text: (*member).to_owned(),
                span,
            };
            e = self.member_of(e, &name, span);
        }
        match (&e.ty, e.ty.scalar_int()) {
            // Process ids are unsigned wherever the language gives them.
            (Type::Int(int), _) if int.bytes == 4 => super::convert::convert(e, &Type::U32),
            _ => e,
        }
    }

    fn whole_args(&mut self, span: Span) -> Expr {
        if self.scope.context != Context::Tracepoint {
            return self.misplaced("args", span);
        }
        self.error(
            "unsupported",
            span,
            "args as a whole comes with a later version: name a field, as in args.field",
        )
    }
}

/// Gives the type of a constant of an enumeration without a name.
fn anonymous(e: &EnumType, value: i64) -> Type {
    if e.int.bytes == 8 && value < 0 && !e.int.signed {
        return Type::Int(Int::U64);
    }
    Type::Int(super::infer::smallest(value))
}
