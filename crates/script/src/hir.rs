//! The checked program: every name resolved, every type and layout known, no sugar left.
//!
//! `types` makes it from the syntax tree, `lower` turns it into [`crate::ir`]. Two classes of
//! types: scalars ([`Type::is_scalar`]) are evaluated to one 64-bit value that is always held
//! sign- or zero-extended from its own width; all others are evaluated into memory.

mod layout;
mod task;
mod walk;

use std::sync::Arc;

use kscope_rows::{Bits, MapValueType, NameTable, StackMode};
use kscope_spec::LateId;

use crate::diagnostic::Span;
use crate::plan::{Config, OptionDecl, ProbePlan, Site, SiteId};

pub use layout::{BitLayout, Layout, LayoutId};
pub use task::{CredLayout, TaskLayout};

/// A checked program.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Program {
    /// Configuration after script and environment are merged.
    pub config: Config,
    /// Options declared by `getopt`.
    pub options: Vec<OptionDecl>,
    /// Maps of the script.
    pub maps: Vec<Map>,
    /// Output sites, indexed by [`SiteId`].
    pub sites: Vec<Site>,
    /// Late values used, indexed by [`LateId`].
    pub late: Vec<kscope_spec::LateValue>,
    /// One per eBPF program, in the order they run where order matters (`begin`, `end`).
    pub probes: Vec<Probe>,
    /// What may be read of the running thread without a helper, where the script asks for any of it.
    pub task: Option<TaskLayout>,
    /// Whether code may add to memory and get what was there before, where the script asks for it.
    pub fetches: bool,
    /// Whether the kernel has a helper that runs loops over ranges.
    pub loops: bool,
    /// What portable code asks of the target's types, indexed by [`LayoutId`].
    pub layouts: Vec<Layout>,
}

/// Index of a map in [`Program::maps`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MapRef(pub u32);

/// Index of a variable in [`Probe::vars`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VarId(pub u32);

/// A map of the script.
#[derive(Clone, Debug, PartialEq)]
pub struct Map {
    /// Name without `@`; empty for the anonymous map.
    pub name: String,
    /// Type of the key, or none for a scalar map.
    pub key: Option<Type>,
    /// What its values are.
    pub value: MapValueType,
    /// Type of a plain value as expressions see it; the integer it reads as for aggregations.
    pub value_type: Type,
    /// Declared kind.
    pub kind: MapKind,
    /// Number of entries.
    pub max_entries: u32,
    /// Whether that is what the script says.
    pub sized: bool,
}

/// Kinds of keyed maps that a script can ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[allow(missing_docs, reason = "the names are the kernel's")]
pub enum MapKind {
    #[default]
    Hash,
    LruHash,
    PerCpuHash,
    PerCpuLruHash,
}

/// One eBPF program of the script.
#[derive(Clone, Debug, PartialEq)]
pub struct Probe {
    /// What kind of context it runs in.
    pub context: Context,
    /// Where it is attached, for the plan.
    pub plan: ProbePlan,
    /// Whether all its tracepoints are there as raw ones by the same names.
    pub has_raw: bool,
    /// Its variables.
    pub vars: Vec<Var>,
    /// Its statements, predicate included.
    pub body: Vec<Stmt>,
    /// The probe in the script.
    pub span: Span,
}

/// The context a program gets, which decides how `argN`, `retval` and `args` are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Context {
    /// `begin` and `end`: a raw tracepoint program run on demand; no arguments.
    Test,
    /// `struct pt_regs` at entry: `argN`.
    KprobeEntry,
    /// `struct pt_regs` at return: `retval`.
    KprobeReturn,
    /// A tracepoint's record.
    Tracepoint,
    /// An array of `u64` arguments.
    RawTracepoint,
    /// `struct bpf_perf_event_data`.
    PerfEvent,
    /// The arguments, and at its exit the result, of a kernel function, in eight bytes each.
    Function,
    /// `struct bpf_iter__…`: pointers to the objects of one step, null at the end.
    Iterator,
    /// `struct pt_regs` of a process at a place of its code: `argN`.
    UprobeEntry,
    /// `struct pt_regs` of a process at the return of a function: `retval`.
    UprobeReturn,
    /// `struct pt_regs` of a process at a USDT probe, which says where its arguments are.
    Usdt,
}

impl Context {
    /// Says whether numbers without a type are addresses of the process, not of the kernel.
    #[must_use]
    pub fn is_user(self) -> bool {
        matches!(
            self,
            Context::UprobeEntry | Context::UprobeReturn | Context::Usdt
        )
    }
}

/// A variable.
#[derive(Clone, Debug, PartialEq)]
pub struct Var {
    /// Name without `$`.
    pub name: String,
    /// Its type for the whole of its life.
    pub ty: Type,
}

/// A type as the program sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Type {
    /// No value.
    Void,
    /// `true` or `false`, one byte in memory.
    Bool,
    /// An integer.
    Int(Int),
    /// A C enumeration.
    Enum(Arc<EnumType>),
    /// An address.
    Pointer {
        /// What it points to.
        to: Arc<Type>,
        /// Which memory it is an address of.
        space: Space,
    },
    /// A C structure or union.
    Struct(Arc<StructType>),
    /// A C array.
    Array {
        /// Type of an element.
        element: Arc<Type>,
        /// Number of elements.
        len: u32,
    },
    /// A string of at most `capacity` bytes, NUL-padded to the end.
    Str {
        /// Size in bytes, the NUL included.
        capacity: u32,
    },
    /// A `u32` length and `capacity` bytes.
    Buffer {
        /// Most bytes of data.
        capacity: u32,
    },
    /// A tuple; fields are named by position.
    Tuple(Arc<[FieldType]>),
    /// A record.
    Record(Arc<[FieldType]>),
    /// An `i64` id in the stack-trace map.
    KernelStack {
        /// How it prints.
        mode: StackMode,
        /// Most frames.
        limit: u32,
    },
    /// An `i64` id in the stack-trace map and the `u32` id of the process, laid out as a tuple.
    UserStack {
        /// How it prints.
        mode: StackMode,
        /// Most frames.
        limit: u32,
    },
    /// A kernel address that prints as a symbol.
    KernelSymbol,
    /// An address of a process and the `u32` id of that, laid out as a tuple, that print as a
    /// symbol.
    UserSymbol,
    /// Nanoseconds since boot that print as wall-clock time.
    Timestamp {
        /// `strftime` format.
        format: Arc<str>,
    },
    /// A user id that prints as a name.
    UserName,
    /// Process, directory descriptor and path, laid out as a tuple, that print as a path from
    /// the root.
    FullPath(Arc<[FieldType]>),
    /// An `i32` that prints as a name.
    Named(NameTable),
    /// A `u32` family and 16 bytes that begin with an address (memory).
    InternetAddress,
    /// Six bytes (memory).
    EthernetAddress,
    /// The id of a cgroup that prints as its paths.
    CgroupPath {
        /// Pattern of the hierarchies' names; empty for all.
        filter: Arc<str>,
    },
}

/// An integer type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Int {
    /// 1, 2, 4 or 8.
    pub bytes: u8,
    /// Two's complement if set.
    pub signed: bool,
}

/// A C enumeration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnumType {
    /// Name without `enum`.
    pub name: Arc<str>,
    /// How it is stored.
    pub int: Int,
    /// Enumerators.
    pub variants: Arc<[(i64, String)]>,
}

/// A C structure or union.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StructType {
    /// Name with its keyword: `struct file`.
    pub name: Arc<str>,
    /// Size in bytes.
    pub size: u32,
    /// Where its members are found.
    pub source: StructSource,
}

/// Where the members of a structure are described.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StructSource {
    /// In the BTF given to the compiler.
    Btf(kscope_btf::TypeId),
    /// In the script or in a tracepoint's format.
    Fields(Arc<[FieldType]>),
}

/// A named part with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldType {
    /// Name; the position as a decimal number in tuples.
    pub name: String,
    /// Type.
    pub ty: Type,
    /// Offset in bytes.
    pub offset: u32,
    /// Set for a bit-field.
    pub bits: Option<Bits>,
}

/// Which memory a pointer is an address of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Space {
    /// Kernel memory: read by `bpf_probe_read_kernel`.
    Kernel,
    /// The current process's memory: read by `bpf_probe_read_user`.
    User,
}

/// A statement.
#[derive(Clone, Debug, PartialEq)]
pub struct Stmt {
    /// What it is.
    pub kind: StmtKind,
    /// Where it stands.
    pub span: Span,
}

/// Kinds of statements.
#[derive(Clone, Debug, PartialEq)]
pub enum StmtKind {
    /// An expression for its effect.
    Expr(Expr),
    /// `$v = value`; both have the variable's type.
    SetVar(VarId, Expr),
    /// `@m = value`, `@m[key] = value`; of the map's types.
    SetMap {
        /// The map.
        map: MapRef,
        /// The key of a keyed map.
        key: Option<Expr>,
        /// The value.
        value: Expr,
    },
    /// `@m[key] = count()` and the like.
    Update {
        /// The map.
        map: MapRef,
        /// The key of a keyed map.
        key: Option<Expr>,
        /// What is added; none for `count()`.
        value: Option<Expr>,
        /// Nanoseconds since 1970, for `tseries()`.
        now: Option<Expr>,
        /// Where the function is called.
        call: Span,
    },
    /// Sends an event to user space: `printf`, `print`, `time`, `clear`, `exit`, …
    Emit {
        /// The site; its fields say where each argument goes.
        site: SiteId,
        /// The arguments, in the order of the site's fields and of their types.
        args: Vec<Expr>,
    },
    /// `if`.
    If {
        /// A scalar; not zero is true.
        condition: Expr,
        /// Then.
        then: Vec<Stmt>,
        /// Else.
        otherwise: Vec<Stmt>,
    },
    /// A loop over `start..end` (both evaluated once) with at most `limit` rounds.
    ForRange {
        /// The loop variable, of type `int64`.
        var: VarId,
        /// First value.
        start: Expr,
        /// End, exclusive.
        end: Expr,
        /// The body.
        body: Vec<Stmt>,
    },
    /// A loop over the entries of a map.
    ForMap {
        /// The loop variable, a tuple of key and value.
        var: VarId,
        /// The map, which has keys.
        map: MapRef,
        /// The body.
        body: Vec<Stmt>,
    },
    /// Repeats the body a fixed number of times (`unroll`).
    Repeat {
        /// How often, 1 to 100.
        count: u32,
        /// The body.
        body: Vec<Stmt>,
    },
    /// A loop bounded by the verifier.
    While {
        /// The condition.
        condition: Expr,
        /// The body.
        body: Vec<Stmt>,
    },
    /// Leaves the innermost loop.
    Break,
    /// Starts the next round of the innermost loop.
    Continue,
    /// Leaves the probe.
    Return,
}

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
    /// A string option, by its index in [`Program::options`] (memory, `Str`).
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
