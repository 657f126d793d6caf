//! What a kernel was at when it died: memory, caches, locks, works, requests. Golden files.

use kscope_testkit::dumps::{KDUMP, QEMU, folder};

use super::crash::{golden, path};

#[test]
fn reports_are_what_they_were() {
    let Some(folder) = folder() else {
        return;
    };
    let (kdump, qemu) = (&*path(&folder, KDUMP), &*path(&folder, QEMU));
    golden("memory.txt", &["crash", kdump, "memory"]);
    golden("memory.json", &["crash", kdump, "memory", "-n1", "--json"]);
    golden("live-memory.txt", &["crash", qemu, "memory", "-n", "3"]);
    golden("slabs.txt", &["crash", kdump, "slabs"]);
    golden("live-slabs.txt", &["crash", qemu, "slabs", "--all"]);
    golden("locks.txt", &["crash", kdump, "locks"]);
    golden("workqueues.txt", &["crash", kdump, "workqueues", "--all"]);
    golden(
        "live-workqueues.txt",
        &["crash", qemu, "workqueues", "--delayed"],
    );
    golden("block.txt", &["crash", kdump, "block"]);
    golden("live-block.txt", &["crash", qemu, "block", "--all"]);
}
