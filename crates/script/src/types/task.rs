//! Where the kernel keeps what is asked of the running thread, and what else its types say of
//! what programs may do.

use kscope_btf::{Btf, Field, Kind, Type, TypeId};

use crate::hir::{CredLayout, TaskLayout};

/// The helper that gives the running thread as a typed pointer (Linux 5.11).
const GIVES_TASK: &str = "BPF_FUNC_get_current_task_btf";

/// A helper of the release that brought atomic operations with a result, of which types say nothing.
const CAME_WITH_FETCH: &str = "BPF_FUNC_check_mtu";

/// Finds what programs may read of `struct task_struct` without a helper; none where the kernel
/// gives no typed pointer to it, or where it looks other than known.
pub(super) fn layout(btf: &Btf) -> Option<TaskLayout> {
    if !has_helper(btf, GIVES_TASK) {
        return None;
    }
    let task = btf.find_once("task_struct", Kind::Struct)?;
    Some(TaskLayout {
        pid: number(btf, task, "pid")?,
        tgid: number(btf, task, "tgid")?,
        comm: name(btf, task)?,
        cred: cred(btf, task),
    })
}

/// Says whether programs may add to memory and get what was there before (Linux 5.12).
pub(super) fn fetches(btf: &Btf) -> bool {
    has_helper(btf, CAME_WITH_FETCH)
}

/// Says whether the kernel has a helper that runs loops over ranges (Linux 5.17).
pub(super) fn loops(btf: &Btf) -> bool {
    has_helper(btf, "BPF_FUNC_loop")
}

/// Says whether the kernel has a helper that finds what another CPU has in a map (Linux 5.19).
pub(super) fn merges(btf: &Btf) -> bool {
    has_helper(btf, "BPF_FUNC_map_lookup_percpu_elem")
}

/// Says whether the kernel has a helper.
pub(super) fn has_helper(btf: &Btf, name: &str) -> bool {
    let helpers = btf.find_once("bpf_func_id", Kind::Enum);
    match helpers.and_then(|id| btf.get(id)) {
        Some(Type::Enum(helpers)) => helpers.enumerators().any(|e| e.name == name),
        _ => false,
    }
}

/// Gives the offset of a member of four bytes.
fn number(btf: &Btf, of: TypeId, member: &str) -> Option<u32> {
    let field = btf.member(of, member)?;
    (btf.size_of(field.type_id) == Some(4)).then(|| offset(&field))?
}

/// Gives the offset of the thread's name.
fn name(btf: &Btf, task: TypeId) -> Option<u32> {
    let field = btf.member(task, "comm")?;
    let Some(Type::Array(array)) = btf.get_resolved(field.type_id) else {
        return None;
    };
    let characters = btf.int_shape(array.element)?.size == 1 && array.len == 16;
    characters.then(|| offset(&field))?
}

fn cred(btf: &Btf, task: TypeId) -> Option<CredLayout> {
    let pointer = btf.member(task, "cred")?;
    let cred = btf.pointee(pointer.type_id)?;
    Some(CredLayout {
        pointer: offset(&pointer)?,
        uid: number(btf, cred, "uid")?,
        gid: number(btf, cred, "gid")?,
    })
}

fn offset(field: &Field) -> Option<u32> {
    field.bitfield.is_none().then(|| field.byte_offset())
}
