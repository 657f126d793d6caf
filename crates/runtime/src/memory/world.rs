//! The kernel as programs ask it: its memory, its clocks, stacks, walks and paths.

use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;

use kscope_dump::{Kernel, KernelTime, OnCpu, Stack, Task, Unwinder};
use kscope_memory::{Memory, VirtAddr};
use kscope_script::interpret::{Paths, Walk, WalkKind, World};
use kscope_sys::{Clock, Kernel as SysKernel, SharedKernel};

use super::links;
use crate::clock;
use crate::error::Error;
use crate::session::Wishes;

/// Most frames that a script is given of a stack (`PERF_MAX_STACK_DEPTH`).
const FRAMES: usize = 127;
/// Most faults of walks that are told.
const TOLD: usize = 8;

/// The kernel as programs ask it.
pub(super) struct DumpWorld<'k> {
    pub(super) kernel: &'k Kernel,
    /// The door to it, where it runs.
    live: Option<SharedKernel>,
    time: KernelTime,
    /// Why it is not known when the kernel stopped.
    no_time: Option<kscope_dump::Error>,
    tasks: OnceCell<(HashMap<VirtAddr, Task>, Vec<OnCpu>)>,
    unwinder: OnceCell<Result<Unwinder<'k>, kscope_dump::Error>>,
    pub(super) wishes: &'k dyn Wishes,
    /// Why walks of the script may have missed something.
    faults: RefCell<Vec<String>>,
    /// Why the first path that cannot be read cannot.
    no_path: RefCell<Option<String>>,
}

impl<'k> DumpWorld<'k> {
    /// Takes a kernel; one that runs with the door to it, one in a dump with when it stopped, or why
    /// that is not known.
    pub(super) fn new(
        kernel: &'k Kernel,
        live: Option<SharedKernel>,
        time: KernelTime,
        no_time: Option<kscope_dump::Error>,
        wishes: &'k dyn Wishes,
    ) -> DumpWorld<'k> {
        DumpWorld {
            kernel,
            live,
            time,
            no_time,
            tasks: OnceCell::new(),
            unwinder: OnceCell::new(),
            wishes,
            faults: RefCell::default(),
            no_path: RefCell::default(),
        }
    }

    /// Gives why what programs were given may not be all.
    pub(super) fn faults(&self, paths: Paths) -> Vec<String> {
        let mut said = Vec::new();
        if let Some(Err(error)) = self.unwinder.get() {
            said.push(format!("stacks of threads cannot be followed: {error}"));
        }
        said.append(&mut self.faults.borrow_mut());
        said.extend(self.missing_paths(paths));
        said
    }

    /// Gives what the kernel's clocks show, or showed when it stopped.
    pub(super) fn now(&self) -> KernelTime {
        let running = self.live.as_ref().and_then(|live| clocks(&**live).ok());
        running.unwrap_or(self.time)
    }

    fn stack(&self, task: VirtAddr) -> Option<Stack> {
        if self.live.is_some() {
            return self.stack_now(task);
        }
        let (tasks, on_cpu) = self.tasks.get_or_init(|| {
            let tasks = self.kernel.tasks().unwrap_or_default().items;
            let on_cpu = self.kernel.on_cpu().unwrap_or_default().items;
            (tasks.into_iter().map(|t| (t.addr, t)).collect(), on_cpu)
        });
        let unwinder = self.unwinder()?;
        let running = on_cpu.iter().find(|cpu| cpu.task == Some(task));
        unwinder.stack(tasks.get(&task), running)
    }

    fn unwinder(&self) -> Option<&Unwinder<'_>> {
        let unwinder = self.unwinder.get_or_init(|| self.kernel.unwinder());
        unwinder.as_ref().ok()
    }

    /// Gives a path, and keeps why the first that cannot be read cannot.
    fn told(&self, of: VirtAddr, path: Result<Vec<u8>, kscope_dump::Error>) -> Option<Vec<u8>> {
        let error = match path {
            Ok(path) => return Some(path),
            Err(error) => error,
        };
        if of.is_kernel() {
            let mut first = self.no_path.borrow_mut();
            first.get_or_insert_with(|| format!("that at {of}: {error}"));
        }
        None
    }

    /// Says how many paths are empty that are none, and why.
    fn missing_paths(&self, paths: Paths) -> Vec<String> {
        let mut said = Vec::new();
        if paths.unread > 0 {
            let first = self.no_path.borrow();
            let why = first.as_ref().map(|first| format!(" ({first})"));
            said.push(format!(
                "{} paths cannot be read and are empty{}",
                paths.unread,
                why.unwrap_or_default()
            ));
        }
        if paths.too_long > 0 {
            said.push(format!(
                "{} paths are longer than a string of the script (max_strlen) and are empty",
                paths.too_long
            ));
        }
        said
    }

    /// Gives the stack of a thread of the running kernel, which has to sleep all the while.
    fn stack_now(&self, task: VirtAddr) -> Option<Stack> {
        let unwinder = self.unwinder()?;
        let before = self.kernel.task_now(task).ok()?;
        if before.is_on_cpu() {
            return None;
        }
        let stack = unwinder.sleeping(&before.task);
        let after = self.kernel.task_now(task).ok()?;
        (before == after).then_some(stack)
    }
}

impl World for DumpWorld<'_> {
    fn memory(&self) -> &dyn Memory {
        self.kernel
    }

    fn clock(&self, tai: bool) -> u64 {
        if let Some(error) = &self.no_time {
            self.fault(format!(
                "when the kernel stopped is not known, for which 0 stands: {error}"
            ));
        }
        let time = self.now();
        match tai {
            true => time.since_1970,
            false => time.since_boot,
        }
    }

    fn task_stack(&self, task: VirtAddr) -> Option<Vec<u64>> {
        let stack = self.stack(task)?;
        let frames = stack.frames.iter().take(FRAMES);
        Some(frames.map(|frame| frame.pc.0).collect())
    }

    fn walk(&self, kind: WalkKind, root: VirtAddr) -> Walk {
        links::links(self.kernel, kind, root)
    }

    fn fault(&self, fault: String) {
        let mut faults = self.faults.borrow_mut();
        if faults.len() < TOLD && !faults.contains(&fault) {
            faults.push(fault);
        }
    }

    fn path(&self, path: VirtAddr) -> Option<Vec<u8>> {
        self.told(path, self.kernel.path(path))
    }

    fn dentry_path(&self, dentry: VirtAddr, mount: Option<VirtAddr>) -> Option<Vec<u8>> {
        self.told(dentry, self.kernel.dentry_path(dentry, mount))
    }

    fn stop(&self) -> bool {
        self.wishes.stop()
    }
}

/// Reads the clocks of the running kernel.
pub(super) fn clocks(kernel: &dyn SysKernel) -> Result<KernelTime, Error> {
    Ok(KernelTime {
        since_boot: clock::read(kernel, Clock::Boottime)?,
        since_1970: clock::read(kernel, Clock::Realtime)?,
    })
}
