//! A process of somebody else that is traced: whether it still runs.

use std::fs::File;
use std::io::{Read as _, Seek as _};

use kscope_symbol::ProcessStat;

use crate::error::Failure;

/// Most bytes of `/proc/PID/stat` that are read: name, state and some numbers.
const STAT_BYTES: u64 = 512;

/// A process that was there when it was first looked for. A later one of the same id is another.
pub(crate) struct Process {
    stat: File,
}

impl Process {
    pub(crate) fn find(pid: u32) -> Result<Process, Failure> {
        let missing = |error: std::io::Error| match error.kind() {
            std::io::ErrorKind::NotFound => Failure::new(format!("there is no process {pid}")),
            _ => Failure::new(format!("cannot look at process {pid}: {error}")),
        };
        let process = Process {
            stat: File::open(format!("/proc/{pid}/stat")).map_err(missing)?,
        };
        if !process.runs() {
            return Err(Failure::new(format!("process {pid} has ended")));
        }
        // Threads are found below /proc too, and nothing would ever be of a process of their number.
        match process_of(pid).filter(|process| *process != pid) {
            Some(process) => {
                let failure = Failure::new(format!("{pid} is a thread of process {process}"));
                Err(failure.hint(format!("trace its process: -p {process}")))
            }
            None => Ok(process),
        }
    }

    /// Says whether it has not ended yet. The file gives `ESRCH` once it is gone.
    pub(crate) fn runs(&self) -> bool {
        let mut stat = &self.stat;
        let mut text = Vec::new();
        let read = stat
            .rewind()
            .and_then(|()| stat.take(STAT_BYTES).read_to_end(&mut text));
        read.is_ok() && is_running(&text)
    }
}

/// Gives the process of a thread; a process is its first thread.
fn process_of(thread: u32) -> Option<u32> {
    let status = std::fs::read(format!("/proc/{thread}/status")).ok()?;
    let mut lines = status.split(|byte| *byte == b'\n');
    let process = lines.find_map(|line| line.strip_prefix(b"Tgid:"))?;
    std::str::from_utf8(process).ok()?.trim().parse().ok()
}

/// Says whether a process runs: its first thread, of which its state is, may end before others do.
fn is_running(stat: &[u8]) -> bool {
    match ProcessStat::parse(stat) {
        Some(stat) if stat.state() == Some(b'Z') => stat.threads().is_some_and(|all| all > 1),
        Some(stat) => stat.state().is_some_and(|state| state != b'X'),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::{Process, is_running};

    #[test]
    fn the_state_follows_the_name() {
        let check = |stat: &str, expected| {
            assert_eq!(is_running(stat.as_bytes()), expected, "{stat}");
        };
        check("1 (init) S 0 1", true);
        check("1 (a) Z b) R 0 1", true);
        check("1 (x) X 0", false);
        check("1 (x) Z 0", false);
        check("1 (x)", false);
        check("", false);
        // Only its first thread has ended.
        let many = |threads| format!("1 (x) Z 1 2 3 0 -1 5 122 0 0 0 0 0 0 0 20 0 {threads} 0 99");
        check(&many(2), true);
        check(&many(1), false);
        check(&many(0), false);
    }

    #[test]
    fn a_thread_is_refused_with_its_process() {
        let process = std::process::id();
        let thread = std::thread::spawn(|| {
            let link = std::fs::read_link("/proc/thread-self").expect("a link");
            let own = link
                .file_name()
                .and_then(|name| name.to_str()?.parse().ok());
            let own: u32 = own.expect("a number");
            (own, Process::find(own).err().map(|failure| failure.said()))
        });
        let (thread, said) = thread.join().expect("no panic");
        let said = said.expect("refused");
        assert!(
            said.contains(&format!("{thread} is a thread of process {process}")),
            "{said}"
        );
        assert!(Process::find(process).is_ok());
    }

    #[test]
    fn its_end_is_seen() {
        let mut child = std::process::Command::new("sleep")
            .arg("100")
            .spawn()
            .expect("sleep");
        let process = Process::find(child.id()).unwrap_or_else(|failure| panic!("{failure:?}"));
        assert!(process.runs());
        child.kill().expect("ours");
        child.wait().expect("reaped");
        assert!(!process.runs());
        assert!(Process::find(child.id()).is_err());
    }
}
