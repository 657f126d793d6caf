//! A workqueue of a pool with one worker: a work that runs, one behind it, one that waits for a worker
//! and stands for a thread that waits for it, one above the limit.

use kscope_btf::{Encoding, NewMember, TypeId};

use super::kernel::Tiny;
use super::tasks::{self, TASK, words};

const DATA: u64 = 0xffff_8880_0050_0000;
pub(crate) const POOL: u64 = DATA;
const WORKER: u64 = DATA + 0x400;
const QUEUE: u64 = DATA + 0x800;
/// The queue's part in the pool; the low bits of its address are flags of works.
const PART: u64 = DATA + 0xc00;
/// The works: one that runs, those that wait.
pub(crate) const WORKS: [u64; 4] = [DATA + 0x1000, DATA + 0x1100, DATA + 0x1200, DATA + 0x1300];
/// Ticks and nanoseconds since the start: 40 s at 250 ticks a second.
const TICKS: u64 = 4_294_892_296 + 10_000;
const SECONDS: u64 = 40;

/// Members of a pool, a worker, a part, a queue and a work: where they are.
const WORKLIST: u64 = 40;
const WORKERS: u64 = 56;
const SCHEDULED: u64 = 24;
const NODE: u64 = 40;
const INACTIVE: u64 = 24;
const PWQS: u64 = 40;
const MAYDAYS: u64 = 32;
const ENTRY: u64 = 8;

/// Writes them. The pool took its last work `stalled` ticks ago.
pub(crate) fn add(tiny: &mut Tiny, stalled: u64) {
    tasks::add(tiny, 3);
    tasks::write_types(tiny, types());
    let symbol = |tiny: &mut Tiny, name: &str, at: u64, content: &[u64]| {
        tiny.symbol(name, 'D', DATA_OF_IMAGE + at);
        words(tiny, DATA_OF_IMAGE + at, content);
    };
    symbol(tiny, "jiffies_64", 0, &[TICKS]);
    // The clock behind a sequence counter: shift, nanoseconds beside whole ones, nanoseconds.
    symbol(tiny, "tk_core", 0x40, &[0, 0, 0, SECONDS * 1_000_000_000]);
    // An array with one entry has it in its head.
    symbol(tiny, "worker_pool_idr", 0x80, &[POOL]);
    let queues = DATA_OF_IMAGE + 0xc0;
    symbol(tiny, "workqueues", 0xc0, &[QUEUE + 16, QUEUE + 16]);
    symbol(tiny, "wq_barrier_func", 0x100, &[]);
    symbol(tiny, "work_function", 0x140, &[]);
    symbol(tiny, "delayed_work_timer_fn", 0x180, &[]);
    symbol(tiny, "timer_bases", 0x1c0, &[0; 4]);
    symbol(tiny, "behind_them", 0x200, &[0]);
    let (function, barrier) = (DATA_OF_IMAGE + 0x140, DATA_OF_IMAGE + 0x100);

    // Its number and CPU, when it took the last work, workers, idle ones, attributes.
    words(
        tiny,
        POOL,
        &[7 | 1 << 32, TICKS - stalled, 1, 0, POOL + 0x100],
    );
    ring(tiny, POOL + WORKLIST, &[WORKS[2] + ENTRY]);
    ring(tiny, POOL + WORKERS, &[WORKER + NODE]);
    words(tiny, POOL + 0x100, &[(-20i64) as u32 as u64]);
    words(tiny, WORKER, &[WORKS[0], PART, TASK]);
    ring(tiny, WORKER + SCHEDULED, &[WORKS[1] + ENTRY]);
    words(tiny, WORKER + 56, &[function, 0]);
    ring(tiny, PART + INACTIVE, &[WORKS[3] + ENTRY]);
    words(tiny, PART, &[POOL, QUEUE, 1 | 1 << 32]);
    ring(tiny, QUEUE, &[PART + PWQS]);
    words(tiny, QUEUE + 16, &[queues, queues, 0]);
    // Somebody calls for the rescuer, which there is none of.
    ring(tiny, QUEUE + MAYDAYS, &[PART + 64]);
    tiny.write(QUEUE + 48, b"queue\0");
    for (at, work) in WORKS.into_iter().enumerate() {
        let code = if at == 2 { barrier } else { function };
        // Pending, and where it is queued.
        words(tiny, work, &[PART | 5]);
        words(tiny, work + 24, &[code, TASK]);
    }
}

/// Where variables are: behind what tasks have there.
const DATA_OF_IMAGE: u64 = super::kernel::STEXT + 0x1a_0000;

/// Links entries to a head.
fn ring(tiny: &mut Tiny, head: u64, entries: &[u64]) {
    let all: Vec<u64> = std::iter::once(head)
        .chain(entries.iter().copied())
        .collect();
    for (at, &link) in all.iter().enumerate() {
        let next = all[(at + 1) % all.len()];
        let previous = all[(at + all.len() - 1) % all.len()];
        words(tiny, link, &[next, previous]);
    }
}

fn types() -> kscope_btf::write::Builder {
    let mut b = tasks::types();
    let int = b.add_int("int", 4, Encoding::Signed);
    let long = b.add_int("unsigned long", 8, Encoding::Unsigned);
    let word = b.add_int("long", 8, Encoding::Signed);
    let char_ = b.add_int("char", 1, Encoding::Signed);
    let pointer = b.add_ptr(long);
    let list = [("next", pointer, 0), ("prev", pointer, 8)];
    let list = structure(&mut b, "links", 16, &list);
    let slots = b.add_array(pointer, int, 64);
    let name = b.add_array(char_, int, 24);
    structure(
        &mut b,
        "xa_node",
        520,
        &[("shift", char_, 0), ("slots", slots, 8)],
    );
    let array = structure(&mut b, "xarray", 8, &[("xa_head", pointer, 0)]);
    structure(&mut b, "idr", 8, &[("idr_rt", array, 0)]);
    let clock = [
        ("shift", int, 0),
        ("xtime_nsec", long, 8),
        ("base", long, 16),
    ];
    let clock = structure(&mut b, "tk_read_base", 24, &clock);
    structure(&mut b, "timekeeper", 24, &[("tkr_mono", clock, 0)]);
    let attributes = structure(&mut b, "workqueue_attrs", 8, &[("nice", int, 0)]);
    let attributes = b.add_ptr(attributes);
    let pool = [
        ("id", int, 0),
        ("cpu", int, 4),
        ("watchdog_ts", long, 8),
        ("nr_workers", int, 16),
        ("nr_idle", int, 24),
        ("attrs", attributes, 32),
        ("worklist", list, WORKLIST as u32),
        ("workers", list, WORKERS as u32),
    ];
    let pool = structure(&mut b, "worker_pool", 128, &pool);
    let pool = b.add_ptr(pool);
    let queue = [
        ("pwqs", list, 0),
        ("list", list, 16),
        ("maydays", list, MAYDAYS as u32),
        ("name", name, 48),
        ("rescuer", pointer, 80),
    ];
    let queue = structure(&mut b, "workqueue_struct", 96, &queue);
    let queue = b.add_ptr(queue);
    let part = [
        ("pool", pool, 0),
        ("wq", queue, 8),
        ("nr_active", int, 16),
        ("max_active", int, 20),
        ("inactive_works", list, INACTIVE as u32),
        ("pwqs_node", list, PWQS as u32),
    ];
    let part = structure(&mut b, "pool_workqueue", 96, &part);
    let part = b.add_ptr(part);
    let named = [("pid", int, 56)];
    let task = structure(&mut b, "thread", 256, &named);
    let task = b.add_ptr(task);
    let worker = [
        ("current_work", pointer, 0),
        ("current_pwq", part, 8),
        ("task", task, 16),
        ("scheduled", list, SCHEDULED as u32),
        ("node", list, NODE as u32),
        ("current_func", pointer, 56),
        ("rescue_wq", pointer, 64),
    ];
    structure(&mut b, "worker", 96, &worker);
    let work = [
        ("data", word, 0),
        ("entry", list, ENTRY as u32),
        ("func", pointer, 24),
    ];
    let work = structure(&mut b, "work_struct", 32, &work);
    structure(
        &mut b,
        "wq_barrier",
        40,
        &[("work", work, 0), ("task", pointer, 32)],
    );
    b.add_enum(
        "work_bits",
        4,
        &[("WORK_STRUCT_PWQ", 4), ("WORK_STRUCT_FLAG_BITS", 8)],
    );
    b
}

fn structure(
    b: &mut kscope_btf::write::Builder,
    name: &str,
    size: u32,
    members: &[(&str, TypeId, u32)],
) -> TypeId {
    let members = members.iter();
    let members: Vec<NewMember<'_>> = members
        .map(|&(name, type_id, at)| NewMember::new(name, type_id, 8 * at))
        .collect();
    b.add_struct(name, size, &members)
}
