//! The command line without any privilege: what it prints, and with which exit code.

mod assemble;
mod build;
mod check;
mod crash;
mod crash_shell;
mod crash_sources;
mod crash_state;
mod crash_tables;
mod failures;
mod kdump;
mod outputs;
mod reference;
mod save;
mod stacks;
mod tools;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// What a finished program left.
struct Finished {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Finished {
    fn of(output: &Output) -> Finished {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Finished {
            code: output.status.code(),
            out: text(&output.stdout),
            err: text(&output.stderr),
        }
    }

    /// Demands an exit code, and gives the output.
    #[track_caller]
    fn code(self, expected: i32) -> Finished {
        let Finished { code, out, err } = &self;
        assert_eq!(*code, Some(expected), "output:\n{out}\nerrors:\n{err}");
        self
    }

    /// Demands parts of what is said to the person.
    #[track_caller]
    fn says(self, parts: &[&str]) -> Finished {
        for part in parts {
            assert!(self.err.contains(part), "no `{part}` in:\n{}", self.err);
        }
        self
    }
}

/// The program, called by a name, with no terminal anywhere near.
fn program(name: &Path) -> Command {
    let mut command = Command::new(name);
    command
        .env("COLUMNS", "100")
        .env_remove("BPFTRACE_BTF")
        .env_remove("BPFTRACE_COLOR")
        .stdin(Stdio::null());
    command
}

fn kscope(words: &[&str]) -> Finished {
    let mut command = program(Path::new(env!("CARGO_BIN_EXE_kscope")));
    Finished::of(&command.args(words).output().expect("kscope starts"))
}

/// Calls it by the name `bpftrace`.
fn bpftrace(words: &[&str]) -> Finished {
    let folder = scratch("bpftrace");
    let name = folder.join("bpftrace");
    // Another test may be doing the same.
    let _ = std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_kscope"), &name);
    Finished::of(&program(&name).args(words).output().expect("it starts"))
}

/// Gives it a text on standard input.
fn kscope_with_input(words: &[&str], input: &str) -> Finished {
    let mut command = program(Path::new(env!("CARGO_BIN_EXE_kscope")));
    let command = command
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().expect("kscope starts");
    let mut stdin = child.stdin.take().expect("piped");
    stdin.write_all(input.as_bytes()).expect("it reads");
    drop(stdin);
    Finished::of(&child.wait_with_output().expect("it ends"))
}

/// Makes a folder for the files of one test.
fn scratch(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&folder).expect("a folder");
    folder
}
