//! The steps of docs/tutorial.md, run as the tutorial says, print what it promises.
//!
//! This process is the producer: a thread called `opener` opens files whose names nobody else
//! knows, and a `cat` opens one as another process would.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use kscope_bpf::Features;
use kscope_tests::assembly::kernel_types;
use kscope_tests::program::kscope;
use kscope_tests::{kernel_or_skip, skip};

const STEP1: &str = include_str!("../scripts/tutorial/step1.bt");
const STEP2: &str = include_str!("../scripts/tutorial/step2.bt");
const STEP3: &str = include_str!("../scripts/tutorial/step3.bt");
const STEP4: &str = include_str!("../scripts/tutorial/step4.bt");
const STEP5: &str = include_str!("../scripts/tutorial/step5.bt");

/// What `kscope` prints when all probes are attached and the environment asks for it.
const ATTACHED: &str = "__BPFTRACE_NOTIFY_PROBES_ATTACHED";

/// How long anything may take; guests are emulated.
const PATIENCE: Duration = Duration::from_secs(40);

/// A folder of this step, with a file to open in it.
struct Folder(PathBuf);

impl Folder {
    fn new(step: &str) -> Folder {
        let name = format!("kscope-tutorial-{step}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).expect("a folder");
        std::fs::write(path.join("there"), "").expect("a file");
        Folder(path)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A script that runs.
struct Tracer {
    child: Child,
    lines: Receiver<String>,
}

impl Tracer {
    /// Starts a script and waits until it is attached.
    fn start(program: &Path, folder: &Folder, script: &str, words: &[&str]) -> Tracer {
        let file = folder.file("script.bt");
        std::fs::write(&file, script).expect("written");
        let mut child = Command::new(program)
            .arg("run")
            .arg(&file)
            .args(words)
            .env(ATTACHED, "1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("kscope starts");
        let output = BufReader::new(child.stdout.take().expect("piped"));
        let (send, lines) = channel();
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if send.send(line).is_err() {
                    return;
                }
            }
        });
        let mut tracer = Tracer { child, lines };
        let mut seen = Vec::new();
        if !tracer.read_until(&mut seen, |line| line == ATTACHED) {
            let _ = tracer.child.kill();
            let mut errors = String::new();
            let stderr = tracer.child.stderr.as_mut().expect("piped");
            stderr.read_to_string(&mut errors).expect("text");
            panic!("was not attached: {seen:?}\n{errors}");
        }
        tracer
    }

    /// Collects lines up to one that the test accepts; false where none came.
    fn read_until(&self, seen: &mut Vec<String>, test: impl Fn(&str) -> bool) -> bool {
        let end = Instant::now() + PATIENCE;
        while let Ok(line) = self
            .lines
            .recv_timeout(end.saturating_duration_since(Instant::now()))
        {
            let found = test(&line);
            seen.push(line);
            if found {
                return true;
            }
        }
        false
    }

    /// Interrupts the script, as Ctrl-C does, and collects what is left.
    fn finish(mut self, seen: &mut Vec<String>) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-INT", &pid]).status();
        assert!(sent.expect("kill").success());
        seen.extend(self.lines.iter());
        let status = self.child.wait().expect("ends");
        let mut errors = String::new();
        let stderr = self.child.stderr.as_mut().expect("piped");
        stderr.read_to_string(&mut errors).expect("text");
        assert!(status.success(), "{status}: {errors}");
        assert_eq!(
            errors.trim_end().lines().last(),
            errors.lines().next(),
            "one line: {errors}"
        );
        assert!(errors.starts_with("Attached "), "{errors}");
    }
}

/// Opens a file of the folder that is there and one that is not; gives the descriptor of the first.
fn open_both(folder: &Folder) -> i32 {
    let (there, missing) = (folder.file("there"), folder.file("missing"));
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
    let Some(program) = kscope() else {
        skip!(
            "kscope",
            "kscope is not built: `cargo build -p kscope`, or set KSCOPE_BIN"
        );
    };
    let folder = Folder::new(step);
    let pid = std::process::id();
    let own = pid.to_string();
    let words: &[&str] = if prints == Prints::Everybody {
        &[]
    } else {
        &[&own]
    };
    let tracer = Tracer::start(&program, &folder, script, words);

    let other = folder.file("there");
    let mut cat = Command::new("cat").arg(&other).spawn().expect("cat");
    let other_pid = cat.id();
    assert!(cat.wait().expect("ends").success());
    let fd = open_both(&folder);

    let mut seen = Vec::new();
    let last = format!("/{}", "missing");
    let came = tracer.read_until(&mut seen, |line| {
        line.contains(step) && line.ends_with(&last)
    });
    tracer.finish(&mut seen);
    assert!(came, "nothing came: {seen:?}");
    let name = folder.0.display().to_string();
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
