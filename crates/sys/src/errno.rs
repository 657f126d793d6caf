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
                self.words().map(|(name, _)| name)
            }

            /// Gives the text of `strerror`, for the numbers that this crate knows.
            pub fn text(self) -> Option<&'static str> {
                self.words().map(|(_, text)| text)
            }

            /// Gives all numbers that have a name here, with their names.
            pub fn all() -> impl Iterator<Item = (Errno, &'static str)> {
                ALL.iter().map(|&(errno, name, _)| (errno, name))
            }

            /// Gives name and text.
            fn words(self) -> Option<(&'static str, &'static str)> {
                let known = ALL.iter().find(|(errno, ..)| *errno == self);
                known.map(|&(_, name, text)| (name, text))
            }
        }

        const ALL: &[(Errno, &str, &str)] = &[
            $((Errno::$short, stringify!($full), $text),)*
            (Errno::NOTSUPP, "ENOTSUPP", "Not supported by this kernel"),
        ];
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
    NXIO = ENXIO: "No such device or address",
    NOEXEC = ENOEXEC: "Exec format error",
    CHILD = ECHILD: "No child processes",
    NOTBLK = ENOTBLK: "Block device required",
    XDEV = EXDEV: "Invalid cross-device link",
    ISDIR = EISDIR: "Is a directory",
    TXTBSY = ETXTBSY: "Text file busy",
    FBIG = EFBIG: "File too large",
    SPIPE = ESPIPE: "Illegal seek",
    MLINK = EMLINK: "Too many links",
    DOM = EDOM: "Numerical argument out of domain",
    DEADLK = EDEADLK: "Resource deadlock avoided",
    NAMETOOLONG = ENAMETOOLONG: "File name too long",
    NOLCK = ENOLCK: "No locks available",
    NOTEMPTY = ENOTEMPTY: "Directory not empty",
    LOOP = ELOOP: "Too many levels of symbolic links",
    NOMSG = ENOMSG: "No message of desired type",
    IDRM = EIDRM: "Identifier removed",
    CHRNG = ECHRNG: "Channel number out of range",
    L2NSYNC = EL2NSYNC: "Level 2 not synchronized",
    L3HLT = EL3HLT: "Level 3 halted",
    L3RST = EL3RST: "Level 3 reset",
    LNRNG = ELNRNG: "Link number out of range",
    UNATCH = EUNATCH: "Protocol driver not attached",
    NOCSI = ENOCSI: "No CSI structure available",
    L2HLT = EL2HLT: "Level 2 halted",
    BADE = EBADE: "Invalid exchange",
    BADR = EBADR: "Invalid request descriptor",
    XFULL = EXFULL: "Exchange full",
    NOANO = ENOANO: "No anode",
    BADRQC = EBADRQC: "Invalid request code",
    BADSLT = EBADSLT: "Invalid slot",
    BFONT = EBFONT: "Bad font file format",
    NOSTR = ENOSTR: "Device not a stream",
    NODATA = ENODATA: "No data available",
    TIME = ETIME: "Timer expired",
    NOSR = ENOSR: "Out of streams resources",
    NONET = ENONET: "Machine is not on the network",
    NOPKG = ENOPKG: "Package not installed",
    REMOTE = EREMOTE: "Object is remote",
    NOLINK = ENOLINK: "Link has been severed",
    ADV = EADV: "Advertise error",
    SRMNT = ESRMNT: "Srmount error",
    COMM = ECOMM: "Communication error on send",
    PROTO = EPROTO: "Protocol error",
    MULTIHOP = EMULTIHOP: "Multihop attempted",
    DOTDOT = EDOTDOT: "RFS specific error",
    BADMSG = EBADMSG: "Bad message",
    OVERFLOW = EOVERFLOW: "Value too large for defined data type",
    NOTUNIQ = ENOTUNIQ: "Name not unique on network",
    BADFD = EBADFD: "File descriptor in bad state",
    REMCHG = EREMCHG: "Remote address changed",
    LIBACC = ELIBACC: "Can not access a needed shared library",
    LIBBAD = ELIBBAD: "Accessing a corrupted shared library",
    LIBSCN = ELIBSCN: ".lib section in a.out corrupted",
    LIBMAX = ELIBMAX: "Attempting to link in too many shared libraries",
    LIBEXEC = ELIBEXEC: "Cannot exec a shared library directly",
    RESTART = ERESTART: "Interrupted system call should be restarted",
    STRPIPE = ESTRPIPE: "Streams pipe error",
    USERS = EUSERS: "Too many users",
    NOTSOCK = ENOTSOCK: "Socket operation on non-socket",
    DESTADDRREQ = EDESTADDRREQ: "Destination address required",
    MSGSIZE = EMSGSIZE: "Message too long",
    PROTOTYPE = EPROTOTYPE: "Protocol wrong type for socket",
    NOPROTOOPT = ENOPROTOOPT: "Protocol not available",
    PROTONOSUPPORT = EPROTONOSUPPORT: "Protocol not supported",
    SOCKTNOSUPPORT = ESOCKTNOSUPPORT: "Socket type not supported",
    PFNOSUPPORT = EPFNOSUPPORT: "Protocol family not supported",
    AFNOSUPPORT = EAFNOSUPPORT: "Address family not supported by protocol",
    ADDRINUSE = EADDRINUSE: "Address already in use",
    NETDOWN = ENETDOWN: "Network is down",
    NETUNREACH = ENETUNREACH: "Network is unreachable",
    NETRESET = ENETRESET: "Network dropped connection on reset",
    CONNABORTED = ECONNABORTED: "Software caused connection abort",
    CONNRESET = ECONNRESET: "Connection reset by peer",
    NOBUFS = ENOBUFS: "No buffer space available",
    ISCONN = EISCONN: "Transport endpoint is already connected",
    NOTCONN = ENOTCONN: "Transport endpoint is not connected",
    SHUTDOWN = ESHUTDOWN: "Cannot send after transport endpoint shutdown",
    TOOMANYREFS = ETOOMANYREFS: "Too many references: cannot splice",
    CONNREFUSED = ECONNREFUSED: "Connection refused",
    HOSTDOWN = EHOSTDOWN: "Host is down",
    HOSTUNREACH = EHOSTUNREACH: "No route to host",
    ALREADY = EALREADY: "Operation already in progress",
    INPROGRESS = EINPROGRESS: "Operation now in progress",
    STALE = ESTALE: "Stale file handle",
    UCLEAN = EUCLEAN: "Structure needs cleaning",
    NOTNAM = ENOTNAM: "Not a XENIX named type file",
    NAVAIL = ENAVAIL: "No XENIX semaphores available",
    ISNAM = EISNAM: "Is a named type file",
    REMOTEIO = EREMOTEIO: "Remote I/O error",
    DQUOT = EDQUOT: "Disk quota exceeded",
    NOMEDIUM = ENOMEDIUM: "No medium found",
    MEDIUMTYPE = EMEDIUMTYPE: "Wrong medium type",
    CANCELED = ECANCELED: "Operation canceled",
    NOKEY = ENOKEY: "Required key not available",
    KEYEXPIRED = EKEYEXPIRED: "Key has expired",
    KEYREVOKED = EKEYREVOKED: "Key has been revoked",
    KEYREJECTED = EKEYREJECTED: "Key was rejected by service",
    OWNERDEAD = EOWNERDEAD: "Owner died",
    NOTRECOVERABLE = ENOTRECOVERABLE: "State not recoverable",
    RFKILL = ERFKILL: "Operation not possible due to RF-kill",
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
        match self.words() {
            Some((name, text)) => write!(f, "{name} ({text})"),
            None => write!(f, "error number {}", self.0),
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
