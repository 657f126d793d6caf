//! Threads that wait for mutexes of each other.

use kscope_btf::{Encoding, NewMember};

use super::kernel::Tiny;
use super::tasks::{self, Base, Entry, FUNCTIONS, INIT_TASK, TASK, TASKS, function, words};

/// The threads beside the first: two that wait, one that does not. Their numbers follow each other.
pub(crate) const THREADS: [u64; 3] = [TASK, TASK + 0x1000, TASK + 0x2000];
/// The mutexes.
pub(crate) const MUTEXES: [u64; 2] = [0xffff_8880_0050_0000, 0xffff_8880_0050_0100];
/// Where a mutex has its queue.
pub(crate) const QUEUE: u64 = 16;
/// Where a waiter names its thread.
pub(crate) const NAMES: u64 = 16;
const STACKS: u64 = 0xffff_c900_0010_0000;
/// Bytes of what the scheduler leaves on a stack.
const SWITCH: u64 = 56;

/// Where the stack of a thread was when it left its CPU.
pub(crate) fn saved(thread: usize) -> u64 {
    STACKS + 0x1_0000 * thread as u64 + 0x3000
}

/// Where the waiter of a thread is, inside of the frame of the function that waits.
pub(crate) fn waiter(thread: usize) -> u64 {
    saved(thread) + SWITCH + 8
}

/// Writes threads of which the first waits for the first mutex, which the second has, and the second
/// for the other, which the first has. Newer kernels have no list in a mutex: who works on it has it
/// in a register.
pub(crate) fn add(tiny: &mut Tiny, is_list: bool) {
    tasks::add(tiny, 3);
    for (name, ..) in FUNCTIONS {
        tiny.symbols.remove(name);
    }
    let functions = [
        ("__mutex_lock.constprop.0", Entry::Call, Base::Sp, 64),
        ("first_of_a_thread", Entry::End, Base::Undefined, 0),
    ];
    tasks::unwind(tiny, 3, &functions);
    for (index, (name, ..)) in (0..).zip(functions) {
        tiny.symbol(name, 't', function(index));
    }
    tasks::write_types(tiny, types(is_list));
    let ring = [INIT_TASK, THREADS[0], THREADS[1], THREADS[2]];
    for (at, &thread) in ring.iter().enumerate().skip(1) {
        let stack = STACKS + 0x1_0000 * (at as u64 - 1);
        tasks::task(tiny, thread, 41 + at as u32, b"thread", INIT_TASK, stack);
        // Where its stack begins, and where it was.
        words(tiny, thread + 24, &[stack]);
        words(tiny, thread + 112, &[saved(at - 1)]);
    }
    for (at, thread) in ring.iter().enumerate() {
        let (next, previous) = (ring[(at + 1) % 4], ring[(at + 3) % 4]);
        words(tiny, thread + TASKS, &[next + TASKS, previous + TASKS]);
    }
    for thread in 0..3 {
        let mutex = MUTEXES[thread % 2];
        // The saved registers, r12 among them; the third thread sleeps elsewhere.
        let code = function(if thread < 2 { 0 } else { 1 }) + 0x20;
        words(tiny, saved(thread), &[0, 0, 0, mutex, 0, 0, code]);
        words(tiny, saved(thread) + SWITCH + 56, &[function(1) + 0x20]);
    }
    for (thread, &mutex) in MUTEXES.iter().enumerate() {
        let waiter = waiter(thread);
        // Somebody waits: the lowest bit.
        words(tiny, mutex, &[THREADS[1 - thread] | 1, 0]);
        let (queue, links) = match is_list {
            true => ([waiter, waiter], mutex + QUEUE),
            false => ([waiter, 0], waiter),
        };
        words(tiny, mutex + QUEUE, &queue);
        words(tiny, waiter, &[links, links, THREADS[thread]]);
    }
}

/// The number of the first thread of a crowd, behind all else.
const CROWD: usize = 1000;

/// Writes so many more threads that wait for the first mutex, behind the first thread.
pub(crate) fn crowd(tiny: &mut Tiny, is_list: bool, count: usize) {
    let own = CROWD..CROWD + count;
    let task = |thread: usize| TASK + 0x1000 * thread as u64;
    for thread in own.clone() {
        let stack = STACKS + 0x1_0000 * thread as u64;
        tasks::task(
            tiny,
            task(thread),
            thread as u32,
            b"crowd",
            INIT_TASK,
            stack,
        );
        words(tiny, task(thread) + 24, &[stack]);
        words(tiny, task(thread) + 112, &[saved(thread)]);
        let code = function(0) + 0x20;
        words(tiny, saved(thread), &[0, 0, 0, MUTEXES[0], 0, 0, code]);
        words(tiny, saved(thread) + SWITCH + 56, &[function(1) + 0x20]);
        words(tiny, waiter(thread) + NAMES, &[task(thread)]);
    }
    let link = |tiny: &mut Tiny, ring: &[u64]| {
        for (at, link) in ring.iter().enumerate() {
            let (next, previous) = (at + 1, at + ring.len() - 1);
            let links = [ring[next % ring.len()], ring[previous % ring.len()]];
            words(tiny, *link, &links);
        }
    };
    let others = own.clone().map(|thread| task(thread) + TASKS);
    let first = [INIT_TASK, THREADS[0], THREADS[1], THREADS[2]];
    let all: Vec<u64> = first
        .map(|task| task + TASKS)
        .into_iter()
        .chain(others)
        .collect();
    link(tiny, &all);
    let head = is_list.then_some(MUTEXES[0] + QUEUE);
    let waiters = [0].into_iter().chain(own).map(waiter);
    let ring: Vec<u64> = head.into_iter().chain(waiters).collect();
    link(tiny, &ring);
}

fn types(is_list: bool) -> kscope_btf::write::Builder {
    let mut b = tasks::types();
    let long = b.add_int("long", 8, Encoding::Signed);
    let pointer = b.add_ptr(long);
    let links = [
        NewMember::new("next", pointer, 0),
        NewMember::new("prev", pointer, 64),
    ];
    let list = b.add_struct("links", 16, &links);
    let (name, queue) = match is_list {
        true => ("wait_list", list),
        false => ("first_waiter", pointer),
    };
    b.add_struct(
        "mutex",
        32,
        &[
            NewMember::new("owner", long, 0),
            NewMember::new(name, queue, 8 * QUEUE as u32),
        ],
    );
    b.add_struct(
        "mutex_waiter",
        32,
        &[
            NewMember::new("list", list, 0),
            NewMember::new("task", pointer, 8 * NAMES as u32),
        ],
    );
    b
}
