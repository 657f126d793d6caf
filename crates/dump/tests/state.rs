//! Locks and workqueues of kernels built by code: a lock is named where all fits, and not otherwise; works
//! wait for what they wait for.

mod recipe;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use kscope_btf::{Encoding, NewMember};
use kscope_dump::{Bytes, Dump, DumpOptions, Error, Kernel, LockKind, LockOwner, PendingWhy};
use kscope_memory::VirtAddr;
use recipe::kernel::{MAP, SHAPE, Tiny};
use recipe::locks::{self, MUTEXES, NAMES, QUEUE, THREADS, saved, waiter};
use recipe::{Kdump, Pack, tasks, works};

fn kernel(add: impl FnOnce(&mut Tiny)) -> Kernel {
    let mut tiny = Tiny::new(SHAPE);
    tiny.functions = 16;
    add(&mut tiny);
    let file = Kdump::new(Pack::Raw).write(&tiny.finish());
    let files: Vec<Arc<dyn Bytes>> = vec![Arc::new(file)];
    let dump = Dump::from_bytes(files, DumpOptions::default()).expect("a dump");
    Kernel::open(dump).expect("a kernel")
}

/// What is expected of a thread that waits: the lock, and who has it; numbers of [`MUTEXES`] and
/// [`THREADS`].
type Expected = Option<(usize, Option<usize>)>;

/// Looks who waits once words of memory are changed; the threads that wait are the first two.
fn check(is_list: bool, changed: &[(u64, u64)], expected: [Expected; 2], deadlocks: &[&[usize]]) {
    let kernel = kernel(|tiny| {
        locks::add(tiny, is_list);
        for (at, word) in changed {
            tiny.write(*at, &word.to_le_bytes());
        }
    });
    let found = kernel.locks().expect("locks");
    let thread = |addr| THREADS.iter().position(|thread| *thread == addr);
    assert_eq!(found.waits.len(), 2, "{changed:x?}: {found:?}");
    for (at, (wait, expected)) in found.waits.iter().zip(expected).enumerate() {
        assert_eq!(thread(wait.task.addr.0), Some(at));
        assert_eq!(wait.kind, LockKind::Mutex);
        let lock = wait.lock.map(|lock| {
            let number = MUTEXES.iter().position(|mutex| *mutex == lock.addr.0);
            let owner = match lock.owner {
                LockOwner::Task(owner) => thread(owner.0),
                LockOwner::Nobody => None,
                other => panic!("{other:?}"),
            };
            (number.expect("a mutex"), owner)
        });
        assert_eq!(lock, expected, "{changed:x?}, thread {at}");
    }
    let cycles = found.deadlocks.iter();
    let cycles: Vec<Vec<usize>> = cycles
        .map(|cycle| cycle.iter().filter_map(|task| thread(task.0)).collect())
        .collect();
    assert_eq!(cycles, deadlocks, "{changed:x?}");
}

const FIRST: Expected = Some((0, Some(1)));
const SECOND: Expected = Some((1, Some(0)));

#[test]
fn two_threads_that_wait_for_each_other() {
    for is_list in [true, false] {
        let check = |changed: &[(u64, u64)], expected, deadlocks: &[&[usize]]| {
            check(is_list, changed, expected, deadlocks);
        };
        check(&[], [FIRST, SECOND], &[&[0, 1]]);
        // The third has the other mutex, and does not wait.
        let third = THREADS[2] | 1;
        check(&[(MUTEXES[1], third)], [FIRST, Some((1, Some(2)))], &[]);
        // Bits that say who is to get it next are no part of the address.
        check(
            &[(MUTEXES[1], THREADS[2] | 7)],
            [FIRST, Some((1, Some(2)))],
            &[],
        );
        // Nobody has it for a moment.
        check(&[(MUTEXES[0], 1)], [Some((0, None)), SECOND], &[]);
        // A thread waits for what it has itself.
        let own = THREADS[0] | 1;
        check(&[(MUTEXES[0], own)], [Some((0, Some(0))), SECOND], &[&[0]]);
    }
}

#[test]
fn what_does_not_fit_is_no_lock() {
    for is_list in [true, false] {
        let check = |at: u64, word: u64| {
            check(is_list, &[(at, word)], [None, SECOND], &[]);
        };
        // Nobody waits; what has it is no thread.
        check(MUTEXES[0], THREADS[1]);
        check(MUTEXES[0], 0xffff_8880_0066_0001);
        // The waiter is another thread's, or of none; its links do not lead back, or nowhere.
        check(waiter(0) + NAMES, THREADS[1]);
        check(waiter(0) + NAMES, 0);
        check(waiter(0), 0);
        check(waiter(0), 0xffff_8880_7777_0000);
        check(waiter(0), waiter(1));
        check(waiter(0) + 8, waiter(0) + 64);
    }
}

#[test]
fn a_list_has_one_head() {
    // Both mutexes are in one ring with the first waiter.
    let (first, second) = (MUTEXES[0] + QUEUE, MUTEXES[1] + QUEUE);
    let ring = [
        (first, waiter(0)),
        (waiter(0) + 8, first),
        (waiter(0), second),
        (second + 8, waiter(0)),
        (second, first),
        (first + 8, second),
    ];
    check(true, &ring, [None, None], &[]);
}

#[test]
fn several_wait_for_one() {
    let own = THREADS[2] | 1;
    let both = [Some((0, Some(2))), Some((0, Some(2)))];
    let queue = MUTEXES[0] + QUEUE;
    let list = [
        (MUTEXES[0], own),
        (queue + 8, waiter(1)),
        (waiter(0), waiter(1)),
        (waiter(1) + 8, waiter(0)),
        (waiter(1), queue),
    ];
    check(true, &list, both, &[]);
    // The second thread has the mutex in a register too.
    let ring = [
        (MUTEXES[0], own),
        (saved(1) + 24, MUTEXES[0]),
        (waiter(0), waiter(1)),
        (waiter(0) + 8, waiter(1)),
        (waiter(1), waiter(0)),
        (waiter(1) + 8, waiter(0)),
    ];
    check(false, &ring, both, &[]);
}

#[test]
fn thousands_wait_for_one() {
    const COUNT: usize = 2500;
    for is_list in [true, false] {
        let kernel = kernel(|tiny| {
            locks::add(tiny, is_list);
            locks::crowd(tiny, is_list, COUNT);
        });
        let found = kernel.locks().expect("locks");
        assert_eq!(found.unread.count, 0, "{:?}", found.unread);
        let of_first = found.waits.iter().filter(|wait| {
            let lock = wait.lock.map(|lock| (lock.addr.0, lock.owner));
            lock == Some((MUTEXES[0], LockOwner::Task(VirtAddr(THREADS[1]))))
        });
        assert_eq!(of_first.count(), COUNT + 1);
        assert_eq!(found.waits.len(), COUNT + 2);
        assert_eq!(found.deadlocks.len(), 1);
    }
}

#[test]
fn what_takes_long_can_be_stopped() {
    // Each asks as often as it has steps, and ends at whichever of them somebody says so.
    let asked = Arc::new(AtomicUsize::new(0));
    let most = Arc::new(AtomicUsize::new(usize::MAX));
    let kernel = kernel(|tiny| locks::add(tiny, true));
    let (count, end) = (Arc::clone(&asked), Arc::clone(&most));
    kernel.stop_when(move || count.fetch_add(1, Ordering::Relaxed) >= end.load(Ordering::Relaxed));
    type Walk<'w> = &'w dyn Fn() -> Result<usize, Error>;
    let walks: [(&str, Walk<'_>); 2] = [
        ("tasks", &|| Ok(kernel.tasks()?.items.len())),
        ("locks", &|| Ok(kernel.locks()?.waits.len())),
    ];
    for (name, walk) in walks {
        most.store(usize::MAX, Ordering::Relaxed);
        asked.store(0, Ordering::Relaxed);
        let whole = walk().expect("not stopped");
        let steps = asked.load(Ordering::Relaxed);
        assert!(whole > 1 && steps >= 4, "{name}: {whole} in {steps}");
        for end in 0..steps {
            most.store(end, Ordering::Relaxed);
            asked.store(0, Ordering::Relaxed);
            let stopped = walk();
            assert!(
                matches!(stopped, Err(Error::Stopped)),
                "{name} {end}: {stopped:?}"
            );
            assert_eq!(asked.load(Ordering::Relaxed), end + 1, "{name}");
        }
    }
}

#[test]
fn a_mutex_without_a_list_is_found_by_a_register() {
    let r12 = saved(0) + 24;
    check(false, &[(r12, 0)], [None, SECOND], &[]);
    // Another mutex, for which others wait.
    check(false, &[(r12, MUTEXES[1])], [None, SECOND], &[]);
    // What leads to the waiter and is no mutex: its own links.
    check(false, &[(r12, waiter(0) - QUEUE)], [None, SECOND], &[]);
}

#[test]
fn a_type_that_is_missing_is_named() {
    let kernel = kernel(|tiny| {
        locks::add(tiny, true);
        tasks::write_types(tiny, tasks::types());
    });
    let found = kernel.locks().expect("locks");
    assert_eq!(found.waits.len(), 2);
    assert!(found.waits.iter().all(|wait| wait.lock.is_none()));
    assert_eq!(found.unread.count, 2);
    let why = found.unread.first.expect("why").to_string();
    assert_eq!(why, "this kernel has no type mutex");
    let check = |error: Option<Error>, expected: &str| {
        assert_eq!(error.expect("an error").to_string(), expected);
    };
    check(
        kernel.workqueues().err(),
        "this kernel has no type workqueue_struct",
    );
    check(
        kernel.slab_caches().err(),
        "this kernel has no symbol slab_caches",
    );
    check(
        kernel.block_requests().err(),
        "this kernel has no symbol block_class",
    );
    check(
        kernel.process_memory().err(),
        "this kernel has no constant MM_FILEPAGES",
    );
    let figures = kernel.memory_figures();
    let total = figures.iter().find(|figure| figure.name == "MemTotal");
    check(
        total.expect("a line").value.clone().err(),
        "this kernel has no symbol _totalram_pages",
    );
}

#[test]
fn a_kernel_without_swap_has_none() {
    const PLACE: u64 = MAP + 0x118_0000;
    let check = |symbols: &[&str], expected: Result<u64, &str>| {
        let kernel = kernel(|tiny| {
            for name in symbols {
                tiny.symbol(name, 'D', PLACE);
            }
            tiny.write(PLACE, &5u64.to_le_bytes());
        });
        for name in ["SwapTotal", "SwapFree"] {
            let figures = kernel.memory_figures();
            let figure = figures.iter().find(|figure| figure.name == name);
            let value = figure.expect("a line").value.clone();
            let value = value.map_err(|error| error.to_string());
            assert_eq!(value, expected.map_err(str::to_owned), "{symbols:?}");
        }
    };
    check(&["total_swap_pages", "nr_swap_pages"], Ok(5 * 4096));
    check(&[], Ok(0));
    // It has some, and cannot be asked.
    let all = kernel(|tiny| tiny.symbol("si_swapinfo", 'T', PLACE));
    let figures = all.memory_figures();
    let total = figures.iter().find(|figure| figure.name == "SwapTotal");
    let why = total.expect("a line").value.clone().expect_err("no number");
    assert_eq!(
        why.to_string(),
        "this kernel has no symbol total_swap_pages"
    );
}

#[test]
fn the_unit_of_transparent_huge_pages() {
    const PLACE: u64 = MAP + 0x118_0000;
    let check = |swap: bool, users: Option<&str>, expected: u64| {
        let kernel = kernel(|tiny| {
            let mut types = tasks::types();
            let long = types.add_int("long", 8, Encoding::Signed);
            let mut counters = vec![("NR_ANON_THPS", 0)];
            if swap {
                counters.push(("NR_SWAPCACHE", 1));
            }
            types.add_enum("node_stat_item", 4, &counters);
            let users = users.map(|member| NewMember::new(member, long, 64));
            let members = [Some(NewMember::new("mnt_root", long, 0)), users];
            let members: Vec<NewMember<'_>> = members.into_iter().flatten().collect();
            types.add_struct("vfsmount", 16, &members);
            tasks::write_types(tiny, types);
            tiny.symbol("vm_node_stat", 'D', PLACE);
            tiny.write(PLACE, &3u64.to_le_bytes());
        });
        let figures = kernel.memory_figures();
        let figure = figures.iter().find(|figure| figure.name == "AnonHugePages");
        let value = figure.expect("a line").value.clone().expect("a number");
        assert_eq!(value, 3 * expected, "{swap} {users:?}");
    };
    check(false, None, 2 << 20);
    check(true, None, 4096);
    check(false, Some("mnt_userns"), 4096);
    check(false, Some("mnt_idmap"), 4096);
}

#[test]
fn works_run_and_wait() {
    const SECOND: u64 = 1_000_000_000;
    let kernel = kernel(|tiny| works::add(tiny, 250 * 35));
    let found = kernel.workqueues().expect("workqueues");
    let [pool] = &*found.pools else {
        panic!("{found:?}");
    };
    assert_eq!((pool.id, pool.cpu, pool.nice), (7, Some(1), -20));
    assert_eq!((pool.workers, pool.idle, pool.busy), (1, 0, 1));
    assert_eq!((pool.pending, pool.stalled), (1, Some(35 * SECOND)));
    let [running] = &*found.running else {
        panic!("{found:?}");
    };
    assert_eq!(running.work.0, works::WORKS[0]);
    assert_eq!((running.pid, &*running.queue), (42, "queue"));
    assert_eq!((running.pool, running.rescuer), (Some(7), false));
    assert_eq!(running.runs, Some(35 * SECOND));
    let pending: Vec<_> = found
        .pending
        .iter()
        .map(|work| (work.work.0, work.why, work.waiter.map(|task| task.0)))
        .collect();
    let expected = [
        (works::WORKS[2], PendingWhy::Worker, Some(tasks::TASK)),
        (works::WORKS[1], PendingWhy::Behind, None),
        (works::WORKS[3], PendingWhy::Limit, None),
    ];
    assert_eq!(pending, expected);
    assert!(found.pending.iter().all(|work| work.queue == "queue"));
    let [queue] = &*found.queues else {
        panic!("{found:?}");
    };
    assert_eq!((queue.active, queue.limit, queue.waiting), (1, 1, 1));
    assert_eq!((queue.rescuer, queue.called), (None, true));
    // Works to come are missing alone.
    let why = found.unread.first.expect("why").to_string();
    assert_eq!(why, "this kernel has no type timer_base");
}
