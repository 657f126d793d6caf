//! Tasks with the same state and the same stack, together.

use std::collections::BTreeMap;

use super::TaskSeen;
use crate::Frame;

/// Tasks with the same state and the same stack.
#[derive(Clone, Debug)]
pub struct TaskGroup<'t> {
    /// The tasks, those that wait longest first, at least one.
    pub tasks: Vec<&'t TaskSeen>,
}

impl<'t> TaskGroup<'t> {
    /// Gives the task that stands for all: the one that waits longest.
    #[must_use]
    pub fn first(&self) -> &'t TaskSeen {
        self.tasks[0]
    }

    /// Tells whether they have nothing to do, see [`TaskSeen::is_idle`].
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.tasks.iter().all(|task| task.is_idle())
    }
}

/// Puts tasks together and the worst first: blocked ones by how long, then running ones, those in
/// other states, sleepers by their number, and idle ones last.
#[must_use]
pub fn group_tasks<'t>(tasks: impl IntoIterator<Item = &'t TaskSeen>) -> Vec<TaskGroup<'t>> {
    type Key<'t> = (char, bool, &'t [Frame]);
    let mut places: BTreeMap<Key<'t>, usize> = BTreeMap::new();
    let mut groups: Vec<TaskGroup<'t>> = Vec::new();
    for task in tasks {
        let key = (task.state, task.is_idle(), task.frames.as_slice());
        let at = *places.entry(key).or_insert_with(|| {
            groups.push(TaskGroup { tasks: Vec::new() });
            groups.len() - 1
        });
        groups[at].tasks.push(task);
    }
    for group in &mut groups {
        group
            .tasks
            .sort_by_key(|task| (std::cmp::Reverse(task.off_cpu), task.pid));
    }
    // Stable: what is equal keeps the order of the first tasks.
    groups.sort_by_key(|group| (group.first().rank(), std::cmp::Reverse(group.tasks.len())));
    groups
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Age;

    fn task(pid: u32, state: char, seconds: u64, function: &str) -> TaskSeen {
        TaskSeen {
            pid: Some(pid),
            state,
            off_cpu: Some(Age {
                nanoseconds: seconds * 1_000_000_000,
                at_least: false,
            }),
            frames: vec![Frame {
                address: 0,
                symbol: Some(function.into()),
                offset: 4,
                module: None,
            }],
            kernel_thread: Some(false),
            ..TaskSeen::default()
        }
    }

    #[test]
    fn the_worst_comes_first_and_the_longest_stands_for_its_group() {
        let mut idle = task(7, 'S', 900, "worker_thread");
        idle.kernel_thread = Some(true);
        let tasks = [
            idle,
            task(1, 'S', 100, "poll"),
            task(2, 'S', 1, "pipe_read"),
            task(3, 'S', 2, "pipe_read"),
            task(4, 'R', 0, "write"),
            task(5, 'D', 3, "fsync"),
            task(6, 'D', 9, "fsync"),
            task(8, 'D', 5, "pipe_read"),
        ];
        let groups = group_tasks(&tasks);
        let pids: Vec<Vec<u32>> = groups
            .iter()
            .map(|group| group.tasks.iter().filter_map(|task| task.pid).collect())
            .collect();
        let expected = [&[6, 5][..], &[8], &[4], &[3, 2], &[1], &[7]];
        assert_eq!(pids, expected);
        assert!(groups[5].is_idle() && !groups[0].is_idle());
    }
}
