//! The steps of docs/tutorial.md, run as the tutorial says, print what it promises.
//!
//! This process is the producer: a thread called `opener` opens files whose names nobody else
//! knows, and a `cat` opens one as another process would.

use std::fmt::Write as _;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::process::Command;

use kscope_bpf::Features;
use kscope_tests::assembly::kernel_types;
use kscope_tests::program::{Folder, Tracer};
use kscope_tests::{kernel_or_skip, kscope_or_skip, skip};

const STEP1: &str = include_str!("../scripts/tutorial/step1.bt");
const STEP2: &str = include_str!("../scripts/tutorial/step2.bt");
const STEP3: &str = include_str!("../scripts/tutorial/step3.bt");
const STEP4: &str = include_str!("../scripts/tutorial/step4.bt");
const STEP5: &str = include_str!("../scripts/tutorial/step5.bt");

/// Opens a file of the folder that is there and one that is not; gives the descriptor of the first.
fn open_both(folder: &Folder) -> i32 {
    let (there, missing) = (folder.path().join("there"), folder.path().join("missing"));
    let opener = std::thread::Builder::new().name("opener".to_owned());
    let opened = opener.spawn(move || {
        let file = File::open(there).expect("opens");
        File::open(missing).expect_err("is not there");
        file.as_raw_fd()
    });
    opened.expect("a thread").join().expect("opens")
}

/// How much a step's lines hold.
#[derive(Clone, Copy, PartialEq)]
enum Prints {
    /// Opens of all processes, without the result.
    Everybody,
    /// Those of this process alone.
    One,
    /// The same with the result.
    Results,
}

/// Runs a step and checks every line about the files of its folder.
fn check(step: &str, script: &str, prints: Prints, needs_kprobe: bool) {
    let kernel = kernel_or_skip!();
    if needs_kprobe {
        let support = Features::new(kernel, kernel_types()).kprobe();
        if !support.is_available() {
            skip!("kprobe", "kprobes are {support}");
        }
    }
    let program = kscope_or_skip!();
    let folder = Folder::new(&format!("tutorial-{step}"));
    std::fs::write(folder.path().join("there"), "").expect("a file");
    let file = folder.path().join("script.bt");
    std::fs::write(&file, script).expect("written");
    let pid = std::process::id();
    let own = pid.to_string();
    let mut words = vec!["run", file.to_str().expect("text")];
    if prints != Prints::Everybody {
        words.push(&own);
    }
    let mut tracer = Tracer::start(&program, &words).unwrap_or_else(|left| panic!("{left:?}"));

    let other = folder.path().join("there");
    let mut cat = Command::new("cat").arg(&other).spawn().expect("cat");
    let other_pid = cat.id();
    assert!(cat.wait().expect("ends").success());
    let fd = open_both(&folder);

    let mut seen = Vec::new();
    let is_last = |line: &String| line.contains(step) && line.ends_with("/missing");
    while !seen.last().is_some_and(is_last) {
        let Some(line) = tracer.line() else { break };
        seen.push(line);
    }
    let left = tracer.interrupt();
    assert_eq!(left.code, Some(0), "{left:?}");
    let [said] = left.errors.as_slice() else {
        panic!("one line: {left:?}");
    };
    assert!(said.starts_with("Attached "), "{said}");
    seen.extend(left.lines);
    let name = folder.path().display().to_string();
    let mut mine: Vec<&String> = seen.iter().filter(|line| line.contains(&name)).collect();

    let mut expected = String::new();
    if prints == Prints::Everybody {
        let _ = writeln!(expected, "{other_pid} cat {name}/there");
    }
    for (file, result) in [("there", fd), ("missing", -2)] {
        let _ = match prints {
            Prints::Results => writeln!(expected, "{pid} opener {result} {name}/{file}"),
            _ => writeln!(expected, "{pid} opener {name}/{file}"),
        };
    }
    let mut expected: Vec<&str> = expected.lines().collect();
    if script.contains("\"perf\"") {
        // The thread may have moved to another CPU, whose buffer was read first.
        mine.sort();
        expected.sort_unstable();
    }
    assert_eq!(mine, expected, "all lines: {seen:#?}");
    if prints != Prints::Everybody {
        let strange = seen
            .iter()
            .find(|line| !line.is_empty() && !line.starts_with(&own));
        assert_eq!(strange, None, "no other process, and no map at the end");
    }
}

#[test]
fn step_1_a_kprobe_that_prints() {
    check("step1", STEP1, Prints::Everybody, true);
}

#[test]
fn step_2_only_one_process() {
    check("step2", STEP2, Prints::One, true);
}

#[test]
fn step_3_events_through_the_perf_buffer() {
    check("step3", STEP3, Prints::One, true);
}

#[test]
fn step_4_the_result_joined_on_return() {
    check("step4", STEP4, Prints::Results, true);
}

#[test]
fn step_5_the_tracepoint_instead() {
    check("step5", STEP5, Prints::Results, false);
}
