//! `Spec`: programs, maps and what only the target kernel can fill in, as plain data.

use crate::insn::Insn;

/// Index of a map in [`Spec::maps`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MapId(pub u32);

/// Index of a program in [`Spec::programs`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProgramId(pub u32);

/// Index of a late value in [`Spec::late`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LateId(pub u32);

/// Everything the loader needs, and nothing of a kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spec {
    /// Maps, created in this order.
    pub maps: Vec<MapSpec>,
    /// Programs, each loaded on its own: one that fails takes no other with it.
    pub programs: Vec<ProgramSpec>,
    /// Values that only the target knows, filled in before load.
    pub late: Vec<LateValue>,
    /// Source texts that [`LineInfo`] refers to.
    pub files: Vec<SourceFile>,
    /// Licence string given to the kernel, for example `GPL`.
    pub license: String,
}

/// A source text, so that the verifier's log can quote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFile {
    /// Name as the user gave it.
    pub name: String,
    /// The whole text.
    pub text: String,
}

/// A map to be created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapSpec {
    /// Name; the kernel keeps the first 15 bytes of `[A-Za-z0-9_.]`.
    pub name: String,
    /// Map type.
    pub kind: MapKind,
    /// Key size in bytes.
    pub key_size: u32,
    /// Value size in bytes (of one CPU's value for the per-CPU kinds).
    pub value_size: u32,
    /// Number of entries; for [`MapKind::RingBuf`] its size in bytes; 0 in
    /// [`MapKind::PerfEventArray`] means one entry per possible CPU.
    pub max_entries: u32,
    /// `BPF_F_*` creation flags.
    pub flags: u32,
    /// Bytes written at offset 0 of entry 0 before load (array kinds only).
    pub initial: Option<Vec<u8>>,
    /// Freeze after `initial` is written, so that the verifier sees constants.
    pub frozen: bool,
}

/// Map types this project creates. The number is the kernel's `enum bpf_map_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
#[allow(missing_docs, reason = "the names are the kernel's")]
pub enum MapKind {
    Hash = 1,
    Array = 2,
    ProgArray = 3,
    PerfEventArray = 4,
    PerCpuHash = 5,
    PerCpuArray = 6,
    StackTrace = 7,
    LruHash = 9,
    LruPerCpuHash = 10,
    RingBuf = 27,
}

/// A program to be loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramSpec {
    /// Name; the kernel keeps the first 15 bytes of `[A-Za-z0-9_.]`.
    pub name: String,
    /// Program type.
    pub kind: ProgramType,
    /// What is given at load time beside the type.
    pub attach: AttachKind,
    /// Instructions before relocation.
    pub insns: Vec<Insn>,
    /// What the loader patches, in ascending order of instruction.
    pub relocs: Vec<Reloc>,
    /// Source positions, ascending by instruction; never on the second slot of `ld_imm64`.
    pub lines: Vec<LineInfo>,
    /// Subprograms, ascending; the first is the program itself at instruction 0.
    pub funcs: Vec<FuncInfo>,
    /// `BPF_F_*` load flags.
    pub flags: u32,
}

/// Program types this project loads. The number is the kernel's `enum bpf_prog_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
#[allow(missing_docs, reason = "the names are the kernel's")]
pub enum ProgramType {
    SocketFilter = 1,
    Kprobe = 2,
    Tracepoint = 5,
    Xdp = 6,
    PerfEvent = 7,
    RawTracepoint = 17,
    Tracing = 26,
    Syscall = 31,
}

/// What a program's load needs to know of its attach point.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum AttachKind {
    /// Nothing at load time.
    #[default]
    None,
    /// `BPF_TRACE_RAW_TP`: typed arguments of tracepoint `name` (typedef `btf_trace_<name>`).
    RawTracepointBtf(String),
    /// `BPF_TRACE_FENTRY` on the kernel function.
    FunctionEntry(String),
    /// `BPF_TRACE_FEXIT` on the kernel function.
    FunctionExit(String),
    /// `BPF_TRACE_ITER` over the target, for example `task` (function `bpf_iter_<target>`).
    Iterator(String),
    /// `BPF_TRACE_KPROBE_MULTI`.
    KprobeMulti,
    /// `BPF_TRACE_KPROBE_SESSION`.
    KprobeSession,
    /// `BPF_TRACE_UPROBE_MULTI`.
    UprobeMulti,
}

impl AttachKind {
    /// Gives the kernel's `enum bpf_attach_type`; 0 where it is not looked at.
    #[must_use]
    pub fn attach_type(&self) -> u32 {
        match self {
            AttachKind::None => 0,
            AttachKind::RawTracepointBtf(_) => 23,
            AttachKind::FunctionEntry(_) => 24,
            AttachKind::FunctionExit(_) => 25,
            AttachKind::Iterator(_) => 28,
            AttachKind::KprobeMulti => 42,
            AttachKind::UprobeMulti => 48,
            AttachKind::KprobeSession => 56,
        }
    }
}

/// One instruction that the loader patches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reloc {
    /// Slot index of the instruction (the first slot of `ld_imm64`).
    pub insn: u32,
    /// What goes there.
    pub kind: RelocKind,
}

/// What a relocation stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RelocKind {
    /// `ld_imm64` becomes a reference to the map.
    Map(MapId),
    /// `ld_imm64` becomes the address of byte `offset` of the value of entry 0 of an array map.
    MapValue {
        /// The array map.
        map: MapId,
        /// Offset in bytes into the value.
        offset: u32,
    },
    /// `ld_imm64` becomes the 64-bit late value.
    Late(LateId),
    /// `ld_imm64` becomes the address of the subprogram that starts at this slot (a callback).
    Func(u32),
}

/// A value that only the target knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LateValue {
    /// Unique name, for example `opt.pid` or `pidns.ino`.
    pub name: String,
    /// What the value is.
    pub kind: LateKind,
}

/// Kinds of late values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LateKind {
    /// A 64-bit number supplied by the caller of the loader under the value's name.
    Number,
    /// Address of a kernel symbol.
    KernelSymbol(String),
    /// Number of possible CPUs.
    CpuCount,
    /// `st_dev` of the loader's own pid namespace, as the kernel encodes it.
    PidNamespaceDev,
    /// Inode of the loader's own pid namespace; 0 where it is the initial one.
    PidNamespaceInode,
    /// Process id of the loader itself, in the initial pid namespace.
    OwnPid,
}

/// Source position of an instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineInfo {
    /// Slot index.
    pub insn: u32,
    /// Index into [`Spec::files`].
    pub file: u32,
    /// Line, from 1.
    pub line: u32,
    /// Column in bytes, from 1.
    pub column: u32,
}

/// A function of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FuncInfo {
    /// Slot index where it starts.
    pub insn: u32,
    /// Name, a C identifier.
    pub name: String,
}
