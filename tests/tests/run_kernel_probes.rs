//! Probes of the kernel that have typed arguments, count events or walk over objects.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kscope_tests::program::run;
use kscope_tests::{kernel_or_skip, kscope_or_skip, skip};

/// Demands that a script ends well and prints these lines, blank ones left out.
#[track_caller]
fn prints(program: &Path, script: &str, expected: &[&str]) {
    let (code, out, err) = run(program, &["run", "-q", "-e", script]);
    let lines: Vec<&str> = out.lines().filter(|line| !line.is_empty()).collect();
    assert_eq!(code, Some(0), "{script}\n{out}\n{err}");
    assert_eq!(lines, expected, "{script}\n{err}");
}

/// Demands that a script is refused with words.
#[track_caller]
fn refused(program: &Path, script: &str, words: &[&str]) {
    let (code, out, err) = run(program, &["run", "-q", "-e", script]);
    assert_eq!(code, Some(1), "{script}\n{out}\n{err}");
    for word in words {
        assert!(err.contains(word), "{script}: no `{word}` in\n{err}");
    }
}

/// Reads files for as long as it is held: a guest in which nothing happens reads none.
struct Reading(Arc<AtomicBool>);

impl Reading {
    fn start() -> Reading {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                drop(std::fs::read("/proc/self/comm"));
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        Reading(stop)
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn counters_of_the_kernel_run_programs() {
    kernel_or_skip!();
    let kscope = kscope_or_skip!();
    prints(
        &kscope,
        // Two CPUs may both be there before the first has ended the run.
        "software:cpu-clock:1000000 { @[probe, probetype] = 1; exit(); }",
        &["@[software:cpu-clock:1000000, software]: 1"],
    );
    // Each CPU sleeps and wakes the script's own thread.
    prints(
        &kscope,
        "s:cs:1 { @ = 1; } interval:ms:100 { exit(); }",
        &["@: 1"],
    );
}

#[test]
fn raw_tracepoints_have_typed_arguments() {
    kernel_or_skip!();
    let kscope = kscope_or_skip!();
    // The task that is switched from is the one that still runs.
    prints(
        &kscope,
        "rawtracepoint:sched_switch { @switches = 1; if (args.prev.pid != tid) { @other = 1; } \
         if (args.prev.comm != comm) { @name = 1; } } \
         interval:ms:200 { exit(); }",
        &["@switches: 1"],
    );
    // What both kinds of arguments are is the same.
    prints(
        &kscope,
        "rt:vmlinux:sched_switch { if ((uint64)args.next == arg2) { print(probe); exit(); } }",
        &["rawtracepoint:vmlinux:sched_switch"],
    );
}

#[test]
fn iterators_walk_once_and_end() {
    kernel_or_skip!();
    let kscope = kscope_or_skip!();
    let script = format!(
        "iter:task {{ if (ctx.task.pid == {}) {{ printf(\"%s\\n\", ctx.task.comm); }} \
         @[ctx.task.tgid == 2] = count(); }} end {{ print(@[true]); clear(@); }}",
        std::process::id()
    );
    let name = std::fs::read_to_string("/proc/self/comm").expect("the name");
    prints(&kscope, &script, &[name.trim_end(), "1"]);
    // Files that this process has open: more than none.
    let script = format!(
        "iter:task_file {{ if (ctx.task.tgid == {}) {{ @ = 1; }} }}",
        std::process::id()
    );
    prints(&kscope, &script, &["@: 1"]);
    refused(&kscope, "iter:tsak { }", &["no such iterator", "`task`"]);
}

#[test]
fn functions_have_typed_arguments_and_results() {
    kernel_or_skip!();
    let kscope = kscope_or_skip!();
    let script = "fentry:vfs_read { @entry[tid] = (uint64)args.count; } \
         fexit:vfs_read /@entry[tid]/ { if (@entry[tid] == (uint64)args.count && \
         retval <= (int64)args.count) { print(probe); exit(); } }";
    let _reading = Reading::start();
    let (code, out, err) = run(&kscope, &["run", "-q", "-e", script]);
    if err.contains("refuses programs that hook functions") {
        // With a way out.
        let hint = match has_kprobes() {
            true => "HINT: a kprobe, a tracepoint",
            false => "HINT: a tracepoint",
        };
        assert!(err.contains(hint), "{err}");
        skip!("fentry", "this kernel refuses fentry programs");
    }
    assert_eq!(code, Some(0), "{out}\n{err}");
    // The map of those that read at that moment follows.
    assert_eq!(out.lines().next(), Some("fexit:vmlinux:vfs_read"), "{out}");
}

/// Says whether the kernel has kprobes.
fn has_kprobes() -> bool {
    Path::new("/sys/bus/event_source/devices/kprobe/type").exists()
}

#[test]
fn many_functions_share_a_program() {
    kernel_or_skip!();
    let kscope = kscope_or_skip!();
    if !has_kprobes() {
        skip!("kprobe", "this kernel has no kprobes");
    }
    // By one link where the kernel has that, else by one each: the names are the functions' own.
    prints(
        &kscope,
        "kprobe:vfs_rea*, kprobe:vfs_writ* { @[func] = count(); } \
         interval:ms:300 { exit(); } \
         end { print(has_key(@, ksym(kaddr(\"vfs_read\")))); clear(@); }",
        &["true"],
    );
    let (code, out, err) = run(
        &kscope,
        &["run", "-e", "kretprobe:vfs_rea* { } begin { exit(); }"],
    );
    assert_eq!(code, Some(0), "{out}\n{err}");
    // What is not there among what is.
    prints(
        &kscope,
        "config = { missing_probes = ignore } \
         kprobe:vfs_read, kprobe:kscope_has_no_such_function { @ = 1; } \
         interval:ms:300 { exit(); }",
        &["@: 1"],
    );
    refused(
        &kscope,
        "kprobe:kscope_has_none:vfs_read { }",
        &["kscope_has_none"],
    );
}

#[test]
fn a_kprobe_sits_at_an_address() {
    kernel_or_skip!();
    let kscope = kscope_or_skip!();
    if !has_kprobes() {
        skip!("kprobe", "this kernel has no kprobes");
    }
    let _reading = Reading::start();
    let symbols = std::fs::read_to_string("/proc/kallsyms").expect("symbols");
    let line = symbols.lines().find(|line| line.ends_with(" T vfs_read"));
    let address = line
        .and_then(|line| line.split(' ').next())
        .expect("vfs_read");
    prints(
        &kscope,
        &format!("kprobe:0x{address} {{ @ = 1; exit(); }}"),
        &["@: 1"],
    );
    refused(&kscope, "kprobe:0x1234 { }", &["cannot attach kprobe:4660"]);
}

#[test]
fn a_script_does_without_probes_that_the_kernel_has_not() {
    kernel_or_skip!();
    let kscope = kscope_or_skip!();
    // A counter that no virtual machine has.
    let probes = "hardware:ref-cycles:100000000000, kprobe:kscope_has_no_such_function { @ = 1; }";
    for (word, warned) in [("warn", true), ("ignore", false)] {
        let script = format!(
            "config = {{ missing_probes = {word} }} {probes} begin {{ print(1); }} \
             interval:ms:10 {{ exit(); }}"
        );
        let (code, out, err) = run(&kscope, &["run", "-q", "-e", &script]);
        assert_eq!(code, Some(0), "{out}\n{err}");
        assert!(out.starts_with("1\n"), "{out}");
        assert_eq!(err.contains("WARNING"), warned, "{err}");
    }
    if !has_kprobes() {
        let script = "config = { missing_probes = ignore } kprobe:vfs_read { @ = 1; } \
                      interval:ms:10 { exit(); }";
        prints(&kscope, script, &[]);
    }
}

#[test]
fn names_of_files_and_frames_are_told_by_the_kernel() {
    kernel_or_skip!();
    let kscope = kscope_or_skip!();
    let script = "iter:task_file { if (path(ctx.file.f_path) == \"/dev/null\") { @null = 1; } } \
                  interval:ms:200 { print(@null); clear(@null); exit(); }";
    let (_, _, err) = run(&kscope, &["run", "-q", "-e", script]);
    if err.contains("helper call is not allowed in probe") {
        skip!("path", "iterators have no bpf_d_path before Linux 5.12");
    }
    prints(&kscope, script, &["@null: 1"]);
    prints(
        &kscope,
        "begin { print((len(kstack) > 2, len(kstack(2)), stack_len(kstack(1)))); exit() }",
        &["(true, 2, 1)"],
    );
}
