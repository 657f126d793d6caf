//! `Spec`: programs, maps and what only the target kernel can fill in, as plain data.

mod external;
mod kinds;
mod late;
mod map;
mod program;

pub use external::{ConfigType, Extern, ExternId, ExternKind};
pub use kinds::{AttachType, MapKind, ProgramType};
pub use late::{LateId, LateKind, LateValue};
pub use map::{MapId, MapSlot, MapSpec, Pinning, SlotValue, StructOps, StructOpsMember, Variable};
pub use program::{
    AttachKind, AttachTarget, CoreKind, CoreReloc, FuncInfo, LineInfo, ProgramId, ProgramSpec,
    Reloc, RelocKind,
};

use core::fmt;
use std::collections::BTreeMap;

/// Everything the loader needs, and nothing of a kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spec {
    /// Maps, created in this order.
    pub maps: Vec<MapSpec>,
    /// Programs, each loaded on its own: one that fails takes no other with it.
    pub programs: Vec<ProgramSpec>,
    /// Values that only the target knows, filled in before load.
    pub late: Vec<LateValue>,
    /// Symbols that the target defines: its functions, variables and build options.
    pub externs: Vec<Extern>,
    /// Global variables, in the data sections' maps.
    pub variables: Vec<Variable>,
    /// Source texts that [`LineInfo`] refers to.
    pub files: Vec<SourceFile>,
    /// Licence string given to the kernel, for example `GPL`.
    pub license: String,
    /// Kernel version of the `version` section; looked at by kernels before 5.0 alone.
    pub version: u32,
    /// Byte order of the instructions' target.
    pub byte_order: ByteOrder,
    /// The object's own types, as the bytes of a BTF blob; empty where there are none. All type
    /// ids in the spec are of this blob; 0 is none.
    pub types: Vec<u8>,
}

/// In which order a machine keeps the bytes of a number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ByteOrder {
    /// The lowest first (x86_64, aarch64, riscv64).
    #[default]
    Little,
    /// The highest first (s390x).
    Big,
}

impl ByteOrder {
    /// The order of the machine that this is compiled for.
    pub const HOST: ByteOrder = match cfg!(target_endian = "big") {
        true => ByteOrder::Big,
        false => ByteOrder::Little,
    };

    /// Gives what clang's `-target` calls machines of this order.
    #[must_use]
    pub fn clang_target(self) -> &'static str {
        match self {
            ByteOrder::Little => "bpfel",
            ByteOrder::Big => "bpfeb",
        }
    }
}

impl fmt::Display for ByteOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ByteOrder::Little => "little-endian",
            ByteOrder::Big => "big-endian",
        })
    }
}

/// A source text, so that the verifier's log can quote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFile {
    /// Name as the user gave it.
    pub name: String,
    /// What is known of its text.
    pub text: SourceText,
}

/// The lines of a source text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceText {
    /// The whole of it.
    Whole(String),
    /// Some lines by number, from 1, as an object's line information keeps them.
    Lines(BTreeMap<u32, String>),
}

impl SourceText {
    /// Gives a line, counted from 1, without its end. Of a whole text each call walks from the
    /// start: whoever wants many lines keeps an index.
    #[must_use]
    pub fn line(&self, number: u32) -> Option<&str> {
        match self {
            SourceText::Whole(text) => text.lines().nth((number as usize).checked_sub(1)?),
            SourceText::Lines(lines) => lines.get(&number).map(String::as_str),
        }
    }
}

impl Spec {
    /// Finds a program by name.
    #[must_use]
    pub fn program_named(&self, name: &str) -> Option<ProgramId> {
        let index = self
            .programs
            .iter()
            .position(|program| program.name == name)?;
        u32::try_from(index).ok().map(ProgramId)
    }

    /// Finds a map by name.
    #[must_use]
    pub fn map_named(&self, name: &str) -> Option<MapId> {
        let index = self.maps.iter().position(|map| map.name == name)?;
        u32::try_from(index).ok().map(MapId)
    }

    /// Finds a global variable by name.
    #[must_use]
    pub fn variable_named(&self, name: &str) -> Option<&Variable> {
        self.variables.iter().find(|variable| variable.name == name)
    }
}
