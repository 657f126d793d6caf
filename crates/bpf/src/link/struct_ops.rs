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
    /// taken, `EBUSY` for a table that is registered already. One that is attached by a link keeps the
    /// contents of its first link.
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
        let by_link = info.flags & BY_LINK != 0;
        match self.update(&[0; 4], contents, UpdateMode::Any) {
            // It was made ready for an earlier link, and its contents never change after that.
            Err(error) if by_link && error.errno() == Some(Errno::BUSY) => {}
            outcome => outcome?,
        }
        if !by_link {
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use kscope_sys::{Bpf, Call, FakeKernel, MapFd, MapShape, Reply};

    use super::*;

    /// Attaches a table that the kernel takes no contents for any more.
    fn attach_again(flags: u32) -> Result<(), String> {
        let fake = FakeKernel::new(move |call| match call {
            Call::Bpf(Bpf::MapInfo { into, .. }) => {
                into[20..24].copy_from_slice(&flags.to_ne_bytes());
                Ok(Reply::Done)
            }
            Call::Bpf(Bpf::MapUpdate { .. }) => Err(Errno::BUSY),
            Call::Bpf(Bpf::LinkCreate(_)) => FakeKernel::object(),
            other => panic!("{other:?}"),
        });
        let shape = MapShape {
            kind: MapKind::StructOps as u32,
            key_size: 4,
            value_size: 8,
            max_entries: 1,
        };
        let fd = MapFd::fake(shape, 1).expect("a descriptor");
        let map = Map::made(&(Arc::new(fake) as _), fd, "t", MapKind::StructOps);
        let link = map.attach_struct_ops(&[0; 8]);
        link.map(drop).map_err(|error| error.to_string())
    }

    #[test]
    fn a_table_is_linked_again_and_not_registered_twice() {
        assert_eq!(attach_again(BY_LINK), Ok(()));
        let taken = "BPF_MAP_UPDATE_ELEM of map t: EBUSY (Device or resource busy)";
        assert_eq!(attach_again(0), Err(taken.to_owned()));
    }
}
