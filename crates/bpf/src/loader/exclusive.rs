//! Maps that one program alone may use.

pub(super) mod digest;

use kscope_spec::{ExternId, LateId, MapId, Spec};

use super::Loader;
use super::program::Filling;
use crate::error::Error;
use crate::patch::{External, Target};

/// The digest of the one program that may use a map, by the maps of a spec; none for those that all may
/// use.
pub(super) type Digests = Vec<Option<Result<[u8; 32], Error>>>;

impl Loader<'_> {
    /// Makes a map that no program but this one may use, of whatever process. The kernel knows the
    /// program by its digest, so that another cannot take its name.
    ///
    /// # Minimum kernel version
    ///
    /// Linux 6.18; on others the map fails.
    #[must_use]
    pub fn exclusive(mut self, map: impl Into<String>, program: impl Into<String>) -> Self {
        self.exclusive.insert(map.into(), program.into());
        self
    }

    /// Tells whether a name was given to [`Loader::exclusive`] that the spec does not have.
    pub(super) fn known_exclusive(&self, spec: &Spec) -> Result<(), Error> {
        for map in self.exclusive.names() {
            if spec.map_named(map).is_none() {
                return Err(Error::not_found("map", map));
            }
            let program = self.exclusive.get(map).map_or("", String::as_str);
            if spec.program_named(program).is_none() {
                return Err(Error::not_found("program", program));
            }
        }
        Ok(())
    }

    /// Finds out the digests, for which the programs are filled as they will be loaded.
    pub(super) fn digests(&self, spec: &Spec, filling: &Filling<'_>) -> Digests {
        let digest = |map: &kscope_spec::MapSpec| {
            let id = spec.program_named(self.exclusive.get(&map.name)?)?;
            let program = spec.programs.get(id.0 as usize)?;
            Some(filling.digest(program))
        };
        spec.maps.iter().map(digest).collect()
    }
}

/// What programs are filled with before there are maps; which map it is does not count.
pub(super) struct Unmade<'a> {
    pub(super) filling: &'a dyn Target,
    pub(super) loader: &'a Loader<'a>,
    pub(super) spec: &'a Spec,
}

impl Target for Unmade<'_> {
    fn map(&self, map: MapId) -> Result<Option<i32>, Error> {
        let map = self.spec.maps.get(map.0 as usize);
        let map = map.ok_or_else(|| Error::invalid("a relocation names a map past the last"))?;
        Ok((!self.loader.leaves_out(map)).then_some(0))
    }

    fn value(&self, map: MapId, offset: u32) -> Result<(), Error> {
        self.filling.value(map, offset)
    }

    fn late(&self, late: LateId) -> Result<u64, Error> {
        self.filling.late(late)
    }

    fn external(&self, external: ExternId) -> Result<Option<External>, Error> {
        self.filling.external(external)
    }
}
