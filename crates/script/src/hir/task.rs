//! Where the kernel keeps what is asked of the running thread.

/// Offsets in bytes into the kernel's `struct task_struct`, of a kernel whose programs get a
/// typed pointer to it.
///
/// # Minimum kernel version
/// 5.11 (`bpf_get_current_task_btf`)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TaskLayout {
    /// Thread id, four bytes.
    pub pid: u32,
    /// Process id, four bytes.
    pub tgid: u32,
    /// The name, sixteen bytes.
    pub comm: u32,
    /// Its credentials, where they look as known.
    pub cred: Option<CredLayout>,
}

/// Where the credentials of a thread are: `struct cred`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CredLayout {
    /// Offset of the pointer to them in `struct task_struct`.
    pub pointer: u32,
    /// Offset of the user's id in them, four bytes.
    pub uid: u32,
    /// Offset of the group's id in them, four bytes.
    pub gid: u32,
}
