//! Expressions of the checked program.

use std::cmp::Ordering;
use std::sync::Arc;

use kscope_rows::{Bits, NameTable};
use kscope_spec::LateId;

use super::{BitLayout, Int, LayoutId, MapRef, Space, Stmt, Type, VarId};
use crate::diagnostic::Span;

/// An expression.
#[derive(Clone, Debug, PartialEq)]
pub struct Expr {
    /// What it is.
    pub kind: ExprKind,
    /// Its type.
    pub ty: Type,
    /// Where it stands.
    pub span: Span,
}

/// Kinds of expressions. "Scalar" and "memory" say which class of type each may have.
#[derive(Clone, Debug, PartialEq)]
pub enum ExprKind {
    /// A constant (scalar).
    Int(i64),
    /// A string literal (memory, `Str`); shorter than the capacity of its type.
    Str(Arc<[u8]>),
    /// A value of the current context.
    Builtin(Builtin),
    /// `argN` (scalar).
    Arg(u8),
    /// `retval` of a return probe (scalar).
    Retval,
    /// A number that the loader fills in, for example an option (scalar).
    Late(LateId),
    /// A number that the target's types tell (scalar).
    Layout(LayoutId),
    /// A string option, by its index in [`crate::hir::Program::options`] (memory, `Str`).
    OptionStr(u32),
    /// A variable.
    Var(VarId),
    /// The value of a map, zero where the key is absent. For aggregations, the merged number.
    MapGet {
        /// The map.
        map: MapRef,
        /// The key of a keyed map.
        key: Option<Box<Expr>>,
    },
    /// `has_key(@m, key)` (scalar).
    HasKey {
        /// The map.
        map: MapRef,
        /// The key.
        key: Box<Expr>,
    },
    /// `delete(@m, key)`, or without a key a scalar map set to zero; true where it was there.
    Delete {
        /// The map.
        map: MapRef,
        /// The key of a keyed map.
        key: Option<Box<Expr>>,
    },
    /// A scalar at a fixed place of the context (`args.x` of a tracepoint).
    CtxLoad {
        /// Offset in bytes.
        offset: u32,
        /// How it is stored there; the type of the expression is what it is used as.
        int: Int,
        /// Set for a bit-field.
        bits: Option<Bits>,
    },
    /// A scalar of the context, at a place that the target's types tell (scalar).
    CtxLoadAt {
        /// The place in bytes.
        layout: LayoutId,
        /// How it is stored there.
        int: Int,
    },
    /// Bytes at a fixed place of the context (memory: arrays, structures).
    CtxBytes {
        /// Offset in bytes.
        offset: u32,
    },
    /// The address of a place in the context plus the low 16 bits of the `u32` that stands at
    /// `offset` (`__data_loc`), readable as kernel memory (scalar, pointer).
    CtxDataLoc {
        /// Offset in bytes of the `u32`.
        offset: u32,
        /// Added to the result (`__rel_loc` counts from the end of the `u32`; else 0).
        relative: u32,
    },
    /// The context's own address (scalar, pointer).
    CtxAddress,
    /// A scalar read from memory: `*address`, `address->member`.
    Load {
        /// The address.
        address: Box<Expr>,
        /// How it is stored there.
        int: Int,
        /// Which memory.
        space: Space,
        /// Set for a bit-field.
        bits: Option<Bits>,
    },
    /// A bit-field read from memory, at a place that the target's types tell (scalar).
    LoadBits {
        /// The address of its storage unit.
        address: Box<Expr>,
        /// Which memory.
        space: Space,
        /// Where it is in there.
        bits: BitLayout,
        /// Whether it has a sign.
        signed: bool,
    },
    /// A structure or array read from memory; zero where it cannot be read (memory).
    ReadBytes {
        /// The address.
        address: Box<Expr>,
        /// Which memory.
        space: Space,
    },
    /// `str(address, len)` (memory, `Str`).
    ReadStr {
        /// The address.
        address: Box<Expr>,
        /// Which memory.
        space: Space,
        /// Most bytes with the NUL, where given; never more than the capacity of the type.
        len: Option<Box<Expr>>,
    },
    /// The strings of a list of pointers in the same memory, up to the first null; the element
    /// after the last that was read is empty, and those behind it are not written (memory,
    /// `Array` of `Str`).
    ReadStrings {
        /// The address of the list.
        list: Box<Expr>,
        /// Which memory.
        space: Space,
    },
    /// The name of a number, read from a table that goes with the program (memory, `Str`).
    NameOf {
        /// Which names.
        table: NameTable,
        /// The number.
        number: Box<Expr>,
    },
    /// A string that starts inside another memory value, cut at its NUL (memory, `Str`):
    /// `char comm[16]` used as a string.
    StrOfBytes(Box<Expr>),
    /// Arithmetic on operands that were cast to the type of the result (scalar).
    Binary {
        /// Which.
        op: Arithmetic,
        /// Left.
        left: Box<Expr>,
        /// Right.
        right: Box<Expr>,
    },
    /// `-e` (scalar).
    Neg(Box<Expr>),
    /// `~e` (scalar).
    BitNot(Box<Expr>),
    /// `!e` (scalar, bool).
    Not(Box<Expr>),
    /// A comparison of scalars (scalar, bool).
    Compare {
        /// Which.
        op: Comparison,
        /// Whether as signed 64-bit numbers.
        signed: bool,
        /// Left.
        left: Box<Expr>,
        /// Right.
        right: Box<Expr>,
    },
    /// Equality of two memory values (scalar, bool). Strings compare up to the NUL, at most `len` bytes;
    /// other types compare all `len` bytes.
    CompareBytes {
        /// True for `!=`.
        negated: bool,
        /// Number of bytes compared.
        len: u32,
        /// Left.
        left: Box<Expr>,
        /// Right.
        right: Box<Expr>,
    },
    /// Whether the string `haystack` contains `needle`; an empty needle is always contained (scalar, bool).
    StrContains {
        /// Where to look.
        haystack: Box<Expr>,
        /// What for.
        needle: Box<Expr>,
    },
    /// Whether the string starts with `prefix`; an empty one always (scalar, bool).
    StrPrefix {
        /// Where to look.
        string: Box<Expr>,
        /// What for.
        prefix: Box<Expr>,
    },
    /// `&&`, `||` with short circuit (scalar, bool).
    Logical {
        /// `&&` if set.
        and: bool,
        /// Left.
        left: Box<Expr>,
        /// Right.
        right: Box<Expr>,
    },
    /// `c ? a : b`, both of the type of the whole.
    Ternary {
        /// A scalar.
        condition: Box<Expr>,
        /// If true.
        then: Box<Expr>,
        /// If false.
        otherwise: Box<Expr>,
    },
    /// A scalar converted to the scalar type of this expression: truncated, then extended;
    /// to bool: not zero.
    Cast(Box<Expr>),
    /// A memory value used with a larger or smaller capacity (`Str` to `Str`, zero-padded or cut).
    Resize(Box<Expr>),
    /// A tuple or record, its parts in the order of the type's fields (memory).
    Fields(Vec<Expr>),
    /// A part of a memory value at a fixed offset.
    Field {
        /// The whole.
        base: Box<Expr>,
        /// Offset in bytes.
        offset: u32,
        /// Set for a bit-field.
        bits: Option<Bits>,
    },
    /// An element of an array in memory; an index out of bounds gives zero.
    Index {
        /// The array.
        base: Box<Expr>,
        /// The index.
        index: Box<Expr>,
    },
    /// `$v++` and the like (scalar).
    StepVar {
        /// The variable.
        var: VarId,
        /// Added; -1 for `--`.
        delta: i64,
        /// Whether the value is that before the step.
        postfix: bool,
    },
    /// `@m[key]++` and the like (scalar).
    StepMap {
        /// The map.
        map: MapRef,
        /// The key of a keyed map.
        key: Option<Box<Expr>>,
        /// Added; -1 for `--`.
        delta: i64,
        /// Whether the value is that before the step.
        postfix: bool,
    },
    /// `&$x`: the address of a variable, which is readable as kernel memory (scalar, pointer).
    VarAddress(VarId),
    /// `&@m`: the address of what the kernel keeps of a map (scalar, pointer).
    MapAddress(MapRef),
    /// `len(@m)`: the number of entries (scalar).
    MapLen(MapRef),
    /// The bytes of a number as an array (memory).
    Bytes(Box<Expr>),
    /// `kstack` (scalar, `KernelStack`).
    KernelStack,
    /// What a helper gives (scalar). A number is given as such, the context as a pointer, any
    /// other memory value by its address.
    Helper {
        /// Which.
        helper: kscope_spec::HelperId,
        /// At most five.
        args: Vec<Expr>,
    },
    /// At most `len` bytes read from memory (memory, `Buffer`).
    ReadBuffer {
        /// The address.
        address: Box<Expr>,
        /// Which memory.
        space: Space,
        /// How many bytes; never more than the capacity of the type.
        len: Box<Expr>,
    },
    /// The arguments of a program (memory, `Arguments`).
    ReadArguments {
        /// Where the first begins.
        address: Box<Expr>,
        /// Which memory.
        space: Space,
        /// How many bytes they all have, their NULs included.
        len: Box<Expr>,
        /// How many of them to read; never more than the capacity of the type.
        most: Box<Expr>,
    },
    /// At most `len` bytes of another memory value (memory, `Buffer`).
    BufferOf {
        /// The value.
        value: Box<Expr>,
        /// How many bytes; never more than the capacity of the type.
        len: Box<Expr>,
    },
    /// The number of bytes before the first NUL of a string (scalar).
    StrLen(Box<Expr>),
    /// Where the string `haystack` has `needle`, counted from 0; -2 where it has not (scalar).
    StrFind {
        /// Where to look.
        haystack: Box<Expr>,
        /// What for.
        needle: Box<Expr>,
    },
    /// Two strings in one (memory, `Str`).
    Concat(Box<Expr>, Box<Expr>),
    /// The difference of the first bytes that differ among `len`, or 0 (scalar).
    MemoryDifference {
        /// Number of bytes compared.
        len: u32,
        /// Left.
        left: Box<Expr>,
        /// Right.
        right: Box<Expr>,
    },
    /// A register as the context has it (scalar).
    Register {
        /// Offset in bytes in the context.
        offset: u32,
    },
    /// The id of the process's own stack in the stack-trace map (scalar, `int64`).
    UserStackId,
    /// The name of the process or thread of this id (memory, `Str` of 16): empty where there is none.
    CommOf {
        /// The id, in the initial pid namespace.
        pid: Box<Expr>,
        /// Set to whether there is one.
        found: VarId,
    },
    /// A pointer that a typed context holds, as the verifier knows it; an argument of helpers alone.
    ContextObject {
        /// Offset of the pointer in bytes.
        offset: u32,
        /// Bytes from what it points to.
        inside: u32,
    },
    /// The name of an open file (memory, `Str`): `bpf_d_path`.
    PathOf(Box<Expr>),
    /// Bytes swapped in the width of the type (scalar).
    ByteSwap(Box<Expr>),
    /// Statements, then a value.
    Block(Vec<Stmt>, Box<Expr>),
}

/// Values of the current context.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Builtin {
    /// Process (thread group) id in the tracer's pid namespace.
    Pid,
    /// Thread id in the tracer's pid namespace.
    Tid,
    /// Process (thread group) id in the initial pid namespace.
    InitialPid,
    /// Thread id in the initial pid namespace.
    InitialTid,
    /// User id.
    Uid,
    /// Group id.
    Gid,
    /// The thread's name (memory, `Str` of 16).
    Comm,
    /// Number of the CPU.
    Cpu,
    /// Nanoseconds since boot, time asleep included.
    NsecsBoot,
    /// Nanoseconds of the monotonic clock.
    NsecsMonotonic,
    /// Nanoseconds since the script started.
    Elapsed,
    /// Address of the current `struct task_struct`.
    CurrentTask,
    /// Id of the current cgroup (v2).
    CgroupId,
    /// A random `u32`.
    Random,
    /// Number of possible CPUs.
    CpuCount,
    /// The address of the probed function, as the registers tell it at its entry (kprobe).
    FunctionAddress,
    /// The address of the probed function, as a helper tells it.
    ///
    /// # Minimum kernel version
    /// 5.15 (`bpf_get_func_ip`)
    TracedFunction,
    /// The address of the probed instruction in the process (uprobe, usdt); of a function that
    /// returns, of its first (Linux 6.6).
    UserAddress,
}

impl Builtin {
    /// Says whether it is a member of the running thread's `struct task_struct`.
    pub(crate) fn is_of_task(self) -> bool {
        use Builtin::{Comm, Gid, InitialPid, InitialTid, Pid, Tid, Uid};
        matches!(self, Pid | Tid | InitialPid | InitialTid | Uid | Gid | Comm)
    }
}

/// Arithmetic operators; division and shift right follow the signedness of the type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Arithmetic {
    Add,
    Sub,
    Mul,
    Div,
    Mod,
    And,
    Or,
    Xor,
    Shl,
    Shr,
}

/// Comparisons.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Comparison {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
}

impl Comparison {
    /// Says whether it holds of two values in this order.
    pub(crate) fn holds(self, order: Ordering) -> bool {
        match self {
            Comparison::Eq => order.is_eq(),
            Comparison::Ne => order.is_ne(),
            Comparison::Lt => order.is_lt(),
            Comparison::Le => order.is_le(),
            Comparison::Gt => order.is_gt(),
            Comparison::Ge => order.is_ge(),
        }
    }
}
