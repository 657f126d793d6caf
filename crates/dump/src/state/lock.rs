//! Who waits for a lock, which it is, and who has it.
//!
//! A thread that waits stands in the lock's queue with a structure on its own stack. It is taken for
//! one only where it lies in the frame of the function that waits, names the thread, and its links
//! lead round through the waiters of other threads to exactly one lock whose own words say that
//! somebody waits.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::rc::Rc;

use kscope_memory::{FieldAt, Memory, ObjectError, VirtAddr};

use super::Unread;
use super::ticks::{after, word};
use crate::facts::kernel::Kernel;
use crate::{Error, Stack, Task};

/// Most waiters of a lock.
const WAITERS: usize = 1 << 16;
/// Most bytes of a stack: twice the usual, as with KASAN.
const STACK: u64 = 32 << 10;
/// Most bytes of a frame that are looked through.
const FRAME: u64 = 4 << 10;

/// A kind of lock for which threads sleep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LockKind {
    /// `struct mutex`.
    Mutex,
    /// `struct rw_semaphore`, taken for reading.
    RwsemRead,
    /// `struct rw_semaphore`, taken for writing.
    RwsemWrite,
    /// `struct semaphore`.
    Semaphore,
    /// `struct rt_mutex`, which other locks are of on real-time kernels.
    RtMutex,
}

/// Who has a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockOwner {
    /// Nobody: it is about to be handed over.
    Nobody,
    /// A thread.
    Task(VirtAddr),
    /// So many readers, of whom the kernel keeps the last that came, which may have left.
    Readers {
        /// Their number.
        count: u64,
        /// The last that came.
        last: Option<VirtAddr>,
    },
    /// The kernel does not keep it; newer ones the last thread that took it, which may have given
    /// it back.
    Unknown {
        /// The last that took it.
        last: Option<VirtAddr>,
    },
}

/// A lock that somebody waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lock {
    /// Its address.
    pub addr: VirtAddr,
    /// Who has it.
    pub owner: LockOwner,
}

/// A thread that waits for a lock.
#[derive(Clone, Debug)]
pub struct LockWait {
    /// The thread.
    pub task: Task,
    /// What it waits for.
    pub kind: LockKind,
    /// The lock; none where the thread is in the function that waits but in no queue.
    pub lock: Option<Lock>,
    /// Where in its stack the function is that waits: number of the frame.
    pub frame: usize,
    /// Its stack.
    pub stack: Stack,
}

/// Locks and who waits for them.
#[derive(Clone, Debug)]
pub struct LockState {
    /// The threads that wait, in the order of the tasks.
    pub waits: Vec<LockWait>,
    /// Threads each of which waits for a lock that the next has, the last for one of the first: a
    /// deadlock. Addresses of their `struct task_struct`.
    pub deadlocks: Vec<Vec<VirtAddr>>,
    /// What could not be read.
    pub unread: Unread,
}

impl LockKind {
    /// Gives the kind of lock that a function waits for, by its name.
    fn of_function(name: &str) -> Option<LockKind> {
        // Without what compilers add.
        let name = name.split('.').next().unwrap_or(name);
        let name = name.trim_start_matches('_');
        let begins = |word: &str| name.starts_with(word);
        match name {
            _ if begins("mutex_lock") || begins("ww_mutex_lock") => Some(LockKind::Mutex),
            _ if begins("rwsem_down_read") || begins("down_read") => Some(LockKind::RwsemRead),
            _ if begins("rwsem_down_write") || begins("down_write") => Some(LockKind::RwsemWrite),
            "down" | "down_common" | "down_interruptible" | "down_killable" | "down_timeout" => {
                Some(LockKind::Semaphore)
            }
            _ if begins("rt_mutex_slowlock") || begins("rt_mutex_lock") => Some(LockKind::RtMutex),
            _ if begins("rt_mutex_wait_proxy_lock") || begins("rtlock_slowlock") => {
                Some(LockKind::RtMutex)
            }
            _ => None,
        }
    }
}

impl Kernel {
    /// Finds the threads that wait for locks, the locks, and who has them.
    ///
    /// # Errors
    /// Where there are no tasks or their stacks cannot be followed.
    pub fn locks(&self) -> Result<LockState, Error> {
        let mut unread = Unread::default();
        let unwinder = self.unwinder()?;
        let tasks = unread.walked(self.tasks()?);
        let on_cpu = unread.walked(self.on_cpu()?);
        let on_cpu: HashSet<VirtAddr> = on_cpu.iter().filter_map(|on| on.task).collect();
        let finder = Finder::of(self, &tasks);
        let mut waits = Vec::new();
        for task in tasks.iter().filter(|task| !on_cpu.contains(&task.addr)) {
            self.proceed()?;
            let stack = unwinder.sleeping(task);
            let frames = finder.frames(&stack);
            let by_priority = unread.keep(finder.by_priority(task)).flatten();
            let found = match by_priority {
                Some(lock) => {
                    let frame = frames.first().map_or(0, |(frame, _)| *frame);
                    Some((frame, LockKind::RtMutex, Some(lock)))
                }
                None => {
                    let mut locks = frames.iter().map(|&(frame, kind)| {
                        let lock = finder.lock(task, &stack, frame, kind);
                        (frame, kind, unread.keep(lock).flatten())
                    });
                    // The innermost where none of them has one.
                    let first = locks.next();
                    match first {
                        Some((_, _, None)) => locks.find(|(_, _, lock)| lock.is_some()).or(first),
                        _ => first,
                    }
                }
            };
            if let Some((frame, kind, lock)) = found {
                waits.push(LockWait {
                    task: task.clone(),
                    kind,
                    lock,
                    frame,
                    stack,
                });
            }
        }
        Ok(LockState {
            deadlocks: deadlocks(&waits),
            waits,
            unread,
        })
    }
}

/// Finds threads of which each waits for the next one.
fn deadlocks(waits: &[LockWait]) -> Vec<Vec<VirtAddr>> {
    let owner = |wait: &LockWait| match wait.lock?.owner {
        LockOwner::Task(owner) => Some(owner),
        _ => None,
    };
    let edges = waits
        .iter()
        .filter_map(|wait| Some((wait.task.addr, owner(wait)?)));
    let edges: HashMap<VirtAddr, VirtAddr> = edges.collect();
    let mut done = HashSet::new();
    let mut found = Vec::new();
    for wait in waits {
        let mut path = Vec::new();
        let mut at = wait.task.addr;
        // Each thread is passed once in all, whichever path comes to it first.
        while done.insert(at) {
            path.push(at);
            match edges.get(&at) {
                Some(&next) => at = next,
                None => break,
            }
        }
        let again = path.iter().position(|&task| task == at);
        if let Some(start) = again.filter(|_| edges.contains_key(&at)) {
            found.push(path.split_off(start));
        }
    }
    found
}

/// Where locks of a kind keep their queue.
struct Queue {
    type_name: &'static str,
    /// The head of the queue (before 7.1), or the pointer to the first waiter.
    head: FieldAt,
    is_list: bool,
    /// Where a waiter names its thread; its links come first.
    task: u64,
}

/// Trees of waiters that were walked.
#[derive(Default)]
struct Trees {
    roots: HashSet<VirtAddr>,
    /// What is in them, with the root before it.
    nodes: HashSet<(VirtAddr, VirtAddr)>,
}

/// What finds locks.
struct Finder<'k> {
    kernel: &'k Kernel,
    /// Where the stack of each task is.
    stacks: HashMap<VirtAddr, VirtAddr>,
    mutex: Result<Queue, ObjectError>,
    rwsem: Result<Queue, ObjectError>,
    semaphore: Result<Queue, ObjectError>,
    /// What the links of each waiter lead through: all that wait for a lock lead through the same.
    rings: RefCell<HashMap<VirtAddr, Option<Rc<Ring>>>>,
    /// The waiters of locks with inheritance of priorities, by the roots of their trees.
    trees: RefCell<Trees>,
}

impl<'k> Finder<'k> {
    fn of(kernel: &'k Kernel, tasks: &[Task]) -> Finder<'k> {
        let queue = |type_name: &'static str, waiter: &'static str| -> Result<Queue, ObjectError> {
            let btf = kernel
                .btf()
                .map_err(|_| ObjectError::NoType(waiter.to_owned()))?;
            let list = FieldAt::of(btf, type_name, "wait_list");
            let is_list = list.is_ok();
            let head = list
                .or_else(|error| FieldAt::of(btf, type_name, "first_waiter").map_err(|_| error))?;
            FieldAt::of(btf, waiter, "list")?;
            Ok(Queue {
                type_name,
                head,
                is_list,
                task: FieldAt::of(btf, waiter, "task")?.offset,
            })
        };
        Finder {
            kernel,
            stacks: tasks.iter().map(|task| (task.addr, task.stack)).collect(),
            mutex: queue("mutex", "mutex_waiter"),
            rwsem: queue("rw_semaphore", "rwsem_waiter"),
            semaphore: queue("semaphore", "semaphore_waiter"),
            rings: RefCell::default(),
            trees: RefCell::default(),
        }
    }

    /// Gives the frames of functions that wait, the innermost first.
    fn frames(&self, stack: &Stack) -> Vec<(usize, LockKind)> {
        let kind = |(at, frame): (usize, &crate::Frame)| {
            let found = self.kernel.symbolize(frame.code())?;
            Some((at, LockKind::of_function(found.symbol.name)?))
        };
        stack.frames.iter().enumerate().filter_map(kind).collect()
    }

    /// Gives the lock with inheritance of priorities that a thread waits for: the kernel notes it.
    fn by_priority(&self, task: &Task) -> Result<Option<Lock>, Error> {
        let object = self.kernel.object("task_struct", task.addr)?;
        // Kernels without such locks have no member for it.
        let Ok(waits) = object.member("pi_blocked_on") else {
            return Ok(None);
        };
        let waiter = waits.deref()?;
        if !waiter.addr().is_kernel() || waiter.member("task")?.pointer()? != task.addr {
            return Ok(None);
        }
        let lock = waiter.member("lock")?.deref()?;
        let node = waiter
            .member("tree_entry")
            .or_else(|_| waiter.member("tree.entry"))?;
        let root = lock.member("waiters.rb_root")?.addr();
        if !self.is_in_tree(root, node.addr()) {
            return Ok(None);
        }
        /// Somebody waits.
        const FLAGS: u64 = 1;
        let owner = VirtAddr(lock.member("owner")?.value()? & !FLAGS);
        Ok(self.owner(owner).map(|owner| Lock {
            addr: lock.addr(),
            owner,
        }))
    }

    /// Tells whether a waiter is in the tree of a lock.
    fn is_in_tree(&self, root: VirtAddr, node: VirtAddr) -> bool {
        let mut trees = self.trees.borrow_mut();
        if trees.roots.contains(&root) {
            return trees.nodes.contains(&(root, node));
        }
        let nodes = kscope_memory::rbtree(self.kernel, root, WAITERS);
        let nodes: HashSet<VirtAddr> = nodes.flatten().collect();
        let is_in = nodes.contains(&node);
        // A waiter stands in one tree: more than there are threads are of damaged memory.
        if trees.nodes.len() + nodes.len() <= self.stacks.len() {
            trees.roots.insert(root);
            trees.nodes.extend(nodes.iter().map(|node| (root, *node)));
        }
        is_in
    }

    /// Gives the owner by its address; none of what is no thread.
    fn owner(&self, owner: VirtAddr) -> Option<LockOwner> {
        match owner.0 {
            0 => Some(LockOwner::Nobody),
            _ => self.known(owner).map(LockOwner::Task),
        }
    }

    fn known(&self, task: VirtAddr) -> Option<VirtAddr> {
        self.stacks.contains_key(&task).then_some(task)
    }

    /// Finds the lock for which a thread waits in a frame of its stack.
    fn lock(
        &self,
        task: &Task,
        stack: &Stack,
        frame: usize,
        kind: LockKind,
    ) -> Result<Option<Lock>, Error> {
        let queue = match kind {
            LockKind::Mutex => &self.mutex,
            LockKind::RwsemRead | LockKind::RwsemWrite => &self.rwsem,
            LockKind::Semaphore => &self.semaphore,
            LockKind::RtMutex => return Ok(None),
        };
        let queue = queue.as_ref().map_err(Clone::clone)?;
        let Some(start) = stack.frames.get(frame).map(|frame| frame.sp) else {
            return Ok(None);
        };
        // Up to where the caller's frame begins.
        let end = stack
            .frames
            .get(frame + 1)
            .map_or(after(start, FRAME), |caller| caller.sp);
        let len = end.0.saturating_sub(start.0).min(FRAME);
        for offset in (0..len).step_by(8) {
            let waiter = after(start, offset);
            if self.thread_of(queue, waiter) != Some(task.addr) {
                continue;
            }
            let Some(ring) = self.ring(queue, waiter) else {
                continue;
            };
            let locks = match queue.is_list {
                true => ring
                    .head
                    .into_iter()
                    .map(|head| head.0.wrapping_sub(queue.head.offset))
                    .map(VirtAddr)
                    .collect(),
                false if ring.head.is_none() => self.pointing(queue, stack, task, &ring.waiters),
                false => Vec::new(),
            };
            for addr in locks {
                if let Some(owner) = self.check(queue, addr, kind)? {
                    return Ok(Some(Lock { addr, owner }));
                }
            }
        }
        Ok(None)
    }

    /// Gives the thread that a waiter names, if the waiter is on that thread's stack.
    fn thread_of(&self, queue: &Queue, waiter: VirtAddr) -> Option<VirtAddr> {
        let task = VirtAddr(self.kernel.read_u64(after(waiter, queue.task)).ok()?);
        let stack = self.stacks.get(&task)?;
        let inside = waiter.offset_from(*stack)? < STACK;
        inside.then_some(task)
    }

    /// Follows the links of a waiter round; none where they do not lead back, or through more than
    /// one that is no waiter.
    fn ring(&self, queue: &Queue, waiter: VirtAddr) -> Option<Rc<Ring>> {
        if let Some(known) = self.rings.borrow().get(&waiter) {
            return known.clone();
        }
        let mut ring = Ring {
            waiters: BTreeSet::new(),
            head: None,
        };
        let is_ring = self.follow(queue, waiter, &mut ring).is_some();
        let ring = Rc::new(ring);
        let found = is_ring.then(|| Rc::clone(&ring));
        // Every link is checked in both directions: the others lead through the same.
        let mut rings = self.rings.borrow_mut();
        rings.extend(ring.waiters.iter().map(|other| (*other, found.clone())));
        found
    }

    /// Follows links up to where they lead back, and collects what they lead through.
    fn follow(&self, queue: &Queue, waiter: VirtAddr, ring: &mut Ring) -> Option<()> {
        const PREVIOUS: u64 = 8;
        let mut at = waiter;
        for _ in 0..WAITERS {
            match self.thread_of(queue, at) {
                Some(_) => drop(ring.waiters.insert(at)),
                None if ring.head.is_none() => ring.head = Some(at),
                None => return None,
            }
            let next = VirtAddr(self.kernel.read_u64(at).ok()?);
            let back = self.kernel.read_u64(after(next, PREVIOUS)).ok()?;
            if !next.is_kernel() || back != at.0 {
                return None;
            }
            if next == waiter {
                return Some(());
            }
            at = next;
        }
        None
    }

    /// Finds locks whose first waiter is one of these, among what the thread has on its stack: the
    /// lock is what its functions work on.
    fn pointing(
        &self,
        queue: &Queue,
        stack: &Stack,
        task: &Task,
        waiters: &BTreeSet<VirtAddr>,
    ) -> Vec<VirtAddr> {
        let mut found = Vec::new();
        let start = task.saved_sp;
        let end = stack.frames.last().map_or(start, |frame| frame.sp);
        let len = end.0.saturating_sub(start.0).min(STACK);
        for offset in (0..len).step_by(8) {
            let Ok(value) = self.kernel.read_u64(after(start, offset)) else {
                continue;
            };
            let lock = VirtAddr(value);
            if !lock.is_kernel() || lock.0 % 8 != 0 || found.contains(&lock) {
                continue;
            }
            // The links of a waiter lead to waiters as well.
            let near = queue.task + 8 + queue.head.offset - 1;
            let around =
                VirtAddr(lock.0.saturating_sub(near))..=VirtAddr(lock.0.saturating_add(near));
            let own = waiters.range(around).next().is_some();
            let first = self.kernel.read_u64(after(lock, queue.head.offset));
            if !own && first.is_ok_and(|first| waiters.contains(&VirtAddr(first))) {
                found.push(lock);
            }
        }
        found
    }

    /// Looks whether a lock's own words say that somebody waits for it, and gives who has it; none
    /// where they do not.
    fn check(
        &self,
        queue: &Queue,
        lock: VirtAddr,
        kind: LockKind,
    ) -> Result<Option<LockOwner>, Error> {
        let object = self.kernel.object(queue.type_name, lock)?;
        /// Bits of an owner's address that say more of the lock.
        const FLAGS: u64 = 7;
        match kind {
            LockKind::Mutex => {
                const WAITERS: u64 = 1;
                let owner = word(&object.member("owner")?, self.kernel)?;
                let task = self.owner(VirtAddr(owner & !FLAGS));
                Ok(task.filter(|_| owner & WAITERS != 0))
            }
            LockKind::RwsemRead | LockKind::RwsemWrite => {
                const WRITER: u64 = 1;
                const WAITERS: u64 = 2;
                const READERS: u32 = 8;
                let count = word(&object.member("count")?, self.kernel)?;
                if count & WAITERS == 0 {
                    return Ok(None);
                }
                let owner = word(&object.member("owner")?, self.kernel)?;
                let task = VirtAddr(owner & !FLAGS);
                let readers = count >> READERS;
                Ok(match (count & WRITER, readers) {
                    (0, 0) => Some(LockOwner::Nobody),
                    (0, count) => Some(LockOwner::Readers {
                        count,
                        last: self.known(task),
                    }),
                    _ => self.known(task).map(LockOwner::Task),
                })
            }
            LockKind::Semaphore => {
                if object.member("count")?.value()? != 0 {
                    return Ok(None);
                }
                let last = match object.member("last_holder") {
                    Ok(holder) => self.known(holder.pointer()?),
                    Err(_) => None,
                };
                Ok(Some(LockOwner::Unknown { last }))
            }
            LockKind::RtMutex => Ok(None),
        }
    }
}

/// Waiters that lead to each other.
struct Ring {
    waiters: BTreeSet<VirtAddr>,
    /// What is among them and no waiter: the head of a list.
    head: Option<VirtAddr>,
}
