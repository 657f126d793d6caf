//! BPF iterators: programs that run over all objects of a kind, and write a file.

use std::os::fd::{AsFd, OwnedFd};

use kscope_spec::AttachKind;
use kscope_sys::{Errno, LinkCreate, LinkTarget, SharedKernel};

use super::Link;
use crate::error::Error;
use crate::program::Program;

/// Reads what an iterator's program writes; each reader is one walk over all objects.
#[derive(Debug)]
pub struct IterReader {
    kernel: SharedKernel,
    file: OwnedFd,
    #[allow(dead_code, reason = "held: the walk ends when the link goes")]
    link: Link,
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
        let AttachKind::Iterator(name) = &*self.attach else {
            return Err(self.wrong_kind("an iterator"));
        };
        let created = self.kernel.link_create(LinkCreate {
            program: self.as_fd(),
            attach_type: self.attach.attach_type(),
            target: LinkTarget::Iterator,
        });
        let link = created.map_err(|errno| self.failed("BPF_LINK_CREATE", errno, name))?;
        let file = self.kernel.iter_create(link.as_fd());
        let file = file.map_err(|errno| self.failed("BPF_ITER_CREATE", errno, name))?;
        let link = Link::new(vec![link], format!("iter:{name}"));
        Ok(IterReader {
            kernel: self.kernel.clone(),
            file,
            link,
        })
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
                other => return other.map_err(|e| Error::os("read", e, self.link.target())),
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
