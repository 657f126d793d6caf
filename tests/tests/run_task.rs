//! What scripts are told of the running thread, in every kind of program: kernels that give
//! programs a typed pointer to it are asked in another way than those that have only helpers.

use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use kscope_bpf::Features;
use kscope_tests::assembly::kernel_types;
use kscope_tests::program::{Tracer, kscope};
use kscope_tests::{kernel_or_skip, skip};
use rustix::process::{Gid, Uid, getpid, getpriority_process};
use rustix::thread::{gettid, set_name, set_thread_gid, set_thread_uid};

/// Names that the thread takes one after the other: the longest, one word of eight bytes, and
/// shorter ones, behind which some kernels leave the rest of the names before.
const NAMES: [&std::ffi::CStr; 4] = [c"fifteen-letters", c"the-word", c"elevenchars", c"go"];
const UID: u32 = 12_345;
const GID: u32 = 54_321;

/// Calls that the thread makes under each name.
const CALLS: u32 = 100;

/// How long it works under each name where it is found by sampling.
const SPIN: Duration = Duration::from_millis(300);

#[cfg(target_arch = "x86_64")]
const CALL: (u32, &str) = (140, "__x64_sys_getpriority");
#[cfg(not(target_arch = "x86_64"))]
const CALL: (u32, &str) = (141, "__arm64_sys_getpriority");

/// Traces a thread of many names; each must be seen, with its ids, `CALLS` times if `counted`.
fn check(probe: &str, condition: &str, counted: bool) {
    let program = kscope();
    let (tell, told) = channel();
    let (go, wait) = channel();
    let worker = thread::spawn(move || {
        set_thread_gid(Gid::from_raw(GID)).expect("root may");
        set_thread_uid(Uid::from_raw(UID)).expect("root may");
        tell.send(gettid().as_raw_nonzero()).expect("it listens");
        wait.recv().expect("it speaks");
        for name in NAMES {
            set_name(name).expect("a thread may rename itself");
            let start = Instant::now();
            let mut calls = 0;
            while calls < CALLS || (!counted && start.elapsed() < SPIN) {
                getpriority_process(None).expect("its own");
                calls += 1;
            }
        }
    });
    let tid = told.recv().expect("it speaks");
    let script = format!(
        "{probe} /tid == {tid}{condition}/ {{
            @[pid, tid, comm, uid, gid] = count();
            if (comm == \"go\" && gid == {GID}) {{ @go[pid, tid, comm] = count(); }}
        }}"
    );
    let tracer = Tracer::start(&program, &["run", "-e", &script])
        .unwrap_or_else(|left| panic!("{probe}: {left:?}"));
    go.send(()).expect("it listens");
    worker.join().expect("the thread ends");
    let left = tracer.interrupt();
    let pid = getpid().as_raw_nonzero();
    let names = NAMES.map(|name| name.to_str().expect("letters"));
    let mut expected: Vec<String> = names
        .iter()
        .map(|name| format!("@[{pid}, {tid}, {name}, {UID}, {GID}]"))
        .collect();
    expected.push(format!("@go[{pid}, {tid}, go]"));
    let lines = left.lines.iter().filter(|line| !line.is_empty());
    let mut found: Vec<String> = lines
        .map(|line| match line.rsplit_once(": ") {
            Some((key, count)) if !counted && count != "0" => key.to_owned(),
            Some((key, count)) if count == CALLS.to_string() => key.to_owned(),
            _ => line.clone(),
        })
        .collect();
    expected.sort();
    found.sort();
    // What is sampled before the first new name has that of the thread that made it.
    if !counted {
        found.retain(|key| expected.contains(key));
    }
    assert_eq!(found, expected, "{probe}\n{left:?}");
}

#[test]
fn in_tracepoints() {
    let _kernel = kernel_or_skip!();
    let call = CALL.0;
    check(
        "tracepoint:raw_syscalls:sys_enter",
        &format!(" && args.id == {call}"),
        true,
    );
    check(
        "rawtracepoint:sys_enter",
        &format!(" && arg1 == {call}"),
        true,
    );
}

#[test]
fn in_samples() {
    let _kernel = kernel_or_skip!();
    check("profile:hz:999", "", false);
}

#[test]
fn in_kprobes() {
    let kernel = kernel_or_skip!();
    if !Features::new(kernel, kernel_types())
        .kprobe()
        .is_available()
    {
        skip!("kprobe", "this kernel has no kprobes");
    }
    check(&format!("kprobe:{}", CALL.1), "", true);
    check(&format!("kretprobe:{}", CALL.1), "", true);
}
