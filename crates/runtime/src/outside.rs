//! What a script asks of the system beside the kernel: files and commands.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, Stdio};

use kscope_rows::{Format, Output, Value};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

/// Renders a format with its values. The runtime renders nothing itself.
pub type Render = fn(&Format, &[Value]) -> Vec<u8>;

/// `cat`: at most so many bytes of a file.
pub(crate) fn cat(path: &[u8], most: u32) -> Output {
    let shown = String::from_utf8_lossy(path);
    let mut bytes = Vec::new();
    let read = File::open(OsStr::from_bytes(path))
        .and_then(|file| file.take(u64::from(most)).read_to_end(&mut bytes));
    match read {
        Ok(_) => Output::Cat(bytes),
        Err(error) => Output::Problem(format!(
            "failed to open file '{shown}' ({})",
            reason(&error)
        )),
    }
}

/// `system`: what a command of the shell prints.
pub(crate) fn system(command: &[u8]) -> Output {
    let done = Command::new("/bin/sh")
        .arg("-c")
        .arg(OsStr::from_bytes(command))
        .stderr(Stdio::inherit())
        .output();
    match done {
        Ok(done) if done.status.success() => Output::System(done.stdout),
        Ok(done) => Output::Problem(match (done.status.code(), done.status.signal()) {
            (Some(code), _) => format!("command exited with code {code}"),
            (None, Some(signal)) => format!("command was ended by signal {signal}"),
            (None, None) => "command failed".to_owned(),
        }),
        Err(error) => Output::Problem(format!("cannot run a command ({})", reason(&error))),
    }
}

/// Gives an error's words without its number.
fn reason(error: &std::io::Error) -> String {
    let text = error.to_string();
    match text.split_once(" (os error") {
        Some((words, _)) => words.to_owned(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::{cat, system};
    use kscope_rows::Output;

    #[test]
    fn commands_and_files_answer() {
        let bytes = |text: &str| text.as_bytes().to_vec();
        assert_eq!(system(b"printf 'a b'"), Output::System(bytes("a b")));
        assert_eq!(
            cat(b"/proc/sys/kernel/ostype", 3),
            Output::Cat(bytes("Lin"))
        );
        let failed = Output::Problem("command exited with code 3".to_owned());
        assert_eq!(system(b"echo x; exit 3"), failed);
        let missing = "failed to open file '/no/such' (No such file or directory)";
        assert_eq!(cat(b"/no/such", 10), Output::Problem(missing.to_owned()));
    }
}
