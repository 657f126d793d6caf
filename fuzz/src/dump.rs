//! Crash dumps and the kernels in them.

use std::sync::Arc;

use kscope_dump::{Bytes, Dump, DumpOptions, Kernel};
use kscope_memory::{PhysAddr, PhysMemory};

/// Frames read of each dump.
const FRAMES: u64 = 48;
const PAGE: u64 = 4096;
/// Tasks whose stacks are unwound.
const TASKS: usize = 8;

/// Opens a dump, reads pages of it, and asks everything of the kernel in it.
pub fn dump(bytes: &[u8]) -> bool {
    let file: Arc<dyn Bytes> = Arc::new(bytes.to_vec());
    let options = DumpOptions { cache: 64 << 10 };
    let dump = match Dump::from_bytes(vec![file], options) {
        Ok(dump) => dump,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return false;
        }
    };
    let mut page = vec![0; PAGE as usize];
    let pages = (0..FRAMES).filter(|frame| {
        let read = dump.read_phys(PhysAddr(frame * PAGE), &mut page);
        read.is_ok()
    });
    let pages = pages.count();
    let _ = dump.coverage();
    let Ok(kernel) = Kernel::open(dump) else {
        return pages > 0;
    };
    if let Ok(log) = kernel.log() {
        assert!(log.items.iter().all(|line| line.level < 8));
    }
    let _ = kernel.banner();
    let _ = kernel.modules().items.len();
    let Ok(tasks) = kernel.tasks() else {
        return true;
    };
    if let Ok(unwinder) = kernel.unwinder() {
        for task in tasks.items.iter().take(TASKS) {
            let stack = unwinder.sleeping(task);
            assert!(stack.frames.len() <= 512);
            for frame in &stack.frames {
                let _ = kernel.symbolize(frame.code());
            }
        }
        let _ = kernel.on_cpu();
        for registers in kernel.registers() {
            let _ = unwinder.running(&registers);
        }
    }
    true
}
