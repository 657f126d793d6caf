//! `kscope stacks` of the running kernel: tasks of known stacks, what they wait for and who has it.

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use kscope_bpf::btf::{Btf, Kind};
use kscope_tests::assembly::kernel_types;
use kscope_tests::program::{Folder, run};
use kscope_tests::stuck::Stuck;
use kscope_tests::{kscope_or_skip, skip};
use serde_json::Value;

/// Gives the objects of tasks by their numbers, and what is said of the whole.
fn stacks(program: &std::path::Path, words: &[&str]) -> (BTreeMap<u64, Value>, String) {
    let words = [&["stacks", "--json"], words].concat();
    let (code, out, err) = run(program, &words);
    assert_eq!(code, Some(0), "{words:?}: {err}");
    let task = |line: &str| {
        let task: Value = serde_json::from_str(line).expect("an object");
        (task["pid"].as_u64().expect("a number"), task)
    };
    (out.lines().map(task).collect(), err)
}

fn task_has(btf: &Btf, member: &str) -> bool {
    let task = btf.find("task_struct", Kind::Struct).expect("tasks");
    btf.member(task, member).is_some()
}

/// The functions of a stack without their offsets.
fn functions(task: &Value) -> Vec<String> {
    let frames = task["stack"].as_array().expect("a list");
    let name = |frame: &Value| {
        let frame = frame.as_str().expect("text");
        frame.split('+').next().unwrap_or_default().to_owned()
    };
    frames.iter().map(name).collect()
}

#[test]
fn waiters_for_locks_are_blocked_and_owners_are_named() {
    let program = kscope_or_skip!();
    let Some(btf) = kernel_types() else {
        skip!("BTF", "the kernel has no types");
    };
    let folder = Folder::new("stacks");
    let Some((stuck, made)) = Stuck::start(&folder) else {
        skip!("C compiler", "there was none when the tests were built");
    };
    if made.contains("lacks a page") {
        stuck.end();
        skip!("userfaultfd", "{made}");
    }
    let pids = |name: &str| -> Vec<u64> {
        let lines = made.lines().filter_map(|line| line.split_once(' '));
        let of = lines.filter(|(found, _)| *found == name);
        of.map(|(_, pid)| pid.parse().expect("a number")).collect()
    };
    let (tasks, truth) = stacks(&program, &["--blocked"]);
    let (owner, waiters) = (pids("mutex_owner")[0], pids("mutex_waiter"));
    assert_eq!(waiters.len(), 2, "{made}");
    let mut owned: Vec<(u64, u64)> = waiters.iter().map(|pid| (*pid, owner)).collect();
    if let (&[waits], &[by], &[last]) = (
        pids("rwsem_waiter").as_slice(),
        pids("rwsem_owner").as_slice(),
        pids("chain_waiter").as_slice(),
    ) {
        owned.extend([(waits, by), (last, waits)]);
    }
    for (pid, owner) in owned {
        let task = tasks
            .get(&pid)
            .unwrap_or_else(|| panic!("no {pid}: {truth}"));
        assert_eq!(
            (&task["state"], &task["comm"]),
            (&"D".into(), &"stuck".into()),
            "{task}"
        );
        assert!(
            task["stack"]
                .as_array()
                .is_some_and(|stack| stack.len() > 3),
            "{task}"
        );
        assert!(task["off_cpu_ms"].is_u64() && task["stable"] == 1, "{task}");
        if task_has(btf, "blocker") {
            assert_eq!(task["holder_pid"], owner, "{task}");
        } else {
            assert!(
                truth.contains("not had here") && truth.contains("locks"),
                "{truth}"
            );
        }
    }
    for pid in waiters {
        let task = &tasks[&pid];
        let found = functions(task);
        assert!(
            found.iter().any(|name| name.ends_with("pipe_write")),
            "{task}"
        );
        if cfg!(target_arch = "x86_64") && btf.enumerator("BPF_FUNC_task_pt_regs").is_some() {
            assert_eq!(task["syscall"], "write", "{task}");
            assert_eq!(task["args"][2], "0x1", "{task}");
        }
    }
    assert!(
        !tasks.contains_key(&owner),
        "it sleeps, and can be interrupted"
    );
    stuck.end();
}

/// A process that sleeps until it is dropped.
struct Sleeper(Child);

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn how_long_a_task_sleeps_is_known() {
    let program = kscope_or_skip!();
    let sleeper = Command::new("sleep")
        .arg("300")
        .stdin(Stdio::null())
        .spawn();
    let sleeper = Sleeper(sleeper.expect("it starts"));
    let begin = Instant::now();
    std::thread::sleep(Duration::from_secs(2));
    let pid = sleeper.0.id();
    let (tasks, truth) = stacks(&program, &["--pid", &pid.to_string()]);
    let took = u64::try_from(begin.elapsed().as_millis()).expect("small");
    assert_eq!(tasks.len(), 1, "{truth}");
    let task = &tasks[&pid.into()];
    let names = functions(task);
    assert!(
        names.iter().any(|name| name.ends_with("hrtimer_nanosleep")),
        "{task}"
    );
    assert_eq!(
        (&task["state"], &task["comm"]),
        (&"S".into(), &"sleep".into())
    );
    let slept = task["off_cpu_ms"].as_u64().expect("known");
    // It takes a while until it sleeps, and until it is asked.
    assert!(
        slept > 500 && slept <= took + 500,
        "{slept} of {took}: {task}"
    );
}

/// The threads that /proc has, without those of which it does not tell even root what they are at: where a
/// kernel hides a process so, it may hide it from iterators as well.
fn threads() -> BTreeSet<u64> {
    let numbers = |folder: &str| -> Vec<u64> {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        entries
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .collect()
    };
    let of = |pid: u64| numbers(&format!("/proc/{pid}/task"));
    let is_open = |pid: &u64| {
        let read = std::fs::read(format!("/proc/{pid}/stack"));
        read.err().map(|error| error.kind()) != Some(std::io::ErrorKind::PermissionDenied)
    };
    numbers("/proc")
        .into_iter()
        .filter(is_open)
        .flat_map(of)
        .collect()
}

#[test]
fn no_thread_is_left_out() {
    let program = kscope_or_skip!();
    let before = threads();
    let (tasks, truth) = stacks(&program, &["--all"]);
    let after = threads();
    let missing: Vec<u64> = before
        .intersection(&after)
        .filter(|pid| !tasks.contains_key(pid))
        .copied()
        .collect();
    assert!(missing.is_empty(), "{missing:?}: {truth}");
    assert!(before.len() > 20, "{before:?}");
    let kthreadd = &tasks[&2];
    assert_eq!(
        (&kthreadd["comm"], &kthreadd["idle"]),
        (&"kthreadd".into(), &1.into())
    );
    assert!(
        functions(kthreadd).contains(&"kthreadd".to_owned()),
        "{kthreadd}"
    );
}
