//! A child process held back just before its exec, so that tracing can start first.
//!
//! It is sent SIGTERM when its parent ends, however that ends. The kernel forgets to do so (as
//! prctl(2) says of `PR_SET_PDEATHSIG`) where the program is set-user-ID or has file capabilities,
//! and it takes the end of the thread that made the child for that of the parent.

use std::ffi::{CString, OsStr, OsString, c_char};
use std::io::Read as _;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::ptr;

use crate::errno::Errno;

/// A child that waits before exec. Dropping it makes the child exit without running anything.
#[derive(Debug)]
pub struct StoppedChild {
    child: Child,
    go: OwnedFd,
    failure: OwnedFd,
}

/// A running child.
#[derive(Debug)]
pub struct Child {
    pid: u32,
    pidfd: Option<OwnedFd>,
    ended: Option<ExitKind>,
}

/// How a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitKind {
    /// It exited with this code.
    Code(i32),
    /// This signal killed it.
    Signal(i32),
}

fn pipe() -> Result<(OwnedFd, OwnedFd), Errno> {
    let mut ends = [0; 2];
    // SAFETY: the kernel writes two descriptors into room for two.
    if unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) } < 0 {
        return Err(Errno::last());
    }
    // SAFETY: both were just made and belong to nobody else.
    Ok(unsafe { (OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1])) })
}

/// Lists the paths that exec tries for a program, as execvp(3) does.
fn candidates(program: &OsStr) -> Result<Vec<CString>, Errno> {
    let c = |bytes: &[u8]| CString::new(bytes).map_err(|_| Errno::INVAL);
    if program.is_empty() {
        return Err(Errno::NOENT);
    }
    if program.as_bytes().contains(&b'/') {
        return Ok(vec![c(program.as_bytes())?]);
    }
    let path = std::env::var_os("PATH").unwrap_or_else(|| OsString::from("/usr/bin:/bin"));
    std::env::split_paths(&path)
        .map(|directory| c(directory.join(program).as_os_str().as_bytes()))
        .collect()
}

impl StoppedChild {
    /// Forks a child that waits, and will run `program` with `arguments`.
    ///
    /// # Errors
    ///
    /// `EINVAL` for a zero byte in a string, or what pipe(2) and fork(2) say. Whether the program
    /// exists is known only when it is released.
    pub fn spawn(program: &OsStr, arguments: &[OsString]) -> Result<StoppedChild, Errno> {
        let c = |text: &OsStr| CString::new(text.as_bytes()).map_err(|_| Errno::INVAL);
        let paths = candidates(program)?;
        let mut words = vec![c(program)?];
        for argument in arguments {
            words.push(c(argument)?);
        }
        let mut environment = Vec::new();
        for (key, value) in std::env::vars_os() {
            let pair = [key.as_bytes(), b"=", value.as_bytes()].concat();
            environment.push(CString::new(pair).map_err(|_| Errno::INVAL)?);
        }
        let (go_read, go) = pipe()?;
        let (failure, failure_write) = pipe()?;
        // Everything is allocated before the fork: another thread may hold the allocator's lock.
        let image = Image {
            paths: pointers(&paths),
            words: pointers(&words),
            environment: pointers(&environment),
        };
        // SAFETY: the child only calls functions that are async-signal-safe, and never returns.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            image.wait_and_exec(
                go_read.as_raw_fd(),
                failure_write.as_raw_fd(),
                go.as_raw_fd(),
            );
        }
        let pid = u32::try_from(pid).map_err(|_| Errno::last())?;
        // SAFETY: takes no pointers. Absent before Linux 5.3.
        let pidfd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) } as i32;
        // SAFETY: if not negative, it was just made and belongs to nobody else.
        let pidfd = (pidfd >= 0).then(|| unsafe { OwnedFd::from_raw_fd(pidfd) });
        Ok(StoppedChild {
            child: Child {
                pid,
                pidfd,
                ended: None,
            },
            go,
            failure,
        })
    }

    /// Gives the process id, which the program will keep.
    pub fn pid(&self) -> u32 {
        self.child.pid
    }

    /// Lets the child run its program.
    ///
    /// # Errors
    ///
    /// What exec said: `ENOENT` if there is no such program, `EACCES` if it may not be run.
    pub fn release(self) -> Result<Child, Errno> {
        let StoppedChild {
            mut child,
            go,
            failure,
        } = self;
        // SAFETY: one byte of a live array.
        if unsafe { libc::write(go.as_raw_fd(), [1u8].as_ptr().cast(), 1) } != 1 {
            return Err(Errno::last());
        }
        let mut report = Vec::new();
        // The pipe closes at exec; bytes in it are the error of a failed one.
        std::fs::File::from(failure)
            .take(4)
            .read_to_end(&mut report)
            .map_err(|e| Errno::from_io(&e))?;
        if let Ok(bytes) = <[u8; 4]>::try_from(report.as_slice()) {
            child.wait()?;
            return Err(Errno(i32::from_ne_bytes(bytes)));
        }
        Ok(child)
    }
}

/// Addresses of the strings, with a zero at the end, for execve(2).
fn pointers(strings: &[CString]) -> Vec<*const c_char> {
    strings
        .iter()
        .map(|text| text.as_ptr())
        .chain([ptr::null()])
        .collect()
}

/// What exec takes, ready before the fork.
struct Image {
    paths: Vec<*const c_char>,
    words: Vec<*const c_char>,
    environment: Vec<*const c_char>,
}

impl Image {
    /// The child's whole life before exec.
    fn wait_and_exec(&self, go: i32, failure: i32, parents_end: i32) -> ! {
        // SAFETY: async-signal-safe calls only, on descriptors that the parent keeps open up to
        // the fork and on strings that outlive it in the copied memory.
        unsafe {
            // Otherwise the child would hold the pipe open that tells it of its parent's end.
            libc::close(parents_end);
            // A parent that has ended before this is seen by the read below.
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM);
            let mut byte = [0u8];
            loop {
                let got = libc::read(go, byte.as_mut_ptr().cast(), 1);
                if got == 1 {
                    break;
                }
                if got == 0 || *libc::__errno_location() != libc::EINTR {
                    libc::_exit(127);
                }
            }
            libc::signal(libc::SIGPIPE, libc::SIG_DFL);
            let mut errno = libc::ENOENT;
            for &path in self.paths.iter().take_while(|path| !path.is_null()) {
                libc::execve(path, self.words.as_ptr(), self.environment.as_ptr());
                match *libc::__errno_location() {
                    libc::ENOENT | libc::ENOTDIR => {}
                    libc::EACCES => errno = libc::EACCES,
                    other => {
                        errno = other;
                        break;
                    }
                }
            }
            let bytes = errno.to_ne_bytes();
            libc::write(failure, bytes.as_ptr().cast(), bytes.len());
            libc::_exit(127)
        }
    }
}

impl Child {
    /// Gives the process id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Gives a descriptor that is readable once the child has ended (Linux 5.3).
    pub fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.pidfd.as_ref().map(AsFd::as_fd)
    }

    /// Tells how the child ended, if it has.
    ///
    /// # Errors
    ///
    /// What waitpid(2) says.
    pub fn poll(&mut self) -> Result<Option<ExitKind>, Errno> {
        self.reap(libc::WNOHANG)
    }

    /// Waits for the end.
    ///
    /// # Errors
    ///
    /// What waitpid(2) says; `EINTR` after a signal.
    pub fn wait(&mut self) -> Result<ExitKind, Errno> {
        self.reap(0)?.ok_or(Errno::IO)
    }

    /// Sends a signal, unless the child's end is already known.
    ///
    /// # Errors
    ///
    /// What kill(2) says.
    pub fn signal(&self, signal: i32) -> Result<(), Errno> {
        let pid = i32::try_from(self.pid).map_err(|_| Errno::SRCH)?;
        // SAFETY: takes no pointers. The child is not reaped yet, so the id is still its own.
        if self.ended.is_none() && unsafe { libc::kill(pid, signal) } < 0 {
            return Err(Errno::last());
        }
        Ok(())
    }

    fn reap(&mut self, flags: i32) -> Result<Option<ExitKind>, Errno> {
        if self.ended.is_some() {
            return Ok(self.ended);
        }
        let pid = i32::try_from(self.pid).map_err(|_| Errno::SRCH)?;
        let mut status = 0;
        // SAFETY: the kernel writes one number that lives through the call.
        let got = unsafe { libc::waitpid(pid, &raw mut status, flags) };
        if got < 0 {
            return Err(Errno::last());
        }
        if got > 0 {
            self.ended = Some(if libc::WIFSIGNALED(status) {
                ExitKind::Signal(libc::WTERMSIG(status))
            } else {
                ExitKind::Code(libc::WEXITSTATUS(status))
            });
        }
        Ok(self.ended)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stopped(program: &str, arguments: &[&str]) -> StoppedChild {
        let arguments: Vec<_> = arguments.iter().map(OsString::from).collect();
        StoppedChild::spawn(OsStr::new(program), &arguments).expect("fork")
    }

    #[test]
    fn the_program_runs_only_when_released() {
        let marker = std::env::temp_dir().join(format!("kscope-child-{}", std::process::id()));
        let text = format!("echo done > {}; exit 3", marker.display());
        let child = stopped("sh", &["-c", &text]);
        std::thread::sleep(std::time::Duration::from_millis(50));
        assert!(!marker.exists());
        assert_eq!(
            child.release().expect("sh is there").wait(),
            Ok(ExitKind::Code(3))
        );
        assert!(marker.exists());
        std::fs::remove_file(&marker).expect("it is ours");
    }

    #[test]
    fn a_program_that_is_not_there_is_told_at_release() {
        let error = stopped("no-such-program-xyz", &[])
            .release()
            .expect_err("none");
        assert_eq!(error, Errno::NOENT);
        let error = stopped("/etc/passwd", &[])
            .release()
            .expect_err("not a program");
        assert_eq!(error, Errno::ACCES);
    }

    #[test]
    fn signals_and_drops_end_it() {
        let mut child = stopped("sleep", &["100"])
            .release()
            .expect("sleep is there");
        assert_eq!(child.poll(), Ok(None));
        child.signal(libc::SIGKILL).expect("ours");
        assert_eq!(child.wait(), Ok(ExitKind::Signal(libc::SIGKILL)));
        let StoppedChild {
            mut child,
            go,
            failure,
        } = stopped("sleep", &["100"]);
        drop((go, failure));
        assert_eq!(child.wait(), Ok(ExitKind::Code(127)));
    }
}
