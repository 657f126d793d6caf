//! Maps.

use super::kinds::MapKind;
use super::program::ProgramId;

/// Index of a map in [`crate::Spec::maps`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MapId(pub u32);

/// A map to be created.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
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
    /// What some kinds take beside (`map_extra`): a bloom filter's hash functions, an arena's
    /// address.
    pub extra: u64,
    /// NUMA node, where flags ask for one.
    pub numa_node: u32,
    /// Whether it is shared by a pin.
    pub pinning: Pinning,
    /// Type of the key in [`crate::Spec::types`]; 0 for none.
    pub key_type: u32,
    /// Type of the value; 0 for none.
    pub value_type: u32,
    /// What the maps inside a map of maps look like.
    pub inner: Option<Box<MapSpec>>,
    /// Bytes written at offset 0 of entry 0 before load (arrays), or where an arena begins.
    pub initial: Option<Vec<u8>>,
    /// Descriptors written before load, for maps of maps and arrays of programs.
    pub slots: Vec<MapSlot>,
    /// What a [`MapKind::StructOps`] map holds.
    pub struct_ops: Option<StructOps>,
    /// Freeze after `initial` is written, so that the verifier sees constants.
    pub frozen: bool,
    /// Section of the object it came from, without a leading `?`; empty for other maps.
    pub section: String,
    /// Left out of a load unless it is asked for (`SEC("?.struct_ops")`).
    pub optional: bool,
    /// Why it cannot be created, where the object's description of it makes no sense here; whoever
    /// uses it is refused with this.
    pub refused: Option<String>,
}

/// Whether a map is shared by a pin in the BPF file system.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pinning {
    /// It is the object's own.
    #[default]
    None,
    /// The map pinned under its name is taken, or it is pinned there.
    ByName,
}

/// A descriptor in a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapSlot {
    /// Key, a `u32`.
    pub index: u32,
    /// What goes there.
    pub value: SlotValue,
}

/// What a [`MapSlot`] holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlotValue {
    /// A map, in a map of maps.
    Map(MapId),
    /// A program, in an array of programs.
    Program(ProgramId),
}

/// A table of functions for the kernel to call, as the object lays it out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StructOps {
    /// The kernel's type, for example `tcp_congestion_ops`.
    pub type_name: String,
    /// That type in the object.
    pub type_id: u32,
    /// The object's bytes of it.
    pub data: Vec<u8>,
    /// Members that programs stand for.
    pub programs: Vec<StructOpsMember>,
    /// Whether a link attaches it (`.struct_ops.link`).
    pub link: bool,
}

/// A member of a [`StructOps`] table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StructOpsMember {
    /// Its name.
    pub name: String,
    /// The program.
    pub program: ProgramId,
}

/// A global variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// Map of its section.
    pub map: MapId,
    /// Offset in bytes into that map's value.
    pub offset: u32,
    /// Size in bytes.
    pub size: u32,
    /// Type; 0 where the object has no BTF.
    pub type_id: u32,
}
