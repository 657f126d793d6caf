use kscope_rows::StackState;
use kscope_symbol::KernelSymbolizer;

use super::program::Record;
use super::{lock, seen, stack};

fn task(pid: u32) -> Record {
    Record {
        address: 0x1000 + u64::from(pid) * 0x100,
        pid,
        comm: format!("task{pid}"),
        arrived: 1_000,
        ..Record::default()
    }
}

#[test]
fn owners_are_found_by_their_addresses() {
    let tasks = [task(1), task(2)];
    let by_address = tasks.iter().map(|task| (task.address, task)).collect();
    let check = |kind: u64, owner: u64, expected: &str, holder: Option<u32>, perhaps: bool| {
        let mut waits = task(9);
        waits.blocker = 0x8000 | kind;
        waits.mutex_owner = if kind == 0 { owner } else { 0 };
        waits.semaphore_holder = if kind == 1 { owner } else { 0 };
        waits.rwsem_owner = if kind > 1 { owner } else { 0 };
        let found = lock(&waits, &by_address).expect("a lock");
        assert_eq!(
            (found.kind.as_str(), found.address),
            (expected, Some(0x8000))
        );
        assert_eq!(found.holder.map(|(_, pid)| pid), holder, "{expected}");
        assert_eq!(found.perhaps, perhaps, "{expected}");
    };
    // With the flags of each lock.
    check(0, tasks[0].address | 1, "mutex", Some(1), false);
    check(1, tasks[1].address, "semaphore", Some(2), true);
    check(2, tasks[1].address | 3, "rwsem (reader)", Some(2), true);
    check(3, tasks[0].address, "rwsem (writer)", Some(1), true);
    check(0, 0x7777_0000, "mutex", None, false);
    check(0, 0, "mutex", None, false);
    assert_eq!(lock(&task(9), &by_address), None);
}

#[test]
fn a_task_stands_still_where_it_has_not_switched() {
    let first = [task(1), task(2), task(3), task(4)];
    let mut second = [task(1), task(2), task(3), task(5)];
    second[1].switches = 1;
    second[2].on_cpu = true;
    let symbols = KernelSymbolizer::from_file("/nowhere");
    let found = seen(&first, &second, &symbols);
    let stable: Vec<_> = found
        .tasks
        .iter()
        .map(|task| task.stable == Some(true))
        .collect();
    assert_eq!(stable, [true, false, false, false]);
    assert_eq!((found.gone, found.new), (1, 1));
}

#[test]
fn why_there_is_no_stack_is_said() {
    let check = |record: &Record, expected: &str| match stack(record) {
        StackState::None(why) | StackState::Cut(why) => assert_eq!(why, expected),
        other => panic!("{other:?}"),
    };
    let mut record = task(1);
    check(&record, "the kernel gave none");
    record.error = Some(95);
    check(&record, "error 95 of the kernel");
    record.on_cpu = true;
    check(&record, "it ran just then");
    record.stack = vec![1; 3];
    check(&record, "it is what looks");
    record.on_cpu = false;
    assert_eq!(stack(&record), StackState::Whole);
    record.stack = vec![1; 64];
    check(&record, "it has more frames than are copied");
}
