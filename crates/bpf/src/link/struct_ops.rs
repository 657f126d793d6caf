//! Tables of functions that the kernel calls.

use std::os::fd::AsFd;

use kscope_spec::{AttachType, MapKind};
use kscope_sys::{Errno, LinkCreate, LinkTarget};

use super::legacy::Undo;
use super::{Hold, Link};
use crate::denial::{Needs, explain};
use crate::error::Error;
use crate::map::{Map, UpdateMode};

/// `BPF_F_LINK`: a link attaches the table.
const BY_LINK: u32 = 1 << 13;

impl Map {
    /// Gives a table of functions (a map of kind [`MapKind::StructOps`]) its contents, in the
    /// kernel's layout, and makes the kernel use it: by a link if the map was made for one, else
    /// by registering it until the [`Link`] is dropped (it stays if the process is killed).
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for another kind of map, [`Error::Os`] with `EEXIST` for a name that is
    /// taken, `EBUSY` for a table that is in use.
    ///
    /// # Minimum kernel version
    ///
    /// Linux 5.6, links 6.4.
    pub fn attach_struct_ops(&self, contents: &[u8]) -> Result<Link, Error> {
        if self.kind() != MapKind::StructOps {
            return Err(Error::invalid(format!(
                "map {} is no table of functions",
                self.name()
            )));
        }
        let target = format!("struct_ops:{}", self.name());
        let info = self.kernel().map_info(self.as_fd());
        let info = info.map_err(|errno| self.failed("BPF_OBJ_GET_INFO_BY_FD", errno))?;
        self.update(&[0; 4], contents, UpdateMode::Any)?;
        if info.flags & BY_LINK == 0 {
            let undo = Undo::StructOps(self.shared_fd());
            return Ok(Link::new(self.kernel(), Hold::Undo(undo), target));
        }
        let created = self.kernel().link_create(LinkCreate {
            program: self.as_fd(),
            attach_type: AttachType::StructOps as u32,
            target: LinkTarget::StructOps,
        });
        let fd = created.map_err(|errno| match errno {
            Errno::PERM | Errno::ACCES => explain(
                &**self.kernel(),
                Needs::Tracing,
                "BPF_LINK_CREATE",
                errno,
                "",
            ),
            errno => Error::os("BPF_LINK_CREATE", errno, &target),
        })?;
        Ok(Link::of(self.kernel(), fd, target))
    }
}

impl Link {
    /// Puts another table of functions in this one's place.
    ///
    /// # Errors
    ///
    /// [`Error::Os`] with `EINVAL` for a table of another type, `EOPNOTSUPP` where the kernel's
    /// type cannot be replaced.
    ///
    /// # Minimum kernel version
    ///
    /// Linux 6.4.
    pub fn update_struct_ops(&self, map: &Map) -> Result<(), Error> {
        let updated = self.kernel.link_update(self.bpf_link()?, map.as_fd(), None);
        updated.map_err(|errno| Error::os("BPF_LINK_UPDATE", errno, &self.target))
    }
}
