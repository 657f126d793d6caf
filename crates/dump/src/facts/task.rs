//! Tasks: all of them, and those on CPUs.

use std::collections::HashSet;

use kscope_btf::Btf;
use kscope_memory::{FieldAt, Memory, Object, ObjectError, VirtAddr};

use super::kernel::Kernel;
use super::x86_64::Registers;
use crate::walk::list;
use crate::{Error, Walked};

/// Most processes, and threads of one: the kernel's own bound on process ids is 4 M.
const TASKS: usize = 1 << 22;

/// A task of the kernel: a thread of a process, or of the kernel itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// The address of its `struct task_struct`.
    pub addr: VirtAddr,
    /// Its own number.
    pub pid: i32,
    /// Its process's number.
    pub tgid: i32,
    /// Its name.
    pub comm: String,
    /// What it waits for or whether it runs, as the kernel keeps it.
    pub state: u64,
    /// How far it has ended, as the kernel keeps it; 0 for one that lives.
    pub exit_state: u64,
    /// What it is and does, as bits (`PF_*`).
    pub flags: u64,
    /// The CPU that it is or was on.
    pub cpu: u32,
    /// Where its stack begins.
    pub stack: VirtAddr,
    /// Where its stack was when it last left a CPU.
    pub saved_sp: VirtAddr,
}

impl Task {
    /// Gives the letter that `ps` shows for its state.
    #[must_use]
    pub fn state_letter(&self) -> char {
        state_letter(self.state, self.exit_state)
    }

    /// Tells whether it belongs to the kernel, without a program.
    #[must_use]
    pub fn is_kernel_thread(&self) -> bool {
        const PF_KTHREAD: u64 = 0x0020_0000;
        self.flags & PF_KTHREAD != 0
    }
}

/// Gives the letter that `ps` shows for a state of `struct task_struct` (`__state`) and for how far the
/// task has ended (`exit_state`).
#[must_use]
pub fn state_letter(state: u64, exit_state: u64) -> char {
    const LETTERS: [(u64, char); 10] = [
        (0x01, 'S'),
        (0x02, 'D'),
        (0x04, 'T'),
        (0x08, 't'),
        (0x20, 'Z'),
        (0x10, 'X'),
        (0x40, 'P'),
        (0x80, 'X'),
        // Waits for a lock (real-time kernels), is frozen.
        (0x1000, 'D'),
        (0x8000, 'D'),
    ];
    const IDLE: u64 = 0x402;
    if state & IDLE == IDLE {
        return 'I';
    }
    let all = state | exit_state;
    let found = LETTERS.iter().find(|(bit, _)| all & bit != 0);
    found.map_or('R', |&(_, letter)| letter)
}

/// What ran on a CPU.
#[derive(Clone, Debug)]
pub struct OnCpu {
    /// The CPU.
    pub cpu: u32,
    /// The task on it; none where its run queue cannot be read.
    pub task: Option<VirtAddr>,
    /// Its registers; none where the CPU did not answer.
    pub registers: Option<Registers>,
}

/// A task of a kernel that runs, at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskNow {
    /// The task.
    pub task: Task,
    on_cpu: bool,
    switches: u64,
}

impl TaskNow {
    /// Tells whether it was running.
    #[must_use]
    pub fn is_on_cpu(&self) -> bool {
        self.on_cpu
    }
}

/// Reads a task as it is now, and forgets what was read of its stack before.
pub(crate) fn now(kernel: &Kernel, addr: VirtAddr) -> Result<TaskNow, Error> {
    /// Most bytes of a stack (`THREAD_SIZE`; twice as many with KASAN).
    const STACK: u64 = 32 << 10;
    let object = kernel.object("task_struct", addr)?;
    kernel.forget(addr, object.size()?);
    let task = Layout::of(kernel.btf()?)?.read(&object)?;
    kernel.forget(task.stack, STACK);
    let number = |member: &str| object.member(member)?.value();
    Ok(TaskNow {
        on_cpu: number("on_cpu")? != 0,
        switches: number("nvcsw")?.wrapping_add(number("nivcsw")?),
        task,
    })
}

/// Where a task keeps what is asked of it.
struct Layout {
    tasks: FieldAt,
    thread_head: FieldAt,
    thread_node: FieldAt,
    signal: FieldAt,
    pid: FieldAt,
    tgid: FieldAt,
    comm: FieldAt,
    state: FieldAt,
    exit_state: Option<FieldAt>,
    flags: FieldAt,
    cpu: FieldAt,
    stack: FieldAt,
    sp: FieldAt,
}

impl Layout {
    fn of(btf: &Btf) -> Result<Layout, ObjectError> {
        let task = |path: &str| FieldAt::of(btf, "task_struct", path);
        Ok(Layout {
            tasks: task("tasks")?,
            thread_head: FieldAt::of(btf, "signal_struct", "thread_head")?,
            thread_node: task("thread_node")?,
            signal: task("signal")?,
            pid: task("pid")?,
            tgid: task("tgid")?,
            comm: task("comm")?,
            state: task("__state").or_else(|_| task("state"))?,
            exit_state: task("exit_state").ok(),
            flags: task("flags")?,
            cpu: task("thread_info.cpu").or_else(|_| task("cpu"))?,
            stack: task("stack")?,
            sp: task("thread.sp")?,
        })
    }

    fn read(&self, task: &Object<'_>) -> Result<Task, Error> {
        let comm = task.field(self.comm)?.text(64)?;
        let exit_state = match self.exit_state {
            Some(field) => task.field(field)?.value()?,
            None => 0,
        };
        Ok(Task {
            addr: task.addr(),
            pid: task.field(self.pid)?.signed()? as i32,
            tgid: task.field(self.tgid)?.signed()? as i32,
            comm: String::from_utf8_lossy(&comm).into_owned(),
            state: task.field(self.state)?.value()?,
            exit_state,
            flags: task.field(self.flags)?.value()?,
            cpu: task.field(self.cpu)?.value()? as u32,
            stack: task.field(self.stack)?.pointer()?,
            saved_sp: task.field(self.sp)?.pointer()?,
        })
    }
}

/// Goes from a task to its parent, and on to the first one, which is its own.
pub(crate) fn first(kernel: &Kernel, some: VirtAddr) -> Result<VirtAddr, Error> {
    let parent = FieldAt::of(kernel.btf()?, "task_struct", "real_parent")?;
    let mut task = some;
    for _ in 0..TASKS {
        let object = kernel.object("task_struct", task)?;
        let next = object.field(parent)?.pointer()?;
        if next == task {
            return Ok(task);
        }
        task = next;
    }
    Err(Error::TooMany {
        what: "the list of parents",
    })
}

/// Reads all tasks.
pub(crate) fn read(kernel: &Kernel) -> Result<Walked<Task>, Error> {
    let init = kernel.variable("init_task")?;
    let layout = Layout::of(kernel.btf()?)?;
    let mut tasks = Walked {
        items: vec![layout.read(&init)?],
        fault: None,
    };
    let mut seen = HashSet::from([init.addr()]);
    let head = init.field(layout.tasks)?.addr();
    let leaders = list(kernel, head, layout.tasks.offset, TASKS);
    tasks.fault = leaders.fault;
    let mut links = TASKS;
    for leader in leaders.items {
        kernel.proceed()?;
        let read = threads(kernel, &layout, leader, &mut links, &mut seen, &mut tasks);
        match read {
            Err(Error::Stopped) => return Err(Error::Stopped),
            Err(error) => tasks.fault = tasks.fault.or(Some(error)),
            Ok(()) => {}
        }
    }
    // Without symbols of data nothing leads to them, and they are the same at any time.
    if kernel.is_running() && kernel.global("runqueues").is_none() {
        return Ok(tasks);
    }
    match idle(kernel, &layout, &seen) {
        Ok(idle) => {
            tasks.items.extend(idle.items);
            tasks.fault = tasks.fault.or(idle.fault);
        }
        Err(error) => tasks.fault = tasks.fault.or(Some(error)),
    }
    Ok(tasks)
}

/// Reads the threads of a process, the first of which is its leader. No more than `links` links
/// are followed, and taken off that: lists that are not well-formed may share what they lead to.
fn threads(
    kernel: &Kernel,
    layout: &Layout,
    leader: VirtAddr,
    links: &mut usize,
    seen: &mut HashSet<VirtAddr>,
    tasks: &mut Walked<Task>,
) -> Result<(), Error> {
    let task = kernel.object("task_struct", leader)?;
    let signal = task.field(layout.signal)?.pointer()?;
    let head = VirtAddr(signal.0.wrapping_add(layout.thread_head.offset));
    let found = list(kernel, head, layout.thread_node.offset, *links);
    *links = links.saturating_sub(found.items.len());
    // A process whose threads cannot be walked still has its leader.
    let mut addresses = found.items;
    if !addresses.contains(&leader) {
        addresses.insert(0, leader);
    }
    for addr in addresses {
        if seen.len() >= TASKS {
            return Err(Error::TooMany {
                what: "the list of tasks",
            });
        }
        if seen.insert(addr) {
            kernel.proceed()?;
            let task = kernel.object("task_struct", addr)?;
            tasks.items.push(layout.read(&task)?);
        }
    }
    found.fault.map_or(Ok(()), Err)
}

/// Reads the idle tasks that are not among those seen.
fn idle(kernel: &Kernel, layout: &Layout, seen: &HashSet<VirtAddr>) -> Result<Walked<Task>, Error> {
    let idle = FieldAt::of(kernel.btf()?, "rq", "idle")?;
    let queues = kernel.need("runqueues")?;
    let mut tasks = Walked::default();
    for cpu in kernel.cpus("__cpu_possible_mask")? {
        let mut one = || {
            let queue = kernel.per_cpu(queues, cpu)?;
            let addr = kernel.read_u64(VirtAddr(queue.0.wrapping_add(idle.offset)))?;
            if addr != 0 && !seen.contains(&VirtAddr(addr)) {
                let task = kernel.object("task_struct", VirtAddr(addr))?;
                tasks.items.push(layout.read(&task)?);
            }
            Ok(())
        };
        let failed: Option<Error> = one().err();
        tasks.fault = tasks.fault.or(failed);
    }
    Ok(tasks)
}

/// Gives what ran on each CPU. Registers come in the order of the CPUs that wrote them: all that
/// are online, or where these are not as many, all that can be.
pub(crate) fn on_cpu(kernel: &Kernel) -> Result<Walked<OnCpu>, Error> {
    let curr = FieldAt::of(kernel.btf()?, "rq", "curr")?;
    let queues = kernel.need("runqueues")?;
    let online = kernel.cpus("__cpu_online_mask").unwrap_or_default();
    let possible = kernel.cpus("__cpu_possible_mask")?;
    let registers = kernel.registers();
    // A CPU that stops after the crash takes itself out of the mask.
    let writers = if online.len() == registers.len() {
        &online
    } else {
        &possible
    };
    let mut registers = registers.into_iter();
    let mut found = Walked::default();
    for &cpu in &possible {
        // Numbers ascend.
        let own = if writers.binary_search(&cpu).is_ok() {
            registers.next()
        } else {
            None
        };
        if own.is_none() && online.binary_search(&cpu).is_err() {
            continue;
        }
        let task = kernel
            .per_cpu(queues, cpu)
            .and_then(|queue| Ok(kernel.read_u64(VirtAddr(queue.0.wrapping_add(curr.offset)))?));
        let task = match task {
            Ok(task) => Some(VirtAddr(task)),
            Err(error) => {
                found.fault = found.fault.or(Some(error));
                None
            }
        };
        found.items.push(OnCpu {
            cpu,
            task,
            registers: own,
        });
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_as_ps_shows_them() {
        let check = |state, exit_state, expected| {
            let task = Task {
                addr: VirtAddr(0),
                pid: 1,
                tgid: 1,
                comm: String::new(),
                state,
                exit_state,
                flags: 0,
                cpu: 0,
                stack: VirtAddr(0),
                saved_sp: VirtAddr(0),
            };
            assert_eq!(task.state_letter(), expected, "{state:#x} {exit_state:#x}");
        };
        check(0, 0, 'R');
        check(0x1, 0, 'S');
        check(0x102, 0, 'D');
        check(0x402, 0, 'I');
        // A kernel thread that may be frozen as it waits.
        check(0x2402, 0, 'I');
        check(0x2001, 0, 'S');
        check(0x8000, 0, 'D');
        check(0x40, 0, 'P');
        // One that has ended, and whose parent has not asked yet; one that is gone.
        check(0x80, 0x20, 'Z');
        check(0x80, 0x10, 'X');
        // One that has ended, and whose tracer has been told but not its parent.
        check(0x80, 0x30, 'Z');
    }
}
