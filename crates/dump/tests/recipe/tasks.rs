//! Types, tasks and a stack for a kernel built by code.

use kscope_btf::{Encoding, NewMember, TypeId, write::Builder};

use super::kernel::{STEXT, Tiny};

/// Where functions with unwind entries are.
pub(crate) const TEXT: u64 = STEXT + 0x10_0000;
const DATA: u64 = STEXT + 0x18_0000;
pub(crate) const INIT_TASK: u64 = DATA;
pub(crate) const TASK: u64 = 0xffff_8880_0040_0000;
const STACK: u64 = 0xffff_c900_0000_4000;

/// Members of `struct task_struct`: name, offset in bytes.
const CPU: u64 = 8;
const STATE: u64 = 16;
const STACK_AT: u64 = 24;
const FLAGS: u64 = 32;
pub(crate) const TASKS: u64 = 40;
const PID: u64 = 56;
const TGID: u64 = 60;
const THREAD_NODE: u64 = 64;
const SIGNAL: u64 = 80;
const COMM: u64 = 88;
const SP: u64 = 112;

/// Adds types, two tasks, a CPU, and unwind tables of this version.
pub(crate) fn add(tiny: &mut Tiny, version: u32) {
    write_types(tiny, types());
    task(tiny, INIT_TASK, 0, b"swapper/0", TASK, 0);
    task(tiny, TASK, 42, b"sleeper", INIT_TASK, STACK);
    let (mask, offsets, queue) = (DATA + 0x1000, DATA + 0x1100, DATA + 0x1200);
    for (name, addr) in [
        ("init_task", INIT_TASK),
        ("__cpu_possible_mask", mask),
        ("__cpu_online_mask", mask),
        ("__per_cpu_offset", offsets),
        ("runqueues", queue),
        ("modules", DATA + 0x1300),
    ] {
        tiny.symbol(name, 'D', addr);
    }
    tiny.write(mask, &1u64.to_le_bytes());
    tiny.write(offsets, &0u64.to_le_bytes());
    words(tiny, queue, &[INIT_TASK, INIT_TASK]);
    words(tiny, DATA + 0x1300, &[DATA + 0x1300, DATA + 0x1300]);
    stack(tiny);
    unwind(tiny, version, &FUNCTIONS);
}

/// Writes the types of the kernel.
pub(crate) fn write_types(tiny: &mut Tiny, types: Builder) {
    let btf = types.finish();
    let at = DATA + 0x1_0000;
    tiny.write(at, &btf);
    tiny.symbol("__start_BTF", 'r', at);
    tiny.symbol("__stop_BTF", 'r', at + btf.len() as u64);
}

pub(crate) fn words(tiny: &mut Tiny, at: u64, words: &[u64]) {
    for (i, word) in words.iter().enumerate() {
        tiny.write(at + 8 * i as u64, &word.to_le_bytes());
    }
}

pub(crate) fn task(tiny: &mut Tiny, at: u64, pid: u32, comm: &[u8], other: u64, stack: u64) {
    let signal = at + 0x400;
    tiny.write(at, &[0; 128]);
    tiny.write(at + CPU, &0u32.to_le_bytes());
    tiny.write(at + STATE, &u32::from(pid > 0).to_le_bytes());
    words(
        tiny,
        at + STACK_AT,
        &[stack & !0xfff, 0, other + TASKS, other + TASKS],
    );
    tiny.write(at + PID, &pid.to_le_bytes());
    tiny.write(at + TGID, &pid.to_le_bytes());
    words(tiny, at + THREAD_NODE, &[signal + 8, signal + 8, signal]);
    tiny.write(at + COMM, comm);
    words(tiny, at + SP, &[stack]);
    words(tiny, signal, &[0, at + THREAD_NODE, at + THREAD_NODE]);
}

/// The functions of the stack, innermost first, each 256 bytes long: name, kind of its entry,
/// what its frame is counted from, and how far.
pub(crate) const FUNCTIONS: [(&str, Entry, Base, i16); 8] = [
    ("switch_to_next", Entry::Call, Base::Sp, 16),
    ("with_base", Entry::Call, Base::Bp, 16),
    ("without_entry", Entry::Undefined, Base::Undefined, 0),
    ("calls_it", Entry::Call, Base::Sp, 8),
    ("handler", Entry::Registers, Base::Sp, 0),
    ("interrupted", Entry::Call, Base::Sp, 8),
    ("system_call", Entry::Registers, Base::Sp, 0),
    ("first_of_a_thread", Entry::End, Base::Undefined, 0),
];

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Entry {
    Undefined,
    End,
    Call,
    Registers,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Base {
    Undefined,
    Sp,
    Bp,
}

pub(crate) fn function(index: u64) -> u64 {
    TEXT + index * 0x100
}

fn stack(tiny: &mut Tiny) {
    let inside = |index| function(index) + 0x20;
    let base = STACK + 0x100;
    let above = STACK + 0x400;
    // The saved registers: r15 to bx, base pointer, return address.
    words(tiny, STACK, &[0, 0, 0, 0, 0, base, inside(0)]);
    words(tiny, STACK + 56, &[0, inside(1)]);
    words(tiny, base, &[0, inside(2)]);
    // An address of code that no call stands before, then the right one.
    words(tiny, base + 16, &[inside(5), function(3) + 0x15]);
    tiny.write(function(3) + 0x10, &[0xe8]);
    let offset = function(2).wrapping_sub(function(3) + 0x15) as i32;
    tiny.write(function(3) + 0x11, &offset.to_le_bytes());
    words(tiny, base + 32, &[inside(4)]);
    let mut registers = [0; 21];
    (registers[16], registers[17], registers[19]) = (function(5) + 8, 0x10, above);
    words(tiny, base + 40, &registers);
    words(tiny, above, &[inside(6)]);
    (registers[16], registers[17], registers[19]) = (0x40_1000, 0x33, 0x7ffd_0000);
    words(tiny, above + 8, &registers);
    for index in 0..FUNCTIONS.len() as u64 {
        tiny.write(function(index), &[0x90]);
        tiny.symbol(FUNCTIONS[index as usize].0, 'T', function(index));
    }
    tiny.symbol("_etext", 'T', function(FUNCTIONS.len() as u64));
}

/// Writes an entry's fields as a version of the format has them.
fn fields(version: u32, kind: Entry, base: Base) -> u16 {
    let registers = if version == 4 {
        [0, 3, 4, 8]
    } else {
        [0, 5, 4, 1]
    };
    let sp = registers[base as usize];
    // Who counts from the base pointer finds the caller's below the return address.
    let bp = if base == Base::Bp { registers[3] } else { 0 };
    let kind = match (version, kind) {
        (1, Entry::End) => 0x400,
        (2, Entry::End) => 0x800,
        (1 | 2, Entry::Registers) => 0x100,
        (1 | 2, _) => 0,
        (_, Entry::Undefined) => 0,
        (_, Entry::End) => 0x100,
        (_, Entry::Call) => 0x200,
        (_, Entry::Registers) => 0x300,
    };
    sp | bp << 4 | kind
}

/// Writes unwind tables of these functions.
pub(crate) fn unwind(tiny: &mut Tiny, version: u32, functions: &[(&str, Entry, Base, i16)]) {
    let (addresses, entries) = (DATA + 0x2000, DATA + 0x3000);
    let count = functions.len() as u64;
    for (i, &(_, kind, base, offset)) in (0..).zip(functions) {
        let place = addresses + i * 4;
        let relative = (function(i) as i64 - place as i64) as i32;
        tiny.write(place, &relative.to_le_bytes());
        let mut entry = Vec::new();
        entry.extend_from_slice(&offset.to_le_bytes());
        entry.extend_from_slice(&(-16i16).to_le_bytes());
        entry.extend_from_slice(&fields(version, kind, base).to_le_bytes());
        tiny.write(entries + i * 6, &entry);
    }
    for (name, addr) in [
        ("__start_orc_unwind_ip", addresses),
        ("__stop_orc_unwind_ip", addresses + count * 4),
        ("__start_orc_unwind", entries),
        ("__stop_orc_unwind", entries + count * 6),
    ] {
        tiny.symbol(name, 'r', addr);
    }
}

/// Gives the types that tasks need; they are written with others, or alone.
pub(crate) fn types() -> Builder {
    let mut b = Builder::new();
    let int = b.add_int("int", 4, Encoding::Signed);
    let unsigned = b.add_int("unsigned int", 4, Encoding::Unsigned);
    let long = b.add_int("unsigned long", 8, Encoding::Unsigned);
    let char_ = b.add_int("char", 1, Encoding::Signed);
    let pointer = b.add_ptr(long);
    let bytes = |at: u64| at as u32 * 8;
    let list = b.add_struct(
        "list_head",
        16,
        &[
            NewMember::new("next", pointer, 0),
            NewMember::new("prev", pointer, 64),
        ],
    );
    let comm = b.add_array(char_, int, 16);
    let bits = b.add_array(long, int, 1);
    let info = b.add_struct(
        "thread_info",
        16,
        &[NewMember::new("cpu", unsigned, bytes(CPU))],
    );
    let thread = b.add_struct("thread_struct", 16, &[NewMember::new("sp", long, 64)]);
    let member = |name, type_id: TypeId, at| NewMember::new(name, type_id, bytes(at));
    b.add_struct(
        "task_struct",
        256,
        &[
            member("thread_info", info, 0),
            member("__state", unsigned, STATE),
            member("stack", pointer, STACK_AT),
            member("flags", unsigned, FLAGS),
            member("tasks", list, TASKS),
            member("pid", int, PID),
            member("tgid", int, TGID),
            member("thread_node", list, THREAD_NODE),
            member("signal", pointer, SIGNAL),
            member("comm", comm, COMM),
            member("thread", thread, SP - 8),
        ],
    );
    b.add_struct("signal_struct", 64, &[member("thread_head", list, 8)]);
    b.add_struct(
        "rq",
        16,
        &[member("curr", pointer, 0), member("idle", pointer, 8)],
    );
    b.add_struct("cpumask", 8, &[member("bits", bits, 0)]);
    b.add_struct(
        "module",
        64,
        &[member("list", list, 8), member("name", comm, 24)],
    );
    b.add_struct(
        "inactive_task_frame",
        56,
        &[member("bp", long, 40), member("ret_addr", long, 48)],
    );
    b
}
