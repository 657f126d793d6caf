//! The objects that `iter:` probes are run for, in the order in which the kernel gives them.

use kscope_btf::Btf;
use kscope_dump::{Kernel, Task};
use kscope_memory::{FieldAt, Memory, VirtAddr};

use crate::error::Error;

/// Most open files of a process: the kernel's own bound (`sysctl_nr_open_max`) is above, but what
/// memory says need not be true.
const FILES: u64 = 1 << 20;

/// How a walk ended.
#[derive(Debug, Default)]
pub(super) struct Walked {
    /// Why there may be more.
    pub(super) fault: Option<String>,
    /// Whether the caller wanted no more.
    pub(super) stopped: bool,
}

/// Takes the context of a program for one object; false where no more are wanted.
pub(super) type Take<'t> = &'t mut dyn FnMut(Vec<u8>) -> Result<bool, Error>;

/// Gives the objects of a kind one after the other, as contexts of programs
/// (`struct bpf_iter__KIND`).
pub(super) fn objects(kernel: &Kernel, kind: &str, take: Take<'_>) -> Result<Walked, Error> {
    let btf = kernel.btf().map_err(Error::Dump)?;
    let found = kernel.tasks().map_err(Error::Dump)?;
    let fault = found.fault.as_ref();
    let mut walked = Walked {
        fault: fault.map(|fault| format!("there may be more tasks: {fault}")),
        stopped: false,
    };
    // As the kernel gives them: by their numbers, which idle tasks have none of.
    let mut tasks: Vec<&Task> = found.items.iter().filter(|task| task.pid > 0).collect();
    tasks.sort_by_key(|task| task.pid);
    let context = Context::of(btf, kind)?;
    for task in tasks {
        let go_on = match kind {
            "task" => take(context.with(task, &[]))?,
            "task_file" => files(kernel, btf, task, &mut |fd, file| {
                take(context.with(task, &[("fd", u64::from(fd)), ("file", file.0)]))
            })?,
            _ => true,
        };
        if !go_on {
            walked.stopped = true;
            break;
        }
    }
    Ok(walked)
}

/// Where a context has what.
struct Context {
    size: usize,
    fields: Vec<(&'static str, usize)>,
}

impl Context {
    fn of(btf: &Btf, kind: &str) -> Result<Context, Error> {
        let name = format!("bpf_iter__{kind}");
        let failed = |error| Error::Dump(kscope_dump::Error::Object(error));
        let mut fields = Vec::new();
        let mut size = 0;
        for member in ["task", "fd", "file", "vma"] {
            match FieldAt::of(btf, &name, member) {
                Ok(field) => {
                    let offset = field.offset as usize;
                    size = size.max(offset + 8);
                    fields.push((member, offset));
                }
                Err(error) if member == "task" => return Err(failed(error)),
                Err(_) => {}
            }
        }
        Ok(Context { size, fields })
    }

    fn with(&self, task: &Task, others: &[(&str, u64)]) -> Vec<u8> {
        let mut bytes = vec![0; self.size];
        let task = ("task", task.addr.0);
        for (name, value) in std::iter::once(&task).chain(others) {
            let field = self.fields.iter().find(|(known, _)| known == name);
            if let Some((_, offset)) = field {
                if let Some(place) = bytes.get_mut(*offset..*offset + 8) {
                    place.copy_from_slice(&value.to_le_bytes());
                }
            }
        }
        bytes
    }
}

/// Gives the open files of a process, not again those of threads that share them.
fn files(
    kernel: &Kernel,
    btf: &Btf,
    task: &Task,
    take: &mut dyn FnMut(u32, VirtAddr) -> Result<bool, Error>,
) -> Result<bool, Error> {
    let walk = || -> Result<Option<(VirtAddr, u64)>, kscope_dump::Error> {
        let object = kernel.object("task_struct", task.addr)?;
        let files = object.member("files")?.pointer()?;
        let leader = object.member("group_leader")?.deref()?;
        let shared = leader.addr() != task.addr && leader.member("files")?.pointer()? == files;
        if shared || files.0 == 0 {
            return Ok(None);
        }
        let table = FieldAt::of(btf, "files_struct", "fdt")?;
        let table = kernel
            .object("files_struct", files)?
            .field(table)?
            .deref()?;
        let count = table.member("max_fds")?.value()?;
        Ok(Some((table.member("fd")?.pointer()?, count.min(FILES))))
    };
    // What cannot be read of one process is missing of it alone.
    let Ok(Some((table, count))) = walk() else {
        return Ok(true);
    };
    for fd in 0..count {
        let Some(Ok(file)) = table.checked_add(8 * fd).map(|at| kernel.read_u64(at)) else {
            break;
        };
        if file != 0 && !take(fd as u32, VirtAddr(file))? {
            return Ok(false);
        }
    }
    Ok(true)
}
