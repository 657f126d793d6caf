//! Child processes that end in time.

use std::fs::File;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

/// How long a child is left alone between two looks.
const LOOK: Duration = Duration::from_millis(10);

/// Waits for a child until the deadline; `None` when it is still running then.
pub(crate) fn wait(child: &mut Child, until: Instant) -> std::io::Result<Option<ExitStatus>> {
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= until {
            return Ok(None);
        }
        std::thread::sleep(LOOK);
    }
}

/// Says how a process ended, when not well.
pub(crate) fn ending(status: ExitStatus) -> Result<(), String> {
    match (status.code(), status.signal()) {
        (Some(0), _) => Ok(()),
        (Some(code), _) => Err(format!("exit code {code}")),
        (None, Some(signal)) => Err(format!("signal {signal}")),
        (None, None) => Err(status.to_string()),
    }
}

/// Runs a command whose output goes to a file, in a process group that is killed as a whole when the time is up.
///
/// A file rather than a pipe: a descendant that survives and holds the pipe open would keep the reader waiting.
pub(crate) fn run_to_file(
    command: &mut Command,
    output: &Path,
    limit: Duration,
) -> Result<(), String> {
    let file = File::create(output).map_err(|error| format!("{}: {error}", output.display()))?;
    let again = file.try_clone().map_err(|error| error.to_string())?;
    command
        .stdin(Stdio::null())
        .stdout(file)
        .stderr(again)
        .process_group(0);
    let mut child = command
        .spawn()
        .map_err(|error| format!("{}: {error}", command.get_program().to_string_lossy()))?;
    let status = wait(&mut child, Instant::now() + limit).map_err(|error| error.to_string())?;
    // The group outlives its leader when the test left processes behind.
    kill_group(&child);
    if let Some(status) = status {
        return ending(status);
    }
    child.wait().map_err(|error| error.to_string())?;
    Err(format!("killed after {} s", limit.as_secs()))
}

/// Runs a command that shares this terminal; it is killed when the time is up.
pub(crate) fn run_here(command: &mut Command, limit: Duration) -> Result<(), String> {
    let mut child = command
        .stdin(Stdio::null())
        .spawn()
        .map_err(|error| format!("{}: {error}", command.get_program().to_string_lossy()))?;
    if let Some(status) =
        wait(&mut child, Instant::now() + limit).map_err(|error| error.to_string())?
    {
        return ending(status);
    }
    child
        .kill()
        .and_then(|()| child.wait())
        .map_err(|error| error.to_string())?;
    Err(format!("killed after {} s", limit.as_secs()))
}

fn kill_group(leader: &Child) {
    // Nobody left in the group is the usual case, and no error.
    let _ = kill_process_group(Pid::from_child(leader), Signal::KILL);
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::time::{Duration, Instant};

    use super::run_to_file;

    fn check(script: &str, expected: Result<(), &str>) {
        let output = std::env::temp_dir().join(format!("xtask-deadline-{}", std::process::id()));
        let limit = Duration::from_secs(1);
        let found = run_to_file(Command::new("sh").args(["-c", script]), &output, limit);
        let _ = std::fs::remove_file(&output);
        assert_eq!(found, expected.map_err(str::to_string), "{script}");
    }

    #[test]
    fn endings() {
        check("true", Ok(()));
        check("exit 3", Err("exit code 3"));
        check("kill -SEGV $$", Err("signal 11"));
    }

    #[test]
    fn a_hanging_child_and_its_children_are_killed() {
        let started = Instant::now();
        check("sleep 60 & sleep 60", Err("killed after 1 s"));
        assert!(started.elapsed() < Duration::from_secs(30));
    }
}
