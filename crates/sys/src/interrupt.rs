//! SIGINT, SIGTERM and SIGHUP as a descriptor that becomes readable; SIGUSR1 as a question.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};

use crate::errno::Errno;
use crate::kernel::Kernel;
use crate::real::RealKernel;

static WAKE: AtomicI32 = AtomicI32::new(-1);
static COUNT: AtomicU32 = AtomicU32::new(0);
static LAST: AtomicI32 = AtomicI32::new(0);
/// How many SIGUSR1 came.
static ASKED: AtomicU32 = AtomicU32::new(0);
/// Kept for the life of the process, because the handler writes to it at any time.
static EVENT: OnceLock<OwnedFd> = OnceLock::new();

/// The process's wish to end, as counted signals.
#[derive(Clone, Copy, Debug)]
pub struct Interrupts {
    event: BorrowedFd<'static>,
}

impl Interrupts {
    /// Catches SIGINT, SIGTERM and SIGUSR1, and SIGHUP unless it is ignored, from now on.
    ///
    /// Blocking calls of the thread that gets the signal return `EINTR`. May be called again.
    ///
    /// # Errors
    ///
    /// Where no event descriptor can be made.
    pub fn install() -> Result<Interrupts, Errno> {
        let kernel: &dyn Kernel = &RealKernel;
        let event = match EVENT.get() {
            Some(event) => event,
            None => {
                let fresh = kernel.eventfd()?;
                EVENT.get_or_init(|| fresh)
            }
        };
        WAKE.store(event.as_raw_fd(), Ordering::Release);
        for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
            catch(signal, on_signal)?;
        }
        catch(libc::SIGUSR1, on_question)?;
        Ok(Interrupts {
            event: event.as_fd(),
        })
    }

    /// Lets signals end the process again, until they are caught anew.
    pub fn release() {
        for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
            release(signal);
        }
    }

    /// Gives how many signals came; 2 means that the user is impatient.
    pub fn count(&self) -> u32 {
        COUNT.load(Ordering::Acquire)
    }

    /// Says whether SIGUSR1 came since this was asked last.
    pub fn take_question(&self) -> bool {
        ASKED.swap(0, Ordering::AcqRel) > 0
    }

    /// Gives the number of the last signal.
    pub fn last_signal(&self) -> Option<i32> {
        Some(LAST.load(Ordering::Acquire)).filter(|&signal| signal != 0)
    }
}

impl AsFd for Interrupts {
    /// Gives a descriptor that is readable once a signal came, and stays so.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.event
    }
}

/// Says whether a signal came that the process is to end by.
pub(crate) fn is_interrupted() -> bool {
    COUNT.load(Ordering::Acquire) > 0
}

fn catch(signal: i32, handler: extern "C" fn(i32)) -> Result<(), Errno> {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    if signal == libc::SIGHUP {
        let mut old = MaybeUninit::<libc::sigaction>::zeroed();
        // SAFETY: asks only; the kernel writes one sigaction, which starts zeroed.
        let old = unsafe {
            libc::sigaction(signal, std::ptr::null(), old.as_mut_ptr());
            old.assume_init()
        };
        if old.sa_sigaction == libc::SIG_IGN {
            return Ok(());
        }
    }
    // SAFETY: zeroes are a valid sigaction (no flags, empty mask); the handler only does what is
    // allowed in one: atomics and write(2).
    let failed = unsafe {
        (*action.as_mut_ptr()).sa_sigaction = handler as *const () as usize;
        libc::sigaction(signal, action.as_ptr(), std::ptr::null_mut()) < 0
    };
    if failed { Err(Errno::last()) } else { Ok(()) }
}

/// Gives a signal that is caught back what it does by itself; one that is ignored stays so.
fn release(signal: i32) {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: the first call asks only and writes one sigaction; the second is given the one that it
    // wrote, with the default in the handler's place.
    unsafe {
        if libc::sigaction(signal, std::ptr::null(), action.as_mut_ptr()) < 0 {
            return;
        }
        let action = action.assume_init_mut();
        let own: extern "C" fn(i32) = on_signal;
        if action.sa_sigaction == own as *const () as usize {
            action.sa_sigaction = libc::SIG_DFL;
            libc::sigaction(signal, action, std::ptr::null_mut());
        }
    }
}

extern "C" fn on_question(_signal: i32) {
    ASKED.fetch_add(1, Ordering::AcqRel);
}

extern "C" fn on_signal(signal: i32) {
    COUNT.fetch_add(1, Ordering::AcqRel);
    LAST.store(signal, Ordering::Release);
    let one = 1u64.to_ne_bytes();
    // SAFETY: write(2) is async-signal-safe; the descriptor is -1 or one that is never closed;
    // errno is restored, as the interrupted code may be about to read it.
    unsafe {
        let errno = *libc::__errno_location();
        libc::write(WAKE.load(Ordering::Acquire), one.as_ptr().cast(), one.len());
        *libc::__errno_location() = errno;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_is_counted_and_makes_the_descriptor_readable() {
        let interrupts = Interrupts::install().expect("an event descriptor");
        assert_eq!(interrupts.count(), 0);
        assert!(!interrupts.take_question());
        // SAFETY: sends a signal that was just given a handler to this thread.
        unsafe { libc::raise(libc::SIGUSR1) };
        assert!(interrupts.take_question());
        assert!(!interrupts.take_question());
        assert_eq!(interrupts.count(), 0);
        assert!(!is_interrupted());
        // SAFETY: sends a signal that was just given a handler to this thread.
        unsafe { libc::raise(libc::SIGTERM) };
        assert_eq!(interrupts.count(), 1);
        assert_eq!(interrupts.last_signal(), Some(libc::SIGTERM));
        assert!(is_interrupted());
        let caught = || {
            let mut action = MaybeUninit::<libc::sigaction>::zeroed();
            // SAFETY: asks only; the kernel writes one sigaction, which starts zeroed.
            unsafe {
                libc::sigaction(libc::SIGTERM, std::ptr::null(), action.as_mut_ptr());
                action.assume_init().sa_sigaction != libc::SIG_DFL
            }
        };
        assert!(caught());
        Interrupts::release();
        assert!(!caught());
        let kernel: &dyn Kernel = &RealKernel;
        let epoll = kernel.epoll_create().expect("epoll");
        kernel
            .epoll_add(epoll.as_fd(), interrupts.as_fd(), 7)
            .expect("watched");
        let now = Some(std::time::Duration::ZERO);
        assert_eq!(
            kernel
                .epoll_wait(epoll.as_fd(), now)
                .expect("ready")
                .tokens(),
            [7]
        );
    }
}
