//! The objects that `iter:` probes are run for, in the order in which the kernel gives them.

use std::fmt;

use kscope_btf::Btf;
use kscope_dump::{Kernel, Task};
use kscope_memory::{FieldAt, MapleLayout, Memory, Object, VirtAddr, WalkError};

use crate::error::Error;

/// Most open files of a process: the kernel's own bound (`sysctl_nr_open_max`) is above, but what
/// memory says need not be true.
const FILES: u64 = 1 << 20;
/// Most mappings of a process; `vm.max_map_count` is 65,530 unless somebody sets it.
const MAPPINGS: usize = 1 << 20;
/// Most bytes of a context and of what is made for it; the kernel's have a few hundred.
const LARGEST: usize = 64 << 10;

/// How a walk ended.
#[derive(Debug, Default)]
pub(super) struct Walked {
    /// Why there may be more.
    pub(super) fault: Option<String>,
    /// Whether the caller wanted no more.
    pub(super) stopped: bool,
}

impl Walked {
    /// Notes why some are missing, for the first that are.
    fn missing(&mut self, what: &str, why: &dyn fmt::Display) {
        self.fault
            .get_or_insert_with(|| format!("there may be more {what}: {why}"));
    }
}

/// What a program is given for one object.
pub(super) struct Given {
    /// Its context.
    pub(super) context: Vec<u8>,
    /// An object that is in no memory but made, and where in the context its address goes.
    pub(super) object: Option<(usize, Vec<u8>)>,
}

/// Takes what a program is given for one object; false where no more are wanted.
pub(super) type Take<'t> = &'t mut dyn FnMut(Given) -> Result<bool, Error>;

/// Gives the objects of a kind one after the other, as contexts of programs
/// (`struct bpf_iter__KIND`).
pub(super) fn objects(kernel: &Kernel, kind: &str, take: Take<'_>) -> Result<Walked, Error> {
    let btf = kernel.btf().map_err(Error::Dump)?;
    if kind == "ksym" {
        return symbols(kernel, btf, take);
    }
    let found = kernel.tasks().map_err(Error::Dump)?;
    let mut walked = Walked::default();
    if let Some(fault) = &found.fault {
        walked.missing("tasks", fault);
    }
    // As the kernel gives them: by their numbers, which idle tasks have none of.
    let mut tasks: Vec<&Task> = found.items.iter().filter(|task| task.pid > 0).collect();
    tasks.sort_by_key(|task| task.pid);
    let context = Context::of(btf, kind)?;
    for task in tasks {
        let go_on = match kind {
            "task" => take(context.with(task, &[]))?,
            "task_file" => files(kernel, btf, task, &mut walked, &mut |fd, file| {
                take(context.with(task, &[("fd", u64::from(fd)), ("file", file.0)]))
            })?,
            "task_vma" => {
                let mut found = Vec::new();
                if let Err(error) = mappings(kernel, btf, task, &mut found) {
                    walked.missing("mappings", &error);
                }
                let mut go_on = true;
                for vma in found {
                    go_on = go_on && take(context.with(task, &[("vma", vma)]))?;
                }
                go_on
            }
            _ => true,
        };
        if !go_on {
            walked.stopped = true;
            break;
        }
    }
    Ok(walked)
}

/// Gives the symbols of the kernel and its modules, each as a `struct kallsym_iter`.
fn symbols(kernel: &Kernel, btf: &Btf, take: Take<'_>) -> Result<Walked, Error> {
    let object = |error| Error::Dump(kscope_dump::Error::Object(error));
    let pointer = FieldAt::of(btf, "bpf_iter__ksym", "ksym").map_err(object)?;
    let pointer = pointer.offset as usize;
    let field = |member| {
        let field = FieldAt::of(btf, "kallsym_iter", member).map_err(object)?;
        let size = btf.size_of(field.type_id).unwrap_or(0);
        Ok::<_, Error>((field.offset as usize, size as usize))
    };
    let (value, kind) = (field("value")?, field("type")?);
    let (name, module) = (field("name")?, field("module_name")?);
    let shown = field("show_value")?;
    let ends = [value, kind, name, module, shown].map(|(at, size)| at.saturating_add(size));
    let size = ends.into_iter().max().unwrap_or(0);
    if size > LARGEST || pointer > LARGEST {
        let what =
            "what the kernel's types say of struct kallsym_iter, whose members end too far away,";
        let offset = size.max(pointer) as u64;
        return Err(Error::Dump(kscope_dump::Error::Malformed { what, offset }));
    }
    let all = kernel.symbols().map_err(Error::Dump)?.iter();
    for symbol in all.chain(kernel.module_symbols().iter()) {
        let mut bytes = vec![0; size];
        let mut put = |(offset, size): (usize, usize), with: &[u8]| {
            let len = with.len().min(size);
            if let Some(place) = bytes.get_mut(offset..offset + len) {
                place.copy_from_slice(&with[..len]);
            }
        };
        put(value, &symbol.address.0.to_le_bytes());
        put(kind, &[symbol.kind as u8]);
        // The last byte stays a NUL.
        put((name.0, name.1.saturating_sub(1)), symbol.name.as_bytes());
        let of = symbol.module.unwrap_or_default().as_bytes();
        put((module.0, module.1.saturating_sub(1)), of);
        put(shown, &1u32.to_le_bytes());
        let given = Given {
            context: vec![0; pointer + 8],
            object: Some((pointer, bytes)),
        };
        if !take(given)? {
            return Ok(Walked {
                fault: None,
                stopped: true,
            });
        }
    }
    Ok(Walked::default())
}

/// Finds the mappings of a process, not again those of threads, in the order of their addresses.
fn mappings(
    kernel: &Kernel,
    btf: &Btf,
    task: &Task,
    found: &mut Vec<u64>,
) -> Result<(), kscope_dump::Error> {
    let object = kernel.object("task_struct", task.addr)?;
    if shares_files(&object)? {
        return Ok(());
    }
    let mm = object.member("mm")?.pointer()?;
    if mm.0 == 0 {
        return Ok(());
    }
    // Since Linux 6.1 they are in a tree.
    if let Ok(tree) = FieldAt::of(btf, "mm_struct", "mm_mt") {
        let tree = VirtAddr(mm.0.wrapping_add(tree.offset));
        let (entries, fault) = MapleLayout::of(btf)?.entries(kernel, tree, MAPPINGS);
        found.extend(entries.into_iter().map(|(_, vma)| vma));
        return fault.map_or(Ok(()), |fault| Err(fault.into()));
    }
    let of = |member| FieldAt::of(btf, "vm_area_struct", member).map(|field| field.offset);
    let (next, start) = (of("vm_next")?, of("vm_start")?);
    let first = FieldAt::of(btf, "mm_struct", "mmap")?.offset;
    let mut at = VirtAddr(mm.0.wrapping_add(first));
    let mut last = 0;
    loop {
        let vma = kernel.read_u64(at)?;
        if vma == 0 {
            return Ok(());
        }
        // They are in the order of their addresses, so that no list of them comes back unseen.
        let start = kernel.read_u64(VirtAddr(vma.wrapping_add(start)))?;
        if start < last || found.len() >= MAPPINGS {
            return Err(WalkError::Cycle(VirtAddr(vma)).into());
        }
        last = start.saturating_add(1);
        found.push(vma);
        at = VirtAddr(vma.wrapping_add(next));
    }
}

/// Says whether a thread has the open files of its process.
fn shares_files(task: &Object<'_>) -> Result<bool, kscope_memory::ObjectError> {
    let leader = task.member("group_leader")?.deref()?;
    if leader.addr() == task.addr() {
        return Ok(false);
    }
    let files = task.member("files")?.pointer()?;
    Ok(leader.member("files")?.pointer()? == files)
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

    fn with(&self, task: &Task, others: &[(&str, u64)]) -> Given {
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
        Given {
            context: bytes,
            object: None,
        }
    }
}

/// Gives the open files of a process, not again those of threads that share them. What cannot be read
/// of one process is missing of it alone.
fn files(
    kernel: &Kernel,
    btf: &Btf,
    task: &Task,
    walked: &mut Walked,
    take: &mut dyn FnMut(u32, VirtAddr) -> Result<bool, Error>,
) -> Result<bool, Error> {
    let walk = || -> Result<Option<(VirtAddr, u64)>, kscope_dump::Error> {
        let object = kernel.object("task_struct", task.addr)?;
        let files = object.member("files")?.pointer()?;
        if files.0 == 0 || shares_files(&object)? {
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
    let (table, count) = match walk() {
        Ok(Some(table)) => table,
        Ok(None) => return Ok(true),
        Err(error) => {
            walked.missing("open files", &error);
            return Ok(true);
        }
    };
    for fd in 0..count {
        match kernel.read_u64(VirtAddr(table.0.wrapping_add(8 * fd))) {
            Ok(0) => {}
            Ok(file) => {
                if !take(fd as u32, VirtAddr(file))? {
                    return Ok(false);
                }
            }
            Err(gap) => {
                walked.missing("open files", &gap);
                break;
            }
        }
    }
    Ok(true)
}
