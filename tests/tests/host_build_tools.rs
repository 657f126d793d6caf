//! Every tool as an object: built, run beside its script over the same work, and the same rows of both.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use kscope_tests::kscope_or_skip;
use kscope_tests::program::{Finished, Folder, Tracer, run};
use serde_json::Value;

/// Tools that the work makes events for: what they are given, and the fields of their rows that are the same
/// whoever looks. A tool without fields prints maps, which are compared as they are.
const SHOWN: &[(&str, &[&str], &[&str])] = &[
    (
        "execsnoop",
        &["--comm=kscope-work"],
        &["pid", "ppid", "path"],
    ),
    (
        "exitsnoop",
        &["--comm=kscope-work"],
        &["pid", "comm", "code"],
    ),
    (
        "killsnoop",
        &["--target={pid}"],
        &["pid", "signal", "target"],
    ),
    (
        "opensnoop",
        &["--path=shown-by-both"],
        &["pid", "comm", "err", "path"],
    ),
    (
        "statsnoop",
        &["--path=shown-by-both"],
        &["pid", "comm", "err", "path"],
    ),
    ("syscount", &["--comm=kscope-work", "--by=both"], &[]),
    (
        "tcpaccept",
        &["--pid={pid}"],
        &["pid", "family", "lport", "rport"],
    ),
    (
        "tcpconnect",
        &["--pid={pid}"],
        &["pid", "family", "raddr", "rport"],
    ),
    (
        "tcpdrop",
        &["--dport={closed}"],
        &["family", "saddr", "daddr", "dport", "reason"],
    ),
    (
        "tcplife",
        &["--pid={pid}"],
        &["pid", "lport", "rport", "tx", "rx"],
    ),
];

/// Tools whose events the work does not make, or whose figures differ from one who looks to the next; they are
/// attached alone.
const ATTACHED: &[(&str, &[&str])] = &[
    ("bashreadline", &[]),
    ("biolatency", &[]),
    ("biosnoop", &[]),
    ("cpudist", &[]),
    (
        "funclatency",
        &["uprobe:libc:malloc", "uretprobe:libc:malloc"],
    ),
    ("oomkill", &[]),
    ("ps", &[]),
    ("runqlat", &[]),
    ("sslsnoop", &[]),
    ("tcpretrans", &[]),
];

/// Tools of kprobes, which the machine may not have; guests run them.
const BUILT: &[&str] = &["capable", "vfsstat"];

/// Tools that walk over memory, of which no object is made.
const OVER_MEMORY: &[&str] = &[
    "files",
    "interfaces",
    "irq",
    "modules",
    "mounts",
    "runq",
    "sockets",
    "timers",
];

fn script(tool: &str) -> PathBuf {
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tools");
    tools.join(format!("{tool}.bt"))
}

fn built(kscope: &Path, folder: &Folder, tool: &str, words: &[&str]) -> String {
    let object = folder.path().join(format!("{tool}.bpf.o"));
    let object = object.to_str().expect("a path of text").to_owned();
    let script = script(tool);
    let mut all = vec!["build", "-o", &object, script.to_str().expect("text")];
    all.extend(words);
    let (code, _, errors) = run(kscope, &all);
    assert_eq!(code, Some(0), "{tool}: {errors}");
    object
}

#[test]
fn all_tools_are_built_and_attached() {
    let kscope = kscope_or_skip!();
    let folder = Folder::new("host-build-attached");
    let known: BTreeSet<&str> = (SHOWN.iter().map(|(tool, ..)| *tool))
        .chain(ATTACHED.iter().map(|(tool, _)| *tool))
        .chain(BUILT.iter().copied())
        .chain(OVER_MEMORY.iter().copied())
        .collect();
    let scripts = std::fs::read_dir(script("x").parent().expect("a folder")).expect("tools");
    for name in scripts.map(|entry| entry.expect("an entry").file_name()) {
        let name = name.to_str().expect("text");
        if let Some(tool) = name.strip_suffix(".bt") {
            assert!(known.contains(tool), "{tool} is not among them");
        }
    }
    for tool in BUILT {
        built(&kscope, &folder, tool, &[]);
    }
    for (tool, words) in ATTACHED {
        let object = built(&kscope, &folder, tool, words);
        let (code, _, errors) = run(&kscope, &["run", "--dry-run", &object]);
        assert_eq!((code, errors.as_str()), (Some(0), ""), "{tool}");
    }
}

#[test]
fn where_a_script_lies_is_nothing_of_its_object() {
    let kscope = kscope_or_skip!();
    let folder = Folder::new("host-build-twice");
    let built = |place: &str, text: &str| {
        let place = folder.path().join(place);
        std::fs::create_dir_all(&place).expect("a folder");
        std::fs::write(place.join("same.bt"), text).expect("a file");
        let words = ["build", "same.bt", "-o", "same.bpf.o"];
        let done = Command::new(&kscope)
            .args(words)
            .current_dir(&place)
            .status();
        assert!(done.expect("kscope starts").success());
        let (whole, there) = (place.join("same.bt"), place.join("whole.bpf.o"));
        let done = Command::new(&kscope)
            .arg("build")
            .arg(whole)
            .arg("-o")
            .arg(&there)
            .status();
        assert!(done.expect("kscope starts").success());
        let read = |name| std::fs::read(place.join(name)).expect("an object");
        let (relative, whole) = (read("same.bpf.o"), read("whole.bpf.o"));
        assert!(relative == whole, "the path is in the object");
        whole
    };
    let text = std::fs::read_to_string(script("opensnoop")).expect("a tool");
    let (one, other) = (built("one", &text), built("a/longer/way", &text));
    assert!(one == other, "the folder is in the object");
    assert!(one != built("one", &format!("{text}// Another.\n")));
}

#[test]
fn attach_points_that_are_not_given_are_asked_for() {
    let kscope = kscope_or_skip!();
    let folder = Folder::new("host-build-asked");
    let object = folder.path().join("x.bpf.o");
    let words = [
        "build",
        "-o",
        object.to_str().expect("text"),
        script("funclatency").to_str().expect("text"),
    ]
    .map(str::to_owned);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let (code, _, errors) = run(&kscope, &words);
    assert_eq!(code, Some(1), "{errors}");
    assert!(errors.contains("there is no attach point"), "{errors}");
}

#[test]
fn objects_show_what_scripts_show() {
    let kscope = kscope_or_skip!();
    let folder = Folder::new("host-build-shown");
    let closed = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = closed.local_addr().expect("its address").port();
    drop(closed);
    let (pid, port_text) = (std::process::id().to_string(), port.to_string());
    let fill = |word: &&str| word.replace("{pid}", &pid).replace("{closed}", &port_text);
    let start = |tool: &str, options: &[String], object: bool| {
        let what = match object {
            true => built(&kscope, &folder, tool, &[]),
            false => script(tool).to_str().expect("text").to_owned(),
        };
        let mut words = vec!["run".to_owned(), "--json".to_owned(), what, "--".to_owned()];
        words.extend(options.iter().cloned());
        Tracer::start(&kscope, &words).unwrap_or_else(|left| panic!("{tool}: {left:?}"))
    };
    let tracers: Vec<[Tracer; 2]> = std::thread::scope(|scope| {
        let started: Vec<_> = SHOWN
            .iter()
            .map(|(tool, options, _)| {
                let options: Vec<String> = options.iter().map(fill).collect();
                scope.spawn(move || [false, true].map(|object| start(tool, &options, object)))
            })
            .collect();
        let joined = started
            .into_iter()
            .map(|one| one.join().expect("it starts"));
        joined.collect()
    });
    work(&folder, port);
    let mut wrong = String::new();
    for ((tool, _, fields), both) in SHOWN.iter().zip(tracers) {
        let [of_script, of_object] = both.map(Tracer::interrupt).map(|left| rows(&left, fields));
        if of_script != of_object || of_script.is_empty() {
            wrong += &format!("{tool}: script {of_script:?}, object {of_object:?}\n");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// Does something of all that the tools show.
fn work(folder: &Folder, closed: u16) {
    let program = folder.path().join("kscope-work");
    std::fs::copy("/bin/true", &program).expect("a program");
    let mut child = Command::new(&program)
        .stdin(Stdio::null())
        .spawn()
        .expect("it starts");
    assert!(child.wait().expect("it ends").success());
    let pid = std::process::id().to_string();
    let sent = Command::new("/bin/kill").args(["-CONT", &pid]).status();
    assert!(sent.expect("kill starts").success());
    let file = folder.path().join("shown-by-both");
    let _ = File::open(&file);
    std::fs::write(&file, "text").expect("a file");
    let _ = std::fs::metadata(&file);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let mut client =
        TcpStream::connect(listener.local_addr().expect("its address")).expect("a peer");
    let (mut server, _) = listener.accept().expect("a client");
    client.write_all(b"work").expect("sent");
    server.read_exact(&mut [0; 4]).expect("received");
    drop((client, server));
    assert!(TcpStream::connect(("127.0.0.1", closed)).is_err());
}

/// Gives the rows, each with these fields; of maps all that is printed.
fn rows(left: &Finished, fields: &[&str]) -> Vec<String> {
    assert_eq!(
        (left.code, left.errors.as_slice()),
        (Some(0), &[][..]),
        "{left:?}"
    );
    let row = |line: &String| {
        if fields.is_empty() {
            return line.clone();
        }
        let row: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}"));
        let field = |name: &&str| row.get(*name).unwrap_or_else(|| panic!("no {name}: {row}"));
        let fields = fields.iter().map(|name| field(name).to_string());
        fields.collect::<Vec<_>>().join(" ")
    };
    let mut rows: Vec<String> = left.lines.iter().map(row).collect();
    rows.sort_unstable();
    rows
}
