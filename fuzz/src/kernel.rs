//! A small kernel to compile scripts for.

use kscope_btf::Btf;
use kscope_script::catalogue::TextCatalogue;
use kscope_testkit::btf::{BtfWriter, Order};

const CATALOGUE: &str = "\
kscope catalogue 1
tracepoint sched:sched_process_exec
 8 4 u __data_loc char[] filename
 12 4 s pid_t pid
tracepoint sched:sched_switch
 8 16 u char[16] prev_comm
 24 4 s pid_t prev_pid
 28 4 s int prev_prio
 32 8 s long prev_state
tracepoint raw_syscalls:sys_enter
 8 8 s long id
 16 48 u unsigned long[6] args
tracepoint syscalls:sys_enter_openat
tracepoint syscalls:sys_exit_openat
tracepoint syscalls:sys_enter_read
tracepoint syscalls:sys_exit_read
rawtracepoint sched_switch
function do_sys_openat2
function tcp_close
function vfs_read
function vfs_truncate
";

/// Gives its probes.
pub(crate) fn catalogue() -> TextCatalogue {
    TextCatalogue::parse(CATALOGUE).expect("a catalogue")
}

/// Gives its types.
pub(crate) fn types() -> Btf {
    let mut w = BtfWriter::new(Order::Little);
    let int = w.int("int", 4, 1);
    let uint = w.int("unsigned int", 4, 0);
    let long = w.int("long int", 8, 1);
    let letter = w.int("char", 1, 2);
    let truth = w.int("_Bool", 1, 4);
    w.typedef("pid_t", int);
    let name = w.array(letter, uint, 16);
    let numbers = w.array(long, uint, 4);
    let color = w.enumeration("color", 4, false, &[("RED", 0), ("GREEN", 1), ("BLUE", 7)]);
    w.enumeration64("wide", true, &[("HUGE_ONE", u64::MAX / 2)]);
    let arguments = [("arg_start", long, 0, 0), ("arg_end", long, 64, 0)];
    let memory = w.structure("mm_struct", 16, &arguments);
    let memory = w.ptr(memory);
    let either = w.union("", 8, &[("number", long, 0, 0), ("small", int, 0, 0)]);
    // The task points at itself, so its own number is known before it is written.
    let pointer = w.ptr(either + 2);
    let task = w.structure(
        "task_struct",
        160,
        &[
            ("pid", int, 0, 0),
            ("tgid", int, 32, 0),
            ("comm", name, 64, 0),
            ("real_parent", pointer, 192, 0),
            ("numbers", numbers, 256, 0),
            ("flag", uint, 512, 3),
            ("other", uint, 515, 5),
            ("alive", truth, 544, 0),
            ("color", color, 576, 0),
            ("", either, 640, 0),
            ("late", long, 1088, 0),
            ("group_leader", pointer, 1152, 0),
            ("mm", memory, 1216, 0),
        ],
    );
    assert_eq!(task, either + 2);
    let proto = w.prototype(long, &[("task", pointer), ("count", uint)]);
    w.function("vfs_read", proto, 0);
    let id = w.prototype(pointer, &[("pid", int)]);
    w.function("bpf_task_from_pid", id, 0);
    let release = w.prototype(0, &[("p", pointer)]);
    w.function("bpf_task_release", release, 0);
    let path = w.structure("path", 16, &[("mnt", long, 0, 0), ("dentry", long, 64, 0)]);
    let path = w.ptr(path);
    let truncate = w.prototype(long, &[("path", path), ("length", long)]);
    w.function("vfs_truncate", truncate, 0);
    let socket = w.structure("sock", 8, &[("cookie", long, 0, 0)]);
    let socket = w.ptr(socket);
    let close = w.prototype(0, &[("sk", socket), ("timeout", long)]);
    w.function("tcp_close", close, 0);
    let proto = w.prototype(int, &[("__data", pointer), ("prev", pointer)]);
    w.function("__traceiter_sched_switch", proto, 0);
    w.function("bpf_iter_task", proto, 0);
    w.structure(
        "bpf_iter__task",
        16,
        &[("meta", pointer, 0, 0), ("task", pointer, 64, 0)],
    );
    w.enumeration(
        "bpf_func_id",
        4,
        false,
        &[
            ("BPF_FUNC_get_current_task_btf", 158),
            ("BPF_FUNC_get_func_ip", 173),
        ],
    );
    w.typedef("btf_trace_sched_switch", pointer);
    Btf::parse(w.blob()).expect("types")
}
