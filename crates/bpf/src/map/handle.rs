//! Maps that hold kernel objects – maps, programs, sockets – and maps whose keys are objects.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use kscope_spec::MapKind;

use super::{Map, UpdateMode};
use crate::error::Error;
use crate::program::Program;

impl Map {
    /// Puts a map into a map of maps, in place of what is there.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for another kind; [`Error::Os`] with `EINVAL` for a map that is not
    /// shaped as this one wants.
    pub fn set_map(&self, key: &[u8], inner: &Map) -> Result<(), Error> {
        if !matches!(self.kind, MapKind::ArrayOfMaps | MapKind::HashOfMaps) {
            return Err(self.no_such("maps in it"));
        }
        self.set_fd(key, inner.as_fd())
    }

    /// Opens the map that a map of maps holds under a key; none where there is none.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for another kind, [`Error::Permission`].
    #[cfg(feature = "manage")]
    pub fn inner(&self, key: &[u8]) -> Result<Option<Map>, Error> {
        if !matches!(self.kind, MapKind::ArrayOfMaps | MapKind::HashOfMaps) {
            return Err(self.no_such("maps in it"));
        }
        match self.id_at(key)? {
            None => Ok(None),
            Some(id) => match Map::by_id(&self.kernel, id) {
                // It went in between.
                Err(Error::NotFound { .. }) => Ok(None),
                map => map.map(Some),
            },
        }
    }

    /// Puts a program into an array of programs, for tail calls.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for another kind; [`Error::Os`] with `EINVAL` for a program of another
    /// type than those that use the array.
    pub fn set_program(&self, index: u32, program: &Program) -> Result<(), Error> {
        if self.kind != MapKind::ProgArray {
            return Err(self.no_such("programs in it"));
        }
        self.set_fd(&index.to_ne_bytes(), program.as_fd())
    }

    /// Gives the id of the program in an array of programs; none where there is none.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for another kind.
    pub fn program_id(&self, index: u32) -> Result<Option<u32>, Error> {
        if self.kind != MapKind::ProgArray {
            return Err(self.no_such("programs in it"));
        }
        self.id_at(&index.to_ne_bytes())
    }

    /// Puts a socket into a map of sockets.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for another kind; [`Error::Os`] with `EOPNOTSUPP` for a socket of
    /// another kind or state, `EBUSY` for a socket that is in one of another program.
    pub fn set_socket(&self, key: &[u8], socket: BorrowedFd<'_>) -> Result<(), Error> {
        match self.kind {
            MapKind::SockMap
            | MapKind::SockHash
            | MapKind::ReuseportSockArray
            | MapKind::XskMap => self.set_fd(key, socket),
            _ => Err(self.no_such("sockets in it")),
        }
    }

    /// Puts a cgroup (an open directory) into an array of cgroups.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for another kind, [`Error::Os`] with `EBADF` for what is no cgroup.
    pub fn set_cgroup(&self, index: u32, cgroup: BorrowedFd<'_>) -> Result<(), Error> {
        if self.kind != MapKind::CgroupArray {
            return Err(self.no_such("cgroups in it"));
        }
        self.set_fd(&index.to_ne_bytes(), cgroup)
    }

    /// Stores a descriptor's object under a key.
    fn set_fd(&self, key: &[u8], fd: BorrowedFd<'_>) -> Result<(), Error> {
        self.check(key)?;
        self.kernel
            .map_update_fd(&self.fd, key, fd)
            .map_err(|errno| self.failed("BPF_MAP_UPDATE_ELEM", errno))
    }

    /// Reads the id that stands for an object.
    fn id_at(&self, key: &[u8]) -> Result<Option<u32>, Error> {
        let value = self.lookup(key)?;
        Ok(value.and_then(|value| value.first_chunk().map(|id| u32::from_ne_bytes(*id))))
    }

    /// Looks up what a storage map keeps for an object: a socket, an inode (any open file), a task
    /// (a pidfd) or a cgroup (an open directory); none where it keeps nothing for it.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for another kind, [`Error::Os`] for a descriptor of another kind.
    pub fn lookup_for(&self, object: BorrowedFd<'_>) -> Result<Option<Vec<u8>>, Error> {
        self.lookup(&self.object_key(object)?)
    }

    /// Keeps a value for an object; see [`Map::lookup_for`].
    ///
    /// # Errors
    ///
    /// As [`Map::lookup_for`] and [`Map::update`].
    pub fn update_for(
        &self,
        object: BorrowedFd<'_>,
        value: &[u8],
        mode: UpdateMode,
    ) -> Result<(), Error> {
        self.update(&self.object_key(object)?, value, mode)
    }

    /// Forgets what is kept for an object; see [`Map::lookup_for`]. `false` where that was nothing.
    ///
    /// # Errors
    ///
    /// As [`Map::lookup_for`].
    pub fn delete_for(&self, object: BorrowedFd<'_>) -> Result<bool, Error> {
        self.delete(&self.object_key(object)?)
    }

    fn object_key(&self, object: BorrowedFd<'_>) -> Result<[u8; 4], Error> {
        match self.kind {
            MapKind::SkStorage
            | MapKind::InodeStorage
            | MapKind::TaskStorage
            | MapKind::CgrpStorage => Ok(object.as_raw_fd().to_ne_bytes()),
            _ => Err(self.no_such("values of objects")),
        }
    }
}
