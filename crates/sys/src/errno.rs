//! Error numbers of system calls, with their names.

use std::fmt;

/// An error number as the kernel gave it, always positive.
///
/// # Examples
///
/// ```
/// use kscope_sys::Errno;
/// assert_eq!(Errno::PERM.to_string(), "EPERM (Operation not permitted)");
/// assert_eq!(Errno::NOTSUPP.name(), Some("ENOTSUPP"));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Errno(pub i32);

macro_rules! errnos {
    ($($short:ident = $full:ident : $text:literal),* $(,)?) => {
        impl Errno {
            $(
                #[doc = concat!("`", stringify!($full), "`: ", $text, ".")]
                pub const $short: Errno = Errno(libc::$full);
            )*

            /// Gives the symbolic name, for the numbers that this crate knows.
            pub fn name(self) -> Option<&'static str> {
                match self.0 {
                    $(libc::$full => Some(stringify!($full)),)*
                    524 => Some("ENOTSUPP"),
                    _ => None,
                }
            }

            fn text(self) -> Option<&'static str> {
                match self.0 {
                    $(libc::$full => Some($text),)*
                    524 => Some("Not supported by this kernel"),
                    _ => None,
                }
            }
        }
    };
}

errnos! {
    PERM = EPERM: "Operation not permitted",
    NOENT = ENOENT: "No such file or directory",
    SRCH = ESRCH: "No such process",
    INTR = EINTR: "Interrupted system call",
    IO = EIO: "Input/output error",
    TOO_BIG = E2BIG: "Argument list too long",
    BADF = EBADF: "Bad file descriptor",
    AGAIN = EAGAIN: "Resource temporarily unavailable",
    NOMEM = ENOMEM: "Cannot allocate memory",
    ACCES = EACCES: "Permission denied",
    FAULT = EFAULT: "Bad address",
    BUSY = EBUSY: "Device or resource busy",
    EXIST = EEXIST: "File exists",
    NODEV = ENODEV: "No such device",
    NOTDIR = ENOTDIR: "Not a directory",
    INVAL = EINVAL: "Invalid argument",
    NFILE = ENFILE: "Too many open files in system",
    MFILE = EMFILE: "Too many open files",
    NOTTY = ENOTTY: "Inappropriate ioctl for device",
    NOSPC = ENOSPC: "No space left on device",
    ROFS = EROFS: "Read-only file system",
    PIPE = EPIPE: "Broken pipe",
    RANGE = ERANGE: "Numerical result out of range",
    ILSEQ = EILSEQ: "Invalid or incomplete multibyte or wide character",
    ADDR_NOT_AVAIL = EADDRNOTAVAIL: "Cannot assign requested address",
    NOSYS = ENOSYS: "Function not implemented",
    OPNOTSUPP = EOPNOTSUPP: "Operation not supported",
    TIMEDOUT = ETIMEDOUT: "Connection timed out",
}

impl Errno {
    /// The kernel's internal `ENOTSUPP` (524), which a few calls of bpf(2) let through.
    pub const NOTSUPP: Errno = Errno(524);

    /// Gives the error number of the last failed call of this thread.
    pub(crate) fn last() -> Errno {
        Errno(
            std::io::Error::last_os_error()
                .raw_os_error()
                .unwrap_or(libc::EIO),
        )
    }

    /// Takes the error number out of a `std::io::Error`; `EIO` if it has none.
    pub fn from_io(error: &std::io::Error) -> Errno {
        Errno(error.raw_os_error().unwrap_or(libc::EIO))
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.name(), self.text()) {
            (Some(name), Some(text)) => write!(f, "{name} ({text})"),
            _ => write!(f, "error number {}", self.0),
        }
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "Errno({})", self.0),
        }
    }
}

impl std::error::Error for Errno {}
