//! Programs, and what is patched in them.

use kscope_btf::Kind;

use super::external::ExternId;
use super::kinds::{AttachType, ProgramType};
use super::late::LateId;
use super::map::MapId;
use crate::insn::Insn;

/// Index of a program in [`crate::Spec::programs`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProgramId(pub u32);

/// A program to be loaded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProgramSpec {
    /// Name; the kernel keeps the first 15 bytes of `[A-Za-z0-9_.]`.
    pub name: String,
    /// Program type.
    pub kind: ProgramType,
    /// What is given at load time beside the type.
    pub attach: AttachKind,
    /// Section of the object it came from, without the leading `?`, for example
    /// `tracepoint/sched/sched_switch`; empty for compiled scripts.
    pub section: String,
    /// Left out of a load unless it is asked for (`SEC("?…")`).
    pub optional: bool,
    /// Instructions before relocation, with all subprograms that they call.
    pub insns: Vec<Insn>,
    /// What the loader patches, in ascending order of instruction.
    pub relocs: Vec<Reloc>,
    /// What depends on the layout of the target's types, in ascending order of instruction.
    pub core: Vec<CoreReloc>,
    /// Source positions, ascending by instruction; never on the second slot of `ld_imm64`.
    pub lines: Vec<LineInfo>,
    /// Subprograms, ascending; the first is the program itself at instruction 0.
    pub funcs: Vec<FuncInfo>,
    /// `BPF_F_*` load flags.
    pub flags: u32,
    /// Why it cannot be loaded (an unknown section, a call of a function that is nowhere);
    /// whoever loads it is told this.
    pub refused: Option<String>,
    /// Whether it is refused only because it uses what another object has to define.
    pub unlinked: bool,
}

/// What a program's load needs to know of its attach point.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum AttachKind {
    /// Nothing at load time.
    #[default]
    None,
    /// The attach type alone.
    Expected(AttachType),
    /// `BPF_TRACE_RAW_TP`: typed arguments of tracepoint `name` (typedef `btf_trace_<name>`).
    RawTracepointBtf(String),
    /// `BPF_TRACE_FENTRY` on the kernel function.
    FunctionEntry(String),
    /// `BPF_TRACE_FEXIT` on the kernel function.
    FunctionExit(String),
    /// `BPF_TRACE_FSESSION`: entry and exit of the kernel function.
    FunctionSession(String),
    /// `BPF_MODIFY_RETURN` of the kernel function.
    ModifyReturn(String),
    /// `BPF_LSM_MAC`: the hook's function is `bpf_lsm_<name>`.
    Lsm(String),
    /// `BPF_LSM_CGROUP`: the same hooks, for the processes of a cgroup.
    LsmCgroup(String),
    /// `BPF_TRACE_ITER` over the target, for example `task` (function `bpf_iter_<target>`).
    Iterator(String),
    /// Takes the place of this function of a program that the caller of the loader names.
    Extension(String),
    /// A member of a table of functions.
    StructOps {
        /// The kernel's type.
        type_name: String,
        /// The member.
        member: String,
    },
}

impl AttachKind {
    /// Gives the kernel's `enum bpf_attach_type`; 0 where it is not looked at, or where it is the
    /// index of a member.
    #[must_use]
    pub fn attach_type(&self) -> u32 {
        let attach_type = match self {
            AttachKind::None | AttachKind::Extension(_) | AttachKind::StructOps { .. } => return 0,
            AttachKind::Expected(attach_type) => *attach_type,
            AttachKind::RawTracepointBtf(_) => AttachType::TraceRawTp,
            AttachKind::FunctionEntry(_) => AttachType::TraceFentry,
            AttachKind::FunctionExit(_) => AttachType::TraceFexit,
            AttachKind::FunctionSession(_) => AttachType::TraceFsession,
            AttachKind::ModifyReturn(_) => AttachType::ModifyReturn,
            AttachKind::Lsm(_) => AttachType::LsmMac,
            AttachKind::LsmCgroup(_) => AttachType::LsmCgroup,
            AttachKind::Iterator(_) => AttachType::TraceIter,
        };
        attach_type as u32
    }
}

/// A type of the kernel's that a program is attached to by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttachTarget<'a> {
    /// What it stands for, in words: `kernel function`, `LSM hook`.
    pub what: &'static str,
    /// The type's kind.
    pub kind: Kind,
    /// What the type's name begins with, before `name`.
    pub prefix: &'static str,
    /// The name as the section says it: perhaps empty, perhaps `module:name`.
    pub name: &'a str,
}

impl AttachKind {
    /// Gives the type that is looked for in the kernel's when the program is loaded; none where that
    /// is not found by a name alone.
    #[must_use]
    pub fn target(&self) -> Option<AttachTarget<'_>> {
        let (what, kind, prefix, name) = match self {
            AttachKind::FunctionEntry(name)
            | AttachKind::FunctionExit(name)
            | AttachKind::FunctionSession(name)
            | AttachKind::ModifyReturn(name) => ("kernel function", Kind::Func, "", name),
            AttachKind::Lsm(name) | AttachKind::LsmCgroup(name) => {
                ("LSM hook", Kind::Func, "bpf_lsm_", name)
            }
            AttachKind::Iterator(name) => ("BPF iterator", Kind::Func, "bpf_iter_", name),
            AttachKind::RawTracepointBtf(name) => {
                ("BTF-typed tracepoint", Kind::Typedef, "btf_trace_", name)
            }
            AttachKind::None
            | AttachKind::Expected(_)
            | AttachKind::Extension(_)
            | AttachKind::StructOps { .. } => return None,
        };
        Some(AttachTarget {
            what,
            kind,
            prefix,
            name,
        })
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
    /// `ld_imm64` becomes the address of an external symbol, 0 for a weak one that is nowhere;
    /// a `call` becomes the call of an external function.
    Extern(ExternId),
}

/// An instruction that depends on the layout of the target's types (CO-RE).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoreReloc {
    /// Slot index of the instruction.
    pub insn: u32,
    /// What is asked.
    pub kind: CoreKind,
    /// The local type it starts from, in [`crate::Spec::types`].
    pub type_id: u32,
    /// Members, array elements or the enumerator, from the outermost (`0:1:2` of the object).
    pub access: Vec<u32>,
}

/// What a CO-RE relocation asks. The number is the kernel's `enum bpf_core_relo_kind`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
#[allow(missing_docs, reason = "the names are the kernel's")]
pub enum CoreKind {
    FieldByteOffset = 0,
    FieldByteSize = 1,
    FieldExists = 2,
    FieldSigned = 3,
    FieldLeftShift = 4,
    FieldRightShift = 5,
    TypeIdLocal = 6,
    TypeIdTarget = 7,
    TypeExists = 8,
    TypeSize = 9,
    EnumValueExists = 10,
    EnumValue = 11,
    TypeMatches = 12,
}

impl CoreKind {
    /// Gives the kind with this number.
    #[must_use]
    pub fn from_number(number: u32) -> Option<CoreKind> {
        Some(match number {
            0 => CoreKind::FieldByteOffset,
            1 => CoreKind::FieldByteSize,
            2 => CoreKind::FieldExists,
            3 => CoreKind::FieldSigned,
            4 => CoreKind::FieldLeftShift,
            5 => CoreKind::FieldRightShift,
            6 => CoreKind::TypeIdLocal,
            7 => CoreKind::TypeIdTarget,
            8 => CoreKind::TypeExists,
            9 => CoreKind::TypeSize,
            10 => CoreKind::EnumValueExists,
            11 => CoreKind::EnumValue,
            12 => CoreKind::TypeMatches,
            _ => return None,
        })
    }
}

/// Source position of an instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineInfo {
    /// Slot index.
    pub insn: u32,
    /// Index into [`crate::Spec::files`].
    pub file: u32,
    /// Line, from 1.
    pub line: u32,
    /// Column in bytes, from 1.
    pub column: u32,
}

/// A function of a program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FuncInfo {
    /// Slot index where it starts.
    pub insn: u32,
    /// Name, a C identifier.
    pub name: String,
    /// Its `FUNC` in [`crate::Spec::types`]; 0 for none.
    pub type_id: u32,
}
