//! The commands `kscope bpf` and `kscope btf` on programs, maps and links that this test makes.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use kscope_bpf::spec::{AttachKind, MapKind, ProgramType};
use kscope_bpf::{PrintedLog, RunStats, TestInput, UpdateMode};
use kscope_tests::assembly::Assembly;
use kscope_tests::program::kscope;
use kscope_tests::{kernel_or_skip, skip};
use serde_json::Value;

/// Runs the program to its end, and gives the objects it printed.
#[track_caller]
fn objects(words: &[&str]) -> Vec<Value> {
    let program = kscope();
    let output = Command::new(program).args(words).output().expect("it runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words:?}: {errors}");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let object = |line: &str| serde_json::from_str(line).expect("JSON");
    text.lines().map(object).collect()
}

fn text(words: &[&str]) -> String {
    let program = kscope();
    let output = Command::new(program).args(words).output().expect("it runs");
    assert!(output.status.success(), "{words:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn assembly() -> Assembly {
    Assembly::new()
        .map("shown", MapKind::Hash, (4, 8), 16)
        .program(
            "shown_program",
            ProgramType::RawTracepoint,
            AttachKind::None,
            "*(u32 *)(r10 - 4) = 0\nr2 = r10\nr2 += -4\nr1 = map(shown) ll\n\
             call map_lookup_elem\ncall fn_add\nr0 = 0\nexit\nfn_add: r0 = 7\nexit",
        )
}

#[test]
fn what_is_loaded_is_listed_shown_and_dumped() {
    let kernel = kernel_or_skip!();
    let object = assembly().load_all(&kernel);
    let program = object.program_named("shown_program").expect("loaded");
    let info = program.info().expect("it is there");
    let id = info.id.to_string();
    let link = program
        .attach_raw_tracepoint("sys_enter", 0)
        .expect("attached");

    let listed = objects(&["bpf", "prog", "list", "--json"]);
    let row = listed.iter().find(|row| row["id"] == info.id);
    let row = row.expect("it is in the list");
    assert_eq!(row["name"], "shown_program");
    assert_eq!(row["type"], "raw_tracepoint");
    assert_eq!(row["xlated_bytes"], info.translated_bytes);
    assert_eq!(
        row["jited_bytes"].as_u64().unwrap_or(0),
        u64::from(info.jited_bytes)
    );
    let own = format!("{}(", std::process::id());
    let processes = row["processes"].as_array().expect("a list");
    let holds = |process: &Value| process.as_str().unwrap_or_default().starts_with(&own);
    assert!(processes.iter().any(holds), "{row}");
    let map_id = row["maps"][0].as_u64().expect("a map");

    let shown = objects(&["bpf", "prog", "show", "--json", &id]);
    assert_eq!(shown[0]["tag"], row["tag"]);
    let links = objects(&["bpf", "link", "list", "--json"]);
    let of = links.iter().find(|row| row["program"] == info.id);
    let of = of.expect("its link is listed");
    assert_eq!(of["type"], "raw_tracepoint");
    assert_eq!(shown[0]["links"][0], of["id"]);

    let maps = objects(&["bpf", "map", "list", "--json"]);
    let map = maps.iter().find(|row| row["id"] == map_id);
    assert_eq!(map.expect("its map is listed")["name"], "shown");
    let handle = object.map_named("shown").expect("made");
    let (key, value) = (5u32.to_ne_bytes(), 77u64.to_ne_bytes());
    handle
        .update(&key, &value, UpdateMode::Any)
        .expect("written");
    let entries = objects(&["bpf", "map", "dump", "--json", &map_id.to_string()]);
    let digits = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0]["key"], digits(&key));
    assert_eq!(entries[0]["value"], digits(&value));

    let dump = text(&["bpf", "prog", "dump", &id]);
    assert!(dump.contains("map shown"), "{dump}");
    let again = kscope_bpf::spec::asm::insns(&dump).expect("it assembles back");
    assert_eq!(again.len() * 8, info.translated_bytes as usize);
    if cfg!(target_arch = "x86_64") && info.jited_bytes > 0 {
        let machine = text(&["bpf", "prog", "dump", "--jited", &id]);
        for part in [
            "shown_program:\n",
            "fn_add:\n",
            "push rbp",
            "ret",
            "; shown_program.s:",
        ] {
            assert!(machine.contains(part), "no {part} in\n{machine}");
        }
        assert!(!machine.contains("(bad)"), "{machine}");
        // Both functions are known by the symbols that the kernel gives them, if it does.
        let given = std::fs::read_to_string("/proc/sys/net/core/bpf_jit_kallsyms");
        if given.is_ok_and(|given| given.trim() == "0") {
            return;
        }
        let calls: Vec<&str> = machine.lines().filter(|l| l.contains("call ")).collect();
        assert!(calls.iter().any(|l| l.ends_with("_fn_add")), "{calls:?}");
    }
    drop(link);
}

#[test]
fn top_counts_what_the_kernel_counts() {
    /// Runs while it watches.
    const RUNS: u32 = 3000;
    let kernel = kernel_or_skip!();
    let command = kscope();
    let object = assembly().load_all(&kernel);
    let program = object.program_named("shown_program").expect("loaded");
    // Statistics stay on between the kernel's figures before and after.
    let stats = match RunStats::enable(&kernel) {
        Ok(stats) => stats,
        Err(error) => skip!("run statistics", "{error}"),
    };
    let before = program.info().expect("it is there");
    let words = [
        "bpf",
        "top",
        "--json",
        "--all",
        "--interval",
        "0.5",
        "--count",
        "4",
    ];
    let mut top = Command::new(command)
        .args(words)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    let lines = BufReader::new(top.stdout.take().expect("piped")).lines();
    let (mut tables, mut runs, mut run_time) = (0, 0, 0);
    for line in lines {
        let row: Value = serde_json::from_str(&line.expect("text")).expect("JSON");
        if row["id"] != before.id {
            continue;
        }
        runs += row["runs"].as_u64().expect("a number");
        run_time += row["run_time_ns"].as_u64().expect("a number");
        tables += 1;
        let share = row["cpu_pct"].as_f64().expect("a number");
        let of_time = row["run_time_ns"].as_f64().expect("a number") * 100.0;
        let expected = of_time / row["interval_ns"].as_f64().expect("a number");
        assert!((share - expected).abs() < 0.001, "{share} of {expected}");
        let (seen, per_event) = (row["runs"].as_u64(), row["ns_per_event"].as_u64());
        if let (Some(seen @ 1..), Some(per_event)) = (seen, per_event) {
            let whole = row["run_time_ns"].as_u64().expect("a number");
            assert_eq!(per_event, whole / seen);
        }
        if tables == 1 {
            for _ in 0..RUNS {
                program.test_run(&TestInput::default()).expect("it runs");
            }
        }
    }
    assert!(top.wait().expect("it ends").success());
    let after = program.info().expect("it is there");
    drop(stats);
    assert_eq!(tables, 4);
    assert_eq!(after.runs - before.runs, u64::from(RUNS));
    assert_eq!(runs, u64::from(RUNS));
    assert_eq!(run_time, after.run_time - before.run_time);
}

#[test]
fn nobody_is_shown_what_is_not_there() {
    let _ = kernel_or_skip!();
    let command = kscope();
    for (words, said) in [
        (["bpf", "prog", "show", "4000000000"], "there is no program"),
        (["bpf", "map", "dump", "no such map"], "there is no map"),
        (["bpf", "link", "show", "x"], "there is no link"),
        (
            ["btf", "dump", "vmlinux", "no_such_type"],
            "there is no type",
        ),
        (["btf", "dump", "--as=rust", "/no/such/file"], "cannot read"),
    ] {
        let output = Command::new(&command)
            .args(words)
            .output()
            .expect("it runs");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{words:?}");
        assert!(errors.contains(said), "{words:?}: {errors}");
    }
}

/// How often a program prints at most until it is heard.
const TRIES: usize = 5;

#[test]
fn what_programs_print_is_read() {
    let kernel = kernel_or_skip!();
    // "line %d" with its NUL.
    let format = i64::from_le_bytes(*b"line %d\0");
    let code = format!(
        "r1 = {format} ll\n*(u64 *)(r10 - 8) = r1\nr1 = r10\nr1 += -8\nr2 = 8\nr3 = {}\n\
         call trace_printk\nr0 = 0\nexit",
        std::process::id()
    );
    let kind = ProgramType::RawTracepoint;
    let object = Assembly::new().program("prints", kind, AttachKind::None, &code);
    let object = object.load_all(&kernel);
    let program = object.program_named("prints").expect("loaded");
    let run = || program.test_run(&TestInput::default()).map(drop);
    let expected = format!("line {}", std::process::id());

    // What is printed while the kernel changes its buffer is lost, so it is printed until it is seen.
    let mut log = PrintedLog::open(&kernel).expect("tracefs is there");
    let mut printed = || {
        run().expect("runs");
        // Others may print as well.
        while let Some(line) = log.next_line(Duration::from_secs(1)).expect("readable") {
            if line.text == expected {
                return Some(line);
            }
        }
        None
    };
    let line = (0..TRIES).find_map(|_| printed()).expect("a line");
    let comm = std::fs::read_to_string("/proc/thread-self/comm").expect("proc");
    let known = [comm.trim_end(), "<...>"];
    assert!(known.contains(&line.comm.as_str()), "{line:?}");
    let own = std::fs::read_link("/proc/thread-self").expect("proc");
    assert_eq!(
        own.file_name().and_then(|tid| tid.to_str()?.parse().ok()),
        Some(line.tid)
    );

    // Waiting ends when it is to, and when somebody says so.
    log.waker().wake();
    while log
        .next_line(Duration::from_secs(60))
        .expect("readable")
        .is_some()
    {}
    while log
        .next_line(Duration::from_millis(1))
        .expect("readable")
        .is_some()
    {}
    drop(log);
    let told = || {
        run().expect("runs");
        let rows = objects(&["bpf", "log", "--json", "--timeout", "1"]);
        rows.iter().any(|row| row["text"] == expected.as_str())
    };
    assert!((0..TRIES).any(|_| told()), "no `{expected}`");
}
