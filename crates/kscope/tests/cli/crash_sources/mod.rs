//! A table: what each sub-command of `crash` says of a real dump, beside what crash and drgn, both with debuginfo, said of
//! the same dump. A command that has no row fails it.
//!
//! `cargo test -p kscope --test cli every_command -- --nocapture` prints it.

mod raw;
mod state;
mod tables;
mod tasks;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt::Debug;
use std::io::{BufRead as _, BufReader, Write as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use kscope_testkit::dumps::{KDUMP, folder};
use serde_json::Value;

use super::crash::path;
use super::{kscope, program};

/// Compares what a command says with a source; gives what agrees, and panics where they differ.
type Compare = fn(&Sources) -> String;

/// Commands, what each is compared with, and the comparison.
const ROWS: [(&str, &str, Compare); 33] = [
    ("summary", "crash sys, bt -a", tasks::summary),
    ("log", "crash log", tasks::log_of_crash),
    ("log", "vmcore-dmesg", tasks::log_of_dmesg),
    ("bt", "drgn stack_trace of all tasks", tasks::stacks),
    ("bt", "crash bt -a", tasks::registers),
    ("ps", "crash ps", tasks::ps),
    ("run", "drgn for_each_task", tasks::script),
    ("memory", "crash kmem -i", state::memory),
    ("memory", "crash ps", state::processes),
    ("slabs", "crash kmem -s", state::caches),
    ("workqueues", "crash timer", state::works),
    ("block", "crash dev", state::disks),
    ("struct", "crash ps", raw::structures),
    ("struct", "crash vm", raw::mappings),
    ("sym", "crash timer, bt -a", raw::symbols),
    ("read", "crash bt -a", raw::memory),
    ("read", "crash log", raw::banner),
    ("dis", "crash bt -a", raw::calls),
    ("list", "crash mod", raw::list_of_modules),
    ("list", "drgn for_each_task", raw::list_of_processes),
    ("tree", "crash irq", raw::tree_of_interrupts),
    ("tree", "crash ps", raw::tree_of_ids),
    ("modules", "crash mod", tables::modules),
    ("mounts", "crash mount", tables::mounts),
    ("mounts", "drgn for_each_mount", tables::mounts_of_drgn),
    ("irq", "crash irq", tables::irq),
    ("runq", "crash runq", tables::runq),
    ("timers", "crash timer", tables::timers),
    ("files", "crash foreach files", tables::files),
    ("interfaces", "crash net", tables::interfaces),
    ("sockets", "struct net, crash kmem -s", tables::sockets),
    ("report", "crash log, mod, mount", tasks::report),
    ("shell", "crash log, ps", tasks::shell),
];

/// Commands that have nothing to say of this dump, and the test that compares them on the dump of a guest.
const ELSEWHERE: [(&str, &str); 1] = [("locks", "the_mutex_has_its_owner_and_its_waiters")];

#[test]
fn every_command_agrees_with_another_source() {
    let Some(folder) = folder() else {
        return;
    };
    let session = RefCell::new(Session::start(&path(&folder, KDUMP)));
    let sources = Sources { folder, session };
    let mut failed = Vec::new();
    println!("{KDUMP}\n{:<11} {:<31} agrees", "command", "compared with");
    for (command, source, compare) in ROWS {
        let result = catch_unwind(AssertUnwindSafe(|| compare(&sources)));
        let said = result.unwrap_or_else(|_| {
            failed.push((command, source));
            "DIFFERS, as told above".to_owned()
        });
        println!("{command:<11} {source:<31} {said}");
    }
    let help = kscope(&["crash", "--help"]).code(0).out;
    let (_, commands) = help.split_once("\nCommands:\n").expect("commands");
    let commands = commands.lines().take_while(|line| !line.is_empty());
    let commands = commands.filter_map(|line| line.split_whitespace().next());
    let of_guests = include_str!("../../../../../tests/tests/dump_state.rs");
    let elsewhere = |command: &str| {
        let mut tests = ELSEWHERE
            .iter()
            .filter(|(compared, _)| *compared == command);
        tests.any(|(_, test)| of_guests.contains(&format!("fn {test}()")))
    };
    let has_none = |command: &&str| {
        *command != "help"
            && ROWS.iter().all(|(compared, ..)| compared != command)
            && !elsewhere(command)
    };
    let without: Vec<&str> = commands.filter(has_none).collect();
    assert!(without.is_empty(), "without another source: {without:?}");
    sources.session.into_inner().end();
    assert!(failed.is_empty(), "{failed:?}");
}

/// The dump, and what others said of it.
struct Sources {
    folder: PathBuf,
    session: RefCell<Session>,
}

/// A shell over the dump, which is opened once: that is most of what a command takes.
struct Session {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

/// A command that prints one line, and the end of that: it comes after all that was asked.
const MARK: (&str, &str) = ("sym linux_banner --json", "\"name\":\"linux_banner\"}");

impl Session {
    fn start(dump: &str) -> Session {
        let mut command = program(Path::new(env!("CARGO_BIN_EXE_kscope")));
        let command = command.args(["crash", dump, "shell"]);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("kscope starts");
        Session {
            input: child.stdin.take().expect("piped"),
            output: BufReader::new(child.stdout.take().expect("piped")),
            child,
        }
    }

    /// Gives what some lines print.
    fn ask(&mut self, lines: &str) -> String {
        writeln!(self.input, "{lines}\n{}", MARK.0).expect("it reads");
        let mut said = String::new();
        loop {
            let start = said.len();
            let read = self.output.read_line(&mut said).expect("text");
            assert!(read > 0, "{lines}: the shell ended");
            if said.trim_end().ends_with(MARK.1) {
                said.truncate(start);
                return said;
            }
        }
    }

    /// Ends it; nothing that was asked may have failed.
    fn end(self) {
        let Session {
            mut child, input, ..
        } = self;
        drop(input);
        let status = child.wait().expect("its status");
        assert!(status.success(), "{status}");
    }
}

impl Sources {
    fn dump(&self) -> String {
        path(&self.folder, KDUMP)
    }

    /// Gives the lines of what another program said.
    fn lines(&self, name: &str) -> Vec<String> {
        let file = self.folder.join("6.1.192-reference").join(name);
        read(&file).lines().map(str::to_owned).collect()
    }

    /// Gives those lines cut into words, without the first so many lines.
    fn words(&self, name: &str, skipped: usize) -> Vec<Vec<String>> {
        let lines = self.lines(name);
        lines.iter().skip(skipped).map(|line| words(line)).collect()
    }

    /// Gives what drgn said under a name.
    fn drgn(&self, name: &str) -> Vec<Value> {
        let text = self.lines("drgn-0.3.0.json").join("\n");
        let all: Value = serde_json::from_str(&text).expect("JSON");
        all[name].as_array().expect("an array").clone()
    }

    /// Gives what a line of the shell prints.
    fn text(&self, line: &str) -> String {
        self.session.borrow_mut().ask(line)
    }

    /// Gives the objects that a line of the shell prints.
    fn rows(&self, line: &str) -> Vec<Value> {
        rows(&self.text(&format!("{line} --json")))
    }

    /// Gives the objects that each of these lines prints.
    fn each(&self, lines: &[String]) -> Vec<Value> {
        self.rows(&lines.join(" --json\n"))
    }
}

fn read(file: &Path) -> String {
    let bytes = std::fs::read(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    String::from_utf8_lossy(&bytes).into_owned()
}

fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}

/// Reads objects, one a line.
fn rows(text: &str) -> Vec<Value> {
    let row =
        |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"));
    text.lines().map(row).collect()
}

/// Gives a member of an object as text.
fn text(row: &Value, name: &str) -> String {
    match &row[name] {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn number(row: &Value, name: &str) -> u64 {
    let found = row[name].as_u64();
    found.unwrap_or_else(|| panic!("no number {name}: {row}"))
}

/// Gives the rows of one of the tables that an analysis prints.
fn table(rows: &[Value], name: &str) -> Vec<Value> {
    let of_it = rows.iter().filter(|row| row["table"] == name);
    of_it.cloned().collect()
}

/// Demands that both are the same and not fewer than so many; gives their number.
#[track_caller]
fn same<T: Ord + Debug>(found: &BTreeSet<T>, expected: &BTreeSet<T>, least: usize) -> usize {
    let only: Vec<&T> = found.difference(expected).collect();
    let missing: Vec<&T> = expected.difference(found).collect();
    assert!(
        only.is_empty() && missing.is_empty(),
        "here alone: {only:?}; there alone: {missing:?}"
    );
    assert!(found.len() >= least, "only {}", found.len());
    found.len()
}

/// A frame as crash shows it: ` #2 [ff82fe5540013d40] panic at ffffffffa3fcd06e`.
struct Frame {
    /// Where the address is on the stack.
    slot: String,
    function: String,
    address: String,
}

impl Sources {
    /// Gives the frames of the task that panicked, innermost first.
    fn panicked(&self) -> Vec<Frame> {
        let lines = self.words("crash-9.0.2-bt_a.txt", 1);
        let own = lines
            .iter()
            .take_while(|words| words.first().is_none_or(|w| w != "PID:"));
        let frames = own.filter_map(|words| match words.as_slice() {
            [at, slot, function, _, address] if at.starts_with('#') => Some(Frame {
                slot: slot.trim_matches(['[', ']']).to_owned(),
                function: function.clone(),
                address: address.clone(),
            }),
            _ => None,
        });
        let frames: Vec<Frame> = frames.collect();
        assert_eq!(frames.len(), 11);
        frames
    }
}
