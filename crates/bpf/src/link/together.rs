//! Detaching several programs at once.

use std::thread::Builder;

use super::Link;

/// Most threads that detach.
const THREADS: usize = 16;
/// Bytes of stack of each.
const STACK: usize = 64 << 10;

/// Detaches programs, in no order, and returns when all are detached.
///
/// With many kinds of links the kernel waits until no CPU can still be inside of the program, up to a tenth of a second for
/// each. Where several threads ask, it waits once for all of them.
pub fn detach_all(links: Vec<Link>) {
    if links.len() < 2 {
        return;
    }
    let share = links.len().div_ceil(THREADS);
    let mut links = links.into_iter();
    std::thread::scope(|scope| {
        loop {
            let part: Vec<Link> = links.by_ref().take(share).collect();
            if part.is_empty() {
                break;
            }
            // Where there is no thread to be had, its part is dropped here, and so detached.
            let thread = Builder::new().stack_size(STACK);
            drop(thread.spawn_scoped(scope, move || drop(part)));
        }
    });
}
