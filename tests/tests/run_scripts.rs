//! `kscope run` on a kernel: what goes in, what comes out and how it ends.

use std::io::{BufRead as _, BufReader, Read as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use kscope_tests::program::{Finished, Folder, PATIENCE, Tracer, run};
use kscope_tests::{kernel_or_skip, kscope_or_skip, skip};
use serde_json::Value;

/// Demands exit code and standard output, blank lines left out.
#[track_caller]
fn check(program: &Path, words: &[&str], code: i32, expected: &[&str]) {
    let (found, out, err) = run(program, words);
    let lines: Vec<&str> = out.lines().filter(|line| !line.is_empty()).collect();
    assert_eq!(found, Some(code), "{words:?}\n{out}\n{err}");
    assert_eq!(lines, expected, "{words:?}\n{err}");
}

/// A script whose map has one entry for each process that makes system calls, so never is empty.
const COUNTS: &str =
    "tracepoint:raw_syscalls:sys_enter { @calls = count(); } end { printf(\"the end\\n\"); }";

#[track_caller]
fn start(program: &Path, words: &[&str]) -> Tracer {
    Tracer::start(program, words).unwrap_or_else(|left| panic!("{left:?}"))
}

/// Demands of a script with [`COUNTS`] that it printed `end`'s line and its map, in this order.
#[track_caller]
fn counted(left: &Finished) {
    assert_eq!(left.code, Some(0), "{left:?}");
    let lines: Vec<&String> = left.lines.iter().filter(|line| !line.is_empty()).collect();
    let [end, map] = lines.as_slice() else {
        panic!("{left:?}");
    };
    assert_eq!(*end, "the end");
    let count = map.strip_prefix("@calls: ").expect("the map");
    assert!(count.parse::<u64>().expect("a number") > 0);
}

#[test]
fn a_signal_prints_the_maps_and_end() {
    let program = kscope_or_skip!();
    for signal in ["INT", "TERM"] {
        let tracer = start(&program, &["-e", COUNTS]);
        // `kill` makes the system calls that are counted.
        tracer.signal(signal);
        counted(&tracer.finish());
    }
}

#[test]
fn the_second_signal_ends_what_end_runs() {
    let program = kscope_or_skip!();
    let script = "interval:s:100 { } end { printf(\"the end\\n\"); system(\"echo begun; exec sleep 1000\"); }";
    let mut tracer = start(&program, &["--unsafe", "-e", script]);
    tracer.signal("TERM");
    // The command is begun after what was printed before it.
    assert_eq!(tracer.line().as_deref(), Some("the end"));
    let begin = Instant::now();
    tracer.signal("TERM");
    let left = tracer.finish();
    assert!(begin.elapsed() < Duration::from_secs(30), "{left:?}");
    assert_eq!(left.code, Some(0), "{left:?}");
    assert_eq!(left.lines.first().map(String::as_str), Some("begun"));
    let ended = "ERROR: command was ended by signal 9";
    assert!(left.errors.iter().any(|line| line == ended), "{left:?}");
}

#[test]
fn the_second_signal_ends_what_nobody_reads() {
    let program = kscope_or_skip!();
    // More than a pipe takes.
    let script = "begin { for ($i : 0..20) { printf(\"%60000d\\n\", $i); } }";
    let mut child = Command::new(&program)
        .args(["run", "-q", "-e", script])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("kscope starts");
    let mut out = child.stdout.take().expect("its output");
    out.read_exact(&mut [0]).expect("it writes");
    let pid = child.id().to_string();
    for _ in 0..2 {
        // By now it waits for whoever is to read.
        std::thread::sleep(Duration::from_millis(500));
        let sent = Command::new("kill").args(["-TERM", &pid]).status();
        assert!(sent.expect("kill").success());
    }
    let begin = Instant::now();
    let ended = loop {
        match child.try_wait().expect("ours") {
            Some(status) => break status,
            None if begin.elapsed() > Duration::from_secs(20) => {
                child.kill().expect("ours");
                panic!("it still waits");
            }
            None => std::thread::sleep(Duration::from_millis(20)),
        }
    };
    let mut err = String::new();
    let mut errors = child.stderr.take().expect("its errors");
    errors.read_to_string(&mut err).expect("text");
    assert_eq!(ended.code(), Some(1), "{err}");
    assert_eq!(err, "ERROR: cannot write the output: interrupted\n");
}

#[test]
fn exit_gives_its_code_and_nothing_after_it() {
    let program = kscope_or_skip!();
    check(&program, &["-e", "begin { exit(); }"], 0, &[]);
    check(&program, &["-e", "begin { exit(7); }"], 7, &[]);
    let two = "begin { printf(\"a\\n\"); exit(3); printf(\"b\\n\"); } end { printf(\"c\\n\"); }";
    check(&program, &["-e", two], 3, &["a", "c"]);
    // Hundreds of events follow before the program is detached.
    let once = "tracepoint:raw_syscalls:sys_enter { printf(\"once\\n\"); exit(); }";
    check(&program, &["-e", once], 0, &["once"]);
}

#[test]
fn a_closed_pipe_ends_quietly() {
    let program = kscope_or_skip!();
    let script = "interval:ms:10 { printf(\"tick\\n\"); }";
    let mut child = Command::new(&program)
        .args(["-q", "-e", script])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("kscope starts");
    let mut out = child.stdout.take().expect("piped");
    let mut first = [0; 5];
    out.read_exact(&mut first).expect("a tick");
    assert_eq!(&first, b"tick\n");
    drop(out);
    let ended = child.wait_with_output().expect("it ends");
    assert_eq!(ended.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&ended.stderr), "");
}

#[test]
fn output_that_nobody_reads_can_be_interrupted() {
    let program = kscope_or_skip!();
    let script = "begin { printf(\"x\\n\"); } profile:hz:999 { @[nsecs] = 1; print(@); }";
    let mut child = Command::new(&program)
        .args(["-q", "-e", script])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("kscope starts");
    let mut out = child.stdout.take().expect("piped");
    let mut first = [0; 2];
    out.read_exact(&mut first).expect("the first line");
    // The pipe is full soon, and stays so.
    std::thread::sleep(Duration::from_millis(500));
    let pid = child.id().to_string();
    let begin = Instant::now();
    while child.try_wait().expect("its status").is_none() {
        assert!(begin.elapsed() < PATIENCE, "it does not end");
        let _ = Command::new("kill").args(["-INT", &pid]).status();
        std::thread::sleep(Duration::from_millis(50));
    }
    drop(out);
}

#[test]
fn a_killed_kscope_leaves_nothing_attached() {
    let kernel = kernel_or_skip!();
    let program = kscope_or_skip!();
    let script = "tracepoint:raw_syscalls:sys_enter { @a = count(); } rawtracepoint:sys_exit { @b = count(); } profile:hz:9 { @c = count(); }";
    let tracer = start(&program, &["-e", script]);
    let ids = program_ids(tracer.pid());
    assert!(ids.len() >= 3, "programs {ids:?}");
    for &id in &ids {
        assert!(kernel.program_by_id(id).is_ok(), "program {id}");
    }
    tracer.signal("KILL");
    assert_eq!(tracer.finish().code, None);
    let begin = Instant::now();
    for id in ids {
        // The kernel frees them a little later.
        while kernel.program_by_id(id).is_ok() {
            assert!(begin.elapsed() < PATIENCE, "program {id} is still there");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Gives the ids of the programs that a process holds open.
fn program_ids(pid: u32) -> Vec<u32> {
    let folder = std::fs::read_dir(format!("/proc/{pid}/fdinfo")).expect("its descriptors");
    let texts = folder.filter_map(|entry| std::fs::read_to_string(entry.ok()?.path()).ok());
    let ids = texts.filter_map(|text| {
        let value = text
            .lines()
            .find_map(|line| line.strip_prefix("prog_id:"))?;
        value.trim().parse().ok()
    });
    let mut ids: Vec<u32> = ids.collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}

#[test]
fn a_command_runs_from_its_exec_to_its_end() {
    let program = kscope_or_skip!();
    let exits =
        "tracepoint:sched:sched_process_exec /comm == \"kscope-child\"/ { printf(\"exec\\n\"); }";
    let folder = Folder::new("child");
    let path = folder.path().join("kscope-child");
    std::fs::copy("/bin/true", &path)
        .or_else(|_| std::fs::copy("/usr/bin/true", &path))
        .expect("true");
    let child = path.to_str().expect("text");
    if Command::new(&path)
        .status()
        .is_ok_and(|status| status.success())
    {
        check(&program, &["-c", child, "-e", exits], 0, &["exec"]);
    }
    let nothing = "end { printf(\"the end\\n\"); }";
    let sh = |text: &str, code, expected: &[&str]| {
        let command = format!("sh -c '{text}'");
        check(&program, &["-c", &command, "-e", nothing], code, expected);
    };
    sh("exit 5", 5, &["the end"]);
    sh("echo hello", 0, &["hello", "the end"]);
    sh("kill -9 $$", 137, &["the end"]);
    let (code, _, err) = run(&program, &["-c", "no-such-program", "-e", nothing]);
    assert_eq!(code, Some(1));
    assert!(err.contains("cannot run `no-such-program`"), "{err}");
    let (code, _, err) = run(&program, &["-c", "sh -c 'x", "-e", nothing]);
    assert_eq!(code, Some(2), "{err}");
}

#[test]
fn a_command_ends_with_the_run() {
    let program = kscope_or_skip!();
    let folder = Folder::new("ended");
    let pid_file = folder.path().join("pid");
    let command = format!("sh -c 'echo $$ > {}; exec sleep 1000'", pid_file.display());
    let script = "interval:ms:300 { exit(2); }";
    let (code, _, err) = run(&program, &["-c", &command, "-e", script]);
    assert_eq!(code, Some(2), "{err}");
    let pid = std::fs::read_to_string(&pid_file).expect("it ran");
    let begin = Instant::now();
    let stat = format!("/proc/{}/stat", pid.trim());
    // Nobody may be there to reap it in a guest, so a zombie counts as ended.
    while std::fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z ")) {
        assert!(begin.elapsed() < PATIENCE, "the command still runs");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_command_ends_when_kscope_is_killed() {
    let program = kscope_or_skip!();
    let tracer = start(&program, &["-c", "sleep 1000", "-e", "interval:s:100 { }"]);
    let children = format!("/proc/{0}/task/{0}/children", tracer.pid());
    let children = std::fs::read_to_string(&children).expect("its children");
    let stat = format!("/proc/{}/stat", children.trim());
    assert!(std::fs::read_to_string(&stat).is_ok(), "no child: {stat}");
    tracer.signal("KILL");
    assert_eq!(tracer.finish().code, None);
    let begin = Instant::now();
    while std::fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z ")) {
        assert!(begin.elapsed() < PATIENCE, "the command still runs");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn one_process_is_traced_until_it_ends() {
    let program = kscope_or_skip!();
    // Both make the same system calls; the first ends by itself.
    let busy = |text: &str| {
        Command::new("sh")
            .args(["-c", text])
            .stdout(Stdio::null())
            .spawn()
            .expect("sh")
    };
    let endless = "while :; do :; done < /dev/null";
    let mut wanted = busy(&format!("trap exit TERM; {endless}"));
    let mut other = busy(endless);
    let pid = wanted.id().to_string();
    let script = "tracepoint:raw_syscalls:sys_enter { @calls[pid] = count(); } profile:hz:99 { @busy[pid] = count(); } interval:ms:10 { @ticks = count(); } begin { @begin = 1; }";
    let tracer = start(&program, &["-p", &pid, "-e", script]);
    std::thread::sleep(Duration::from_millis(700));
    let _ = Command::new("kill").args(["-TERM", &pid]).status();
    wanted.wait().expect("ours");
    let left = tracer.finish();
    other.kill().expect("ours");
    other.wait().expect("ours");
    assert_eq!(left.code, Some(0), "{left:?}");
    let keys = |map: &str| -> Vec<&str> {
        let entries = left
            .lines
            .iter()
            .filter_map(|line| line.strip_prefix(map)?.split_once(']'));
        entries.map(|(key, _)| key).collect()
    };
    assert_eq!(keys("@calls["), [pid.as_str()], "{left:?}");
    assert_eq!(keys("@busy["), [pid.as_str()], "{left:?}");
    for map in ["@ticks: ", "@begin: 1"] {
        let there = left.lines.iter().any(|line| line.starts_with(map));
        assert!(there, "no {map}: {left:?}");
    }
}

#[test]
fn output_goes_to_a_file() {
    let program = kscope_or_skip!();
    let folder = Folder::new("output");
    let file = folder.path().join("out");
    let path = file.to_str().expect("text");
    let script = "begin { printf(\"hello\\n\"); @x = 3; exit(); }";
    for mode in ["none", "line", "full"] {
        check(&program, &["-o", path, "-B", mode, "-e", script], 0, &[]);
        let text = std::fs::read_to_string(&file).expect("written");
        assert!(
            text.starts_with("hello\n") && text.contains("@x: 3\n"),
            "{text}"
        );
    }
    let (code, out, err) = run(&program, &["-o", "/no/such/file", "-e", script]);
    assert_eq!((code, out.as_str()), (Some(1), ""));
    assert!(err.contains("cannot write to /no/such/file"), "{err}");
}

/// Runs a script that prints three lines and waits, and gives what it writes before it is interrupted
/// and after that, each write by itself.
fn writes(program: &Path, mode: &str) -> [Vec<String>; 2] {
    let script =
        "begin { printf(\"1\\n\"); printf(\"2\\n\"); printf(\"3\\n\"); } interval:s:1000 { }";
    // Datagrams keep what is written at a time together.
    let (ours, theirs) = UnixDatagram::pair().expect("sockets");
    let mut child = Command::new(program)
        .args(["-B", mode, "-e", script])
        .stdin(Stdio::null())
        .stdout(OwnedFd::from(theirs))
        .stderr(Stdio::piped())
        .spawn()
        .expect("kscope starts");
    let mut said = BufReader::new(child.stderr.take().expect("piped"));
    let mut line = String::new();
    said.read_line(&mut line).expect("a line");
    assert_eq!(line, "Attached 2 probes\n");
    let receive = |time| -> Vec<String> {
        ours.set_read_timeout(Some(time)).expect("a time");
        let mut bytes = [0; 4096];
        let mut all = Vec::new();
        while let Ok(length) = ours.recv(&mut bytes) {
            all.push(String::from_utf8_lossy(&bytes[..length]).into_owned());
        }
        all
    };
    let before = receive(Duration::from_millis(500));
    let pid = child.id().to_string();
    let sent = Command::new("kill").args(["-INT", &pid]).status();
    assert!(sent.expect("kill").success());
    assert!(child.wait().expect("ends").success());
    [before, receive(Duration::from_millis(1))]
}

#[test]
fn output_is_handed_on_as_asked() {
    let program = kscope_or_skip!();
    let check = |mode, before: &[&str], after: &[&str]| {
        assert_eq!(writes(&program, mode), [before, after], "{mode}");
    };
    check("none", &["1\n", "2\n", "3\n"], &["\n\n"]);
    check("line", &["1\n2\n3\n"], &["\n\n"]);
    check("full", &[], &["1\n2\n3\n\n\n"]);
}

#[test]
fn json_is_one_object_a_line() {
    let program = kscope_or_skip!();
    let script = "begin { printf(\"a \\\"b\\\"\\n\"); print((x=1, y=\"z\")); @m[\"k\"] = 2; @h = hist(5); @c = count(); exit(); }";
    let (code, out, err) = run(&program, &["-f", "json", "-e", script]);
    assert_eq!(code, Some(0), "{err}");
    let parse = |line: &str| -> Value {
        serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"))
    };
    let lines: Vec<Value> = out
        .lines()
        .filter(|line| !line.is_empty())
        .map(parse)
        .collect();
    assert_eq!(
        lines[0],
        parse(r#"{"type": "attached_probes", "count": 1, "data": {"probes": 1}}"#)
    );
    assert_eq!(
        lines[1],
        parse(r#"{"type": "printf", "data": "a \"b\"\n"}"#)
    );
    assert_eq!(lines[2]["type"], "value");
    let map = |name: &str| {
        let found = lines
            .iter()
            .find_map(|line| line["data"].get(name).map(|data| (line, data)));
        found.unwrap_or_else(|| panic!("no {name} in {out}"))
    };
    assert_eq!(
        map("@m"),
        (
            &parse(r#"{"type": "map", "data": {"@m": {"k": 2}}}"#),
            &parse(r#"{"k": 2}"#)
        )
    );
    assert_eq!(map("@c").1, &Value::from(1));
    assert_eq!(map("@h").0["type"], "hist");
}

#[test]
fn rows_are_json_that_the_schema_describes() {
    let program = kscope_or_skip!();
    let script = "begin { print((pid=pid, name=\"x\", big=(uint64)-1)); exit(); }";
    let (code, out, err) = run(&program, &["--json", "-e", script]);
    assert_eq!(code, Some(0), "{err}");
    let row: Value = serde_json::from_str(out.lines().next().expect("a row")).expect("JSON");
    assert_eq!(row["name"], "x");
    assert_eq!(row["big"], u64::MAX);
    let (code, out, err) = run(&program, &["--json-schema", "-e", script]);
    assert_eq!(code, Some(0), "{err}");
    let schema: Value = serde_json::from_str(&out).expect("JSON");
    let columns = schema["properties"].as_object().expect("properties");
    let row = row.as_object().expect("an object");
    assert_eq!(
        columns.keys().collect::<Vec<_>>(),
        row.keys().collect::<Vec<_>>()
    );
    let (code, _, err) = run(&program, &["--json-schema", "-e", "begin { exit(); }"]);
    assert_eq!(code, Some(1));
    assert!(err.contains("prints no rows"), "{err}");
}

#[test]
fn what_is_said_about_the_run() {
    let program = kscope_or_skip!();
    let script = "begin { printf(\"x\\n\"); exit(); } end { }";
    let (_, out, err) = run(&program, &["-e", script]);
    assert_eq!(err, "Attached 2 probes\n", "{out}");
    let (_, _, err) = run(&program, &["-q", "-e", script]);
    assert_eq!(err, "");
    let (_, _, err) = run(&program, &["-v", "-e", script]);
    assert_eq!(err.matches("program ").count(), 2, "{err}");
    assert!(err.contains("instructions verified"), "{err}");
    let (_, _, err) = run(&program, &["-q", "-e", "begin { nsecs; exit(); }"]);
    assert!(err.contains("WARNING"), "{err}");
    let (_, _, err) = run(
        &program,
        &["-q", "--no-warnings", "-e", "begin { nsecs; exit(); }"],
    );
    assert_eq!(err, "");
}

#[test]
fn a_dry_run_attaches_and_leaves() {
    let program = kscope_or_skip!();
    let script = "tracepoint:sched:sched_switch { } begin { printf(\"begin\\n\"); @x = 1; exit(3); } end { printf(\"end\\n\"); }";
    for words in [&[][..], &["-f", "json"], &["-c", "echo ran"]] {
        let words: Vec<&str> = words
            .iter()
            .copied()
            .chain(["--dry-run", "-e", script])
            .collect();
        let left = run(&program, &words);
        assert_eq!(left, (Some(0), String::new(), String::new()), "{words:?}");
    }
    // What cannot be loaded or attached is told all the same.
    let script = "config = { missing_probes = \"warn\" } rawtracepoint:nosuch { }";
    let (code, out, err) = run(&program, &["--dry-run", "-e", script]);
    assert_eq!((code, out.as_str()), (Some(1), ""), "{err}");
}

#[test]
fn a_question_is_answered_with_the_maps() {
    let program = kscope_or_skip!();
    let script = "begin { @n[1] = 2; @s = 1; @never = 0; delete(@never); } interval:s:100 { }";
    let answer = |script: &str| -> Vec<String> {
        let tracer = start(&program, &["-e", script]);
        tracer.signal("USR1");
        let left = tracer.interrupt();
        assert_eq!(left.code, Some(0), "{left:?}");
        left.lines
            .into_iter()
            .filter(|line| !line.is_empty())
            .collect()
    };
    assert_eq!(answer(script), ["@n[1]: 2", "@s: 1", "@n[1]: 2", "@s: 1"]);
    let own = "begin { @n = 5; } self:signal:SIGUSR1 { @n++; printf(\"%s %d\\n\", probe, @n); }";
    assert_eq!(answer(own), ["self:signal:SIGUSR1 6", "@n: 6"]);
}

#[test]
fn a_script_goes_on_without_probes_that_the_kernel_lacks() {
    let program = kscope_or_skip!();
    if Path::new("/sys/bus/event_source/devices/kprobe").exists() {
        skip!("no-kprobes", "this kernel has kprobes");
    }
    let script = |missing: &str, others: &str| {
        format!("config = {{ missing_probes = \"{missing}\" }} kprobe:vfs_read {{ }} {others}")
    };
    let others = "begin { printf(\"begin\\n\"); } end { printf(\"end\\n\"); }";
    let told = "WARNING: cannot attach kprobe:vfs_read: this kernel has no kprobes";
    for (missing, warns) in [("warn", 1), ("ignore", 0)] {
        let (code, out, err) = run(&program, &["-e", &script(missing, others)]);
        assert_eq!((code, out.as_str()), (Some(0), "begin\nend\n\n\n"), "{err}");
        assert_eq!(err.matches(told).count(), warns, "{err}");
        assert!(err.contains("Attached 2 probes\n"), "{err}");
        // Where nothing at all is left, the cause is told.
        let (code, out, err) = run(&program, &["-e", &script(missing, "")]);
        assert_eq!((code, out.as_str()), (Some(1), ""), "{err}");
        assert!(
            err.contains("none of the script's probes can be attached"),
            "{err}"
        );
        assert!(err.contains("this kernel has no kprobes"), "{err}");
    }
    let (code, _, err) = run(&program, &["-e", &script("error", others)]);
    assert_eq!(code, Some(1), "{err}");
    // A script goes on while a timer is left, as bpftrace does; an object needs events.
    let ticks = "interval:ms:20 { printf(\"tick\\n\"); exit(); }";
    let (code, out, err) = run(&program, &["-e", &script("warn", ticks)]);
    assert_eq!((code, out.as_str()), (Some(0), "tick\n\n\n"), "{err}");
    let folder = Folder::new("ticks");
    let object = folder.path().join("ticks.bpf.o");
    let object = object.to_str().expect("text");
    for (more, expected) in [("", 1), (COUNTS, 0)] {
        let script = script("warn", &format!("{ticks} {more}"));
        let (code, _, err) = run(&program, &["build", "-e", &script, "-o", object]);
        assert_eq!(code, Some(0), "{err}");
        let (code, _, err) = run(&program, &[object]);
        assert_eq!(code, Some(expected), "{err}");
        assert!(err.contains("this kernel has no kprobes"), "{err}");
    }
    // The tool's script may do without missing probes, but would show nothing.
    let (code, out, err) = run(&program, &["opensnoop", "--probe", "kprobe"]);
    assert_eq!((code, out.as_str()), (Some(1), ""), "{err}");
    assert!(err.contains("this kernel has no kprobes"), "{err}");
}

#[test]
fn either_buffer_brings_events() {
    let program = kscope_or_skip!();
    let script = "begin { printf(\"begin\\n\"); } interval:ms:20 { printf(\"tick\\n\"); exit(); }";
    for buffer in ["ring", "perf"] {
        check(
            &program,
            &["--buffer", buffer, "-e", script],
            0,
            &["begin", "tick"],
        );
    }
}

#[test]
fn parameters_and_options_reach_the_script() {
    let program = kscope_or_skip!();
    let script = "begin { printf(\"%d %s %d %s\\n\", $1, str($2), $#, getopt(\"name\", \"none\")); exit(); }";
    check(&program, &["-e", script, "7", "b"], 0, &["7 b 2 none"]);
    check(
        &program,
        &["-e", script, "7", "b", "--", "--name=x"],
        0,
        &["7 b 2 x"],
    );
    let (code, _, err) = run(&program, &["-e", script, "1", "b", "--", "--nam=x"]);
    assert_eq!(code, Some(2));
    assert!(err.contains("did you mean --name?"), "{err}");
    let number = "begin { printf(\"%d %d\\n\", getopt(\"n\", 3), getopt(\"flag\")); exit(); }";
    check(&program, &["-e", number], 0, &["3 0"]);
    check(
        &program,
        &["-e", number, "--", "--n=0x10", "--flag"],
        0,
        &["16 1"],
    );
    let (code, _, err) = run(&program, &["-e", number, "--", "--n=x"]);
    assert_eq!(code, Some(2));
    assert!(
        err.contains("--n") && err.contains("`x` is not a number"),
        "{err}"
    );
    let folder = Folder::new("parameters");
    let file = folder.path().join("script.bt");
    std::fs::write(&file, format!("#!/usr/bin/env kscope\n{script}")).expect("written");
    let file = file.to_str().expect("text");
    check(&program, &["run", file, "1", "z"], 0, &["1 z 2 none"]);
    check(
        &program,
        &[file, "1", "z", "--", "--name=y"],
        0,
        &["1 z 2 y"],
    );
}

#[test]
fn by_the_name_of_bpftrace() {
    let program = kscope_or_skip!();
    let folder = Folder::new("bpftrace");
    let name = folder.path().join("bpftrace");
    std::os::unix::fs::symlink(&program, &name).expect("a link");
    let script = "BEGIN { printf(\"hi %d\\n\", $1); exit(4); }";
    check(&name, &["-e", script, "5"], 4, &["hi 5"]);
    check(
        &name,
        &["-q", "-v", "-B", "none", "--unsafe", "-e", script, "6"],
        4,
        &["hi 6"],
    );
    check(
        &name,
        &["--dry-run", "-e", "BEGIN { printf(\"x\\n\"); }"],
        0,
        &[],
    );
    check(
        &name,
        &["-c", "sh -c 'exit 3'", "-e", "END { printf(\"x\\n\"); }"],
        0,
        &["x"],
    );
    let out = folder.path().join("out");
    check(
        &name,
        &[
            "-o",
            out.to_str().expect("text"),
            "-f",
            "json",
            "-e",
            script,
        ],
        4,
        &[],
    );
    let text = std::fs::read_to_string(&out).expect("written");
    assert!(
        text.contains(r#"{"type": "printf", "data": "hi 0\n"}"#),
        "{text}"
    );
    let listed = |words: &[&str], expected: &[&str]| check(&name, words, 0, expected);
    listed(
        &["-l", "tracepoint:raw_syscalls:*"],
        &[
            "tracepoint:raw_syscalls:sys_enter",
            "tracepoint:raw_syscalls:sys_exit",
        ],
    );
    for pattern in ["rawtracepoint:sys_ent*", "rawtracepoint:vmlinux:sys_ent*"] {
        listed(&["-l", pattern], &["rawtracepoint:vmlinux:sys_enter"]);
    }
    for probe in ["rawtracepoint:sys_enter", "rt:vmlinux:sys_enter"] {
        let script = format!("{probe} {{ printf(\"%s\\n\", probe); exit(); }}");
        check(
            &name,
            &["-e", &script],
            0,
            &["rawtracepoint:vmlinux:sys_enter"],
        );
    }
    listed(
        &["-l", "-e", "BEGIN {} interval:s:1 { exit(); }"],
        &["begin", "interval:s:1"],
    );
    let (_, info, _) = run(&name, &["--info"]);
    for line in [
        "btf: ",
        "kprobe_multi: ",
        "iter: ",
        "libdw (DWARF support): ",
    ] {
        assert!(info.contains(line), "{info}");
    }
}
