//! The intermediate representation: a control-flow graph in SSA form with block parameters.
//!
//! Two classes of values: 64-bit integers, and pointers whose provenance ([`Pointer`]) is part
//! of the type, because the kernel's verifier tracks it too. Pointers of different provenance
//! never meet in a block parameter. Aggregates are never values: they live in [`Slot`]s, map
//! values, event records or the context, and are reached through pointers. Narrow integers are
//! held extended to 64 bits; narrowing is an explicit [`Op::Extend`].

mod arith;
mod bounded;
mod builder;
pub mod effect;
mod flow;
pub mod kfunc;
mod operands;
mod pass;
pub mod text;
mod verify;

pub(crate) use arith::{byte_swap, extend};
pub(crate) use bounded::bounded;
pub use builder::{Builder, Variable};
pub(crate) use flow::reverse_postorder;
pub use pass::{optimize, run_pass};
pub use verify::{IrError, IrErrorKind, verify};

use kscope_spec::{LateId, MapId};

pub use crate::hir::LayoutId;

use crate::diagnostic::Span;

/// A function: one eBPF program, or a callback that a helper calls for each round of a loop.
#[derive(Clone, Debug, PartialEq)]
pub struct Function {
    /// Name of the program.
    pub name: String,
    /// Blocks; the first is the entry and has no parameters.
    pub blocks: Vec<BlockData>,
    /// Types of values.
    pub values: Vec<Ty>,
    /// Memory that lives for one run.
    pub slots: Vec<Slot>,
    /// Types of what a helper gives the function; none for a program, which has its context.
    pub arguments: Vec<Ty>,
    /// Functions that the code gives to helpers ([`Op::Callback`]).
    pub callbacks: Vec<Function>,
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u32);

        impl $name {
            /// Gives the index.
            #[must_use]
            pub fn index(self) -> usize {
                self.0 as usize
            }
        }
    };
}

id!(
    /// A value, defined once.
    Value
);
id!(
    /// A block.
    Block
);
id!(
    /// A slot.
    SlotId
);

/// Memory that lives for one run of the program. Not zeroed by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Size in bytes.
    pub size: u32,
    /// Alignment in bytes: 1, 2, 4 or 8.
    pub align: u32,
}

/// Type of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ty {
    /// A 64-bit integer; also kernel and user addresses, which the verifier takes for numbers.
    I64,
    /// A pointer that may be dereferenced.
    Ptr(Pointer),
}

/// Provenance of a pointer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Pointer {
    /// The program's context.
    Ctx,
    /// A slot of the function.
    Slot(SlotId),
    /// The map itself, as helpers want it.
    Map(MapId),
    /// A value of the map.
    MapValue(MapId),
    /// What a lookup gives: a value or null; only [`Terminator::BranchNull`] may look at it.
    MapValueOrNull(MapId),
    /// A reserved record of the ring buffer, of this size.
    Record(u32),
    /// What a reservation gives.
    RecordOrNull(u32),
    /// The running thread's `struct task_struct`; only whole members are read.
    Task,
    /// What a kernel function gives: a thread or null.
    TaskOrNull,
    /// An object of the kernel whose type the verifier knows, for helpers.
    Object,
    /// Such an object, or null.
    ObjectOrNull,
    /// The running thread's `struct cred`; only whole members are read.
    Cred,
    /// In a callback: the key of the map that the round is for.
    MapKey(MapId),
    /// In a callback: what the caller gave with the call, a slot of this size on the caller's
    /// stack. Only here and in such a slot may pointers be kept in memory.
    Captured(u32),
    /// In a callback: memory of this size of a function around it.
    Outer(u32),
    /// A callback, as helpers want it.
    Callback(u32),
}

/// A straight run of instructions.
#[derive(Clone, Debug, PartialEq)]
pub struct BlockData {
    /// Parameters, given by every jump here.
    pub params: Vec<Value>,
    /// Instructions in order.
    pub insts: Vec<Inst>,
    /// How it ends.
    pub end: Terminator,
    /// Source position of the end.
    pub span: Span,
}

/// A number that the target's types tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Layout {
    /// What is asked.
    pub id: LayoutId,
    /// The answer for the types compiled against, as it stands in the instruction.
    pub value: i64,
}

/// An instruction.
#[derive(Clone, Debug, PartialEq)]
pub struct Inst {
    /// The value it defines.
    pub result: Option<Value>,
    /// What it does.
    pub op: Op,
    /// Where in the script it comes from.
    pub span: Span,
}

/// What an instruction does.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    /// A constant.
    Const(i64),
    /// A constant that the loader fills in.
    Late(LateId),
    /// A constant that the target's types tell.
    Layout(Layout),
    /// The context.
    Ctx,
    /// What a helper gives a callback, by position.
    Argument(u8),
    /// One of the function's callbacks as an argument of helpers.
    Callback(u32),
    /// The address of a slot.
    SlotAddr(SlotId),
    /// A map as an argument of helpers.
    MapRef(MapId),
    /// The address of byte `offset` of entry 0 of an array map (not of per-CPU maps).
    MapValueAddr {
        /// The map.
        map: MapId,
        /// Offset in bytes.
        offset: u32,
    },
    /// A pointer plus a constant or variable number of bytes. A variable one is unsigned and at
    /// most `bound`, which a check or mask before it must have made true for the verifier.
    PtrAdd {
        /// The pointer: slot, map value, record, or (constant offsets only) context.
        base: Value,
        /// The number of bytes.
        offset: Value,
        /// Upper bound, inclusive.
        bound: u32,
    },
    /// The pointer behind a maybe-null one, on the path where it is not null.
    NonNull(Value),
    /// A pointer's bits as a number (slot, map value, context), for helpers' addresses and printing.
    PtrToInt(Value),
    /// Arithmetic on 64 bits.
    Binary(BinOp, Value, Value),
    /// 1 if the comparison holds, else 0.
    Compare(Cond, Value, Value),
    /// The low `bytes` bytes, sign- or zero-extended.
    Extend {
        /// 1, 2 or 4.
        bytes: u8,
        /// Sign-extended if set.
        signed: bool,
        /// The operand.
        value: Value,
    },
    /// The low `bytes` bytes in reverse order, zero-extended.
    ByteSwap {
        /// 2, 4 or 8.
        bytes: u8,
        /// The operand.
        value: Value,
    },
    /// Reads memory. What [`Pointer::Captured`] leads to may be a pointer.
    Load {
        /// 1, 2, 4 or 8.
        bytes: u8,
        /// Sign-extended if set.
        signed: bool,
        /// Any pointer but maps and maybe-null ones.
        base: Value,
        /// Offset in bytes.
        offset: i32,
    },
    /// Reads the context at an offset that the target's types tell.
    LoadAt {
        /// 1, 2, 4 or 8.
        bytes: u8,
        /// Sign-extended if set.
        signed: bool,
        /// The context.
        base: Value,
        /// Offset in bytes.
        offset: Layout,
    },
    /// Writes memory.
    Store {
        /// 1, 2, 4 or 8.
        bytes: u8,
        /// Slot, map value or record.
        base: Value,
        /// Offset in bytes.
        offset: i32,
        /// The value; its low bytes are written. A pointer is written to slots alone, which
        /// callbacks are given.
        value: Value,
    },
    /// Changes memory atomically.
    ///
    /// # Minimum kernel version
    /// 5.12 for all but additions
    Atomic {
        /// How.
        op: AtomicOp,
        /// 4 or 8.
        bytes: u8,
        /// Map value or record.
        base: Value,
        /// Offset in bytes.
        offset: i32,
        /// What is added, or the other operand.
        value: Value,
    },
    /// Adds to eight bytes of memory atomically and gives what was there before.
    ///
    /// # Minimum kernel version
    /// 5.12
    AtomicFetchAdd {
        /// Map value or record.
        base: Value,
        /// Offset in bytes.
        offset: i32,
        /// What is added.
        value: Value,
    },
    /// Writes zeros.
    Zero {
        /// Slot, map value or record.
        base: Value,
        /// Offset in bytes.
        offset: i32,
        /// How many bytes.
        len: u32,
    },
    /// Copies bytes between places that do not overlap.
    Copy {
        /// To: slot, map value or record.
        to: Value,
        /// Offset in bytes.
        to_offset: i32,
        /// From: any pointer but maps and maybe-null ones.
        from: Value,
        /// Offset in bytes.
        from_offset: i32,
        /// How many bytes.
        len: u32,
    },
    /// Calls a helper with up to five arguments.
    Call {
        /// Its number (`enum bpf_func_id`).
        helper: u32,
        /// Arguments.
        args: Vec<Value>,
    },
}

/// Arithmetic. Division by zero gives 0, the remainder of it the dividend, as eBPF has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names say it")]
pub enum BinOp {
    Add,
    Sub,
    Mul,
    UDiv,
    URem,
    SDiv,
    SRem,
    And,
    Or,
    Xor,
    /// The count is taken modulo 64.
    Shl,
    /// Zeros come in; the count is taken modulo 64.
    LShr,
    /// The sign comes in; the count is taken modulo 64.
    AShr,
}

/// What is done to memory atomically.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names say it")]
pub enum AtomicOp {
    Add,
    And,
    Or,
    Xor,
}

impl AtomicOp {
    /// All of them.
    pub const ALL: [AtomicOp; 4] = [AtomicOp::Add, AtomicOp::And, AtomicOp::Or, AtomicOp::Xor];

    /// Gives the name in texts.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            AtomicOp::Add => "add",
            AtomicOp::And => "and",
            AtomicOp::Or => "or",
            AtomicOp::Xor => "xor",
        }
    }

    /// Gives what is in memory afterwards.
    #[must_use]
    pub fn apply(self, before: u64, operand: u64) -> u64 {
        match self {
            AtomicOp::Add => before.wrapping_add(operand),
            AtomicOp::And => before & operand,
            AtomicOp::Or => before | operand,
            AtomicOp::Xor => before ^ operand,
        }
    }
}

/// Conditions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Cond {
    Eq,
    Ne,
    Ult,
    Ule,
    Ugt,
    Uge,
    Slt,
    Sle,
    Sgt,
    Sge,
}

/// Where a jump goes, and what it gives the parameters there.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// The block.
    pub block: Block,
    /// A value for each parameter.
    pub args: Vec<Value>,
}

/// How a block ends.
#[derive(Clone, Debug, PartialEq)]
pub enum Terminator {
    /// Goes on elsewhere.
    Jump(Target),
    /// Compares two integers.
    Branch {
        /// How.
        cond: Cond,
        /// Left.
        left: Value,
        /// Right.
        right: Value,
        /// If it holds.
        then: Target,
        /// If not.
        otherwise: Target,
    },
    /// Looks whether a maybe-null pointer is null.
    BranchNull {
        /// The pointer.
        pointer: Value,
        /// If null.
        null: Target,
        /// If not; uses [`Op::NonNull`] there.
        present: Target,
    },
    /// Ends the program with this result.
    Return(Value),
}

impl Terminator {
    /// Gives the targets in order.
    pub fn targets(&self) -> impl Iterator<Item = &Target> {
        let (a, b) = match self {
            Terminator::Jump(t) => (Some(t), None),
            Terminator::Branch {
                then, otherwise, ..
            } => (Some(then), Some(otherwise)),
            Terminator::BranchNull { null, present, .. } => (Some(null), Some(present)),
            Terminator::Return(_) => (None, None),
        };
        a.into_iter().chain(b)
    }

    /// Gives the targets in order, to change them.
    pub fn targets_mut(&mut self) -> impl Iterator<Item = &mut Target> {
        let (a, b) = match self {
            Terminator::Jump(t) => (Some(t), None),
            Terminator::Branch {
                then, otherwise, ..
            } => (Some(then), Some(otherwise)),
            Terminator::BranchNull { null, present, .. } => (Some(null), Some(present)),
            Terminator::Return(_) => (None, None),
        };
        a.into_iter().chain(b)
    }
}
