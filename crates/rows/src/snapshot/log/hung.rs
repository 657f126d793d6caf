//! What the detector of hung tasks says beside the stack.

use std::collections::HashMap;

use crate::snapshot::{Age, LockSeen, TaskSeen};

const NANOSECONDS: u64 = 1_000_000_000;

/// What was said of tasks by their numbers, before their stacks or after them.
#[derive(Default)]
pub(super) struct Hung {
    ages: HashMap<u32, u64>,
    locks: HashMap<u32, LockSeen>,
}

/// Says whether a line begins what is said of a hung task.
pub(super) fn is_first(text: &str) -> bool {
    age(text).is_some()
}

impl Hung {
    /// Reads a line; says whether it is one of the detector's.
    pub(super) fn line(&mut self, text: &str) -> bool {
        if let Some((pid, seconds)) = age(text) {
            self.ages.insert(pid, seconds.saturating_mul(NANOSECONDS));
            return true;
        }
        if let Some((pid, lock)) = lock(text) {
            self.locks.insert(pid, lock);
            return true;
        }
        false
    }

    /// Gives tasks what was said of them.
    pub(super) fn apply(&self, tasks: &mut [TaskSeen]) {
        for task in tasks {
            let Some(pid) = task.pid else { continue };
            if !task.is_blocked() {
                continue;
            }
            let age = self.ages.get(&pid);
            task.off_cpu = age.map(|&nanoseconds| Age {
                nanoseconds,
                at_least: true,
            });
            task.lock = self.locks.get(&pid).cloned();
        }
    }
}

/// `INFO: task jbd2/sda1-8:312 blocked for more than 120 seconds.`
fn age(text: &str) -> Option<(u32, u64)> {
    let rest = text.strip_prefix("INFO: task ")?;
    let (who, rest) = rest
        .split_once(" blocked for more than ")
        .or_else(|| rest.split_once(" blocked in I/O wait for more than "))?;
    let (_, pid) = thread(who)?;
    Some((pid, rest.split(' ').next()?.parse().ok()?))
}

/// `INFO: task A:1 is blocked on a mutex likely owned by task B:2.` and its like.
fn lock(text: &str) -> Option<(u32, LockSeen)> {
    let rest = text.strip_prefix("INFO: task ")?;
    let (who, rest) = rest
        .split_once(" is blocked on a")
        .or_else(|| rest.split_once(" blocked on a"))?;
    let rest = rest.strip_prefix('n').unwrap_or(rest).trim_start();
    // Before the word there may be what it wants of the lock.
    let (who, wants) = match who.rsplit_once(' ') {
        Some((who, wants @ ("<reader>" | "<writer>"))) => (who, wants.trim_matches(['<', '>'])),
        _ => (who, ""),
    };
    let (_, pid) = thread(who)?;
    let end = rest.find([' ', ',', '.']).unwrap_or(rest.len());
    let kind = match wants {
        "" => rest[..end].to_owned(),
        wants => format!("{} ({wants})", &rest[..end]),
    };
    let holder = rest.split_once(" by task ").and_then(|(_, holder)| {
        let holder = holder.trim_end_matches(['.']);
        let holder = ["<reader>", "<writer>"]
            .iter()
            .find_map(|wants| holder.strip_suffix(wants))
            .unwrap_or(holder);
        thread(holder.trim_end())
    });
    let lock = LockSeen {
        kind,
        address: None,
        perhaps: true,
        holder,
    };
    Some((pid, lock))
}

/// `name:12`: names may have colons.
fn thread(text: &str) -> Option<(String, u32)> {
    let (name, pid) = text.rsplit_once(':')?;
    Some((name.to_owned(), pid.parse().ok()?))
}
