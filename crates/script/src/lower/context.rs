//! What a program reads of its context and of the current task.

use kscope_spec::{LateKind, helper};

use super::function::{Lower, Place, Result, unsupported};
use super::{START_TIME, x86_64};
use crate::diagnostic::Span;
use crate::hir::{Builtin, Context, Int, Type};
use crate::ir::{BinOp, Cond, Value};
use crate::plan::Counter;

/// `-EFAULT`
const NO_STACK: i64 = -14;

/// Names of the late values that describe the tracer's pid namespace.
const PID_NAMESPACE_DEV: &str = "pidns.dev";
const PID_NAMESPACE_INODE: &str = "pidns.inode";

impl Lower<'_> {
    pub(super) fn builtin(&mut self, builtin: Builtin, span: Span) -> Result<Value> {
        Ok(match builtin {
            Builtin::Pid => {
                let (pid, _) = self.pid_tid();
                pid
            }
            Builtin::Tid => {
                let (_, tid) = self.pid_tid();
                tid
            }
            Builtin::Uid => {
                let both = self.b.call(helper::GET_CURRENT_UID_GID, Vec::new());
                self.b.extend(4, false, both)
            }
            Builtin::Gid => {
                let both = self.b.call(helper::GET_CURRENT_UID_GID, Vec::new());
                self.high_word(both)
            }
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
            Builtin::Comm => return Err(unsupported(span, "a name as a number")),
        })
    }

    fn high_word(&mut self, value: Value) -> Value {
        let half = self.b.constant(32);
        self.b.binary(BinOp::LShr, value, half)
    }

    /// Process and thread id, as seen from the pid namespace of the tracer.
    fn pid_tid(&mut self) -> (Value, Value) {
        let (pid, tid) = (self.b.variable(), self.b.variable());
        let inode = self.late(PID_NAMESPACE_INODE, &LateKind::PidNamespaceInode);
        let zero = self.b.constant(0);
        let initial = self.b.block();
        let nested = self.b.block();
        let end = self.b.block();
        // The loader fills the inode in, so that the verifier drops the branch not taken.
        self.b.branch(Cond::Eq, inode, zero, initial, nested);

        self.enter(nested);
        let slot = self.slot(8);
        let place = self.slot_place(slot);
        self.zero(place, 8);
        let dev = self.late(PID_NAMESPACE_DEV, &LateKind::PidNamespaceDev);
        let size = self.b.constant(8);
        let address = self.address(place);
        self.b.call(
            helper::GET_NS_CURRENT_PID_TGID,
            vec![dev, inode, address, size],
        );
        // struct bpf_pidns_info { __u32 pid; __u32 tgid; }
        let value = self.b.load(4, false, place.base, 0);
        self.b.write(tid, value);
        let value = self.b.load(4, false, place.base, 4);
        self.b.write(pid, value);
        self.b.jump(end);

        self.enter(initial);
        let both = self.b.call(helper::GET_CURRENT_PID_TGID, Vec::new());
        let low = self.b.extend(4, false, both);
        self.b.write(tid, low);
        let high = self.high_word(both);
        self.b.write(pid, high);
        self.b.jump(end);

        self.enter(end);
        (self.b.read(pid), self.b.read(tid))
    }

    /// Loads a number from a fixed place of the context.
    pub(super) fn ctx_load(&mut self, offset: u32, int: Int) -> Value {
        let base = self.b.ctx();
        self.load(
            Place {
                base,
                offset: offset as i32,
                align: 8,
            },
            int,
        )
    }

    /// Gives the address of the context as a number.
    pub(super) fn ctx_address(&mut self) -> Value {
        let ctx = self.b.ctx();
        self.b.ptr_to_int(ctx)
    }

    /// `argN`
    pub(super) fn argument(&mut self, n: u8, ty: &Type, span: Span) -> Result<Value> {
        let offset = match self.context {
            Context::KprobeEntry => x86_64::argument(n),
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
        if self.context != Context::KprobeReturn {
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
        let map = self.tables.kernel_stacks();
        let ctx = self.b.ctx();
        let map_value = self.b.map(map);
        let flags = self.b.constant(0);
        let id = self
            .b
            .call(helper::GET_STACKID, vec![ctx, map_value, flags]);
        let zero = self.b.constant(0);
        let failed = self.b.block();
        let lost = self.b.block();
        let end = self.b.block();
        self.b.branch(Cond::Slt, id, zero, failed, end);
        self.enter(failed);
        // A sample of user space has no kernel stack, and nothing is lost then.
        let none = self.b.constant(NO_STACK);
        self.b.branch(Cond::Eq, id, none, end, lost);
        self.enter(lost);
        self.count(Counter::LostStacks);
        self.join(end);
        id
    }
}
