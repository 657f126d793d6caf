//! Symbols that an object uses and the target defines.

use super::map::MapId;

/// Index of an external symbol in [`crate::Spec::externs`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExternId(pub u32);

/// A symbol that the target defines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extern {
    /// Its name; for a build option with `CONFIG_`.
    pub name: String,
    /// Whether a program that uses it may load where it does not exist.
    pub weak: bool,
    /// What it is.
    pub kind: ExternKind,
}

/// What an external symbol is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExternKind {
    /// A variable of the kernel or a module, with its type in the object (`.ksyms`).
    Variable {
        /// The type that the object declares.
        type_id: u32,
    },
    /// An address of the kernel's symbol table (`.ksyms`, declared without a type).
    Address,
    /// A function of the kernel or a module that programs may call (`.ksyms`).
    Function {
        /// The `FUNC_PROTO` that the object declares.
        type_id: u32,
    },
    /// A build option or a fact of the kernel (`.kconfig`): the loader writes it into `map`. Its
    /// address is that of these bytes of the map's value.
    Config {
        /// The `.kconfig` map.
        map: MapId,
        /// Offset in bytes into its value.
        offset: u32,
        /// Size in bytes.
        size: u32,
        /// How it is written.
        config: ConfigType,
    },
    /// A function or variable of another object, which linking puts in its place: a program that
    /// uses it is refused until then.
    Undefined,
}

/// How a build option is written into memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigType {
    /// `bool`: 1 for y, 0 for n.
    Bool,
    /// `char` or an integer of 1 to 8 bytes; a `char` takes y, m and n as well.
    Integer {
        /// Whether it has a sign.
        signed: bool,
        /// Whether it is a `char`.
        character: bool,
    },
    /// `enum libbpf_tristate`: n 0, y 1, m 2.
    Tristate,
    /// `char[]`: text without its quotes, cut to fit, with a NUL.
    Text,
}
