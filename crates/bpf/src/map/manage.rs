//! Maps found by pin or id, described, hashed.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use kscope_spec::MapKind;
use kscope_sys::{Errno, SharedKernel};

use super::Map;
use super::closed::number_of;
use crate::denial::{Needs, explain};
use crate::error::Error;
use crate::link::{open_pin, pin};
use crate::unmounted::undescribed;

/// What the kernel knows of a map beside its sizes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapDetails {
    /// Id, unique while the map lives.
    pub id: u32,
    /// Name as the kernel keeps it, up to 15 bytes.
    pub name: String,
    /// `BPF_F_*` creation flags.
    pub flags: u32,
    /// What some kinds take beside (5.16).
    pub extra: u64,
    /// Id of the BTF that describes key and value; 0 for none.
    pub btf: u32,
    /// The key's type in it.
    pub key_type: u32,
    /// The value's type in it.
    pub value_type: u32,
    /// Bytes of kernel memory that it takes, as far as the kernel says.
    pub memory: Option<u64>,
    /// Whether system calls can write to it no more.
    pub frozen: Option<bool>,
}

impl Map {
    /// Gives the SHA-256 of what a frozen array holds, by which a program that is trusted can know it.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for a map that is no array or not frozen.
    ///
    /// # Minimum kernel version
    ///
    /// Linux 6.18; others give [`Error::Unsupported`].
    pub fn hash(&self) -> Result<[u8; 32], Error> {
        self.must_be(MapKind::Array, "array")?;
        self.kernel.map_hash(self.as_fd()).map_err(|errno| {
            let frozen = self.details().ok().and_then(|details| details.frozen);
            match errno {
                Errno::PERM if frozen == Some(false) => Error::invalid(format!(
                    "map {} is not frozen, so that its hash would not last",
                    self.name()
                )),
                Errno::TOO_BIG | Errno::INVAL => Error::unsupported("hashes of maps", "Linux 6.18"),
                errno => self.failed("BPF_OBJ_GET_INFO_BY_FD", errno),
            }
        })
    }

    /// Gives what the kernel knows of the map.
    ///
    /// # Errors
    ///
    /// What the kernel says.
    pub fn details(&self) -> Result<MapDetails, Error> {
        let info = self
            .kernel
            .map_info(self.as_fd())
            .map_err(|errno| self.failed("BPF_OBJ_GET_INFO_BY_FD", errno))?;
        let lines = self.descriptor_info();
        Ok(MapDetails {
            id: info.id,
            name: text(&info.name),
            flags: info.flags,
            extra: info.extra,
            btf: info.btf,
            key_type: info.key_type,
            value_type: info.value_type,
            memory: number_of(&lines, "memlock"),
            frozen: number_of(&lines, "frozen").map(|frozen| frozen != 0),
        })
    }

    /// Gives the map a name in the BPF file system, by which it outlives the process.
    ///
    /// # Errors
    ///
    /// [`Error::NotMounted`], [`Error::NotFound`] for a folder that is not there, [`Error::Os`]
    /// with `EEXIST` for a name that is taken.
    pub fn pin(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        pin(&*self.kernel, path.as_ref(), self.as_fd())
    }

    /// Opens a map that is pinned.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`], [`Error::Invalid`] for another pinned object.
    pub fn open_pinned(kernel: &SharedKernel, path: impl AsRef<Path>) -> Result<Map, Error> {
        let fd = open_pin(&**kernel, path.as_ref())?;
        Map::adopt(kernel, fd, &path.as_ref().display().to_string())
    }

    /// Opens a map by its id.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`], [`Error::Permission`].
    pub fn by_id(kernel: &SharedKernel, id: u32) -> Result<Map, Error> {
        let about = format!("map {id}");
        let fd = kernel.map_by_id(id).map_err(|errno| match errno {
            Errno::NOENT => Error::not_found("map with id", id.to_string()),
            errno => explain(
                &**kernel,
                Needs::Admin,
                "BPF_MAP_GET_FD_BY_ID",
                errno,
                &about,
            ),
        })?;
        Map::adopt(kernel, fd, &about)
    }

    fn adopt(kernel: &SharedKernel, fd: OwnedFd, about: &str) -> Result<Map, Error> {
        let fd = kernel.map_adopt(fd).map_err(|errno| match errno {
            Errno::INVAL => Error::invalid(format!("{about} is no map")),
            errno => undescribed(&**kernel, errno, about),
        })?;
        let info = kernel.map_info(fd.as_fd());
        let info = info.map_err(|errno| Error::os("BPF_OBJ_GET_INFO_BY_FD", errno, about))?;
        let number = fd.shape().kind;
        let kind = MapKind::from_number(number).ok_or_else(|| {
            Error::invalid(format!(
                "{about} is of kind {number}, unknown to this release"
            ))
        })?;
        Ok(Map::made(kernel, fd, &text(&info.name), kind))
    }

    /// Lists the ids of all maps of the kernel, ascending. Those that come or go meanwhile may or
    /// may not be in it.
    ///
    /// # Errors
    ///
    /// [`Error::Permission`].
    pub fn ids(kernel: &SharedKernel) -> Result<Vec<u32>, Error> {
        let mut ids = Vec::new();
        let mut last = 0;
        loop {
            match kernel.map_next_id(last) {
                // Ascending, so that the walk ends.
                Ok(id) if id > last => {
                    ids.push(id);
                    last = id;
                }
                Ok(_) | Err(Errno::NOENT) => return Ok(ids),
                Err(errno) => {
                    let call = "BPF_MAP_GET_NEXT_ID";
                    return Err(explain(&**kernel, Needs::Admin, call, errno, ""));
                }
            }
        }
    }
}

/// Gives a name that ends with NUL.
fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|&byte| byte == 0);
    let name = bytes.get(..end.unwrap_or(bytes.len())).unwrap_or_default();
    String::from_utf8_lossy(name).into_owned()
}
