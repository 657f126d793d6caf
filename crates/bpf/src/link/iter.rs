//! BPF iterators: programs that run over all objects of a kind, and write a file.

use std::os::fd::{AsFd, OwnedFd};

use kscope_spec::AttachKind;
use kscope_sys::{Errno, IterOver, LinkCreate, LinkTarget, SharedKernel};

use super::Link;
use crate::error::Error;
use crate::program::Program;
use crate::search::has;

/// Reads what an iterator's program writes; each reader is one walk over all objects.
#[derive(Debug)]
pub struct IterReader {
    kernel: SharedKernel,
    file: OwnedFd,
    target: String,
    #[allow(dead_code, reason = "held: nobody else has it")]
    link: Option<Link>,
}

impl Program {
    /// Attaches an iterator program and opens one walk.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for other programs, else what the kernel says.
    ///
    /// # Minimum kernel version
    ///
    /// Linux 5.8.
    pub fn attach_iterator(&self) -> Result<IterReader, Error> {
        self.attach_iterator_over(IterOver::All)?.into_walk()
    }

    /// Attaches an iterator program to a part of what it was loaded for; each
    /// [`Link::walk`] of the link is one walk over it.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for other programs, [`Error::Unsupported`] where the kernel's iterator
    /// takes no such part, else what the kernel says.
    ///
    /// # Minimum kernel version
    ///
    /// Linux 5.8, over a map 5.9, over a cgroup, process or thread 6.1.
    pub fn attach_iterator_over(&self, over: IterOver<'_>) -> Result<Link, Error> {
        let AttachKind::Iterator(name) = &*self.attach else {
            return Err(self.wrong_kind("an iterator"));
        };
        // The kernel takes one union for all of them: a map's descriptor would be read as a thread.
        let fits = match over {
            IterOver::All => true,
            IterOver::Thread(_) | IterOver::Process(_) | IterOver::ProcessFd(_) => {
                name.starts_with("task")
            }
            IterOver::Cgroup { .. } => name.starts_with("cgroup"),
            IterOver::Map(_) => !name.starts_with("task") && !name.starts_with("cgroup"),
        };
        if !fits {
            return Err(Error::invalid(format!(
                "iterator {name} does not walk over a part of this kind"
            )));
        }
        let create = |over| {
            self.kernel.link_create(LinkCreate {
                program: self.as_fd(),
                attach_type: self.attach.attach_type(),
                target: LinkTarget::Iterator(over),
            })
        };
        let fd = create(over).map_err(|errno| match (errno, over) {
            (Errno::INVAL | Errno::TOO_BIG, IterOver::Map(_)) => Error::invalid(format!(
                "iterator {name} does not walk over maps of this kind, or the program reads \
                 more of an entry than it has"
            )),
            (Errno::INVAL | Errno::TOO_BIG, IterOver::Cgroup { .. }) => {
                Error::unsupported("iterators over cgroups", "Linux 6.1")
            }
            (
                Errno::INVAL | Errno::TOO_BIG,
                IterOver::Thread(_) | IterOver::Process(_) | IterOver::ProcessFd(_),
            ) if create(IterOver::All).is_ok() => {
                Error::unsupported("iterators over one process", "Linux 6.1")
            }
            (Errno::BADF, IterOver::All) if has(name, "map_elem") => {
                Error::invalid(format!("iterator {name} needs the map that it walks over"))
            }
            (errno, _) => self.failed("BPF_LINK_CREATE", errno, name),
        })?;
        Ok(Link::of(&self.kernel, fd, format!("iter:{name}")))
    }
}

impl Link {
    /// Opens one walk of an iterator's link.
    ///
    /// # Errors
    ///
    /// [`Error::Os`] with `EINVAL` for the link of another kind of program.
    pub fn walk(&self) -> Result<IterReader, Error> {
        let file = self.open_walk()?;
        Ok(IterReader {
            kernel: self.kernel.clone(),
            file,
            target: self.target.clone(),
            link: None,
        })
    }

    /// Opens one walk that keeps the link.
    fn into_walk(self) -> Result<IterReader, Error> {
        let file = self.open_walk()?;
        Ok(IterReader {
            kernel: self.kernel.clone(),
            file,
            target: self.target.clone(),
            link: Some(self),
        })
    }

    fn open_walk(&self) -> Result<OwnedFd, Error> {
        let file = self.kernel.iter_create(self.bpf_link()?);
        file.map_err(|errno| Error::os("BPF_ITER_CREATE", errno, &self.target))
    }
}

impl IterReader {
    /// Reads on; 0 is the end of the walk.
    ///
    /// # Errors
    ///
    /// What the kernel says; `E2BIG` where one object's output does not fit the kernel's buffer.
    pub fn read(&mut self, into: &mut [u8]) -> Result<usize, Error> {
        loop {
            match self.kernel.read(self.file.as_fd(), into) {
                // The kernel pauses long walks so.
                Err(Errno::AGAIN | Errno::INTR) => {}
                other => return other.map_err(|e| Error::os("read", e, &self.target)),
            }
        }
    }

    /// Reads the rest of the walk, up to `most` bytes.
    ///
    /// # Errors
    ///
    /// As [`IterReader::read`]; [`Error::Invalid`] if there is more.
    pub fn read_all(&mut self, most: usize) -> Result<Vec<u8>, Error> {
        let mut all = Vec::new();
        let mut part = vec![0; 1 << 16];
        loop {
            let count = self.read(&mut part)?;
            if count == 0 {
                return Ok(all);
            }
            all.extend_from_slice(part.get(..count).unwrap_or_default());
            if all.len() > most {
                return Err(Error::invalid(format!(
                    "an iterator wrote more than {most} bytes"
                )));
            }
        }
    }
}
