//! The maps of an object.

use std::os::fd::{AsFd, BorrowedFd};

use kscope_spec::{MapId, MapKind, MapSpec, Pinning, SlotValue, Spec};

use super::Loader;
use super::exclusive::Digests;
use super::global::{Memory, no_variable, sized};
use super::kernel_types::KernelTypes;
use super::object::{MapState, ProgramState};
use crate::create::{Extras, create};
use crate::error::Error;
use crate::map::Map;

/// `BPF_F_MMAPABLE`.
const MMAPABLE: u32 = 1 << 10;

/// What maps hold at first, by their ids, where that is not what the spec says.
pub(crate) type Contents = Vec<Option<Vec<u8>>>;

impl Loader<'_> {
    /// Gives what the maps of sections hold at first, where that is not what the spec says: values
    /// given for global variables.
    pub(super) fn contents(&self, spec: &Spec) -> Result<Contents, Error> {
        let mut contents: Contents = vec![None; spec.maps.len()];
        for (name, bytes) in &self.globals {
            let variable = spec
                .variable_named(name)
                .ok_or_else(|| no_variable(&spec.variables, name))?;
            sized(variable, bytes)?;
            let index = variable.map.0 as usize;
            let map = spec.maps.get(index).zip(contents.get_mut(index));
            let (map, value) =
                map.ok_or_else(|| Error::invalid("a variable's map is past the last"))?;
            let value = value.get_or_insert_with(|| map.initial.clone().unwrap_or_default());
            let start = variable.offset as usize;
            let end = start.saturating_add(bytes.len());
            if end > map.value_size as usize {
                return Err(Error::invalid(format!("{name} lies outside of its map")));
            }
            if value.len() < end {
                value.resize(end, 0);
            }
            if let Some(place) = value.get_mut(start..end) {
                place.copy_from_slice(bytes);
            }
        }
        Ok(contents)
    }

    /// Makes the maps, each by itself.
    #[inline(never)]
    pub(super) fn make_all(
        &self,
        spec: &Spec,
        btf: Option<BorrowedFd<'_>>,
        contents: &Contents,
        digests: &Digests,
        types: &KernelTypes<'_>,
    ) -> Result<Vec<MapState>, Error> {
        let mut maps = Vec::with_capacity(spec.maps.len());
        for ((map, initial), digest) in spec.maps.iter().zip(contents).zip(digests) {
            let made = match digest.as_ref().map(Result::as_ref).transpose() {
                Ok(exclusive) => {
                    let extras = Extras {
                        btf,
                        initial: initial.as_deref(),
                        exclusive,
                        ..Extras::default()
                    };
                    self.make(map, extras, types)
                }
                Err(error) => MapState::Failed(error.copied()),
            };
            if let (MapState::Failed(error), true) = (&made, self.all_or_nothing) {
                return Err(error.copied());
            }
            maps.push(made);
        }
        Ok(maps)
    }

    /// Makes a map, or takes the one that stands for it.
    fn make(&self, map: &MapSpec, extras: Extras<'_>, types: &KernelTypes<'_>) -> MapState {
        if self.leaves_out(map) {
            return MapState::LeftOut;
        }
        match self.try_make(map, extras, types) {
            Ok(made) => MapState::Made {
                frozen: map.frozen,
                mappable: map.kind == MapKind::Array && map.flags & MMAPABLE != 0,
                map: made,
                memory: Memory::default(),
            },
            Err(error) => MapState::Failed(error),
        }
    }

    /// Tells whether a map is not to be made.
    pub(super) fn leaves_out(&self, map: &MapSpec) -> bool {
        self.left_out.contains(&map.name) || (map.optional && !self.also.contains(&map.name))
    }

    fn try_make(
        &self,
        map: &MapSpec,
        extras: Extras<'_>,
        types: &KernelTypes<'_>,
    ) -> Result<Map, Error> {
        if let Some(given) = self.maps.get(&map.name) {
            fits(map, given)?;
            return Ok(given.clone());
        }
        if let Some(why) = &map.refused {
            return Err(Error::invalid(format!("map {}: {why}", map.name)));
        }
        if map.pinning == Pinning::ByName {
            if let Some(folder) = &self.pin_folder {
                return self.pinned(folder, map, &|| self.new_map(map, extras, types));
            }
        }
        self.new_map(map, extras, types)
    }

    fn new_map(
        &self,
        map: &MapSpec,
        extras: Extras<'_>,
        types: &KernelTypes<'_>,
    ) -> Result<Map, Error> {
        let inner;
        if let Some(like) = &map.inner {
            let of_inner = Extras {
                btf: extras.btf,
                ..Extras::default()
            };
            inner = create(&self.kernel, like, &of_inner)?;
            let extras = Extras {
                inner: Some(inner.as_fd()),
                ..extras
            };
            return create(&self.kernel, map, &extras);
        }
        match &map.struct_ops {
            None => create(&self.kernel, map, &extras),
            Some(table) => self.new_table(map, table, extras, types),
        }
    }
}

/// Looks whether a map may stand for that of a spec.
pub(super) fn fits(wanted: &MapSpec, given: &Map) -> Result<(), Error> {
    let shape = given.fd().shape();
    let differs = |what: &str, given: u32, wanted_number: u32| {
        Err(Error::invalid(format!(
            "the map that is to stand for {} has {what} {given}, not {wanted_number}",
            wanted.name
        )))
    };
    if shape.kind != wanted.kind as u32 {
        return Err(Error::invalid(format!(
            "the map that is to stand for {} is of type {:?}, not {:?}",
            wanted.name,
            given.kind(),
            wanted.kind
        )));
    }
    if shape.key_size != wanted.key_size {
        return differs("key size", shape.key_size, wanted.key_size);
    }
    if shape.value_size != wanted.value_size {
        return differs("value size", shape.value_size, wanted.value_size);
    }
    Ok(())
}

/// Puts maps into maps of maps, before programs are loaded.
pub(super) fn fill_with_maps(spec: &Spec, maps: &[MapState]) -> Vec<Error> {
    fill(spec, maps, |value| match value {
        SlotValue::Map(id) => Some(match maps.get(id.0 as usize) {
            Some(MapState::Made { map, .. }) => Ok(map.as_fd()),
            Some(MapState::Failed(error)) => Err(error.copied()),
            Some(MapState::LeftOut) | None => Err(Error::invalid(format!(
                "map {} is not there to be put into another",
                name(spec, id)
            ))),
        }),
        SlotValue::Program(_) => None,
    })
}

/// Puts programs into arrays of programs, after they are loaded.
pub(super) fn fill_with_programs(
    spec: &Spec,
    maps: &[MapState],
    programs: &[ProgramState],
) -> Vec<Error> {
    fill(spec, maps, |value| match value {
        SlotValue::Program(id) => match programs.get(id.0 as usize) {
            Some(ProgramState::Loaded(program)) => Some(Ok(program.as_fd())),
            Some(ProgramState::Failed(failed)) => Some(Err(failed.named())),
            Some(ProgramState::LeftOut(_)) | None => None,
        },
        SlotValue::Map(_) => None,
    })
}

fn name(spec: &Spec, id: MapId) -> &str {
    spec.maps.get(id.0 as usize).map_or("", |map| &map.name)
}

fn fill<'a>(
    spec: &Spec,
    maps: &[MapState],
    descriptor: impl Fn(SlotValue) -> Option<Result<BorrowedFd<'a>, Error>>,
) -> Vec<Error> {
    let mut failed = Vec::new();
    for (state, map) in maps.iter().zip(&spec.maps) {
        let Some(made) = state.map() else {
            continue;
        };
        for slot in &map.slots {
            match descriptor(slot.value) {
                None => {}
                Some(Ok(fd)) => failed.extend(made.update_fd(slot.index, fd).err()),
                Some(Err(error)) => failed.push(error),
            }
        }
    }
    failed
}
