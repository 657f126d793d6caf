//! Real dumps that were cut or damaged: what is there is read, and nothing else happens.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::sync::Arc;

use kscope_dump::{Bytes, Dump, DumpOptions, Error, FileBytes, Kernel};
use kscope_testkit::dumps::{KDUMP, QEMU, folder};

fn fixture(name: &str) -> Option<Arc<FileBytes>> {
    let file = File::open(folder()?.join(name)).expect("a file");
    Some(Arc::new(FileBytes::new(file).expect("a file")))
}

/// A file of which the end is gone and bytes were changed.
struct Damaged {
    whole: Arc<FileBytes>,
    len: u64,
    changed: BTreeMap<u64, u8>,
}

impl Bytes for Damaged {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let left = self.len.saturating_sub(offset);
        let n = buf.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let n = self.whole.read_at(offset, &mut buf[..n])?;
        for (&at, &bits) in self.changed.range(offset..offset.saturating_add(n as u64)) {
            buf[(at - offset) as usize] ^= bits;
        }
        Ok(n)
    }

    fn len(&self) -> u64 {
        self.len
    }
}

fn open(damaged: Damaged) -> Result<Kernel, Error> {
    let files: Vec<Arc<dyn Bytes>> = vec![Arc::new(damaged)];
    Kernel::open(Dump::from_bytes(files, DumpOptions::default())?)
}

fn cut(whole: &Arc<FileBytes>, len: u64) -> Damaged {
    Damaged {
        whole: Arc::clone(whole),
        len,
        changed: BTreeMap::new(),
    }
}

#[test]
fn of_a_dump_that_was_cut_the_rest_is_read() {
    let Some(whole) = fixture(KDUMP) else {
        return;
    };
    let all = open(cut(&whole, whole.len())).expect("a kernel");
    let lines = all.log().expect("a log").items;
    // A run queue is lost, and the stacks of some tasks.
    let kernel = open(cut(&whole, 49 << 20)).expect("a kernel");
    let coverage = kernel.dump().expect("a dump").coverage();
    assert!(coverage.lost > 4 << 20 && coverage.lost < coverage.dumped / 5);
    assert_eq!(kernel.log().expect("a log").items, lines);
    let tasks = kernel.tasks().expect("tasks");
    assert!(tasks.items.len() > 90, "{} tasks", tasks.items.len());
    let unwinder = kernel.unwinder().expect("unwind tables");
    let stacks = tasks.items.iter().map(|task| unwinder.sleeping(task));
    let whole_stacks = stacks.filter(|stack| stack.end.is_whole()).count();
    assert!(whole_stacks > 60, "{whole_stacks} stacks");
    let on_cpu = kernel.on_cpu().expect("CPUs");
    assert!(on_cpu.fault.is_some());
    let panicked = on_cpu.items[0].registers.expect("registers");
    assert!(unwinder.running(&panicked).end.is_whole());
    assert!(kernel.dump().expect("a dump").missing().lost > 0);

    // Without a third of the pages: most of its tables, and of the log what its descriptors lead
    // to.
    let kernel = open(cut(&whole, 40 << 20)).expect("a kernel");
    let log = kernel.log().expect("a log");
    assert!(log.fault.is_some());
    assert!(log.items.len() < lines.len());
    assert!(log.items.iter().all(|line| lines.contains(line)));
    assert!(matches!(kernel.unwinder(), Err(Error::Gap(_))));
    assert!(kernel.tasks().expect("tasks").fault.is_some());

    // Wherever it is cut: an error, or a kernel that says what it cannot read.
    for percent in (5..100).step_by(18) {
        if let Ok(kernel) = open(cut(&whole, whole.len() * percent / 100)) {
            assert!(
                kernel.dump().expect("a dump").coverage().lost > 0,
                "{percent} %"
            );
            let _ = kernel.log();
            let _ = kernel.tasks();
        }
    }
}

/// Damages a dump in many places and asks everything of it.
fn check_damage(whole: &Arc<FileBytes>, rounds: u64, places: u64) {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut opened = 0;
    for round in 0..rounds {
        let mut damaged = cut(whole, whole.len());
        for _ in 0..places {
            // Half of them in the headers and tables of the file.
            let reach = if next() % 2 == 0 {
                1 << 20
            } else {
                whole.len()
            };
            // The first page must be good for the rest to be looked at.
            let first = if round % 2 == 0 { 4096 } else { 0 };
            damaged
                .changed
                .insert(first + next() % (reach - first), next() as u8);
        }
        let Ok(kernel) = open(damaged) else {
            continue;
        };
        opened += 1;
        let _ = kernel.log();
        let _ = kernel.banner();
        let Ok(tasks) = kernel.tasks() else {
            continue;
        };
        let Ok(unwinder) = kernel.unwinder() else {
            continue;
        };
        for task in tasks.items.iter().take(50) {
            for frame in unwinder.sleeping(task).frames {
                let _ = kernel.symbolize(frame.code());
            }
        }
        let _ = kernel.on_cpu();
    }
    assert!(opened * 4 > rounds, "{opened} of {rounds} opened");
}

#[test]
fn damaged_dumps() {
    for name in [KDUMP, QEMU] {
        if let Some(whole) = fixture(name) {
            check_damage(&whole, 2, 30);
        }
    }
}

#[test]
#[ignore = "takes minutes"]
fn dumps_damaged_often() {
    for name in [KDUMP, QEMU] {
        if let Some(whole) = fixture(name) {
            check_damage(&whole, 100, 10);
            check_damage(&whole, 100, 300);
        }
    }
}
