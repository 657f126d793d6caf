//! What a program reads of its context and of the current task.

use kscope_spec::{LateKind, MapId, helper};

use super::function::{Lower, Place, Result, unsupported};
use super::{MORE_STACKS_MARK, START_TIME, x86_64};
use crate::diagnostic::Span;
use crate::hir::{Builtin, Context, Int, Type};
use crate::ir::{BinOp, Cond, Value};
use crate::plan::Counter;

/// Where an iterator's context has the object, behind what it has of the walk.
const ITERATOR_OBJECT: u32 = 8;

/// `-EFAULT`
const NO_STACK: i64 = -14;
/// `-EEXIST`
const THERE_ALREADY: i64 = -17;
/// `BPF_F_USER_STACK`
const USER_STACK: i64 = 1 << 8;

impl Lower<'_> {
    pub(super) fn builtin(&mut self, builtin: Builtin, span: Span) -> Result<Value> {
        Ok(match builtin {
            Builtin::Pid => self.pid_tid().0,
            Builtin::Tid => self.pid_tid().1,
            Builtin::InitialPid => self.initial_pid_tid().0,
            Builtin::InitialTid => self.initial_pid_tid().1,
            Builtin::Uid => self.uid_gid().0,
            Builtin::Gid => self.uid_gid().1,
            Builtin::Cpu => self.b.call(helper::GET_SMP_PROCESSOR_ID, Vec::new()),
            Builtin::NsecsBoot => self.b.call(helper::KTIME_GET_BOOT_NS, Vec::new()),
            Builtin::NsecsMonotonic => self.b.call(helper::KTIME_GET_NS, Vec::new()),
            Builtin::Elapsed => {
                let now = self.b.call(helper::KTIME_GET_BOOT_NS, Vec::new());
                let start = self.late(START_TIME, &LateKind::Number);
                self.b.binary(BinOp::Sub, now, start)
            }
            Builtin::CurrentTask => self.b.call(helper::GET_CURRENT_TASK, Vec::new()),
            Builtin::CgroupId => self.b.call(helper::GET_CURRENT_CGROUP_ID, Vec::new()),
            Builtin::Random => {
                let value = self.b.call(helper::GET_PRANDOM_U32, Vec::new());
                self.b.extend(4, false, value)
            }
            Builtin::CpuCount => self.late("cpus", &LateKind::CpuCount),
            Builtin::TracedFunction => {
                let ctx = self.ctx();
                self.b.call(helper::GET_FUNC_IP, vec![ctx])
            }
            Builtin::FunctionAddress => {
                // The instruction pointer is one past the probed instruction's first byte.
                let ip = self.ctx_load(
                    x86_64::INSTRUCTION_POINTER,
                    Int {
                        bytes: 8,
                        signed: false,
                    },
                );
                let one = self.b.constant(1);
                self.b.binary(BinOp::Sub, ip, one)
            }
            Builtin::UserAddress if self.context == Context::UprobeReturn => {
                let ctx = self.ctx();
                self.b.call(helper::GET_FUNC_IP, vec![ctx])
            }
            Builtin::UserAddress => self.ctx_load(x86_64::INSTRUCTION_POINTER, Int::U64),
            Builtin::Comm => return Err(unsupported(span, "a name as a number")),
        })
    }

    /// Loads a number from a fixed place of the context.
    pub(super) fn ctx_load(&mut self, offset: u32, int: Int) -> Value {
        let base = self.ctx();
        self.load(
            Place {
                base,
                offset: 0,
                align: 8,
            }
            .at(offset),
            int,
        )
    }

    /// Gives the address of the context as a number.
    pub(super) fn ctx_address(&mut self) -> Value {
        let ctx = self.ctx();
        self.b.ptr_to_int(ctx)
    }

    /// Gives a pointer of the context as a number.
    ///
    /// The verifier knows the types of pointers that it gives typed programs, and lets nobody count
    /// with them; what went through a swap of its bytes is a number to it.
    pub(super) fn context_pointer(&mut self, value: Value) -> Value {
        if !matches!(self.context, Context::Function | Context::Iterator) {
            return value;
        }
        let swapped = self.b.byte_swap(8, value);
        self.b.byte_swap(8, swapped)
    }

    /// Ends the program of an iterator that has no object: it runs so once more after the last.
    pub(super) fn require_object(&mut self) {
        let object = self.ctx_load(ITERATOR_OBJECT, Int::U64);
        let number = self.context_pointer(object);
        let zero = self.b.constant(0);
        let (exit, go_on) = (self.exit, self.b.block());
        self.b.branch(Cond::Eq, number, zero, exit, go_on);
        self.enter(go_on);
    }

    /// `argN`
    pub(super) fn argument(&mut self, n: u8, ty: &Type, span: Span) -> Result<Value> {
        let offset = match self.context {
            Context::KprobeEntry | Context::UprobeEntry => x86_64::argument(n),
            Context::RawTracepoint if n < 12 => Some(u32::from(n) * 8),
            _ => None,
        };
        let Some(offset) = offset else {
            return Err(unsupported(span, &format!("arg{n} in this probe")));
        };
        let value = self.ctx_load(
            offset,
            Int {
                bytes: 8,
                signed: false,
            },
        );
        Ok(self.fit(ty, value))
    }

    /// `retval`
    pub(super) fn return_value(&mut self, ty: &Type, span: Span) -> Result<Value> {
        if !matches!(self.context, Context::KprobeReturn | Context::UprobeReturn) {
            return Err(unsupported(span, "retval in this probe"));
        }
        let value = self.ctx_load(
            x86_64::RESULT,
            Int {
                bytes: 8,
                signed: false,
            },
        );
        Ok(self.fit(ty, value))
    }

    /// `kstack`: the id of the current stack; a stack that could not be kept is counted.
    pub(super) fn kernel_stack(&mut self) -> Value {
        let maps = self.tables.kernel_stacks();
        self.stack_id(maps, 0)
    }

    /// The id of the stack of the process; a stack that could not be kept is counted.
    pub(super) fn user_stack(&mut self) -> Value {
        let maps = self.tables.user_stacks();
        self.stack_id(maps, USER_STACK)
    }

    /// Takes the stack of now: where another one has its place already, in the second map.
    fn stack_id(&mut self, [map, more]: [MapId; 2], flags: i64) -> Value {
        let ctx = self.ctx();
        let flags = self.b.constant(flags);
        let zero = self.b.constant(0);
        let result = self.b.variable();
        let map_value = self.b.map(map);
        let id = (self.b).call(helper::GET_STACKID, vec![ctx, map_value, flags]);
        self.b.write(result, id);
        let [failed, again, moved, refused, lost, end] = [(); 6].map(|()| self.b.block());
        self.b.branch(Cond::Slt, id, zero, failed, end);
        self.enter(failed);
        let there = self.b.constant(THERE_ALREADY);
        self.b.branch(Cond::Eq, id, there, again, refused);
        self.enter(again);
        let map_value = self.b.map(more);
        let other = (self.b).call(helper::GET_STACKID, vec![ctx, map_value, flags]);
        self.b.write(result, other);
        self.b.branch(Cond::Slt, other, zero, refused, moved);
        self.enter(moved);
        let mark = self.b.constant(i64::from(MORE_STACKS_MARK));
        let marked = self.b.binary(BinOp::Or, other, mark);
        self.b.write(result, marked);
        self.b.jump(end);
        self.enter(refused);
        // A sample of user space has no kernel stack, and nothing is lost then.
        let none = self.b.constant(NO_STACK);
        let got = self.b.read(result);
        self.b.branch(Cond::Eq, got, none, end, lost);
        self.enter(lost);
        self.count(Counter::LostStacks);
        self.join(end);
        self.b.read(result)
    }
}
