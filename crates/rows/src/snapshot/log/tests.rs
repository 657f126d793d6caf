use super::*;
use crate::snapshot::{Age, LockSeen, SyscallSeen, group_tasks};

fn names(task: &TaskSeen) -> Vec<&str> {
    let names = task.frames.iter().map(|frame| frame.symbol.as_deref());
    names.map(Option::unwrap_or_default).collect()
}

fn by_pid(log: &SnapshotLog, pid: u32) -> &TaskSeen {
    let found = log.tasks.iter().find(|task| task.pid == Some(pid));
    found.unwrap_or_else(|| panic!("no task {pid}"))
}

const HUNG: &str = "\
[  241.1] INFO: task jbd2/sda1-8:312 blocked for more than 120 seconds.
[  241.1]       Not tainted 6.18.1 #1
[  241.1] \"echo 0 > /proc/sys/kernel/hung_task_timeout_secs\" disables this message.
[  241.2] task:jbd2/sda1-8     state:D stack:0     pid:312   tgid:312   ppid:2      task_flags:0x240040 flags:0x00080000
[  241.2] Call Trace:
[  241.2]  <TASK>
[  241.2]  ? early+0x1/0x2
[  241.2]  __schedule+0x4c7/0x1080
[  241.2]  io_schedule+0x46/0x80
[  241.2]  commit+0x1b/0x30 [jbd2 0123456789abcdef]
[  241.2]  ret_from_fork_asm+0x1a/0x30
[  241.2]  </TASK>
[  241.3] INFO: task jbd2/sda1-8:312 is blocked on a mutex likely owned by task a: b:7.
";

#[test]
fn a_hung_task_has_its_age_and_the_owner_of_its_lock() {
    let log = read_log(HUNG);
    assert_eq!(log.tasks.len(), 1);
    let task = by_pid(&log, 312);
    assert_eq!(task.comm, "jbd2/sda1-8");
    assert_eq!(
        names(task),
        ["__schedule", "io_schedule", "commit", "ret_from_fork_asm"]
    );
    assert_eq!(task.frames[2].module.as_deref(), Some("jbd2"));
    assert_eq!(task.stack, StackState::Whole);
    let age = Age {
        nanoseconds: 120_000_000_000,
        at_least: true,
    };
    assert_eq!(task.off_cpu, Some(age));
    let lock = LockSeen {
        kind: "mutex".to_owned(),
        address: None,
        holder: Some(("a: b".to_owned(), 7)),
        perhaps: true,
    };
    assert_eq!(task.lock, Some(lock));
    assert_eq!(log.reports.len(), 1);
}

#[test]
fn what_locks_are_said_to_be() {
    let check = |line: &str, kind: &str, holder: Option<(&str, u32)>| {
        let task = "task:a               state:D stack:0 pid:1 ppid:1 flags:0x0\n";
        let log = read_log(&format!("{task}INFO: task a:1 {line}"));
        let lock = log.tasks[0].lock.clone().expect("a lock");
        assert_eq!(lock.kind, kind, "{line}");
        assert_eq!(
            lock.holder,
            holder.map(|(name, pid)| (name.to_owned(), pid)),
            "{line}"
        );
    };
    check(
        "is blocked on a mutex, but the owner is not found.",
        "mutex",
        None,
    );
    check(
        "blocked on a semaphore likely last held by task B:2",
        "semaphore",
        Some(("B", 2)),
    );
    check(
        "<writer> blocked on an rw-semaphore likely owned by task B:2 <reader>",
        "rw-semaphore (writer)",
        Some(("B", 2)),
    );
}

#[test]
fn lines_of_several_callers_are_kept_apart() {
    let log = read_log(
        "[1.1][ T9] task:one             state:D stack:0 pid:1 ppid:1 flags:0x0\n\
         [1.1][ C1] task:two             state:D stack:0 pid:2 ppid:1 flags:0x0\n\
         [1.1][ T9] Call Trace:\n[1.1][ C1] Call Trace:\n\
         [1.1][ C1]  b+0x1/0x2\n[1.1][ T9]  a+0x1/0x2\n[1.1][ C1]  d+0x1/0x2\n[1.1][ T9]  c+0x1/0x2\n",
    );
    assert_eq!(names(by_pid(&log, 1)), ["a", "c"]);
    assert_eq!(names(by_pid(&log, 2)), ["b", "d"]);
}

#[test]
fn a_log_that_was_cut_says_so() {
    // The begin is lost, and messages in between, and the end.
    let cut = HUNG.split_once("  commit").expect("a frame").0;
    let text = format!(" old+0x1/0x2\n older+0x3/0x4\n** 17 printk messages dropped **\n{cut}");
    let log = read_log(&text);
    assert_eq!((log.headless, log.dropped), (1, 17));
    let task = by_pid(&log, 312);
    assert_eq!(names(task), ["__schedule", "io_schedule"]);
    assert!(matches!(task.stack, StackState::Cut(_)), "{:?}", task.stack);
    let log = read_log("task:one             state:D stack:0 pid:1 ppid:1 flags:0x0");
    assert_eq!(log.tasks[0].stack, no_stack());
}

#[test]
fn frames_that_stand_there_twice_are_taken_once() {
    let frames = "[1.1] a+0x1/0x2\n[1.1] a+0x1/0x2\n[1.2] b+0x1/0x2\n[1.2] b+0x1/0x2\n";
    let head = "task:one             state:D stack:0 pid:1 ppid:1 flags:0x0\nCall Trace:\n";
    assert_eq!(
        names(by_pid(&read_log(&format!("{head}{frames}")), 1)),
        ["a", "b"]
    );
    // A function that calls itself.
    let frames = frames.replace("[1.1] ", "").replace("[1.2] ", "");
    assert_eq!(
        names(by_pid(&read_log(&format!("{head}{frames}")), 1)),
        ["a", "a", "b", "b"]
    );
}

#[test]
fn kernels_before_5_9_have_no_word_before_the_name() {
    let log = read_log(
        "[1.0] sysrq: SysRq : Show Blocked State\n[1.0] sysrq: Show Blocked State\n\
         [1.1] bash            D    0  2451   2450 0x00000080\n[1.1] Call Trace:\n\
         [1.1]  schedule+0x1/0x2\n[1.1] kworker/0:1     D ffffffff81234567     0    33      2 0x80004000\n",
    );
    assert_eq!(log.tasks.len(), 2);
    assert_eq!(names(by_pid(&log, 2451)), ["schedule"]);
    assert_eq!(by_pid(&log, 33).kernel_thread, Some(true));
}

#[test]
fn the_arguments_of_a_system_call_are_in_the_registers() {
    let log = read_log(
        "task:vf              state:D stack:0     pid:145   tgid:145   ppid:1      flags:0x00004002\n\
         Call Trace:\n <TASK>\n schedule+0x27/0xc0\n RIP: 0033:0x42fd48\n\
         RSP: 002b:00007ffc34a75540 EFLAGS: 00000202 ORIG_RAX: 000000000000003a\n\
         RAX: ffffffffffffffda RBX: 00007ffc34a75718 RCX: 000000000042fd48\n\
         RDX: 0000000000000003 RSI: 0000000000000002 RDI: 0000000000000001\n\
         RBP: 00000000004a06f0 R08: 0000000000000005 R09: 0000000000000006\n\
         R10: 0000000000000004 R11: 0000000000000202 R12: 00007ffc34a75708\n </TASK>\n",
    );
    let syscall = SyscallSeen {
        number: 0x3a,
        args: Some([1, 2, 3, 4, 5, 6]),
    };
    assert_eq!(by_pid(&log, 145).syscall, Some(syscall));
}

#[test]
fn cpus_say_what_runs_on_them() {
    let log = read_log(
        "sysrq: Show backtrace of all active CPUs\nNMI backtrace for cpu 1\n\
         CPU: 1 UID: 0 PID: 152 Comm: my prog Not tainted 6.12.107\nHardware name: QEMU\n\
         RIP: 0033:0x401800\nCode: 2e 0f\nRSP: 002b:00007fbfea1ba238 EFLAGS: 00000206\n\
         NMI backtrace for cpu 2 skipped: idling at default_idle+0xf/0x20\n\
         NMI backtrace for cpu 3\nCPU: 3 PID: 0 Comm: swapper/3 Tainted: G        W\n\
         RIP: 0010:poll_idle+0x3/0x9\nCall Trace:\n <TASK>\n do_idle+0x1/0x2\n </TASK>\n",
    );
    assert_eq!((log.idle_cpus, log.tasks.len()), (1, 2));
    let task = by_pid(&log, 152);
    assert_eq!((task.comm.as_str(), task.cpu), ("my prog", Some(1)));
    assert_eq!(task.stack, StackState::User);
    assert_eq!(names(by_pid(&log, 0)), ["poll_idle", "do_idle"]);
}

#[test]
fn any_text_whatever_is_read() {
    let text = HUNG.as_bytes();
    for end in 0..text.len() {
        assert!(read_log(&HUNG[..end]).tasks.len() <= 1);
        let mut bytes = text.to_vec();
        bytes[end] ^= 0x15;
        let log = read_log(&String::from_utf8_lossy(&bytes));
        assert!(log.tasks.len() <= 1 && group_tasks(&log.tasks).len() <= 1);
    }
    for text in [
        "task:",
        "task: state:",
        "INFO: task :",
        "CPU",
        "[",
        "\x1b[",
        "task:é state:é pid:é",
    ] {
        assert!(read_log(text).tasks.len() <= 1, "{text}");
    }
}
