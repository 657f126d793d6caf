//! Objects of `kscope build` on this kernel: run with their formats, and loaded by libbpf.
//!
//! In guests the objects were built before, on the machine that boots the guests: what they print
//! here is right only if their offsets are this kernel's. On that machine they are built now.

//@ objects: tools/opensnoop.bt, tests/scripts/tutorial/step3.bt, tests/scripts/tutorial/step5.bt
//@ objects: tests/scripts/portable/execs.bt, tests/scripts/portable/switches.bt
//@ objects: tests/scripts/portable/task.bt, tests/scripts/portable/reads.bt
//@ objects: tests/scripts/portable/entries.bt, tests/scripts/portable/counted.bt
//@ objects: tools/tcpconnect.bt, tools/vfsstat.bt

use std::fs::File;
use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use kscope_bpf::Features;
use kscope_bpf::btf::{Kind, Type};
use kscope_tests::assembly::kernel_types;
use kscope_tests::program::{Finished, Folder, Tracer};
use kscope_tests::{kernel_or_skip, kscope_or_skip, skip};

/// Name and text of each script.
const SCRIPTS: [(&str, &str); 11] = [
    ("opensnoop", include_str!("../../tools/opensnoop.bt")),
    ("step3", include_str!("../scripts/tutorial/step3.bt")),
    ("step5", include_str!("../scripts/tutorial/step5.bt")),
    ("execs", include_str!("../scripts/portable/execs.bt")),
    ("switches", include_str!("../scripts/portable/switches.bt")),
    ("task", include_str!("../scripts/portable/task.bt")),
    ("reads", include_str!("../scripts/portable/reads.bt")),
    ("entries", include_str!("../scripts/portable/entries.bt")),
    ("counted", include_str!("../scripts/portable/counted.bt")),
    ("tcpconnect", include_str!("../../tools/tcpconnect.bt")),
    ("vfsstat", include_str!("../../tools/vfsstat.bt")),
];

/// What a script prints whose helper came after Linux 5.10: its name, the helper, the release it came with.
const LATE: [(&str, &str, &str, &str); 2] = [
    ("entries", "for_each_map_elem", "Linux 5.13", "sum 42"),
    ("counted", "map_lookup_percpu_elem", "Linux 5.19", "count 2"),
];

/// Tells whether the kernel has what a script cannot do without.
fn has_its_helper(script: &str) -> bool {
    let late = LATE.iter().find(|(name, ..)| *name == script);
    let Some((_, helper, ..)) = late else {
        return true;
    };
    let helpers =
        kernel_types().and_then(|types| types.get(types.find("bpf_func_id", Kind::Enum)?));
    let constant = format!("BPF_FUNC_{helper}");
    match helpers {
        Some(Type::Enum(known)) => known.enumerators().any(|one| one.name == constant),
        _ => false,
    }
}

/// Where guests have the objects that were built for them.
const BUILT: &str = "/objects";

/// Gives the object of a script.
fn object(program: &Path, folder: &Folder, name: &str) -> PathBuf {
    let built = Path::new(BUILT).join(format!("{name}.bpf.o"));
    if std::env::var_os("KSCOPE_GUEST").is_some() {
        assert!(built.is_file(), "{} was not built", built.display());
        return built;
    }
    let (_, text) = SCRIPTS
        .iter()
        .find(|(known, _)| *known == name)
        .expect("a script");
    let script = folder.path().join(format!("{name}.bt"));
    std::fs::write(&script, text).expect("a file");
    let done = Command::new(program).arg("build").arg(&script).output();
    let done = done.expect("kscope starts");
    assert!(
        done.status.success(),
        "{}",
        String::from_utf8_lossy(&done.stderr)
    );
    folder.path().join(format!("{name}.bpf.o"))
}

/// Runs an object while `work` is done; gives what it left.
fn traced(program: &Path, object: &Path, words: &[&str], work: impl FnOnce()) -> Finished {
    let object = object.to_str().expect("a path of text");
    let arguments: Vec<&str> = ["run", object].iter().chain(words).copied().collect();
    let tracer = match Tracer::start(program, &arguments) {
        Ok(tracer) => tracer,
        Err(finished) => panic!("{object}: {finished:?}"),
    };
    work();
    let finished = tracer.interrupt();
    assert_eq!(finished.code, Some(0), "{finished:?}");
    finished
}

#[test]
fn structures_are_read_as_helpers_have_them() {
    let program = kscope_or_skip!();
    let folder = Folder::new("run-build-task");
    let object = object(&program, &folder, "task");
    let done = Command::new(&program).arg("run").arg(&object).output();
    let done = done.expect("kscope starts");
    let out = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(
        done.status.success(),
        "{}",
        String::from_utf8_lossy(&done.stderr)
    );
    let lines: Vec<&str> = out.lines().filter(|line| !line.is_empty()).collect();
    let expected = [
        "pid 1",
        "comm 1",
        "uid 1",
        "leader 1",
        "bits 0 0",
        "kthread 0",
        "size 1",
        "enum 1 1",
        "pidns 1",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn opensnoop_shows_opens_with_its_options() {
    let program = kscope_or_skip!();
    let folder = Folder::new("run-build-open");
    let object = object(&program, &folder, "opensnoop");
    let there = folder.path().join("there");
    let absent = folder.path().join("absent");
    std::fs::write(&there, "").expect("a file");
    let check = |options: &[&str], expected: &[&Path]| {
        let words: Vec<&str> = ["--json", "--", "--path=run-build-open"]
            .iter()
            .chain(options)
            .copied()
            .collect();
        let finished = traced(&program, &object, &words, || {
            for path in [&there, &absent] {
                let _ = File::open(path);
            }
        });
        let rows = finished.json();
        let paths: Vec<&Path> = rows
            .iter()
            .filter_map(|row| row["path"].as_str().map(Path::new))
            .collect();
        assert_eq!(paths, expected, "{options:?}: {finished:?}");
    };
    check(&[], &[&there, &absent]);
    check(&["--failed"], &[&absent]);
}

#[test]
fn system_calls_are_shown_for_one_process() {
    opens_are_shown("step5", " -2 ");
}

#[test]
fn functions_are_shown_through_perf_buffers() {
    let kernel = kernel_or_skip!();
    let support = Features::new(kernel, kernel_types()).kprobe();
    if !support.is_available() {
        skip!("kprobe", "kprobes are {support}");
    }
    opens_are_shown("step3", " ");
}

/// Opens a file while a step of the tutorial shows opens; `before` stands before the path.
fn opens_are_shown(step: &str, before: &str) {
    let program = kscope_or_skip!();
    let folder = Folder::new(&format!("run-build-{step}"));
    let object = object(&program, &folder, step);
    let absent = folder.path().join("absent");
    let pid = std::process::id().to_string();
    let finished = traced(&program, &object, &[&pid], || {
        let _ = File::open(&absent);
    });
    let wanted = format!("{before}{}", absent.display());
    let found = finished.lines.iter().filter(|line| line.ends_with(&wanted));
    let found: Vec<&String> = found.collect();
    assert_eq!(found.len(), 1, "{finished:?}");
    assert!(found[0].starts_with(&format!("{pid} ")), "{found:?}");
}

#[test]
fn started_programs_are_shown_with_their_parents() {
    let program = kscope_or_skip!();
    let folder = Folder::new("run-build-execs");
    let object = object(&program, &folder, "execs");
    let pid = std::process::id().to_string();
    let finished = traced(&program, &object, &[&pid], || {
        let status = Command::new("/bin/true").stdin(Stdio::null()).status();
        assert!(status.expect("true starts").success());
    });
    let comm = std::fs::read_to_string("/proc/thread-self/comm").expect("our name");
    let wanted = format!("/bin/true 1 0 {}", comm.trim_end());
    let found = finished.lines.contains(&wanted);
    assert!(found, "no `{wanted}` in {finished:?}");
}

#[test]
fn threads_that_give_way_are_counted_as_themselves() {
    let program = kscope_or_skip!();
    let folder = Folder::new("run-build-switches");
    let object = object(&program, &folder, "switches");
    let pid = std::process::id().to_string();
    let finished = traced(&program, &object, &[&pid], || {
        for _ in 0..5 {
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
    });
    let lines = &finished.lines;
    assert!(
        lines.iter().any(|line| line.starts_with("@same[")),
        "{lines:?}"
    );
    assert!(
        !lines.iter().any(|line| line.starts_with("@other[")),
        "{lines:?}"
    );
}

#[test]
fn read_files_are_named() {
    let program = kscope_or_skip!();
    let kernel = kernel_or_skip!();
    let support = Features::new(kernel, kernel_types()).kprobe();
    if !support.is_available() {
        skip!("kprobe", "kprobes are {support}");
    }
    let folder = Folder::new("run-build-reads");
    let object = object(&program, &folder, "reads");
    let file = folder.path().join("read-by-name");
    std::fs::write(&file, "text").expect("a file");
    let pid = std::process::id().to_string();
    let finished = traced(&program, &object, &[&pid], || {
        let mut text = String::new();
        let mut opened = File::open(&file).expect("the file");
        opened.read_to_string(&mut text).expect("its text");
    });
    let wanted = "read-by-name 12 vfs_read";
    assert!(
        finished.lines.iter().any(|line| line == wanted),
        "{finished:?}"
    );
}

#[test]
fn arguments_of_raw_tracepoints_are_read() {
    let program = kscope_or_skip!();
    let folder = Folder::new("run-build-connect");
    let object = object(&program, &folder, "tcpconnect");
    let only = format!("--pid={}", std::process::id());
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    let finished = traced(&program, &object, &["--json", "--", &only], || {
        TcpStream::connect(address).expect("it listens");
    });
    let rows = finished.json();
    let found: Vec<_> = rows
        .iter()
        .map(|row| (row["raddr"].as_str(), row["rport"].as_u64()))
        .collect();
    let port = u64::from(address.port());
    assert_eq!(found, [(Some("127.0.0.1"), Some(port))], "{finished:?}");
}

#[test]
fn functions_that_are_there_are_counted() {
    let program = kscope_or_skip!();
    let kernel = kernel_or_skip!();
    let support = Features::new(kernel, kernel_types()).kprobe();
    if !support.is_available() {
        skip!("kprobe", "kprobes are {support}");
    }
    let folder = Folder::new("run-build-vfsstat");
    let object = object(&program, &folder, "vfsstat");
    let only = format!("--pid={}", std::process::id());
    let words = ["--json", "--", &only];
    let finished = traced(&program, &object, &words, || {
        for _ in 0..5 {
            drop(File::open(&object).expect("the object"));
        }
        std::thread::sleep(std::time::Duration::from_millis(1100));
    });
    let opens = finished
        .json()
        .iter()
        .map(|row| row["open"].as_u64().unwrap_or(0))
        .sum::<u64>();
    assert!(opens >= 5, "{finished:?}");
}

#[test]
fn helpers_that_came_late_are_used_or_named() {
    let program = kscope_or_skip!();
    let folder = Folder::new("run-build-late");
    for (name, helper, since, printed) in LATE {
        let object = object(&program, &folder, name);
        let done = Command::new(&program).arg("run").arg(&object).output();
        let done = done.expect("kscope starts");
        let out = String::from_utf8_lossy(&done.stdout);
        let said = String::from_utf8_lossy(&done.stderr);
        if has_its_helper(name) {
            assert!(done.status.success(), "{said}");
            assert!(out.lines().any(|line| line == printed), "{out}");
        } else {
            assert!(!done.status.success(), "{out}");
            let named = said.contains(&format!("helper bpf_{helper}, which"));
            assert!(named && said.contains(since), "{said}");
        }
    }
}

/// Gives bpftool as this machine, or this guest, has it.
fn bpftool() -> Option<Command> {
    let (loader, own) = ("/foreign/ld.so", "/foreign/bpftool");
    if Path::new(own).is_file() {
        let mut command = Command::new(loader);
        command.args(["--library-path", "/foreign", own]);
        return Some(command);
    }
    let places = [
        "/usr/sbin/bpftool",
        "/usr/bin/bpftool",
        "/usr/local/sbin/bpftool",
    ];
    places
        .iter()
        .find(|path| Path::new(path).is_file())
        .map(Command::new)
}

#[test]
fn libbpf_loads_the_objects() {
    let program = kscope_or_skip!();
    if bpftool().is_none() {
        skip!("bpftool", "bpftool is not installed");
    }
    let folder = Folder::new("run-build-libbpf");
    let pins = PathBuf::from(format!("/sys/fs/bpf/kscope-build-{}", std::process::id()));
    let mut wrong = String::new();
    for (name, _) in SCRIPTS.into_iter().filter(|(name, _)| has_its_helper(name)) {
        let object = object(&program, &folder, name);
        let mut command = bpftool().expect("bpftool was there");
        let done = command
            .args(["prog", "loadall"])
            .arg(&object)
            .arg(&pins)
            .output();
        let done = done.expect("bpftool starts");
        let pinned = std::fs::read_dir(&pins).map_or(0, Iterator::count);
        let _ = std::fs::remove_dir_all(&pins);
        if !done.status.success() || pinned == 0 {
            let log = String::from_utf8_lossy(&done.stderr);
            let tail: Vec<&str> = log.lines().rev().take(15).collect();
            wrong += &format!("{name}: {}: {tail:#?}\n", done.status);
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}
