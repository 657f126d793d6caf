//! Workqueues: what runs, what waits, and pools that make no progress.

use std::collections::{HashMap, HashSet};

use kscope_memory::{FieldAt, Memory, Object, VirtAddr, hlist};

use super::ticks::{after, word};
use super::{Ticks, Unread};
use crate::Error;
use crate::facts::kernel::Kernel;
use crate::walk::{array, list};

/// Most workqueues, pools, and workers or works of one.
const MOST: usize = 1 << 16;
/// Most lists of timers of a CPU.
const BASES: u64 = 4;
/// Bits of a timer base: lists of timers by when they are due.
const WHEEL: u64 = 1024;

/// A pool of workers: of a CPU, or of none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WorkPool {
    /// Its number.
    pub id: u32,
    /// Its CPU; none of a pool whose workers run anywhere.
    pub cpu: Option<u32>,
    /// How its workers give way to others, from -20 to 19.
    pub nice: i64,
    /// Its workers.
    pub workers: u64,
    /// Those of them that have nothing to do.
    pub idle: u64,
    /// Those of them that have a work.
    pub busy: u64,
    /// Works that wait for a worker.
    pub pending: u64,
    /// Nanoseconds since it last took a work, if some wait; none where that is not known.
    pub stalled: Option<u64>,
}

/// A work that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunningWork {
    /// The address of its `struct work_struct`, which it may have freed.
    pub work: VirtAddr,
    /// Its function.
    pub function: VirtAddr,
    /// The name of its workqueue.
    pub queue: String,
    /// The number of the pool.
    pub pool: Option<u32>,
    /// The address of the worker's `struct task_struct`.
    pub task: VirtAddr,
    /// The worker's number.
    pub pid: i32,
    /// Whether the worker is one that is kept for when there is no memory for others.
    pub rescuer: bool,
    /// Nanoseconds for which it has run; none where that is not known. Before 7.1, which notes when
    /// each began: since the pool took its last work, or since the worker was last on a CPU if that
    /// is longer.
    pub runs: Option<u64>,
}

/// Why a work has not begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PendingWhy {
    /// It waits for a worker of its pool.
    Worker,
    /// It is next of a worker that runs another.
    Behind,
    /// As many of its workqueue run as may.
    Limit,
}

/// A work that was queued and has not begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingWork {
    /// The address of its `struct work_struct`.
    pub work: VirtAddr,
    /// Its function.
    pub function: VirtAddr,
    /// The name of its workqueue; empty where that is not known.
    pub queue: String,
    /// The number of the pool.
    pub pool: Option<u32>,
    /// Why it has not begun.
    pub why: PendingWhy,
    /// The thread that waits until works before it are done, where it stands for one.
    pub waiter: Option<VirtAddr>,
}

/// A work that is to be queued later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DelayedWork {
    /// The address of its `struct work_struct`.
    pub work: VirtAddr,
    /// Its function.
    pub function: VirtAddr,
    /// The name of its workqueue; empty where that is not known.
    pub queue: String,
    /// Nanoseconds until then, 0 where it is overdue; none where the rate of ticks is not known.
    pub due: Option<u64>,
    /// The CPU whose timer it is.
    pub cpu: u32,
}

/// A workqueue with something to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workqueue {
    /// Its name.
    pub name: String,
    /// Works that run or wait for a worker.
    pub active: u64,
    /// How many may at once, for each of its pools in kernels before 6.9.
    pub limit: u64,
    /// Works that wait until fewer run.
    pub waiting: u64,
    /// The worker that is kept for when there is no memory for others: its `struct task_struct`.
    pub rescuer: Option<VirtAddr>,
    /// Whether that worker was called for and has not come.
    pub called: bool,
}

/// Workqueues and what they are at.
#[derive(Clone, Debug, Default)]
pub struct WorkState {
    /// Pools of workers, by their numbers.
    pub pools: Vec<WorkPool>,
    /// Works that run.
    pub running: Vec<RunningWork>,
    /// Works that have not begun.
    pub pending: Vec<PendingWork>,
    /// Works whose time has not come, the next first.
    pub delayed: Vec<DelayedWork>,
    /// Workqueues that have something to do.
    pub queues: Vec<Workqueue>,
    /// What could not be read.
    pub unread: Unread,
}

impl Kernel {
    /// Reads the workqueues, their pools of workers, and the works that run, wait, or are to come.
    ///
    /// # Errors
    /// Where neither pools nor workqueues are found, or the kernel keeps them otherwise.
    pub fn workqueues(&self) -> Result<WorkState, Error> {
        let mut state = WorkState::default();
        let on_cpu = state.unread.keep(self.on_cpu()).unwrap_or_default();
        let mut reader = Reader {
            layout: Layout::of(self)?,
            kernel: self,
            ticks: self.ticks().ok(),
            on_cpu: on_cpu.items.iter().filter_map(|on| on.task).collect(),
            ids: HashMap::new(),
            state,
        };
        let pools = self.variable("worker_pool_idr")?.member("idr_rt")?.addr();
        let pools = array(self, self.btf()?, pools, MOST)?;
        for pool in reader.state.unread.walked(pools) {
            self.proceed()?;
            let read = reader.pool(pool);
            reader.state.unread.keep(read);
        }
        let queues = self.variable("workqueues")?.addr();
        let queues = list(self, queues, reader.layout.queues, MOST);
        for queue in reader.state.unread.walked(queues) {
            self.proceed()?;
            let read = reader.queue(queue);
            reader.state.unread.keep(read);
        }
        for cpu in self.cpus("__cpu_possible_mask")? {
            self.proceed()?;
            let read = reader.delayed(cpu);
            reader.state.unread.keep(read);
        }
        reader.state.delayed.sort_by_key(|delayed| delayed.due);
        Ok(reader.state)
    }
}

/// Where the kernel keeps what.
struct Layout {
    queues: u64,
    pwqs: u64,
    workers: u64,
    entry: u64,
    /// When a pool last took a work; another name since 7.1.
    progress: FieldAt,
    /// Works above the limit; another name before 5.15.
    waiting: FieldAt,
    /// How far the address of a queue's part is shifted in a work's first word.
    queued: u64,
    queued_bit: u64,
}

impl Layout {
    fn of(kernel: &Kernel) -> Result<Layout, Error> {
        let btf = kernel.btf()?;
        let offset = |of: &str, path: &str| FieldAt::of(btf, of, path).map(|field| field.offset);
        let either = |of: &str, old: &str, new: &str| {
            FieldAt::of(btf, of, new).or_else(|_| FieldAt::of(btf, of, old))
        };
        Ok(Layout {
            queues: offset("workqueue_struct", "list")?,
            pwqs: offset("pool_workqueue", "pwqs_node")?,
            workers: offset("worker", "node")?,
            entry: offset("work_struct", "entry")?,
            progress: either("worker_pool", "watchdog_ts", "last_progress_ts")?,
            waiting: either("pool_workqueue", "delayed_works", "inactive_works")?,
            // Since 6.9 apart from the number of flags.
            queued: kernel
                .counter("WORK_STRUCT_PWQ_SHIFT")
                .or_else(|_| kernel.counter("WORK_STRUCT_FLAG_BITS"))?
                .min(63),
            queued_bit: kernel.counter("WORK_STRUCT_PWQ")?,
        })
    }
}

struct Reader<'k> {
    layout: Layout,
    kernel: &'k Kernel,
    ticks: Option<Ticks>,
    /// The tasks that are on CPUs.
    on_cpu: HashSet<VirtAddr>,
    /// The numbers of pools.
    ids: HashMap<VirtAddr, u32>,
    state: WorkState,
}

impl Reader<'_> {
    fn pool(&mut self, addr: VirtAddr) -> Result<(), Error> {
        let kernel = self.kernel;
        let pool = kernel.object("worker_pool", addr)?;
        let number = |path: &str| -> Result<u64, Error> { Ok(pool.member(path)?.value()?) };
        let id = number("id")? as u32;
        self.ids.insert(addr, id);
        let cpu = pool.member("cpu")?.signed()?;
        let nice = pool.member("attrs")?.member("nice");
        let mut found = WorkPool {
            id,
            cpu: u32::try_from(cpu).ok(),
            nice: self
                .state
                .unread
                .keep(nice.and_then(|nice| nice.signed()))
                .unwrap_or(0),
            workers: number("nr_workers")?,
            idle: number("nr_idle")?,
            busy: 0,
            pending: 0,
            stalled: None,
        };
        let progress = pool.field(self.layout.progress)?.value()?;
        let since = self.ticks.map(|ticks| ticks.since(progress));
        let worklist = pool.member("worklist")?.addr();
        found.pending = self.works(worklist, Some(id), PendingWhy::Worker)?;
        if found.pending > 0 {
            found.stalled = since;
        }
        let workers = list(
            kernel,
            pool.member("workers")?.addr(),
            self.layout.workers,
            MOST,
        );
        for worker in self.state.unread.walked(workers) {
            match self.worker(worker, id, since) {
                Ok(true) => found.busy += 1,
                Ok(false) => {}
                Err(error) => self.state.unread.note(error),
            }
        }
        self.state.pools.push(found);
        Ok(())
    }

    /// Reads a worker; tells whether it has a work.
    fn worker(&mut self, addr: VirtAddr, pool: u32, since: Option<u64>) -> Result<bool, Error> {
        let worker = self.kernel.object("worker", addr)?;
        let work = worker.member("current_work")?.pointer()?;
        if work.0 == 0 {
            return Ok(false);
        }
        let task = worker.member("task")?.deref()?;
        let queue = worker.member("current_pwq")?.deref()?;
        let began = worker
            .member("current_start")
            .and_then(|began| began.value());
        let runs = match began {
            Ok(began) => self.ticks.map(|ticks| ticks.since(began)),
            // What runs in a pool began no later than the pool took the last one.
            Err(_) => {
                let sleeps = !self.on_cpu.contains(&task.addr());
                let sleeps = sleeps.then(|| self.kernel.off_cpu(task.addr()).ok());
                since.max(sleeps.flatten())
            }
        };
        let scheduled = worker.member("scheduled")?.addr();
        let running = RunningWork {
            work,
            function: worker.member("current_func")?.pointer()?,
            queue: self.queue_name(&queue).unwrap_or_default(),
            pool: Some(pool),
            task: task.addr(),
            pid: task.member("pid")?.signed()? as i32,
            rescuer: worker.member("rescue_wq")?.pointer()?.0 != 0,
            runs,
        };
        self.state.running.push(running);
        self.works(scheduled, Some(pool), PendingWhy::Behind)?;
        Ok(true)
    }

    /// Gives the name of the workqueue that a part of one or a delayed work is of.
    fn queue_name(&self, of: &Object<'_>) -> Result<String, Error> {
        let name = of.member("wq")?.member("name")?.text(64)?;
        Ok(String::from_utf8_lossy(&name).into_owned())
    }

    /// Reads a list of works, and gives how many there are.
    fn works(&mut self, head: VirtAddr, pool: Option<u32>, why: PendingWhy) -> Result<u64, Error> {
        let works = list(self.kernel, head, self.layout.entry, MOST);
        let works = self.state.unread.walked(works);
        let count = works.len() as u64;
        for work in works {
            self.kernel.proceed()?;
            let read = self.pending(work, pool, why);
            if let Some(pending) = self.state.unread.keep(read) {
                self.state.pending.push(pending);
            }
        }
        Ok(count)
    }

    fn pending(
        &self,
        addr: VirtAddr,
        pool: Option<u32>,
        why: PendingWhy,
    ) -> Result<PendingWork, Error> {
        let work = self.kernel.object("work_struct", addr)?;
        let function = work.member("func")?.pointer()?;
        let data = word(&work.member("data")?, self.kernel)?;
        // Queued works say where; the low bits are flags.
        let queue = match data & self.layout.queued_bit {
            0 => String::new(),
            _ => {
                let part = VirtAddr(data >> self.layout.queued << self.layout.queued);
                let part = self.kernel.object("pool_workqueue", part)?;
                self.queue_name(&part).unwrap_or_default()
            }
        };
        let stands_for = Some(function) == self.kernel.global("wq_barrier_func");
        let waiter = || -> Result<VirtAddr, Error> {
            Ok(work
                .container("wq_barrier", "work")?
                .member("task")?
                .pointer()?)
        };
        Ok(PendingWork {
            work: addr,
            function,
            queue,
            pool,
            why,
            waiter: stands_for.then(waiter).and_then(Result::ok),
        })
    }

    fn queue(&mut self, addr: VirtAddr) -> Result<(), Error> {
        let kernel = self.kernel;
        let queue = kernel.object("workqueue_struct", addr)?;
        let name = queue.member("name")?.text(64)?;
        let rescuer = queue.member("rescuer")?.deref()?;
        let task = match rescuer.addr().0 {
            0 => None,
            _ => Some(rescuer.member("task")?.pointer()?),
        };
        let calls = queue.member("maydays")?;
        let mut found = Workqueue {
            name: String::from_utf8_lossy(&name).into_owned(),
            active: 0,
            // Of the whole since 6.9, before of each part.
            limit: queue
                .member("max_active")
                .and_then(|limit| limit.value())
                .unwrap_or(0),
            waiting: 0,
            rescuer: task,
            called: kernel.read_u64(calls.addr())? != calls.addr().0,
        };
        let parts = list(kernel, queue.member("pwqs")?.addr(), self.layout.pwqs, MOST);
        for part in self.state.unread.walked(parts) {
            let part = kernel.object("pool_workqueue", part)?;
            found.active = found
                .active
                .saturating_add(part.member("nr_active")?.value()?);
            if let Ok(limit) = part.member("max_active") {
                found.limit = found.limit.max(limit.value()?);
            }
            let pool = part.member("pool")?.pointer()?;
            let pool = self.ids.get(&pool).copied();
            let waiting = part.field(self.layout.waiting)?.addr();
            found.waiting += self.works(waiting, pool, PendingWhy::Limit)?;
        }
        if found.active > 0 || found.waiting > 0 || found.called {
            self.state.queues.push(found);
        }
        Ok(())
    }

    /// Finds works whose time has not come among the timers of a CPU.
    fn delayed(&mut self, cpu: u32) -> Result<(), Error> {
        let kernel = self.kernel;
        let fires = kernel.need("delayed_work_timer_fn")?;
        let bases = kernel.need("timer_bases")?;
        let type_is = kernel.object("timer_base", bases)?;
        let size = type_is.size()?;
        let wheel = type_is.member("vectors")?;
        let lists = (wheel.size()? / 8).min(WHEEL);
        let inside = wheel.addr().offset_from(bases).unwrap_or(0);
        let room = kernel.symbols()?.next_after(bases);
        let room = room.and_then(|next| next.offset_from(bases)).unwrap_or(0);
        let count = (room / size.max(1)).clamp(1, BASES);
        let first = kernel.per_cpu(bases, cpu)?;
        for base in 0..count {
            let start = after(first, base * size + inside);
            let mut heads = vec![0; lists as usize * 8];
            kernel.read(start, &mut heads)?;
            for (at, head) in (0u64..).zip(heads.chunks_exact(8)) {
                if head.iter().all(|&byte| byte == 0) {
                    continue;
                }
                for link in hlist(kernel, after(start, at * 8), MOST) {
                    match link {
                        Ok(link) => {
                            let read = self.timer(link, fires, cpu);
                            let read = self.state.unread.keep(read);
                            self.state.delayed.extend(read.flatten());
                        }
                        Err(error) => self.state.unread.note(error.into()),
                    }
                }
            }
        }
        Ok(())
    }

    fn timer(
        &self,
        link: VirtAddr,
        fires: VirtAddr,
        cpu: u32,
    ) -> Result<Option<DelayedWork>, Error> {
        let link = self.kernel.object("hlist_node", link)?;
        let timer = link.container("timer_list", "entry")?;
        if timer.member("function")?.pointer()? != fires {
            return Ok(None);
        }
        let expires = timer.member("expires")?.value()?;
        let delayed = timer.container("delayed_work", "timer")?;
        Ok(Some(DelayedWork {
            work: delayed.member("work")?.addr(),
            function: delayed.member("work.func")?.pointer()?,
            queue: self.queue_name(&delayed).unwrap_or_default(),
            due: self.ticks.map(|ticks| ticks.until(expires)),
            cpu,
        }))
    }
}
