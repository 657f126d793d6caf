//! BPF tokens: what a BPF file system delegates to a user namespace.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::sync::Arc;

use kscope_spec::{AttachType, MapKind, ProgramSpec};
use kscope_sys::{Delegated, Errno, Kernel, SharedKernel, TokenKernel, mount_path};

use crate::denial::{Denial, Needs, cause};
use crate::error::Error;
use crate::search::around;

/// Where a token is looked for if nobody says where.
pub(crate) const USUAL: &str = "/sys/fs/bpf";

/// A BPF token: it stands in for the capabilities that a process in a user namespace (a container)
/// cannot have, for as much as the BPF file system was mounted to delegate.
///
/// [`crate::Loader`] looks for one at `/sys/fs/bpf` by itself where the kernel refuses; this is for
/// another place, and for maps that are made by hand.
#[derive(Clone, Debug)]
pub struct Token {
    kernel: SharedKernel,
}

impl Token {
    /// Makes a token of the BPF file system mounted here.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`]; [`Error::NotMounted`] where another file system is mounted there;
    /// [`Error::Invalid`] for a folder that is no mount point of its own;
    /// [`Error::Permission`] with [`Denial::Delegation`] where it delegates nothing, with
    /// [`Denial::OtherNamespace`] where it is of another user namespace; [`Error::Invalid`] in the
    /// first user namespace, which needs none; [`Error::Unsupported`] for a kernel without tokens.
    ///
    /// # Minimum kernel version
    ///
    /// Linux 6.9.
    pub fn create(kernel: &SharedKernel, path: impl AsRef<Path>) -> Result<Token, Error> {
        let path = path.as_ref();
        let shown = path.display().to_string();
        let directory = kernel.open_directory(path).map_err(|errno| match errno {
            Errno::NOENT | Errno::NOTDIR => Error::not_found("directory", shown.clone()),
            errno => Error::os("open", errno, shown.clone()),
        })?;
        let mounted = Mounted::at(&**kernel, &shown);
        Token::made(kernel, directory.as_fd(), shown, mounted)
    }

    /// Makes a token of a BPF file system by its root directory, opened to be read: of what
    /// fsmount(2) gives, `openat(mount, ".")`.
    ///
    /// # Errors
    ///
    /// As [`Token::create`].
    pub fn of(kernel: &SharedKernel, bpffs: BorrowedFd<'_>) -> Result<Token, Error> {
        Token::made(kernel, bpffs, "the descriptor".to_owned(), None)
    }

    fn made(
        kernel: &SharedKernel,
        bpffs: BorrowedFd<'_>,
        path: String,
        mounted: Option<Mounted>,
    ) -> Result<Token, Error> {
        let token = kernel.token_create(bpffs).map_err(|errno| {
            let refused = |cause| Error::permission("BPF_TOKEN_CREATE", cause);
            let path = path.clone();
            match errno {
                // What kernels without tokens say of everything.
                Errno::INVAL if kernel.token_create_of_nothing().err() != Some(Errno::BADF) => {
                    Error::unsupported("BPF tokens", "Linux 6.9")
                }
                Errno::INVAL if mounted.as_ref().is_some_and(|found| found.kind != "bpf") => {
                    Error::NotMounted {
                        kind: "the BPF file system",
                        way_out: "mount -t bpf bpf /sys/fs/bpf",
                    }
                }
                Errno::INVAL => Error::invalid(format!(
                    "{path} is not the root of a BPF file system, and a token is made of nothing else: \
                     give the folder that it is mounted at"
                )),
                Errno::NOENT => refused(Denial::Delegation {
                    path,
                    option: "any of delegate_cmds, delegate_maps, delegate_progs, delegate_attachs"
                        .to_owned(),
                }),
                Errno::OPNOTSUPP | Errno::NOTSUPP => Error::invalid(
                    "a BPF token is for a user namespace of its own; the first one needs none",
                ),
                Errno::PERM => refused(match cause(&**kernel, Needs::Bpf) {
                    missing @ Denial::Capability { .. } => missing,
                    _ => Denial::OtherNamespace { path },
                }),
                errno => Error::os("BPF_TOKEN_CREATE", errno, path),
            }
        })?;
        let delegated = Delegated {
            path,
            options: mounted.map(|found| found.options).unwrap_or_default(),
        };
        let kernel = TokenKernel::new(kernel.clone(), token, delegated);
        Ok(Token {
            kernel: Arc::new(kernel),
        })
    }

    /// Gives the kernel as it is for those who have the token: what is created by it, maps,
    /// programs and types, is created with the token.
    pub fn kernel(&self) -> SharedKernel {
        self.kernel.clone()
    }
}

/// A file system by its line in `/proc/self/mountinfo`.
#[derive(Debug)]
struct Mounted {
    kind: String,
    options: String,
}

impl Mounted {
    /// Finds what is mounted at a path, on top of all else.
    fn at(kernel: &dyn Kernel, path: &str) -> Option<Mounted> {
        let bytes = kernel.read_file(Path::new("/proc/self/mountinfo")).ok()?;
        let text = String::from_utf8_lossy(&bytes);
        let path = match path.trim_end_matches('/') {
            "" => "/",
            path => path,
        };
        text.lines().rev().find_map(|line| {
            let (mount, file_system) = around(line, " - ")?;
            let place = mount_path(mount.split(' ').nth(4)?.as_bytes());
            (place == path.as_bytes()).then_some(())?;
            let mut words = file_system.split(' ');
            Some(Mounted {
                kind: words.next()?.to_owned(),
                options: words.nth(1).unwrap_or_default().to_owned(),
            })
        })
    }
}

/// What is to be made with a token.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wanted<'a> {
    Map(MapKind),
    Program(&'a ProgramSpec),
    Types,
}

/// Gives the delegation that a refused call lacks; none where no token goes along with it, or
/// where it delegates all that is needed.
pub(crate) fn missing(kernel: &dyn Kernel, wanted: Wanted<'_>) -> Option<Denial> {
    let delegated = kernel.delegated()?;
    // The descriptor of a file system that is mounted nowhere tells nothing of it.
    (!delegated.options.is_empty()).then_some(())?;
    let lacks = |option: &str, number: u32, name: &str| {
        let given = delegated.options.split(',').find_map(|one| {
            let (key, value) = one.split_once('=')?;
            (key == option).then_some(value)
        });
        let has = given.is_some_and(|value| delegates(value, number, name));
        (!has).then(|| Denial::Delegation {
            path: delegated.path.clone(),
            option: format!("{option}={}", snake(name)),
        })
    };
    match wanted {
        Wanted::Map(kind) => lacks("delegate_cmds", 0, "MapCreate")
            .or_else(|| lacks("delegate_maps", kind as u32, &format!("{kind:?}"))),
        Wanted::Types => lacks("delegate_cmds", 18, "BtfLoad"),
        Wanted::Program(program) => {
            // The kernel asks for the attach type even where it does not matter: then it is 0.
            let (kind, attach) = (program.kind, program.attach.attach_type());
            let attach_name = AttachType::from_number(attach).map(|attach| format!("{attach:?}"));
            lacks("delegate_cmds", 5, "ProgLoad")
                .or_else(|| lacks("delegate_progs", kind as u32, &format!("{kind:?}")))
                .or_else(|| lacks("delegate_attachs", attach, &attach_name?))
        }
    }
}

/// Tells whether an option's value (`any`, or names and numbers between colons) has one.
fn delegates(value: &str, number: u32, name: &str) -> bool {
    let plain = |text: &str| {
        let letters = text.chars().filter(|&letter| letter != '_');
        letters.collect::<String>().to_ascii_lowercase()
    };
    value.split(':').any(|one| match one.strip_prefix("0x") {
        // A set of what has no name.
        Some(hex) => u64::from_str_radix(hex, 16)
            .is_ok_and(|set| set.checked_shr(number).unwrap_or_default() & 1 == 1),
        None => one == "any" || plain(one) == plain(name),
    })
}

/// Writes a name as the kernel does: `SocketFilter` is `socket_filter`.
fn snake(name: &str) -> String {
    let name = match around(name, "PerCpu") {
        Some((before, after)) => format!("{before}Percpu{after}"),
        None => name.to_owned(),
    };
    let mut text = String::new();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && !text.is_empty() {
            text.push('_');
        }
        text.push(letter.to_ascii_lowercase());
    }
    text
}

#[cfg(test)]
mod tests;
