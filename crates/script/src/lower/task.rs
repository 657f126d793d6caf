//! What a program reads of the running thread: by loads where the kernel gives a typed pointer to
//! it, by helpers elsewhere. A load saves a call each, and the call that gives the pointer serves
//! all of them.

use kscope_spec::{HelperId, LateKind, helper};

use super::function::{Lower, Place, Result, unsupported};
use crate::diagnostic::Span;
use crate::hir::{Expr, TaskLayout, VarId};
use crate::ir::{BinOp, Cond, Pointer, Value, kfunc};

/// Size in bytes of a thread's name (`TASK_COMM_LEN`).
const COMM_LEN: u32 = 16;

/// Names of the late values that describe the tracer's pid namespace.
const PID_NAMESPACE_DEV: &str = "pidns.dev";
const PID_NAMESPACE_INODE: &str = "pidns.inode";

/// The lowest and the highest bit of each byte.
const LOWEST: i64 = i64::from_ne_bytes([0x01; 8]);
const HIGHEST: i64 = i64::from_ne_bytes([0x80; 8]);

impl Lower<'_> {
    /// Gives the running thread, where the kernel tells its type.
    fn task(&mut self) -> Option<(Value, TaskLayout)> {
        let layout = self.program.task?;
        let helper = helper::GET_CURRENT_TASK_BTF;
        let task = self.b.call_pointer(helper, Vec::new(), Pointer::Task);
        Some((task, layout))
    }

    /// Process and thread id, as seen from the pid namespace of the tracer.
    pub(super) fn pid_tid(&mut self) -> (Value, Value) {
        if let Some((block, pid, tid)) = self.ids {
            if block == self.b.current() {
                return (pid, tid);
            }
        }
        let (pid, tid) = (self.b.variable(), self.b.variable());
        let inode = self.late(PID_NAMESPACE_INODE, &LateKind::PidNamespaceInode);
        let zero = self.b.constant(0);
        let initial = self.b.block();
        let nested = self.b.block();
        let end = self.b.block();
        // What stands before the branch is there for all that follows.
        let task = self.task();
        let both = match task {
            Some(_) => zero,
            None => self.b.call(helper::GET_CURRENT_PID_TGID, Vec::new()),
        };
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
        let (low, high) = match task {
            Some((task, layout)) => (
                self.b.load(4, false, task, layout.pid as i32),
                self.b.load(4, false, task, layout.tgid as i32),
            ),
            None => (self.b.extend(4, false, both), self.high_word(both)),
        };
        self.b.write(tid, low);
        self.b.write(pid, high);
        self.b.jump(end);

        self.enter(end);
        let (pid, tid) = (self.b.read(pid), self.b.read(tid));
        self.ids = Some((self.b.current(), pid, tid));
        (pid, tid)
    }

    /// Process and thread id in the initial pid namespace.
    pub(super) fn initial_pid_tid(&mut self) -> (Value, Value) {
        if let Some((task, layout)) = self.task() {
            let pid = self.b.load(4, false, task, layout.tgid as i32);
            return (pid, self.b.load(4, false, task, layout.pid as i32));
        }
        let both = self.b.call(helper::GET_CURRENT_PID_TGID, Vec::new());
        (self.high_word(both), self.b.extend(4, false, both))
    }

    /// User's and group's id, in the initial user namespace.
    pub(super) fn uid_gid(&mut self) -> (Value, Value) {
        if let Some(cred) = self.program.task.and_then(|layout| layout.cred) {
            if let Some((task, _)) = self.task() {
                let offset = cred.pointer as i32;
                let owner = self.b.load_pointer(task, offset, Pointer::Cred);
                let uid = self.b.load(4, false, owner, cred.uid as i32);
                let gid = self.b.load(4, false, owner, cred.gid as i32);
                return (uid, gid);
            }
        }
        let both = self.b.call(helper::GET_CURRENT_UID_GID, Vec::new());
        let uid = self.b.extend(4, false, both);
        (uid, self.high_word(both))
    }

    fn high_word(&mut self, value: Value) -> Value {
        let half = self.b.constant(32);
        self.b.binary(BinOp::LShr, value, half)
    }

    /// Writes the thread's name. With `pad`, the bytes after its NUL are zeros.
    pub(super) fn comm_into(&mut self, to: Place, size: u32, pad: bool) {
        let len = COMM_LEN.min(size);
        match self.task() {
            Some((task, layout)) if len == COMM_LEN => self.comm_of(task, layout.comm, to, pad),
            _ => {
                if pad {
                    // Linux 6.1 leaves what follows the NUL as it was.
                    self.zero(to, len);
                }
                let address = self.address(to);
                let len = self.b.constant(i64::from(len));
                self.b.call(helper::GET_CURRENT_COMM, vec![address, len]);
            }
        }
        self.zero(to.at(len), size - len);
    }

    /// Writes the name of the thread of an id, if there is one, and whether there is.
    pub(super) fn comm_of_process(
        &mut self,
        pid: &Expr,
        found: VarId,
        to: Place,
        span: Span,
    ) -> Result<()> {
        let Some(layout) = self.program.task else {
            return Err(unsupported(span, "the name of another process"));
        };
        let pid = self.scalar(pid)?;
        let no = self.b.constant(0);
        self.write_var(found, no, span)?;
        let (absent, present) = (self.b.block(), self.b.block());
        let asked = kfunc::TASK_FROM_PID;
        let given = (self.b).call_pointer(HelperId(asked), vec![pid], Pointer::TaskOrNull);
        self.b.branch_null(given, absent, present);
        self.enter(present);
        let task = self.b.non_null(given);
        self.comm_of(task, layout.comm, to, true);
        self.b.call(HelperId(kfunc::TASK_RELEASE), vec![task]);
        let yes = self.b.constant(1);
        self.write_var(found, yes, span)?;
        self.join(absent);
        Ok(())
    }

    fn comm_of(&mut self, task: Value, offset: u32, to: Place, pad: bool) {
        let offset = offset as i32;
        let mut first = self.b.load(8, false, task, offset);
        let mut second = self.b.load(8, false, task, offset + 8);
        if pad {
            // Before Linux 5.17 a shorter name leaves the rest of a longer one behind it.
            let (low, bits) = self.up_to_nul(first);
            first = low;
            // All ones where the first word has no NUL.
            let places = self.b.constant(63);
            let goes_on = self.b.binary(BinOp::AShr, bits, places);
            let (low, _) = self.up_to_nul(second);
            second = self.b.binary(BinOp::And, low, goes_on);
        }
        self.store(to, 8, first);
        self.store(to.at(8), 8, second);
    }

    /// Clears what follows the first NUL of a word. The second number is negative where there is
    /// none, else not.
    fn up_to_nul(&mut self, word: Value) -> (Value, Value) {
        let (lowest, highest) = (self.b.constant(LOWEST), self.b.constant(HIGHEST));
        let (zero, one) = (self.b.constant(0), self.b.constant(1));
        let ones = self.b.constant(-1);
        let seven = self.b.constant(7);
        // The highest bit of the first byte that is zero; bits above it may be set as well.
        let less = self.b.binary(BinOp::Sub, word, lowest);
        let not = self.b.binary(BinOp::Xor, word, ones);
        let zeros = self.b.binary(BinOp::And, less, not);
        let zeros = self.b.binary(BinOp::And, zeros, highest);
        let negated = self.b.binary(BinOp::Sub, zero, zeros);
        let first = self.b.binary(BinOp::And, zeros, negated);
        let below = self.b.binary(BinOp::Sub, first, one);
        let place = self.b.binary(BinOp::LShr, first, seven);
        let mask = self.b.binary(BinOp::Sub, place, one);
        let word = self.b.binary(BinOp::And, word, mask);
        (word, below)
    }
}
