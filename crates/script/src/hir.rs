//! The checked program: every name resolved, every type and layout known, no sugar left.
//!
//! `types` makes it from the syntax tree, `lower` turns it into [`crate::ir`]. Two classes of
//! types: scalars ([`Type::is_scalar`]) are evaluated to one 64-bit value that is always held
//! sign- or zero-extended from its own width; all others are evaluated into memory.

mod data_type;
mod expr;
mod layout;
mod reach;
mod task;
mod walk;

use kscope_rows::MapValueType;

use crate::diagnostic::Span;
use crate::plan::{Config, OptionDecl, ProbePlan, Site, SiteId};

pub use data_type::{EnumType, FieldType, Int, Space, StructSource, StructType, Type};
pub use expr::{Arithmetic, Builtin, Comparison, Expr, ExprKind};
pub use layout::{BitLayout, Layout, LayoutId};
pub use task::{CredLayout, TaskLayout};

/// Most rounds of a range whose bounds are not constant, where the kernel's helper for loops is not there
/// or, in an object, may not be: the verifier walks through each of them.
pub const OPEN_RANGE_LIMIT: u32 = 1024;

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
    /// Late values used, indexed by [`kscope_spec::LateId`].
    pub late: Vec<kscope_spec::LateValue>,
    /// One per eBPF program, in the order they run where order matters (`begin`, `end`).
    pub probes: Vec<Probe>,
    /// What may be read of the running thread without a helper, where the script asks for any of it.
    pub task: Option<TaskLayout>,
    /// Whether code may add to memory and get what was there before, where the script asks for it.
    pub fetches: bool,
    /// Whether reads of memory that fail are told.
    pub reads_checked: bool,
    /// Whether the kernel has a helper that runs loops over ranges.
    pub loops: bool,
    /// Whether no verifier sees the code, and thus none limits it: it is interpreted.
    pub interpreted: bool,
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
    /// The arguments that it reads by their types, where it is to run on other kernels as well.
    pub signature: Option<Signature>,
    /// Its variables.
    pub vars: Vec<Var>,
    /// The variable whose value it returns; none returns 0.
    pub result: Option<VarId>,
    /// Its statements, predicate included.
    pub body: Vec<Stmt>,
    /// The probe in the script.
    pub span: Span,
}

/// What a program takes the arguments of a kernel function or a raw tracepoint for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Signature {
    /// Names and types, up to the last that it reads.
    pub parameters: Vec<(String, Type)>,
    /// The type of the result, where it reads that; then the parameters are all there are.
    pub result: Option<Type>,
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
    /// `@m += value`, `@m[key] |= value` and the like of numbers in place, `-=` by what is added
    /// being negated.
    ChangeMap {
        /// An addition, or one of bits, which kernels before 5.12 do not have in place.
        op: Arithmetic,
        /// The map.
        map: MapRef,
        /// The key of a keyed map.
        key: Option<Expr>,
        /// What is added, or the other operand, of the type of the map's values.
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
