//! Where the kernel keeps what is asked of the running thread.

use kscope_btf::{Btf, Field, Kind, Type, TypeId};

use crate::hir::{CredLayout, TaskLayout};

/// The helper that gives the running thread as a typed pointer (Linux 5.11).
const GIVES_TASK: &str = "BPF_FUNC_get_current_task_btf";

/// Finds what programs may read of `struct task_struct` without a helper; none where the kernel
/// gives no typed pointer to it, or where it looks other than known.
pub(super) fn layout(btf: &Btf) -> Option<TaskLayout> {
    let helpers = btf.find("bpf_func_id", Kind::Enum)?;
    let Some(Type::Enum(helpers)) = btf.get(helpers) else {
        return None;
    };
    if !helpers.enumerators().any(|e| e.name == GIVES_TASK) {
        return None;
    }
    let task = btf.find("task_struct", Kind::Struct)?;
    Some(TaskLayout {
        pid: number(btf, task, "pid")?,
        tgid: number(btf, task, "tgid")?,
        comm: name(btf, task)?,
        cred: cred(btf, task),
    })
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
