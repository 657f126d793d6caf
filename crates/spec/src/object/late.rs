//! Values of compiled scripts that only the target knows.

/// Index of a late value in [`crate::Spec::late`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LateId(pub u32);

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
    /// Address of a kernel symbol; 0 where there is none.
    KernelSymbolOrZero(String),
    /// Number of possible CPUs.
    CpuCount,
    /// `st_dev` of the loader's own pid namespace, as the kernel encodes it.
    PidNamespaceDev,
    /// Inode of the loader's own pid namespace; 0 where it is the initial one.
    PidNamespaceInode,
    /// Process id of the loader itself, in the initial pid namespace.
    OwnPid,
}
