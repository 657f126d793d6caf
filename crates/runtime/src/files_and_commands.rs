//! What a script asks of the system beside the kernel: files and commands.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

use kscope_rows::{Format, Output, Value};
use kscope_sys::Kernel;

use crate::descendants;

/// `O_NONBLOCK` of open(2), the same number on x86_64 and aarch64.
const O_NONBLOCK: i32 = 0o4000;
/// Most bytes of what a command prints that are one output; what comes after is another.
const MOST_PRINTED: usize = 16 << 20;
/// How often a command is looked at that prints nothing.
const LOOK: Duration = Duration::from_millis(20);
/// How long commands, all together, may go on when the run is to end.
pub(crate) const GRACE: Duration = Duration::from_secs(1);

/// Renders a format with its values. The runtime renders nothing itself.
pub type Render = fn(&Format, &[Value]) -> Vec<u8>;

/// `cat`: at most so many bytes of a file, and why there are not all of them.
pub(crate) fn cat(path: &[u8], most: u32) -> Vec<Output> {
    let shown = String::from_utf8_lossy(path);
    let problem = |what: &str, error: &io::Error| {
        let why = reason(error);
        Output::Problem(format!("failed to {what} file '{shown}' ({why})"))
    };
    // A pipe that nobody writes to is not waited for.
    let open = File::options()
        .read(true)
        .custom_flags(O_NONBLOCK)
        .open(OsStr::from_bytes(path));
    let file = match open {
        Ok(file) => file,
        Err(error) => return vec![problem("open", &error)],
    };
    let mut bytes = Vec::new();
    match file.take(u64::from(most)).read_to_end(&mut bytes) {
        // Whoever writes to a pipe may write more.
        Err(error) if error.kind() != io::ErrorKind::WouldBlock => {
            let problem = problem("read", &error);
            if bytes.is_empty() {
                return vec![problem];
            }
            vec![Output::Cat(bytes), problem]
        }
        _ => vec![Output::Cat(bytes)],
    }
}

/// `system`: what a command of the shell prints, to both of its streams, and how it failed.
///
/// Events wait meanwhile, in the order of the script. Once `is_late` says so the command is ended, or
/// not begun: many may wait in the buffer.
pub(crate) fn system(
    kernel: &dyn Kernel,
    command: &[u8],
    is_late: &dyn Fn() -> bool,
    give: &mut dyn FnMut(Output) -> io::Result<()>,
) -> io::Result<()> {
    if is_late() {
        let shown = String::from_utf8_lossy(command);
        let problem = format!("the run ends, a command is not begun: {shown}");
        return give(Output::Problem(problem));
    }
    // The second shell is the one that reads the command, so that it names its lines as written.
    let child = Command::new("/bin/sh")
        .args(["-c", "exec sh -c \"$0\" 2>&1"])
        .arg(OsStr::from_bytes(command))
        .stdout(Stdio::piped())
        .spawn();
    let problem = match child {
        Ok(mut child) => match watch(kernel, &mut child, is_late, give)? {
            Ok(status) => failure(status),
            Err(error) => Some(format!("cannot wait for a command ({})", reason(&error))),
        },
        Err(error) => Some(format!("cannot run a command ({})", reason(&error))),
    };
    problem.map_or(Ok(()), |problem| give(Output::Problem(problem)))
}

/// Hands on what a command prints until it has ended.
fn watch(
    kernel: &dyn Kernel,
    child: &mut Child,
    is_late: &dyn Fn() -> bool,
    give: &mut dyn FnMut(Output) -> io::Result<()>,
) -> io::Result<io::Result<ExitStatus>> {
    let Some(stdout) = child.stdout.take() else {
        return Ok(child.wait());
    };
    let parts = read_beside(stdout);
    let (mut printed, mut some) = (Vec::new(), false);
    loop {
        match parts.recv_timeout(LOOK) {
            Ok(part) => printed.extend_from_slice(&part),
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {}
        }
        if printed.len() >= MOST_PRINTED {
            some = true;
            give(Output::System(std::mem::take(&mut printed)))?;
        }
        if is_late() {
            if let Err(error) = descendants::kill(kernel, child.id()) {
                return Ok(Err(io::Error::from_raw_os_error(error.0)));
            }
            break;
        }
    }
    let status = child.wait();
    let succeeded = status.as_ref().is_ok_and(ExitStatus::success);
    if !printed.is_empty() || (succeeded && !some) {
        give(Output::System(printed))?;
    }
    Ok(status)
}

/// Reads in a thread of its own, which ends with the stream or when nobody takes what it reads.
fn read_beside(mut stream: ChildStdout) -> Receiver<Vec<u8>> {
    let (give, take) = sync_channel(4);
    std::thread::spawn(move || {
        let mut room = vec![0; 64 << 10];
        while let Ok(count @ 1..) = stream.read(&mut room) {
            let Some(part) = room.get(..count) else { break };
            if give.send(part.to_vec()).is_err() {
                break;
            }
        }
    });
    take
}

fn failure(status: ExitStatus) -> Option<String> {
    match (status.code(), status.signal()) {
        (Some(0), _) => None,
        (Some(code), _) => Some(format!("command exited with code {code}")),
        (None, Some(signal)) => Some(format!("command was ended by signal {signal}")),
        (None, None) => Some("command failed".to_owned()),
    }
}

/// Gives an error's words without its number.
fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    match text.split_once(" (os error") {
        Some((words, _)) => words.to_owned(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::time::Instant;

    use super::*;

    fn run(command: &str, is_late: &dyn Fn() -> bool) -> Vec<Output> {
        let mut outputs = Vec::new();
        let mut give = |output| {
            outputs.push(output);
            Ok(())
        };
        let kernel = kscope_sys::RealKernel;
        system(&kernel, command.as_bytes(), is_late, &mut give).expect("nothing fails");
        outputs
    }

    #[test]
    fn commands_answer() {
        let printed = |text: &str| Output::System(text.as_bytes().to_vec());
        let problem = |text: &str| Output::Problem(text.to_owned());
        let check = |command: &str, expected: &[Output]| {
            assert_eq!(run(command, &|| false), expected, "{command}");
        };
        check("printf 'a b'", &[printed("a b")]);
        check("true", &[printed("")]);
        check("echo x >&2; echo y", &[printed("x\ny\n")]);
        let failed = problem("command exited with code 3");
        check("echo x; exit 3", &[printed("x\n"), failed.clone()]);
        check("exit 3", &[failed]);
        let killed = problem("command was ended by signal 9");
        check("echo x; kill -9 $$", &[printed("x\n"), killed]);
        let large = run("head -c 20000000 /dev/zero", &|| false);
        let sizes = large.iter().map(|output| match output {
            Output::System(bytes) => bytes.len(),
            other => panic!("{other:?}"),
        });
        assert_eq!(sizes.sum::<usize>(), 20_000_000);
        assert!(large.len() > 1);
    }

    #[test]
    fn a_command_ends_with_the_run() {
        let begin = Instant::now();
        let is_late = || begin.elapsed() >= GRACE;
        let found = run("echo x; exec sleep 60", &is_late);
        assert!(begin.elapsed() < Duration::from_secs(30));
        let killed = Output::Problem("command was ended by signal 9".to_owned());
        assert_eq!(found, [Output::System(b"x\n".to_vec()), killed]);
        // So does what the shell started and waits for.
        let begin = Instant::now();
        let is_late = || begin.elapsed() >= GRACE;
        let found = run("(echo $$; sh -c 'echo $$; exec sleep 60'; :); :", &is_late);
        let [Output::System(printed), Output::Problem(_)] = found.as_slice() else {
            panic!("{found:?}");
        };
        let printed = String::from_utf8_lossy(printed);
        let sleep = printed.lines().nth(1).expect("two numbers");
        let state = || std::fs::read_to_string(format!("/proc/{sleep}/stat"));
        // Who has taken it on may not yet have asked for its end.
        while state().is_ok_and(|stat| !stat.contains(") Z ")) {
            assert!(begin.elapsed() < Duration::from_secs(30), "{printed}");
            std::thread::sleep(LOOK);
        }
        let left = Output::Problem("the run ends, a command is not begun: echo x".to_owned());
        assert_eq!(run("echo x", &is_late), [left]);
    }

    #[test]
    fn files_answer() {
        let check = |path: &str, expected: Output| {
            assert_eq!(cat(path.as_bytes(), 3), [expected], "{path}");
        };
        let problem = |text: &str| Output::Problem(text.to_owned());
        check("/proc/sys/kernel/ostype", Output::Cat(b"Lin".to_vec()));
        let missing = "failed to open file '/no/such' (No such file or directory)";
        check("/no/such", problem(missing));
        let folder = "failed to read file '/proc' (Is a directory)";
        check("/proc", problem(folder));
        // What a pipe has by now, though its writer is there.
        let mut sleep = Command::new("sleep")
            .arg("60")
            .stdin(Stdio::piped())
            .spawn()
            .expect("sleep starts");
        let mut writer = sleep.stdin.take().expect("a pipe");
        let path = format!("/proc/{}/fd/0", sleep.id());
        check(&path, Output::Cat(Vec::new()));
        writer.write_all(b"ab").expect("room");
        check(&path, Output::Cat(b"ab".to_vec()));
        sleep.kill().expect("it runs");
        sleep.wait().expect("it ended");
    }
}
