//! Maps that are loaded.

use std::os::fd::AsFd;

use kscope_spec::MapKind;
use kscope_sys::{MapInfo, SharedKernel};

use super::{ids, not_opened, text};
use crate::error::Error;
use crate::map::Map;
use crate::unmounted::undescribed;

/// A map that somebody made.
#[derive(Clone, Debug)]
pub struct LoadedMap {
    /// What the kernel tells of it.
    pub info: MapInfo,
    /// The map itself.
    pub map: Map,
}

impl LoadedMap {
    /// Lists the ids of all maps of the kernel, ascending.
    ///
    /// # Errors
    ///
    /// [`Error::Permission`].
    pub fn ids(kernel: &SharedKernel) -> Result<Vec<u32>, Error> {
        ids(kernel, "BPF_MAP_GET_NEXT_ID", |kernel, after| {
            kernel.map_next_id(after)
        })
    }

    /// Opens the map with this id.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`], [`Error::Permission`].
    pub fn by_id(kernel: &SharedKernel, id: u32) -> Result<LoadedMap, Error> {
        let failed = |errno| not_opened(kernel, "map", "BPF_MAP_GET_FD_BY_ID", id, errno);
        let fd = kernel.map_by_id(id).map_err(failed)?;
        let os = |errno| undescribed(&**kernel, errno, format!("map {id}"));
        let info = kernel.map_info(fd.as_fd()).map_err(os)?;
        let fd = kernel.map_adopt(fd).map_err(os)?;
        let kind = MapKind::from_number(info.shape.kind).unwrap_or_default();
        let map = Map::made(kernel, fd, &text(&info.name), kind);
        Ok(LoadedMap { info, map })
    }

    /// Gives the name as the kernel keeps it; many maps have none.
    pub fn name(&self) -> &str {
        self.map.name()
    }

    /// Gives the type; none for one that came after this release.
    pub fn kind(&self) -> Option<MapKind> {
        MapKind::from_number(self.info.shape.kind)
    }
}
