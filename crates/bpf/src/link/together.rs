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

#[cfg(test)]
mod tests {
    use std::io::{ErrorKind, Read as _};
    use std::os::fd::OwnedFd;
    use std::os::unix::net::UnixStream;
    use std::sync::Arc;

    use kscope_sys::{FakeKernel, SharedKernel};

    use super::*;

    /// Links whose descriptors somebody watches: the other end is closed once the link is.
    fn links(count: usize) -> (Vec<Link>, Vec<UnixStream>) {
        let kernel: SharedKernel = Arc::new(FakeKernel::new(|_| FakeKernel::object()));
        let pair = |_| {
            let (held, watched) = UnixStream::pair().expect("two sockets");
            watched.set_nonblocking(true).expect("a socket");
            (Link::of(&kernel, OwnedFd::from(held), "a place"), watched)
        };
        (0..count).map(pair).unzip()
    }

    #[test]
    fn all_are_detached_when_it_returns() {
        for count in [0, 1, 2, THREADS - 1, THREADS, THREADS + 1, 3 * THREADS + 5] {
            let (links, watched) = links(count);
            for mut end in &watched {
                let held = end.read(&mut [0]).expect_err("nothing is sent");
                assert_eq!(held.kind(), ErrorKind::WouldBlock);
            }
            detach_all(links);
            for (at, mut end) in watched.iter().enumerate() {
                let closed = end.read(&mut [0]);
                assert!(matches!(closed, Ok(0)), "{at} of {count}: {closed:?}");
            }
        }
    }
}
