//! eBPF instructions and the kernel-independent description of programs and maps.
//!
//! A [`Spec`] is plain data: the compiler of kscope-script and the ELF reader ([`read`]) both
//! produce it, and only the loader of kscope-bpf meets a kernel with it. The same input gives
//! the same `Spec` on every machine.
//!
//! # Features
//!
//! Loading needs none of them: `insn` (instructions made and taken apart, helpers by name), `asm` and
//! `disasm` (instructions from text and to text), `check` (the verifier's rules that need no kernel),
//! `write` (a `Spec` as an object), `link` (several objects into one), `minimize` (BTF made minimal for
//! some objects), `legacy` (maps described without BTF), `sections` (sections of any ELF file found by
//! name), `struct_ops` (tables of functions for the kernel to call).

#[cfg(feature = "asm")]
pub mod asm;
#[cfg(feature = "check")]
pub mod check;
pub mod core;
#[cfg(feature = "disasm")]
pub mod disasm;
pub mod elf;
#[cfg(feature = "insn")]
pub mod helper;
pub mod insn;
#[cfg(feature = "link")]
pub mod link;
mod object;
#[doc(hidden)]
pub mod order;
pub mod read;
#[doc(hidden)]
pub mod say;
pub mod section;
mod table;
mod usdt;
#[cfg(feature = "write")]
pub mod write;

#[cfg(feature = "insn")]
pub use helper::HelperId;
pub use insn::{Insn, Reg};
pub use object::{
    AttachKind, AttachTarget, AttachType, ByteOrder, ConfigType, CoreKind, CoreReloc, Extern,
    ExternId, ExternKind, FuncInfo, LateId, LateKind, LateValue, LineInfo, MapId, MapKind, MapSlot,
    MapSpec, Pinning, ProgramId, ProgramSpec, ProgramType, Reloc, RelocKind, SlotValue, SourceFile,
    SourceText, Spec, StructOps, StructOpsMember, Variable,
};
pub use usdt::{UsdtArgument, UsdtArgumentPlace};
