//! A killed process leaves nothing attached and nothing loaded.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use kscope_bpf::PerfBuffer;
use kscope_bpf::spec::{AttachKind, MapKind, ProgramId, ProgramType};
use kscope_bpf::sys::{Errno, Sampling, real_kernel};
use kscope_tests::assembly::Assembly;
use kscope_tests::kernel_or_skip;

/// Tells this program, run again, that it is the one to be killed.
const VICTIM: &str = "KSCOPE_TEST_VICTIM";

/// Attaches in every way that needs no special build of the kernel, and waits for its end.
fn die_attached() {
    let object = Assembly::new()
        .map("events", MapKind::PerfEventArray, (4, 4), 0)
        .raw("raw", "r0 = 0\nexit")
        .program(
            "tp",
            ProgramType::Tracepoint,
            AttachKind::None,
            "r0 = 0\nexit",
        )
        .program(
            "clock",
            ProgramType::PerfEvent,
            AttachKind::None,
            "r0 = 0\nexit",
        )
        .load_all(&real_kernel());
    let program = |id| object.program(ProgramId(id)).expect("loaded");
    let rate = Sampling::Frequency(99);
    let _links = [
        program(0)
            .attach_raw_tracepoint("sys_enter", 0)
            .expect("attached"),
        program(1)
            .attach_tracepoint("sched", "sched_switch", 0)
            .expect("attached"),
        program(2).attach_clock(rate, None).expect("attached"),
    ];
    let events = object.map_named("events").expect("there");
    let _buffer = PerfBuffer::new(events, 4096, 0).expect("mapped");
    for id in 0..3 {
        println!("program {}", program(id).info().expect("described").id);
    }
    std::thread::sleep(Duration::from_secs(60));
}

#[test]
fn nothing_outlives_a_killed_process() {
    let kernel = kernel_or_skip!();
    if std::env::var_os(VICTIM).is_some() {
        return die_attached();
    }
    let mut victim = Command::new(std::env::current_exe().expect("a path"))
        .args([
            "--exact",
            "nothing_outlives_a_killed_process",
            "--nocapture",
        ])
        .env(VICTIM, "1")
        .stdout(Stdio::piped())
        .spawn()
        .expect("this program again");
    let mut ids: Vec<u32> = Vec::new();
    for line in BufReader::new(victim.stdout.take().expect("piped")).lines() {
        let line = line.expect("text");
        // The test harness may have begun the line.
        if let Some((_, id)) = line.split_once("program ") {
            ids.push(id.parse().expect("a number"));
        }
        if ids.len() == 3 {
            break;
        }
    }
    for &id in &ids {
        assert!(
            kernel.program_by_id(id).is_ok(),
            "program {id} of the living"
        );
    }
    victim.kill().expect("ours");
    victim.wait().expect("ours");
    let begin = Instant::now();
    for id in ids {
        // The kernel frees them a little later.
        while kernel.program_by_id(id).map(drop) != Err(Errno::NOENT) {
            assert!(
                begin.elapsed() < Duration::from_secs(20),
                "program {id} is still there"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}
