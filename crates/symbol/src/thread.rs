//! Threads that stand for their process.

use crate::stat::ProcessStat;

/// Gives a thread of a process that has its memory and files: the first one, whose number the process
/// has, may have ended before the others. The first one as well where none runs or nobody may look.
#[must_use]
pub fn living_thread(pid: u32) -> u32 {
    if !has_ended(pid) {
        return pid;
    }
    let threads = std::fs::read_dir(format!("/proc/{pid}/task"));
    let mut numbers = threads
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    numbers.find(|thread| !has_ended(*thread)).unwrap_or(pid)
}

/// Says whether a thread is there and has ended.
fn has_ended(thread: u32) -> bool {
    let stat = std::fs::read(format!("/proc/{thread}/stat")).unwrap_or_default();
    ProcessStat::parse(&stat).is_some_and(ProcessStat::has_ended)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_runs_stands_for_itself() {
        let own = std::process::id();
        assert_eq!(living_thread(own), own);
        assert_eq!(living_thread(u32::MAX), u32::MAX);
    }

    #[test]
    fn one_that_has_ended_has_no_other() {
        let mut child = std::process::Command::new("true").spawn().expect("true");
        let pid = child.id();
        // It is there until it is waited for.
        while !has_ended(pid) {
            std::thread::yield_now();
        }
        assert_eq!(living_thread(pid), pid);
        child.wait().expect("ours");
    }
}
