//! The processes that a command has started.

use std::collections::BTreeMap;

use kscope_symbol::ProcessStat;
use kscope_sys::{Errno, Kernel};

/// Kills a process and what it and its like have started, each before those that it started. What a process
/// left behind that has ended is no descendant.
pub(crate) fn kill(kernel: &dyn Kernel, process: u32) -> Result<(), Errno> {
    for descendant in family(process) {
        match kernel.kill(descendant) {
            // It has ended meanwhile.
            Ok(()) | Err(Errno::SRCH) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Gives a process and its descendants of now, each before those that it started.
fn family(process: u32) -> Vec<u32> {
    let mut children = BTreeMap::<u32, Vec<u32>>::new();
    let folders = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    for folder in folders {
        let id = folder.file_name().to_str().and_then(|id| id.parse().ok());
        let parent = std::fs::read(folder.path().join("stat")).ok();
        let parent = parent.and_then(|stat| ProcessStat::parse(&stat)?.parent());
        if let (Some(id), Some(parent)) = (id, parent) {
            children.entry(parent).or_default().push(id);
        }
    }
    let mut found = vec![process];
    let mut next = 0;
    while let Some(parent) = found.get(next) {
        // Taken out, so that no process is found twice, whatever changed while they were read.
        found.extend(children.remove(parent).unwrap_or_default());
        next += 1;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_first_of_its_family() {
        let own = std::process::id();
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .expect("sleep starts");
        let found = family(own);
        let parent = family(std::os::unix::process::parent_id());
        child.kill().expect("it runs");
        child.wait().expect("it ended");
        assert_eq!(found.first(), Some(&own));
        assert!(found.contains(&child.id()), "{found:?}");
        assert!(parent.contains(&child.id()), "{parent:?}");
    }
}
