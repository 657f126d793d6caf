//! Types as the checked program sees them.

use std::sync::Arc;

use kscope_rows::{Bits, NameTable, StackMode};

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
    /// The arguments of a program: two `u32` numbers, of their bytes and of those that are here,
    /// and `capacity` bytes.
    Arguments {
        /// Most bytes of the arguments.
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
