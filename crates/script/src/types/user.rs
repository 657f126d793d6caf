//! What scripts ask of processes: their stacks, symbols of their code and data.

use super::builtin::FRAMES;
use super::call::{NO_STACK, stack_mode};
use super::convert::convert;
use super::{Checker, make, poison};
use crate::catalogue::{Absent, UsdtArgumentPlace};
use crate::diagnostic::{Diagnostic, Span};
use crate::hir::{Arithmetic, Builtin, Expr, ExprKind, Int, Space, Type};
use crate::syntax::tree;
use kscope_rows::StackMode;

impl Checker<'_> {
    /// Reads a mode and a number of frames, in this order.
    pub(super) fn stack_arguments(
        &mut self,
        function: &str,
        args: &[tree::Expr],
    ) -> (StackMode, u32) {
        let mut mode = self.config.stack_mode;
        let mut limit = FRAMES;
        for (i, arg) in args.iter().enumerate() {
            if let (0, tree::ExprKind::Name(name)) = (i, &arg.kind) {
                match stack_mode(name) {
                    Some(found) => mode = found,
                    None => {
                        let message = format!("{function}() has no mode '{name}'");
                        let error = Diagnostic::error("invalid-argument", arg.span, message);
                        self.report(error.hint("the modes are bpftrace, perf, raw and build_id"));
                    }
                }
                continue;
            }
            let value = self.expr(arg);
            match value.kind {
                _ if value.ty == Type::Void => {}
                ExprKind::Int(n) if (0..=127).contains(&n) => limit = n as u32,
                ExprKind::Int(n) => {
                    let message =
                        format!("{function}([int limit]): limit is from 0 to 127, got {n}");
                    self.error("invalid-argument", arg.span, message);
                }
                _ => {
                    self.wrong_argument(function, "a literal number of frames", &value);
                }
            }
        }
        (mode, limit)
    }

    /// `ustack`, `ustack(mode, frames)`
    pub(super) fn ustack(&mut self, args: &[tree::Expr], span: Span) -> Expr {
        let (mode, limit) = self.stack_arguments("ustack", args);
        let id = match limit {
            0 => ExprKind::Int(NO_STACK),
            _ => ExprKind::UserStackId,
        };
        let id = make(id, Type::I64, span);
        let parts = vec![id, self.pid_of_now(span)];
        make(
            ExprKind::Fields(parts),
            Type::UserStack { mode, limit },
            span,
        )
    }

    /// `usym(address)`
    pub(super) fn usym(&mut self, args: &[tree::Expr], span: Span) -> Expr {
        let Some(address) = self.one(args) else {
            return poison(span);
        };
        match address.ty {
            Type::UserSymbol => address,
            Type::Int(_) | Type::Pointer { .. } => self.user_symbol(address, span),
            _ => self.wrong_argument("usym", "an integer or pointer", &address),
        }
    }

    /// Makes the symbol of an address in the process that runs now.
    pub(super) fn user_symbol(&mut self, address: Expr, span: Span) -> Expr {
        let parts = vec![convert(address, &Type::U64), self.pid_of_now(span)];
        make(ExprKind::Fields(parts), Type::UserSymbol, span)
    }

    fn pid_of_now(&mut self, span: Span) -> Expr {
        let pid = self.builtin("pid", span);
        pid.unwrap_or_else(|| poison(span))
    }

    /// `func` of a program's function
    pub(super) fn user_function(&mut self, span: Span) -> Expr {
        let address = self.user_address(span);
        self.user_symbol(address, span)
    }

    fn user_address(&mut self, span: Span) -> Expr {
        let returns = self.scope.context == crate::hir::Context::UprobeReturn;
        if returns && !self.knows_returning_functions() {
            let message = "which function returned is not told by this kernel's uprobes";
            let error = Diagnostic::error("unsupported", span, message);
            return self.report(error.hint(
                "Linux 6.6 brought it; keep `func` of the entry in a map by tid, \
                 or use `probe`",
            ));
        }
        make(ExprKind::Builtin(Builtin::UserAddress), Type::U64, span)
    }

    /// Says whether `bpf_get_func_ip` works in uprobes; the kernel has a function for it then.
    fn knows_returning_functions(&self) -> bool {
        const MARK: &str = "bpf_get_func_ip_uprobe_multi";
        let btf = self.inputs.btf;
        btf.is_some_and(|btf| btf.find(MARK, kscope_btf::Kind::Func).is_some())
    }

    /// `uaddr("symbol")`: the address of the probed instruction, and how far the symbol is from it.
    pub(super) fn uaddr(&mut self, args: &[tree::Expr], span: Span) -> Expr {
        let symbol = args.first();
        let symbol = symbol.and_then(|symbol| self.literal_text("uaddr", symbol));
        let Some(symbol) = symbol else {
            return poison(span);
        };
        if self.scope.dead {
            return poison(span);
        }
        if !self.scope.context.is_user() {
            let provider = self.scope.provider;
            let message = format!("uaddr can not be used with \"{provider}\" probes");
            return self.error("invalid-call", span, message);
        }
        if self.inputs.portable {
            let message = "uaddr() cannot be part of an object: where a symbol lies is known \
                           with the file alone";
            return self.error("not-portable", span, message);
        }
        let Some(attach) = self.scope.attach.clone() else {
            return poison(span);
        };
        let found = self.inputs.catalogue.user_distance(&attach, &symbol);
        let (distance, size) = match found {
            Ok(found) => found,
            Err(Absent::Missing { why, near }) => {
                let mut error = Diagnostic::error("unknown-symbol", span, why);
                error.hint = super::did_you_mean(&near);
                return self.report(error);
            }
            Err(Absent::Unavailable(why)) => {
                return self.error("unknown-symbol", span, why);
            }
        };
        let here = self.user_address(span);
        if here.ty == Type::Void {
            return here;
        }
        let distance = make(ExprKind::Int(distance), Type::U64, span);
        let kind = ExprKind::Binary {
            op: Arithmetic::Add,
            left: Box::new(here),
            right: Box::new(distance),
        };
        let bytes = match size {
            1 | 2 | 4 => size as u8,
            _ => 8,
        };
        let to = Type::Int(Int::new(bytes, false));
        let address = make(kind, Type::U64, span);
        make(
            ExprKind::Cast(Box::new(address)),
            super::ctype::pointer(to, Space::User),
            span,
        )
    }

    /// `argN` of a USDT probe.
    pub(super) fn usdt_argument(&mut self, name: &str, number: &str, span: Span) -> Expr {
        let Some(record) = self.scope.record.clone() else {
            return poison(span);
        };
        let arguments = match &record.usdt {
            Some(Ok(arguments)) => arguments,
            Some(Err(part)) => {
                let message = format!(
                    "the arguments of {} are not understood: {part}",
                    record.name
                );
                return self.error("unsupported", span, message);
            }
            None => return poison(span),
        };
        if self.inputs.portable {
            let message = "arguments of USDT probes cannot be part of an object: where they are \
                           is known with the program alone";
            return self.error("not-portable", span, message);
        }
        let index = number.parse::<usize>().unwrap_or(usize::MAX);
        let Some(argument) = arguments.get(index) else {
            let message = format!(
                "{name} doesn't exist: {} has {} arguments",
                record.name,
                arguments.len()
            );
            return self.error("invalid-builtin", span, message);
        };
        let stored = Int::new(argument.bytes, argument.signed);
        let wide = match argument.signed {
            true => Type::I64,
            false => Type::U64,
        };
        let register = |offset: u16, int: Int| {
            let kind = ExprKind::CtxLoad {
                offset: u32::from(offset),
                int,
                bits: None,
            };
            make(kind, Type::Int(int), span)
        };
        let add = |left: Expr, right: Expr| {
            let kind = ExprKind::Binary {
                op: Arithmetic::Add,
                left: Box::new(left),
                right: Box::new(right),
            };
            make(kind, Type::U64, span)
        };
        let number = |value: i64| make(ExprKind::Int(value), Type::U64, span);
        let address = match argument.place {
            UsdtArgumentPlace::Constant(value) => {
                let value = super::convert::wrap(value, stored);
                return make(ExprKind::Int(value), wide, span);
            }
            UsdtArgumentPlace::Register(offset) => {
                let value = register(offset, stored);
                return make(ExprKind::Cast(Box::new(value)), wide, span);
            }
            UsdtArgumentPlace::Memory { base, offset } => {
                add(register(base, Int::U64), number(offset))
            }
            UsdtArgumentPlace::Indexed {
                base,
                index,
                shift,
                offset,
            } => {
                let scaled = ExprKind::Binary {
                    op: Arithmetic::Shl,
                    left: Box::new(register(index, Int::U64)),
                    right: Box::new(number(i64::from(shift))),
                };
                let scaled = make(scaled, Type::U64, span);
                add(add(register(base, Int::U64), scaled), number(offset))
            }
        };
        let kind = ExprKind::Load {
            address: Box::new(address),
            int: stored,
            space: Space::User,
            bits: None,
        };
        let value = make(kind, Type::Int(stored), span);
        make(ExprKind::Cast(Box::new(value)), wide, span)
    }

    /// `cpid`: the id of the command of `-c`, else 0.
    pub(super) fn cpid(&mut self, span: Span) -> Expr {
        if self.inputs.without_command {
            let message = "No child command (`-c`); cpid is zero";
            self.warn("no-command", span, message);
        }
        self.command(span)
    }

    fn command(&mut self, span: Span) -> Expr {
        let late = self.late_value(crate::lower::CHILD, kscope_spec::LateKind::Number);
        make(ExprKind::Late(late), Type::U32, span)
    }

    /// `has_cpid`: whether there is a command of `-c`.
    pub(super) fn has_cpid(&mut self, span: Span) -> Expr {
        let cpid = self.command(span);
        convert(cpid, &Type::Bool)
    }
}
