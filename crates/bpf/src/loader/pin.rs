//! Maps that are shared by a pin in the BPF file system.

use std::ffi::CString;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use kscope_spec::MapSpec;
use kscope_sys::Errno;

use super::Loader;
use super::maps::fits;
use crate::create::max_entries;
use crate::error::Error;
use crate::map::Map;
use crate::unmounted::undescribed;

impl Loader<'_> {
    /// Takes the map pinned under this name, or makes it and pins it there.
    pub(super) fn pinned(
        &self,
        folder: &Path,
        map: &MapSpec,
        make: &dyn Fn() -> Result<Map, Error>,
    ) -> Result<Map, Error> {
        let path = folder.join(&map.name);
        let shown = path.display().to_string();
        let name = CString::new(path.as_os_str().as_bytes())
            .map_err(|_| Error::invalid(format!("{shown} has a NUL in it")))?;
        // Another process may pin it between the question and the answer: then it is taken.
        for _ in 0..2 {
            match self.kernel.pinned(&name) {
                Ok(fd) => {
                    let fd = self.kernel.map_adopt(fd);
                    let fd = fd.map_err(|errno| match errno {
                        Errno::INVAL => Error::invalid(format!("{shown} is no map")),
                        errno => undescribed(&*self.kernel, errno, &shown),
                    })?;
                    let info = self.kernel.map_info(fd.as_fd());
                    let info = info.map_err(|e| Error::os("BPF_OBJ_GET_INFO_BY_FD", e, &shown))?;
                    let kind = kscope_spec::MapKind::from_number(fd.shape().kind);
                    let given = Map::made(&self.kernel, fd, &map.name, kind.unwrap_or_default());
                    fits(map, &given).map_err(|error| at(&shown, &error))?;
                    let entries = given.max_entries();
                    let wanted = max_entries(&*self.kernel, map)?;
                    if map.max_entries != 0 && entries != wanted {
                        return Err(at(
                            &shown,
                            &format!("it has room for {entries} entries, not {wanted}"),
                        ));
                    }
                    // The kernel adds flags of its own to those that it was given.
                    if info.flags & map.flags != map.flags {
                        return Err(at(
                            &shown,
                            &format!("its flags are {:#x}, not {:#x}", info.flags, map.flags),
                        ));
                    }
                    return Ok(given);
                }
                Err(Errno::NOENT) => {}
                Err(errno) => return Err(Error::os("BPF_OBJ_GET", errno, &shown)),
            }
            let made = make()?;
            match self.kernel.pin(&name, made.as_fd()) {
                Ok(()) => return Ok(made),
                Err(Errno::EXIST) => {}
                Err(errno @ (Errno::NOENT | Errno::PERM)) => {
                    return Err(at(
                        &shown,
                        &format!("{errno} (the folder must exist in a mounted BPF file system)"),
                    ));
                }
                Err(errno) => return Err(Error::os("BPF_OBJ_PIN", errno, &shown)),
            }
        }
        Err(at(&shown, &"it comes and goes"))
    }
}

fn at(path: &str, why: &dyn std::fmt::Display) -> Error {
    Error::invalid(format!("the map pinned at {path} cannot be used: {why}"))
}
