//! Bare names: builtins, enumerators.

use std::sync::Arc;

use super::ctype::{opaque, pointer};
use super::{Checker, did_you_mean, make};
use crate::diagnostic::{Diagnostic, Span};
use crate::hir::{Builtin, Context, EnumType, Expr, ExprKind, Int, Space, Type};
use crate::near::nearest;
use crate::syntax::tree;
use kscope_spec::helper;

/// Most frames of a stack where no number is given.
pub(super) const FRAMES: u32 = 127;

/// How a builtin is checked.
type Check = fn(&mut Checker<'_>, Span) -> Expr;

/// The builtins but `argN` and those of the prelude: name and check.
#[allow(
    clippy::redundant_closure_for_method_calls,
    reason = "a method's path is not general over the checker's lifetime"
)]
const BUILTINS: &[(&str, Check)] = &[
    ("args", |c, s| c.whole_args(s)),
    ("cgroup", |c, s| {
        c.of_context(Builtin::CgroupId, Type::U64, s)
    }),
    ("comm", |c, s| {
        c.of_context(Builtin::Comm, Type::Str { capacity: 16 }, s)
    }),
    ("cpid", |c, s| c.cpid(s)),
    ("config", |c, s| c.configuration(s)),
    ("cpu", |c, s| c.of_context(Builtin::Cpu, Type::U32, s)),
    ("curtask", |c, s| {
        let ty = c.task_pointer();
        c.of_context(Builtin::CurrentTask, ty, s)
    }),
    ("ctx", |c, s| c.whole_context(s)),
    ("elapsed", |c, s| {
        c.of_context(Builtin::Elapsed, Type::U64, s)
    }),
    ("func", |c, s| c.traced_function(s)),
    ("gid", |c, s| c.of_context(Builtin::Gid, Type::U32, s)),
    ("has_cpid", |c, s| c.has_cpid(s)),
    ("jiffies", |c, s| {
        c.helper_value(helper::JIFFIES64, Type::U64, s)
    }),
    ("kstack", |c, s| c.whole_stack(s)),
    ("ncpus", |c, s| {
        c.of_context(Builtin::CpuCount, Type::U64, s)
    }),
    ("nsecs", |c, s| {
        c.of_context(Builtin::NsecsBoot, Type::U64, s)
    }),
    ("numaid", |c, s| {
        c.helper_value(helper::GET_NUMA_NODE_ID, Type::U64, s)
    }),
    ("pid", |c, s| c.of_context(Builtin::Pid, Type::U32, s)),
    ("probe", |c, s| {
        super::expr::string(c.scope.probe_name.clone().as_bytes(), s)
    }),
    ("probetype", |c, s| {
        let provider = match c.scope.provider {
            "begin" | "end" => "special",
            provider => provider,
        };
        super::expr::string(provider.as_bytes(), s)
    }),
    ("rand", |c, s| c.of_context(Builtin::Random, Type::U32, s)),
    ("retval", |c, s| c.returned(s)),
    ("tid", |c, s| c.of_context(Builtin::Tid, Type::U32, s)),
    ("uid", |c, s| c.of_context(Builtin::Uid, Type::U32, s)),
    ("usermode", |c, s| c.user_mode(s)),
    ("username", |c, s| {
        c.of_context(Builtin::Uid, Type::UserName, s)
    }),
    ("ustack", |c, s| c.ustack(&[], s)),
];

/// Builtins that bpftrace has as `__builtin_NAME` as well.
const UNDERLYING: [&str; 11] = [
    "comm",
    "config",
    "cpid",
    "cpu",
    "elapsed",
    "func",
    "ncpus",
    "probe",
    "probetype",
    "retval",
    "usermode",
];

/// Says whether a name is a builtin's.
pub(super) fn is_builtin(name: &str) -> bool {
    BUILTINS.iter().any(|(known, _)| *known == name)
}

fn names<'a>() -> impl Iterator<Item = &'a str> {
    let table = BUILTINS.iter().map(|(name, _)| *name);
    let arguments = ["arg0", "arg1"].into_iter();
    table.chain(arguments).chain(super::prelude::names())
}

/// Findings before one among which that of an unknown name is looked for.
const KNOWN: usize = 64;

impl Checker<'_> {
    /// Checks a bare name.
    pub(super) fn name(&mut self, name: &str, span: Span) -> Expr {
        // What bpftrace's own macros stand on: the builtin, whatever macro has its name.
        let inner = name.strip_prefix("__builtin_");
        if let Some(inner) = inner.filter(|inner| UNDERLYING.contains(inner)) {
            let builtin = self.builtin(inner, span);
            return builtin.unwrap_or_else(|| super::poison(span));
        }
        if let Some(expanded) = self.expand_macro(name, &[], span) {
            return expanded;
        }
        if let Err(refused) = self.outside_map_loops(name, span) {
            return refused;
        }
        if let Some(builtin) = self.builtin(name, span) {
            return builtin;
        }
        if let Some(constant) = self.constant(name, span) {
            return constant;
        }
        let text = name.to_owned();
        if let Some(error) = super::function::absent(&tree::Name { text, span }) {
            return self.report(error);
        }
        if super::function::is_function(name) {
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
        // Names near to one are looked for once.
        let mut known = self.diagnostics.iter().rev().take(KNOWN);
        let same = |found: &&Diagnostic| found.id == error.id && found.message == error.message;
        error.hint = match known.find(same) {
            Some(found) => found.hint.clone(),
            None => {
                let macros = self.script.macros.iter().map(|m| m.name.text.as_str());
                let names = names().chain(macros).chain(super::constant::names());
                did_you_mean(&nearest(name, names, 3))
            }
        };
        self.report(error)
    }

    /// Finds an enumerator of the script or of BTF, or a constant of headers.
    fn constant(&mut self, name: &str, span: Span) -> Option<Expr> {
        if let Some((value, ty)) = self.definitions.constants.get(name) {
            return Some(make(ExprKind::Int(*value), Type::Enum(ty.clone()), span));
        }
        let found = (self.inputs.btf).and_then(|btf| btf.enumerator(name));
        let Some(found) = found else {
            let value = super::constant::value(name)?;
            return Some(super::literal(value, span));
        };
        let kind = self.enumerator(name, &found);
        let ty = match self.btf_type(found.type_id, Space::Kernel) {
            // One that is known only there has no names with it.
            Type::Enum(e) if e.name.is_empty() => match kind {
                ExprKind::Int(_) => Type::Enum(told_apart(&e)),
                _ => anonymous(&e, found.value),
            },
            ty @ Type::Enum(_) => ty,
            _ => return None,
        };
        Some(make(kind, ty, span))
    }

    /// Checks a builtin, called or not.
    pub(super) fn builtin(&mut self, name: &str, span: Span) -> Option<Expr> {
        match BUILTINS.iter().find(|(known, _)| *known == name) {
            Some((_, check)) => Some(check(self, span)),
            None => self.argument_register(name, span),
        }
    }

    /// A value that each probe has.
    pub(super) fn of_context(&mut self, builtin: Builtin, ty: Type, span: Span) -> Expr {
        if builtin.is_of_task() && self.task.is_none() {
            // Portable code asks helpers, which every kernel has.
            let btf = self.inputs.btf.filter(|_| !self.inputs.portable);
            self.task = Some(btf.and_then(super::task::layout));
        }
        make(ExprKind::Builtin(builtin), ty, span)
    }

    fn whole_stack(&mut self, span: Span) -> Expr {
        let ty = Type::KernelStack {
            mode: self.config.stack_mode,
            limit: FRAMES,
        };
        make(ExprKind::KernelStack, ty, span)
    }

    fn returned(&mut self, span: Span) -> Expr {
        if self.scope.provider == "fexit" && !self.scope.dead {
            return self.typed_result(span);
        }
        let returns = [Context::KprobeReturn, Context::UprobeReturn];
        if !returns.contains(&self.scope.context) {
            return self.misplaced("retval", span);
        }
        make(ExprKind::Retval, Type::U64, span)
    }

    pub(super) fn misplaced(&mut self, name: &str, span: Span) -> Expr {
        if self.scope.dead {
            return super::poison(span);
        }
        let provider = self.scope.provider;
        if name == "args" && ["uprobe", "uretprobe"].contains(&provider) {
            return self.error("invalid-builtin", span, super::args::NO_NAMES);
        }
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
            Context::KprobeEntry | Context::UprobeEntry => 5,
            Context::Usdt => return Some(self.usdt_argument(name, number, span)),
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
        // The script's own definition is what it wants to read it by.
        if let Some(own) = self.definitions.structs.get("struct task_struct") {
            return pointer(Type::Struct(own.clone()), Space::Kernel);
        }
        let task = self.inputs.btf.and_then(|b| {
            let id = b.find_once("task_struct", kscope_btf::Kind::Struct)?;
            Some(self.btf_type(id, Space::Kernel))
        });
        pointer(
            task.unwrap_or_else(|| opaque("struct task_struct")),
            Space::Kernel,
        )
    }

    /// `ctx`: what an iterator is at.
    fn whole_context(&mut self, span: Span) -> Expr {
        let fixed = match self.scope.context {
            Context::Iterator => None,
            Context::KprobeEntry | Context::KprobeReturn => Some("struct pt_regs"),
            Context::PerfEvent => Some("struct bpf_perf_event_data"),
            _ => return self.misplaced("ctx", span),
        };
        if let Some(name) = fixed {
            let ty = pointer(opaque(name), Space::Kernel);
            return make(ExprKind::CtxAddress, ty, span);
        }
        let ty = self.iterator_context().unwrap_or(Type::Void);
        make(ExprKind::CtxAddress, pointer(ty, Space::Kernel), span)
    }
}

/// Gives an enumeration without a name one that no other has: that of its first constant.
fn told_apart(e: &EnumType) -> Arc<EnumType> {
    let first = e.variants.first().map_or("", |(_, name)| name.as_str());
    Arc::new(EnumType {
        name: format!("(unnamed, with {first})").into(),
        ..e.clone()
    })
}

/// Gives the type of a constant of an enumeration without a name, whose names are not known.
fn anonymous(e: &EnumType, value: i64) -> Type {
    if e.int.bytes == 8 && value < 0 && !e.int.signed {
        return Type::Int(Int::U64);
    }
    Type::Int(super::infer::smallest(value))
}
